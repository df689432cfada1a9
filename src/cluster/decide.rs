//! Who takes a group: the decision of a node that holds nothing of it.
//!
//! When the peer is alive, both nodes compute the same [`candidate`] from the same two claims, and
//! the candidate asks for consent before it starts ([`Role::Claiming`]). When the peer is dead or
//! has left, there is nobody to ask.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::event::{Cause, Manner};
use crate::cluster::group::{Asking, Group, Role, Setback, Stance};
use crate::cluster::list::ANSWER_GRACE;
use crate::cluster::message::{Extent, Hold, NodeState, Wish};
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::peer::{PeerClaim, PeerState};
use crate::cluster::settings::{Settings, Side};
use crate::time::Instant;

/// How much a node that holds nothing should have the group. The higher one takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Can't: leaving, or could not start it.
    Unable,
    /// Handed it over on request.
    Yielded,
    /// Nothing speaks against it.
    Willing,
    /// Its operator wants it there.
    Asking,
}

impl Rank {
    /// From what a node says that holds nothing.
    pub(super) fn of(wish: Wish) -> Self {
        match wish {
            Wish::Decline => Self::Unable,
            Wish::Offer => Self::Yielded,
            Wish::Content => Self::Willing,
            Wish::Take => Self::Asking,
        }
    }
}

/// Who should take a group that nobody holds while both nodes are alive: the higher rank, or the
/// preferred node. Nobody, when neither can.
pub(super) fn candidate(mine: Rank, theirs: Rank, preferred: Side) -> Option<Side> {
    match mine.cmp(&theirs) {
        Ordering::Greater => Some(Side::Me),
        Ordering::Less => Some(Side::Peer),
        Ordering::Equal if mine == Rank::Unable => None,
        Ordering::Equal => Some(preferred),
    }
}

/// Whether a node may start once its claim has been out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// Not yet.
    Wait,
    /// Nobody else has it.
    Free,
    /// The peer serves and offers it, under that epoch, from that address.
    Overlap(u64, Option<IpAddr>),
}

impl Group {
    pub(super) fn step_idle(
        &mut self,
        turn: &mut Turn<'_>,
        stance: Stance,
        asking: Option<Asking>,
    ) {
        if turn.licence == Licence::Leave {
            self.drop_asking(stance, asking, Setback::Leaving, turn);
            return;
        }
        if asking.is_some_and(|asking| turn.now >= asking.until) {
            self.drop_asking(stance, asking, Setback::TimedOut, turn);
            return;
        }
        if turn.licence != Licence::Take {
            return;
        }
        match turn.peer.state() {
            PeerState::Unknown => {}
            PeerState::Dead | PeerState::Left => self.take_from_absent(turn, stance, asking),
            PeerState::Alive => self.consider(turn, stance, asking),
        }
    }

    fn drop_asking(
        &mut self,
        stance: Stance,
        asking: Option<Asking>,
        why: Setback,
        turn: &Turn<'_>,
    ) {
        if let Some(asking) = asking {
            self.setback = Some(why);
            self.put_off_failback(asking.cause, turn);
            self.role = Role::Idle { stance, asking: None };
        }
    }

    /// Nobody to ask.
    fn take_from_absent(&mut self, turn: &mut Turn<'_>, stance: Stance, asking: Option<Asking>) {
        if !stance.may_try(turn.now) {
            return;
        }
        let cause = match (asking, turn.peer.state()) {
            (Some(asking), _) => asking.cause,
            (None, PeerState::Left) => Cause::PeerLeft,
            (None, _) if turn.peer.ever_alive() => Cause::PeerDead,
            (None, _) => Cause::Boot,
        };
        if asking.is_none() && !self.may_take(turn, PeerClaim::ABSENT) {
            return;
        }
        if turn.peer.long_gone(turn.now) && !self.may_relieve(turn, asking.is_some()) {
            return;
        }
        let epoch = self.new_epoch(0);
        self.start(turn, epoch, (Manner::Alone, None), cause);
        // Who leaves on request is there to be asked.
        self.by_itself |= matches!(cause, Cause::PeerDead | Cause::PeerLeft);
    }

    /// The peer is alive.
    fn consider(&mut self, turn: &mut Turn<'_>, stance: Stance, asking: Option<Asking>) {
        let theirs = turn.peer.claim(&self.settings.name);
        match theirs.hold {
            Hold::Nothing => self.contend(turn, (stance, asking), theirs),
            Hold::Active if theirs.wish == Wish::Offer => {
                if self.settings.overlaps() && !stance.failed() {
                    self.begin_claim(turn, stance, cause_of(stance, asking, theirs, turn));
                }
            }
            Hold::Active => {
                self.relieve();
                self.fail_back(turn, stance, asking);
            }
            Hold::Stuck => self.drop_asking(stance, asking, Setback::PeerStuck, turn),
            Hold::Claiming | Hold::Starting | Hold::Stopping => self.waited = None,
        }
    }

    /// The peer serves what we handed over. Left at that, two nodes that have both handed it over
    /// once would leave the next hand-over to the preferred one, whoever is asked.
    fn relieve(&mut self) {
        if let Role::Idle { stance: stance @ Stance::Yielded, .. } = &mut self.role {
            *stance = Stance::Relieved;
        }
    }

    /// Nobody holds it.
    fn contend(
        &mut self,
        turn: &mut Turn<'_>,
        (stance, asking): (Stance, Option<Asking>),
        theirs: PeerClaim,
    ) {
        let mine = match (stance, asking) {
            (_, Some(_)) => Rank::Asking,
            (Stance::Willing | Stance::Relieved, None) if turn.standing.settled => Rank::Yielded,
            (Stance::Willing | Stance::Relieved, None) => Rank::Willing,
            (Stance::Yielded, None) => Rank::Yielded,
            (Stance::Failed(_), None) => Rank::Unable,
        };
        if asking.is_none() && (self.clearance.cut_off() || !self.may_take(turn, theirs)) {
            return;
        }
        let rank = self.rank_of(turn, stance, theirs);
        let take = match candidate(mine, rank, self.settings.preferred) {
            Some(Side::Me) => true,
            // It should; but when it does not for a whole deadtime, then we do. It may think the
            // same of us, for the two files may differ.
            Some(Side::Peer) if mine > Rank::Unable => {
                let since = *self.waited.get_or_insert(turn.now);
                turn.now.since(since) >= turn.settings.deadtime
            }
            Some(Side::Peer) => false,
            None => stance.may_try(turn.now),
        };
        if take {
            self.begin_claim(turn, stance, cause_of(stance, asking, theirs, turn));
        }
    }

    /// While switches are frozen the peer does not take by itself what was here last, unless we
    /// have handed it over.
    fn rank_of(&self, turn: &Turn<'_>, stance: Stance, theirs: PeerClaim) -> Rank {
        let ours = self.was_here && stance != Stance::Yielded;
        match Rank::of(theirs.wish) {
            Rank::Willing | Rank::Yielded if ours && turn.frozen != Extent::Nothing => Rank::Unable,
            rank => rank,
        }
    }

    fn begin_claim(&mut self, turn: &mut Turn<'_>, stance: Stance, cause: Cause) {
        let epoch = self.new_epoch(0);
        let since = turn.outbox.next_sequence();
        self.enter(turn, Role::Claiming { epoch, stance, since, at: turn.now, cause }, cause);
    }

    /// What the peer has consented to before a stall of ours it may have taken for itself since.
    pub(super) fn claim_again(&mut self, sequence: u64, now: Instant) {
        if let Role::Claiming { since, at, .. } = &mut self.role {
            (*since, *at) = (sequence, now);
        }
    }

    /// The preferred node is back, and the group is with the other.
    fn fail_back(&mut self, turn: &mut Turn<'_>, stance: Stance, asking: Option<Asking>) {
        self.waited = None;
        let wanted = turn.settings.auto_failback
            && self.settings.preferred == Side::Me
            && !self.clearance.cut_off()
            && !turn.standing.worse;
        let settled =
            turn.settled.is_some_and(|since| turn.now >= since.plus(turn.settings.keepalive * 2));
        let due = settled && turn.now >= self.failback_after;
        if wanted
            && due
            && stance == Stance::Willing
            && asking.is_none()
            && self.may_fail_back(turn)
        {
            self.ask(turn, Cause::Failback);
        }
    }

    /// Wishes to be given the group, for as long as both halves of a hand-over may take.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        let until = turn.now.plus(self.handover_limit(turn.settings));
        self.setback = None;
        let asking = Some(Asking { cause, until });
        self.enter(turn, Role::Idle { stance: Stance::Willing, asking }, cause);
    }

    /// The longest that a hand-over may take, both halves.
    pub(super) fn handover_limit(&self, settings: &Settings) -> Duration {
        let count = u32::try_from(self.settings.resources.len()).unwrap_or(u32::MAX);
        let grace = ANSWER_GRACE.saturating_mul(count).saturating_mul(2);
        let actions = self.settings.start_total().saturating_add(self.settings.stop_total());
        actions.saturating_add(grace).saturating_add(settings.deadtime * 2)
    }

    pub(super) fn step_claiming(&mut self, turn: &mut Turn<'_>) {
        let Role::Claiming { epoch, stance, since, at, cause } = self.role else { return };
        if turn.licence == Licence::Leave {
            self.setback = Some(Setback::Leaving);
            self.enter(turn, Role::Idle { stance, asking: None }, cause);
            return;
        }
        if turn.licence != Licence::Take {
            return;
        }
        let silent = turn.peer.long_gone(turn.now) || self.unheard(turn, Duration::ZERO);
        if silent && !self.may_relieve(turn, cause == Cause::Takeover) {
            if self.clearance.bar.is_some() {
                self.setback = Some(Setback::PeerGone);
                self.enter(turn, Role::Idle { stance, asking: None }, cause);
            }
            return;
        }
        let manner = match self.consent(turn, since, at) {
            Consent::Wait => return,
            Consent::Free => (Manner::Alone, None),
            Consent::Overlap(epoch, peer) => (Manner::Overlap { peer }, Some(epoch)),
        };
        let epoch = if epoch == self.seen { epoch } else { self.new_epoch(0) };
        self.start(turn, epoch, manner, cause);
    }

    /// The peer speaks and has not heard our claim for a deadtime, or will not have in so long: to
    /// itself it is alone. It said that it has nothing, and may have taken it since.
    pub(super) fn unheard(&self, turn: &Turn<'_>, ahead: Duration) -> bool {
        let Role::Claiming { since, at, .. } = self.role else { return false };
        let deaf = turn.now.plus(ahead) >= at.plus(turn.settings.deadtime);
        turn.peer.is_alive() && deaf && turn.peer.echo() < since
    }

    fn consent(&self, turn: &Turn<'_>, since: u64, at: Instant) -> Consent {
        if !turn.peer.is_alive() {
            return Consent::Free;
        }
        let theirs = turn.peer.claim(&self.settings.name);
        let aware = turn.peer.echo() >= since;
        let deaf = turn.now >= at.plus(turn.settings.deadtime);
        match theirs.hold {
            Hold::Nothing if aware || deaf => Consent::Free,
            Hold::Active if aware && theirs.wish == Wish::Offer && self.settings.overlaps() => {
                Consent::Overlap(theirs.epoch, theirs.via)
            }
            Hold::Nothing | Hold::Claiming | Hold::Starting => Consent::Wait,
            Hold::Active | Hold::Stopping | Hold::Stuck => Consent::Wait,
        }
    }
}

impl Stance {
    /// How a node that has handed a group over stands to it. One that gave it only because it can't
    /// reach the clients wants it no less than before.
    pub(super) fn after(cause: Cause) -> Self {
        match cause {
            Cause::ServiceLinkDown | Cause::Connectivity => Self::Willing,
            _ => Self::Yielded,
        }
    }

    pub(super) fn failed(self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Whether a start may be tried when nobody else can have the group.
    pub(super) fn may_try(self, now: Instant) -> bool {
        match self {
            Self::Willing | Self::Yielded | Self::Relieved => true,
            Self::Failed(at) => now >= at,
        }
    }
}

/// Why we take it from a peer that is alive.
fn cause_of(stance: Stance, asking: Option<Asking>, theirs: PeerClaim, turn: &Turn<'_>) -> Cause {
    match (asking, theirs.wish) {
        (Some(asking), _) => asking.cause,
        (None, _) if turn.peer.node_state() == Some(NodeState::Leaving) => Cause::PeerLeft,
        (None, Wish::Offer) => Cause::Standby,
        (None, Wish::Decline) if stance == Stance::Yielded => Cause::HandoverFailed,
        (None, Wish::Decline) => Cause::PeerDeclined,
        (None, Wish::Content | Wish::Take) => Cause::Boot,
    }
}
