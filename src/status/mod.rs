//! One picture of a node, for `status`, `status --json` and whatever asks the control socket.
//!
//! The JSON form is versioned and described by `docs/status.schema.json`; fields are only added
//! within a version.

mod text;

use serde::{Deserialize, Serialize};

use crate::cluster::event::GroupState;
use crate::cluster::message::Extent;
use crate::cluster::{ArbiterView, Difference, FenceView, ReachView, ResourceState};
use crate::lvs::director::ServiceView;

pub use text::{render, render_alone};

/// Version of the JSON form.
pub const VERSION: u32 = 1;

/// The whole status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// This node.
    pub node: String,
    /// Its core process; another one after a restart. 0 from an older daemon.
    #[serde(default)]
    pub pid: u32,
    /// The version of its program.
    #[serde(default)]
    pub program: String,
    /// The other one.
    pub peer: PeerStatus,
    /// Which automatic switches an operator has frozen: `nothing`, `except_dead`, `all`.
    #[serde(default)]
    pub frozen: Extent,
    /// Heartbeat links in the order of the configuration.
    pub links: Vec<LinkStatus>,
    /// Groups in the order of the configuration.
    pub groups: Vec<GroupStatus>,
    /// Virtual services of every director of this node.
    #[serde(rename = "virtual")]
    pub services: Vec<ServiceView>,
    /// The kernel's IPVS: `ok`, or a sentence that says what is wrong and what to do.
    pub ipvs: Option<String>,
    /// What this machine lacks for the ways in which its director sends packets on, in sentences.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// What takes the VIPs out of service when this node's core does not run: `lease of 250 ms`,
    /// or `none` and why.
    pub guard: String,
    /// The connection sync; `None` where none is configured.
    #[serde(default)]
    pub sync: Option<SyncStatus>,
    /// Whether a client would be served from here as well as from the active node; `None` without a
    /// director.
    #[serde(default)]
    pub warmth: Option<Warmth>,
    /// Whether the peer knows what operators have ordered of real servers here, and the other way
    /// round; `None` until it has said so.
    #[serde(default)]
    pub orders_agreed: Option<bool>,
    /// The same for each VIP; an older daemon says nothing of it.
    #[serde(default)]
    pub guards: Vec<GuardStatus>,
    /// How far the fencing of the peer is; `null` where nothing can fence it.
    #[serde(default)]
    pub fence: Option<FenceView>,
    /// Who reaches how many ping nodes; `null` where there are none.
    #[serde(default)]
    pub reach: Option<ReachView>,
    /// The keys of the heartbeats; an older daemon says nothing of them.
    #[serde(default)]
    pub keys: KeysStatus,
    /// The journal of this core; an older daemon says nothing of it.
    #[serde(default)]
    pub journal: JournalStatus,
    /// What is not as it should be; empty when all is well.
    pub warnings: Vec<String>,
    /// Packets that were not taken, by reason.
    pub refused: std::collections::BTreeMap<String, u64>,
}

/// The status of a director without a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AloneStatus {
    /// [`VERSION`].
    pub version: u32,
    /// Its file.
    pub file: String,
    /// Its process.
    pub pid: u32,
    /// The version of its program.
    pub program: String,
    /// Its virtual services, in the order of the file.
    #[serde(rename = "virtual")]
    pub services: Vec<ServiceView>,
    /// The kernel's IPVS: `ok`, or a sentence that says what is wrong and what to do.
    pub ipvs: String,
    /// Every check has had a verdict, and the kernel's table is as it should be.
    pub converged: bool,
    /// Whether servers are being checked; if not, the last verdicts stay in force.
    pub checker: bool,
}

/// Whether a client would be served from here as well as from the active node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmth {
    /// Every check has had a verdict, and the kernel's table is as it should be.
    pub warm: bool,
    /// Why not.
    pub why: Option<String>,
    /// Checks that the active node does for this one.
    pub followed: usize,
}

/// The kernel's connection sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Where it sends and listens.
    pub interface: String,
    /// `syncid`.
    pub id: u8,
    /// The daemon that runs, by the kernel's word: `master`, `backup`; `None`: not the one that is
    /// wanted.
    pub role: Option<String>,
    /// The daemon that should run: `master` where the group is active, `backup` elsewhere; for some
    /// seconds after a planned switch still the one of before.
    pub wanted: String,
    /// Whether this node has heard of every connection in use: it tells them itself, or has listened
    /// for long enough.
    pub fresh: bool,
    /// Why it does not run.
    pub fault: Option<String>,
    /// The multicast group.
    #[serde(default)]
    pub group: Option<std::net::IpAddr>,
    /// Its UDP port.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whose messages are taken, while the guard is in force; empty: anybody's.
    #[serde(default)]
    pub peers: Vec<std::net::IpAddr>,
    /// Why messages of anybody are taken; `None`: the guard is in force.
    #[serde(default)]
    pub unguarded: Option<String>,
    /// Whether a virtual IP is on the same interface: clients may send to it.
    #[serde(default)]
    pub among_clients: bool,
}

/// What takes one VIP out of service when this node's core does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// The VIP.
    pub ip: std::net::IpAddr,
    /// `lease` (the kernel drops what comes for it), `none`.
    pub kind: String,
    /// Its interface, as far as it is known.
    pub interface: Option<String>,
    /// After how long at most, in milliseconds.
    pub limit_ms: Option<u64>,
    /// Why it is not the lease.
    pub why: Option<String>,
}

/// Keys by their ids: what a rotation needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysStatus {
    /// Ours sign with this one.
    pub signing: u8,
    /// These are accepted.
    pub accepted: Vec<u8>,
    /// The peer signs with this one; unknown before it has proven itself.
    pub peer_signing: Option<u8>,
    /// Those that both nodes have, with the same secret.
    pub shared: Vec<u8>,
}

/// The journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Records in the files since the start of the core.
    pub written: u64,
    /// Records that are not: the disk did not take them.
    pub dropped: u64,
    /// Why it takes none at present.
    pub error: Option<String>,
    /// Why it took none, the last time.
    pub last_error: Option<String>,
    /// Files in its directory that are not this node's in this cluster: neither read nor touched.
    pub refused: Vec<String>,
}

/// The peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub node: String,
    /// `unknown` (not heard since our start), `up`, `dead`, `standby` (it left in good order),
    /// `jeopardy` (silent on every heartbeat link, and it still serves on the service LAN),
    /// `restarting` (it has said that it will be back).
    pub state: String,
    /// Since its last beat, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Where its configuration differs from ours, as far as it has told; empty when it is the same.
    #[serde(default)]
    pub differs: Vec<Difference>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// As configured.
    pub name: String,
    /// `ucast`, `bcast`, `mcast`, `serial`; an older daemon does not say.
    #[serde(default)]
    pub kind: String,
    /// `up`, `down`, `unknown` (nothing heard yet).
    pub state: String,
    /// Since the peer was last heard here, in milliseconds.
    pub silent_ms: Option<u64>,
    /// Round-trip time of the last beat, in microseconds.
    pub rtt_us: Option<u64>,
    /// Datagrams sent here.
    #[serde(default)]
    pub sent: u64,
    /// Beats not sent here because a slow line had others to send.
    #[serde(default)]
    pub left_out: u64,
    /// What came in on a serial line and was no datagram: noise, another speed.
    #[serde(default)]
    pub broken: u64,
    /// Datagrams of the peer that were believed here.
    pub received: u64,
    /// Datagrams that came in here and changed nothing.
    pub refused: u64,
    /// Datagrams of the peer that never came in, of the last `lost_of`.
    pub lost: u32,
    /// At most 64, fewer after the start of a session.
    pub lost_of: u32,
    /// Why it can't be used, where it can't.
    pub error: Option<String>,
}

/// A resource on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceHealth {
    /// What it is, as far as the cluster knows.
    pub state: ResourceState,
    /// Whether it is being asked at its interval.
    pub monitored: bool,
    /// Its failures that are not forgotten yet.
    pub failures: u32,
    /// The last of them, in words.
    pub why: Option<String>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// As configured.
    pub name: String,
    /// This node's part.
    pub state: GroupState,
    /// The node that has it, where it is known.
    pub holder: Option<String>,
    /// The node that should have it.
    pub preferred: String,
    /// Ownership epoch.
    pub epoch: u64,
    /// Why this node is in this state.
    pub cause: String,
    /// For how many more seconds it stays where it is, because it has switched by itself too often.
    pub held_down_s: Option<u64>,
    /// What keeps this node from taking it from a silent peer.
    #[serde(default)]
    pub jeopardy: Option<String>,
    /// This node's own way to its clients: `up`, `down`, `unknown` (it has no address).
    #[serde(default)]
    pub service_link: String,
    /// For how many more seconds at most this node does not take it back because it has not heard of
    /// every open connection.
    #[serde(default)]
    pub sync_wait_s: Option<u64>,
    /// What each arbiter said last of it.
    #[serde(default)]
    pub arbiters: Vec<ArbiterView>,
    /// Its resources in order, as written.
    pub resources: Vec<String>,
    /// What each of them is on this node, in the same order.
    #[serde(default)]
    pub health: Vec<ResourceHealth>,
    /// What was learnt of its addresses: `confirmed by 192.168.2.1 after 0.3 ms`.
    pub notes: Vec<String>,
}
