//! What should be in the kernel's table: a function of configuration and health.
//!
//! The way there is `lvs::plan`'s business, and the kernel's present table counts only for
//! servers that nobody has judged yet ([`desired_over`]).

use std::collections::BTreeMap;

use crate::lvs::health::{Health, State};
use crate::lvs::model::{
    DestEntry, Director, Fallback, RealServer, ServiceEntry, Table, VirtualService,
};
use crate::lvs::overrides::{Override, Overrides};
use crate::time::Instant;

/// Weight of a sorry server, as in ldirectord.
pub const FALLBACK_WEIGHT: u32 = 1;

/// What the table is made of.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What is configured.
    pub directors: &'a [Director],
    /// What the checks say.
    pub health: &'a Health,
    /// What operators have ordered.
    pub overrides: &'a Overrides,
    /// When; a drain has an end.
    pub now: Instant,
}

/// The table that configuration, health and operators ask for.
///
/// A server that is up is in with its weight, or with the one that an operator has ordered. One
/// that is down is out, or in with weight 0 where the service is quiescent. One without a verdict
/// is out. One that is drained has weight 0 until its time is over, and one that is disabled is
/// out. The sorry server is in exactly while no real server of the service takes connections,
/// that is, none is in with a weight over 0. Of two services with one key the first counts.
pub fn desired(wish: Wish<'_>) -> Table {
    desired_over(wish, &Table::default())
}

/// As [`desired`], but servers that the kernel has and nobody has judged yet stay.
///
/// After a restart over a live table, and after a reload that changes how a server is checked,
/// there is no verdict for the length of one check. Taking such servers out would empty a
/// working table; so they stay (weight 0 stays 0) until the first verdict. No server enters
/// this way.
pub fn desired_over(wish: Wish<'_>, have: &Table) -> Table {
    let mut table = Table::default();
    for service in wish.directors.iter().flat_map(|director| &director.services) {
        let present = have.0.get(&service.key);
        table.0.entry(service.key).or_insert_with(|| entry(service, wish, present));
    }
    table
}

/// Whether a new connection finds a destination.
pub fn is_served(entry: &ServiceEntry) -> bool {
    entry.dests.values().any(|dest| dest.weight > 0)
}

/// Whether none of the pool takes connections, so that the sorry server's time has come. `None`: not
/// before a server has been judged.
pub fn is_lost(service: &VirtualService, wish: Wish<'_>) -> Option<bool> {
    let mut unknown = false;
    for real in &service.reals {
        // Operators' orders count also before the first verdict.
        let full = asked(service, real, wish).unwrap_or_default();
        match wish.health.standing(service, real).state {
            State::Up if full > 0 => return Some(false),
            State::Unknown if full > 0 => unknown = true,
            State::Up | State::Unknown | State::Down(_) => {}
        }
    }
    (!unknown).then_some(true)
}

fn entry(service: &VirtualService, wish: Wish<'_>, present: Option<&ServiceEntry>) -> ServiceEntry {
    let mut entry = ServiceEntry {
        scheduler: service.scheduler.clone(),
        persistent: service.persistent,
        netmask: service.netmask.filter(|prefix| *prefix != whole_address(service)),
        one_packet: service.one_packet,
        flags: service.flags,
        dests: BTreeMap::new(),
    };
    for real in &service.reals {
        let present = present.and_then(|present| present.dests.get(&real.key));
        if let Some(weight) = weight(service, real, wish, present) {
            let (forwarding, thresholds) = (real.forwarding, real.thresholds);
            let dest = DestEntry { forwarding, weight, thresholds };
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
    wish: Wish<'_>,
    present: Option<&DestEntry>,
) -> Option<u32> {
    let full = asked(service, real, wish)?;
    match wish.health.standing(service, real).state {
        State::Up => Some(full),
        State::Down(_) => service.quiescent.then_some(0),
        State::Unknown => present.map(|dest| if dest.weight > 0 { full } else { 0 }),
    }
}

/// The weight of a server that is up, by configuration and operator; `None`: it is disabled.
fn asked(service: &VirtualService, real: &RealServer, wish: Wish<'_>) -> Option<u32> {
    match wish.overrides.on(&service.key, &real.key) {
        None => Some(real.weight),
        Some(Override::Weight(weight)) => Some(weight),
        Some(Override::Drain { until }) if wish.now < until => Some(0),
        Some(Override::Drain { .. } | Override::Disable) => None,
    }
}

/// A prefix of this length is no mask at all, and the kernel does not tell them apart.
fn whole_address(service: &VirtualService) -> u8 {
    if service.key.is_ipv6() { 128 } else { 32 }
}

fn sorry(fallback: &Fallback) -> DestEntry {
    DestEntry::new(fallback.forwarding, FALLBACK_WEIGHT)
}

#[cfg(test)]
mod tests;
