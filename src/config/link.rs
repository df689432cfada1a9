//! Heartbeat links: the ways that beats can go, and the rules that hold for both formats.
//!
//! Neighbours: `ha_cf::media` and `toml::link` read them, `link` opens them.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Timing;
use crate::config::diag::{Diagnostic, Mark, Severity};
use crate::config::value::time_text;
use crate::names::LinkName;
use crate::wire::line;

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
    /// A serial line (`serial`).
    Serial(Serial),
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

/// A serial line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serial {
    /// The device, by its path.
    pub device: PathBuf,
    /// Its speed, the same at both ends.
    pub baud: Baud,
}

/// The speed of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Baud(u32);

impl Baud {
    /// Those of ha.cf, and one more that today's adapters have.
    pub const ALL: [Self; 8] = [
        Self(9600),
        Self(19_200),
        Self(38_400),
        Self(57_600),
        Self(115_200),
        Self(230_400),
        Self(460_800),
        Self(921_600),
    ];

    /// `None` for any other number.
    pub fn new(baud: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.0 == baud)
    }

    /// In bits a second.
    pub fn get(self) -> u32 {
        self.0
    }

    /// How long a line takes for so many bytes: ten bits each.
    fn time_for(self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(10);
        Duration::from_nanos(bits.saturating_mul(1_000_000_000) / u64::from(self.0))
    }
}

impl Default for Baud {
    /// That of Heartbeat.
    fn default() -> Self {
        Self(19_200)
    }
}

impl Link {
    /// Which kind it is, in the words of ha.cf.
    pub fn kind(&self) -> &'static str {
        match &self.medium {
            Medium::Udp(Udp { cast: Cast::Unicast { .. }, .. }) => "ucast",
            Medium::Udp(Udp { cast: Cast::Broadcast { .. }, .. }) => "bcast",
            Medium::Udp(Udp { cast: Cast::Multicast(_), .. }) => "mcast",
            Medium::Serial(_) => "serial",
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
            Medium::Udp(_) | Medium::Serial(_) => &[],
        }
    }

    /// Whether both would be one and the same way, so that one of them is too many.
    fn same_way(&self, other: &Self) -> bool {
        let (one, two) = match (&self.medium, &other.medium) {
            (Medium::Serial(one), Medium::Serial(two)) => return one.device == two.device,
            (Medium::Udp(one), Medium::Udp(two)) => (one, two),
            _ => return false,
        };
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
        match self {
            Self::Udp(udp) => udp.cast.interface(),
            Self::Serial(_) => None,
        }
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

/// How often the time for one beat must fit into deadtime: one may be lost, and the answer to what
/// waited for the line waits there, too.
const BEATS_PER_DEADTIME: u32 = 4;

/// Names serial lines that are too slow for beats whose datagrams have these lengths.
pub(super) fn check_speed(
    links: &[DraftLink],
    timing: &Timing,
    datagrams: &[usize],
    found: &mut Vec<Diagnostic>,
) {
    let bytes: usize = datagrams.iter().map(|len| line::line_len(*len)).sum();
    let useless = |link: &Link| match &link.medium {
        Medium::Serial(serial) => {
            serial.baud.time_for(bytes) * BEATS_PER_DEADTIME > timing.deadtime
        }
        Medium::Udp(_) => false,
    };
    let alone = links.iter().all(|draft| useless(&draft.link));
    for DraftLink { link, at } in links {
        let Medium::Serial(serial) = &link.medium else { continue };
        let took = millis_up(serial.baud.time_for(bytes));
        let beat = format!("a beat takes {} at {} baud", time_text(took), serial.baud.get());
        let enough = |time: Duration| {
            Baud::ALL.into_iter().find(|baud| baud.time_for(bytes) <= time).map(Baud::get)
        };
        if useless(link) {
            let deadtime = time_text(timing.deadtime);
            let message = format!(
                "{beat}, and deadtime is {deadtime}: this line alone can't keep the peer alive"
            );
            let longer = time_text(took * BEATS_PER_DEADTIME);
            let help = match enough(timing.deadtime / BEATS_PER_DEADTIME) {
                Some(baud) => format!("`baud {baud}`, or a deadtime of {longer} or more"),
                None => format!("a deadtime of {longer} or more"),
            };
            let severity = if alone { Severity::Fault } else { Severity::Warning };
            found.push(Diagnostic::new(severity, at.clone(), message).with_help(help));
        } else if took > timing.keepalive {
            let keepalive = time_text(timing.keepalive);
            let message = format!("{beat}: that often they go out here, not every {keepalive}");
            let mut warning = at.warning(message);
            if let Some(baud) = enough(timing.keepalive) {
                warning.help(format!("`baud {baud}` carries all of them"));
            }
            found.push(warning);
        }
    }
}

fn millis_up(time: Duration) -> Duration {
    let millis = time.as_micros().div_ceil(1000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
