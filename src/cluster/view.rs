//! The core as the operator sees it: one snapshot, from which every status is rendered.

use serde::{Deserialize, Serialize};

use crate::cluster::drift::Difference;
use crate::cluster::event::{Bar, Cause, GroupState, ServiceLink};
use crate::cluster::message::Freeze;
use crate::cluster::outside::{ArbiterView, FenceView, ReachView};
use crate::names::{GroupName, NodeName};

/// Everything that the core knows, at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// This node.
    pub node: NodeName,
    /// What this node is doing as a whole.
    pub state: NodeView,
    /// The other node.
    pub peer: PeerView,
    /// Links in the order of the configuration.
    pub links: Vec<LinkView>,
    /// The newest word on automatic switches.
    pub freeze: Freeze,
    /// How far the fencing of the peer is; `None` where nothing can fence it.
    pub fence: Option<FenceView>,
    /// Who reaches how many ping nodes.
    pub reach: ReachView,
    /// Groups in the order of the configuration.
    pub groups: Vec<GroupView>,
}

/// What this node is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeView {
    /// Waits for the peer to be heard, or for initdead.
    Booting,
    /// In service.
    Running,
    /// In service after a stall of its own that the peer may have taken for its death: takes and
    /// announces nothing until it has heard from the peer again, or for one deadtime.
    Validating,
    /// Ends soon with all that it holds, for the next process to go on with.
    Restarting,
    /// Gives everything away.
    Leaving,
    /// Has left.
    Left,
}

/// The peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub node: NodeName,
    /// What it is known to be.
    pub state: PeerLife,
    /// It restarts with all that it holds: for so long its silence means nothing, in milliseconds.
    pub restarts_ms: Option<u64>,
    /// For how long it has been silent, in milliseconds; since our own start when never heard.
    pub silent_ms: u64,
    /// Whether it runs on a configuration that differs from ours.
    pub config_differs: bool,
    /// Where, as far as the peer has told.
    pub differences: Vec<Difference>,
}

/// What the peer is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerLife {
    /// Not heard of since our start.
    Unknown,
    /// It answers.
    Alive,
    /// Silent for a deadtime.
    Dead,
    /// It said good-bye.
    Left,
}

/// One heartbeat link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// What it is known to be.
    pub state: LinkState,
    /// When a beat last came in there, in milliseconds before now; `None`: never.
    pub heard_ms: Option<u64>,
}

/// Whether a link carries the peer's beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// Not heard of yet.
    Unknown,
    /// Heard within a deadtime.
    Up,
    /// Silent for a deadtime.
    Down,
}

/// One resource of a group, on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceView {
    /// What it is.
    pub state: ResourceState,
    /// Whether it is being looked after.
    pub monitored: bool,
    /// Its failures that are not forgotten yet.
    pub failures: u32,
    /// The last of them.
    pub why: Option<String>,
}

/// What a resource is on this node, as far as the core knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceState {
    /// Not started, or stopped.
    Down,
    /// Being started.
    Starting,
    /// Started, and not seen to have failed.
    Up,
    /// It has failed, or could not be stopped.
    Failed,
    /// Being stopped.
    Stopping,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// Its name.
    pub name: GroupName,
    /// What it is on this node.
    pub state: GroupState,
    /// Its resources on this node, in order.
    pub resources: Vec<ResourceView>,
    /// Who has it, or a part of it; this node, when both do.
    pub holder: Option<NodeName>,
    /// The holder's epoch; the highest known when nobody has it.
    pub epoch: u64,
    /// Who should have it when both can.
    pub preferred: NodeName,
    /// Why this node's state is what it is.
    pub cause: Cause,
    /// The operator's request for it that has not come to its end: `standby` or `takeover`.
    pub pending: Option<&'static str>,
    /// Why the last hand-over or start of it came to nothing.
    pub setback: Option<String>,
    /// For how many more seconds it stays where it is because it has switched too often.
    pub held_down_s: Option<u64>,
    /// What keeps this node from taking it from a silent peer.
    pub jeopardy: Option<Bar>,
    /// This node's own way to its clients.
    pub service: ServiceLink,
    /// What each arbiter said last of it.
    pub arbiters: Vec<ArbiterView>,
    /// Whether this node had it last: while switches are frozen it alone takes it again.
    pub was_here: bool,
}
