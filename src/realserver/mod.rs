//! The real server's side: what must stand on a machine that a director sends packets to without
//! changing their destination (`gate`, `ipip`, `gue`, `gre`).
//!
//! Such a machine takes packets for the virtual IP and must keep quiet about having it: the LAN is
//! to hear of one holder only, the director. What is wanted, what was found and what an earlier `up`
//! has changed come in as values; [`plan`] says in which order what is to be done, [`standing`] what
//! there is. No IO: [`crate::daemon::realserver`] reads and obeys.

pub mod plan;
pub mod standing;

mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::way::{Mode, NoMode, Outer, Place, Receiver, Tunnel};

/// Most virtual IPs of one real server: far more than one machine serves.
pub const VIPS_MAX: usize = 1024;

/// Virtual IPs and their places.
pub type Vips = BTreeMap<IpAddr, Place>;

/// What a setting of an interface is about (ip-sysctl of the kernel's documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// For which of its addresses the machine answers ARP.
    ArpIgnore,
    /// In whose name it asks by ARP.
    ArpAnnounce,
    /// Whether a packet must come from where its sender is reached.
    RpFilter,
    /// IPv6 switched off.
    DisableIpv6,
}

/// The pseudo-interface whose settings count for all: the greater of both values is in force.
pub const ALL: &str = "all";

/// One setting of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// An interface, or [`ALL`].
    pub interface: String,
    /// What about it.
    pub key: Key,
}

impl Setting {
    /// Of one interface, or of [`ALL`].
    pub fn new(interface: &str, key: Key) -> Self {
        Self { interface: interface.to_owned(), key }
    }

    /// Its path under /proc/sys.
    pub fn path(&self) -> String {
        let (family, key) = match self.key {
            Key::ArpIgnore => ("ipv4", "arp_ignore"),
            Key::ArpAnnounce => ("ipv4", "arp_announce"),
            Key::RpFilter => ("ipv4", "rp_filter"),
            Key::DisableIpv6 => ("ipv6", "disable_ipv6"),
        };
        format!("net/{family}/conf/{}/{key}", self.interface)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// One interface, as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Port {
    /// Its number.
    pub index: u32,
    /// Switched on.
    pub up: bool,
    /// Neighbours are asked for there, so somebody may ask for a virtual IP.
    pub lan: bool,
    /// Its hardware address; zero where it has none.
    pub mac: [u8; 6],
}

/// What stands on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Every interface by its name.
    pub ports: BTreeMap<String, Port>,
    /// Where the virtual IPs in question are: address, interface, prefix length.
    pub held: BTreeSet<(IpAddr, String, u8)>,
    /// The settings in question; one that is missing can't be read.
    pub settings: BTreeMap<Setting, u32>,
    /// The ports that take GUE; not looked at where none is in question.
    pub receivers: BTreeSet<Receiver>,
}

impl Found {
    fn has(&self, ip: IpAddr, interface: &str) -> bool {
        self.held.iter().any(|(one, at, _)| *one == ip && at == interface)
    }

    fn value(&self, setting: &Setting) -> Option<u32> {
        self.settings.get(setting).copied()
    }
}

/// Something that was changed here, and how it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A setting was given another value.
    Setting {
        /// Which.
        setting: Setting,
        /// As it was.
        before: u32,
        /// As it was made.
        set: u32,
    },
    /// An interface was not there.
    Created {
        /// Its name.
        interface: String,
    },
    /// An interface was down.
    Raised {
        /// Its name.
        interface: String,
    },
    /// An address was not there.
    Address {
        /// Which.
        ip: IpAddr,
        /// On which interface.
        interface: String,
    },
    /// A port took no GUE.
    Opened {
        /// Which.
        receiver: Receiver,
    },
}

/// What is remembered between commands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What is to be here.
    pub vips: Vips,
    /// What was changed for it, or is about to be.
    pub changes: Vec<Change>,
}

impl Kept {
    /// Whether there is anything to remember.
    pub fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.changes.is_empty()
    }

    /// Whether ports that take GUE are in question, for these virtual IPs or for what was changed.
    pub fn concerns_gue(&self, target: &Vips) -> bool {
        let is_opened = |change: &Change| matches!(change, Change::Opened { .. });
        let mut all = target.iter().chain(&self.vips);
        all.any(|(vip, place)| place.receiver(*vip).is_some()) || self.changes.iter().any(is_opened)
    }
}

/// Every setting that decides about these virtual IPs, of these interfaces.
pub fn settings<'a>(vips: &'a Vips, ports: impl Iterator<Item = &'a String>) -> BTreeSet<Setting> {
    let places = vips.values().map(|place| &place.interface);
    let interfaces = ports.chain(places).map(String::as_str).chain([ALL]);
    let keys = [Key::ArpIgnore, Key::ArpAnnounce, Key::RpFilter, Key::DisableIpv6];
    interfaces.flat_map(|name| keys.map(|key| Setting::new(name, key))).collect()
}
