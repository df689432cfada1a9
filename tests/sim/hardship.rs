//! What makes the world hard beyond lost packets and dead processes: clocks that drift, a peer of
//! the version before, keys that differ, questions that nobody answers, a disk that takes nothing.

use std::time::Duration;

use pairbeat::cluster::event::{LanAnswer, Outcome};
use pairbeat::cluster::message::{Beat, Notice, Unrest};
use pairbeat::time::Instant;

use crate::rng::Rng;
use crate::world::Agent;

/// What one machine suffers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hardship {
    /// Its boot clock gains so many microseconds a second.
    pub(crate) drift_ppm: i64,
    /// It is of the version before: it neither says nor understands what is optional in a beat.
    pub(crate) old: bool,
    /// How its questions to the service LAN go: one that fails is answered with nothing known, one
    /// that hangs or is mute not at all.
    pub(crate) lan: Agent,
    /// The last moment at which they did not go well.
    pub(crate) blind_until: Instant,
    /// How its disk takes what is to be carried.
    pub(crate) disk: Agent,
}

impl Default for Hardship {
    fn default() -> Self {
        let (lan, disk) = (Agent::Obeys, Agent::Obeys);
        Self { drift_ppm: 0, old: false, lan, blind_until: Instant::BOOT, disk }
    }
}

impl Hardship {
    /// What lasts for a whole history.
    pub(crate) fn of_machine(rng: &mut Rng, version: bool) -> Self {
        let drift = rng.range(0, 2000);
        let drift_ppm = if rng.percent(30) { i64::try_from(drift).unwrap() - 1000 } else { 0 };
        Self { drift_ppm, old: version && rng.percent(50), ..Self::default() }
    }

    /// The boot clock, where the world's is `now`.
    pub(crate) fn clock(&self, now: Instant) -> Instant {
        let gained = i128::from(now.as_nanos()) * i128::from(self.drift_ppm) / 1_000_000;
        let clock = i128::from(now.as_nanos()) + gained;
        Instant::from_nanos(u64::try_from(clock).unwrap())
    }

    /// A span of the boot clock in the world's time; never too short by a rounding.
    pub(crate) fn span(&self, span: Duration) -> Duration {
        if self.drift_ppm == 0 {
            return span;
        }
        let nanos = span.as_nanos() * 1_000_000;
        let rate = u128::try_from(1_000_000 + self.drift_ppm).unwrap();
        Duration::from_nanos(u64::try_from(nanos / rate + 2).unwrap_or(u64::MAX))
    }

    /// What the driver is told by the LAN, if anything; `heard` is the truth.
    pub(crate) fn lan_answer(&self, heard: bool) -> Option<LanAnswer> {
        match self.lan {
            Agent::Obeys if heard => Some(LanAnswer::Served),
            Agent::Obeys => Some(LanAnswer::Free),
            Agent::Fails => Some(LanAnswer::Unknown),
            Agent::Hangs | Agent::Mute => None,
        }
    }

    /// What becomes of a file, if that is ever known.
    pub(crate) fn written(&self) -> Option<Outcome> {
        match self.disk {
            Agent::Obeys => Some(Outcome::Done),
            Agent::Fails => Some(Outcome::Failed("no space left on device".to_owned())),
            Agent::Hangs | Agent::Mute => None,
        }
    }

    /// A beat as a machine of the version before says or understands it.
    pub(crate) fn plain(&self, beat: Beat) -> Beat {
        if !self.old {
            return beat;
        }
        let mut beat = Beat { notice: Notice::default(), sections: Vec::new(), ..beat };
        for claim in &mut beat.groups {
            (claim.via, claim.unrest) = (None, Unrest::default());
        }
        beat
    }
}
