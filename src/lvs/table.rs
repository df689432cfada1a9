//! What should be in the kernel's table: a function of configuration and health.
//!
//! The way there is `lvs::plan`'s business, and the kernel's present table counts only for
//! servers that nobody has judged yet ([`desired_over`]).

use std::collections::BTreeMap;

use crate::lvs::health::Health;
use crate::lvs::model::{
    DestEntry, Director, RealServer, ServiceEntry, ServiceKey, Table, VirtualService,
};
use crate::lvs::overrides::Overrides;
use crate::lvs::pool::{Memory, Pools, look};
use crate::time::Instant;

/// What the table is made of.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What is configured.
    pub directors: &'a [Director],
    /// What the checks say.
    pub health: &'a Health,
    /// What operators have ordered.
    pub overrides: &'a Overrides,
    /// What is remembered of the pools.
    pub memory: &'a Memory,
    /// When; a drain has an end.
    pub now: Instant,
}

/// The table that configuration, health and operators ask for.
///
/// A server that is up is in with its weight, or with the one that an operator has ordered. One
/// that is down is out, or in with weight 0 where the service is quiescent. One without a verdict
/// is out. One that is drained has weight 0 until its time is over, one that is disabled is out, and
/// one that is being worked on counts as down. Which pool serves, and what becomes of the others, is
/// `lvs::pool`'s; with one pool and no quorum the sorry server is in exactly while no real server takes
/// connections, that is, none is in with a weight over 0. Of two services with one key the first counts.
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
    of_pools(wish.directors, &look(wish, have))
}

/// The table with these pools.
pub fn of_pools(directors: &[Director], pools: &BTreeMap<ServiceKey, Pools>) -> Table {
    let mut table = Table::default();
    for service in directors.iter().flat_map(|director| &director.services) {
        let Some(pools) = pools.get(&service.key) else { continue };
        table.0.entry(service.key).or_insert_with(|| entry(service, pools));
    }
    table
}

/// Whether a new connection finds a destination.
pub fn is_served(entry: &ServiceEntry) -> bool {
    entry.dests.values().any(|dest| dest.weight > 0)
}

fn entry(service: &VirtualService, pools: &Pools) -> ServiceEntry {
    let mut entry = ServiceEntry {
        scheduler: service.scheduler.clone(),
        persistent: service.persistent,
        netmask: service.netmask.filter(|prefix| *prefix != whole_address(service)),
        one_packet: service.one_packet,
        flags: service.flags,
        dests: BTreeMap::new(),
    };
    let primary = service.reals.iter().zip(&pools.reals);
    for (real, weight) in primary.chain(service.backup.iter().zip(&pools.backup)) {
        if let Some(weight) = *weight {
            entry.dests.entry(real.key).or_insert(dest(real, weight));
        }
    }
    if let (Some(sorry), Some(weight)) = (&service.fallback, pools.sorry) {
        // It may be one of the real servers, which rests.
        entry.dests.insert(sorry.key, dest(sorry, weight));
    }
    entry
}

/// A prefix of this length is no mask at all, and the kernel does not tell them apart.
fn whole_address(service: &VirtualService) -> u8 {
    if service.key.is_ipv6() { 128 } else { 32 }
}

fn dest(server: &RealServer, weight: u32) -> DestEntry {
    DestEntry { forwarding: server.forwarding, weight, thresholds: server.thresholds }
}

#[cfg(test)]
mod tests;
