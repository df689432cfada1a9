//! `[damping]`: when automatic switches of a group are too many.

use std::time::Duration;

use crate::cluster::Damping;
use crate::cluster::calm::SWITCHES_MAX;
use crate::config::damping::{self, Written};
use crate::config::diag::Span;
use crate::config::toml::walk::{Fields, Item, Walk};

/// The table, all of whose keys may be left out.
pub(super) fn read(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Damping {
    let fields = item.and_then(|item| item.fields(walk));
    let mut fields = fields.unwrap_or_else(Fields::none);
    let switches = fields.take("switches");
    let switches = switches.and_then(|item| item.number(0, SWITCHES_MAX, walk));
    let mut time = |key| {
        let item = fields.take(key)?;
        Some((item.time(walk)?, item.span))
    };
    let (window, hold, hold_max): (Option<(Duration, Span)>, _, _) =
        (time("window"), time("hold"), time("hold_max"));
    fields.finish(walk);
    let (damping, faults) = damping::resolve(Written { switches, window, hold, hold_max });
    for (span, message) in faults {
        walk.faults.fault(span, message);
    }
    damping
}
