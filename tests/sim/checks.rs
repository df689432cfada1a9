//! The invariants, stated precisely and asserted at every step.
//!
//! *Live* is a machine whose process runs. A group is *held* by a live node whose last beat says
//! Starting, Active, Stopping or Stuck, and *served* by one that says Starting or Active. It is
//! *calm* while both nodes are live and awake, some link loses nothing in either direction, and
//! every agent obeys. The whole design rests on one assumption: silence of a deadtime, in one
//! direction at least, is death.
//!
//! S8 (wall-clock steps) has no check: the core is told of no wall clock.

use std::time::Duration;

use pairbeat::cluster::event::{Action, Answer, Cause, Event, GroupState, Manner, Operation};
use pairbeat::cluster::message::{Beat, GroupClaim, Hold, NodeState, Wish};
use pairbeat::cluster::{RESTART_LIMIT, RESTART_MAX};
use pairbeat::names::GroupId;
use pairbeat::time::Instant;

use crate::promises::Promised;
use crate::session::Delivery;
use crate::world::{Agent, Machine, World};

/// So long must a service link have been up again before a core relies on it.
const LAN_SETTLES: Duration = Duration::from_secs(2);
/// An answer of the LAN may be as old as that when it is acted upon.
const PROBE_UNDER_WAY: Duration = Duration::from_secs(1);

/// What is known of one start of a machine, from outside.
pub(crate) struct Facts {
    /// What its last beat said of the node as a whole.
    pub(crate) node: NodeState,
    keepalive: Duration,
    booted: Instant,
    /// When the newest proof of the peer's life came in that was handed to the core.
    proof: Option<Instant>,
    /// When that happened.
    handed: Instant,
    /// The peer's claims as last handed to the core.
    heard: Vec<GroupClaim>,
    asleep: Option<Instant>,
    slept_since_proof: Duration,
    /// The peer has said that it restarts: until when it may take.
    excused: Option<Instant>,
    /// The last long sleep: when it ended, and how long it was.
    woke: Option<(Instant, Duration)>,
    /// By group: the order under way, and whether it will be obeyed.
    pub(crate) flying: Vec<Option<(Action, bool)>>,
    /// By group: taken on the word of silence.
    blind: Vec<bool>,
    /// By group: the highest epoch held in this start.
    epoch: Vec<u64>,
    announced: Vec<Option<Instant>>,
    /// What it said last of automatic switches, and by group what it reported and asked for.
    pub(crate) promised: Promised,
}

impl Facts {
    pub(crate) fn new(now: Instant, groups: usize, keepalive: Duration) -> Self {
        Self {
            keepalive,
            node: NodeState::Booting,
            booted: now,
            proof: None,
            handed: now,
            heard: Vec::new(),
            asleep: None,
            slept_since_proof: Duration::ZERO,
            excused: None,
            woke: None,
            flying: vec![None; groups],
            blind: vec![false; groups],
            epoch: vec![0; groups],
            announced: vec![None; groups],
            promised: Promised::new(groups),
        }
    }

    pub(crate) fn heard(&mut self, at: Instant, beat: &Beat) {
        if self.proof.is_none_or(|proof| at > proof) {
            self.proof = Some(at);
            // What came in during a sleep came in at its end, as far as the node can know.
            let slept = self.woke.map_or(Duration::ZERO, |(woke, span)| woke.since(at).min(span));
            self.slept_since_proof = slept.saturating_sub(self.keepalive * 2);
        }
        self.heard = beat.groups.clone();
        let back = Duration::from_millis(beat.notice.back_ms.into()).min(RESTART_MAX);
        // Once said, it can't be put off.
        let until = self.excused.unwrap_or(Instant::NEVER).min(at.plus(back));
        self.excused = (back > Duration::ZERO).then_some(until);
    }

    pub(crate) fn handed(&mut self, now: Instant) {
        self.handed = now;
    }

    /// Falls asleep, or wakes up. A node knows its own sleep but for the time until it wanted to be
    /// called, and for what it bears as ordinary lateness: up to a keepalive each.
    pub(crate) fn asleep(&mut self, since: Option<Instant>, now: Instant) {
        if let (None, Some(asleep)) = (since, self.asleep) {
            let span = now.since(asleep);
            self.slept_since_proof += span.saturating_sub(self.keepalive * 2);
            self.woke = Some((now, span));
        }
        self.asleep = since;
    }

    /// Silence as the node could know it: its own sleep is not counted.
    fn silence(&self, now: Instant) -> Duration {
        now.since(self.proof.unwrap_or(self.booted)).saturating_sub(self.slept_since_proof)
    }

    /// For how long nothing of the peer has reached the core, whatever the reason.
    fn deaf(&self, now: Instant) -> Duration {
        now.since(self.proof.unwrap_or(self.booted).min(self.handed))
    }
}

/// What is known of the pair.
pub(crate) struct Checks {
    /// Any change of role is a violation from now on (L4).
    pub(crate) mild: bool,
    pub(crate) calm_since: Option<Instant>,
    alone_since: Option<(usize, Instant)>,
    /// Agents have failed, or an operator has asked: what follows may take its time.
    pub(crate) troubled: bool,
    pub(crate) groups: Vec<GroupChecks>,
    owners: std::collections::BTreeMap<(usize, u64), usize>,
}

#[derive(Default)]
pub(crate) struct GroupChecks {
    /// Both serve without agreement, and whether both were fully active.
    dual: Option<(Instant, bool)>,
    overlap: Option<Instant>,
    /// Somebody must announce: who, since when, until when.
    expect: Option<(usize, Instant, Instant)>,
    /// It is served in full, and nothing allows a gap.
    gapless: bool,
    /// Since when both have been up, with something in force that lets only one of them.
    pub(crate) two: Option<Instant>,
    /// By node: since when the LAN has had an answer from it.
    lit: [Option<Instant>; 2],
    /// Frozen in calm: since when, and who has it.
    pub(crate) frozen: Option<(Instant, Option<usize>)>,
    /// Its owner can't reach the clients, and the other one could.
    pub(crate) stranded: Option<Instant>,
}

impl Checks {
    pub(crate) fn new(groups: usize) -> Self {
        Self {
            mild: false,
            calm_since: None,
            alone_since: None,
            troubled: false,
            groups: (0..groups).map(|_| GroupChecks::default()).collect(),
            owners: std::collections::BTreeMap::new(),
        }
    }

    /// An operator wants a node to leave: service may end.
    pub(crate) fn allow_gaps(&mut self) {
        self.groups.iter_mut().for_each(|group| group.gapless = false);
        self.calm_since = None;
    }
}

pub(crate) fn held(hold: Hold) -> bool {
    matches!(hold, Hold::Starting | Hold::Active | Hold::Stopping | Hold::Stuck)
}

fn served(hold: Hold) -> bool {
    matches!(hold, Hold::Starting | Hold::Active)
}

impl<D: Delivery> World<D> {
    fn longest_delay(&self) -> Duration {
        self.links.iter().flatten().map(|path| path.delay_max).max().unwrap_or_default()
    }

    /// From calm to one opinion: two handshakes of the session layer, each waiting for a beat.
    pub(crate) fn heal(&self) -> Duration {
        let keepalive = self.nodes[0].settings.keepalive.max(self.nodes[1].settings.keepalive);
        keepalive * 4 + self.longest_delay() * 6 + self.jitter * 6 + Duration::from_millis(1)
    }

    fn is_calm(&self) -> bool {
        let ready = self.nodes.iter().all(|node| {
            let obeyed = node.agents.iter().flatten().flatten().all(|it| *it == Agent::Obeys);
            let flying = node.facts.flying.iter().flatten().all(|(_, obeyed)| *obeyed);
            let whole = !node.broken.iter().flatten().any(|broken| *broken);
            let seen = node.monitors.iter().flatten().all(|it| *it == Agent::Obeys);
            let sound = obeyed && flying && whole && seen;
            node.process.is_some() && node.suspended.is_none() && sound
        });
        ready && self.links.iter().any(|paths| paths.iter().all(|path| path.is_clean()))
    }

    pub(crate) fn calm_for(&self) -> Duration {
        self.checks.calm_since.map_or(Duration::ZERO, |since| self.now.since(since))
    }

    /// S1: an epoch belongs to one node; it grows with each taking; and a node that was told of a
    /// higher one by somebody who starts, serves or stops says no more that it serves, unless it
    /// has offered the group itself.
    pub(crate) fn check_send(&mut self, node: usize, beat: &Beat) {
        for (group, claim) in beat.groups.iter().enumerate() {
            if !held(claim.hold) {
                self.nodes[node].facts.blind[group] = false;
                continue;
            }
            let owner = *self.checks.owners.entry((group, claim.epoch)).or_insert(node);
            if owner != node {
                self.fail(format!(
                    "S1: both nodes have held group {group} in epoch {}",
                    claim.epoch
                ));
            }
            if claim.epoch < self.nodes[node].facts.epoch[group] {
                self.fail(format!("S1: node {node} went back to epoch {}", claim.epoch));
            }
            let facts = &mut self.nodes[node].facts;
            facts.epoch[group] = claim.epoch;
            let told = facts.heard.iter().find(|it| it.group == claim.group);
            let rival = told.is_some_and(|told| {
                let serves = matches!(told.hold, Hold::Starting | Hold::Active | Hold::Stopping);
                serves && told.epoch > claim.epoch
            });
            if rival && served(claim.hold) && claim.wish != Wish::Offer {
                self.fail(format!("S1: node {node} serves group {group} against a higher epoch"));
            }
        }
        self.check_released(node, beat);
    }

    /// S4, S5: who says that it holds nothing has nothing up, from the first beat on.
    fn check_released(&mut self, node: usize, beat: &Beat) {
        for (group, claim) in beat.groups.iter().enumerate() {
            if !held(claim.hold) && self.nodes[node].up[group].contains(&true) {
                self.fail(format!(
                    "S4: node {node} says {:?} of group {group} and has it up",
                    claim.hold
                ));
            }
        }
    }

    pub(crate) fn check_run(&mut self, node: usize, action: Action) {
        let (group, place) = (usize::from(action.group.0), action.resource);
        let machine = &self.nodes[node];
        let up = machine.up[group].clone();
        let flying = machine.facts.flying[group].is_some_and(|(flying, _)| {
            let agents = machine.agents[group][flying.resource];
            !agents.contains(&Agent::Mute)
        });
        let ordered = match action.operation {
            Operation::Start => up[..place].iter().all(|up| *up),
            Operation::Stop => up[place + 1..].iter().all(|up| !*up),
        };
        // S5: left to right, right to left, one at a time.
        if !ordered {
            self.fail(format!("S5: out of order: {action:?} with {up:?} up"));
        }
        if flying && !self.checks.troubled {
            self.fail(format!("S5: two at a time: {action:?}"));
        }
        if action.operation == Operation::Start {
            self.check_start(node, group, action.manner);
            self.check_validated(node, "starts");
        }
    }

    /// S3, S5: a start while the other node holds the group, or has a part of it up, is either the
    /// taker's half of an overlap that the other has offered; or else one of the two has heard
    /// nothing of the other for a deadtime.
    fn check_start(&mut self, node: usize, group: usize, manner: Manner) {
        let other = &self.nodes[1 - node];
        let facts = &self.nodes[node].facts;
        let deadtime = self.nodes[node].settings.deadtime;
        let slack = self.jitter + self.nodes[node].settings.keepalive;
        let silent = facts.deaf(self.now) + slack >= deadtime
            || other.facts.deaf(self.now) + slack >= deadtime
            || facts.blind[group];
        let name = &self.nodes[node].settings.groups[group].name;
        let told = facts.heard.iter().find(|claim| claim.group == *name);
        let offered = told.is_some_and(|it| it.hold == Hold::Active && it.wish == Wish::Offer);
        let begun = served(self.nodes[node].hold(group));
        let holds = held(other.hold(group)) || other.up[group].contains(&true);
        let free = other.process.is_none() || !holds || other.facts.blind[group];
        self.nodes[node].facts.blind[group] = silent;
        if manner == Manner::Alone && !begun {
            self.check_lan(node, group);
            self.check_excused(node, group);
        }
        // What is served here may be mended, whatever the other one can't let go of.
        let mending = self.nodes[node].facts.promised.mending(group);
        match manner {
            _ if free || silent || mending => {}
            Manner::Overlap { .. } if offered || begun => {}
            Manner::Overlap { .. } => {
                self.fail(format!("S3: node {node} overlaps group {group} unasked"));
            }
            Manner::Alone => {
                self.fail(format!("S3: node {node} starts group {group}, which the other holds"));
            }
        }
    }

    /// 5.9: nobody takes from a node that has said when it will be back, before that.
    fn check_excused(&mut self, node: usize, group: usize) {
        let facts = &self.nodes[node].facts;
        // Each of the two clocks may be a little faster than ours.
        let slack = self.jitter + self.longest_delay() + Duration::from_millis(30);
        let early = facts.excused.is_some_and(|until| self.now.plus(slack) < until);
        if early && self.nodes[1 - node].paused.is_some() && held(self.nodes[1 - node].hold(group))
        {
            self.fail(format!("5.9: node {node} takes group {group} from one that restarts"));
        }
    }

    /// 5.9: the next process claims what the one before held, under the same epoch, and has it up.
    pub(crate) fn check_resumed(&mut self, node: usize, before: &[GroupClaim]) {
        for (group, claim) in before.iter().enumerate().filter(|(_, claim)| held(claim.hold)) {
            let now = self.nodes[node].claim(group).map(|now| (now.hold, now.epoch));
            let up = self.nodes[node].up[group].iter().all(|up| *up);
            if now != Some((claim.hold, claim.epoch)) || !up {
                self.fail(format!("5.9: node {node} had group {group} as {claim:?}, now {now:?}"));
            }
        }
    }

    /// S7: after a sleep of a deadtime nothing is started or announced before the peer was heard
    /// again, or a deadtime has passed.
    fn check_validated(&mut self, node: usize, does: &str) {
        let machine = &self.nodes[node];
        let Some((woke, span)) = machine.facts.woke else { return };
        let heard = machine.facts.proof.is_some_and(|proof| proof >= woke);
        let deadtime = machine.settings.deadtime;
        let stopping = machine.facts.node == NodeState::Leaving;
        // Its clock may be a little faster than ours.
        let until = woke.plus(deadtime - deadtime / 500);
        if span >= deadtime && !heard && self.now < until && !stopping {
            self.fail(format!("S7: node {node} {does} right after a sleep of {span:?}"));
        }
    }

    pub(crate) fn check_announce(&mut self, node: usize, group: GroupId) {
        let group = usize::from(group.0);
        self.check_validated(node, "announces");
        self.nodes[node].facts.announced[group] = Some(self.now);
        if self.nodes[node].up[group].contains(&false) {
            self.fail(format!("S4: node {node} announces group {group} without having it up"));
        }
    }

    pub(crate) fn check_report(&mut self, node: usize, event: &Event) {
        self.check_recorded(node, event);
        match event {
            // S6, S7, S9: nothing but silence kills, and sleep of our own is not silence.
            Event::PeerDead { .. } => {
                let machine = &self.nodes[node];
                let silence = machine.facts.silence(self.now);
                let slack = machine.settings.keepalive + self.jitter;
                if silence + slack < machine.settings.deadtime {
                    self.fail(format!("S7: node {node} calls the peer dead after {silence:?}"));
                }
            }
            // Nobody gives a group to a peer that has said that it can't have it.
            Event::Role {
                group,
                state: GroupState::Stopping,
                cause: Cause::ResourceFailed,
                ..
            } => {
                let mut heard = self.nodes[node].facts.heard.iter();
                let theirs = heard.find(|claim| claim.group == *group);
                let able =
                    theirs.is_some_and(|it| it.hold == Hold::Nothing && it.wish != Wish::Decline);
                if !able {
                    self.fail(format!("node {node} gives {group} up, and nobody can have it"));
                }
            }
            Event::Role { state, cause, .. } if self.checks.mild => {
                self.fail(format!("L4: a role changed: {state:?} {cause:?}"));
            }
            _ => {}
        }
    }

    /// L2: in calm a request is done without waiting for anything but the agents.
    pub(crate) fn check_answer(&mut self, since: Instant, answer: &Answer) {
        let Answer::Done { .. } = answer else { return };
        // What can't be moved to where no client reaches it waits until it can.
        if self.nodes.iter().any(|node| node.lan_cut || node.lan_back.plus(LAN_SETTLES) > since) {
            return;
        }
        if self.calm_for() < self.now.since(since) + self.heal() || self.checks.troubled {
            return;
        }
        let actions: u32 = self.nodes[0].up.iter().map(|group| 4 * group.len() as u32).sum();
        let slowest = self.nodes[0].agent_max.max(self.nodes[1].agent_max);
        let limit = slowest * actions + self.heal();
        if self.now.since(since) > limit {
            self.fail(format!("L2: a request took {:?}", self.now.since(since)));
        }
    }

    /// S5: nobody leaves with a word of peace and something up.
    pub(crate) fn check_left(&mut self, node: usize) {
        let machine = &self.nodes[node];
        let up = machine.up.iter().flatten().any(|up| *up);
        if up && machine.facts.node == NodeState::Gone {
            self.fail(format!("S5: node {node} says Gone and has something up"));
        }
    }

    pub(crate) fn check_step(&mut self) {
        let calm = self.is_calm();
        self.checks.calm_since = calm.then(|| self.checks.calm_since.unwrap_or(self.now));
        for group in 0..self.checks.groups.len() {
            self.look_at_lan(group);
            self.check_dual(group);
            self.check_overlap(group);
            self.check_expected(group);
            self.check_gap(group);
            self.check_one(group);
            self.check_frozen(group);
            self.check_stranded(group);
        }
        self.check_alone();
    }

    fn look_at_lan(&mut self, group: usize) {
        for node in 0..2 {
            let lit = self.answers(node, group);
            let since = &mut self.checks.groups[group].lit[node];
            *since = lit.then(|| since.unwrap_or(self.now));
        }
    }

    /// S2: with the lease in force nobody starts what the LAN has had an answer for all the time.
    fn check_lan(&mut self, node: usize, group: usize) {
        let other = &self.nodes[1 - node];
        let told = other.guarded && !other.old;
        let probed = self.nodes[node].settings.groups[group].probe && told;
        let lit = self.checks.groups[group].lit[1 - node];
        let long = lit.is_some_and(|since| self.now.since(since) > PROBE_UNDER_WAY);
        let lit = long && self.answers(1 - node, group);
        let whole = !self.nodes[node].lan_cut && !self.lan_split;
        let asked = self.nodes.iter().all(|it| it.lan_back.plus(PROBE_UNDER_WAY) < self.now);
        if probed && lit && whole && asked {
            self.fail(format!("S2: node {node} starts group {group}, which the other one serves"));
        }
    }

    /// S1, S3: two that serve without agreement are down to one within [`World::heal`] of the first
    /// moment at which each can hear the other; and the one that stays announces again.
    fn check_dual(&mut self, group: usize) {
        let holds = [self.nodes[0].hold(group), self.nodes[1].hold(group)];
        let offered = self
            .nodes
            .iter()
            .any(|it| it.claim(group).is_some_and(|claim| claim.wish == Wish::Offer));
        let both = holds.iter().all(|hold| served(*hold)) && !offered;
        let full = holds == [Hold::Active; 2];
        let heal = self.heal();
        let calm_since = self.checks.calm_since;
        let state = &mut self.checks.groups[group];
        match (both, state.dual) {
            (true, None) => state.dual = Some((self.now, full)),
            (true, Some((since, before))) => {
                state.dual = Some((since, before || full));
                let late = calm_since.is_some_and(|calm| self.now.since(calm.max(since)) > heal);
                if late {
                    self.fail(format!("S3: both serve group {group} since {since}, in calm"));
                }
            }
            (false, Some((since, true))) if calm_since.is_some() && !offered => {
                state.dual = None;
                if let Some(winner) = holds.iter().position(|hold| *hold == Hold::Active) {
                    state.expect = Some((winner, since, self.now.plus(heal)));
                }
            }
            (false, _) => state.dual = None,
        }
    }

    /// S3: whoever won a conflict announces.
    fn check_expected(&mut self, group: usize) {
        let Some((winner, since, until)) = self.checks.groups[group].expect else { return };
        let serves = self.nodes[winner].hold(group) == Hold::Active;
        let told = self.nodes[winner].facts.announced[group].is_some_and(|at| at >= since);
        let calm = self.checks.calm_since.is_some();
        if told || !serves || !calm {
            self.checks.groups[group].expect = None;
        } else if self.now > until {
            self.fail(format!("S3: node {winner} won group {group} and did not announce"));
        }
    }

    /// S2, 5.3: an agreed overlap is bounded by the limits of the actions in it.
    fn check_overlap(&mut self, group: usize) {
        let both =
            self.nodes.iter().all(|node| node.process.is_some() && node.up[group].contains(&true));
        // What could not be stopped is tried again at intervals of its own.
        let stuck = self.nodes.iter().any(|node| node.hold(group) == Hold::Stuck);
        if !both || stuck || self.checks.calm_since.is_none() {
            self.checks.groups[group].overlap = None;
            return;
        }
        let since = *self.checks.groups[group].overlap.get_or_insert(self.now);
        let settings = &self.nodes[0].settings;
        let grace = Duration::from_secs(5);
        let actions = settings.groups[group].resources.iter();
        let limits: Duration =
            actions.map(|it| it.start_timeout + it.stop_timeout + grace * 2).sum();
        if self.now.since(since) > limits + settings.deadtime + self.heal() {
            self.fail(format!("S2: group {group} is up on both nodes since {since}"));
        }
    }

    /// Promise 1: in calm, a group that may overlap is never without service once it had it.
    fn check_gap(&mut self, group: usize) {
        let overlaps = self.nodes.iter().all(|node| {
            node.settings.groups[group].resources.iter().all(|resource| resource.overlap)
        });
        let settled = self.calm_for() > self.heal() * 2 && self.checks.groups[group].dual.is_none();
        let full = |node: &Machine<D>| {
            node.hold(group) == Hold::Active && node.up[group].iter().all(|up| *up)
        };
        let someone = self.nodes.iter().any(full);
        let state = &mut self.checks.groups[group];
        if !settled || !overlaps {
            state.gapless = false;
        } else if someone {
            state.gapless = true;
        } else if state.gapless {
            self.fail(format!("5.3: nobody serves group {group}, in calm"));
        }
    }

    /// L1: one alone serves everything within deadtime and the time of the starts; after a start of
    /// its own, within twice initdead (L3).
    fn check_alone(&mut self) {
        let Some(node) = self.alone() else {
            self.checks.alone_since = None;
            return;
        };
        let since = match self.checks.alone_since {
            Some((who, since)) if who == node => since,
            _ => self.now,
        };
        self.checks.alone_since = Some((node, since));
        let machine = &self.nodes[node];
        let settings = &machine.settings;
        let actions: u32 = machine.up.iter().map(|group| 3 * group.len() as u32).sum();
        let slack = machine.agent_max * actions + self.heal();
        let trouble = if self.checks.troubled { Duration::from_secs(200) } else { Duration::ZERO };
        let boot = machine.facts.booted.plus(settings.initdead * 2);
        let slept =
            machine.facts.woke.map_or(Instant::BOOT, |(at, _)| at.plus(settings.initdead * 2));
        // One that restarts is waited for; a sleep of our own is not part of its time.
        let woke = machine.facts.woke.map_or(Instant::BOOT, |(at, _)| at);
        let excused = machine.facts.excused.map(|until| until.max(woke.plus(RESTART_LIMIT)));
        let excused = excused.unwrap_or(Instant::BOOT);
        let due = since.plus(settings.deadtime).max(boot).max(slept).max(excused);
        let due = due.plus(slack).plus(trouble).plus(self.outside_may_take(node));
        // What served, and is mended, will serve again.
        let served =
            |group| machine.hold(group) == Hold::Active || machine.facts.promised.mending(group);
        let all = (0..machine.up.len()).all(served);
        if self.now > due && !all {
            self.fail(format!("L1: node {node} is alone since {since} and does not serve"));
        }
    }

    /// The only live node, awake, with agents that obey, and not on its way out, while no kernel
    /// serves on for a process that restarts.
    fn alone(&self) -> Option<usize> {
        let mut live = (0..2).filter(|node| self.nodes[*node].process.is_some());
        let (Some(node), None) = (live.next(), live.next()) else { return None };
        let machine = &self.nodes[node];
        let obeyed = machine.agents.iter().flatten().flatten().all(|it| *it == Agent::Obeys);
        let stays = matches!(machine.facts.node, NodeState::Booting | NodeState::Running);
        let served = self.nodes[1 - node].paused.as_ref();
        if served.is_some_and(|paused| self.now < paused.served_until) {
            return None;
        }
        // Who can't reach the clients takes nothing, nor does who can only just.
        let settled = self.now >= machine.lan_back.plus(LAN_SETTLES);
        let reaches = !machine.lan_cut && (settled || machine.lan_back == Instant::BOOT);
        // A kernel without a lease serves on for a process that is dead; nobody takes that twice.
        let free = (0..machine.up.len()).all(|group| !self.answers(1 - node, group));
        let may = free && !machine.facts.promised.frozen();
        let may = may && self.outside_agrees(node);
        (machine.suspended.is_none() && obeyed && stays && reaches && may).then_some(node)
    }
}
