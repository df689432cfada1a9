//! A restart with everything held (design 5.9): the process ends, the kernel serves on, and the
//! next process goes on with what this one held.
//!
//! ```text
//!   asked - the peer is told "back within n s" - it has heard - what is held is written down
//!         - the process ends ... the next one reads it, looks whether it is so, and holds it
//! ```
//!
//! Nothing is taken, given or announced meanwhile, and whatever comes in between ends the restart
//! and not the service. Who was told waits until the named moment, and no longer; the kernel's
//! lease ends before that, and [`Carried`] can't be used after it. So a process that does not come
//! back costs its groups the rest of that time, and never gives them two holders. Neighbours:
//! `peer` waits for a peer that has said so, the daemon writes and reads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::calm::CarriedCalm;
use crate::cluster::event::{Answer, Output};
use crate::cluster::group::{BACKOFF_MIN, Group, Role, Stance};
use crate::cluster::outbox::Licence;
use crate::cluster::phase::Phase;
use crate::cluster::{Core, Past, Settings};
use crate::names::{ActionId, GroupName, RequestId};
use crate::time::{Instant, millis};

/// The longest that anybody waits for a peer that has said that it restarts, whatever it said.
pub const RESTART_MAX: Duration = Duration::from_secs(30);
/// From the request to the moment at which the next process must be back: what is told to the peer.
/// An upgrade of the program takes less than a second.
pub const RESTART_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel goes on to serve without a process; it must end before the peer takes over.
pub const RESTART_SERVED: Duration = Duration::from_secs(6);
/// So long before that moment the next process gives up: it must be heard before the peer acts.
const BACK_BEFORE: Duration = Duration::from_secs(2);

/// How long after the request the next process may begin: later ones find what was left too old.
pub const RESTART_BACK: Duration = RESTART_LIMIT.saturating_sub(BACK_BEFORE);

/// A restart under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restart {
    id: RequestId,
    /// Of the phase before, to return to.
    running_since: Instant,
    since: Instant,
    /// When the next process must be back.
    until: Instant,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// The peer, where there is one, must have heard this beat.
    Telling { sequence: Option<u64> },
    /// The driver writes down what is held.
    Writing { order: ActionId },
}

/// What one process leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// On the boot clock: afterwards the peer may have taken everything.
    pub until: Instant,
    /// What every later life remembers.
    pub past: Past,
    /// In the order of the configuration.
    pub groups: Vec<CarriedGroup>,
}

/// One group in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedGroup {
    /// Which.
    pub name: GroupName,
    /// Whether all of it is up.
    pub held: bool,
    /// Under which it is held, or the highest one known.
    pub epoch: u64,
    /// How a node without it stands to it.
    pub stance: CarriedStance,
    /// How restless it was.
    pub calm: CarriedCalm,
}

/// How a node that does not hold a group stands to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarriedStance {
    /// Takes it when it should.
    Willing,
    /// Handed it over on request.
    Yielded,
    /// Handed it over, and the peer has served it since.
    Relieved,
    /// Could not start it.
    Failed,
}

impl Carried {
    /// Whether the next process may still go by it at `now` on the boot clock.
    pub fn is_timely(&self, now: Instant) -> bool {
        now.plus(BACK_BEFORE) <= self.until && self.until.since(now) <= RESTART_MAX
    }

    /// What is left of the time, at `now` on the boot clock.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.minus(BACK_BEFORE).since(now)
    }
}

impl Core {
    /// A core that goes on with what the process before it held. Groups of which the settings know
    /// nothing are left out.
    pub fn resumed(settings: Settings, now: Instant, carried: &Carried) -> Self {
        let settings = Settings { past: carried.past.clone(), ..settings };
        let mut core = Self::new(settings, now);
        for group in &mut core.groups {
            let mut left = carried.groups.iter();
            if let Some(left) = left.find(|left| left.name == group.settings.name) {
                group.resume(now, left);
            }
        }
        core
    }

    /// An operator wants a restart.
    pub(super) fn begin_restart(&mut self, now: Instant, id: RequestId) {
        let running = match self.phase {
            Phase::Running { since, doubt: None } => since,
            _ => return self.refuse(id, "this node is not in service".to_owned()),
        };
        if let Some(why) = self.restart_obstacle() {
            return self.refuse(id, why);
        }
        let sequence = self.peer.is_alive().then(|| self.outbox.next_sequence());
        self.phase = Phase::Restarting(Restart {
            id,
            running_since: running,
            since: now,
            until: now.plus(RESTART_LIMIT),
            stage: Stage::Telling { sequence },
        });
    }

    fn refuse(&mut self, id: RequestId, why: String) {
        self.outbox.push(Output::Answer { id, answer: Answer::Refused { why } });
    }

    fn restart_obstacle(&self) -> Option<String> {
        if !self.requests.is_empty() {
            return Some("a standby or takeover is in progress".to_owned());
        }
        if let Some(busy) = self.groups.iter().find(|group| !group.can_be_carried()) {
            let name = &busy.settings.name;
            return Some(format!("{name}: it is not at rest here, see `pairbeat status`"));
        }
        let mut held = self.groups.iter().filter(|group| group.held().is_some());
        let unguarded = held.find(|group| group.settings.probe && !self.guarded)?;
        Some(format!(
            "{}: nothing would take its addresses out of service if the next process did not come \
             back (see `guard` in `pairbeat status`); hand over with `pairbeat standby` first",
            unguarded.settings.name
        ))
    }

    /// How long the peer is to wait from now on, in milliseconds; 0 when there is no restart.
    pub(super) fn back_ms(&self) -> u32 {
        match &self.phase {
            Phase::Restarting(restart) => {
                u32::try_from(millis(restart.until.since(self.ticked))).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }

    /// The next step, or the end of the attempt.
    pub(super) fn step_restart(&mut self, now: Instant) {
        let Phase::Restarting(restart) = &self.phase else { return };
        if self.groups.iter().any(|group| !group.can_be_carried()) {
            return self.cancel_restart("a group has changed meanwhile");
        }
        if now >= restart.latest() {
            let why = match restart.stage {
                Stage::Telling { .. } => "the peer does not answer that it has heard of it",
                Stage::Writing { .. } => "what is held could not be written down in time",
            };
            return self.cancel_restart(why);
        }
        let Stage::Telling { sequence } = restart.stage else { return };
        if sequence.is_some() && !self.peer.is_alive() {
            return self.cancel_restart("the peer has fallen silent meanwhile");
        }
        if sequence.is_none_or(|sequence| self.peer.echo() >= sequence) {
            let until = self.awake.outside(restart.until);
            let order = self.outbox.new_action();
            let carried = self.carried(now, until);
            self.outbox.push(Output::Carry { order, carried });
            if let Phase::Restarting(restart) = &mut self.phase {
                restart.stage = Stage::Writing { order };
            }
        }
    }

    fn carried(&self, now: Instant, until: Instant) -> Carried {
        let groups = self.groups.iter().map(|group| group.carried(now)).collect();
        Carried { until, past: self.past(), groups }
    }

    /// The driver has written it down, or could not. From here on nothing holds the process.
    pub(super) fn written(&mut self, now: Instant, order: ActionId, failed: Option<&str>) {
        let Phase::Restarting(restart) = &self.phase else { return };
        if restart.stage != (Stage::Writing { order }) {
            return;
        }
        if let Some(why) = failed {
            return self.cancel_restart(&format!("what is held could not be written down: {why}"));
        }
        if now >= restart.latest() || self.groups.iter().any(|group| !group.can_be_carried()) {
            return;
        }
        let took_ms = millis(now.since(restart.since));
        let done = Answer::Done { moved: Vec::new(), took_ms, overlap_ms: None };
        self.outbox.push(Output::Answer { id: restart.id, answer: done });
        self.ticked = now;
        let last = self.compose();
        self.outbox.send(last);
        self.outbox.push(Output::Paused);
        self.phase = Phase::Ended;
    }

    /// Goes on as before.
    pub(super) fn cancel_restart(&mut self, why: &str) {
        let Phase::Restarting(restart) = &self.phase else { return };
        let (id, since) = (restart.id, restart.running_since);
        let answer = Answer::Failed { why: format!("not restarted: {why}") };
        self.outbox.push(Output::Answer { id, answer });
        self.phase = Phase::Running { since, doubt: None };
        self.stirred = true;
    }

    /// Whether an operator must wait with whatever else he wants.
    pub(super) fn refuses_for_restart(&mut self, id: RequestId) -> bool {
        let restarting = matches!(self.phase, Phase::Restarting(_));
        if restarting {
            self.refuse(id, "this node is being restarted".to_owned());
        }
        restarting
    }
}

impl Restart {
    /// When the attempt ends: the kernel's lease would outlast the peer's patience.
    pub(super) fn latest(&self) -> Instant {
        self.until.minus(RESTART_SERVED)
    }
}

impl Group {
    /// Nothing of it is under way, and nothing of it is in doubt or shared.
    fn can_be_carried(&self) -> bool {
        match self.role {
            Role::Idle { asking, .. } => asking.is_none(),
            Role::Active { offer: None, from: None, .. } => !self.is_broken(),
            _ => false,
        }
    }

    fn carried(&self, now: Instant) -> CarriedGroup {
        let stance = match self.role {
            Role::Idle { stance: Stance::Yielded, .. } => CarriedStance::Yielded,
            Role::Idle { stance: Stance::Relieved, .. } => CarriedStance::Relieved,
            Role::Idle { stance: Stance::Failed(_), .. } => CarriedStance::Failed,
            _ => CarriedStance::Willing,
        };
        CarriedGroup {
            name: self.settings.name.clone(),
            held: self.held().is_some(),
            epoch: self.held().unwrap_or(self.seen),
            stance,
            calm: self.calm.carried(now),
        }
    }

    fn resume(&mut self, now: Instant, left: &CarriedGroup) {
        self.seen = left.epoch;
        self.calm.resume(now, &left.calm);
        self.role = if left.held {
            Role::Active { epoch: left.epoch, from: None, offer: None }
        } else {
            let stance = match left.stance {
                CarriedStance::Willing => Stance::Willing,
                CarriedStance::Yielded => Stance::Yielded,
                CarriedStance::Relieved => Stance::Relieved,
                CarriedStance::Failed => {
                    self.declined_until = Some(self.declines_until(now));
                    Stance::Failed(now.plus(BACKOFF_MIN))
                }
            };
            Role::Idle { stance, asking: None }
        };
        match self.role {
            Role::Active { .. } => self.watch(now),
            _ if left.stance == CarriedStance::Failed => {
                self.declined_until = Some(self.declines_until(now));
            }
            _ => {}
        }
        if left.held {
            self.watch(now);
        }
        self.was_here |= left.held;
        // Whoever learnt the address anew meanwhile did so from the kernel; those who did not are
        // told once more.
        self.announce = left.held;
    }
}

/// While a restart is under way nothing is taken; what must be dropped is dropped.
pub(super) const LICENCE: Licence = Licence::Keep;
