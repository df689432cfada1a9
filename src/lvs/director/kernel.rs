//! What the control knows of the kernel's table: the last reading plus the orders obeyed since,
//! the one order that is under way, faults, and orders that the kernel refused.
//!
//! Does not know what should be in the table. Never remembers in the face of doubt: whatever goes
//! wrong ends in a new reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::event::OrderId;
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::model::{ServiceKey, Table};
use crate::lvs::plan::{Op, apply};
use crate::time::Instant;

/// An order unanswered for so long is given up, and the table is read anew.
pub const ORDER_LIMIT: Duration = Duration::from_secs(5);

/// Pause after the first fault or refusal; doubles with each further one.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Longest pause after a fault: a module that was loaded at last is noticed within it.
pub const FAULT_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Longest pause after a refused order.
pub const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// The kernel's table as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    have: Option<Table>,
    flight: Option<Flight>,
    last: u64,
    read_at: Instant,
    fault: Option<(KernelFault, Duration)>,
    refused: BTreeMap<Op, Refusal>,
}

#[derive(Debug)]
struct Flight {
    order: OrderId,
    since: Instant,
    ops: Vec<Op>,
}

#[derive(Debug)]
struct Refusal {
    why: OpError,
    until: Instant,
    pause: Duration,
}

impl Kernel {
    pub(super) fn have(&self) -> Option<&Table> {
        self.have.as_ref()
    }

    pub(super) fn fault(&self) -> Option<&KernelFault> {
        self.fault.as_ref().map(|(fault, _)| fault)
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = (&Op, &OpError)> {
        self.refused.iter().map(|(op, refusal)| (op, &refusal.why))
    }

    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Whether the order under way has had its time.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.flight.as_ref().is_some_and(|flight| now >= flight.since.plus(ORDER_LIMIT))
    }

    /// Whether the table is to be read now.
    pub(super) fn is_reading_due(&self, now: Instant) -> bool {
        now >= self.read_at
    }

    /// Whether some refused order is to be repeated now.
    pub(super) fn is_repetition_due(&self, now: Instant) -> bool {
        self.refused.values().any(|refusal| now >= refusal.until)
    }

    /// When something here is due next.
    pub(super) fn deadline(&self) -> Instant {
        if let Some(flight) = &self.flight {
            return flight.since.plus(ORDER_LIMIT);
        }
        if self.have.is_none() {
            return self.read_at;
        }
        self.refused.values().map(|refusal| refusal.until).fold(self.read_at, Instant::min)
    }

    /// Forgets pauses: the operator has changed something and wants to see what comes of it.
    pub(super) fn try_again(&mut self, now: Instant) {
        self.refused.clear();
        if self.have.is_none() {
            self.read_at = now;
        }
    }

    /// Begins an order; no orders means a reading.
    pub(super) fn begin(&mut self, now: Instant, ops: Vec<Op>) -> OrderId {
        self.last += 1;
        let order = OrderId(self.last);
        self.flight = Some(Flight { order, since: now, ops });
        order
    }

    /// The orders of the flight that is answered; `None` when the answer is late.
    pub(super) fn end(&mut self, order: OrderId) -> Option<Vec<Op>> {
        let flight = self.flight.take_if(|flight| flight.order == order)?;
        Some(flight.ops)
    }

    /// Forgets all but the numbers of orders: others may do as they like until the next reading.
    pub(super) fn forget(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// Gives up the order under way.
    pub(super) fn give_up(&mut self) {
        self.flight = None;
    }

    /// A reading. Returns what was thought to be there before, and whether a fault is over.
    pub(super) fn read(
        &mut self,
        now: Instant,
        table: Table,
        again_in: Duration,
    ) -> (Option<Table>, bool) {
        self.read_at = now.plus(again_in);
        (self.have.replace(table), self.fault.take().is_some())
    }

    /// IPVS failed: nothing is known any more. True when this is news.
    pub(super) fn failed(&mut self, now: Instant, fault: KernelFault) -> bool {
        let before = self.fault.take();
        let news = before.as_ref().is_none_or(|(old, _)| *old != fault);
        let pause = before.map_or(PAUSE_MIN, |(_, pause)| (pause * 2).min(FAULT_PAUSE_MAX));
        // Having waited for the answer was the pause.
        let waited = matches!(fault, KernelFault::Silent(_));
        self.read_at = if waited { now } else { now.plus(pause) };
        self.have = None;
        self.fault = Some((fault, pause));
        news
    }

    /// Enters the answers to a flight's orders, and returns refusals that are news. After any
    /// refusal the table is read anew.
    pub(super) fn obeyed(
        &mut self,
        now: Instant,
        ops: Vec<Op>,
        answers: Vec<Result<(), OpError>>,
    ) -> Vec<(Op, OpError)> {
        let mut news = Vec::new();
        let mut doubt = ops.len() != answers.len();
        for (op, answer) in ops.into_iter().zip(answers) {
            let Err(why) = answer else {
                self.refused.remove(&op);
                if let Some(have) = &mut self.have {
                    apply(have, &op);
                }
                continue;
            };
            doubt = true;
            if self.refuse(now, &op, &why) {
                news.push((op, why));
            }
        }
        if doubt {
            self.have = None;
            self.read_at = now;
        }
        news
    }

    fn refuse(&mut self, now: Instant, op: &Op, why: &OpError) -> bool {
        let before = self.refused.get(op);
        let news = before.is_none_or(|old| old.why != *why);
        let longer = |old: &Refusal| (old.pause * 2).min(REFUSAL_PAUSE_MAX);
        let pause = before.map_or(PAUSE_MIN, longer);
        let refusal = Refusal { why: why.clone(), until: now.plus(pause), pause };
        self.refused.insert(op.clone(), refusal);
        news
    }

    /// Whether a destination of this service was refused, and is still wanted.
    pub(super) fn refuses_one_to(&self, service: &ServiceKey) -> bool {
        let added = |op: &Op| matches!(op, Op::AddDest(key, ..) if key == service);
        self.refused.keys().any(added)
    }

    /// The orders to give now: all but those refused a short while ago. Refusals of orders that
    /// are no longer wanted are forgotten.
    pub(super) fn due(&mut self, now: Instant, ops: Vec<Op>) -> Vec<Op> {
        if self.refused.is_empty() {
            return ops;
        }
        let wanted: BTreeSet<_> = ops.iter().collect();
        self.refused.retain(|op, _| wanted.contains(op));
        let waits = |op: &Op| self.refused.get(op).is_some_and(|refusal| now < refusal.until);
        ops.into_iter().filter(|op| !waits(op)).collect()
    }
}
