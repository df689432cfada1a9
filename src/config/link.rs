//! Heartbeat links: the ways that beats can go, and the rules that hold for both formats.
//!
//! Neighbours: `ha_cf::media` and `toml::link` read them, `link` opens them.

use std::net::IpAddr;
use std::num::NonZeroU8;

use crate::config::diag::{Diagnostic, Mark};
use crate::names::LinkName;

/// Most peers' addresses on one link: each of them gets every beat.
pub const TARGETS_MAX: usize = 16;
/// UDP port where nothing else is said: Heartbeat's (`ha-cluster` in /etc/services).
pub const UDP_PORT: u16 = 694;

/// One heartbeat link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Shown in status: the interface's name, with a number behind it when one interface has
    /// several; of a serial line the device.
    pub name: LinkName,
    /// What it goes through.
    pub medium: Medium,
}

/// What a link goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// A network.
    Udp(Udp),
}

/// A link over UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    /// Both ends. Default [`UDP_PORT`].
    pub port: u16,
    /// To whom.
    pub cast: Cast,
}

/// To whom a datagram goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cast {
    /// To the peer (`ucast`, `ucast6`).
    Unicast {
        /// Interface it is bound to; `None`: whichever routing chooses.
        interface: Option<String>,
        /// Where the peer is; at least one, at most [`TARGETS_MAX`]. Files that are the same on
        /// both nodes list both nodes' addresses; this node's own are left out by `link`.
        targets: Vec<IpAddr>,
    },
    /// To all stations of an interface's network, with IPv4 (`bcast`).
    Broadcast {
        /// The interface.
        interface: String,
    },
    /// To those who have joined a group (`mcast`, `mcast6`).
    Multicast(Multicast),
}

/// A multicast link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multicast {
    /// The interface that sends and joins.
    pub interface: String,
    /// The group; its family is the link's.
    pub group: MulticastGroup,
    /// How many routers it may pass, plus one (hop limit of IPv6). Default 1: this LAN only.
    pub ttl: NonZeroU8,
    /// Whether other programs of this machine that have joined hear it too. Default no.
    pub looped: bool,
}

/// A multicast address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MulticastGroup(IpAddr);

impl MulticastGroup {
    /// `None` for any other address.
    pub fn new(ip: IpAddr) -> Option<Self> {
        ip.is_multicast().then_some(Self(ip))
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl Link {
    /// Which kind it is, in the words of ha.cf.
    pub fn kind(&self) -> &'static str {
        match &self.medium {
            Medium::Udp(Udp { cast: Cast::Unicast { .. }, .. }) => "ucast",
            Medium::Udp(Udp { cast: Cast::Broadcast { .. }, .. }) => "bcast",
            Medium::Udp(Udp { cast: Cast::Multicast(_), .. }) => "mcast",
        }
    }

    /// The interface, where it is bound to one.
    pub fn interface(&self) -> Option<&str> {
        self.medium.interface()
    }

    /// Where the peer is, as far as the link says.
    pub fn targets(&self) -> &[IpAddr] {
        match &self.medium {
            Medium::Udp(Udp { cast: Cast::Unicast { targets, .. }, .. }) => targets,
            Medium::Udp(_) => &[],
        }
    }

    /// Whether both would be one and the same way, so that one of them is too many.
    fn same_way(&self, other: &Self) -> bool {
        let (Medium::Udp(one), Medium::Udp(two)) = (&self.medium, &other.medium);
        let same = match (&one.cast, &two.cast) {
            (Cast::Broadcast { interface: one }, Cast::Broadcast { interface: two }) => one == two,
            (Cast::Multicast(one), Cast::Multicast(two)) => {
                (&one.interface, one.group) == (&two.interface, two.group)
            }
            _ => false,
        };
        same && one.port == two.port
    }
}

impl Medium {
    /// The interface, where it is bound to one.
    pub fn interface(&self) -> Option<&str> {
        let Self::Udp(udp) = self;
        udp.cast.interface()
    }
}

impl Cast {
    /// The interface, where it is bound to one.
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Unicast { interface, .. } => interface.as_deref(),
            Self::Broadcast { interface } | Self::Multicast(Multicast { interface, .. }) => {
                Some(interface)
            }
        }
    }
}

/// A link and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftLink {
    /// The link.
    pub link: Link,
    /// Its place.
    pub at: Mark,
}

/// The name of the `count`th further link on an interface.
pub(super) fn numbered(interface: &str, count: usize) -> String {
    match count {
        0 => interface.to_owned(),
        _ => format!("{interface}-{}", count + 1),
    }
}

/// The links without those that are there twice, each of which is named.
pub(super) fn without_doubles(
    links: Vec<DraftLink>,
    found: &mut Vec<Diagnostic>,
) -> Vec<DraftLink> {
    let mut kept: Vec<DraftLink> = Vec::new();
    for draft in links {
        if let Some(first) = kept.iter().find(|kept| kept.link.same_way(&draft.link)) {
            let help = format!("the other one is at {}", first.at.place);
            let message = "the same link is there twice; this one is left out";
            found.push(draft.at.warning(message).with_help(help));
        } else {
            kept.push(draft);
        }
    }
    kept
}
