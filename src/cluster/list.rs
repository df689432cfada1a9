//! The ordered list: starts left to right, stops right to left, one action at a time.
//!
//! Every order has a time limit here as well, a little above the driver's own, and then counts as
//! failed; its late answer bears an old id and is ignored. A start under way is awaited before
//! anything is stopped: a stop that overtook it would leave the resource up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Action, Cause, Event, Manner, Operation, Outcome, Output};
use crate::cluster::group::{BACKOFF_MAX, BACKOFF_MIN, Group, Retry, Role, Setback, Stance};
use crate::cluster::outbox::{Licence, Turn};
use crate::names::ActionId;
use crate::time::Instant;

/// How much longer than the driver's own limit the core waits for an answer.
pub(super) const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// Failed stops are tried again so many times at the short interval, as in Heartbeat.
pub(super) const STOP_TRIES_QUICK: u32 = 10;
pub(super) const STOP_AGAIN_QUICK: Duration = Duration::from_secs(1);
const STOP_AGAIN_SLOW: Duration = Duration::from_secs(30);

/// An order under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: ActionId,
    pub(super) resource: usize,
    pub(super) operation: Operation,
    pub(super) until: Instant,
}

impl Group {
    pub(super) fn run(
        &self,
        turn: &mut Turn<'_>,
        resource: usize,
        (operation, manner): (Operation, Manner),
    ) -> Order {
        let limit =
            self.settings.resources.get(resource).map_or(Duration::ZERO, |it| match operation {
                Operation::Start => it.start_timeout,
                Operation::Stop => it.stop_timeout,
            });
        let id = turn.outbox.new_action();
        turn.outbox.push(Output::Run(Action { id, group: self.id, resource, operation, manner }));
        Order { id, resource, operation, until: turn.now.plus(limit).plus(ANSWER_GRACE) }
    }

    /// Begins to start under `epoch`; `manner` and `from` say whether the giver still serves.
    pub(super) fn start(
        &mut self,
        turn: &mut Turn<'_>,
        epoch: u64,
        (manner, from): (Manner, Option<u64>),
        cause: Cause,
    ) {
        self.setback = None;
        self.by_itself = matches!(cause, Cause::Failback | Cause::PeerDeclined);
        self.enter(turn, Role::Starting { epoch, manner, from, next: 0, order: None }, cause);
        self.step_starting(turn);
    }

    pub(super) fn step_starting(&mut self, turn: &mut Turn<'_>) {
        let Role::Starting { epoch, manner, from, next, order } = self.role else { return };
        match order {
            Some(order) => self.expire(turn, order),
            None if turn.licence == Licence::Leave => {
                self.stop(turn, Cause::Leave, Manner::Alone, Stance::Willing);
            }
            None if turn.licence == Licence::Keep => {}
            None if next < self.settings.resources.len() => {
                let order = Some(self.run(turn, next, (Operation::Start, manner)));
                self.role = Role::Starting { epoch, manner, from, next, order };
            }
            None => {
                self.backoff = BACKOFF_MIN;
                self.count_taking(turn);
                self.watch(turn.now);
                self.enter(turn, Role::Active { epoch, from, offer: None }, Cause::Completed);
            }
        }
    }

    /// Begins to stop whatever is up, and then stands as `then` says.
    pub(super) fn stop(&mut self, turn: &mut Turn<'_>, cause: Cause, manner: Manner, then: Stance) {
        let (epoch, up, flying) = match self.role {
            Role::Starting { epoch, next, order, .. } => (epoch, next, order),
            Role::Active { epoch, .. } => (epoch, self.settings.resources.len(), None),
            Role::Mending { epoch, order, .. } => (epoch, order.resource + 1, Some(order)),
            // Already on the way.
            Role::Idle { .. }
            | Role::Claiming { .. }
            | Role::Stopping { .. }
            | Role::Stuck { .. } => return,
        };
        self.look_away();
        let order = match (flying, up.checked_sub(1)) {
            (Some(order), _) => order,
            (None, Some(last)) => self.run(turn, last, (Operation::Stop, manner)),
            (None, None) => {
                return self.enter(turn, Role::Idle { stance: then, asking: None }, cause);
            }
        };
        self.enter(turn, Role::Stopping { epoch, manner, then, order }, cause);
    }

    /// An action ended. False when it is none of ours, or an old one.
    pub(super) fn ended(
        &mut self,
        turn: &mut Turn<'_>,
        action: ActionId,
        outcome: &Outcome,
    ) -> bool {
        let Some(order) = self.order().filter(|order| order.id == action) else { return false };
        if let Outcome::Failed(why) = outcome {
            turn.outbox.report(Event::ActionFailed {
                group: self.settings.name.clone(),
                resource: order.resource,
                operation: order.operation,
                why: why.clone(),
            });
        }
        self.renewed(order.resource);
        match (self.role, outcome) {
            (Role::Starting { epoch, manner, from, .. }, Outcome::Done) => {
                let next = order.resource + 1;
                self.role = Role::Starting { epoch, manner, from, next, order: None };
            }
            (Role::Starting { epoch, .. }, Outcome::Failed(why)) => {
                self.count_failure(turn.now, order.resource, why);
                self.start_failed(turn, epoch, order);
            }
            (Role::Mending { .. }, _) => self.mending_goes_on(turn, order, outcome),
            (Role::Stopping { epoch, manner, then, .. }, _)
                if order.operation == Operation::Start =>
            {
                let order = self.run(turn, order.resource, (Operation::Stop, manner));
                self.role = Role::Stopping { epoch, manner, then, order };
            }
            (Role::Stopping { epoch, manner, then, .. }, Outcome::Done) => {
                self.stopped(turn, (epoch, manner, then), order.resource);
            }
            (Role::Stuck { epoch, then, .. }, Outcome::Done) => {
                self.stopped(turn, (epoch, Manner::Alone, then), order.resource);
            }
            (Role::Stopping { epoch, then, .. }, Outcome::Failed(_)) => {
                self.setback = Some(Setback::StopFailed);
                self.stuck(turn, (epoch, then), (order.resource, 1));
            }
            (Role::Stuck { epoch, then, tries, .. }, Outcome::Failed(_)) => {
                self.stuck(turn, (epoch, then), (order.resource, tries.saturating_add(1)));
            }
            (Role::Idle { .. } | Role::Claiming { .. } | Role::Active { .. }, _) => {}
        }
        true
    }

    /// The order under way, if any.
    pub(super) fn order(&self) -> Option<Order> {
        match self.role {
            Role::Starting { order, .. } => order,
            Role::Mending { order, .. }
            | Role::Stopping { order, .. }
            | Role::Stuck { retry: Retry::Trying(order), .. } => Some(order),
            Role::Idle { .. }
            | Role::Claiming { .. }
            | Role::Active { .. }
            | Role::Stuck { .. } => None,
        }
    }

    /// What was started is stopped again, the failed resource first: it may be half up.
    fn start_failed(&mut self, turn: &mut Turn<'_>, epoch: u64, failed: Order) {
        let then = Stance::Failed(turn.now.plus(self.backoff));
        self.setback = Some(Setback::StartFailed);
        let order = self.run(turn, failed.resource, (Operation::Stop, Manner::Alone));
        let role = Role::Stopping { epoch, manner: Manner::Alone, then, order };
        self.enter(turn, role, Cause::StartFailed);
    }

    /// A resource is down that is to be started again, or one to the right of such a one.
    fn mending_goes_on(&mut self, turn: &mut Turn<'_>, ended: Order, outcome: &Outcome) {
        let Role::Mending { epoch, from, resource, .. } = self.role else { return };
        if let Outcome::Failed(_) = outcome {
            self.setback = Some(Setback::StopFailed);
            let then = Stance::Failed(turn.now.plus(self.backoff));
            return self.stuck(turn, (epoch, then), (ended.resource, 1));
        }
        self.role = match ended.resource.checked_sub(1).filter(|left| *left >= resource) {
            Some(left) => {
                let order = self.run(turn, left, (Operation::Stop, Manner::Alone));
                Role::Mending { epoch, from, resource, order }
            }
            None => {
                let (manner, next) = (Manner::Alone, resource);
                Role::Starting { epoch, manner, from, next, order: None }
            }
        };
    }

    /// `resource` is down: the next to the left, or the end.
    fn stopped(
        &mut self,
        turn: &mut Turn<'_>,
        (epoch, manner, then): (u64, Manner, Stance),
        resource: usize,
    ) {
        let Some(left) = resource.checked_sub(1) else { return self.released(turn, then) };
        let order = self.run(turn, left, (Operation::Stop, manner));
        self.enter(turn, Role::Stopping { epoch, manner, then, order }, Cause::Completed);
    }

    fn released(&mut self, turn: &mut Turn<'_>, then: Stance) {
        let (stance, cause) = match then {
            Stance::Willing | Stance::Yielded | Stance::Relieved => (then, Cause::Completed),
            Stance::Failed(_) => {
                let at = turn.now.plus(self.backoff);
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                self.declined_until = Some(self.declines_until(turn.now));
                let worn = self.setback == Some(Setback::ResourceFailed);
                let cause = if worn { Cause::ResourceFailed } else { Cause::StartFailed };
                (Stance::Failed(at), cause)
            }
        };
        self.enter(turn, Role::Idle { stance, asking: None }, cause);
    }

    fn stuck(
        &mut self,
        turn: &mut Turn<'_>,
        (epoch, then): (u64, Stance),
        (resource, tries): (usize, u32),
    ) {
        let wait = if tries <= STOP_TRIES_QUICK { STOP_AGAIN_QUICK } else { STOP_AGAIN_SLOW };
        let retry = Retry::Waiting(turn.now.plus(wait));
        self.enter(turn, Role::Stuck { epoch, then, resource, tries, retry }, Cause::StopFailed);
    }

    pub(super) fn step_stuck(&mut self, turn: &mut Turn<'_>) {
        let Role::Stuck { epoch, then, resource, tries, retry } = self.role else { return };
        match retry {
            Retry::Trying(order) => self.expire(turn, order),
            Retry::Waiting(at) if turn.now < at => {}
            Retry::Waiting(_) => {
                let order = self.run(turn, resource, (Operation::Stop, Manner::Alone));
                self.role =
                    Role::Stuck { epoch, then, resource, tries, retry: Retry::Trying(order) };
            }
        }
    }

    /// An answer that is overdue counts as a failure.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, order: Order) {
        if turn.now >= order.until {
            self.ended(turn, order.id, &Outcome::Failed("no answer in time".to_owned()));
        }
    }
}
