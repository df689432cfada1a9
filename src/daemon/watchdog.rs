//! Feeds the watchdog device as long as it is sure that this machine does no harm.
//!
//! Either the core proves that it is alive (its loop runs and its beat thread reports), or there is
//! none and nothing is held here. A core that hangs, addresses that can't be removed, a supervisor
//! that hangs: the device is not fed, and the machine restarts.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::sys::watchdog::Watchdog;

/// From one feeding to the next.
const FEED_EVERY: Duration = Duration::from_secs(1);
/// Shortest timeout of the device: a core that died must have time to be replaced.
const TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// How long a core's proof of life holds: three of its looks (`daemon::keeper`).
const LIFE_LIMIT: Duration = Duration::from_secs(3);
/// Longest start of a core: it may have to stop scripts that an earlier one has left.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Why the machine does no harm now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A core was started then, and has not been in service yet.
    Started(Instant),
    /// The core proved itself alive then.
    Alive(Instant),
    /// The core stops, and has time until then.
    Stopping(Instant),
    /// No core runs, and nothing is held here.
    Released,
    /// No core runs, and something may still be held.
    Held,
}

impl Proof {
    fn holds(self, now: Instant) -> bool {
        match self {
            Self::Started(at) => now < at + START_LIMIT,
            Self::Alive(at) => now < at + LIFE_LIMIT,
            Self::Stopping(until) => now < until,
            Self::Released => true,
            Self::Held => false,
        }
    }
}

/// The device, where one is configured and can be had.
#[derive(Debug)]
pub(super) struct Feeder {
    proof: Rc<Cell<Proof>>,
    device: Option<tokio::task::JoinHandle<()>>,
    end: Rc<tokio::sync::Notify>,
}

impl Feeder {
    /// Opens the device and begins to feed it.
    pub(super) fn start(path: Option<&Path>, deadtime: Duration) -> Self {
        let (proof, end) =
            (Rc::new(Cell::new(Proof::Released)), Rc::new(tokio::sync::Notify::new()));
        let device = path.and_then(|path| {
            let device = open(path, deadtime)?;
            let task = feed(device, Rc::clone(&proof), Rc::clone(&end));
            Some(tokio::task::spawn_local(task))
        });
        Self { proof, device, end }
    }

    /// What is known now.
    pub(super) fn prove(&self, proof: Proof) {
        self.proof.set(proof);
    }

    /// The core lives; nothing new while it stops, for that has its own end.
    pub(super) fn alive(&self) {
        if !matches!(self.proof.get(), Proof::Stopping(_)) {
            self.prove(Proof::Alive(Instant::now()));
        }
    }

    /// Switches the device off, if nothing is held here.
    pub(super) async fn stop(self) {
        self.end.notify_one();
        if let Some(task) = self.device {
            let _panicked = task.await;
        }
    }
}

fn open(path: &Path, deadtime: Duration) -> Option<Watchdog> {
    let timeout = deadtime.max(TIMEOUT_MIN);
    let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
    match Watchdog::open(path, u32::try_from(seconds).unwrap_or(u32::MAX)) {
        Ok(device) => {
            info!("the watchdog {} restarts this machine after {seconds} s", path.display());
            Some(device)
        }
        Err(why) => {
            error!("no watchdog: {}: {why}", path.display());
            None
        }
    }
}

async fn feed(mut device: Watchdog, proof: Rc<Cell<Proof>>, end: Rc<tokio::sync::Notify>) {
    let mut tick = interval(FEED_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hungry = false;
    loop {
        tokio::select! {
            biased;
            () = end.notified() => break,
            _ = tick.tick() => {}
        }
        let holds = proof.get().holds(Instant::now());
        if !holds && !hungry {
            error!("the watchdog is not fed any more: {}", why(proof.get()));
        }
        hungry = !holds;
        if holds && let Err(why) = device.feed() {
            warn!("the watchdog can't be fed: {why}");
        }
    }
    if proof.get() == Proof::Held {
        error!("the watchdog stays armed: something may still be held here");
    } else if let Err(why) = device.disarm() {
        warn!("the watchdog can't be switched off: {why}");
    }
}

fn why(proof: Proof) -> &'static str {
    match proof {
        Proof::Held => "something may still be held here, and no core runs",
        Proof::Started(_) => "the core does not come into service",
        Proof::Stopping(_) => "the core does not stop",
        Proof::Alive(_) | Proof::Released => "the core does not answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_of_life_holds_for_three_looks_and_a_machine_that_may_hold_something_has_none() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        for (proof, after, holds) in [
            (Proof::Alive(now), 2, true),
            (Proof::Alive(now), 3, false),
            (Proof::Started(now), 119, true),
            (Proof::Started(now), 120, false),
            (Proof::Stopping(later(5)), 4, true),
            (Proof::Stopping(later(5)), 5, false),
            (Proof::Released, 1000, true),
            (Proof::Held, 0, false),
        ] {
            assert_eq!(proof.holds(later(after)), holds, "{proof:?} after {after} s");
        }
    }
}
