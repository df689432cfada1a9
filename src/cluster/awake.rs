//! The core's own clock: the boot clock without the time in which we ourselves were late.
//!
//! The core says when it wants to be called. When the call comes much later, somebody kept us from
//! running: the process was stopped, the machine suspended, the processor busy. That time is taken
//! off the clock that everything in the core runs on, so that it is nobody's silence. On this clock
//! a stall is a single instant; a beat that came in meanwhile came in at that instant.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::settings::Settings;
use crate::time::Instant;

/// Stalls remembered: one right after another, before what came in during the first has been read.
/// Whoever is stopped more often in so short a time may take an old beat for an older one.
const STALLS_MAX: usize = 8;

/// A time in which we did not run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Stall {
    /// The lag before it.
    lag: Duration,
    /// The awake instant at which it happened.
    frozen: Instant,
    /// Its end on the boot clock.
    end: Instant,
}

/// The clock, and the lateness that is too much.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Awake {
    lag: Duration,
    /// The last ones, oldest first.
    stalls: VecDeque<Stall>,
    bearable: Duration,
    /// The last instant it gave: it never goes back.
    last: Instant,
}

impl Awake {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        let bearable = settings.keepalive.min(settings.deadtime / 4);
        Self { lag: Duration::ZERO, stalls: VecDeque::new(), bearable, last: now }
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
            if self.stalls.len() == STALLS_MAX {
                self.stalls.pop_front();
            }
            self.stalls.push_back(Stall { lag: self.lag, frozen: due, end: now });
            self.lag += late;
        }
        self.last = self.last.max(self.inside(now));
        (self.last, stall)
    }

    /// A point on the boot clock, as awake time.
    pub(super) fn inside(&self, instant: Instant) -> Instant {
        match self.stalls.iter().find(|stall| instant < stall.end) {
            Some(stall) => instant.minus(stall.lag).min(stall.frozen),
            None => instant.minus(self.lag),
        }
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
