//! What this machine lacks for the ways in which its director sends packets on: for `check` and
//! `status`. They are notes: nothing is set, and no exit code changes.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::kernel::sysctl;
use crate::lvs::director::ServiceView;
use crate::lvs::prerequisites::{self, Way};

/// For the services of a configuration; nothing where it is to be set anyway.
pub(super) fn of_config(config: &Config) -> Vec<String> {
    if config.ipvs.prepare {
        return Vec::new();
    }
    let services = config.directors.values().flat_map(|director| &director.services);
    notes(&prerequisites::ways(services))
}

/// For the services of a running director, as lines.
pub(super) fn of_views(services: &[ServiceView]) -> String {
    let ways = prerequisites::ways_of_views(services);
    notes(&ways).iter().map(|note| format!("{note}\n")).collect()
}

fn notes(ways: &BTreeSet<Way>) -> Vec<String> {
    let lacks = prerequisites::lacking(ways, |path| sysctl::read(path).ok());
    lacks.iter().map(|lack| format!("note: {lack}")).collect()
}
