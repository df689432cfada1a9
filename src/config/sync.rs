//! `LVSSyncDaemonSwap`: the kernel's connection sync, as haresources and pairbeat.toml write it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::config::diag::{Faults, Word};
use crate::config::link::{self, Cast, Link, Medium, Udp};
use crate::config::value::{self, INTERFACE_LEN_MAX};
use crate::config::{Group, ResourceKind};

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
    /// directors' own, or at least a guard ([`Sync::admitted`]). Default `eth0`, as in ipvsadm(8).
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
    /// Who may tell connections: the addresses of both nodes on that interface. Empty: those of the
    /// heartbeat links there, see [`Sync::admitted`].
    pub peers: Vec<IpAddr>,
}

/// Most addresses in `peers`, as on a heartbeat link.
pub(crate) const PEERS_MAX: usize = link::TARGETS_MAX;
/// The kernel's UDP port (`IP_VS_SYNC_PORT` of `net/netfilter/ipvs/ip_vs_sync.c`).
pub const PORT: u16 = 8848;
/// The kernel's group (`IP_VS_SYNC_GROUP` of the same).
pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));

impl Sync {
    /// On that interface, with the kernel's choice of everything else.
    pub fn new(interface: &str) -> Self {
        let interface = interface.to_owned();
        let peers = Vec::new();
        Self { interface, id: 0, group: None, port: None, ttl: None, maxlen: None, peers }
    }

    /// Whose messages are taken; empty: anybody's. Where nothing is written they are the addresses that
    /// the heartbeat links have on the same interface: unicast ones, and only with IPv4, for with IPv6 the
    /// kernel sends from an address that stands in no link.
    pub fn admitted(&self, links: &[Link]) -> BTreeSet<IpAddr> {
        if !self.peers.is_empty() {
            return self.peers.iter().copied().collect();
        }
        let targets = links.iter().filter_map(|link| match &link.medium {
            Medium::Udp(Udp { cast: Cast::Unicast { interface: Some(on), targets }, .. }) => {
                (*on == self.interface).then_some(targets)
            }
            Medium::Udp(_) | Medium::Serial(_) => None,
        });
        let plain = self.group.unwrap_or(GROUP).is_ipv4();
        targets.flatten().copied().filter(|target| plain && target.is_ipv4()).collect()
    }

    /// Whether a virtual IP is on its interface, as far as that is written.
    pub fn among_clients(&self, groups: &[&Group]) -> bool {
        let resources = groups.iter().flat_map(|group| &group.resources);
        resources.into_iter().any(|resource| match &resource.kind {
            ResourceKind::Address(address) => address.interface.as_ref() == Some(&self.interface),
            _ => false,
        })
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
