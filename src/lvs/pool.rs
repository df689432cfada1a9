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
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lvs::agent::share;
use crate::lvs::check::{CheckFailure, CheckKind};
use crate::lvs::health::State;
use crate::lvs::model::{
    Director, Need, Quorum, RealKey, RealServer, ServiceEntry, ServiceKey, Table, VirtualService,
};
use crate::lvs::overrides::Override;
use crate::lvs::table::Wish;
use crate::time::Instant;

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
    /// So many have failed that those stay in.
    pub panic: bool,
    /// What is remembered of each server of both pools.
    traces: BTreeMap<RealKey, Trace>,
}

impl Pools {
    /// A service's pools. `present`: its entry in the kernel's table.
    pub fn of(service: &VirtualService, wish: Wish<'_>, present: Option<&ServiceEntry>) -> Self {
        let memory = wish.memory.services.get(&service.key);
        let weigh = |real: &RealServer| weight(service, real, wish, present);
        let mut reals: Vec<_> = service.reals.iter().map(weigh).collect();
        let mut backup: Vec<_> = service.backup.iter().map(weigh).collect();
        let sorry = service.fallback.as_ref();
        let sorry = sorry.and_then(|sorry| checked(service, sorry, wish, present));
        let strength = strength(&service.policy.quorum, &reals);
        let before = memory.map(|memory| memory.quorate);
        let before = before.unwrap_or_else(|| served(&service.reals, present));
        let quorate = service.policy.quorum.is_met(strength, before);
        let mut turn = if quorate {
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
        let panic = matches!(turn, Turn::Primary | Turn::Nobody) && panics(service, wish);
        if panic {
            keep_failed(service, wish, &mut reals);
            turn = if serves(&reals) { Turn::Primary } else { turn };
        }
        let mut traces = BTreeMap::new();
        let servers = service.pools().zip(reals.iter_mut().chain(&mut backup));
        for (real, weight) in servers {
            let before = memory.and_then(|memory| memory.traces.get(&real.key)).copied();
            let kept = panic && fails(service, real, wish);
            let trace = Trace::of(service, real, wish, *weight, before);
            // One that is kept in is not new.
            if let Some(trace) = trace.map(|trace| if kept { trace.whole() } else { trace }) {
                traces.insert(real.key, trace);
                *weight = weight.map(|full| trace.weight(full, service, real, wish));
            }
        }
        Self {
            reals: resting_unless(turn == Turn::Primary, reals),
            backup: resting_unless(turn == Turn::Backup, backup),
            sorry: sorry.filter(|_| turn == Turn::Sorry),
            turn,
            strength,
            quorate,
            panic,
            traces,
        }
    }

    /// When a server has its whole weight again, while it grows.
    pub fn whole_at(&self, service: &VirtualService, real: &RealKey) -> Option<Instant> {
        let since = self.traces.get(real)?.grows_since?;
        Some(since.plus(service.policy.slow_start?))
    }
}

/// What is remembered of a server that has been judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trace {
    /// Whether it could take connections.
    serves: bool,
    /// When it came back, while its weight grows.
    grows_since: Option<Instant>,
}

/// A weight grows in so many steps: each is a change of the kernel's table.
const STEPS: u32 = 20;

impl Trace {
    /// `None`: not judged yet, or weights do not grow. One that comes in for the first time does not grow:
    /// neither do the others at a start.
    fn of(
        service: &VirtualService,
        real: &RealServer,
        wish: Wish<'_>,
        weight: Option<u32>,
        before: Option<Self>,
    ) -> Option<Self> {
        let span = service.policy.slow_start?;
        let grows = |since: &Instant| wish.now < since.plus(span);
        if wish.health.standing(service, real).state == State::Unknown {
            let before = before?;
            return Some(Self { grows_since: before.grows_since.filter(grows), ..before });
        }
        let serves = weight.is_some_and(|weight| weight > 0);
        let came = before.is_some_and(|before| !before.serves).then_some(wish.now);
        let since = before.and_then(|before| before.grows_since).or(came);
        Some(Self { serves, grows_since: since.filter(|_| serves).filter(grows) })
    }

    fn whole(self) -> Self {
        Self { grows_since: None, ..self }
    }

    /// Its weight now. One that an operator has ordered is whole at once.
    fn weight(self, full: u32, service: &VirtualService, real: &RealServer, wish: Wish<'_>) -> u32 {
        let ordered = wish.overrides.on(&service.key, &real.key);
        match (self.grows_since, service.policy.slow_start) {
            (Some(since), Some(span)) if ordered.is_none() && full > 0 => {
                let step = u64::from(step(since, span, wish.now)) + 1;
                let part = u64::from(full) * step / u64::from(STEPS);
                u32::try_from(part).unwrap_or(full).clamp(1, full)
            }
            _ => full,
        }
    }
}

/// The step of a growing weight, 0 to `STEPS` - 1.
fn step(since: Instant, span: Duration, now: Instant) -> u32 {
    let step = now.since(since).as_nanos() * u128::from(STEPS) / span.as_nanos().max(1);
    u32::try_from(step).unwrap_or(STEPS).min(STEPS - 1)
}

/// When the step after this one comes.
fn next_step(since: Instant, span: Duration, now: Instant) -> Instant {
    let whole = span.as_nanos() * u128::from(step(since, span, now) + 1);
    // Never before it, or its time would come again and again.
    let nanos = u64::try_from(whole.div_ceil(u128::from(STEPS))).unwrap_or(u64::MAX);
    since.plus(Duration::from_nanos(nanos))
}

/// Whether a server fails its check, and only that keeps it out.
fn fails(service: &VirtualService, real: &RealServer, wish: Wish<'_>) -> bool {
    let fails = matches!(wish.health.standing(service, real).state, State::Down(Some(_)));
    fails && !is_off(service, real, wish)
}

/// Whether somebody has taken it out on purpose.
fn is_off(service: &VirtualService, real: &RealServer, wish: Wish<'_>) -> bool {
    match wish.overrides.on(&service.key, &real.key) {
        None | Some(Override::Weight(_)) => {
            let agent = |state| matches!(state, State::Down(Some(CheckFailure::Agent(_))));
            real.check == CheckKind::Off || agent(wish.health.standing(service, real).state)
        }
        Some(Override::Drain { .. } | Override::Disable | Override::Maintenance) => true,
    }
}

/// Whether more of the primary pool fail than may be taken out. What is out on purpose does not
/// count.
fn panics(service: &VirtualService, wish: Wish<'_>) -> bool {
    let Some(percent) = service.policy.panic else { return false };
    let all = service.reals.iter().filter(|real| !is_off(service, real, wish)).count();
    let failed = service.reals.iter().filter(|real| fails(service, real, wish)).count();
    failed * 100 > all * usize::from(percent)
}

fn keep_failed(service: &VirtualService, wish: Wish<'_>, weights: &mut [Option<u32>]) {
    for (real, weight) in service.reals.iter().zip(weights) {
        if fails(service, real, wish) {
            let percent = wish.health.standing(service, real).percent;
            *weight = asked(service, real, wish, percent);
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
    let standing = wish.health.standing(service, real);
    let full = asked(service, real, wish, standing.percent)?;
    if wish.overrides.on(&service.key, &real.key) == Some(Override::Maintenance) {
        return service.quiescent.then_some(0);
    }
    match standing.state {
        State::Up => Some(full),
        State::Down(_) => service.quiescent.then_some(0),
        State::Unknown => as_before(real, full, present),
    }
}

/// The weight of a server that is up, by configuration, agent and operator; `None`: it is disabled.
fn asked(service: &VirtualService, real: &RealServer, wish: Wish<'_>, percent: u16) -> Option<u32> {
    match wish.overrides.on(&service.key, &real.key) {
        None => Some(share(real.weight, percent)),
        Some(Override::Weight(weight)) => Some(weight),
        Some(Override::Drain { until }) if wish.now < until => Some(0),
        Some(Override::Drain { .. } | Override::Disable) => None,
        Some(Override::Maintenance) => Some(0),
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

/// Whether neither pool serves, so that the sorry server's time has come. `None`: not before more of
/// them has been judged. What the kernel has does not count as judged.
pub fn is_lost(service: &VirtualService, wish: Wish<'_>) -> Option<bool> {
    if matches!(Pools::of(service, wish, None).turn, Turn::Primary | Turn::Backup) {
        return Some(false);
    }
    let open = service.pools().any(|real| may_come(service, real, wish));
    (!open).then_some(true)
}

/// Whether the primary pool has its quorum. `None` as with [`is_lost`].
pub fn is_quorate(service: &VirtualService, wish: Wish<'_>) -> Option<bool> {
    if Pools::of(service, wish, None).quorate {
        return Some(true);
    }
    let open = service.reals.iter().any(|real| may_come(service, real, wish));
    (!open).then_some(false)
}

/// Whether a server that nobody has judged yet would take connections.
fn may_come(service: &VirtualService, real: &RealServer, wish: Wish<'_>) -> bool {
    let standing = wish.health.standing(service, real);
    standing.state == State::Unknown
        && asked(service, real, wish, standing.percent).is_some_and(|weight| weight > 0)
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
    services: BTreeMap<ServiceKey, Remembered>,
    next: Option<Instant>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Remembered {
    /// Whether the primary pool had its quorum at the last look.
    quorate: bool,
    panic: bool,
    traces: BTreeMap<RealKey, Trace>,
}

/// What has turned in a service's pools since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The quorum has been met or lost. One that has never been met is not lost.
    Quorum,
    /// Failed servers stay in from now on, or do so no longer.
    Panic,
}

impl Memory {
    /// Remembers a look, and tells what has turned since the one before.
    pub fn note(
        &mut self,
        now: Instant,
        directors: &[Director],
        pools: &BTreeMap<ServiceKey, Pools>,
    ) -> Vec<(ServiceKey, Turned)> {
        let before = std::mem::take(self);
        let mut turned = Vec::new();
        for (key, pools) in pools {
            let Pools { quorate, panic, .. } = *pools;
            let old = before.services.get(key);
            if old.is_some_and(|old| old.quorate) != quorate {
                turned.push((*key, Turned::Quorum));
            }
            if old.is_some_and(|old| old.panic) != panic {
                turned.push((*key, Turned::Panic));
            }
            let traces = pools.traces.clone();
            self.services.insert(*key, Remembered { quorate, panic, traces });
        }
        self.next = directors
            .iter()
            .flat_map(|director| &director.services)
            .filter_map(|service| {
                let span = service.policy.slow_start?;
                let traces = self.services.get(&service.key)?.traces.values();
                traces.filter_map(|trace| Some(next_step(trace.grows_since?, span, now))).min()
            })
            .min();
        turned
    }

    /// When some server's weight grows next.
    pub fn deadline(&self) -> Instant {
        self.next.unwrap_or(Instant::NEVER)
    }

    /// Whether that time has come; said once.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.next.take_if(|next| *next <= now).is_some()
    }
}
