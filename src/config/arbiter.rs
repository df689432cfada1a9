//! Third parties that have a say before a group is taken from a silent peer.
//!
//! Types and limits. Asks nobody itself. Neighbours: `toml::arbiter` reads them,
//! [`crate::cluster`] knows what follows from their answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::keys::Secret;

/// Most arbiters: each of them is asked about each group.
pub const ARBITERS_MAX: usize = 8;
/// Most addresses of one arbiter: all of them are asked at a takeover.
pub const ARBITER_ADDRESSES_MAX: usize = 16;
/// Longest wait for an arbiter's answer, where nothing is said.
pub const ARBITER_TIMEOUT: Duration = Duration::from_secs(1);
/// Shortest that may be asked for: a round trip on a loaded machine.
pub(super) const ARBITER_TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Longest that may be asked for; nobody serves meanwhile.
pub(super) const ARBITER_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How long a grant of etcd lasts that is not renewed, where nothing is said.
pub const ARBITER_LEASE: Duration = Duration::from_secs(10);
/// Shortest that may be asked for: the last third of it must be enough to stop a group, and etcd
/// itself grants nothing shorter than about two seconds.
pub(super) const ARBITER_LEASE_MIN: Duration = Duration::from_secs(3);
/// Longest that may be asked for: for so long nobody can take what a dead node was granted.
pub(super) const ARBITER_LEASE_MAX: Duration = Duration::from_secs(300);
/// Port of etcd's client traffic (IANA).
pub const ETCD_PORT: u16 = 2379;

/// A third party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arbiter {
    /// Shown in status and log. No two are the same. Default: the kind, with a number behind it
    /// when there are several.
    pub name: String,
    /// Whether nothing is taken, and nothing held without contact to the peer, while it can't be
    /// reached. Its clear no counts in any case. Default: yes.
    pub required: bool,
    /// Longest wait for its answer. Default [`ARBITER_TIMEOUT`].
    pub timeout: Duration,
    /// What it is.
    pub kind: ArbiterKind,
}

/// What an arbiter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArbiterKind {
    /// Addresses that answer to ICMP echo: this node reaches the world.
    Ping(Vec<IpAddr>, Needed),
    /// Ports that take a TCP connection: the same.
    Tcp(Vec<SocketAddr>, Needed),
    /// A lease in etcd: one node at a time.
    Etcd(Box<Etcd>),
}

/// How many of an arbiter's addresses must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// One.
    Any,
    /// More than half. The default.
    Majority,
}

impl Needed {
    /// The number that must answer, of so many.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Any => 1,
            Self::Majority => all / 2 + 1,
        }
    }
}

/// An etcd cluster, version 3.4 or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etcd {
    /// Its members, asked one after the other until one answers; at most
    /// [`ARBITER_ADDRESSES_MAX`].
    pub endpoints: Vec<Endpoint>,
    /// What stands before the name of the group in a key. Default `/pairbeat/` and both nodes in
    /// alphabetical order.
    pub prefix: String,
    /// How long a grant lasts that is not renewed; whole seconds. Default [`ARBITER_LEASE`].
    pub lease: Duration,
    /// `None`: in the clear.
    pub tls: Option<EtcdTls>,
    /// Name and password, where etcd wants them.
    pub user: Option<(String, Secret)>,
}

/// One member of an etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub address: SocketAddr,
    /// As it was written, without the port: what its certificate must be for.
    pub host: String,
}

/// How TLS is spoken with etcd. The files are PEM, and are read at each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdTls {
    /// The authorities to believe; `None`: the system's.
    pub ca: Option<std::path::PathBuf>,
    /// Our own certificate and its key, where etcd wants them.
    pub own: Option<(std::path::PathBuf, std::path::PathBuf)>,
}
