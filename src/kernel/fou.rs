//! UDP ports that take tunnels of GUE off ("foo over UDP"), over generic netlink: which there are,
//! opened, closed. Layout: linux/fou.h.
//!
//! The kernel loads no module for it by itself, so [`Fou::open`] has modprobe do it.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::kernel::genl::socket::{DUMP, Fault, Go, REQUEST, Socket, end_of_dump};
use crate::kernel::genl::{Batch, Body, attribute};
use crate::realserver::{Outer, Receiver};

/// `FOU_GENL_NAME`, `FOU_GENL_VERSION`.
const FAMILY: &str = "fou";
const VERSION: u8 = 1;
/// `FOU_CMD_ADD`, `FOU_CMD_DEL`, `FOU_CMD_GET`.
const ADD: u8 = 1;
const DELETE: u8 = 2;
const GET: u8 = 3;
/// `FOU_ENCAP_GUE`.
const GUE: u8 = 2;

/// `FOU_ATTR_*`.
mod attr {
    /// In network order, alone of all.
    pub(super) const PORT: u16 = 1;
    pub(super) const AF: u16 = 2;
    pub(super) const TYPE: u16 = 4;
}

/// Where the kernel itself looks for it, whatever our PATH is.
const MODPROBE: &str = "/sbin/modprobe";
/// Longest run of it: a module comes from a disk.
const MODPROBE_MAX: Duration = Duration::from_secs(10);

/// Why a port is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FouError {
    /// No such module.
    #[error("the kernel takes no GUE: modprobe fou")]
    NoModule,
    /// `CAP_NET_ADMIN`.
    #[error("not permitted to open a port for GUE; is this root?")]
    NotPermitted,
    /// EADDRINUSE: another program, or another kind of tunnel.
    #[error("{0}: the port is taken; `ss -ulpn` and `ip fou show` tell by whom")]
    Taken(Receiver),
    /// Anything else that the kernel says to an order.
    #[error("{receiver}: the kernel refuses: error {errno}")]
    Refused {
        /// Which port.
        receiver: Receiver,
        /// Its word.
        errno: i32,
    },
    /// The socket.
    #[error("netlink to the kernel's tunnels over UDP failed while {0}: {1}")]
    Netlink(&'static str, String),
    /// An answer that can't be read.
    #[error("the kernel's tunnels over UDP answered what can't be read: {0}")]
    Unreadable(&'static str),
}

impl From<Fault> for FouError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Absent => Self::NoModule,
            Fault::NotPermitted => Self::NotPermitted,
            Fault::Netlink(doing, why) => Self::Netlink(doing, why),
            Fault::Unreadable(what) => Self::Unreadable(what),
        }
    }
}

/// The ports that take GUE now; none where the kernel knows nothing of it.
///
/// # Errors
/// [`FouError`].
pub fn ports() -> Result<BTreeSet<Receiver>, FouError> {
    match Socket::open(FAMILY, VERSION) {
        Ok(socket) => Fou { socket }.ports(),
        Err(Fault::Absent) => Ok(BTreeSet::new()),
        Err(other) => Err(other.into()),
    }
}

/// A socket to the kernel's tunnels over UDP, in the network namespace of the thread that opened it.
pub struct Fou {
    socket: Socket,
}

impl Fou {
    /// Opens it, with the module loaded. Call inside a tokio runtime.
    ///
    /// # Errors
    /// [`FouError::NoModule`] where there is none, or the socket's own.
    pub async fn open() -> Result<Self, FouError> {
        let socket = match Socket::open(FAMILY, VERSION) {
            Err(Fault::Absent) => {
                modprobe().await;
                Socket::open(FAMILY, VERSION)?
            }
            other => other?,
        };
        Ok(Self { socket })
    }

    fn ports(mut self) -> Result<BTreeSet<Receiver>, FouError> {
        let doing = "reading the ports";
        let mut batch = Batch::default();
        batch.message(self.socket.head(GET, REQUEST | DUMP), |_| {});
        self.socket.send(doing, &batch)?;
        let mut found = BTreeSet::new();
        self.socket.receive::<FouError>(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else {
                return Ok(end_of_dump(doing, &answer)?);
            };
            found.extend(read(attrs).ok_or(FouError::Unreadable("a port"))?);
            Ok(Go::On)
        })?;
        Ok(found)
    }

    /// Makes the kernel take GUE at a port, of all the machine's addresses.
    ///
    /// # Errors
    /// [`FouError`].
    pub fn add(&mut self, receiver: Receiver) -> Result<(), FouError> {
        match self.socket.order("opening a port", ADD, |batch| put(batch, receiver))? {
            0 => Ok(()),
            libc::EADDRINUSE | libc::EALREADY => Err(FouError::Taken(receiver)),
            errno => Err(FouError::Refused { receiver, errno }),
        }
    }

    /// Makes it stop; one that is gone is no fault.
    ///
    /// # Errors
    /// [`FouError`].
    pub fn remove(&mut self, receiver: Receiver) -> Result<(), FouError> {
        match self.socket.order("closing a port", DELETE, |batch| put(batch, receiver))? {
            0 | libc::EINVAL | libc::ENOENT => Ok(()),
            errno => Err(FouError::Refused { receiver, errno }),
        }
    }
}

/// What it says is not needed: whether the family is there afterwards is what counts.
async fn modprobe() {
    let mut command = Command::new(MODPROBE);
    command.args(["-q", FAMILY]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _said = timeout(MODPROBE_MAX, command.kill_on_drop(true).status()).await;
}

fn put(batch: &mut Batch, receiver: Receiver) {
    batch.put(attr::PORT, &receiver.port.to_be_bytes());
    batch.put(attr::AF, &[family(receiver.over)]);
    batch.put(attr::TYPE, &[GUE]);
}

fn family(over: Outer) -> u8 {
    let number = match over {
        Outer::Ipv4 => libc::AF_INET,
        Outer::Ipv6 => libc::AF_INET6,
    };
    u8::try_from(number).unwrap_or_default()
}

/// One port of a dump; `Some(None)`: it takes something else.
fn read(attrs: &[u8]) -> Option<Option<Receiver>> {
    let port = u16::from_be_bytes(*attribute(attrs, attr::PORT)?.first_chunk()?);
    let af = *attribute(attrs, attr::AF)?.first()?;
    let kind = *attribute(attrs, attr::TYPE)?.first()?;
    let over = [Outer::Ipv4, Outer::Ipv6].into_iter().find(|over| family(*over) == af)?;
    Some((kind == GUE).then_some(Receiver { over, port }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::genl::{Head, answers};

    fn message(write: impl FnOnce(&mut Batch)) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.message(Head { family: 0x21, flags: 0, seq: 1, command: ADD, version: 1 }, write);
        batch.as_bytes().to_vec()
    }

    fn told(bytes: &[u8]) -> Option<Option<Receiver>> {
        let answer = answers(bytes).next().unwrap().unwrap();
        let Body::Attributes(attrs) = answer.body else { panic!("{answer:?}") };
        read(attrs)
    }

    #[test]
    fn a_port_is_read_as_it_is_written_and_one_of_another_kind_is_none_of_ours() {
        for over in [Outer::Ipv4, Outer::Ipv6] {
            let receiver = Receiver { over, port: 6080 };
            assert_eq!(told(&message(|batch| put(batch, receiver))), Some(Some(receiver)));
        }
        let direct = message(|batch| {
            batch.put(attr::PORT, &[0x17, 0xc0]);
            batch.put(attr::AF, &[2]);
            batch.put(attr::TYPE, &[1]);
        });
        assert_eq!(told(&direct), Some(None));
    }

    #[test]
    fn what_is_cut_short_is_no_port() {
        assert_eq!(told(&message(|batch| batch.put(attr::PORT, &[1]))), None);
        assert_eq!(told(&message(|_| {})), None);
    }
}
