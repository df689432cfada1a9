//! Is the daemon's main loop alive, which does what the cluster decides?
//!
//! A node that beats and can't act keeps its peer from acting. The loop counts its turns; the beat
//! thread looks at the count. Time in which the beat thread itself stood still is not counted: then
//! the loop most likely did so as well.

use std::time::Duration;

use crate::time::Instant;

/// For how long the loop may make no turn, of which it makes one a second when there is nothing to
/// do: longer than any honest delay, and shorter than the cluster waits for an order.
pub(super) const HANGING_AFTER: Duration = Duration::from_secs(10);
/// What one look may add: the thread looks several times a second.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// The last looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    turns: u64,
    looked: Instant,
    unmoved: Duration,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { turns: 0, looked: now, unmoved: Duration::ZERO }
    }

    /// Whether the loop hangs, given its turns so far. One that has not begun does not.
    pub(super) fn hangs(&mut self, now: Instant, turns: u64) -> bool {
        let passed = now.since(self.looked).min(LOOK_MAX);
        self.looked = now;
        if turns == self.turns && turns > 0 {
            self.unmoved += passed;
        } else {
            self.turns = turns;
            self.unmoved = Duration::ZERO;
        }
        self.unmoved >= HANGING_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Instant {
        Instant::BOOT.plus(Duration::from_millis(millis))
    }

    /// When it hangs, of looks every 250 ms in which the loop makes these turns.
    fn found(turns: impl Fn(u64) -> u64) -> Option<u64> {
        let mut watch = Watch::new(ms(0));
        (1..400).map(|look| look * 250).find(|at| watch.hangs(ms(*at), turns(*at)))
    }

    #[test]
    fn a_loop_that_makes_no_turn_for_ten_seconds_hangs() {
        assert_eq!(found(|at| at.min(5000) / 1000 + 1), Some(15_000));
    }

    #[test]
    fn a_loop_that_turns_once_a_second_or_has_not_begun_does_not() {
        assert_eq!(found(|at| at / 1000 + 1), None);
        assert_eq!(found(|_| 0), None);
    }

    #[test]
    fn time_in_which_the_beat_thread_stood_still_does_not_count() {
        let mut watch = Watch::new(ms(0));
        watch.hangs(ms(250), 1);
        for nap in 1..15 {
            assert!(!watch.hangs(ms(nap * 60_000), 1));
        }
    }
}
