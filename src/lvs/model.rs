//! Virtual services and real servers: what the configuration asks for.
//!
//! Neighbours: `config` makes these values, `lvs::health` and `lvs::plan` work on them, `kernel`
//! puts the resulting [`Table`] into IPVS. This module does no IO and knows no file format.

mod forwarding;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::forwarding::{Checksum, Forwarding, GUE_PORT, NotForwarding};

use crate::lvs::check::CheckKind;
use crate::lvs::notify::Notify;
use crate::names::DirectorName;

/// One director: what one ldirectord.cf, or one `[director.NAME]` table, describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Director {
    /// Its file or table name.
    pub name: DirectorName,
    /// In the order of the file.
    pub services: Vec<VirtualService>,
    /// Files in it name real servers that are to be out of service (`maintenancedir`).
    pub maintenance: Option<PathBuf>,
    /// A standby goes by the active node's verdicts as long as it hears them, instead of checking
    /// by itself. Default false.
    pub follow: bool,
    /// A weight that somebody sets in the kernel by hand, or a server that they take out, is an
    /// operator's order, and not put back. Default false.
    pub adopt: bool,
}

/// A virtual service with its real servers and its checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// What clients connect to.
    pub key: ServiceKey,
    /// Scheduler name of the kernel (`rr`, `wrr`, `lc`, ...), at most 15 bytes.
    pub scheduler: String,
    /// Persistence timeout in whole seconds, 1 or more; `None`: not persistent.
    pub persistent: Option<u32>,
    /// Persistence granularity: prefix length, 1..=32 or 1..=128; `None`: whole address.
    pub netmask: Option<u8>,
    /// One-packet scheduling (UDP only).
    pub one_packet: bool,
    /// Flags of the scheduler.
    pub flags: SchedFlags,
    /// A failed server stays with weight 0 (true) or is taken out (false, ldirectord's default).
    pub quiescent: bool,
    /// Take the service out of the kernel when the director stops. Default true.
    pub clean_stop: bool,
    /// The primary pool.
    pub reals: Vec<RealServer>,
    /// The backup pool: serves while the primary one is below its quorum.
    pub backup: Vec<RealServer>,
    /// The sorry server: serves while neither pool can.
    pub fallback: Option<RealServer>,
    /// How often each server is checked. Default 10 s.
    pub interval: Duration,
    /// How long one check may take in all.
    pub timeout: Duration,
    /// Failures in a row until a server is out (`failurecount`). 1 or more, default 1.
    pub fall: u32,
    /// Successes in a row until it is in again. 1 or more, default 1.
    pub rise: u32,
    /// Who is told what becomes of it.
    pub notify: Notify,
    /// What ldirectord has no words for.
    pub policy: Policy,
}

impl VirtualService {
    /// The real servers of both pools, and the sorry server last.
    pub fn servers(&self) -> impl Iterator<Item = &RealServer> {
        self.pools().chain(&self.fallback)
    }

    /// As many checks as it needs at most.
    pub fn checks(&self) -> usize {
        let sorry = self.fallback.as_ref().filter(|sorry| sorry.check != CheckKind::On);
        let requires = self.pools().flat_map(|real| &real.requires);
        let names: BTreeSet<&str> = requires.map(|it| it.name.as_str()).collect();
        let agents = self.pools().filter(|real| real.agent.is_some()).count();
        self.pools().count() + agents + usize::from(sorry.is_some()) + names.len()
    }

    /// The first of the servers that is not of the service's address family. The kernel forwards to
    /// such by tunnels only, and syncs no connections while it has one.
    pub fn of_other_family(&self) -> Option<&RealServer> {
        self.servers().find(|real| real.key.address.is_ipv6() != self.key.is_ipv6())
    }

    /// The real servers of both pools.
    pub fn pools(&self) -> impl Iterator<Item = &RealServer> {
        self.reals.iter().chain(&self.backup)
    }
}

/// How a service's pools are used. The default is what ldirectord does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// What the primary pool needs to serve.
    pub quorum: Quorum,
    /// For so long after a server's return its weight grows step by step; `None`: it is whole at
    /// once. 1 s to 24 h.
    pub slow_start: Option<Duration>,
    /// When more than so many percent of the primary pool fail, those that fail stay in; `None`:
    /// never. 1 to 99.
    pub panic: Option<u8>,
    /// When checks are made beside their interval.
    pub pace: Pace,
    /// Each director finds a connection's server by itself, from the packet alone: the scheduler
    /// `mh`, and packets of connections that the kernel does not know are scheduled
    /// (`sloppy_tcp`). Default false.
    pub stateless: bool,
}

/// When a check is made beside its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Pace {
    /// After a failure that is not the last of `fall` the next check comes so soon, if that is
    /// sooner than the interval.
    pub retry: Option<Retry>,
    /// New checks run for the first time within this span, spread over it; `None`: within a second.
    pub warmup: Option<Duration>,
}

/// A failed check that is repeated soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Retry {
    /// From the end of the failed check.
    pub after: Duration,
    /// As long as there are fewer failures in a row than this.
    pub failures: u32,
}

/// What a pool needs to serve (`quorum` and `hysteresis` of keepalived).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quorum {
    /// Met from there on.
    pub need: Need,
    /// Once met, lost so far below it only; less than what is needed. Default 0.
    pub hysteresis: u32,
}

/// A total weight of 1: one server.
impl Default for Quorum {
    fn default() -> Self {
        Self { need: Need::Weight(1), hysteresis: 0 }
    }
}

/// `weight 20`, `2 servers`; with a hysteresis `weight 20, lost below 15`.
impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let need = match self.need {
            Need::Weight(need) => {
                write!(f, "weight {need}")?;
                need
            }
            Need::Servers(need) => {
                write!(f, "{need} servers")?;
                need
            }
        };
        match self.hysteresis {
            0 => Ok(()),
            hysteresis => write!(f, ", lost below {}", need.saturating_sub(hysteresis)),
        }
    }
}

/// The unit of a quorum. Servers without a verdict, of weight 0, drained or disabled, do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The sum of their weights; 1 or more.
    Weight(u32),
    /// How many there are; 1 or more.
    Servers(u32),
}

/// What identifies a virtual service in IPVS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKey {
    /// Protocol, address and port. Port 0 is every port, and needs persistence.
    Address {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// The VIP.
        address: IpAddr,
        /// In host order.
        port: u16,
    },
    /// A firewall mark of an address family.
    Mark {
        /// IPv6 instead of IPv4.
        ipv6: bool,
        /// 1 or more.
        mark: u32,
    },
}

impl ServiceKey {
    /// Whether the service is of the IPv6 family.
    pub fn is_ipv6(&self) -> bool {
        match self {
            Self::Address { address, .. } => address.is_ipv6(),
            Self::Mark { ipv6, .. } => *ipv6,
        }
    }

    /// `tcp`, `udp`, `sctp`; `fwm` with a mark.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Address { protocol, .. } => protocol.word(),
            Self::Mark { .. } => "fwm",
        }
    }

    /// Its own port; 0 where that is every port, and with a mark.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }
}

/// As in `ipvsadm -Ln`: `192.168.2.110:80`, `[2001:db8::1]:80`; with `tcp `, `udp ` or `sctp ` in front only
/// in `{:#}`; marks as `fwm 7`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address, port } => {
                if f.alternate() {
                    write!(f, "{protocol} ")?;
                }
                write!(f, "{}", std::net::SocketAddr::new(*address, *port))
            }
            Self::Mark { ipv6: false, mark } => write!(f, "fwm {mark}"),
            Self::Mark { ipv6: true, mark } => write!(f, "fwm6 {mark}"),
        }
    }
}

/// Transport protocol of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
}

impl Protocol {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// By its word, lower case.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.word() == word)
    }

    /// As in /etc/services, lower case.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Highest weight of the kernel.
pub const WEIGHT_MAX: u32 = 65_535;

/// A real server of one virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// Where it is in IPVS. With gate and tunnels the port is the virtual service's; with
    /// a mark it is 0, unless masq maps every marked connection to one port.
    pub key: RealKey,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// 0..=65535; 0 takes no new connection.
    pub weight: u32,
    /// How many connections are enough.
    pub thresholds: Thresholds,
    /// How it is checked.
    pub check: CheckKind,
    /// The address that is checked; the server's own unless configured.
    pub check_address: IpAddr,
    /// The port that is checked; 0 where the check has none.
    pub check_port: u16,
    /// The address of this node that checks come from; `None`: the kernel's choice.
    pub check_source: Option<IpAddr>,
    /// What must be up, too, for it to be up.
    pub requires: Vec<Arc<Dependency>>,
    /// Who says how much of its weight it can carry.
    pub agent: Option<Agent>,
}

/// An agent and where it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// How.
    pub check: CheckKind,
    /// Where.
    pub address: IpAddr,
    /// At which port; for a program, the port that it is told.
    pub port: u16,
}

/// Something that real servers can't do without: a shared back end, a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// By which the configuration and the status know it.
    pub name: String,
    /// How it is checked.
    pub check: CheckKind,
    /// Where.
    pub address: IpAddr,
    /// At which port; 0 where the check has none.
    pub port: u16,
    /// The address of this node that checks come from; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
}

/// A real server's or sorry server's identity within its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RealKey {
    /// Its address.
    pub address: IpAddr,
    /// In host order.
    pub port: u16,
}

impl fmt::Display for RealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::net::SocketAddr::new(self.address, self.port))
    }
}

impl RealServer {
    /// A sorry server of weight 1 that is never checked, as ldirectord's `fallback`.
    pub fn sorry(key: RealKey, forwarding: Forwarding) -> Self {
        Self {
            key,
            forwarding,
            weight: FALLBACK_WEIGHT,
            thresholds: Thresholds::default(),
            check: CheckKind::On,
            check_address: key.address,
            check_port: 0,
            check_source: None,
            requires: Vec::new(),
            agent: None,
        }
    }
}

/// Weight of a sorry server, as in ldirectord.
pub const FALLBACK_WEIGHT: u32 = 1;

/// The IPVS entries that should be, or are, in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table(pub BTreeMap<ServiceKey, ServiceEntry>);

/// One service in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Scheduler name.
    pub scheduler: String,
    /// Persistence in seconds.
    pub persistent: Option<u32>,
    /// Prefix length of the persistence netmask; `None`: whole address.
    pub netmask: Option<u8>,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// Flags of the scheduler.
    pub flags: SchedFlags,
    /// Its destinations.
    pub dests: BTreeMap<RealKey, DestEntry>,
}

/// One destination in the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DestEntry {
    /// Forwarding method.
    pub forwarding: Forwarding,
    /// Weight.
    pub weight: u32,
    /// How many connections are enough.
    pub thresholds: Thresholds,
}

impl DestEntry {
    /// Without thresholds.
    pub fn new(forwarding: Forwarding, weight: u32) -> Self {
        Self { forwarding, weight, thresholds: Thresholds::default() }
    }
}

/// Connections at which the kernel stops and begins again to give a destination new ones
/// (ipvsadm(8), `--u-threshold` and `--l-threshold`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Thresholds {
    /// At so many it gets no new one; 0: never.
    pub upper: u32,
    /// Below so many it gets new ones again; 0: three quarters of `upper`.
    pub lower: u32,
}

/// Flags of a scheduler (ipvsadm(8), `--sched-flags`), as bits 1, 2 and 4: with `sh` and `mh`,
/// fallback and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SchedFlags(pub u8);

/// Connections of one destination, as in `ipvsadm -Ln`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectionCount {
    /// Established.
    pub active: u32,
    /// All others that the kernel still knows; every one with UDP.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}

/// Connections by destination.
pub type ConnectionCounts = BTreeMap<(ServiceKey, RealKey), ConnectionCount>;
