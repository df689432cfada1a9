//! When each check runs: pure, `now` is an argument.
//!
//! Each check has a phase of its own within its interval, taken from its number, so that a list of
//! any length is spread evenly and a check keeps its phase whatever happens to the list around it.
//! A new one runs at once, within [`BURST`] or the warm-up that is asked for, and finds its phase with
//! its second run. One that has failed may be repeated sooner. A check that
//! runs is never started again before it has ended. What a check does and what its verdict means
//! is decided elsewhere (`probe`, `lvs`); this module only turns
//! [`Alternate`](CheckKind::Alternate) into the one or the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::lvs::check::{CheckId, CheckKind, CheckSpec, Verdict};
use crate::time::Instant;

/// New checks run for the first time within this span, or within their interval where that is
/// shorter: soon enough for a start, too long for a burst that fills a real server's backlog.
pub const BURST: Duration = Duration::from_secs(1);

/// Shortest interval we keep; anything below it, zero above all, would be a busy loop.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// One run of one check; never used twice by one schedule, so that a late end is known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u64);

/// An order to run a check now.
#[derive(Debug, Clone)]
pub struct Run {
    /// To be given back at its end.
    pub id: RunId,
    /// What to do; never [`CheckKind::Alternate`].
    pub spec: Arc<CheckSpec>,
}

/// All checks with their next due time.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<CheckId, Entry>,
    /// The entries that wait; those that run are not in here.
    waiting: BTreeSet<(Instant, CheckId)>,
    running: BTreeMap<RunId, CheckId>,
    last_run: u64,
}

#[derive(Debug)]
struct Entry {
    spec: CheckSpec,
    steps: Steps,
    /// When it is due, or was when it started.
    due: Instant,
    first: bool,
    /// Failures in a row.
    failures: u32,
}

/// What a check does, run by run.
#[derive(Debug)]
enum Steps {
    Same(Arc<CheckSpec>),
    Alternate {
        connect: Arc<CheckSpec>,
        negotiate: Arc<CheckSpec>,
        connects: u32,
        /// Connect checks until the next negotiate check.
        left: u32,
    },
}

impl Schedule {
    /// Takes over a new list. An unchanged check keeps its due time, its phase and its run; a new or
    /// changed one is due at once or soon. Returns the runs that nobody waits for any more, to be
    /// aborted. Of two checks with one number the last counts.
    pub fn replace(&mut self, now: Instant, specs: Vec<CheckSpec>) -> Vec<RunId> {
        let specs: BTreeMap<CheckId, CheckSpec> =
            specs.into_iter().map(|spec| (spec.id, spec)).collect();
        self.entries.retain(|id, entry| specs.get(id) == Some(&entry.spec));
        self.waiting.retain(|(_, id)| self.entries.contains_key(id));
        let gone = self.running.iter().filter(|(_, id)| !self.entries.contains_key(id));
        let gone: Vec<RunId> = gone.map(|(run, _)| *run).collect();
        for run in &gone {
            self.running.remove(run);
        }

        let fresh: Vec<CheckSpec> =
            specs.into_values().filter(|spec| !self.entries.contains_key(&spec.id)).collect();
        self.add(now, fresh);
        gone
    }

    fn add(&mut self, now: Instant, specs: Vec<CheckSpec>) {
        let count = u32::try_from(specs.len()).unwrap_or(u32::MAX).max(1);
        for (place, spec) in (0u32..).zip(specs) {
            let burst = spec.pace.warmup.unwrap_or_else(|| interval(&spec).min(BURST));
            let due = now.plus(burst.mul_f64(f64::from(place) / f64::from(count)));
            self.waiting.insert((due, spec.id));
            let steps = Steps::new(&spec);
            self.entries.insert(spec.id, Entry { spec, steps, due, first: true, failures: 0 });
        }
    }

    /// The checks that are due, at most `room` of them, those first that have waited longest. They
    /// count as running until [`ended`](Self::ended).
    pub fn due(&mut self, now: Instant, room: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        while runs.len() < room {
            let Some((due, id)) = self.waiting.first().copied() else { break };
            if due > now {
                break;
            }
            self.waiting.pop_first();
            if let Some(entry) = self.entries.get(&id) {
                self.last_run += 1;
                let run = RunId(self.last_run);
                self.running.insert(run, id);
                runs.push(Run { id: run, spec: entry.steps.next() });
            }
        }
        runs
    }

    /// A run has ended. Returns whether its verdict counts; it does not when its check has left the
    /// list or changed since.
    pub fn ended(&mut self, now: Instant, run: RunId, verdict: &Verdict) -> bool {
        let Some(id) = self.running.remove(&run) else { return false };
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.steps.advance(verdict);
        entry.failures = match verdict {
            Verdict::Up | Verdict::Said(_) => 0,
            Verdict::Down(_) => entry.failures.saturating_add(1),
        };
        entry.due = entry.next_due(now).min(entry.retry(now));
        entry.first = false;
        self.waiting.insert((entry.due, id));
        true
    }

    /// When [`due`](Self::due) has something to say next.
    pub fn deadline(&self) -> Instant {
        self.waiting.first().map_or(Instant::NEVER, |(due, _)| *due)
    }
}

impl Entry {
    /// The next point of this check's phase after its last start and not before `now`. From the
    /// first run to the second it is half an interval to one and a half, then always a multiple.
    fn next_due(&self, now: Instant) -> Instant {
        let interval = interval(&self.spec);
        let started =
            self.due.plus(if self.first { interval / 2 } else { Duration::from_nanos(1) });
        next_point(started.max(now), interval, phase(self.spec.id, interval))
    }

    /// When a failure is to be confirmed.
    fn retry(&self, now: Instant) -> Instant {
        match self.spec.pace.retry {
            Some(retry) if (1..retry.failures).contains(&self.failures) => {
                now.plus(retry.after.max(INTERVAL_MIN))
            }
            _ => Instant::NEVER,
        }
    }
}

impl Steps {
    fn new(spec: &CheckSpec) -> Self {
        let with = |kind| Arc::new(CheckSpec { kind, ..spec.clone() });
        match &spec.kind {
            CheckKind::Alternate { connects, negotiate } => Self::Alternate {
                connect: with(CheckKind::Connect(negotiate.transport().into())),
                negotiate: with(CheckKind::Negotiate(negotiate.clone())),
                connects: *connects,
                left: 0,
            },
            kind => Self::Same(with(kind.clone())),
        }
    }

    fn next(&self) -> Arc<CheckSpec> {
        match self {
            Self::Same(spec) => Arc::clone(spec),
            Self::Alternate { negotiate, left: 0, .. } => Arc::clone(negotiate),
            Self::Alternate { connect, .. } => Arc::clone(connect),
        }
    }

    fn advance(&mut self, verdict: &Verdict) {
        let Self::Alternate { connects, left, .. } = self else { return };
        *left = match (verdict, *left) {
            (Verdict::Down(_), _) => 0,
            (Verdict::Up | Verdict::Said(_), 0) => *connects,
            (Verdict::Up | Verdict::Said(_), left) => left - 1,
        };
    }
}

fn interval(spec: &CheckSpec) -> Duration {
    spec.interval.max(INTERVAL_MIN)
}

/// Where in its interval a check runs. Multiples of the golden ratio, modulo one, leave no large gap
/// and no cluster for any number of consecutive ids (three-gap theorem; Knuth, TAOCP volume 3,
/// section 6.4, uses it for hashing).
fn phase(id: CheckId, interval: Duration) -> Duration {
    const GOLDEN: u32 = 0x9e37_79b9;
    interval.mul_f64(f64::from(id.0.wrapping_mul(GOLDEN)) / 4_294_967_296.0)
}

/// The first point of the form `phase + n * interval` at `from` or later.
fn next_point(from: Instant, interval: Duration, phase: Duration) -> Instant {
    let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let phase = u64::try_from(phase.as_nanos()).unwrap_or(0) % interval;
    let at = from.as_nanos() % interval;
    let missing = if at <= phase { phase - at } else { (interval - at).saturating_add(phase) };
    from.plus(Duration::from_nanos(missing))
}

#[cfg(test)]
mod tests;
