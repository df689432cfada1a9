//! The world outside the pair, as the core is told of it: who has a say before a group is taken,
//! what fences the peer, and whose connectivity counts. Plain values.
//!
//! What follows from them: `arbiter`, `fence`, `reach`, and the table in docs/ARBITERS.md.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{ActionId, GroupId};

/// What the core goes by outside the pair; nothing at all by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OutsideSettings {
    /// In the order of the configuration; at most [`crate::config::ARBITERS_MAX`].
    pub arbiters: Vec<ArbiterSettings>,
    /// The longest that all fencing devices of the peer may take together, enforced by the driver;
    /// `None`: there are none.
    pub fence: Option<Duration>,
    /// Ping nodes and groups of this node.
    pub ping: PingSettings,
}

/// A third party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArbiterSettings {
    /// For the operator.
    pub name: String,
    /// Whether nothing is taken, and nothing held without contact to the peer, while it can't be
    /// reached.
    pub required: bool,
    /// Longest wait for its answer, enforced by the driver; the core waits a little longer.
    pub timeout: Duration,
    /// It grants a group to one node at a time, for so long from the question on. `None`: it only
    /// witnesses that this node reaches the world.
    pub lease: Option<Duration>,
}

/// Ping nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PingSettings {
    /// How many there are, groups counted as one.
    pub nodes: u8,
    /// Whether the node that reaches more of them shall hold the groups.
    pub ipfail: bool,
}

/// An order that concerns the world outside the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideOrder {
    /// Ask an arbiter for a group, or to have it for longer. Answer with [`crate::cluster::event::Input::Arbiter`] within
    /// the arbiter's time.
    Ask {
        /// To be repeated in the answer.
        order: ActionId,
        /// Its place in the settings.
        arbiter: u8,
        /// The group.
        group: GroupId,
    },
    /// Let go of what an arbiter may have granted, after every question asked before. No answer.
    Release {
        /// Its place in the settings.
        arbiter: u8,
        /// The group.
        group: GroupId,
    },
    /// Put the peer out of service by its devices. Answer with [`crate::cluster::event::Input::Fenced`] within the
    /// settings' time.
    Fence {
        /// To be repeated in the answer.
        order: ActionId,
    },
}

/// What keeps a node from taking a group from a silent peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// The peer still serves it: only the heartbeat links are gone.
    Served,
    /// Our own service link is down.
    NoLink,
    /// None of our ping nodes answers: this node is the one that is cut off.
    Isolated,
    /// An arbiter has granted it to somebody else.
    Held,
    /// An arbiter that must be asked can't be reached.
    Unreachable,
    /// The peer has not been fenced yet.
    Unfenced,
}

/// What an arbiter says of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArbiterAnswer {
    /// This node may have it.
    Granted,
    /// Somebody else has it: who, in the arbiter's words.
    Held(String),
    /// No answer, or none that counts: why, in one line.
    Unreachable(String),
}

impl ArbiterAnswer {
    /// For the operator, with the arbiter's name.
    pub fn words(&self, arbiter: &str) -> String {
        match self {
            Self::Granted => format!("{arbiter} grants it to this node"),
            Self::Held(who) => format!("{arbiter} holds it for {who}"),
            Self::Unreachable(why) => format!("{arbiter} can't be reached: {why}"),
        }
    }
}

/// How far the fencing of the peer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum FenceView {
    /// Nothing asks for it.
    Idle,
    /// The devices are at work.
    Running {
        /// Which try, from 1.
        tries: u32,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// They have failed, and are tried again.
    Failed {
        /// How often.
        tries: u32,
        /// Why, the last time.
        why: String,
        /// In how many milliseconds.
        again_ms: u64,
    },
    /// The peer is off: by a device's word, or by an operator's.
    Done {
        /// By an operator.
        confirmed: bool,
        /// In one line.
        how: String,
        /// How long ago, in milliseconds.
        ago_ms: u64,
    },
}

impl fmt::Display for FenceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not asked for"),
            Self::Running { tries, for_ms } => {
                write!(f, "under way for {} s, try {tries}", for_ms / 1000)
            }
            Self::Failed { tries, why, again_ms } => {
                write!(f, "FAILED {tries} times, again in {} s: {why}", again_ms / 1000)
            }
            Self::Done { how, ago_ms, .. } => {
                write!(f, "the peer is off, for {} s now: {how}", ago_ms / 1000)
            }
        }
    }
}

/// What an arbiter said last of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArbiterView {
    /// Its name.
    pub name: String,
    /// Its last answer; `None` before the first one, and when it was not asked lately.
    pub answer: Option<ArbiterAnswer>,
    /// How long ago, in milliseconds.
    pub ago_ms: Option<u64>,
}

/// Who reaches how many ping nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReachView {
    /// This node; `None` before it is known.
    pub mine: Option<u8>,
    /// The peer; `None` where it has not told.
    pub theirs: Option<u8>,
    /// How many this node has.
    pub of: u8,
}
