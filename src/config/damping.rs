//! The rules of damping, the same for ha.cf and pairbeat.toml.

use std::time::Duration;

use crate::cluster::Damping;
use crate::config::diag::Span;
use crate::config::value::time_text;

/// Shortest window and hold-down: below it there is nothing to count.
const TIME_MIN: Duration = Duration::from_secs(1);
/// Longest: a hold-down is told to the peer in seconds, in two bytes.
const TIME_MAX: Duration = Duration::from_secs(18 * 3600);

/// What was written, times with their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) switches: Option<u32>,
    pub(super) window: Option<(Duration, Span)>,
    pub(super) hold: Option<(Duration, Span)>,
    pub(super) hold_max: Option<(Duration, Span)>,
}

/// The damping that results, and what is wrong with it. A longest hold-down that is not written is
/// four times the first one.
pub(super) fn resolve(written: Written) -> (Damping, Vec<(Span, String)>) {
    let default = Damping::default();
    let mut faults = Vec::new();
    for (time, span) in [written.window, written.hold, written.hold_max].into_iter().flatten() {
        if !(TIME_MIN..=TIME_MAX).contains(&time) {
            let (least, most) = (time_text(TIME_MIN), time_text(TIME_MAX));
            faults.push((span, format!("a time of {least} to {most} is wanted here")));
        }
    }
    let hold = written.hold.map_or(default.hold, |(time, _)| time);
    if let Some((most, span)) = written.hold_max
        && most < hold
    {
        let (most, hold) = (time_text(most), time_text(hold));
        faults.push((span, format!("hold_max {most} is less than hold ({hold})")));
    }
    let damping = Damping {
        switches: written.switches.unwrap_or(default.switches),
        window: written.window.map_or(default.window, |(time, _)| time),
        hold,
        hold_max: written.hold_max.map_or((hold * 4).min(TIME_MAX), |(time, _)| time),
    };
    (damping, faults)
}
