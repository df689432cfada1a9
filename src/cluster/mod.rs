//! The cluster core: who holds which group. Pure: `now` and inputs go in, ordered outputs come out.
//!
//! It decides; it does not touch sockets, clocks, resources or logs. Below it stands the session
//! layer of `wire`, which lets only fresh beats of the peer through; above it the engine, which
//! obeys its orders. [`Core`] is the door, [`event`] says all that passes through it, [`message`]
//! what the two nodes say to each other.
//!
//! Two rules give the safety. *Dropping happens at once*, in the very call that brings the reason.
//! *Taking happens in a tick only*, when the driver has read all that waited in its sockets, so
//! that no decision to take rests on an old beat with a newer one behind it.
//!
//! ```text
//!  awake   own clock, without our own stalls     list      start left to right, stop right to left
//!  peer    is it alive, what did it say          decide    who takes, and with whose consent
//!  calm    damping and freeze: leave it where it is
//!  arbiter third parties that have a say     fence      puts a silent peer out of service
//!  reach   who reaches more ping nodes
//!  reload  other settings, all or none           restart  end with everything held
//!                                                 clearance  what the service LAN says of silence
//!  phase   booting, in service, leaving          handover  giving to a peer that is alive
//!  watch   what a failed resource means
//!  group   one group's role                      requests  what operators asked for
//!  speak   what the peer is told, and when
//! ```

mod answer;
mod arbiter;
mod awake;
pub mod calm;
mod clearance;
mod decide;
mod drift;
mod due;
mod epoch;
pub mod event;
mod evidence;
mod fence;
mod forecast;
mod group;
mod handover;
mod list;
pub mod message;
mod outbox;
mod outside;
mod overlap;
mod peer;
mod phase;
mod reach;
pub mod recording;
mod reload;
mod requests;
pub mod restart;
mod settings;
mod snapshot;
mod speak;
mod view;
mod watch;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::awake::Awake;
pub use self::calm::{Damping, SYNC_WAIT_MAX};
pub use self::clearance::PROBE_LIMIT;
use self::clearance::probe_ahead;
pub use self::drift::{Difference, Digests, Only, Section};
use self::event::{Answer, Event, Input, Outcome, Output, Request};
pub use self::evidence::{Evidence, Probed, Theirs};
use self::fence::Fence;
pub use self::forecast::Expected;
use self::group::Group;
use self::message::{Beat, Extent, Freeze, GroupClaim, Hold, NodeState, Unrest, Wish};
use self::outbox::{Licence, Outbox, Turn};
pub use self::outside::{
    ArbiterAnswer, ArbiterSettings, ArbiterView, FenceView, OutsideSettings, PingSettings,
    ReachView,
};
use self::peer::{Peer, PeerState};
use self::phase::{Doubt, FAREWELLS, Leave, Phase, boot_end};
use self::reach::Reach;
use self::requests::{Direction, Requests, answer};
pub use self::restart::{
    Carried, CarriedGroup, CarriedStance, RESTART_BACK, RESTART_LIMIT, RESTART_MAX, RESTART_SERVED,
};
pub use self::settings::{GroupSettings, Past, ResourceSettings, Settings, Side};
pub use self::view::{
    GroupView, LinkState, LinkView, NodeView, PeerLife, PeerView, ResourceState, ResourceView, View,
};
pub use self::watch::Monitor;
use crate::names::{GroupId, LinkId, RequestId};
use crate::time::{Instant, millis};

/// One node's half of the cluster.
///
/// The driver's loop: read every socket and hand over what came in; [`Core::handle`] a
/// [`Input::Tick`]; obey [`Core::poll`] until it is empty; sleep until [`Core::deadline`] or until
/// something comes in. A deadline that has passed already asks for a tick at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Core {
    settings: Settings,
    awake: Awake,
    phase: Phase,
    peer: Peer,
    groups: Vec<Group>,
    requests: Requests,
    /// The newest word on automatic switches, of whichever node.
    freeze: Freeze,
    /// How far the fencing of the peer is.
    fence: Fence,
    /// Who reaches more ping nodes.
    reach: Reach,
    outbox: Outbox,
    /// The last beat sent.
    said: Option<Beat>,
    /// The peer waits for our consent.
    reply: bool,
    /// The kernel here enforces the lease of the VIPs.
    guarded: bool,
    next_beat: Instant,
    /// Something came in that only the next tick acts upon.
    stirred: bool,
    /// The last tick, in awake time.
    ticked: Instant,
    /// When the core wants to be called, in awake time, and why.
    #[serde(with = "due")]
    due: (Instant, &'static str),
}

impl Core {
    /// A core that has just started; its first deadline is `now`.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let groups = settings.groups.iter().zip(0..);
        Self {
            awake: Awake::new(&settings, now),
            phase: Phase::Booting { since: now, doubt: None },
            peer: Peer::new(&settings, now),
            groups: groups.map(|(group, id)| Group::new(GroupId(id), &settings, group)).collect(),
            requests: Requests::default(),
            freeze: settings.past.freeze,
            fence: Fence::default(),
            reach: Reach::default(),
            outbox: Outbox::default(),
            said: None,
            reply: false,
            guarded: false,
            next_beat: now,
            stirred: false,
            ticked: now,
            due: (now, "keepalive"),
            settings,
        }
    }

    /// Something happened, seen at `now`. The orders that follow are in [`Core::poll`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.phase == Phase::Ended {
            return;
        }
        let now = self.wake(now);
        match input {
            Input::Tick => self.tick(now),
            Input::Heard { link, at, beat, echo } => {
                self.hear(now, at, (link, beat, echo));
                self.stirred = true;
            }
            Input::Copy { link, at } => {
                let at = self.awake.inside(at).min(now);
                self.peer.copy(at, link, &mut self.outbox);
            }
            Input::Presence { at } => self.peer.sense(self.awake.inside(at).min(now)),
            Input::Request { id, request } => {
                self.request(now, id, request);
                self.stirred = true;
            }
            Input::Settings { id, settings, changed } => {
                self.reconfigure(now, id, (*settings, &changed));
            }
            Input::Probed { order, answer } => {
                let (turn, groups, _) = self.turn(now);
                let known = groups.iter_mut().any(|group| group.probed(&turn, order, answer));
                self.stirred |= known;
            }
            Input::Monitored { order, verdict } => {
                let (mut turn, groups, _) = self.turn(now);
                let mut groups = groups.iter_mut();
                self.stirred |= groups.any(|group| group.monitored(&mut turn, order, &verdict));
            }
            Input::Service { group, link } => {
                let (mut turn, groups, _) = self.turn(now);
                if let Some(group) = groups.get_mut(usize::from(group.0)) {
                    group.service(&mut turn, link);
                }
                self.stirred = true;
            }
            Input::Synced { group, fresh } => self.synced(group, fresh),
            Input::Guarded(guarded) => self.guarded = guarded,
            Input::Arbiter { order, answer } => {
                let (mut turn, groups, _) = self.turn(now);
                let known = groups.iter_mut().any(|group| group.judged(&mut turn, order, &answer));
                self.stirred |= known;
            }
            Input::Fenced { order, said } => self.stirred |= self.fenced(now, order, &said),
            Input::Reached(count) => {
                self.reached(count);
                self.stirred = true;
            }
            Input::Written { order, outcome } => {
                let failed = match &outcome {
                    Outcome::Done => None,
                    Outcome::Failed(why) => Some(why.as_str()),
                };
                self.written(now, order, failed);
            }
            Input::Ended { action, outcome } => {
                let (mut turn, groups, _) = self.turn(now);
                let known = groups.iter_mut().any(|group| group.ended(&mut turn, action, &outcome));
                self.stirred |= known;
            }
        }
        self.due = self.next_due(now);
    }

    /// The next order, in the order in which they must be obeyed.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop()
    }

    /// When to call [`Core::handle`] with a tick at the latest, on the boot clock, and why (the
    /// reason is for the debug log). [`Instant::NEVER`] once the node has left.
    pub fn deadline(&self) -> (Instant, &'static str) {
        (self.awake.outside(self.due.0), self.due.1)
    }

    /// The last word of this session, prepared in case that the core can't speak any more: the
    /// supervisor sends it when it has released everything.
    pub fn farewell(&self) -> Beat {
        let groups = self.groups.iter().map(|group| GroupClaim {
            hold: Hold::Nothing,
            wish: Wish::Decline,
            via: None,
            unrest: Unrest::default(),
            ..group.claim((Licence::Leave, false), self.ticked)
        });
        let groups = groups.collect();
        Beat { groups, node: NodeState::Gone, sections: Vec::new(), ..self.compose() }
    }

    /// This node's own address on a group's service LAN, told to the peer with the next beat.
    pub fn set_via(&mut self, group: GroupId, via: Option<IpAddr>) {
        if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
            group.set_via(via);
        }
    }

    /// Whether the peer may have taken over while we stood still and we do not know yet: until
    /// then nothing should be served that it may serve (design 5.7).
    pub fn in_doubt(&self) -> bool {
        self.phase.doubt().is_some()
    }

    /// The awake time at `now`; notes a stall of our own.
    fn wake(&mut self, now: Instant) -> Instant {
        let (now, stall) = self.awake.wake(now, self.due.0);
        if let Some(late) = stall {
            self.outbox.report(Event::Stalled { late_ms: millis(late) });
            for group in &mut self.groups {
                group.arbitration.stood_still(late);
                group.stood_still();
            }
            self.doubt(now, late);
        }
        now
    }

    /// The peer may have taken a stall for our death from about a deadtime on; half of it leaves
    /// room for beats that were lost before. What we serve is announced again when that is settled.
    fn doubt(&mut self, now: Instant, late: Duration) {
        if late < self.settings.deadtime / 2 {
            return;
        }
        self.cancel_restart("this process stood still");
        let sequence = self.outbox.next_sequence();
        let until = now.plus(self.settings.deadtime);
        if let Phase::Booting { doubt, .. } | Phase::Running { doubt, .. } = &mut self.phase {
            *doubt = Some(Doubt { sequence, until });
        }
        for group in &mut self.groups {
            group.announce |= group.held().is_some();
            group.claim_again(sequence, now);
        }
    }

    fn licence(&self) -> Licence {
        match self.phase {
            Phase::Booting { .. } | Phase::Running { doubt: Some(_), .. } => Licence::Keep,
            Phase::Running { doubt: None, .. } => Licence::Take,
            Phase::Restarting(_) => restart::LICENCE,
            Phase::Leaving(_) | Phase::Goodbye { .. } | Phase::Ended => Licence::Leave,
        }
    }

    fn turn(&mut self, now: Instant) -> (Turn<'_>, &mut Vec<Group>, &mut Requests) {
        let licence = self.licence();
        let settled = self.settled();
        let standing = self.standing(now);
        let turn = Turn {
            now,
            settings: &self.settings,
            peer: &self.peer,
            licence,
            settled,
            frozen: self.freeze.extent,
            standing,
            fence: &mut self.fence,
            outbox: &mut self.outbox,
        };
        (turn, &mut self.groups, &mut self.requests)
    }

    /// Since when both nodes have been in service and in contact.
    fn settled(&self) -> Option<Instant> {
        match (&self.phase, self.peer.running_since()) {
            (Phase::Running { since, .. }, Some(peer)) => Some(peer.max(*since)),
            _ => None,
        }
    }

    fn hear(&mut self, now: Instant, at: Instant, heard: (LinkId, Beat, u64)) {
        let at = self.awake.inside(at).min(now);
        let absent = !self.peer.is_alive();
        self.adopt_freeze(heard.1.notice.freeze);
        self.reply |= self.peer.hear(at, heard, &mut self.outbox);
        let returned = absent && self.peer.is_alive();
        let (mut turn, groups, _) = self.turn(now);
        for group in groups.iter_mut() {
            group.hear_unrest(&mut turn, returned);
            group.heard(&mut turn);
            // It may have served while we could not hear it, and have dropped before we can.
            group.announce |= returned && group.held().is_some();
        }
    }

    fn request(&mut self, now: Instant, id: RequestId, request: Request) {
        if request != Request::Leave && self.refuses_for_restart(id) {
            return;
        }
        let (direction, which) = match request {
            Request::Standby(which) => (Direction::Away, which),
            Request::Takeover(which) => (Direction::Here, which),
            Request::Leave => return self.begin_leave(now, id),
            Request::Freeze(extent) => return self.freeze(id, extent),
            Request::Restart => return self.begin_restart(now, id),
            Request::ConfirmDead => return self.confirm_dead(now, id),
        };
        let (mut turn, groups, requests) = self.turn(now);
        requests.begin(&mut turn, groups, (id, direction, which));
    }

    /// The newest word on automatic switches counts, whoever was told it.
    fn adopt_freeze(&mut self, word: Freeze) {
        if word > self.freeze {
            self.freeze = word;
            self.outbox.report(Event::Freeze { extent: word.extent });
        }
    }

    fn freeze(&mut self, id: RequestId, extent: Extent) {
        if extent != self.freeze.extent {
            let generation = self.freeze.generation.saturating_add(1);
            self.adopt_freeze(Freeze { generation, extent });
        }
        self.outbox.push(Output::Answer { id, answer: Answer::NOTHING_TO_DO });
    }

    fn begin_leave(&mut self, now: Instant, id: RequestId) {
        self.cancel_restart("this node is leaving");
        let (mut turn, groups, _) = self.turn(now);
        if turn.licence == Licence::Leave {
            let why = "this node is leaving".to_owned();
            return answer(&mut turn, id, Answer::Refused { why });
        }
        let held = groups.iter().filter(|group| group.held().is_some());
        let held = held.map(|group| group.settings.name.clone()).collect();
        groups.iter_mut().for_each(|group| group.prepare_to_leave(now));
        self.phase = Phase::Leaving(Leave { id, since: now, held });
    }

    fn tick(&mut self, now: Instant) {
        self.stirred = false;
        self.ticked = now;
        self.peer.judge(now, &mut self.outbox);
        self.step_phase(now);
        self.step_doubt(now);
        self.step_fence(now);
        self.step_reach(now);
        let (mut turn, groups, requests) = self.turn(now);
        let mut moved = false;
        for group in groups.iter_mut() {
            let before = group.role;
            group.step_calm(&turn);
            group.step(&mut turn);
            moved |= group.role != before;
        }
        requests.settle(&mut turn, groups);
        // What one step made possible is done in the next, at once.
        self.stirred = moved;
        self.step_restart(now);
        self.step_leave(now);
        self.speak(now);
    }

    fn step_phase(&mut self, now: Instant) {
        if let Phase::Booting { since, doubt } = self.phase {
            let end = boot_end(&self.settings, since, self.peer.presence());
            let unknown = self.peer.state() == PeerState::Unknown;
            if unknown && now < end {
                return;
            }
            if unknown {
                self.peer.give_up(now, &mut self.outbox);
            }
            self.phase = Phase::Running { since: now, doubt };
        }
    }

    /// Whether we are still what we were before we stood still is known, or begins to be. Also
    /// while the node boots: it may have begun with what an earlier process held.
    fn step_doubt(&mut self, now: Instant) {
        let Some(doubt) = self.phase.doubt() else { return };
        let heard = self.peer.echo() >= doubt.sequence;
        if heard || (now >= doubt.until && self.rechecked(now)) {
            if let Phase::Booting { doubt, .. } | Phase::Running { doubt, .. } = &mut self.phase {
                *doubt = None;
            }
            let (mut turn, groups, _) = self.turn(now);
            groups.iter_mut().for_each(|group| group.rechecked(&mut turn));
        }
    }

    /// Leaves when nothing is held any more; without a word when a part of it can't be stopped, for
    /// then the peer must wait.
    fn step_leave(&mut self, now: Instant) {
        let Phase::Leaving(leave) = &self.phase else { return };
        if self.groups.iter().any(Group::busy_leaving) {
            return;
        }
        let leave = leave.clone();
        let (mut turn, groups, requests) = self.turn(now);
        requests.abandon(&mut turn);
        let stuck: Vec<&str> = groups
            .iter()
            .filter(|group| group.held().is_some())
            .map(|group| group.settings.name.as_str())
            .collect();
        if stuck.is_empty() {
            self.phase = Phase::Goodbye { leave, left: FAREWELLS, next: now };
            return;
        }
        let why = format!("{}: it could not be stopped here", stuck.join(", "));
        answer(&mut turn, leave.id, Answer::Failed { why });
        self.end();
    }

    fn end(&mut self) {
        self.outbox.push(Output::Left);
        self.phase = Phase::Ended;
    }

    /// The earliest instant at which something is to be done. What had its time in a tick that has
    /// passed is left out: that tick has considered it.
    fn next_due(&self, now: Instant) -> (Instant, &'static str) {
        if self.stirred {
            return (now, "something new");
        }
        let phase = match &self.phase {
            Phase::Booting { since, .. } => {
                Some((boot_end(&self.settings, *since, self.peer.presence()), "initdead"))
            }
            Phase::Restarting(restart) => Some((restart.latest(), "restart")),
            Phase::Goodbye { next, .. } => return (*next, "farewell"),
            Phase::Ended => return (Instant::NEVER, "left"),
            Phase::Running { .. } | Phase::Leaving(_) => None,
        };
        let doubt = self.phase.doubt().map(|doubt| (doubt.until, "validation"));
        let settled = self.settled().filter(|_| self.settings.auto_failback);
        let failback = settled.map(|since| (since.plus(self.settings.keepalive * 2), "failback"));
        let unsynced = self.groups.iter().any(|group| group.unsynced);
        let synced = settled.filter(|_| unsynced).map(|since| (since.plus(SYNC_WAIT_MAX), "sync"));
        let groups = self.groups.iter().flat_map(|group| group.deadlines(&self.settings));
        let later = [phase, doubt, failback, synced].into_iter().flatten();
        let later =
            later.chain(groups).chain(self.peer.deadlines()).chain(self.requests.deadlines());
        let fading = self.peer.is_alive() && self.groups.iter().any(|group| group.settings.probe);
        let fading = fading.then(|| (self.peer.fading(probe_ahead(&self.settings)), "fading"));
        let later = later.chain(fading).chain(self.fence.deadline()).chain(self.reach_deadline());
        let beat = (self.next_beat, "keepalive");
        later
            .filter(|(at, _)| *at > self.ticked)
            .fold(beat, |first, next| if next.0 < first.0 { next } else { first })
    }
}
