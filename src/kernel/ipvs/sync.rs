//! The kernel's two connection sync daemons: read which run, start and stop them.
//!
//! The master tells every connection that it forwards to a multicast group, the backup puts what it
//! hears there into its own table. Each is a kernel thread, one of each kind a network namespace.
//! Layout: linux/ip_vs.h (`IPVS_CMD_NEW_DAEMON` ..., `IPVS_DAEMON_ATTR_*`); all in host order but
//! the group's address. Nothing on this wire is authenticated: it belongs on a network of the
//! directors' own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{DUMP, Go, Ipvs, REQUEST, end_of_dump};
use crate::config::Sync;
use crate::kernel::genl::{Batch, Body, attribute, text, u16_at, u32_at};
use crate::lvs::fault::KernelFault;

const NEW_DAEMON: u8 = 9;
const DEL_DAEMON: u8 = 10;
const GET_DAEMON: u8 = 11;
/// For faults.
const DOING: &str = "changing the sync daemons";
/// `IPVS_CMD_ATTR_DAEMON`.
const DAEMON: u16 = 3;

/// `IPVS_DAEMON_ATTR_*`.
mod attr {
    pub(super) const STATE: u16 = 1;
    pub(super) const MCAST_IFN: u16 = 2;
    pub(super) const SYNC_ID: u16 = 3;
    pub(super) const SYNC_MAXLEN: u16 = 4;
    pub(super) const MCAST_GROUP: u16 = 5;
    pub(super) const MCAST_GROUP6: u16 = 6;
    pub(super) const MCAST_PORT: u16 = 7;
    pub(super) const MCAST_TTL: u16 = 8;
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncRole {
    /// Tells.
    Master,
    /// Listens.
    Backup,
}

impl SyncRole {
    /// `IP_VS_STATE_MASTER`, `IP_VS_STATE_BACKUP`.
    fn state(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    /// In the operator's words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// A daemon that runs, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSync {
    /// Which.
    pub role: SyncRole,
    /// Where it sends or listens.
    pub interface: String,
    /// Told with each message; a backup with an id hears no others.
    pub id: u32,
    /// The multicast group; kernels before 4.3 do not tell it.
    pub group: Option<IpAddr>,
    /// UDP port.
    pub port: Option<u16>,
    /// Time to live of what is sent.
    pub ttl: Option<u8>,
    /// Longest message.
    pub maxlen: Option<u16>,
}

impl RunningSync {
    /// Whether it is as configured; what the configuration leaves to the kernel is as it likes.
    pub fn serves(&self, wanted: &Sync) -> bool {
        fn fits<T: PartialEq + Copy>(wanted: Option<T>, has: Option<T>) -> bool {
            wanted.is_none() || has.is_none() || wanted == has
        }
        self.interface == wanted.interface
            && self.id == u32::from(wanted.id)
            && fits(wanted.group, self.group)
            && fits(wanted.port, self.port)
            && fits(wanted.ttl, self.ttl)
            && fits(wanted.maxlen, self.maxlen)
    }
}

/// Why a daemon can't be started or stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncFault {
    /// ENODEV.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// EADDRNOTAVAIL, ENETUNREACH: an IPv4 group wants an interface with an IPv4 address.
    #[error("interface {0} has no address, or is down")]
    NoAddress(String),
    /// Anything else.
    #[error("the kernel refuses the {role}: error {errno}", role = role.word())]
    Refused {
        /// Which.
        role: SyncRole,
        /// Why.
        errno: i32,
    },
    /// IPVS as a whole.
    #[error(transparent)]
    Kernel(#[from] KernelFault),
}

impl Ipvs {
    /// The daemons that run.
    ///
    /// # Errors
    /// As [`Ipvs::dump`].
    pub fn sync_daemons(&mut self) -> Result<Vec<RunningSync>, KernelFault> {
        let doing = "reading the sync daemons";
        let mut batch = Batch::default();
        batch.message(self.head(GET_DAEMON, REQUEST | DUMP), |_| {});
        self.send(doing, &batch)?;
        let mut found = Vec::new();
        self.receive(doing, |answer| {
            let Body::Attributes(attrs) = answer.body else { return end_of_dump(doing, &answer) };
            found.push(read(attrs).ok_or(KernelFault::Unreadable("a sync daemon"))?);
            Ok(Go::On)
        })?;
        Ok(found)
    }

    /// Starts one; it is no fault that it runs already.
    ///
    /// # Errors
    /// [`SyncFault`].
    pub fn start_sync(&mut self, role: SyncRole, wanted: &Sync) -> Result<(), SyncFault> {
        let errno = self.order(DOING, NEW_DAEMON, |batch| put(batch, role, wanted))?;
        match errno {
            0 | libc::EEXIST => Ok(()),
            libc::ENODEV => Err(SyncFault::NoInterface(wanted.interface.clone())),
            libc::EADDRNOTAVAIL | libc::ENETUNREACH | libc::ENETDOWN => {
                Err(SyncFault::NoAddress(wanted.interface.clone()))
            }
            errno => Err(SyncFault::Refused { role, errno }),
        }
    }

    /// Stops one; it is no fault that it does not run.
    ///
    /// # Errors
    /// [`SyncFault`].
    pub fn stop_sync(&mut self, role: SyncRole) -> Result<(), SyncFault> {
        let errno = self.order(DOING, DEL_DAEMON, |batch| {
            batch.nest(DAEMON, |batch| batch.put_u32(attr::STATE, role.state()));
        })?;
        match errno {
            0 | libc::ESRCH => Ok(()),
            errno => Err(SyncFault::Refused { role, errno }),
        }
    }
}

pub(super) fn put(batch: &mut Batch, role: SyncRole, wanted: &Sync) {
    batch.nest(DAEMON, |batch| {
        batch.put_u32(attr::STATE, role.state());
        batch.put_text(attr::MCAST_IFN, &wanted.interface);
        batch.put_u32(attr::SYNC_ID, u32::from(wanted.id));
        if let Some(maxlen) = wanted.maxlen {
            batch.put_u16(attr::SYNC_MAXLEN, maxlen);
        }
        match wanted.group {
            Some(IpAddr::V4(group)) => batch.put(attr::MCAST_GROUP, &group.octets()),
            Some(IpAddr::V6(group)) => batch.put(attr::MCAST_GROUP6, &group.octets()),
            None => {}
        }
        if let Some(port) = wanted.port {
            batch.put_u16(attr::MCAST_PORT, port);
        }
        if let Some(ttl) = wanted.ttl {
            batch.put(attr::MCAST_TTL, &[ttl]);
        }
    });
}

/// A daemon from a dump.
pub(super) fn read(message: &[u8]) -> Option<RunningSync> {
    let attrs = attribute(message, DAEMON)?;
    let role = match u32_at(attribute(attrs, attr::STATE)?, 0)? {
        1 => SyncRole::Master,
        2 => SyncRole::Backup,
        _ => return None,
    };
    let v4 = attribute(attrs, attr::MCAST_GROUP).and_then(|it| it.first_chunk::<4>());
    let v6 = attribute(attrs, attr::MCAST_GROUP6).and_then(|it| it.first_chunk::<16>());
    Some(RunningSync {
        role,
        interface: text(attribute(attrs, attr::MCAST_IFN)?)?.to_owned(),
        id: u32_at(attribute(attrs, attr::SYNC_ID)?, 0)?,
        group: v4
            .map(|it| IpAddr::from(Ipv4Addr::from(*it)))
            .or_else(|| v6.map(|it| IpAddr::from(Ipv6Addr::from(*it)))),
        port: attribute(attrs, attr::MCAST_PORT).and_then(|it| u16_at(it, 0)),
        ttl: attribute(attrs, attr::MCAST_TTL).and_then(|it| it.first().copied()),
        maxlen: attribute(attrs, attr::SYNC_MAXLEN).and_then(|it| u16_at(it, 0)),
    })
}
