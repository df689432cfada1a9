//! Further invariants: what an operator was promised, and what the journal says of it.
//!
//! Freeze and damping (S16), one record a role change (S14), and a service link that fails.

use std::time::Duration;

use pairbeat::cluster::View;
use pairbeat::cluster::event::{Cause, Event, GroupState};
use pairbeat::cluster::message::{Beat, Extent, Freeze, Hold, NodeState, Wish};
use pairbeat::time::Instant;

use crate::session::Delivery;
use crate::world::World;

/// What a process has said of automatic switches since its start.
pub(crate) struct Promised {
    freeze: Freeze,
    groups: Vec<Said>,
}

/// The same of one group.
#[derive(Clone)]
struct Said {
    /// As the last event reported it, with its epoch and cause.
    state: GroupState,
    why: Option<(u64, Cause)>,
    /// As the last beat had it.
    wish: Wish,
    /// No automatic switch before.
    held_down: Instant,
    /// An operator has asked for something, and may still be the reason for a wish.
    asked: bool,
}

/// A span of a node's clock, which may be a little faster than ours.
fn least(span: Duration) -> Duration {
    span - span / 500
}

impl Promised {
    pub(crate) fn new(groups: usize) -> Self {
        let said = Said {
            state: GroupState::Standby,
            why: None,
            wish: Wish::Content,
            held_down: Instant::BOOT,
            asked: false,
        };
        Self { freeze: Freeze::default(), groups: vec![said; groups] }
    }

    /// A process that goes on where another one ended begins with what that one had reported.
    pub(crate) fn begin(&mut self, now: Instant, view: &View) {
        self.freeze = view.freeze;
        for (said, group) in self.groups.iter_mut().zip(&view.groups) {
            said.state = group.state;
            // Rounded up to seconds.
            let seconds = group.held_down_s.unwrap_or_default().saturating_sub(1);
            said.held_down = now.plus(least(Duration::from_secs(seconds)));
        }
    }

    /// Whether a resource of the group is started again because it had failed.
    pub(crate) fn mending(&self, group: usize) -> bool {
        self.groups[group].why.is_some_and(|(_, cause)| cause == Cause::ResourceFailed)
    }

    pub(crate) fn frozen(&self) -> bool {
        self.freeze.extent != Extent::Nothing
    }
}

impl<D: Delivery> World<D> {
    /// An operator has asked this node for something.
    pub(crate) fn check_asked(&mut self, node: usize) {
        self.nodes[node].facts.promised.groups.iter_mut().for_each(|said| said.asked = true);
    }

    /// S14: every change of role is reported once, before it is said to the peer.
    pub(crate) fn check_recorded(&mut self, node: usize, event: &Event) {
        let settings = &self.nodes[node].settings;
        let place =
            |group: &_| settings.groups.iter().position(|it| it.name == *group).unwrap_or_default();
        let said = match event {
            Event::Role { group, .. } | Event::HeldDown { group, .. } => place(group),
            // Its own time stood still.
            Event::Stalled { late_ms } => {
                let late = least(Duration::from_millis(*late_ms));
                let now = self.now;
                let groups = &mut self.nodes[node].facts.promised.groups;
                for said in groups.iter_mut().filter(|said| now < said.held_down.plus(late)) {
                    said.held_down = said.held_down.plus(late);
                }
                return;
            }
            _ => return,
        };
        let now = self.now;
        let said = &mut self.nodes[node].facts.promised.groups[said];
        let before = said.state;
        match event {
            Event::Role { state, cause, epoch, .. } => {
                said.state = *state;
                let known = said.why.replace((*epoch, *cause)) == Some((*epoch, *cause));
                if known && before == *state {
                    self.fail(format!("S14: node {node} reports {state:?} again: {cause:?}"));
                }
            }
            Event::HeldDown { seconds, .. } => {
                said.held_down = now.plus(least(Duration::from_secs(*seconds)));
            }
            _ => {}
        }
    }

    /// S14: what a beat claims was reported. S16: a node that is held down, or frozen, asks for
    /// nothing by itself.
    pub(crate) fn check_claims(&mut self, node: usize, beat: &Beat) {
        let waiting = self.open.values().any(|(who, ..)| *who == node);
        let now = self.now;
        let promised = &mut self.nodes[node].facts.promised;
        promised.freeze = promised.freeze.max(beat.notice.freeze);
        let frozen = promised.frozen();
        let mut faults = Vec::new();
        for (claim, said) in beat.groups.iter().zip(&mut promised.groups) {
            if !reported(said.state, claim.hold) {
                faults.push(format!(
                    "S14: {:?} was reported, and it says {:?}",
                    said.state, claim.hold
                ));
            }
            let wants = claim.wish == Wish::Take && said.wish != Wish::Take;
            if wants && !said.asked && (frozen || now < said.held_down) {
                faults.push(format!("S16: it wants {} by itself", claim.group));
            }
            said.wish = claim.wish;
            said.asked &= waiting || claim.wish == Wish::Take;
        }
        for fault in faults {
            self.fail(format!("node {node}: {fault}"));
        }
    }

    /// With everything frozen on both nodes, and nobody asking, a group stays where it is.
    pub(crate) fn check_frozen(&mut self, group: usize) {
        let all = |node: &crate::world::Machine<D>| {
            node.facts.promised.freeze.extent == Extent::All
                && node.facts.node == NodeState::Running
        };
        let still = self.nodes.iter().all(all) && self.open.is_empty() && !self.checks.troubled;
        if !still || self.checks.calm_since.is_none() {
            self.checks.groups[group].frozen = None;
            return;
        }
        let holder = (0..2).find(|node| self.nodes[*node].hold(group) == Hold::Active);
        let (now, settled) = (self.now, self.heal() * 2 + Duration::from_secs(10));
        let (since, before) = *self.checks.groups[group].frozen.get_or_insert((now, None));
        if now.since(since) < settled {
            return;
        }
        self.checks.groups[group].frozen = Some((since, before.or(holder)));
        if let (Some(before), Some(holder)) = (before, holder)
            && before != holder
        {
            self.fail(format!("S16: group {group} went from {before} to {holder}, frozen"));
        }
    }

    /// An owner that can't reach the clients gives the group to a peer that can.
    pub(crate) fn check_stranded(&mut self, group: usize) {
        let quiet = self.open.is_empty() && self.checks.calm_since.is_some();
        let free = self.nodes.iter().all(|node| {
            let promised = &node.facts.promised;
            let down = promised.groups[group].held_down;
            node.facts.node == NodeState::Running && !promised.frozen() && self.now >= down
        });
        let stranded = (0..2).any(|node| {
            let (owner, other) = (&self.nodes[node], &self.nodes[1 - node]);
            let seen = owner.settings.groups[group].probe && other.settings.groups[group].probe;
            seen && owner.lan_cut && !other.lan_cut && owner.hold(group) == Hold::Active
        });
        if !quiet || !free || !stranded || self.checks.troubled {
            self.checks.groups[group].stranded = None;
            return;
        }
        let since = *self.checks.groups[group].stranded.get_or_insert(self.now);
        let actions = self.nodes[0].up[group].len() as u32 * 4;
        let slowest = self.nodes[0].agent_max.max(self.nodes[1].agent_max);
        let limit = self.heal() * 2 + slowest * actions + Duration::from_secs(3);
        if self.now.since(since) > limit {
            self.fail(format!("L1: group {group} stays where no client reaches it, since {since}"));
        }
    }
}

/// Whether what was reported is what is claimed.
fn reported(state: GroupState, hold: Hold) -> bool {
    match state {
        GroupState::Standby => matches!(hold, Hold::Nothing | Hold::Claiming),
        GroupState::Starting => hold == Hold::Starting,
        GroupState::Active => hold == Hold::Active,
        GroupState::Stopping => hold == Hold::Stopping,
        GroupState::Failed => matches!(hold, Hold::Nothing | Hold::Claiming | Hold::Stuck),
    }
}
