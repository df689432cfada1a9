//! What the core knew when it changed a role: the evidence in the journal's record of it.

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::{LanAnswer, ServiceLink};
use crate::cluster::message::{Hold, Wish};
use crate::cluster::outside::{ArbiterView, FenceView};
use crate::cluster::view::{LinkView, NodeView, PeerLife};
use crate::names::GroupName;
use crate::time::{Instant, millis};

/// What was known of the peer and of this node's own health, at the moment of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What this node was doing as a whole.
    pub node: NodeView,
    /// What the peer was known to be.
    pub peer: PeerLife,
    /// For how long it had been silent, in milliseconds of our own awake time.
    pub silent_ms: u64,
    /// When each link was last heard, in the order of the configuration.
    pub links: Vec<LinkView>,
    /// What the peer said last of the group; `None` where nothing of it counts: it is not alive.
    pub theirs: Option<Theirs>,
    /// What the service LAN said last about the group's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probed: Option<Probed>,
    /// This node's own way to the group's clients.
    #[serde(default)]
    pub service: ServiceLink,
    /// What the arbiters said last of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arbiters: Vec<ArbiterView>,
    /// How far the fencing of the peer was; `None` where nothing can fence it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<FenceView>,
}

/// An answer of the service LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// What it was.
    pub answer: LanAnswer,
    /// How long before, in milliseconds.
    pub ago_ms: u64,
}

/// The peer's word on one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theirs {
    /// Highest epoch it knows of.
    pub epoch: u64,
    /// What it holds.
    pub hold: Hold,
    /// What it would like.
    pub wish: Wish,
}

impl Core {
    /// What is known at `now` that bears on `group`.
    pub fn evidence(&self, now: Instant, group: &GroupName) -> Evidence {
        let view = self.view(now);
        let theirs = self.peer.is_alive().then(|| {
            let claim = self.peer.claim(group);
            Theirs { epoch: claim.epoch, hold: claim.hold, wish: claim.wish }
        });
        let clearance = self.groups.iter().find(|it| it.settings.name == *group);
        let clearance = clearance.map(|group| &group.clearance);
        let inside = self.awake.inside(now).max(self.awake.last());
        let answered = clearance.and_then(|clearance| clearance.answer());
        Evidence {
            node: view.state,
            peer: view.peer.state,
            silent_ms: view.peer.silent_ms,
            links: view.links,
            theirs,
            probed: answered
                .map(|(answer, at)| Probed { answer, ago_ms: millis(inside.since(at)) }),
            service: clearance.map(|clearance| clearance.link()).unwrap_or_default(),
            arbiters: view
                .groups
                .into_iter()
                .find(|it| it.name == *group)
                .map(|it| it.arbiters)
                .unwrap_or_default(),
            fence: view.fence,
        }
    }
}
