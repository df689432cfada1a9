//! The node as a whole: booting, in service, on its way out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::restart::Restart;
use crate::cluster::settings::Settings;
use crate::names::{GroupName, RequestId};
use crate::time::Instant;

/// How often the last word is said: it is the difference between an instant takeover and a whole
/// deadtime, and a packet may be lost.
pub(super) const FAREWELLS: u32 = 3;
/// Longest time from one farewell to the next.
const FAREWELL_SPACING: Duration = Duration::from_millis(50);

/// What the node as a whole is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Waits for the peer, or for initdead.
    Booting { since: Instant, doubt: Option<Doubt> },
    /// In service, since then.
    Running { since: Instant, doubt: Option<Doubt> },
    /// Ends soon with all that it holds, for the next process to go on with.
    Restarting(Restart),
    /// Gives everything away.
    Leaving(Leave),
    /// Holds nothing; says so `left` more times.
    Goodbye { leave: Leave, left: u32, next: Instant },
    /// The end.
    Ended,
}

impl Phase {
    /// What is not sure after a stall of our own.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Booting { doubt, .. } | Self::Running { doubt, .. } => *doubt,
            Self::Restarting(_) | Self::Leaving(_) | Self::Goodbye { .. } | Self::Ended => None,
        }
    }
}

/// A request to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leave {
    pub(super) id: RequestId,
    pub(super) since: Instant,
    /// The groups that were held then.
    pub(super) held: Vec<GroupName>,
}

/// After a stall of our own that the peer may have taken for our death. Ends when the peer has
/// heard a beat that we sent afterwards and answers, or after one deadtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doubt {
    /// The first beat after the stall.
    pub(super) sequence: u64,
    pub(super) until: Instant,
}

/// When a boot that has not heard the peer ends. A sign of it (signed, but without proof that it
/// is of now) prolongs the wait by a deadtime, to twice initdead at most.
pub(super) fn boot_end(settings: &Settings, since: Instant, presence: Option<Instant>) -> Instant {
    let first = since.plus(settings.initdead);
    let last = since.plus(settings.initdead * 2);
    presence.map_or(first, |at| first.max(at.plus(settings.deadtime)).min(last))
}

/// From one farewell to the next.
pub(super) fn farewell_spacing(settings: &Settings) -> Duration {
    settings.keepalive.min(FAREWELL_SPACING)
}
