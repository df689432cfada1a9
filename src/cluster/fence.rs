//! Fencing of a silent peer: it is put out of service by a device before anything is taken from it.
//!
//! One node is fenced, not a group; so the core has one [`Fence`]. It is begun when a group would
//! be taken and nothing else stands against that, is tried again and again with a growing pause,
//! and counts until the peer is heard again. An operator may say instead that the peer is off. A
//! peer that left in good order needs none. Neighbours: `clearance` asks, `requests` has the
//! operator's other words.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::{Answer, Bar, Event, Output, OutsideOrder};
use crate::cluster::group::{BACKOFF_MAX, BACKOFF_MIN, Group};
use crate::cluster::outbox::Turn;
use crate::cluster::outside::FenceView;
use crate::cluster::peer::PeerState;
use crate::names::{ActionId, RequestId};
use crate::time::{Instant, millis};

/// How much longer the core waits for the devices than the driver.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) enum Fence {
    #[default]
    Idle,
    Running {
        order: ActionId,
        since: Instant,
        until: Instant,
        tries: u32,
        /// The peer was heard meanwhile: whatever the answer, it is one about another life of it.
        #[serde(default)]
        void: bool,
    },
    Waiting {
        again: Instant,
        tries: u32,
        why: String,
    },
    Done {
        confirmed: bool,
        how: String,
        at: Instant,
    },
}

impl Fence {
    /// Whether an operator says that the peer is off.
    pub(super) fn confirmed(&self) -> bool {
        matches!(self, Self::Done { confirmed: true, .. })
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self {
            Self::Running { until, .. } => Some((*until, "fencing")),
            Self::Waiting { again, .. } => Some((*again, "fence again")),
            Self::Idle | Self::Done { .. } => None,
        }
    }

    pub(super) fn view(&self, now: Instant) -> FenceView {
        match self {
            Self::Idle => FenceView::Idle,
            Self::Running { since, tries, .. } => {
                FenceView::Running { tries: *tries, for_ms: millis(now.since(*since)) }
            }
            Self::Waiting { again, tries, why } => FenceView::Failed {
                tries: *tries,
                why: why.clone(),
                again_ms: millis(again.since(now)),
            },
            Self::Done { confirmed, how, at } => FenceView::Done {
                confirmed: *confirmed,
                how: how.clone(),
                ago_ms: millis(now.since(*at)),
            },
        }
    }
}

impl Group {
    /// Whether the peer is known to be off, where that can be seen to; begins to see to it.
    pub(super) fn peer_is_off(&self, turn: &mut Turn<'_>) -> bool {
        let Some(limit) = turn.settings.outside.fence else { return true };
        if turn.peer.state() != PeerState::Dead {
            return true;
        }
        let tries = match turn.fence {
            Fence::Done { .. } => return true,
            Fence::Idle => 1,
            Fence::Waiting { again, tries, .. } if turn.now >= *again => tries.saturating_add(1),
            Fence::Running { .. } | Fence::Waiting { .. } => return false,
        };
        let order = turn.outbox.new_action();
        let until = turn.now.plus(limit).plus(ANSWER_GRACE);
        *turn.fence = Fence::Running { order, since: turn.now, until, tries, void: false };
        turn.outbox.report(Event::Fencing { node: turn.settings.peer.clone(), tries });
        turn.outbox.push(Output::Outside(OutsideOrder::Fence { order }));
        false
    }
}

impl Core {
    /// The devices have done it, or have not; false when nobody waits for it.
    pub(super) fn fenced(
        &mut self,
        now: Instant,
        order: ActionId,
        said: &Result<String, String>,
    ) -> bool {
        let Fence::Running { order: asked, tries, void, .. } = self.fence else { return false };
        if asked != order {
            return false;
        }
        let node = self.settings.peer.clone();
        if void || self.peer.state() != PeerState::Dead {
            // It has come back meanwhile; whatever was done to it will be heard, or not heard.
            self.fence = Fence::Idle;
            return true;
        }
        match said {
            Ok(how) => {
                self.outbox.report(Event::Fenced { node, how: how.clone() });
                self.fence = Fence::Done { confirmed: false, how: how.clone(), at: now };
            }
            Err(why) => {
                let pause = BACKOFF_MIN.saturating_mul(1 << (tries - 1).min(8)).min(BACKOFF_MAX);
                let again_ms = millis(pause);
                self.outbox.report(Event::FenceFailed { node, why: why.clone(), again_ms });
                self.fence = Fence::Waiting { again: now.plus(pause), tries, why: why.clone() };
            }
        }
        true
    }

    /// Time passes: an answer is overdue, or the peer is there again.
    pub(super) fn step_fence(&mut self, now: Instant) {
        let there = self.peer.state() != PeerState::Dead;
        if let Fence::Running { void, .. } = &mut self.fence {
            *void |= there;
        }
        match self.fence {
            Fence::Running { order, until, .. } if now >= until => {
                self.fenced(now, order, &Err("no answer in time".to_owned()));
            }
            Fence::Waiting { .. } | Fence::Done { .. } if there => {
                self.fence = Fence::Idle;
            }
            _ => {}
        }
    }

    /// An operator says that the peer is off, and answers for it.
    pub(super) fn confirm_dead(&mut self, now: Instant, id: RequestId) {
        let node = self.settings.peer.clone();
        let served = self.groups.iter().find(|group| group.clearance.bar == Some(Bar::Served));
        let refusal = match self.peer.state() {
            PeerState::Alive => Some(format!("{node} is heard: it is not dead")),
            PeerState::Unknown => Some("still waiting for the peer after start".to_owned()),
            PeerState::Left => Some(format!("{node} has left in good order: nothing waits for it")),
            PeerState::Dead => served.map(|group| {
                let name = &group.settings.name;
                format!("{node} still serves {name} on the service LAN: it is not dead")
            }),
        };
        let answer = match refusal {
            Some(why) => Answer::Refused { why },
            None => {
                self.outbox.report(Event::ConfirmedDead { node });
                let how = "an operator says so".to_owned();
                self.fence = Fence::Done { confirmed: true, how, at: now };
                Answer::NOTHING_TO_DO
            }
        };
        self.outbox.push(Output::Answer { id, answer });
    }
}
