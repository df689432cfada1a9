//! What the core is told at its birth: plain values, made by the engine from the configuration.
//!
//! It knows resources by their place in the list only; what they are is the engine's business.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::calm::Damping;
use crate::cluster::drift::Digests;
use crate::cluster::list::{STOP_AGAIN_QUICK, STOP_TRIES_QUICK};
use crate::cluster::message::Freeze;
use crate::cluster::outside::OutsideSettings;
use crate::cluster::watch::Monitor;
use crate::names::{GroupName, NodeName};

/// Everything that the core goes by.
///
/// Invariant, kept by the configuration readers: `keepalive * 3 <= deadtime <= initdead` and
/// `warntime < deadtime`; `node != peer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// This node.
    pub node: NodeName,
    /// The other one.
    pub peer: NodeName,
    /// From one beat to the next.
    pub keepalive: Duration,
    /// Silence that is worth a warning.
    pub warntime: Duration,
    /// Silence after which the peer is dead.
    pub deadtime: Duration,
    /// The same for a peer not heard of since our own start.
    pub initdead: Duration,
    /// Whether a preferred node takes its groups back when it returns.
    pub auto_failback: bool,
    /// How many links there are; at most [`crate::cluster::message::LINKS_MAX`].
    pub links: u8,
    /// In the order of the file; a [`crate::names::GroupId`] is a place in this list. At most
    /// [`crate::cluster::message::GROUPS_MAX`].
    pub groups: Vec<GroupSettings>,
    /// The digests of the configuration.
    pub config: Digests,
    /// When automatic switches of a group are too many.
    pub damping: Damping,
    /// Who and what outside the pair has a say.
    #[serde(default)]
    pub outside: OutsideSettings,
    /// What this node remembers of an earlier life; nothing at its first start.
    pub past: Past,
}

/// What a node remembers of its earlier life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// The newest word on automatic switches that it knew.
    pub freeze: Freeze,
    /// The groups that it had last, as far as it knew.
    pub here: Vec<GroupName>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Its name, by which the peer knows it too.
    pub name: GroupName,
    /// Who should have it when both can.
    pub preferred: Side,
    /// Started left to right, stopped right to left.
    pub resources: Vec<ResourceSettings>,
    /// Our own address on the group's service LAN, told to the peer while we serve.
    pub via: Option<IpAddr>,
    /// Whether it has an address that the service LAN can be asked for.
    pub probe: bool,
}

impl GroupSettings {
    /// Whether the whole group may be up on both nodes for an agreed moment.
    pub(super) fn overlaps(&self) -> bool {
        self.resources.iter().all(|resource| resource.overlap)
    }

    /// The longest that a node that leaves may take to give the group away: to finish its own
    /// start, wait for the peer's, stop, and try a failed stop of a script again. A backstop for
    /// those who wait for the end of the core.
    pub fn leave_limit(&self) -> Duration {
        let once = self.start_total() * 2 + self.stop_total();
        if self.overlaps() {
            return once;
        }
        let longest = self.resources.iter().map(|it| it.stop_timeout).max().unwrap_or_default();
        once + (longest + STOP_AGAIN_QUICK) * STOP_TRIES_QUICK
    }

    /// The longest that all starts may take together.
    pub(super) fn start_total(&self) -> Duration {
        self.resources.iter().map(|resource| resource.start_timeout).sum()
    }

    /// The longest that all stops may take together.
    pub(super) fn stop_total(&self) -> Duration {
        self.resources.iter().map(|resource| resource.stop_timeout).sum()
    }
}

/// One resource of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSettings {
    /// Whether it may be up on both nodes for an agreed moment: addresses and the director may.
    pub overlap: bool,
    /// Longest start, enforced by the driver; the core waits a little longer for the answer.
    pub start_timeout: Duration,
    /// Longest stop, likewise.
    pub stop_timeout: Duration,
    /// How it is looked after while it is up; `None`: not by the core.
    pub monitor: Option<Monitor>,
}

/// One of the two nodes, as seen from this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// This node.
    Me,
    /// The other one.
    Peer,
}
