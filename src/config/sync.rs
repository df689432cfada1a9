//! `LVSSyncDaemonSwap`: the kernel's connection sync, as haresources and pairbeat.toml write it.

use std::net::IpAddr;

use crate::config::diag::{Faults, Word};
use crate::config::value::{self, INTERFACE_LEN_MAX};

/// Where ipvsadm(8) sends sync messages when no interface is named.
const INTERFACE: &str = "eth0";
/// Shortest message that is worth its head; the longest is an IP packet without its heads. The
/// kernel has no limits of its own for `IPVS_DAEMON_ATTR_SYNC_MAXLEN` but the interface's MTU.
pub(crate) const MAXLEN: std::ops::RangeInclusive<u32> = 68..=65_507;

/// How the table of connections is told to the standby. There is one on a machine: the kernel has
/// one daemon of each kind in a network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// The interface that both daemons use. Nothing on it is authenticated: a network of the
    /// directors' own. Default `eth0`, as in ipvsadm(8).
    pub interface: String,
    /// `syncid`, 0 to 255: told with each message; a backup with one that is not 0 hears no others.
    /// Default 0.
    pub id: u8,
    /// Multicast group; `None`: the kernel's 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; `None`: the kernel's 8848.
    pub port: Option<u16>,
    /// Time to live; `None`: the kernel's 1.
    pub ttl: Option<u8>,
    /// Longest message in bytes; `None`: what fits into the interface's MTU.
    pub maxlen: Option<u16>,
}

impl Sync {
    /// On that interface, with the kernel's choice of everything else.
    pub fn new(interface: &str) -> Self {
        let interface = interface.to_owned();
        Self { interface, id: 0, group: None, port: None, ttl: None, maxlen: None }
    }
}

/// `LVSSyncDaemonSwap::master[::INTERFACE[::ID]]`. The role is that of the node that has the group.
pub(crate) fn parse(
    word: Word<'_>,
    args: Option<Word<'_>>,
    faults: &mut Faults<'_>,
) -> Option<Sync> {
    let help = "`LVSSyncDaemonSwap::master::eth1::1`: role, interface, syncid";
    let mut parts = Vec::new();
    let mut rest = args;
    while let Some(words) = rest {
        let (part, more) = match words.split_once("::") {
            Some((part, more)) => (part, Some(more)),
            None => (words, None),
        };
        parts.push(part);
        rest = more;
    }
    let (interface, id) = match parts.as_slice() {
        [role] if role.text == "master" => (None, None),
        [role, interface] if role.text == "master" => (Some(*interface), None),
        [role, interface, id] if role.text == "master" => (Some(*interface), Some(*id)),
        [role, ..] if role.text == "backup" => {
            let message = "the node that has the group is the master, the other one the backup";
            faults.fault(role.span(), message).help(help);
            return None;
        }
        _ => {
            faults.fault(word.span(), "`LVSSyncDaemonSwap` needs `master`").help(help);
            return None;
        }
    };
    let interface = match interface {
        Some(interface) => self::interface(interface, faults)?,
        None => INTERFACE.to_owned(),
    };
    let id = match id {
        Some(id) => self::id(id, faults)?,
        None => 0,
    };
    Some(Sync { id, ..Sync::new(&interface) })
}

/// The name of an interface.
pub(crate) fn interface(word: Word<'_>, faults: &mut Faults<'_>) -> Option<String> {
    if !value::is_interface(word.text) {
        let message = format!("`{}` is no interface name", word.text);
        let help = format!("at most {INTERFACE_LEN_MAX} bytes, as `ip link` shows it");
        faults.fault(word.span(), message).help(help);
        return None;
    }
    Some(word.text.to_owned())
}

fn id(word: Word<'_>, faults: &mut Faults<'_>) -> Option<u8> {
    let id = word.text.parse().ok();
    if id.is_none() {
        let message = format!("`{}` is no syncid", word.text);
        faults.fault(word.span(), message).help("0 to 255; 0 hears every other");
    }
    id
}
