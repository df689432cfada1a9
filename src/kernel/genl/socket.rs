//! A conversation with one family of generic netlink, in the network namespace of the thread that
//! opened it.
//!
//! Generic netlink works inside our `send` and continues a dump inside our `recv`; so a receive
//! never has to wait, and one that would is an answer lost.

use std::io;

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;

use super::{Answer, Batch, Body, Head, answers, attribute, u16_at};

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP` of linux/netlink.h.
pub(in crate::kernel) const REQUEST: u16 = 0x1;
pub(in crate::kernel) const ACK: u16 = 0x4;
pub(in crate::kernel) const DUMP: u16 = 0x300;

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Of the controller's own messages.
const CONTROLLER_VERSION: u8 = 1;

/// Room for one piece of a dump: the kernel makes pieces of at most 32 kB.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Receive buffer asked for; the kernel cuts it at `net.core.rmem_max`.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// Why there is no conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) enum Fault {
    /// The kernel has no such family, and could not load it.
    Absent,
    /// `CAP_NET_ADMIN` is missing.
    NotPermitted,
    /// The socket, or the kernel, while doing this.
    Netlink(&'static str, String),
    /// An answer that can't be read: this.
    Unreadable(&'static str),
}

/// Whether more answers belong to a request.
pub(in crate::kernel) enum Go {
    On,
    Stop,
}

/// Why receiving ended early.
pub(in crate::kernel) enum Received<E> {
    /// ENOBUFS: answers were thrown away.
    Overflow,
    Fault(E),
}

/// See the module.
pub(in crate::kernel) struct Socket {
    socket: NlSocket,
    family: u16,
    version: u8,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one to the family of this name; the kernel loads its module where that says so.
    ///
    /// # Errors
    /// [`Fault::Absent`], or the socket's own.
    pub(in crate::kernel) fn open(family: &str, version: u8) -> Result<Self, Fault> {
        let netlink = |err| netlink("opening the socket", &err);
        let socket =
            NlSocket::connect(NlFamily::Generic, None, Groups::empty()).map_err(netlink)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).map_err(netlink)?;
        let buffer = vec![0; RECEIVE_BYTES];
        let mut opened =
            Self { socket, family: CONTROLLER, version: CONTROLLER_VERSION, seq: 0, buffer };
        opened.family = opened.find(family)?;
        opened.version = version;
        Ok(opened)
    }

    fn find(&mut self, family: &str) -> Result<u16, Fault> {
        let doing = "looking for the family";
        let head = self.head(GET_FAMILY, REQUEST);
        let mut batch = Batch::default();
        batch.message(head, |batch| batch.put_text(FAMILY_NAME, family));
        self.send(doing, &batch)?;
        let mut number = None;
        self.receive(doing, |answer| match answer.body {
            Body::Attributes(attrs) => {
                number = attribute(attrs, FAMILY_ID).and_then(|payload| u16_at(payload, 0));
                Ok(Go::Stop)
            }
            Body::Status(errno) | Body::Done(errno) => Err(fault(doing, errno)),
        })?;
        number.ok_or(Fault::Unreadable("the number of the family"))
    }

    /// The head of the next request.
    pub(in crate::kernel) fn head(&mut self, command: u8, flags: u16) -> Head {
        self.seq = self.seq.wrapping_add(1);
        Head { family: self.family, flags, seq: self.seq, command, version: self.version }
    }

    /// Sends requests.
    pub(in crate::kernel) fn send(&self, doing: &'static str, batch: &Batch) -> Result<(), Fault> {
        let sent = self.socket.send(batch.as_bytes(), Msg::empty());
        sent.map(|_| ()).map_err(|err| netlink(doing, &err))
    }

    /// Hands on every answer to the last request until told to stop.
    pub(in crate::kernel) fn receive<E: From<Fault>>(
        &mut self,
        doing: &'static str,
        each: impl FnMut(Answer<'_>) -> Result<Go, E>,
    ) -> Result<(), E> {
        self.receive_from(doing, self.seq, each).map_err(|received| match received {
            Received::Fault(fault) => fault,
            Received::Overflow => {
                netlink(doing, &io::Error::from_raw_os_error(libc::ENOBUFS)).into()
            }
        })
    }

    /// The same, for all requests since the one with this number.
    pub(in crate::kernel) fn receive_from<E: From<Fault>>(
        &mut self,
        doing: &'static str,
        first: u32,
        mut each: impl FnMut(Answer<'_>) -> Result<Go, E>,
    ) -> Result<(), Received<E>> {
        let span = self.seq.wrapping_sub(first);
        loop {
            let received = self.socket.recv(&mut self.buffer, Msg::DONTWAIT | Msg::TRUNC);
            let (length, _) = received.map_err(|err| match err.raw_os_error() {
                Some(libc::ENOBUFS) => Received::Overflow,
                _ => Received::Fault(netlink(doing, &err).into()),
            })?;
            let cut =
                || Received::Fault(Fault::Unreadable("an answer larger than our buffer").into());
            let bytes = self.buffer.get(..length).ok_or_else(cut)?;
            for answer in answers(bytes) {
                let malformed =
                    |_| Received::Fault(Fault::Unreadable("a malformed message").into());
                let answer = answer.map_err(malformed)?;
                // Older ones belong to a request that failed half-way.
                if answer.seq.wrapping_sub(first) > span {
                    continue;
                }
                if let Go::Stop = each(answer).map_err(Received::Fault)? {
                    return Ok(());
                }
            }
        }
    }

    /// The number of the next request.
    pub(in crate::kernel) fn next_seq(&self) -> u32 {
        self.seq.wrapping_add(1)
    }

    /// One order, and the errno that answers it; 0: obeyed.
    pub(in crate::kernel) fn order(
        &mut self,
        doing: &'static str,
        command: u8,
        write: impl FnOnce(&mut Batch),
    ) -> Result<i32, Fault> {
        let mut batch = Batch::default();
        batch.message(self.head(command, REQUEST | ACK), write);
        self.send(doing, &batch)?;
        let mut answered = None;
        self.receive::<Fault>(doing, |answer| {
            if let Body::Status(errno) = answer.body {
                answered = Some(errno);
            }
            Ok(if answered.is_some() { Go::Stop } else { Go::On })
        })?;
        answered.ok_or(Fault::Unreadable("the answer to an order"))
    }

    /// Forgets what was not read.
    pub(in crate::kernel) fn drain(&mut self) {
        while self.socket.recv(&mut self.buffer, Msg::DONTWAIT).is_ok() {}
    }
}

/// What an answer without attributes says about a dump.
pub(in crate::kernel) fn end_of_dump(
    doing: &'static str,
    answer: &Answer<'_>,
) -> Result<Go, Fault> {
    match answer.body {
        Body::Attributes(_) => Ok(Go::On),
        Body::Status(0) | Body::Done(0) => Ok(Go::Stop),
        Body::Status(errno) | Body::Done(errno) => Err(fault(doing, errno)),
    }
}

/// An errno that refuses the whole.
pub(in crate::kernel) fn fault(doing: &'static str, errno: i32) -> Fault {
    match errno {
        libc::ENOENT | libc::EOPNOTSUPP => Fault::Absent,
        libc::EPERM | libc::EACCES => Fault::NotPermitted,
        _ => netlink(doing, &io::Error::from_raw_os_error(errno)),
    }
}

fn netlink(doing: &'static str, err: &io::Error) -> Fault {
    match err.raw_os_error() {
        // A kernel without netlink or generic netlink has no family of it either.
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => Fault::Absent,
        Some(libc::EPERM | libc::EACCES) => Fault::NotPermitted,
        _ => Fault::Netlink(doing, err.to_string()),
    }
}
