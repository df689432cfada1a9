//! The core's own clock: the boot clock without the time in which we ourselves were late.
//!
//! The core says when it wants to be called. When the call comes much later, somebody kept us from
//! running: the process was stopped, the machine suspended, the processor busy. That time is taken
//! off the clock that everything in the core runs on, so that it is nobody's silence. On this clock
//! a stall is a single instant; a beat that came in meanwhile came in at that instant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::settings::Settings;
use crate::time::Instant;

/// The clock, and the lateness that is too much.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Awake {
    lag: Duration,
    /// The last stall: the lag before it, the awake instant at which it happened, and its end on
    /// the boot clock.
    stall: (Duration, Instant, Instant),
    bearable: Duration,
    /// The last instant it gave: it never goes back.
    last: Instant,
}

impl Awake {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let bearable = settings.keepalive.min(settings.deadtime / 4);
        Self {
            lag: Duration::ZERO,
            stall: (Duration::ZERO, now, Instant::BOOT),
            bearable,
            last: now,
        }
    }

    /// Other settings: what lateness is too much from now on.
    pub(super) fn retime(&mut self, settings: &Settings) {
        self.bearable = settings.keepalive.min(settings.deadtime / 4);
    }

    /// The awake time at `now`, and the length of the stall that has just ended, if there was one.
    /// `due` is the awake time at which the core had asked to be called.
    pub(super) fn wake(&mut self, now: Instant, due: Instant) -> (Instant, Option<Duration>) {
        let late = now.since(self.outside(due));
        let stall = (late > self.bearable).then_some(late);
        if let Some(late) = stall {
            self.stall = (self.lag, due, now);
            self.lag += late;
        }
        self.last = self.last.max(self.inside(now));
        (self.last, stall)
    }

    /// A point on the boot clock, as awake time.
    pub(super) fn inside(&self, instant: Instant) -> Instant {
        let (lag, frozen, end) = self.stall;
        if instant < end { instant.minus(lag).min(frozen) } else { instant.minus(self.lag) }
    }

    /// A point in awake time, on the boot clock.
    pub(super) fn outside(&self, instant: Instant) -> Instant {
        instant.plus(self.lag)
    }

    /// The last instant that [`Awake::wake`] gave.
    pub(super) fn last(&self) -> Instant {
        self.last
    }
}
