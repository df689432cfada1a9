//! The pools of a virtual service: what weight each server has now, and which pool serves.
//!
//! There are three, and the first that can serve does: the primary pool while it has its quorum, the
//! backup pool, the sorry server. Where none of the others can, what is left of the primary pool
//! serves. A server that is up in a pool that does not serve stands in the table with weight 0, so
//! that its open connections go on; the sorry server is out.
//!
//! Pure. What has to be remembered from one look to the next is in [`Memory`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lvs::health::State;
use crate::lvs::model::{
    Need, Quorum, RealServer, ServiceEntry, ServiceKey, Table, VirtualService,
};
use crate::lvs::overrides::Override;
use crate::lvs::table::Wish;

/// Who serves a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// The primary pool.
    Primary,
    /// The backup pool.
    Backup,
    /// The sorry server.
    Sorry,
    /// Nobody can.
    Nobody,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary pool",
            Self::Backup => "backup pool",
            Self::Sorry => "sorry server",
            Self::Nobody => "nobody",
        })
    }
}

/// A service's servers as they should be in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools {
    /// The weight of each server of the primary pool; `None`: not in the table.
    pub reals: Vec<Option<u32>>,
    /// The same of the backup pool.
    pub backup: Vec<Option<u32>>,
    /// The same of the sorry server.
    pub sorry: Option<u32>,
    /// Who serves.
    pub turn: Turn,
    /// What there is of the quorum, in its unit.
    pub strength: u64,
    /// Whether the primary pool has its quorum.
    pub quorate: bool,
}

impl Pools {
    /// A service's pools. `present`: its entry in the kernel's table.
    pub fn of(service: &VirtualService, wish: Wish<'_>, present: Option<&ServiceEntry>) -> Self {
        let weigh = |real: &RealServer| weight(service, real, wish, present);
        let reals: Vec<_> = service.reals.iter().map(weigh).collect();
        let backup: Vec<_> = service.backup.iter().map(weigh).collect();
        let sorry =
            service.fallback.as_ref().and_then(|sorry| checked(service, sorry, wish, present));
        let strength = strength(&service.policy.quorum, &reals);
        let before = wish.memory.quorate.get(&service.key).copied();
        let before = before.unwrap_or_else(|| served(&service.reals, present));
        let quorate = service.policy.quorum.is_met(strength, before);
        let turn = if quorate {
            Turn::Primary
        } else if serves(&backup) {
            Turn::Backup
        } else if sorry.is_some_and(|weight| weight > 0) {
            Turn::Sorry
        } else if serves(&reals) {
            Turn::Primary
        } else {
            Turn::Nobody
        };
        Self {
            reals: resting_unless(turn == Turn::Primary, reals),
            backup: resting_unless(turn == Turn::Backup, backup),
            sorry: sorry.filter(|_| turn == Turn::Sorry),
            turn,
            strength,
            quorate,
        }
    }
}

impl Quorum {
    /// Whether it is met by so much; `before`: whether it was.
    fn is_met(&self, strength: u64, before: bool) -> bool {
        let (Need::Weight(need) | Need::Servers(need)) = self.need;
        let need = if before { need.saturating_sub(self.hysteresis) } else { need };
        strength >= u64::from(need.max(1))
    }
}

fn strength(quorum: &Quorum, weights: &[Option<u32>]) -> u64 {
    let serving = weights.iter().flatten().filter(|weight| **weight > 0);
    match quorum.need {
        Need::Weight(_) => serving.map(|weight| u64::from(*weight)).sum(),
        Need::Servers(_) => serving.map(|_| 1).sum(),
    }
}

fn serves(weights: &[Option<u32>]) -> bool {
    weights.iter().flatten().any(|weight| *weight > 0)
}

fn resting_unless(serves: bool, weights: Vec<Option<u32>>) -> Vec<Option<u32>> {
    if serves { weights } else { weights.into_iter().map(|weight| weight.map(|_| 0)).collect() }
}

/// The weight of a server of a pool that serves; `None`: not in the table.
fn weight(
    service: &VirtualService,
    real: &RealServer,
    wish: Wish<'_>,
    present: Option<&ServiceEntry>,
) -> Option<u32> {
    let full = match wish.overrides.on(&service.key, &real.key) {
        None => real.weight,
        Some(Override::Weight(weight)) => weight,
        Some(Override::Drain { until }) if wish.now < until => 0,
        Some(Override::Drain { .. } | Override::Disable) => return None,
        Some(Override::Maintenance) => return service.quiescent.then_some(0),
    };
    match wish.health.standing(service, real).state {
        State::Up => Some(full),
        State::Down(_) => service.quiescent.then_some(0),
        State::Unknown => as_before(real, full, present),
    }
}

/// The same of a sorry server: operators' orders are not about it, and quiescence is not for it.
fn checked(
    service: &VirtualService,
    sorry: &RealServer,
    wish: Wish<'_>,
    present: Option<&ServiceEntry>,
) -> Option<u32> {
    match wish.health.standing(service, sorry).state {
        State::Up => Some(sorry.weight),
        State::Down(_) => None,
        State::Unknown => as_before(sorry, sorry.weight, present),
    }
}

/// A server that nobody has judged yet stays as it is, and does not enter.
fn as_before(real: &RealServer, full: u32, present: Option<&ServiceEntry>) -> Option<u32> {
    let dest = present.and_then(|entry| entry.dests.get(&real.key))?;
    Some(if dest.weight > 0 { full } else { 0 })
}

/// Whether some of these have served up to now.
fn served(reals: &[RealServer], present: Option<&ServiceEntry>) -> bool {
    let Some(present) = present else { return false };
    let mut dests = reals.iter().filter_map(|real| present.dests.get(&real.key));
    dests.any(|dest| dest.weight > 0)
}

/// The pools of all services. Of two services with one key the first counts.
pub fn look(wish: Wish<'_>, have: &Table) -> BTreeMap<ServiceKey, Pools> {
    let mut all = BTreeMap::new();
    for service in wish.directors.iter().flat_map(|director| &director.services) {
        let present = have.0.get(&service.key);
        all.entry(service.key).or_insert_with(|| Pools::of(service, wish, present));
    }
    all
}

/// What must be remembered of pools, because the present alone does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Whether the primary pool had its quorum at the last look.
    quorate: BTreeMap<ServiceKey, bool>,
}

impl Memory {
    /// Remembers a look, and tells whose quorum has been met or lost since the one before. One that
    /// has never been met is not lost.
    pub fn note(&mut self, pools: &BTreeMap<ServiceKey, Pools>) -> Vec<ServiceKey> {
        let before = std::mem::take(&mut self.quorate);
        self.quorate = pools.iter().map(|(key, pools)| (*key, pools.quorate)).collect();
        let was = |key: &ServiceKey| before.get(key).copied().unwrap_or_default();
        let turned = self.quorate.iter().filter(|(key, met)| was(key) != **met);
        turned.map(|(key, _)| *key).collect()
    }
}
