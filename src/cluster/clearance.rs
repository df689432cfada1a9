//! What must be known before a group is taken from a peer that is silent (design 5.5).
//!
//! Silence on every heartbeat link is what a dead peer and cut cables have in common. The service
//! LAN tells them apart: a peer that still answers for the group's addresses lives, and is on time,
//! or its kernel would have silenced it (the lease). So the LAN is asked shortly before the
//! deadtime is over, and again for as long as the peer stays silent. And who can't reach the LAN
//! itself takes nothing, and gives what it serves to a peer that can.
//!
//! The question is the driver's to put; here is only what follows from the answer. Neighbours:
//! `decide` asks before it takes from an absent peer, `handover` gives away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::{Bar, Cause, Event, LanAnswer, Manner, Output, ServiceLink};
use crate::cluster::group::{Group, Role, Stance};
use crate::cluster::message::Wish;
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::peer::PeerState;
use crate::cluster::settings::Settings;
use crate::names::ActionId;
use crate::time::Instant;

/// Longest wait for the answer to a probe. Two questions 20 ms apart are answered within a
/// millisecond each, or not at all; an answer that does not come keeps nobody from taking over.
pub const PROBE_LIMIT: Duration = Duration::from_millis(200);
/// So long before the end of the deadtime the LAN is asked, at most: the answer is then there on
/// time, and a killed peer's lease, at most half its deadtime, is over.
const PROBE_AHEAD_MAX: Duration = Duration::from_millis(80);
/// From an answer that bars to the next question.
const PROBE_AGAIN: Duration = Duration::from_millis(250);
/// A service link that came back must stay for so long before it counts: carriers flap.
const SERVICE_SETTLE: Duration = Duration::from_secs(2);

/// What one group knows of its service LAN.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Clearance {
    probe: Probe,
    /// The question of an owner that stood still: who serves the group now?
    #[serde(default)]
    recheck: Probe,
    /// Reported to the operator.
    pub(super) bar: Option<Bar>,
    link: ServiceLink,
    /// The link is up again and not to be relied on before then.
    settles: Option<Instant>,
}

/// The last question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Probe {
    #[default]
    Unasked,
    Asked {
        order: ActionId,
        until: Instant,
    },
    Answered {
        answer: LanAnswer,
        at: Instant,
    },
}

impl Clearance {
    /// Whether this node can't reach the group's clients.
    pub(super) fn cut_off(&self) -> bool {
        self.link == ServiceLink::Down || self.settles.is_some()
    }

    /// The group's link, as it is relied on.
    pub(super) fn link(&self) -> ServiceLink {
        if self.cut_off() { ServiceLink::Down } else { self.link }
    }

    /// What the LAN said last, and when.
    pub(super) fn answer(&self) -> Option<(LanAnswer, Instant)> {
        match self.probe {
            Probe::Answered { answer, at } => Some((answer, at)),
            Probe::Unasked | Probe::Asked { .. } => None,
        }
    }

    /// When something here is to be done.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        let probe = match self.probe {
            Probe::Unasked => None,
            Probe::Asked { until, .. } => Some((until, "probe")),
            Probe::Answered { at, .. } => Some((at.plus(PROBE_AGAIN), "probe again")),
        };
        let recheck = match self.recheck {
            Probe::Asked { until, .. } => Some((until, "recheck")),
            Probe::Unasked | Probe::Answered { .. } => None,
        };
        let settles = self.settles.map(|at| (at, "service link"));
        probe.into_iter().chain(recheck).chain(settles)
    }
}

/// How long before the end of a deadtime the LAN is asked.
pub(super) fn probe_ahead(settings: &Settings) -> Duration {
    PROBE_AHEAD_MAX.min(settings.deadtime / 8)
}

impl Core {
    /// Whether the service LAN has said who serves what is held here: the peer is silent, and may
    /// have taken over while we stood still.
    pub(super) fn rechecked(&mut self, now: Instant) -> bool {
        let (mut turn, groups, _) = self.turn(now);
        let answers: Vec<_> = groups.iter_mut().map(|group| group.recheck(&mut turn)).collect();
        answers.iter().all(Option::is_some)
    }
}

impl Group {
    /// The driver has looked at the interface.
    pub(super) fn service(&mut self, turn: &mut Turn<'_>, link: ServiceLink) {
        let before = self.clearance.link();
        let returns = self.clearance.link == ServiceLink::Down && link == ServiceLink::Up;
        self.clearance.settles = match link {
            ServiceLink::Up if returns => Some(turn.now.plus(SERVICE_SETTLE)),
            ServiceLink::Up => self.clearance.settles,
            ServiceLink::Down | ServiceLink::Unknown => None,
        };
        self.clearance.link = link;
        self.report_link(turn, before);
    }

    fn report_link(&mut self, turn: &mut Turn<'_>, before: ServiceLink) {
        let link = self.clearance.link();
        // That it is up at the first look is no news.
        if link != before && [link, before].contains(&ServiceLink::Down) {
            let group = self.settings.name.clone();
            turn.outbox.report(Event::Service { group, link });
            // Neighbours may have forgotten us, or have never heard.
            self.announce |= link == ServiceLink::Up && before == ServiceLink::Down;
        }
    }

    /// The LAN's answer; false when nobody waits for it.
    pub(super) fn probed(&mut self, turn: &Turn<'_>, order: ActionId, answer: LanAnswer) -> bool {
        for probe in [&mut self.clearance.probe, &mut self.clearance.recheck] {
            if matches!(probe, Probe::Asked { order: asked, .. } if *asked == order) {
                *probe = Probe::Answered { answer, at: turn.now };
                return true;
            }
        }
        false
    }

    /// After a stall of our own, with a peer that stays silent: what the LAN says of a group that
    /// is held here, `None` while it is asked. Nothing of it is answered for meanwhile.
    pub(super) fn recheck(&mut self, turn: &mut Turn<'_>) -> Option<LanAnswer> {
        if !self.settings.probe || self.held().is_none() {
            return Some(LanAnswer::Unknown);
        }
        match self.clearance.recheck {
            Probe::Unasked => {
                self.clearance.recheck = self.question(turn);
                None
            }
            Probe::Asked { until, .. } if turn.now < until => None,
            Probe::Asked { .. } => Some(LanAnswer::Unknown),
            Probe::Answered { answer, .. } => Some(answer),
        }
    }

    /// This node stood still: what the LAN said before is old.
    pub(super) fn stood_still(&mut self) {
        self.clearance.probe = Probe::Unasked;
    }

    /// The stall is settled: a group that the peer serves by now is the peer's.
    pub(super) fn rechecked(&mut self, turn: &mut Turn<'_>) {
        let recheck = std::mem::take(&mut self.clearance.recheck);
        if matches!(recheck, Probe::Answered { answer: LanAnswer::Served, .. }) {
            self.stop(turn, Cause::HigherEpoch, Manner::Alone, Stance::Willing);
        }
    }

    /// Time passes: links settle, questions run out, and a peer that is nearly silent for a
    /// deadtime is a reason to ask.
    pub(super) fn step_clearance(&mut self, turn: &mut Turn<'_>) {
        if self.clearance.settles.is_some_and(|at| turn.now >= at) {
            let before = self.clearance.link();
            self.clearance.settles = None;
            self.report_link(turn, before);
        }
        if let Probe::Asked { until, .. } = self.clearance.probe
            && turn.now >= until
        {
            let answer = LanAnswer::Unknown;
            self.clearance.probe = Probe::Answered { answer, at: turn.now };
        }
        let idle = matches!(self.role, Role::Idle { .. } | Role::Claiming { .. });
        let fading = match turn.peer.state() {
            PeerState::Alive => turn.now >= turn.peer.fading(probe_ahead(turn.settings)),
            PeerState::Dead | PeerState::Left => turn.peer.long_gone(turn.now),
            PeerState::Unknown => false,
        };
        if !idle || !(fading || self.unheard(turn, probe_ahead(turn.settings))) {
            self.clearance.probe = Probe::Unasked;
            self.bar(turn, None);
        } else if self.settings.probe && self.clearance.probe == Probe::Unasked {
            self.ask_lan(turn);
        }
    }

    fn ask_lan(&mut self, turn: &mut Turn<'_>) {
        self.clearance.probe = self.question(turn);
    }

    fn question(&self, turn: &mut Turn<'_>) -> Probe {
        let order = turn.outbox.new_action();
        turn.outbox.push(Output::Probe { order, group: self.id, peer: self.peer_via });
        Probe::Asked { order, until: turn.now.plus(PROBE_LIMIT) }
    }

    /// Whether the group may be taken from a peer that is dead to us. `ordered`: an operator wants
    /// it here, who may know what the link does not show, and can't know who answers on the LAN.
    pub(super) fn may_relieve(&mut self, turn: &mut Turn<'_>, ordered: bool) -> bool {
        if self.clearance.cut_off() && !ordered {
            self.bar(turn, Some(Bar::NoLink));
            return false;
        }
        if turn.standing.isolated && !ordered {
            self.bar(turn, Some(Bar::Isolated));
            return false;
        }
        if !self.settings.probe {
            return self.outside_agrees(turn);
        }
        let Probe::Answered { answer, at } = self.clearance.probe else { return false };
        match answer {
            // Without a lease its kernel answers on when its processes are dead.
            LanAnswer::Served if turn.peer.guarded() != Some(false) => {
                self.bar(turn, Some(Bar::Served));
                if turn.now >= at.plus(PROBE_AGAIN) {
                    self.ask_lan(turn);
                }
                false
            }
            LanAnswer::Free | LanAnswer::Stranger | LanAnswer::Unknown | LanAnswer::Served
                if turn.now >= at.plus(PROBE_AGAIN) =>
            {
                // Old news: something else kept us from taking meanwhile.
                self.ask_lan(turn);
                false
            }
            LanAnswer::Free | LanAnswer::Stranger | LanAnswer::Unknown | LanAnswer::Served => {
                self.outside_agrees(turn)
            }
        }
    }

    /// The last word before a taking: the arbiters', and then the fencing of the peer, so that a
    /// node that is itself cut off fences nobody.
    fn outside_agrees(&mut self, turn: &mut Turn<'_>) -> bool {
        let contact = match self.role {
            Role::Claiming { at, .. } if turn.peer.is_alive() => at,
            _ => turn.now.minus(turn.peer.silent(turn.now)),
        };
        match self.consult(turn, contact) {
            None => return false,
            Some(Err(bar)) => {
                self.bar(turn, Some(bar));
                return false;
            }
            Some(Ok(())) => {}
        }
        if !self.peer_is_off(turn) {
            self.bar(turn, Some(Bar::Unfenced));
            return false;
        }
        self.bar(turn, None);
        true
    }

    fn bar(&mut self, turn: &mut Turn<'_>, bar: Option<Bar>) {
        if self.clearance.bar == bar {
            return;
        }
        self.clearance.bar = bar;
        let group = self.settings.name.clone();
        turn.outbox.report(match bar {
            Some(why) => Event::Jeopardy { group, why },
            None => Event::JeopardyOver { group },
        });
    }

    /// Gives what it serves to a peer that can reach the clients, when this node can't, or to one
    /// that reaches more of the world.
    pub(super) fn yields_for_its_link(&mut self, turn: &mut Turn<'_>, able: bool) -> bool {
        let theirs = turn.peer.claim(&self.settings.name);
        let cause = match self.clearance.cut_off() {
            true => Cause::ServiceLinkDown,
            // One that has just handed it over is asked when it has seen us serve: two that each
            // offer it would pass it to and fro.
            false if turn.standing.settled && theirs.wish != Wish::Offer => Cause::Connectivity,
            false => return false,
        };
        if !able || turn.licence != Licence::Take || !self.may_switch(turn) {
            return false;
        }
        self.put_off_failback(Cause::Failback, turn);
        self.hand_over(turn, cause);
        true
    }
}
