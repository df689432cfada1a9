//! Looking after resources that are up: when to look, what a bad answer means.
//!
//! While a group is active each resource that has a [`Monitor`] is looked at in turn. One that has
//! failed is started again here, with everything to its right, for that is the order of the list;
//! when it has failed more often than it may, the group goes to a peer that can have it. Where none
//! can, it is started again here after a wait that doubles. Failures are forgotten one by one in
//! quiet.
//!
//! The looking is the driver's; an order here has a limit, and its late answer is ignored.
//! Neighbours: `list` starts and stops, `handover` calls [`Group::mend`] while nothing is handed
//! over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Cause, Event, Manner, Operation, Output, Verdict};
use crate::cluster::group::{BACKOFF_MAX, BACKOFF_MIN, Group, Role, Setback, Stance};
use crate::cluster::list::ANSWER_GRACE;
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::settings::ResourceSettings;
use crate::cluster::view::{ResourceState, ResourceView};
use crate::names::{ActionId, GroupName};
use crate::time::Instant;

/// Looks in a row without a clear answer that count as a failure: one that takes too long happens
/// on a busy machine.
const UNCLEAR_MAX: u32 = 2;
/// Failures that are told apart; more are as many.
const FAILURES_MAX: u32 = 1000;
/// Doublings after which the wait before another start is at its longest anyway.
const DOUBLINGS_MAX: u32 = 8;
/// Quiet after which a failure of a resource without a monitor is forgotten.
const DECAY: Duration = Duration::from_secs(600);

/// How a resource is looked after while it is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// From one answer to the next look. 1 s to a day, default 10 s.
    pub interval: Duration,
    /// Longest look, enforced by the driver; the core waits a little longer for the answer. 1 s to
    /// an hour, default 20 s.
    pub timeout: Duration,
    /// So many failures are met with another start on the same node; the next one gives the group
    /// to the peer. 0 to 100, default 3.
    pub restarts: u32,
    /// Quiet after which one failure is forgotten, and after which a node that gave the group up is
    /// willing again. 1 s to 30 days, default 10 minutes.
    pub decay: Duration,
    /// Whether its word that it is down counts only once it has said that it is up: scripts of old
    /// have a status that nobody ever looked at.
    pub wary: bool,
}

/// What is known of one resource's health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// The look under way, and until when its answer is awaited.
    look: Option<(ActionId, Instant)>,
    /// When to look next.
    next: Option<Instant>,
    word: Word,
    /// Looks without a clear answer, in a row.
    unclear: u32,
    /// Failures that are not forgotten yet.
    failures: u32,
    /// When the next one is.
    fades: Option<Instant>,
    /// The last one, in words.
    why: Option<String>,
    /// It is broken, and started again at that instant at the earliest.
    broken: Option<Instant>,
}

/// What its own word is worth since it was last started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    #[default]
    Unheard,
    /// It has said that it is up.
    Good,
    /// It said that it is down right after a start that went well.
    Worthless,
}

impl Watch {
    /// One more failure.
    fn fail(&mut self, now: Instant, decay: Duration, why: &str) {
        self.failures = self.failures.saturating_add(1).min(FAILURES_MAX);
        self.fades = Some(now.plus(decay));
        self.why = Some(why.to_owned());
    }

    fn fade(&mut self, now: Instant, decay: Duration) {
        while let Some(at) = self.fades.filter(|at| now >= *at) {
            self.failures = self.failures.saturating_sub(1);
            self.fades = (self.failures > 0).then(|| at.plus(decay.max(Duration::from_secs(1))));
        }
        if self.failures == 0 && self.broken.is_none() {
            self.why = None;
        }
    }

    /// The group is no longer all up: whatever was under way counts no more.
    fn rest(&mut self) {
        (self.look, self.next, self.broken, self.unclear) = (None, None, None, 0);
    }
}

fn decay(resource: &ResourceSettings) -> Duration {
    resource.monitor.map_or(DECAY, |monitor| monitor.decay)
}

/// How long a resource that has failed too often waits before it is started again.
fn wait(surplus: u32) -> Duration {
    match surplus.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            BACKOFF_MIN.saturating_mul(1 << doublings.min(DOUBLINGS_MAX)).min(BACKOFF_MAX)
        }
    }
}

impl Group {
    /// The whole group is up: its resources are looked at from now on, the first time at once.
    pub(super) fn watch(&mut self, now: Instant) {
        self.fit_health();
        for (watch, resource) in self.health.iter_mut().zip(&self.settings.resources) {
            watch.rest();
            watch.next = resource.monitor.map(|_| now);
        }
    }

    /// As many entries as there are resources; where their number changed, they are others.
    pub(super) fn fit_health(&mut self) {
        if self.health.len() != self.settings.resources.len() {
            self.health = vec![Watch::default(); self.settings.resources.len()];
        }
    }

    /// The same group under other settings, some groups with other resources.
    pub(super) fn watched(mut self, now: Instant, changed: &[GroupName]) -> Self {
        if changed.contains(&self.settings.name) {
            self.health.clear();
        }
        if !matches!(self.role, Role::Active { .. }) {
            return self;
        }
        self.fit_health();
        for (watch, resource) in self.health.iter_mut().zip(&self.settings.resources) {
            let idle = watch.look.is_none() && watch.next.is_none() && watch.broken.is_none();
            match resource.monitor {
                None => watch.rest(),
                Some(_) if idle && watch.word != Word::Worthless => watch.next = Some(now),
                Some(_) => {}
            }
        }
        self
    }

    /// A resource was started, or stopped: what it said before counts no more.
    pub(super) fn renewed(&mut self, resource: usize) {
        self.fit_health();
        if let Some(watch) = self.health.get_mut(resource) {
            watch.rest();
            watch.word = Word::default();
        }
    }

    /// Looks under way are of no interest any more.
    pub(super) fn look_away(&mut self) {
        self.health.iter_mut().for_each(Watch::rest);
    }

    /// An operator wants it here: what failed before is thought to be mended.
    pub(super) fn forgive(&mut self) {
        self.health.iter_mut().for_each(|watch| {
            (watch.failures, watch.fades, watch.why) = (0, None, None);
        });
    }

    /// A start has failed: that is a failure of the resource, too.
    pub(super) fn count_failure(&mut self, now: Instant, resource: usize, why: &str) {
        self.fit_health();
        let settings = self.settings.resources.get(resource);
        if let (Some(watch), Some(settings)) = (self.health.get_mut(resource), settings) {
            watch.fail(now, decay(settings), why);
        }
    }

    /// Until when this node, which has just given the group up, declines it.
    pub(super) fn declines_until(&self, now: Instant) -> Instant {
        let decays = self.settings.resources.iter().map(decay);
        now.plus(decays.max().unwrap_or(DECAY))
    }

    /// A look has ended. False when nobody waits for it.
    pub(super) fn monitored(
        &mut self,
        turn: &mut Turn<'_>,
        order: ActionId,
        verdict: &Verdict,
    ) -> bool {
        let look = |watch: &Watch| watch.look.is_some_and(|(id, _)| id == order);
        let Some(place) = self.health.iter().position(look) else { return false };
        let (Some(watch), Some(settings)) =
            (self.health.get_mut(place), self.settings.resources.get(place))
        else {
            return false;
        };
        let Some(monitor) = settings.monitor else { return false };
        watch.look = None;
        watch.next = Some(turn.now.plus(monitor.interval));
        watch.unclear = match verdict {
            Verdict::Unclear(_) => watch.unclear + 1,
            Verdict::Busy => watch.unclear,
            Verdict::Up | Verdict::Down(_) => 0,
        };
        match verdict {
            Verdict::Up => watch.word = Word::Good,
            Verdict::Down(_) if monitor.wary && watch.word == Word::Unheard => {
                (watch.word, watch.next) = (Word::Worthless, None);
                let group = self.settings.name.clone();
                turn.outbox.report(Event::NotMonitored { group, resource: place });
            }
            Verdict::Down(why) => self.broke(turn, place, why),
            Verdict::Unclear(why) if watch.unclear >= UNCLEAR_MAX => self.broke(turn, place, why),
            Verdict::Unclear(_) | Verdict::Busy => {}
        }
        true
    }

    fn broke(&mut self, turn: &mut Turn<'_>, place: usize, why: &str) {
        let (Some(watch), Some(settings)) =
            (self.health.get_mut(place), self.settings.resources.get(place))
        else {
            return;
        };
        watch.fail(turn.now, decay(settings), why);
        let surplus = watch.failures.saturating_sub(settings.monitor.map_or(0, |it| it.restarts));
        watch.next = None;
        watch.broken = Some(turn.now.plus(wait(surplus)));
        turn.outbox.report(Event::ResourceFailed {
            group: self.settings.name.clone(),
            resource: place,
            failures: watch.failures,
            why: why.to_owned(),
        });
    }

    /// Time passes: failures are forgotten, looks are due or overdue.
    pub(super) fn step_watch(&mut self, turn: &mut Turn<'_>) {
        for (watch, settings) in self.health.iter_mut().zip(&self.settings.resources) {
            watch.fade(turn.now, decay(settings));
        }
        self.recover(turn.now);
        if !matches!(self.role, Role::Active { .. }) {
            return;
        }
        let overdue: Vec<ActionId> = self
            .health
            .iter()
            .filter_map(|watch| watch.look.filter(|(_, until)| turn.now >= *until))
            .map(|(id, _)| id)
            .collect();
        for order in overdue {
            self.monitored(turn, order, &Verdict::Unclear("no answer in time".to_owned()));
        }
        for resource in 0..self.health.len() {
            self.look_at(turn, resource);
        }
    }

    fn look_at(&mut self, turn: &mut Turn<'_>, resource: usize) {
        let monitor = self.settings.resources.get(resource).and_then(|it| it.monitor);
        let (Some(watch), Some(monitor)) = (self.health.get_mut(resource), monitor) else { return };
        if watch.next.is_none_or(|at| turn.now < at) {
            return;
        }
        let order = turn.outbox.new_action();
        watch.next = None;
        watch.look = Some((order, turn.now.plus(monitor.timeout).plus(ANSWER_GRACE)));
        turn.outbox.push(Output::Monitor { order, group: self.id, resource });
    }

    /// A node that could not have the group is willing again after a time of quiet. It does not ask
    /// for it back by itself.
    fn recover(&mut self, now: Instant) {
        if let Role::Idle { stance: stance @ Stance::Failed(_), asking: None } = &mut self.role
            && self.declined_until.is_some_and(|at| now >= at)
        {
            *stance = Stance::Relieved;
            self.declined_until = None;
            self.setback = None;
        }
    }

    /// Starts what is broken again, or gives the group to a peer that is `able` to have it.
    pub(super) fn mend(&mut self, turn: &mut Turn<'_>, able: bool) {
        if turn.licence != Licence::Take {
            return;
        }
        if self.worn().is_some() && able && self.may_switch(turn) {
            let then = Stance::Failed(turn.now.plus(self.backoff));
            self.setback = Some(Setback::ResourceFailed);
            return self.stop(turn, Cause::ResourceFailed, Manner::Alone, then);
        }
        let mut broken = self.health.iter().zip(0..);
        let first = broken.find_map(|(watch, place)| Some((watch.broken?, place)));
        if let Some((_, place)) = first.filter(|(at, _)| turn.now >= *at) {
            self.restart(turn, place);
        }
    }

    /// The first resource that is broken and has failed more often than it may.
    pub(super) fn worn(&self) -> Option<usize> {
        let often = |watch: &Watch, settings: &ResourceSettings| {
            watch.broken.is_some()
                && watch.failures > settings.monitor.map_or(0, |monitor| monitor.restarts)
        };
        let mut places = self.health.iter().zip(&self.settings.resources);
        places.position(|(watch, settings)| often(watch, settings))
    }

    /// Whether a resource of it waits to be mended.
    pub(super) fn is_broken(&self) -> bool {
        self.health.iter().any(|watch| watch.broken.is_some())
    }

    /// Stops what stands to the right of it and itself, right to left; the list goes on from there.
    fn restart(&mut self, turn: &mut Turn<'_>, resource: usize) {
        let Role::Active { epoch, from, .. } = self.role else { return };
        let Some(last) = self.settings.resources.len().checked_sub(1) else { return };
        self.look_away();
        let order = self.run(turn, last, (Operation::Stop, Manner::Alone));
        let role = Role::Mending { epoch, from, resource, order };
        self.enter(turn, role, Cause::ResourceFailed);
    }

    /// When something here is to be done.
    pub(super) fn watch_deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        let each = self.health.iter().flat_map(|watch| {
            let look = watch.look.map(|(_, until)| (until, "monitor"));
            let next = watch.next.map(|at| (at, "monitor"));
            let fades = watch.fades.map(|at| (at, "failures"));
            let broken = watch.broken.map(|at| (at, "restart"));
            look.into_iter().chain(next).chain(fades).chain(broken)
        });
        each.chain(self.declined_until.map(|at| (at, "willing again")))
    }

    /// Each resource as the operator sees it.
    pub(super) fn resource_views(&self) -> Vec<ResourceView> {
        let places = 0..self.settings.resources.len();
        let watches = places.clone().map(|place| self.health.get(place));
        let views = places.zip(watches).map(|(place, watch)| ResourceView {
            state: self.resource_state(place),
            monitored: watch.is_some_and(|it| it.look.is_some() || it.next.is_some()),
            failures: watch.map_or(0, |it| it.failures),
            why: watch.and_then(|it| it.why.clone()),
        });
        views.collect()
    }

    fn resource_state(&self, place: usize) -> ResourceState {
        let broken = self.health.get(place).is_some_and(|watch| watch.broken.is_some());
        let at = |resource: usize, state: ResourceState| match place.cmp(&resource) {
            std::cmp::Ordering::Less => ResourceState::Up,
            std::cmp::Ordering::Equal => state,
            std::cmp::Ordering::Greater => ResourceState::Down,
        };
        match &self.role {
            Role::Idle { .. } | Role::Claiming { .. } => ResourceState::Down,
            Role::Starting { next, .. } => at(*next, ResourceState::Starting),
            Role::Active { .. } if broken => ResourceState::Failed,
            Role::Active { .. } => ResourceState::Up,
            Role::Mending { order, .. } | Role::Stopping { order, .. } => {
                at(order.resource, ResourceState::Stopping)
            }
            Role::Stuck { resource, .. } => at(*resource, ResourceState::Failed),
        }
    }
}
