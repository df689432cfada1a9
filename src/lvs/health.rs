//! Verdicts counted: which real servers are up, since when, and why not.
//!
//! One [`CheckSpec`] serves every real server that is checked in the same way at the same place,
//! and each of its verdicts is counted once, however many virtual services share it. The limits
//! (`fall`, `rise`) are a virtual service's own, so one check can be down for one service and
//! still up for another. This module checks nothing itself and knows no kernel table.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::lvs::agent::Advice;
use crate::lvs::check::{
    CHECKS_MAX, CheckFailure, CheckId, CheckKind, CheckResult, CheckSpec, CheckWarning, Verdict,
};
use crate::lvs::model::{Agent, Dependency, Director, Pace, RealServer, VirtualService};
use crate::time::Instant;

/// Changes of a server's state are counted over so long.
pub const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// So many changes within [`FLAP_WINDOW`] are said aloud; with half of them it is quiet again.
pub const FLAPPING: usize = 6;

/// As many changes are remembered of a server: 10,000 servers that flap take 5 MB.
pub const FLAPS_KEPT: usize = 64;

/// More checks than [`CHECKS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{checks} different checks, at most {CHECKS_MAX} are run")]
pub struct TooManyChecks {
    /// As many are asked for.
    pub checks: usize,
}

/// What a real server is taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No verdict yet.
    Unknown,
    /// Takes connections.
    Up,
    /// Does not; the latest failure, none when it is configured so (`checktype=off`).
    Down(Option<CheckFailure>),
}

impl State {
    /// Whether it takes connections.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// A real server's state and its history in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What it is taken for.
    pub state: State,
    /// When that began.
    pub since: Instant,
    /// Failures in a row up to now; over 0 in an up server that has not reached `fall` yet.
    pub failures: u32,
    /// Why this node could not carry out the last check: its own fault, no verdict.
    pub hindered: Option<String>,
    /// What its last check warns of.
    pub warning: Option<CheckWarning>,
    /// Since when it has changed [`FLAPPING`] times within [`FLAP_WINDOW`] again and again.
    pub flapping: Option<Instant>,
    /// Percent of its weight that its agent has asked for last.
    pub percent: u16,
    /// Why its agent can't be asked at present; what it said last holds.
    pub silent: Option<String>,
}

/// The verdicts on everything that is configured.
#[derive(Debug, Default)]
pub struct Health {
    ids: BTreeMap<CheckKey, CheckId>,
    tallies: BTreeMap<CheckId, Tally>,
    /// The checks that are agents'.
    agents: BTreeSet<CheckId>,
    next: u32,
}

/// All that makes two checks the same check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct CheckKey {
    address: IpAddr,
    port: u16,
    interval: Duration,
    timeout: Duration,
    pace: Pace,
    kind: CheckKind,
    /// Last, so that two nodes with sources of their own have the same order of checks.
    source: Option<IpAddr>,
}

impl CheckKey {
    fn new(service: &VirtualService, real: &RealServer) -> Self {
        Self::of(service, &real.check, (real.check_address, real.check_port), real.check_source)
    }

    fn agent(service: &VirtualService, it: &Agent) -> Self {
        Self::of(service, &it.check, (it.address, it.port), None)
    }

    fn needed(service: &VirtualService, it: &Dependency) -> Self {
        Self::of(service, &it.check, (it.address, it.port), it.source)
    }

    fn of(
        service: &VirtualService,
        kind: &CheckKind,
        (address, port): (IpAddr, u16),
        source: Option<IpAddr>,
    ) -> Self {
        Self {
            address,
            port,
            source,
            interval: service.interval,
            timeout: service.timeout,
            pace: service.policy.pace,
            kind: kind.clone(),
        }
    }

    /// A server's own check, those of what it needs, and its agent's.
    fn all(service: &VirtualService, real: &RealServer) -> impl Iterator<Item = Self> {
        let needed = real.requires.iter().map(|it| Self::needed(service, it));
        let agent = real.agent.iter().map(|it| Self::agent(service, it));
        std::iter::once(Self::new(service, real)).chain(needed).chain(agent)
    }

    fn is_run(&self) -> bool {
        !matches!(self.kind, CheckKind::On | CheckKind::Off)
    }

    fn spec(&self, id: CheckId) -> CheckSpec {
        CheckSpec {
            id,
            kind: self.kind.clone(),
            address: self.address,
            port: self.port,
            source: self.source,
            interval: self.interval,
            timeout: self.timeout,
            pace: self.pace,
        }
    }
}

/// A virtual service's limits: this many in a row change the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Limits {
    fall: u32,
    rise: u32,
}

impl Limits {
    fn of(service: &VirtualService) -> Self {
        Self { fall: service.fall.max(1), rise: service.rise.max(1) }
    }
}

/// One check's run of equal verdicts, and what follows from it under each set of limits.
#[derive(Debug, Clone, Default)]
struct Tally {
    failures: u32,
    successes: u32,
    /// Why it could not be carried out the last time, where that was our own fault.
    hindered: Option<String>,
    warning: Option<CheckWarning>,
    /// Of an agent: what it has asked for last.
    percent: Option<u16>,
    judged: BTreeMap<Limits, Judged>,
}

#[derive(Debug, Clone)]
struct Judged {
    state: State,
    since: Instant,
    /// When it has changed lately, the first verdict left out.
    changes: VecDeque<Instant>,
    flapping: Option<Instant>,
}

impl Health {
    /// Takes over what is configured. Verdicts on checks that were there before stay; new checks
    /// begin as unknown, except `On` and `Off`, which have their state at once.
    ///
    /// # Errors
    /// [`TooManyChecks`]; then nothing has changed.
    pub fn configure(&mut self, now: Instant, directors: &[Director]) -> Result<(), TooManyChecks> {
        let mut wanted: BTreeMap<CheckKey, Vec<Limits>> = BTreeMap::new();
        for service in directors.iter().flat_map(|director| &director.services) {
            for real in service.servers() {
                for key in CheckKey::all(service, real) {
                    wanted.entry(key).or_default().push(Limits::of(service));
                }
            }
        }
        let checks = wanted.keys().filter(|key| key.is_run()).count();
        if checks > CHECKS_MAX {
            return Err(TooManyChecks { checks });
        }
        let mut old_ids = std::mem::take(&mut self.ids);
        let mut old_tallies = std::mem::take(&mut self.tallies);
        for (key, limits) in wanted {
            let id = old_ids.remove(&key).unwrap_or_else(|| self.fresh_id());
            let old = old_tallies.remove(&id).unwrap_or_default();
            self.tallies.insert(id, old.with_limits(now, &key.kind, &limits));
            self.ids.insert(key, id);
        }
        let agents = self.ids.iter().filter(|(key, _)| matches!(key.kind, CheckKind::Agent(_)));
        self.agents = agents.map(|(_, id)| *id).collect();
        Ok(())
    }

    fn fresh_id(&mut self) -> CheckId {
        let id = CheckId(self.next);
        self.next = self.next.wrapping_add(1);
        id
    }

    /// The whole list for the checker, in the order of addresses. `On` and `Off` need no check
    /// and are not in it.
    pub fn specs(&self) -> Vec<CheckSpec> {
        let run = self.ids.iter().filter(|(key, _)| key.is_run());
        run.map(|(key, id)| key.spec(*id)).collect()
    }

    /// Takes note of what a check warns of. True when that is a warning, and another one than its
    /// last. A check that did not come far enough to see anything leaves the last one as it is.
    pub fn note(&mut self, result: &CheckResult) -> bool {
        let Some(tally) = self.tallies.get_mut(&result.id) else { return false };
        if result.warning == tally.warning
            || (result.warning.is_none() && result.verdict != Verdict::Up)
        {
            return false;
        }
        tally.warning.clone_from(&result.warning);
        tally.warning.is_some()
    }

    /// Counts one verdict. True when some virtual service must now see the server otherwise.
    /// A check that is not configured (any more) changes nothing.
    pub fn record(&mut self, now: Instant, result: &CheckResult) -> bool {
        let Some(tally) = self.tallies.get_mut(&result.id) else { return false };
        match &result.verdict {
            Verdict::Said(advice) => tally.hear(now, Ok(advice)),
            Verdict::Down(why) if self.agents.contains(&result.id) => tally.hear(now, Err(why)),
            verdict => tally.count(now, verdict),
        }
    }

    /// Takes over what the other node says of a check, whose verdicts it has counted. True when
    /// some virtual service must now see the server otherwise.
    pub fn adopt(&mut self, now: Instant, id: CheckId, up: bool) -> bool {
        let verdict = if up { Verdict::Up } else { Verdict::Down(CheckFailure::Told) };
        let Some(tally) = self.tallies.get_mut(&id) else { return false };
        (tally.successes, tally.failures, tally.hindered) = (0, 0, None);
        let mut changed = false;
        for judged in tally.judged.values_mut() {
            changed |= judged.follow(now, &verdict, true);
        }
        changed
    }

    /// Whether a check says up or down, where all services agree and there is a verdict.
    pub fn agreed(&self, id: CheckId) -> Option<bool> {
        let mut judged = self.tallies.get(&id)?.judged.values();
        let first = &judged.next()?.state;
        let agreed = *first != State::Unknown
            && judged
                .all(|other| other.state != State::Unknown && other.state.is_up() == first.is_up());
        agreed.then(|| first.is_up())
    }

    /// How many checks have had no verdict yet, of how many.
    pub fn unknown(&self) -> (usize, usize) {
        let run = || self.ids.iter().filter(|(key, _)| key.is_run());
        let tallies = run().filter_map(|(_, id)| self.tallies.get(id));
        let unknown =
            |tally: &&Tally| tally.judged.values().any(|judged| judged.state == State::Unknown);
        (tallies.filter(unknown).count(), run().count())
    }

    /// The check of a real server; `None` only when it was not part of the last
    /// [`Health::configure`].
    pub fn check_of(&self, service: &VirtualService, real: &RealServer) -> Option<CheckId> {
        self.ids.get(&CheckKey::new(service, real)).copied()
    }

    /// Whether a check is an agent's, which says more than up or down.
    pub fn is_agent(&self, id: CheckId) -> bool {
        self.agents.contains(&id)
    }

    /// Every check that a real server's state follows from.
    pub fn checks_of(
        &self,
        service: &VirtualService,
        real: &RealServer,
    ) -> impl Iterator<Item = CheckId> {
        CheckKey::all(service, real).filter_map(|key| self.ids.get(&key).copied())
    }

    /// How a real server stands in a virtual service. One that is up by itself is down while
    /// something is that it needs.
    pub fn standing(&self, service: &VirtualService, real: &RealServer) -> Standing {
        let mut standing = self.standing_of(service, &CheckKey::new(service, real));
        if let Some(agent) = &real.agent {
            let theirs = self.standing_of(service, &CheckKey::agent(service, agent));
            (standing.percent, standing.silent) = (theirs.percent, theirs.hindered);
            if standing.state.is_up() {
                standing.since = standing.since.max(theirs.since);
                standing.state = theirs.state;
            }
        }
        for needed in &real.requires {
            if !standing.state.is_up() {
                break;
            }
            let theirs = self.standing_of(service, &CheckKey::needed(service, needed));
            standing.since = standing.since.max(theirs.since);
            standing.state = match theirs.state {
                State::Up => State::Up,
                State::Unknown => State::Unknown,
                State::Down(why) => State::Down(Some(CheckFailure::Needs {
                    name: needed.name.clone(),
                    why: why.map_or_else(|| "it is off".to_owned(), |why| why.to_string()),
                })),
            };
        }
        standing
    }

    fn standing_of(&self, service: &VirtualService, key: &CheckKey) -> Standing {
        let tally = self.ids.get(key).and_then(|id| self.tallies.get(id));
        let judged = tally.and_then(|tally| tally.judged.get(&Limits::of(service)));
        Standing {
            state: judged.map_or(State::Unknown, |judged| judged.state.clone()),
            since: judged.map_or(Instant::BOOT, |judged| judged.since),
            failures: tally.map_or(0, |tally| tally.failures),
            hindered: tally.and_then(|tally| tally.hindered.clone()),
            warning: tally.and_then(|tally| tally.warning.clone()),
            flapping: judged.and_then(|judged| judged.flapping),
            percent: tally.and_then(|tally| tally.percent).unwrap_or(100),
            silent: None,
        }
    }

    /// How often its state has changed within the last [`FLAP_WINDOW`]; at most [`FLAPS_KEPT`].
    pub fn changes(&self, now: Instant, service: &VirtualService, real: &RealServer) -> usize {
        let tally = self.check_of(service, real).and_then(|id| self.tallies.get(&id));
        let judged = tally.and_then(|tally| tally.judged.get(&Limits::of(service)));
        judged.map_or(0, |judged| judged.changes_within(now))
    }

    /// Whether every check has had a verdict.
    pub fn is_complete(&self) -> bool {
        let mut judged = self.tallies.values().flat_map(|tally| tally.judged.values());
        judged.all(|judged| judged.state != State::Unknown)
    }
}

impl Tally {
    /// The same count under these limits only. Limits that are new begin with what the others
    /// say: the server is the same, and a changed number must not put it out of service.
    fn with_limits(mut self, now: Instant, kind: &CheckKind, limits: &[Limits]) -> Self {
        let state = match kind {
            CheckKind::On => State::Up,
            CheckKind::Off => State::Down(None),
            _ => State::Unknown,
        };
        let known = self.judged.values().next().cloned();
        let first = known.unwrap_or_else(|| Judged::new(state, now));
        self.judged.retain(|old, _| limits.contains(old));
        for new in limits {
            self.judged.entry(*new).or_insert_with(|| first.clone());
        }
        self
    }

    /// An agent's word counts at once. One that can't be asked says nothing.
    fn hear(&mut self, now: Instant, said: Result<&Advice, &CheckFailure>) -> bool {
        let (verdict, percent) = match said {
            Ok(Advice { down: Some(why), percent }) => {
                (Verdict::Down(CheckFailure::Agent(why.clone())), Some(*percent))
            }
            Ok(Advice { down: None, percent }) => (Verdict::Up, Some(*percent)),
            Err(_) => (Verdict::Up, self.percent),
        };
        self.hindered = said.err().map(ToString::to_string);
        let mut changed = std::mem::replace(&mut self.percent, percent) != percent;
        for judged in self.judged.values_mut() {
            if said.is_ok() || judged.state == State::Unknown {
                changed |= judged.follow(now, &verdict, true);
            }
        }
        changed
    }

    fn count(&mut self, now: Instant, verdict: &Verdict) -> bool {
        self.hindered = None;
        if let Verdict::Down(CheckFailure::Local(why)) = verdict
            && !self.judged.values().any(|judged| judged.state == State::Unknown)
        {
            // Our own want of descriptors or ports says nothing about the server.
            self.hindered = Some(why.clone());
            return false;
        }
        match verdict {
            Verdict::Up => (self.successes, self.failures) = (self.successes.saturating_add(1), 0),
            Verdict::Down(_) => {
                (self.successes, self.failures) = (0, self.failures.saturating_add(1));
            }
            Verdict::Said(_) => {}
        }
        let (successes, failures) = (self.successes, self.failures);
        let mut changed = false;
        for (limits, judged) in &mut self.judged {
            let reached = match verdict {
                Verdict::Up => successes >= limits.rise,
                Verdict::Down(_) => failures >= limits.fall,
                Verdict::Said(_) => false,
            };
            changed |= judged.follow(now, verdict, reached);
        }
        changed
    }
}

impl Judged {
    fn new(state: State, since: Instant) -> Self {
        Self { state, since, changes: VecDeque::new(), flapping: None }
    }

    fn changes_within(&self, now: Instant) -> usize {
        self.changes.iter().filter(|at| now.since(**at) <= FLAP_WINDOW).count()
    }

    fn count_change(&mut self, now: Instant) {
        if self.changes.len() >= FLAPS_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(now);
        let changes = self.changes_within(now);
        let enough = if self.flapping.is_some() { FLAPPING / 2 } else { FLAPPING };
        self.flapping = self.flapping.or(Some(now)).filter(|_| changes >= enough);
    }

    /// Whether this verdict changes the state. The first one ever decides alone: a server that
    /// was never in has nothing to be protected from.
    fn follow(&mut self, now: Instant, verdict: &Verdict, reached: bool) -> bool {
        let decided = reached || self.state == State::Unknown;
        let (state, changed) = match (verdict, &self.state) {
            (Verdict::Up, State::Unknown | State::Down(_)) if decided => (State::Up, true),
            (Verdict::Down(why), State::Unknown | State::Up) if decided => {
                (State::Down(Some(why.clone())), true)
            }
            (Verdict::Down(why), State::Down(_)) => (State::Down(Some(why.clone())), false),
            _ => return false,
        };
        if changed && self.state != State::Unknown {
            self.count_change(now);
        }
        self.state = state;
        if changed {
            self.since = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests;
