//! What would happen if a node died now: asked of a clone of the core, whose resources obey at once.
//!
//! Nothing is sent and nothing is run. The answer is as good as the assumption that everything else
//! stays as it is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::cluster::Core;
use crate::cluster::event::{
    Cause, Event, GroupState, Input, LanAnswer, Outcome, Output, OutsideOrder, Verdict,
};
use crate::cluster::message::NodeState;
use crate::cluster::outside::ArbiterAnswer;
use crate::cluster::settings::{Settings, Side};
use crate::names::{GroupName, LinkId};
use crate::time::Instant;

/// Turns looked ahead at most: a group takes a handful of them, and a keepalive one.
const TURNS_MAX: usize = 20_000;
/// Most groups are decided within two deadtimes; the rest is for what waits longer on purpose.
const DEADTIMES: u32 = 4;

/// A change that is to be expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// From now.
    pub after: Duration,
    /// Which group.
    pub group: GroupName,
    /// What it becomes on the node that was asked.
    pub state: GroupState,
    /// Why.
    pub cause: Cause,
}

impl Core {
    /// What this node would do if nothing more were heard of the peer from `now` on.
    pub fn if_peer_fell_silent(&self, now: Instant) -> Vec<Expected> {
        let mut core = self.clone();
        let silence = silence(&core.settings);
        let boot = core.settings.initdead * 2;
        core.look_ahead(now, now.plus(silence.max(boot)))
    }

    /// What the peer would do if nothing more were heard of this node from `now` on; `None` when
    /// the peer is not there to do anything. It is asked of a core with the peer's part of our own
    /// settings that has heard what we say now.
    pub fn if_we_fell_silent(&self, now: Instant) -> Option<Vec<Expected>> {
        if self.peer.node_state() != Some(NodeState::Running) {
            return None;
        }
        let mut peer = Self::new(mirrored(&self.settings), now);
        let beat = self.compose();
        peer.handle(now, Input::Heard { link: LinkId(0), at: now, beat, echo: u64::MAX });
        let silence = silence(&peer.settings);
        Some(peer.look_ahead(now, now.plus(silence)))
    }

    /// Every change of a role until `end`, when every order is carried out at once.
    fn look_ahead(&mut self, begin: Instant, end: Instant) -> Vec<Expected> {
        let mut expected = Vec::new();
        let mut now = begin;
        let mut answers = VecDeque::new();
        for _ in 0..TURNS_MAX {
            while let Some(output) = self.poll() {
                match output {
                    Output::Run(action) => {
                        let outcome = Outcome::Done;
                        answers.push_back(Input::Ended { action: action.id, outcome });
                    }
                    Output::Monitor { order, .. } => {
                        answers.push_back(Input::Monitored { order, verdict: Verdict::Up });
                    }
                    // Who has died answers for nothing.
                    Output::Probe { order, .. } => {
                        answers.push_back(Input::Probed { order, answer: LanAnswer::Free });
                    }
                    // So does whoever has a say.
                    Output::Outside(OutsideOrder::Ask { order, .. }) => {
                        let answer = ArbiterAnswer::Granted;
                        answers.push_back(Input::Arbiter { order, answer });
                    }
                    Output::Outside(OutsideOrder::Fence { order }) => {
                        answers.push_back(Input::Fenced { order, said: Ok(String::new()) });
                    }
                    Output::Report(Event::Role { group, state, cause, .. }) => {
                        let after = now.since(begin);
                        expected.push(Expected { after, group, state, cause });
                    }
                    _ => {}
                }
            }
            let input = answers.pop_front().unwrap_or_else(|| {
                now = now.max(self.deadline().0);
                Input::Tick
            });
            if now > end {
                break;
            }
            self.handle(now, input);
        }
        expected
    }
}

/// How far it is looked ahead: an arbiter's lease may have to run out first.
fn silence(settings: &Settings) -> Duration {
    let leases = settings.outside.arbiters.iter().filter_map(|arbiter| arbiter.lease);
    settings.deadtime * DEADTIMES + leases.max().unwrap_or_default()
}

/// The other node's settings, where both files agree.
fn mirrored(settings: &Settings) -> Settings {
    let mut mirrored = settings.clone();
    std::mem::swap(&mut mirrored.node, &mut mirrored.peer);
    for group in &mut mirrored.groups {
        group.via = None;
        group.preferred = match group.preferred {
            Side::Me => Side::Peer,
            Side::Peer => Side::Me,
        };
    }
    mirrored
}
