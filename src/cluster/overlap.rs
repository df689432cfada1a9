//! How long both nodes have served a group in a planned switch, measured on each of them.
//!
//! The old holder begins to count when it hears that the new one serves, and ends when it has dropped
//! everything. The new holder begins when all is up there, confirmed by the gateway, and ends when it
//! hears that the old one has let go.

use serde::{Deserialize, Serialize};

use crate::cluster::event::Event;
use crate::cluster::group::Group;
use crate::cluster::outbox::Turn;
use crate::time::{Instant, millis};

/// One group's overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Overlap {
    /// There has been none in the last switch.
    #[default]
    None,
    /// Both serve since then.
    Since(Instant),
    /// Both served for so many milliseconds.
    Over(u64),
}

impl Overlap {
    /// The measured time of the last switch.
    pub(super) fn last(self) -> Option<u64> {
        match self {
            Self::None | Self::Since(_) => None,
            Self::Over(ms) => Some(ms),
        }
    }
}

impl Group {
    /// Both nodes serve from now on, as agreed; or the switch that begins has no overlap.
    pub(super) fn begin_overlap(&mut self, turn: &Turn<'_>, both: bool) {
        self.overlap = if both { Overlap::Since(turn.now) } else { Overlap::None };
    }

    /// One of the two serves no more.
    pub(super) fn end_overlap(&mut self, turn: &mut Turn<'_>) {
        let Overlap::Since(since) = self.overlap else { return };
        let both_ms = millis(turn.now.since(since));
        self.overlap = Overlap::Over(both_ms);
        let group = self.settings.name.clone();
        turn.outbox.report(Event::Overlapped { group, both_ms });
    }
}
