//! Keeping a group where it is: damping of automatic switches, and the operator's freeze.
//!
//! A group that one node takes from the other again and again, by itself, is worse off than one
//! that stays with either. [`Calm`] counts such takings, those of the peer included, and holds the
//! group down for a time that doubles with each further one and decays in quiet (design 5.8).
//! It restrains switches *from a node that serves*: a group that nobody serves is taken at once,
//! whatever was before. An operator's command is never restrained. Neighbours: `decide` asks before
//! it takes or wants something back; `group` keeps one [`Calm`] a group.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::{Event, Restraint};
use crate::cluster::group::{Group, holds};
use crate::cluster::message::{Extent, NodeState, Unrest, Wish};
use crate::cluster::outbox::Turn;
use crate::cluster::peer::{PeerClaim, PeerState};
use crate::names::GroupId;
use crate::time::Instant;

/// Most switches that can be allowed in a window: so many instants are kept for each group.
pub const SWITCHES_MAX: u32 = 100;
/// Doublings after which a hold-down grows no more, whatever its limit: 2^16 of the shortest is
/// half a day.
const LEVEL_MAX: u32 = 16;

/// Longest time that a failback waits for the connections of the peer, from when both nodes are in
/// service: several times what a healthy sync needs, and no reason to leave a group for ever where
/// it should not be.
pub const SYNC_WAIT_MAX: Duration = Duration::from_secs(30);

/// When automatic switches of a group are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damping {
    /// So many are well within a window, on both nodes together; the next one begins a hold-down.
    /// 0 to [`SWITCHES_MAX`]; 0: there is no damping. Default 3.
    pub switches: u32,
    /// Within which they are counted, and after which, without one, a hold-down's length halves.
    /// Default 10 minutes.
    pub window: Duration,
    /// The first hold-down. Default 5 minutes.
    pub hold: Duration,
    /// The longest. At most 18 hours, which fit into a beat. Default 20 minutes.
    pub hold_max: Duration,
}

impl Default for Damping {
    fn default() -> Self {
        Self {
            switches: 3,
            window: Duration::from_secs(600),
            hold: Duration::from_secs(300),
            hold_max: Duration::from_secs(1200),
        }
    }
}

/// What is known of one group's restlessness.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Calm {
    /// The last automatic switches, at most one more than are allowed.
    switches: VecDeque<Instant>,
    /// Our own hold-down.
    until: Option<Instant>,
    /// The peer's, as it told us.
    told: Option<Instant>,
    /// Doublings of the next hold-down.
    level: u32,
    /// When the level goes down next.
    decay: Option<Instant>,
    /// How often this node has taken the group by itself.
    taken: u8,
    /// The same of the peer, as last heard.
    theirs: Option<u8>,
}

/// What a later process goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedCalm {
    /// How often the node has taken the group by itself, modulo 256: the peer compares.
    pub taken: u8,
    /// For how many more seconds it is held down by us.
    pub hold_s: u16,
    /// Doublings of the next hold-down.
    pub level: u8,
}

impl Calm {
    /// What the next process is to know.
    pub(super) fn carried(&self, now: Instant) -> CarriedCalm {
        let Unrest { taken, hold_s } = self.unrest(now);
        CarriedCalm { taken, hold_s, level: u8::try_from(self.level).unwrap_or(u8::MAX) }
    }

    /// Goes on where the process before stood.
    pub(super) fn resume(&mut self, now: Instant, carried: &CarriedCalm) {
        self.taken = carried.taken;
        self.level = u32::from(carried.level).min(LEVEL_MAX);
        let until = now.plus(Duration::from_secs(carried.hold_s.into()));
        self.until = (carried.hold_s > 0).then_some(until);
        self.decay = (self.level > 0).then_some(until);
    }

    /// This node takes the group by itself. The length of the hold-down that is in force then,
    /// where one begins.
    fn take(&mut self, now: Instant, damping: &Damping) -> Option<Duration> {
        self.taken = self.taken.wrapping_add(1);
        self.switched(now, damping)
    }

    fn switched(&mut self, now: Instant, damping: &Damping) -> Option<Duration> {
        if damping.switches == 0 {
            return None;
        }
        self.switches.retain(|at| now.since(*at) < damping.window);
        self.switches.push_back(now);
        let allowed = usize::try_from(damping.switches).unwrap_or(usize::MAX);
        if self.switches.len() <= allowed {
            return None;
        }
        self.switches.pop_front();
        let hold = damping.hold.saturating_mul(1 << self.level.min(LEVEL_MAX));
        let hold = hold.min(damping.hold_max);
        let until = now.plus(hold);
        let until = self.until.map_or(until, |before| before.max(until));
        self.until = Some(until);
        self.level = (self.level + 1).min(LEVEL_MAX);
        self.decay = Some(until.plus(damping.window));
        Some(until.since(now))
    }

    /// The peer spoke. A peer that was absent counts from where it stands now. The length of the
    /// hold-down that follows.
    fn heard(
        &mut self,
        now: Instant,
        (unrest, returned): (Unrest, bool),
        damping: &Damping,
    ) -> Option<Duration> {
        let told = now.plus(Duration::from_secs(unrest.hold_s.into()));
        self.told = (unrest.hold_s > 0).then_some(told);
        let before = self.theirs.replace(unrest.taken).filter(|_| !returned);
        let news = before.is_some_and(|before| before != unrest.taken);
        if news { self.switched(now, damping) } else { None }
    }

    /// Forgets what is long over.
    fn settle(&mut self, now: Instant, damping: &Damping) {
        self.until = self.until.filter(|until| now < *until);
        self.told = self.told.filter(|until| now < *until);
        while let Some(at) = self.decay.filter(|at| now >= *at) {
            self.level = self.level.saturating_sub(1);
            self.decay =
                (self.level > 0).then(|| at.plus(damping.window.max(Duration::from_secs(1))));
        }
    }

    /// How long the group is still held down.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let until = self.until.max(self.told).filter(|until| now < *until)?;
        Some(until.since(now))
    }

    /// What the peer is told: our own part, in whole seconds.
    pub(super) fn unrest(&self, now: Instant) -> Unrest {
        let left = self.until.map_or(Duration::ZERO, |until| until.since(now));
        let seconds = left.as_millis().div_ceil(1000);
        Unrest { taken: self.taken, hold_s: u16::try_from(seconds).unwrap_or(u16::MAX) }
    }

    /// When something ends.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        let holds = self.until.into_iter().chain(self.told).map(|at| (at, "hold-down"));
        holds.chain(self.decay.map(|at| (at, "calm")))
    }
}

impl Core {
    /// The connections of a group's holder are known here, or are not.
    pub(super) fn synced(&mut self, group: GroupId, fresh: bool) {
        if let Some(group) = self.groups.get_mut(usize::from(group.0)) {
            group.unsynced = !fresh;
        }
        self.stirred = true;
    }
}

impl Group {
    /// The group is up here: counted, where nobody had asked for it.
    pub(super) fn count_taking(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::take(&mut self.by_itself) {
            return;
        }
        let hold = self.calm.take(turn.now, &turn.settings.damping);
        self.report_hold(turn, hold);
    }

    /// What the peer says of its own takings, and whether it had been absent.
    pub(super) fn hear_unrest(&mut self, turn: &mut Turn<'_>, returned: bool) {
        let theirs = turn.peer.claim(&self.settings.name);
        let hold = self.calm.heard(turn.now, (theirs.unrest, returned), &turn.settings.damping);
        self.report_hold(turn, hold);
        if holds(theirs.hold) && self.held().is_none() {
            self.was_here = false;
        }
    }

    fn report_hold(&self, turn: &mut Turn<'_>, hold: Option<Duration>) {
        if let Some(hold) = hold {
            let group = self.settings.name.clone();
            turn.outbox.report(Event::HeldDown { group, seconds: hold.as_secs() });
        }
    }

    /// Time passes.
    pub(super) fn step_calm(&mut self, turn: &Turn<'_>) {
        self.calm.settle(turn.now, &turn.settings.damping);
        self.was_here |= self.held().is_some();
        // What is held here and can't be served wants to go, and is restrained in that.
        let content = !self.clearance.cut_off() && self.worn().is_none();
        if self.held().is_some() && content {
            self.restrained = None;
        }
    }

    /// Whether an automatic switch from a peer that serves may be made; reported once, if not.
    pub(super) fn may_switch(&mut self, turn: &mut Turn<'_>) -> bool {
        let restraint = self.switch_restraint(turn);
        self.restrain(turn, restraint)
    }

    /// The same for a failback, which is in no hurry: it also waits for the connections.
    pub(super) fn may_fail_back(&mut self, turn: &mut Turn<'_>) -> bool {
        let unsynced = || self.sync_wait(turn.now, turn.settled).map(|_| Restraint::Unsynced);
        let restraint = self.switch_restraint(turn).or_else(unsynced);
        self.restrain(turn, restraint)
    }

    fn switch_restraint(&self, turn: &Turn<'_>) -> Option<Restraint> {
        match turn.frozen {
            Extent::All | Extent::ExceptDead => Some(Restraint::Frozen),
            Extent::Nothing => self.calm.left(turn.now).map(|_| Restraint::HeldDown),
        }
    }

    /// How long a failback still waits at most; `None`: not for the connections.
    pub(super) fn sync_wait(&self, now: Instant, settled: Option<Instant>) -> Option<Duration> {
        let until = settled?.plus(SYNC_WAIT_MAX);
        (self.unsynced && now < until).then(|| until.since(now))
    }

    /// Whether a freeze lets this node take what nobody holds. It stays with the node that had it
    /// last, which may take it again; and what an operator has begun is finished.
    pub(super) fn may_take(&mut self, turn: &mut Turn<'_>, theirs: PeerClaim) -> bool {
        let absent = matches!(turn.peer.state(), PeerState::Dead | PeerState::Left);
        let given =
            theirs.wish == Wish::Offer || turn.peer.node_state() == Some(NodeState::Leaving);
        let free = match turn.frozen {
            Extent::Nothing => true,
            Extent::ExceptDead => absent || given || self.was_here,
            Extent::All => given || self.was_here,
        };
        self.restrain(turn, (!free).then_some(Restraint::Frozen))
    }

    fn restrain(&mut self, turn: &mut Turn<'_>, restraint: Option<Restraint>) -> bool {
        if let Some(why) = restraint.filter(|why| self.restrained != Some(*why)) {
            let group = self.settings.name.clone();
            turn.outbox.report(Event::Restrained { group, why });
        }
        self.restrained = restraint;
        restraint.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Instant {
        Instant::BOOT.plus(Duration::from_secs(seconds))
    }

    fn seconds(span: Option<Duration>) -> Option<u64> {
        span.map(|span| span.as_secs())
    }

    #[test]
    fn one_switch_too_many_in_a_window_begins_a_hold_down_that_doubles_up_to_its_limit() {
        let (mut calm, damping) = (Calm::default(), Damping::default());
        let mut holds = Vec::new();
        for at in 1000..1007 {
            holds.push(seconds(calm.take(s(at), &damping)));
        }
        let want = [None, None, None, Some(300), Some(600), Some(1200), Some(1200)];
        assert_eq!(holds, want);
        assert_eq!(seconds(calm.left(s(1006))), Some(1200));
        assert_eq!(calm.unrest(s(1006)), Unrest { taken: 7, hold_s: 1200 });
        assert_eq!(calm.left(s(2206)), None);
    }

    #[test]
    fn as_many_as_are_allowed_in_each_window_are_never_held_down() {
        let (mut calm, damping) = (Calm::default(), Damping::default());
        for window in 0..10 {
            for at in 0..3 {
                assert_eq!(calm.take(s(window * 600 + at), &damping), None);
            }
        }
    }

    #[test]
    fn quiet_halves_the_next_hold_down_once_a_window() {
        let (mut calm, damping) = (Calm::default(), Damping::default());
        for at in 0..6 {
            calm.take(s(at), &damping);
        }
        // Held down until 1205, quiet for two windows after that.
        calm.settle(s(1205 + 1200), &damping);
        for at in 0..3 {
            assert_eq!(calm.take(s(3000 + at), &damping), None);
        }
        assert_eq!(seconds(calm.take(s(3004), &damping)), Some(600));
        calm.settle(s(100_000), &damping);
        assert_eq!((calm.level, calm.decay, calm.until), (0, None, None));
    }

    #[test]
    fn both_nodes_count_the_takings_of_both() {
        let (mut calm, damping) = (Calm::default(), Damping::default());
        let told = |taken| (Unrest { taken, hold_s: 0 }, false);
        assert_eq!(calm.heard(s(0), (Unrest { taken: 9, hold_s: 0 }, true), &damping), None);
        calm.take(s(1), &damping);
        assert_eq!(calm.heard(s(2), told(10), &damping), None);
        assert_eq!(calm.heard(s(3), told(10), &damping), None);
        calm.take(s(4), &damping);
        assert_eq!(seconds(calm.heard(s(5), told(11), &damping)), Some(300));
        // It restarts, and its count with it.
        assert_eq!(calm.heard(s(6), (Unrest { taken: 0, hold_s: 0 }, true), &damping), None);
    }

    #[test]
    fn what_the_peer_holds_down_is_not_told_back_to_it() {
        let (mut calm, damping) = (Calm::default(), Damping::default());
        calm.heard(s(0), (Unrest { taken: 4, hold_s: 300 }, true), &damping);
        assert_eq!(seconds(calm.left(s(100))), Some(200));
        assert_eq!(calm.unrest(s(100)).hold_s, 0);
    }
}
