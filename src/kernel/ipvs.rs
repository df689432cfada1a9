//! The kernel's IPVS table over generic netlink: read it, and obey orders on it.
//!
//! Blocking, and slow at times: a scheduler that is not loaded yet is loaded by the kernel inside
//! our `send`. So the daemon runs it on a thread of its own ([`spawn`]). What should be in the
//! table is `lvs`'s business; here nothing is decided and nothing retried.
//!
//! ```text
//! Ipvs ── socket: neli   ── bytes: kernel::genl   ── IPVS attributes: message
//! ```

mod message;
pub mod recorded;
mod sync;
mod thread;
mod timeouts;

use std::io;

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;

pub use self::sync::{RunningSync, SyncFault, SyncRole};
pub use self::thread::{IpvsHandle, ORDERS_WAITING_MAX, spawn};
use crate::kernel::genl::{Answer, Batch, Body, Head, answers, attribute, u16_at};
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::model::{
    ConnectionCount, ConnectionCounts, DestEntry, RealKey, ServiceEntry, ServiceKey, Table,
};
use crate::lvs::plan::Op;

/// Orders sent at once. Each is acknowledged, and a receive buffer of the default size
/// (212,992 bytes) was measured to hold 277 acknowledgements; error answers take up to twice the
/// room.
const WINDOW: usize = 100;

/// Room for one piece of a dump: the kernel makes pieces of at most 32 kB.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Receive buffer asked for; the kernel cuts it at `net.core.rmem_max`, and [`WINDOW`] fits into
/// the default.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP` of linux/netlink.h.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;

/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// A socket to the kernel's IPVS in the network namespace of the thread that opened it.
///
/// Generic netlink works inside our `send` and continues a dump inside our `recv`; so a receive
/// never has to wait, and one that would is an answer lost.
pub struct Ipvs {
    socket: NlSocket,
    family: u16,
    seq: u32,
    buffer: Vec<u8>,
}

impl Ipvs {
    /// Opens the socket; the kernel loads ip_vs when it can.
    ///
    /// # Errors
    /// [`KernelFault::NoModule`] where there is no IPVS, or the socket's own faults.
    pub fn open() -> Result<Self, KernelFault> {
        let netlink = |err| netlink("opening the socket", &err);
        let socket =
            NlSocket::connect(NlFamily::Generic, None, Groups::empty()).map_err(netlink)?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).map_err(netlink)?;
        let mut ipvs = Self { socket, family: CONTROLLER, seq: 0, buffer: vec![0; RECEIVE_BYTES] };
        ipvs.family = ipvs.find_family()?;
        Ok(ipvs)
    }

    fn find_family(&mut self) -> Result<u16, KernelFault> {
        let head = self.head(GET_FAMILY, REQUEST);
        let mut batch = Batch::default();
        batch.message(head, |batch| batch.put_text(FAMILY_NAME, message::FAMILY));
        self.send("looking for IPVS", &batch)?;
        let mut family = None;
        self.receive("looking for IPVS", |answer| match answer.body {
            Body::Attributes(attrs) => {
                family = attribute(attrs, FAMILY_ID).and_then(|payload| u16_at(payload, 0));
                Ok(Go::Stop)
            }
            Body::Status(errno) | Body::Done(errno) => Err(fault("looking for IPVS", errno)),
        })?;
        family.ok_or(KernelFault::Unreadable("the number of the IPVS family"))
    }

    /// The whole table.
    ///
    /// # Errors
    /// What keeps us from reading it; [`KernelFault::NotPermitted`] without `CAP_NET_ADMIN`.
    pub fn dump(&mut self) -> Result<Table, KernelFault> {
        self.dump_with_counts().map(|(table, _)| table)
    }

    /// The whole table and each destination's connections, for the same price.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    pub fn dump_with_counts(&mut self) -> Result<(Table, ConnectionCounts), KernelFault> {
        let mut table = self.dump_services()?;
        let mut counts = ConnectionCounts::new();
        for (key, entry) in &mut table.0 {
            self.dump_dests(key, |real, dest, count| {
                entry.dests.insert(real, dest);
                counts.insert((*key, real), count);
            })?;
        }
        Ok((table, counts))
    }

    fn dump_services(&mut self) -> Result<Table, KernelFault> {
        let doing = "reading the virtual services";
        let mut batch = Batch::default();
        batch.message(self.head(message::GET_SERVICE, REQUEST | DUMP), |_| {});
        self.send(doing, &batch)?;
        let mut table = Table::default();
        self.receive(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else { return end_of_dump(doing, &answer) };
            table.0.extend(service(attrs)?);
            Ok(Go::On)
        })?;
        Ok(table)
    }

    fn dump_dests(
        &mut self,
        of: &ServiceKey,
        mut found: impl FnMut(RealKey, DestEntry, ConnectionCount),
    ) -> Result<(), KernelFault> {
        let doing = "reading the real servers";
        let mut batch = Batch::default();
        let head = self.head(message::GET_DEST, REQUEST | DUMP);
        batch.message(head, |batch| message::put_service(batch, of));
        self.send(doing, &batch)?;
        self.receive(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else { return end_of_dump(doing, &answer) };
            let (real, entry, count) = dest(attrs, of)?;
            found(real, entry, count);
            Ok(Go::On)
        })
    }

    /// Obeys orders in their order; one that fails does not stop the others. The answers are in
    /// the same places as the orders.
    ///
    /// # Errors
    /// When the socket fails: how many orders were obeyed is then unknown, and a dump must tell.
    pub fn apply(&mut self, ops: &[Op]) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let mut results = Vec::with_capacity(ops.len());
        for window in ops.chunks(WINDOW) {
            results.extend(self.apply_window(window)?);
        }
        Ok(results)
    }

    fn apply_window(&mut self, ops: &[Op]) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let doing = "changing the table";
        let mut batch = Batch::default();
        let first = self.seq.wrapping_add(1);
        for op in ops {
            let head = self.head(message::command(op), REQUEST | ACK);
            batch.message(head, |batch| message::put_op(batch, op));
        }
        self.send(doing, &batch)?;
        let mut results = vec![Err(OpError::Lost); ops.len()];
        let mut open = ops.len();
        let received = self.receive_from(doing, first, |answer| {
            let place = usize::try_from(answer.seq.wrapping_sub(first)).unwrap_or(usize::MAX);
            if let (Some(op), Some(result), Body::Status(errno)) =
                (ops.get(place), results.get_mut(place), answer.body)
            {
                *result = if errno == 0 { Ok(()) } else { Err(message::op_error(op, errno)) };
                open -= 1;
            }
            Ok(if open == 0 { Go::Stop } else { Go::On })
        });
        match received {
            // An overflow: the orders were obeyed, but not all answers found room.
            Err(Received::Overflow) => self.drain(),
            Err(Received::Fault(fault)) => return Err(fault),
            Ok(()) => {}
        }
        Ok(results)
    }

    /// One order, and the errno that answers it.
    fn order(
        &mut self,
        doing: &'static str,
        command: u8,
        write: impl FnOnce(&mut Batch),
    ) -> Result<i32, KernelFault> {
        let mut batch = Batch::default();
        batch.message(self.head(command, REQUEST | ACK), write);
        self.send(doing, &batch)?;
        let mut answered = None;
        self.receive(doing, |answer| {
            if let Body::Status(errno) = answer.body {
                answered = Some(errno);
            }
            Ok(if answered.is_some() { Go::Stop } else { Go::On })
        })?;
        answered.ok_or(KernelFault::Unreadable("the answer to an order"))
    }

    fn head(&mut self, command: u8, flags: u16) -> Head {
        self.seq = self.seq.wrapping_add(1);
        Head { family: self.family, flags, seq: self.seq, command, version: message::VERSION }
    }

    fn send(&self, doing: &'static str, batch: &Batch) -> Result<(), KernelFault> {
        let sent = self.socket.send(batch.as_bytes(), Msg::empty());
        sent.map(|_| ()).map_err(|err| netlink(doing, &err))
    }

    /// Hands on every answer to the last request until told to stop.
    fn receive(
        &mut self,
        doing: &'static str,
        each: impl FnMut(Answer<'_>) -> Result<Go, KernelFault>,
    ) -> Result<(), KernelFault> {
        self.receive_from(doing, self.seq, each).map_err(|received| match received {
            Received::Fault(fault) => fault,
            Received::Overflow => netlink(doing, &io::Error::from_raw_os_error(libc::ENOBUFS)),
        })
    }

    fn receive_from(
        &mut self,
        doing: &'static str,
        first: u32,
        mut each: impl FnMut(Answer<'_>) -> Result<Go, KernelFault>,
    ) -> Result<(), Received> {
        let span = self.seq.wrapping_sub(first);
        loop {
            let received = self.socket.recv(&mut self.buffer, Msg::DONTWAIT | Msg::TRUNC);
            let (length, _) = received.map_err(|err| Received::from(doing, &err))?;
            let cut = KernelFault::Unreadable("an answer larger than our buffer");
            let bytes = self.buffer.get(..length).ok_or(Received::Fault(cut))?;
            for answer in answers(bytes) {
                let answer = answer.map_err(|_| Received::Fault(malformed()))?;
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

    fn drain(&mut self) {
        while self.socket.recv(&mut self.buffer, Msg::DONTWAIT).is_ok() {}
    }
}

/// Whether more answers belong to a request.
enum Go {
    On,
    Stop,
}

/// Why receiving ended early.
enum Received {
    /// ENOBUFS: answers were thrown away.
    Overflow,
    Fault(KernelFault),
}

impl Received {
    fn from(doing: &'static str, err: &io::Error) -> Self {
        match err.raw_os_error() {
            Some(libc::ENOBUFS) => Self::Overflow,
            _ => Self::Fault(netlink(doing, err)),
        }
    }
}

fn service(attrs: &[u8]) -> Result<Option<(ServiceKey, ServiceEntry)>, KernelFault> {
    message::read_service(attrs).ok_or(KernelFault::Unreadable("a virtual service"))
}

fn dest(
    attrs: &[u8],
    of: &ServiceKey,
) -> Result<(RealKey, DestEntry, ConnectionCount), KernelFault> {
    message::read_dest(attrs, of).ok_or(KernelFault::Unreadable("a real server"))
}

fn malformed() -> KernelFault {
    KernelFault::Unreadable("a malformed message")
}

fn end_of_dump(doing: &'static str, answer: &Answer<'_>) -> Result<Go, KernelFault> {
    match answer.body {
        Body::Attributes(_) => Ok(Go::On),
        Body::Status(0) | Body::Done(0) => Ok(Go::Stop),
        Body::Status(errno) | Body::Done(errno) => Err(fault(doing, errno)),
    }
}

fn fault(doing: &'static str, errno: i32) -> KernelFault {
    match errno {
        libc::ENOENT | libc::EOPNOTSUPP => KernelFault::NoModule,
        libc::EPERM | libc::EACCES => KernelFault::NotPermitted,
        _ => netlink(doing, &io::Error::from_raw_os_error(errno)),
    }
}

fn netlink(doing: &'static str, err: &io::Error) -> KernelFault {
    match err.raw_os_error() {
        // A kernel without netlink or generic netlink has no IPVS either.
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => KernelFault::NoModule,
        Some(libc::EPERM | libc::EACCES) => KernelFault::NotPermitted,
        _ => KernelFault::Netlink { doing, why: err.to_string() },
    }
}

#[cfg(test)]
mod tests;
