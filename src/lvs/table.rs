//! What should be in the kernel's table: a function of configuration and health.
//!
//! The way there is `lvs::plan`'s business, and the kernel's present table counts only for
//! servers that nobody has judged yet ([`desired_over`]).

use std::collections::BTreeMap;

use crate::lvs::health::{Health, State};
use crate::lvs::model::{
    DestEntry, Director, Fallback, RealServer, ServiceEntry, Table, VirtualService,
};

/// Weight of a sorry server, as in ldirectord.
pub const FALLBACK_WEIGHT: u32 = 1;

/// The table that configuration and health ask for.
///
/// A server that is up is in with its weight. One that is down is out, or in with weight 0 where
/// the service is quiescent. One without a verdict is out. The sorry server is in exactly while
/// no real server of the service takes connections, that is, none is up with a weight over 0.
/// Of two services with one key the first counts.
pub fn desired(directors: &[&Director], health: &Health) -> Table {
    desired_over(directors, health, &Table::default())
}

/// As [`desired`], but servers that the kernel has and nobody has judged yet stay.
///
/// After a restart over a live table, and after a reload that changes how a server is checked,
/// there is no verdict for the length of one check. Taking such servers out would empty a
/// working table; so they stay (weight 0 stays 0) until the first verdict. No server enters
/// this way.
pub fn desired_over(directors: &[&Director], health: &Health, have: &Table) -> Table {
    let mut table = Table::default();
    for service in directors.iter().flat_map(|director| &director.services) {
        let present = have.0.get(&service.key);
        table.0.entry(service.key).or_insert_with(|| entry(service, health, present));
    }
    table
}

/// Whether a new connection finds a destination.
pub fn is_served(entry: &ServiceEntry) -> bool {
    entry.dests.values().any(|dest| dest.weight > 0)
}

fn entry(
    service: &VirtualService,
    health: &Health,
    present: Option<&ServiceEntry>,
) -> ServiceEntry {
    let mut entry = ServiceEntry {
        scheduler: service.scheduler.clone(),
        persistent: service.persistent,
        netmask: service.netmask.filter(|prefix| *prefix != whole_address(service)),
        one_packet: service.one_packet,
        dests: BTreeMap::new(),
    };
    for real in &service.reals {
        let state = health.standing(service, real).state;
        let present = present.and_then(|present| present.dests.get(&real.key));
        if let Some(weight) = weight(service, real, &state, present) {
            let dest = DestEntry { forwarding: real.forwarding, weight };
            entry.dests.entry(real.key).or_insert(dest);
        }
    }
    if let Some(fallback) = &service.fallback
        && !is_served(&entry)
    {
        entry.dests.insert(fallback.key, sorry(fallback));
    }
    entry
}

/// A real server's weight in the table; `None`: not in it.
fn weight(
    service: &VirtualService,
    real: &RealServer,
    state: &State,
    present: Option<&DestEntry>,
) -> Option<u32> {
    match state {
        State::Up => Some(real.weight),
        State::Down(_) => service.quiescent.then_some(0),
        State::Unknown => present.map(|dest| if dest.weight > 0 { real.weight } else { 0 }),
    }
}

/// A prefix of this length is no mask at all, and the kernel does not tell them apart.
fn whole_address(service: &VirtualService) -> u8 {
    if service.key.is_ipv6() { 128 } else { 32 }
}

fn sorry(fallback: &Fallback) -> DestEntry {
    DestEntry { forwarding: fallback.forwarding, weight: FALLBACK_WEIGHT }
}

#[cfg(test)]
mod tests;
