//! What operators asked for, until it is answered.
//!
//! A request names groups; the groups do the work, each by itself. This module refuses what can't
//! be done, watches the groups, and answers once every one of them has come to an end. A group is
//! in one request at a time, which bounds the list.

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Answer, Bar, Cause, Output, Which};
use crate::cluster::group::{Group, Role, Setback, Stance, can_take};
use crate::cluster::message::{Hold, Wish};
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::peer::PeerState;
use crate::cluster::settings::Side;
use crate::names::{GroupId, GroupName, RequestId};
use crate::time::{Instant, millis};

/// Which way the groups of a request go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Direction {
    /// Standby: to the peer.
    Away,
    /// Takeover: to us.
    Here,
}

/// How far one group of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Progress {
    Underway,
    Done,
    Failed(Setback),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) direction: Direction,
    since: Instant,
    until: Instant,
    groups: Vec<(GroupId, Progress)>,
}

/// All requests that wait for their end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    pending: Vec<Pending>,
}

impl Requests {
    /// Begins what is asked, or says at once why not.
    pub(super) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        groups: &mut [Group],
        (id, direction, which): (RequestId, Direction, Which),
    ) {
        let targets: Vec<GroupId> = groups
            .iter()
            .filter(|group| meant(which, group) && direction.concerns(group))
            .map(|group| group.id)
            .collect();
        if targets.is_empty() {
            answer(turn, id, Answer::NOTHING_TO_DO);
            return;
        }
        let mut wanted = groups.iter_mut().filter(|group| targets.contains(&group.id));
        let refusal = wanted.find_map(|group| self.refusal(turn, group, direction));
        if let Some(why) = refusal {
            answer(turn, id, Answer::Refused { why });
            return;
        }
        let mut until = turn.now;
        for group in groups.iter_mut().filter(|group| targets.contains(&group.id)) {
            until = until.max(turn.now.plus(group.handover_limit(turn.settings)));
            match direction {
                Direction::Away => group.hand_over(turn, Cause::Standby),
                Direction::Here => group.take_over(turn),
            }
        }
        let groups = targets.into_iter().map(|id| (id, Progress::Underway)).collect();
        self.pending.push(Pending { id, direction, since: turn.now, until, groups });
    }

    fn refusal(&self, turn: &Turn<'_>, group: &Group, direction: Direction) -> Option<String> {
        let name = &group.settings.name;
        let theirs = turn.peer.claim(name);
        if self.concerns(group.id) || group.handing_over() {
            return Some(format!("{name}: a request for it is in progress"));
        }
        if matches!(group.role, Role::Stuck { .. }) {
            return Some(format!("{name}: it could not be stopped here"));
        }
        if turn.licence == Licence::Leave {
            return Some("this node is leaving".to_owned());
        }
        match direction {
            Direction::Away => match (turn.peer.state(), &group.role) {
                (PeerState::Unknown, _) => Some("the peer is unknown".to_owned()),
                (PeerState::Dead, _) => Some("the peer is dead".to_owned()),
                (PeerState::Left, _) => Some("the peer has left".to_owned()),
                (PeerState::Alive, Role::Active { .. }) if can_take(PeerState::Alive, theirs) => {
                    None
                }
                (PeerState::Alive, Role::Active { .. }) => {
                    Some(format!("{name}: the peer can't take it"))
                }
                (PeerState::Alive, _) => Some(format!("{name}: it is not fully started")),
            },
            Direction::Here => match (turn.peer.state(), &group.role) {
                (PeerState::Unknown, _) => {
                    Some("still waiting for the peer after start".to_owned())
                }
                (_, Role::Stopping { .. }) => Some(format!("{name}: it is being stopped here")),
                (PeerState::Dead, _) if group.clearance.bar == Some(Bar::Served) => Some(format!(
                    "{name}: the peer is silent, but it still serves it on the service LAN; mend \
                     the heartbeat links, or end the peer first"
                )),
                (PeerState::Dead, _) if group.waits_outside().is_some() => {
                    group.waits_outside().map(|why| format!("{name}: {why}"))
                }
                (PeerState::Alive, _) if theirs.hold == Hold::Stuck => {
                    Some(format!("{name}: the peer could not stop it"))
                }
                (PeerState::Alive, _) if theirs.wish == Wish::Take => {
                    Some(format!("{name}: the peer is asking for it too"))
                }
                (PeerState::Alive | PeerState::Dead | PeerState::Left, _) => None,
            },
        }
    }

    /// Whether nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a group is part of a request.
    pub(super) fn concerns(&self, group: GroupId) -> bool {
        self.pending.iter().any(|pending| pending.groups.iter().any(|(id, _)| *id == group))
    }

    /// The request that a group is part of.
    pub(super) fn direction(&self, group: GroupId) -> Option<Direction> {
        let mut pending = self.pending.iter();
        let found = pending.find(|pending| pending.groups.iter().any(|(id, _)| *id == group));
        found.map(|pending| pending.direction)
    }

    /// Looks how far the groups are, and answers what has come to an end.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>, groups: &[Group]) {
        self.pending.retain_mut(|pending| {
            pending.look(turn, groups);
            if pending.groups.iter().any(|(_, progress)| *progress == Progress::Underway) {
                return true;
            }
            let result = pending.result(turn, groups);
            answer(turn, pending.id, result);
            false
        });
    }

    /// We are leaving: whatever is open ends here.
    pub(super) fn abandon(&mut self, turn: &mut Turn<'_>) {
        for pending in self.pending.drain(..) {
            answer(turn, pending.id, Answer::Failed { why: Setback::Leaving.to_string() });
        }
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        self.pending.iter().map(|pending| (pending.until, "request"))
    }
}

impl Pending {
    fn look(&mut self, turn: &Turn<'_>, groups: &[Group]) {
        for (id, progress) in &mut self.groups {
            let group = groups.iter().find(|group| group.id == *id);
            let (Some(group), Progress::Underway) = (group, *progress) else { continue };
            *progress = match self.direction {
                Direction::Away => group.progress_away(turn),
                Direction::Here => group.progress_here(),
            };
            if *progress == Progress::Underway && turn.now >= self.until {
                *progress = Progress::Failed(Setback::TimedOut);
            }
        }
    }

    fn result(&self, turn: &Turn<'_>, groups: &[Group]) -> Answer {
        let mut moved: Vec<GroupName> = Vec::new();
        let mut failed = Vec::new();
        for (id, progress) in &self.groups {
            let Some(group) = groups.iter().find(|group| group.id == *id) else { continue };
            let name = &group.settings.name;
            match progress {
                Progress::Done | Progress::Underway => moved.push(name.clone()),
                Progress::Failed(why) => failed.push(format!("{name}: {why}")),
            }
        }
        let claimed = |(_, progress): &(GroupId, Progress)| {
            *progress == Progress::Failed(Setback::PeerClaims)
        };
        if self.groups.iter().all(claimed) {
            // Two operators at once: the other one was first, and nothing was begun here.
            Answer::Refused { why: failed.join("; ") }
        } else if failed.is_empty() {
            let took_ms = millis(turn.now.since(self.since));
            Answer::Done { moved, took_ms, overlap_ms: self.overlap(groups) }
        } else {
            Answer::Failed { why: failed.join("; ") }
        }
    }
}

impl Pending {
    /// The shortest overlap of what was given away; none where a group has had none.
    fn overlap(&self, groups: &[Group]) -> Option<u64> {
        let given = groups.iter().filter(|group| self.groups.iter().any(|(id, _)| *id == group.id));
        let overlaps = given.map(|group| match self.direction {
            Direction::Away => group.overlap.last(),
            Direction::Here => None,
        });
        overlaps.min().flatten()
    }
}

impl Direction {
    /// Whether there is anything to do for a group.
    fn concerns(self, group: &Group) -> bool {
        match self {
            Self::Away => group.held().is_some(),
            Self::Here => !matches!(group.role, Role::Active { offer: None, .. }),
        }
    }
}

impl Group {
    /// Whether it is on its way to the peer already.
    fn handing_over(&self) -> bool {
        match self.role {
            Role::Active { offer, .. } => offer.is_some(),
            Role::Stopping { then, .. } => then == Stance::Yielded,
            Role::Idle { .. }
            | Role::Claiming { .. }
            | Role::Starting { .. }
            | Role::Mending { .. }
            | Role::Stuck { .. } => false,
        }
    }

    /// What an operator can do about a taking that waits for the world outside.
    fn waits_outside(&self) -> Option<&'static str> {
        match self.clearance.bar? {
            Bar::Held => Some("an arbiter has granted it to the other node"),
            Bar::Unreachable => Some(
                "an arbiter can't be reached; if the peer is off for certain, say so with \
                 `pairbeat confirm-dead`",
            ),
            Bar::Unfenced => Some(
                "the peer has not been fenced; if it is off for certain, say so with \
                 `pairbeat confirm-dead`",
            ),
            Bar::Served | Bar::NoLink | Bar::Isolated => None,
        }
    }

    fn take_over(&mut self, turn: &mut Turn<'_>) {
        match self.role {
            Role::Idle { .. } => {
                self.forgive();
                self.ask(turn, Cause::Takeover);
            }
            // On its way here already.
            Role::Claiming { .. } | Role::Starting { .. } | Role::Active { .. } => {}
            Role::Mending { .. } | Role::Stopping { .. } | Role::Stuck { .. } => {}
        }
    }

    fn progress_here(&self) -> Progress {
        match self.role {
            Role::Active { .. } => Progress::Done,
            Role::Idle { asking: Some(_), .. }
            | Role::Claiming { .. }
            | Role::Starting { .. }
            | Role::Mending { .. } => Progress::Underway,
            Role::Idle { asking: None, .. } | Role::Stopping { .. } | Role::Stuck { .. } => {
                Progress::Failed(self.setback.unwrap_or(Setback::PeerHolds))
            }
        }
    }

    fn progress_away(&self, turn: &Turn<'_>) -> Progress {
        let theirs = turn.peer.claim(&self.settings.name);
        match self.role {
            Role::Active { offer: Some(_), .. } | Role::Stopping { .. } => Progress::Underway,
            Role::Idle { stance: Stance::Yielded | Stance::Relieved, .. } => match theirs.hold {
                Hold::Active => Progress::Done,
                _ if turn.peer.is_alive() => Progress::Underway,
                _ => Progress::Failed(Setback::PeerGone),
            },
            Role::Claiming { .. } | Role::Starting { .. } | Role::Mending { .. } => {
                Progress::Failed(Setback::PeerDeclined)
            }
            Role::Idle { .. } | Role::Active { offer: None, .. } | Role::Stuck { .. } => {
                Progress::Failed(self.setback.unwrap_or(Setback::TimedOut))
            }
        }
    }
}

/// `local` are the groups at home here, `foreign` the others (hb_standby(1)).
fn meant(which: Which, group: &Group) -> bool {
    match which {
        Which::All => true,
        Which::Local => group.settings.preferred == Side::Me,
        Which::Foreign => group.settings.preferred == Side::Peer,
    }
}

pub(super) fn answer(turn: &mut Turn<'_>, id: RequestId, answer: Answer) {
    turn.outbox.push(Output::Answer { id, answer });
}
