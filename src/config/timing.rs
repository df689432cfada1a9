//! The rules of heartbeat timing, the same for ha.cf and pairbeat.toml.
//!
//! Readers hand over what was written, with its mark; here the defaults are filled in and the
//! invariant of [`Timing`] is made true or a fault.

use std::time::Duration;

use crate::config::Timing;
use crate::config::diag::{Diagnostic, Mark};
use crate::config::value::time_text;

/// Shortest keepalive. Below it a single late wake-up of a busy machine spans several beats.
pub(super) const KEEPALIVE_MIN: Duration = Duration::from_millis(10);
/// Longest time that means anything here.
pub(super) const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Keepalives that must fit into a deadtime, so that two lost packets in a row never cost a
/// failover.
const KEEPALIVES_PER_DEADTIME: u32 = 3;

/// Heartbeat takes a deadtime of more than so many keepalives (heartbeat 3.0.6, `config.c`).
const KEEPALIVES_OF_HEARTBEAT: u32 = 2;

/// What was written, each with its place.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) keepalive: Option<(Duration, Mark)>,
    pub(super) warntime: Option<(Duration, Mark)>,
    pub(super) deadtime: Option<(Duration, Mark)>,
    pub(super) initdead: Option<(Duration, Mark)>,
}

/// What holds where nothing is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    pub(super) keepalive: Duration,
    pub(super) deadtime: Duration,
    pub(super) warntime: fn(Duration) -> Duration,
    pub(super) initdead: fn(Duration) -> Duration,
    /// Whether a keepalive that is good enough for Heartbeat is made short enough for us, with a
    /// warning: files that work there work here.
    pub(super) lowers_keepalive: bool,
}

/// The defaults of Heartbeat 3.0.6.
pub(super) const HEARTBEAT: Defaults = Defaults {
    keepalive: Duration::from_secs(1),
    deadtime: Duration::from_secs(30),
    warntime: |deadtime| deadtime / 2,
    initdead: |deadtime| {
        if deadtime > Duration::from_secs(10) {
            deadtime
        } else if deadtime < Duration::from_secs(6) {
            Duration::from_secs(12)
        } else {
            deadtime * 2
        }
    },
    lowers_keepalive: true,
};

/// The defaults of pairbeat.toml: failover within two seconds.
pub(super) const NATIVE: Defaults = Defaults {
    keepalive: Duration::from_millis(200),
    deadtime: Duration::from_secs(2),
    warntime: |deadtime| deadtime * 3 / 10,
    initdead: |deadtime| (deadtime * 2).max(Duration::from_secs(15)),
    lowers_keepalive: false,
};

/// The timing that results, and what is wrong with it.
pub(super) fn resolve(written: Written, defaults: Defaults) -> (Timing, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let value = |written: &Option<(Duration, Mark)>| written.as_ref().map(|(time, _)| *time);
    let keepalive = value(&written.keepalive).unwrap_or(defaults.keepalive);
    let deadtime = value(&written.deadtime).unwrap_or(defaults.deadtime);
    let mut timing = Timing {
        keepalive,
        warntime: value(&written.warntime).unwrap_or_else(|| (defaults.warntime)(deadtime)),
        deadtime,
        initdead: value(&written.initdead).unwrap_or_else(|| (defaults.initdead)(deadtime)),
    };
    let Written { keepalive: keepalive_at, warntime, deadtime: deadtime_at, initdead } = written;
    for (time, mark) in [&keepalive_at, &warntime, &deadtime_at, &initdead].into_iter().flatten() {
        if *time > TIME_MAX {
            found.push(mark.fault(format!("at most {} s", TIME_MAX.as_secs())));
        }
    }
    if let Some((_, mark)) = &keepalive_at
        && timing.keepalive < KEEPALIVE_MIN
    {
        found.push(mark.fault(format!("keepalive is at least {}", time_text(KEEPALIVE_MIN))));
    }
    if let Some((_, mark)) = deadtime_at.as_ref().or(keepalive_at.as_ref()) {
        found.extend(match lowered(&timing).filter(|_| defaults.lowers_keepalive) {
            Some(lower) => {
                let warning = lowered_warning(&timing, lower, mark);
                timing.keepalive = lower;
                Some(warning)
            }
            None => deadtime_fault(&timing, mark),
        });
    }
    if let Some((_, mark)) = &warntime
        && timing.warntime >= timing.deadtime
    {
        let deadtime = time_text(timing.deadtime);
        found.push(mark.fault(format!("warntime must be less than deadtime ({deadtime})")));
    }
    if let Some((_, mark)) = initdead.as_ref().or(deadtime_at.as_ref()) {
        found.extend(initdead_fault(&timing, mark));
    }
    (timing, found)
}

/// The longest keepalive that fits, where the one that is written suits Heartbeat and not us.
fn lowered(timing: &Timing) -> Option<Duration> {
    let times = |count: u32| timing.keepalive.saturating_mul(count);
    let between = times(KEEPALIVES_OF_HEARTBEAT) < timing.deadtime
        && timing.deadtime < times(KEEPALIVES_PER_DEADTIME);
    third(timing.deadtime).filter(|lower| between && *lower >= KEEPALIVE_MIN)
}

/// A third of a deadtime, in whole milliseconds.
fn third(deadtime: Duration) -> Option<Duration> {
    let millis = deadtime.as_millis() / u128::from(KEEPALIVES_PER_DEADTIME);
    u64::try_from(millis).ok().map(Duration::from_millis)
}

fn lowered_warning(timing: &Timing, lower: Duration, mark: &Mark) -> Diagnostic {
    let (deadtime, keepalive) = (time_text(timing.deadtime), time_text(timing.keepalive));
    let (lower, most) = (time_text(lower), time_text(timing.keepalive * KEEPALIVES_PER_DEADTIME));
    let message = format!(
        "deadtime {deadtime} is less than three keepalives of {keepalive}: keepalive is {lower} here"
    );
    let help =
        format!("two lost packets would cost a failover: deadtime {most}, or keepalive {lower}");
    mark.warning(message).with_help(help)
}

fn deadtime_fault(timing: &Timing, mark: &Mark) -> Option<Diagnostic> {
    let least = timing.keepalive.saturating_mul(KEEPALIVES_PER_DEADTIME);
    if timing.deadtime >= least {
        return None;
    }
    let message = format!(
        "deadtime {} is less than three keepalives of {}",
        time_text(timing.deadtime),
        time_text(timing.keepalive)
    );
    let keepalive = third(timing.deadtime).unwrap_or(Duration::MAX);
    let help = if keepalive >= KEEPALIVE_MIN {
        format!(
            "two lost packets would cost a failover: deadtime {}, or keepalive {}",
            time_text(least),
            time_text(keepalive)
        )
    } else {
        format!("two lost packets would cost a failover: deadtime {}", time_text(least))
    };
    Some(mark.fault(message).with_help(help))
}

fn initdead_fault(timing: &Timing, mark: &Mark) -> Option<Diagnostic> {
    (timing.initdead < timing.deadtime).then(|| {
        let (initdead, deadtime) = (time_text(timing.initdead), time_text(timing.deadtime));
        mark.fault(format!("initdead {initdead} is less than deadtime {deadtime}"))
            .with_help("initdead covers the start of machine and network: usually 15 s or more")
    })
}
