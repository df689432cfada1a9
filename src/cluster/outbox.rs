//! What one turn of the core works with: the time, what is known, and the queue of orders.
//!
//! The queue grows only inside one `Core::handle` and is emptied by the driver before the next,
//! so that its length is bounded by the number of groups and links.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Event, Output};
use crate::cluster::fence::Fence;
use crate::cluster::message::{Beat, Extent};
use crate::cluster::peer::Peer;
use crate::cluster::reach::Standing;
use crate::cluster::settings::Settings;
use crate::names::ActionId;
use crate::time::Instant;

/// Orders on their way to the driver, and the two counters that number them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outbox {
    queue: VecDeque<Output>,
    sent: u64,
    actions: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(super) fn report(&mut self, event: Event) {
        self.queue.push_back(Output::Report(event));
    }

    pub(super) fn send(&mut self, beat: Beat) {
        self.sent += 1;
        self.queue.push_back(Output::Send(beat));
    }

    /// The sequence number that the next beat will have.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sent + 1
    }

    pub(super) fn new_action(&mut self) -> ActionId {
        self.actions += 1;
        ActionId(self.actions)
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }
}

/// What a group may do in this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Licence {
    /// Take, claim, announce.
    Take,
    /// Nothing new: still booting, or not sure after a stall of our own whether we are still
    /// believed alive. What is held stays held; what must be dropped is dropped.
    Keep,
    /// Give everything away.
    Leave,
}

/// One turn of the core, lent to a group.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) settings: &'a Settings,
    pub(super) peer: &'a Peer,
    pub(super) licence: Licence,
    /// Since when both nodes have been in service and in contact.
    pub(super) settled: Option<Instant>,
    /// What an operator has frozen.
    pub(super) frozen: Extent,
    /// How this node's connectivity stands beside the peer's.
    pub(super) standing: Standing,
    /// How far the fencing of the peer is.
    pub(super) fence: &'a mut Fence,
    pub(super) outbox: &'a mut Outbox,
}
