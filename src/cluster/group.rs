//! One group on this node: its role, and how the role changes.
//!
//! The role is an enum that carries what belongs to it, so that an epoch without a holding or an
//! offer without serving can't be written down. This file has the types, what is told to the peer,
//! and what happens *at once* when the peer is heard: dropping and withdrawing. Everything that
//! takes, offers or announces happens in [`Group::step`], in a tick, after all that waited has been
//! read. Neighbours: `list` runs the resources, `decide` takes, `handover` gives.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::arbiter::Arbitration;
use crate::cluster::calm::Calm;
use crate::cluster::clearance::Clearance;
use crate::cluster::epoch::Numbering;
use crate::cluster::event::{Cause, Event, GroupState, Manner, Output, Restraint};
use crate::cluster::list::{Order, STOP_TRIES_QUICK};
use crate::cluster::message::{GroupClaim, Hold, Wish};
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::overlap::Overlap;
use crate::cluster::peer::{PeerClaim, PeerState};
use crate::cluster::settings::{GroupSettings, Settings};
use crate::cluster::watch::Watch;
use crate::names::GroupId;
use crate::time::Instant;

/// First wait before a group that could not be started is tried again; doubles each time.
pub(super) const BACKOFF_MIN: Duration = Duration::from_secs(5);
/// Longest such wait: an operator who repairs something should not have to wait longer.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What this node does with the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Role {
    /// Nothing of it is held.
    Idle {
        stance: Stance,
        /// We want it, and tell the holder so.
        asking: Option<Asking>,
    },
    /// Nothing is held yet; waits for the peer to have heard that we are about to.
    Claiming {
        epoch: u64,
        /// To return to when the claim comes to nothing.
        stance: Stance,
        /// The first beat that said so: the peer's consent is one that echoes it.
        since: u64,
        at: Instant,
        cause: Cause,
    },
    /// Resources before `next` are up; `order` is the start of `next` under way.
    Starting {
        epoch: u64,
        manner: Manner,
        /// The epoch of the giver that serves meanwhile, in an agreed overlap.
        from: Option<u64>,
        next: usize,
        order: Option<Order>,
    },
    /// All of it is up.
    Active { epoch: u64, from: Option<u64>, offer: Option<Offer> },
    /// A resource is broken: it and all to its right is being stopped, to be started again.
    Mending { epoch: u64, from: Option<u64>, resource: usize, order: Order },
    /// Being stopped. The order under way may still be a start, whose end must be awaited.
    Stopping { epoch: u64, manner: Manner, then: Stance, order: Order },
    /// A stop failed; tried again and again.
    Stuck { epoch: u64, then: Stance, resource: usize, tries: u32, retry: Retry },
}

/// How an idle node stands to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stance {
    /// Takes it when it should.
    Willing,
    /// Handed it over on request: takes it back only when the peer can't have it.
    Yielded,
    /// The same, and the peer has served it since: takes it when it should, as any standby does,
    /// but does not ask for it back by itself.
    Relieved,
    /// Could not start it. When nobody else can either, the next try is not before that instant.
    Failed(Instant),
}

/// A wish to be given the group by a peer that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asking {
    pub(super) cause: Cause,
    pub(super) until: Instant,
}

/// An offer to a peer that may take the group while we still serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) cause: Cause,
    pub(super) until: Instant,
}

/// The next try to stop what could not be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Retry {
    Waiting(Instant),
    Trying(Order),
}

/// Why a request came to nothing; its text is for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Setback {
    PeerDeclined,
    PeerGone,
    PeerStuck,
    /// It claimed at the same time, with a higher epoch.
    PeerClaims,
    PeerHolds,
    TimedOut,
    StartFailed,
    StopFailed,
    ResourceFailed,
    Leaving,
}

impl fmt::Display for Setback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerDeclined => "the peer could not start it",
            Self::PeerGone => "contact with the peer was lost",
            Self::PeerStuck => "the peer could not stop it",
            Self::PeerClaims => "the peer is taking it at the same time",
            Self::PeerHolds => "the peer has it, with the higher epoch",
            Self::TimedOut => "the peer did not do its part in time",
            Self::StartFailed => "it could not be started here",
            Self::StopFailed => "it could not be stopped here",
            Self::ResourceFailed => "a resource of it has failed here too often",
            Self::Leaving => "this node is leaving",
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) settings: GroupSettings,
    pub(super) numbering: Numbering,
    /// Highest epoch known of, our own included.
    pub(super) seen: u64,
    pub(super) role: Role,
    /// Of the last change of the state.
    pub(super) cause: Cause,
    /// Why the last request came to nothing.
    pub(super) setback: Option<Setback>,
    /// Since when nobody has held it while the peer is the one who should.
    pub(super) waited: Option<Instant>,
    /// The wait after the next failed start.
    pub(super) backoff: Duration,
    /// No failback before that.
    pub(super) failback_after: Instant,
    /// The peer holds it too, with a lower epoch and without agreement.
    rival: bool,
    /// Its addresses are to be announced again.
    pub(super) announce: bool,
    /// What is known of the service LAN.
    pub(super) clearance: Clearance,
    /// What the arbiters say.
    pub(super) arbitration: Arbitration,
    /// The peer's own address there, the last that it told.
    pub(super) peer_via: Option<IpAddr>,
    pub(super) calm: Calm,
    /// The taking under way was nobody's wish.
    pub(super) by_itself: bool,
    /// This node had it last: while all is frozen it may take it again, and the peer may not.
    pub(super) was_here: bool,
    /// Why it was not taken, as last reported.
    pub(super) restrained: Option<Restraint>,
    /// This node has not heard of every connection that is open at the peer.
    #[serde(default)]
    pub(super) unsynced: bool,
    /// Of the last planned switch.
    #[serde(default)]
    pub(super) overlap: Overlap,
    /// The health of each resource, once one was started.
    #[serde(default)]
    pub(super) health: Vec<Watch>,
    /// This node could not have it, and declines it until then.
    #[serde(default)]
    pub(super) declined_until: Option<Instant>,
    /// The peer died while it was handing the group over to us: it may still serve it.
    #[serde(default)]
    pub(super) unreleased: bool,
}

impl Group {
    pub(super) fn new(id: GroupId, settings: &Settings, group: &GroupSettings) -> Self {
        Self {
            id,
            settings: group.clone(),
            numbering: Numbering::new(&settings.node, &settings.peer),
            seen: 0,
            role: Role::Idle { stance: Stance::Willing, asking: None },
            cause: Cause::Boot,
            setback: None,
            waited: None,
            backoff: BACKOFF_MIN,
            failback_after: Instant::BOOT,
            rival: false,
            announce: false,
            clearance: Clearance::default(),
            arbitration: Arbitration::default(),
            peer_via: None,
            calm: Calm::default(),
            by_itself: false,
            was_here: settings.past.here.contains(&group.name),
            restrained: None,
            unsynced: false,
            overlap: Overlap::None,
            health: Vec::new(),
            declined_until: None,
            unreleased: false,
        }
    }

    /// What the peer is told. `standing`: the licence, and whether the peer should have what nobody
    /// holds, for it reaches more of the world.
    pub(super) fn claim(&self, standing: (Licence, bool), now: Instant) -> GroupClaim {
        let (hold, epoch) = match self.role {
            Role::Idle { .. } => (Hold::Nothing, self.seen),
            Role::Claiming { epoch, .. } => (Hold::Claiming, epoch),
            Role::Starting { epoch, .. } | Role::Mending { epoch, .. } => (Hold::Starting, epoch),
            Role::Active { epoch, .. } => (Hold::Active, epoch),
            Role::Stopping { epoch, .. } => (Hold::Stopping, epoch),
            Role::Stuck { epoch, .. } => (Hold::Stuck, epoch),
        };
        let via = if hold == Hold::Active { self.settings.via } else { None };
        let (wish, unrest) = (self.wish(standing), self.calm.unrest(now));
        GroupClaim { group: self.settings.name.clone(), epoch, hold, wish, via, unrest }
    }

    fn wish(&self, (licence, worse): (Licence, bool)) -> Wish {
        match self.role {
            Role::Idle { .. } if licence == Licence::Leave => Wish::Decline,
            Role::Idle { asking: Some(_), .. } => Wish::Take,
            Role::Idle { .. } if self.clearance.cut_off() => Wish::Decline,
            Role::Idle { stance: Stance::Willing | Stance::Relieved, .. } if worse => Wish::Offer,
            Role::Active { offer: Some(_), .. } => Wish::Offer,
            Role::Starting { .. } | Role::Mending { .. } | Role::Active { .. } => Wish::Content,
            Role::Idle { stance, .. }
            | Role::Claiming { stance, .. }
            | Role::Stopping { then: stance, .. }
            | Role::Stuck { then: stance, .. } => match stance {
                Stance::Willing | Stance::Relieved => Wish::Content,
                Stance::Yielded => Wish::Offer,
                Stance::Failed(_) => Wish::Decline,
            },
        }
    }

    /// What the operator is told.
    pub(super) fn state(&self) -> GroupState {
        match self.role {
            Role::Idle { stance: Stance::Failed(_), .. }
            | Role::Claiming { stance: Stance::Failed(_), .. }
            | Role::Stuck { .. } => GroupState::Failed,
            Role::Idle { .. } | Role::Claiming { .. } => GroupState::Standby,
            Role::Starting { .. } | Role::Mending { .. } => GroupState::Starting,
            Role::Active { .. } => GroupState::Active,
            Role::Stopping { .. } => GroupState::Stopping,
        }
    }

    /// The epoch under which something of the group is, or may be, up here.
    pub(super) fn held(&self) -> Option<u64> {
        match self.role {
            Role::Idle { .. } | Role::Claiming { .. } => None,
            Role::Starting { epoch, .. }
            | Role::Mending { epoch, .. }
            | Role::Active { epoch, .. }
            | Role::Stopping { epoch, .. }
            | Role::Stuck { epoch, .. } => Some(epoch),
        }
    }

    /// The peer spoke: drop what it holds by a higher right, withdraw a claim it beats. At once,
    /// before anything else is sent.
    pub(super) fn heard(&mut self, turn: &mut Turn<'_>) {
        let theirs = turn.peer.claim(&self.settings.name);
        self.seen = self.seen.max(theirs.epoch);
        self.peer_via = theirs.via.or(self.peer_via);
        match self.role {
            Role::Claiming { epoch, stance, cause, .. } if beats(theirs, epoch) => {
                let claims = theirs.hold == Hold::Claiming;
                self.setback = Some(if claims { Setback::PeerClaims } else { Setback::PeerHolds });
                self.put_off_failback(cause, turn);
                self.enter(turn, Role::Idle { stance, asking: None }, cause);
            }
            Role::Starting { epoch, .. }
            | Role::Mending { epoch, .. }
            | Role::Active { epoch, offer: None, .. } => {
                self.yield_to(turn, epoch, theirs);
            }
            Role::Idle { .. }
            | Role::Claiming { .. }
            | Role::Active { .. }
            | Role::Stopping { .. }
            | Role::Stuck { .. } => {}
        }
        self.watch_rival(turn);
    }

    /// We hold it with `mine`, and have agreed on nothing.
    fn yield_to(&mut self, turn: &mut Turn<'_>, mine: u64, theirs: PeerClaim) {
        if theirs.epoch <= mine {
            return;
        }
        match theirs.hold {
            Hold::Starting | Hold::Active | Hold::Stopping => {
                self.report_conflict(turn, mine, theirs.epoch);
                self.setback = Some(Setback::PeerHolds);
                self.stop(turn, Cause::HigherEpoch, Manner::Alone, Stance::Willing);
            }
            // It held the group after us and does so no more, or can't let go of a part: clients
            // may still look for it there.
            Hold::Nothing | Hold::Stuck => {
                self.raise(0);
                self.announce = true;
            }
            Hold::Claiming => {}
        }
    }

    fn report_conflict(&self, turn: &mut Turn<'_>, mine: u64, theirs: u64) {
        turn.outbox.report(Event::Conflict { group: self.settings.name.clone(), mine, theirs });
    }

    /// Sees a rival come and go; both are reasons to announce our addresses again.
    fn watch_rival(&mut self, turn: &mut Turn<'_>) {
        let theirs = turn.peer.claim(&self.settings.name);
        let (mine, from) = match &mut self.role {
            Role::Starting { epoch, from, .. }
            | Role::Mending { epoch, from, .. }
            | Role::Active { epoch, from, .. } => (*epoch, from),
            Role::Idle { .. }
            | Role::Claiming { .. }
            | Role::Stopping { .. }
            | Role::Stuck { .. } => {
                self.rival = false;
                self.announce = false;
                self.unreleased = false;
                return;
            }
        };
        let handed = from.is_some();
        // The agreement ends with the giver's part; a restarted giver may use its number again.
        *from = from.filter(|from| {
            *from == theirs.epoch && matches!(theirs.hold, Hold::Active | Hold::Stopping)
        });
        let agreed = from.is_some();
        self.unreleased |= handed && !agreed;
        self.unreleased &= turn.peer.state() == PeerState::Dead;
        if !agreed {
            self.end_overlap(turn);
        }
        let rival = holds(theirs.hold) && theirs.epoch < mine && !agreed;
        if rival && !self.rival {
            self.report_conflict(turn, mine, theirs.epoch);
        }
        self.announce |= rival != self.rival;
        self.rival = rival;
    }

    /// Time passes: all that may be taken, offered, announced or given up.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>) {
        self.watch_rival(turn);
        // Only who takes: two that each fence the other leave nobody.
        if self.unreleased && !self.clearance.cut_off() && self.peer_is_off(turn) {
            self.unreleased = false;
        }
        self.step_clearance(turn);
        self.step_arbiters(turn);
        self.step_watch(turn);
        match self.role {
            Role::Idle { stance, asking } => self.step_idle(turn, stance, asking),
            Role::Claiming { .. } => self.step_claiming(turn),
            Role::Starting { .. } => self.step_starting(turn),
            Role::Active { .. } => self.step_active(turn),
            Role::Mending { order, .. } | Role::Stopping { order, .. } => {
                self.expire(turn, order);
            }
            Role::Stuck { .. } => self.step_stuck(turn),
        }
        self.announce_again(turn);
    }

    fn announce_again(&mut self, turn: &mut Turn<'_>) {
        let active = matches!(self.role, Role::Active { .. });
        if self.announce && active && turn.licence == Licence::Take {
            self.announce = false;
            turn.outbox.push(Output::Announce(self.id));
        }
    }

    /// A new epoch of ours, above every one known of and above what the peer may meanwhile have
    /// made up in `unheard` takings.
    pub(super) fn new_epoch(&mut self, unheard: u64) -> u64 {
        // A taking grows the epoch by two at most.
        self.seen = self.numbering.above(self.seen.saturating_add(2 * unheard));
        self.seen
    }

    /// Holds it under a new epoch from now on.
    pub(super) fn raise(&mut self, unheard: u64) {
        let new = self.new_epoch(unheard);
        match &mut self.role {
            Role::Starting { epoch, .. }
            | Role::Mending { epoch, .. }
            | Role::Active { epoch, .. }
            | Role::Stopping { epoch, .. }
            | Role::Stuck { epoch, .. } => *epoch = new,
            Role::Idle { .. } | Role::Claiming { .. } => {}
        }
    }

    /// Changes the role, and reports a change of what the operator calls the state.
    pub(super) fn enter(&mut self, turn: &mut Turn<'_>, role: Role, cause: Cause) {
        let before = self.state();
        self.role = role;
        self.waited = None;
        if self.state() != before {
            self.report_role(turn, cause);
        }
    }

    pub(super) fn report_role(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        self.cause = cause;
        turn.outbox.report(Event::Role {
            group: self.settings.name.clone(),
            state: self.state(),
            epoch: self.held().unwrap_or(self.seen),
            cause,
        });
    }

    /// When the group wants to be looked at again, and why.
    pub(super) fn deadlines(
        &self,
        settings: &Settings,
    ) -> impl Iterator<Item = (Instant, &'static str)> {
        let role = match self.role {
            Role::Idle { asking: Some(asking), .. } => Some((asking.until, "takeover")),
            Role::Idle { stance: Stance::Failed(at), .. } => Some((at, "retry")),
            Role::Claiming { at, .. } => Some((at.plus(settings.deadtime), "claim")),
            Role::Starting { order: Some(order), .. }
            | Role::Mending { order, .. }
            | Role::Stopping { order, .. } => Some((order.until, "action")),
            Role::Active { offer: Some(offer), .. } => Some((offer.until, "offer")),
            Role::Stuck { retry: Retry::Waiting(at), .. } => Some((at, "stop again")),
            Role::Stuck { retry: Retry::Trying(order), .. } => Some((order.until, "action")),
            Role::Idle { .. } | Role::Starting { .. } | Role::Active { .. } => None,
        };
        let patience = self.waited.map(|at| (at.plus(settings.deadtime), "patience"));
        let failback = settings.auto_failback.then_some((self.failback_after, "failback"));
        role.into_iter()
            .chain(patience)
            .chain(failback)
            .chain(self.calm.deadlines())
            .chain(self.clearance.deadlines())
            .chain(self.arbitration.deadlines(&settings.outside.arbiters))
            .chain(self.watch_deadlines())
    }

    /// Nothing of the past stands in the way of giving it away; what is stuck is tried at once.
    pub(super) fn prepare_to_leave(&mut self, now: Instant) {
        self.setback = None;
        if let Role::Stuck { tries, retry, .. } = &mut self.role {
            *tries = 0;
            if let Retry::Waiting(at) = retry {
                *at = now;
            }
        }
    }

    /// Whether leaving must wait for it. It does not wait for ever for what can't be stopped.
    pub(super) fn busy_leaving(&self) -> bool {
        match self.role {
            Role::Idle { .. } => false,
            Role::Stuck { tries, .. } => tries < STOP_TRIES_QUICK,
            Role::Claiming { .. }
            | Role::Starting { .. }
            | Role::Mending { .. }
            | Role::Active { .. }
            | Role::Stopping { .. } => true,
        }
    }

    /// An address of ours on the group's service LAN, for the peer.
    pub(super) fn set_via(&mut self, via: Option<IpAddr>) {
        self.settings.via = via;
    }

    /// A failback that came to nothing is not tried again at once.
    pub(super) fn put_off_failback(&mut self, cause: Cause, turn: &Turn<'_>) {
        if cause == Cause::Failback {
            self.failback_after = turn.now.plus(BACKOFF_MAX);
        }
    }
}

/// Whether something of the group is, or may be, up there.
pub(super) fn holds(hold: Hold) -> bool {
    match hold {
        Hold::Nothing | Hold::Claiming => false,
        Hold::Starting | Hold::Active | Hold::Stopping | Hold::Stuck => true,
    }
}

/// Whether what the peer says ends our own claim of `epoch`.
fn beats(theirs: PeerClaim, epoch: u64) -> bool {
    match theirs.hold {
        Hold::Claiming => theirs.epoch > epoch,
        Hold::Active => theirs.wish != Wish::Offer,
        Hold::Starting | Hold::Stuck => true,
        // It is about to be free: the claim is first in the queue.
        Hold::Nothing | Hold::Stopping => false,
    }
}

/// Whether a peer in that state could be given the group.
pub(super) fn can_take(state: PeerState, theirs: PeerClaim) -> bool {
    state == PeerState::Alive && theirs.hold == Hold::Nothing && theirs.wish != Wish::Decline
}
