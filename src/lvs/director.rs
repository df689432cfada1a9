//! The director's control: turns verdicts and readings into orders, until the kernel's table is
//! as it should be, and again whenever it is not.
//!
//! A state machine without clock, IO or threads. The daemon tells it what happened
//! ([`Control::handle`]), obeys what it orders ([`Control::poll`]) and comes back at
//! [`Control::deadline`]. It knows nothing of the cluster: whether a node is active is the
//! address's business, and a standby's table is kept just as warm.
//!
//! One order to the kernel is under way at a time; what changes meanwhile goes into the next one.

mod ending;
mod event;
mod hooks;
mod kernel;
mod letters;
mod mails;
mod reports;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub use self::event::{DirectorEvent, Input, OrderId, Output};
use self::hooks::Hooks;
pub use self::hooks::{RUN_LIMIT, RunId};
use self::kernel::Kernel;
pub use self::kernel::{FAULT_PAUSE_MAX, ORDER_LIMIT, PAUSE_MIN, REFUSAL_PAUSE_MAX};
pub use self::letters::{
    ENTRIES_MAX, GATHER, LAST_LETTERS, LETTER_PAUSE, LETTERS_MAX, LetterId, MAIL_LIMIT, WAYS_MAX,
};
use self::mails::Mails;
use self::reports::{Serving, turned};
pub use self::view::{FallbackView, KernelView, QuorumView, RealView, ServiceView, View};
use crate::lvs::check::{CheckId, CheckResult, CheckWarning};
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::follow::{Following, Verdicts};
use crate::lvs::health::Health;
use crate::lvs::model::{
    ConnectionCounts, Director, RealServer, ServiceKey, Table, VirtualService,
};
use crate::lvs::overrides::{Overrides, Target};
use crate::lvs::plan::{Places, plan};
use crate::lvs::pool::{Memory, Pools, look};
use crate::lvs::table::{Wish, of_pools};
use crate::names::DirectorName;
use crate::time::Instant;

/// The table is read at least so often, however rarely servers are checked.
pub const READING_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// And at most so often: a reading of a large table takes some milliseconds.
pub const READING_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A stop ends after so long whatever the kernel says; long enough for one order that is never
/// answered and a second attempt.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// All that one node's directors need to know.
#[derive(Debug, Default)]
pub struct Control {
    directors: Vec<Director>,
    health: Health,
    /// Servers by their check: places in `directors`, its services, their servers.
    members: BTreeMap<CheckId, Vec<(usize, usize, usize)>>,
    owned: BTreeSet<ServiceKey>,
    overrides: Overrides,
    hooks: Hooks,
    mails: Mails,
    /// Something has changed since programs were told last.
    unheard: bool,
    /// The first end of a drain to come.
    drained: Instant,
    /// Connections at the last reading.
    counts: ConnectionCounts,
    kernel: Kernel,
    phase: Phase,
    /// Something has changed since the last plan.
    dirty: bool,
    /// The kernel's table is as it should be.
    settled: bool,
    announced: bool,
    checker: bool,
    /// What the pools are at the last look, and what is remembered of those before.
    pools: BTreeMap<ServiceKey, Pools>,
    memory: Memory,
    /// Who serves in the kernel's table.
    serving: BTreeMap<ServiceKey, Serving>,
    touched: BTreeSet<ServiceKey>,
    following: Following,
    /// The other node has not been told the latest.
    untold: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Not configured yet, or stopped: the kernel's table is nobody's business.
    #[default]
    Idle,
    Running,
    Stopping {
        until: Instant,
    },
}

impl Control {
    /// A control without configuration; it does nothing until [`Input::Configure`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what happened at `now`. Then drain [`Control::poll`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Configure { directors, owned } => self.configure(now, directors, owned),
            Input::Checked(result) => self.checked(now, &result),
            Input::Dumped { order, result } => self.dumped(now, order, result),
            Input::Applied { order, result } => self.applied(now, order, result),
            Input::Override(overrides) => self.obey_operator(now, overrides),
            Input::Lead { director, lead } => self.lead(director, lead),
            Input::Told(verdicts) => self.told(now, &verdicts),
            Input::Ran { id, result } => self.ran(id, result),
            Input::Mailed { id, result } => self.mailed(now, id, result),
            Input::CheckerReady => self.checker_ready(),
            Input::CheckerLost => self.checker_lost(),
            Input::Shutdown => self.shutdown(now),
            Input::Tick => {}
        }
        self.run_hooks(now);
        self.attend_mails(now);
        self.advance(now);
        self.write_letters(now);
    }

    /// The next order, oldest first.
    pub fn poll(&mut self) -> Option<Output> {
        let untold = self.outputs.is_empty() && std::mem::take(&mut self.untold);
        let tell = untold.then(|| Output::Tell(self.following.tell(&self.health)));
        self.outputs.pop_front().or(tell)
    }

    /// When to come back at the latest with [`Input::Tick`]; [`Instant::NEVER`] while there is
    /// nothing to wait for.
    pub fn deadline(&self) -> Instant {
        let own = match self.phase {
            Phase::Idle => Instant::NEVER,
            Phase::Running if self.owned.is_empty() => Instant::NEVER,
            Phase::Running => {
                let own = self.drained.min(self.memory.deadline()).min(self.following.deadline());
                self.kernel.deadline().min(own)
            }
            // The kernel is not asked any more.
            Phase::Stopping { until } if self.owned.is_empty() => until,
            Phase::Stopping { until } => self.kernel.deadline().min(until),
        };
        own.min(self.hooks.deadline()).min(self.mails.deadline())
    }

    /// Every check has had a verdict and the kernel's table is as it should be.
    pub fn converged(&self) -> bool {
        self.phase == Phase::Running && self.settled && self.health.is_complete()
    }

    /// Why the kernel's IPVS can't be used at present.
    pub fn fault(&self) -> Option<&KernelFault> {
        self.kernel.fault()
    }

    /// Services in the kernel that are ours to remove, now or in a later run. The daemon keeps
    /// them on disk and hands them back with [`Input::Configure`].
    pub fn owned(&self) -> &BTreeSet<ServiceKey> {
        &self.owned
    }

    fn configure(&mut self, now: Instant, directors: Vec<Director>, owned: BTreeSet<ServiceKey>) {
        if let Err(refused) = self.health.configure(now, &directors) {
            self.report(DirectorEvent::TooManyChecks { checks: refused.checks });
            return;
        }
        let reloaded = self.phase == Phase::Running;
        if reloaded {
            self.mail_of_parted(now, &directors);
        }
        self.directors = directors;
        self.members = self.index();
        self.owned.extend(owned);
        let keys: Vec<_> = self.services().map(|service| service.key).collect();
        self.owned.extend(keys);
        self.phase = Phase::Running;
        self.announced = false;
        self.kernel.try_again(now);
        self.unsettle();
        self.note_serving();
        self.sort_out();
        self.sort_mails(now, reloaded);
    }

    /// Finds out anew who checks what, and says so.
    fn sort_out(&mut self) {
        self.following.sort_out(&self.directors, &self.health);
        self.untold = true;
        self.give_checks();
    }

    /// The checker's list: everything that the other node does not check for us.
    fn give_checks(&mut self) {
        let own = self.health.specs().into_iter();
        let own = own.filter(|spec| !self.following.is_heard(spec.id)).collect();
        self.outputs.push_back(Output::Check(own));
    }

    fn lead(&mut self, director: DirectorName, lead: bool) {
        let turned = self.following.lead(director, lead);
        self.unheard |= turned;
        if turned && self.phase == Phase::Running {
            self.sort_out();
            self.mail_of_lead();
        }
    }

    fn told(&mut self, now: Instant, verdicts: &Verdicts) {
        if self.phase != Phase::Running {
            return;
        }
        let before = self.following.count();
        for (id, up) in self.following.hear(now, verdicts) {
            if self.health.adopt(now, id, up) {
                self.turned(now, id);
            }
        }
        if self.following.count() != before {
            self.give_checks();
        }
    }

    fn obey_operator(&mut self, now: Instant, overrides: Overrides) {
        self.drained = overrides.next_end(now);
        self.overrides = overrides;
        self.kernel.try_again(now);
        self.unsettle();
    }

    /// The configured servers that an order would be about, as `SERVER of SERVICE`.
    pub fn meant(&self, target: Target) -> Vec<String> {
        let reals = self
            .services()
            .flat_map(|service| service.pools().map(move |real| (service.key, real.key)));
        let meant = reals.filter(|(service, real)| target.fits(service, real));
        meant.map(|(service, real)| format!("{real} of {service:#}")).collect()
    }

    fn index(&self) -> BTreeMap<CheckId, Vec<(usize, usize, usize)>> {
        let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (d, director) in self.directors.iter().enumerate() {
            for (s, service) in director.services.iter().enumerate() {
                for (r, real) in service.servers().enumerate() {
                    for id in self.health.checks_of(service, real) {
                        members.entry(id).or_default().push((d, s, r));
                    }
                }
            }
        }
        members
    }

    fn services(&self) -> impl Iterator<Item = &VirtualService> {
        self.directors.iter().flat_map(|director| &director.services)
    }

    fn member(&self, place: (usize, usize, usize)) -> Option<(&VirtualService, &RealServer)> {
        let service = self.directors.get(place.0)?.services.get(place.1)?;
        Some((service, service.servers().nth(place.2)?))
    }

    /// Everything that a check is about.
    fn members_of(&self, id: CheckId) -> impl Iterator<Item = (&VirtualService, &RealServer)> {
        let places = self.members.get(&id).into_iter().flatten();
        places.filter_map(|place| self.member(*place))
    }

    fn checked(&mut self, now: Instant, result: &CheckResult) {
        if self.health.note(result)
            && let Some(warning) = &result.warning
        {
            self.warned(result.id, warning);
        }
        self.monitor(result);
        // A check of ours that was under way when the other node's word began to count.
        if self.following.is_heard(result.id) || !self.health.record(now, result) {
            return;
        }
        self.turned(now, result.id);
    }

    /// A check says something else than before.
    fn turned(&mut self, now: Instant, id: CheckId) {
        self.unsettle();
        self.untold |= self.following.tells(id);
        let members = self.members_of(id);
        let events: Vec<_> =
            members.flat_map(|(service, real)| turned(now, &self.health, service, real)).collect();
        events.into_iter().for_each(|event| self.report(event));
    }

    fn warned(&mut self, id: CheckId, warning: &CheckWarning) {
        let events: Vec<_> = self
            .members_of(id)
            .map(|(service, real)| DirectorEvent::RealWarning {
                service: service.key,
                real: real.key,
                warning: warning.clone(),
            })
            .collect();
        events.into_iter().for_each(|event| self.report(event));
    }

    fn dumped(
        &mut self,
        now: Instant,
        order: OrderId,
        result: Result<(Table, ConnectionCounts), KernelFault>,
    ) {
        if self.kernel.end(order).is_none() {
            return;
        }
        let (table, counts) = match result {
            Ok(reading) => reading,
            Err(fault) => return self.failed(now, fault),
        };
        self.counts = counts;
        let (expected, back) = self.kernel.read(now, table, self.reading_interval());
        if back {
            self.report(DirectorEvent::KernelBack);
        }
        if let Some(mut expected) = expected {
            self.adopt(&mut expected);
            self.note_touched(expected);
        }
        self.unsettle();
        self.note_serving();
    }

    fn applied(
        &mut self,
        now: Instant,
        order: OrderId,
        result: Result<Vec<Result<(), OpError>>, KernelFault>,
    ) {
        let Some(ops) = self.kernel.end(order) else { return };
        match result {
            Err(fault) => self.failed(now, fault),
            Ok(answers) => {
                for (op, why) in self.kernel.obeyed(now, ops, answers) {
                    self.report(DirectorEvent::Refused { order: op.to_string(), why });
                }
                self.unsettle();
                self.note_serving();
            }
        }
    }

    fn failed(&mut self, now: Instant, fault: KernelFault) {
        self.wait_no_longer();
        self.unsettle();
        if self.kernel.failed(now, fault.clone()) {
            self.report(DirectorEvent::KernelFault(fault));
        }
    }

    fn checker_ready(&mut self) {
        if !std::mem::replace(&mut self.checker, true) {
            self.report(DirectorEvent::CheckerReady);
        }
        if self.phase == Phase::Running {
            self.give_checks();
        }
    }

    fn checker_lost(&mut self) {
        if std::mem::replace(&mut self.checker, false) {
            self.report(DirectorEvent::CheckerLost);
        }
    }

    fn unsettle(&mut self) {
        self.dirty = true;
        self.settled = false;
        self.unheard = true;
    }

    fn report(&mut self, event: DirectorEvent) {
        self.note_for_mail(&event);
        self.outputs.push_back(Output::Report(event));
    }

    /// The smallest check interval, within limits: what somebody else broke is healed within it.
    /// As often as can be while somebody waits for connections to end.
    fn reading_interval(&self) -> Duration {
        if self.overrides.has_drains() {
            return READING_INTERVAL_MIN;
        }
        let smallest = self.services().map(|service| service.interval).min();
        let interval = smallest.unwrap_or(READING_INTERVAL_MAX);
        interval.clamp(READING_INTERVAL_MIN, READING_INTERVAL_MAX)
    }

    /// Orders what is due, unless an order is under way.
    fn advance(&mut self, now: Instant) {
        if self.kernel.is_overdue(now) {
            self.kernel.give_up();
            self.failed(now, KernelFault::Silent(ORDER_LIMIT.as_secs()));
        }
        match self.phase {
            Phase::Idle => return,
            Phase::Stopping { until } if now >= until => return self.stopped(),
            Phase::Stopping { .. }
                if self.is_told(now) && self.kernel.fault() == Some(&KernelFault::NoModule) =>
            {
                return self.stopped();
            }
            Phase::Running | Phase::Stopping { .. } => {}
        }
        if self.phase == Phase::Running && self.following.lapse(now) {
            self.give_checks();
        }
        if self.drained <= now {
            self.drained = self.overrides.next_end(now);
            self.unsettle();
        }
        if self.memory.is_due(now) {
            self.unsettle();
        }
        if self.kernel.is_busy() {
            return;
        }
        if self.owned.is_empty() {
            return self.settle(now);
        }
        if self.kernel.is_reading_due(now) {
            let order = self.kernel.begin(now, Vec::new());
            self.outputs.push_back(Output::Dump(order));
        } else if self.dirty || self.kernel.is_repetition_due(now) {
            self.change(now);
        }
    }

    /// Orders the changes that the kernel's table needs.
    fn change(&mut self, now: Instant) {
        let wanted = self.wanted(now);
        let Some(have) = self.kernel.have() else { return };
        let ops = plan(have, &wanted, &self.owned, &self.places());
        let due = self.kernel.due(now, ops);
        self.dirty = false;
        if due.is_empty() {
            return self.settle(now);
        }
        let order = self.kernel.begin(now, due.clone());
        self.outputs.push_back(Output::Apply { order, ops: due });
    }

    /// Of stateless services, but for those to which the kernel refuses a destination: the others would come
    /// again with each try.
    fn places(&self) -> Places {
        let services = self.directors.iter().flat_map(|director| &director.services);
        let services = services.filter(|service| service.policy.stateless);
        let services = services.filter(|service| !self.kernel.refuses_one_to(&service.key));
        let weights = services.map(|service| {
            let servers = service.pools().map(|real| (real.key, real.weight));
            (service.key, servers.collect())
        });
        weights.collect()
    }

    /// What the table is made of, at this moment.
    fn wish(&self, now: Instant) -> Wish<'_> {
        let Self { directors, health, overrides, memory, .. } = self;
        Wish { directors, health, overrides, memory, now }
    }

    fn wanted(&mut self, now: Instant) -> Table {
        let empty = Table::default();
        let have = self.kernel.have().unwrap_or(&empty);
        if matches!(self.phase, Phase::Stopping { .. }) {
            let stay = self.services().filter(|service| !service.clean_stop);
            let stay = stay.filter_map(|service| have.0.get_key_value(&service.key));
            return Table(stay.map(|(key, entry)| (*key, entry.clone())).collect());
        }
        let pools = look(self.wish(now), have);
        let turned = self.memory.note(now, &self.directors, &pools);
        self.pools = pools;
        turned.into_iter().for_each(|(service, what)| self.pool_turned(service, what));
        of_pools(&self.directors, &self.pools)
    }

    /// There is nothing to order at this moment.
    fn settle(&mut self, now: Instant) {
        self.forget_gone();
        if self.kernel.has_refused() {
            self.wait_no_longer();
            return;
        }
        self.settled = true;
        let healed = std::mem::take(&mut self.touched);
        if !healed.is_empty() {
            self.report(DirectorEvent::Healed { services: healed.into_iter().collect() });
        }
        if matches!(self.phase, Phase::Stopping { .. }) {
            // A program that still runs is waited for, and a letter for a moment.
            if self.is_told(now) {
                self.stopped();
            }
            return;
        }
        if !self.announced && self.converged() {
            self.announced = true;
            // Nothing was checked where there is nothing to check.
            if self.services().next().is_some() {
                self.report(DirectorEvent::Converged);
            }
        }
    }
}

#[cfg(test)]
mod tests;
