//! Reload: all of a new configuration, or nothing of it.
//!
//! ```text
//!   read, on a thread of its own -> what only a restart can change? -> the director takes its part
//!     -> active groups: what is gone is stopped, what is new is started  (undone when one fails)
//!     -> the cluster core takes its settings, or refuses                 (then undone as well)
//!     -> in force: lease, addresses, status go by the new one
//! ```
//!
//! A group that did not change is not touched. While resources are being changed nobody else works
//! on any group: an order of the cluster waits its turn, and makes the core refuse the settings.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::OwnedMutexGuard;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::begin::DEADTIME_PLAIN_MIN;
use super::{Core, send};
use crate::cluster::event::{Answer, GroupState, Manner, Operation, Outcome};
use crate::config::{self, Config, Group, Resource, ResourceKind};
use crate::control::protocol::Reloaded;
use crate::daemon::beat::Order;
use crate::daemon::chronicle::Chronicle;
use crate::daemon::director::DirectorHandle;
use crate::daemon::hands::Hands;
use crate::daemon::messages::FromCore;
use crate::daemon::{guard, supervisor, work};
use crate::names::{GroupName, RequestId};
use crate::sys::files::Machine;
use crate::sys::log;

/// A configuration that was read again, and who waits to hear of it.
pub(super) struct Loaded {
    config: Option<Box<Config>>,
    diagnostics: Vec<String>,
    reply: Option<oneshot::Sender<Vec<u8>>>,
    _under_way: Rc<()>,
}

/// A reload under way.
pub(super) struct Reloading {
    config: Box<Config>,
    diagnostics: Vec<String>,
    reply: Option<oneshot::Sender<Vec<u8>>>,
    /// What was done to active groups.
    done: Vec<Step>,
    turns: Turns,
    /// The question to the cluster core, once it is asked.
    asked: Option<RequestId>,
}

/// Nobody else works on the groups as long as these are held.
pub(super) type Turns = Vec<OwnedMutexGuard<()>>;

/// How the resources of active groups were changed; a failure has been undone.
pub(super) type Adjusted = (Result<Vec<Step>, String>, Turns);

/// One resource of an active group that is started or stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    resource: Resource,
    operation: Operation,
}

impl Core {
    /// Reads the configuration again, on a thread of its own: names are looked up, and that may
    /// take long.
    pub(super) fn load(&self, reply: Option<oneshot::Sender<Vec<u8>>>) {
        let (paths, loaded) = (self.paths.clone(), self.loaded.0.clone());
        let _under_way = Rc::clone(&self.files.under_way);
        tokio::task::spawn_local(async move {
            let read = move || config::load(&paths.config, &paths.node, &Machine::default());
            let Ok((config, found)) = tokio::task::spawn_blocking(read).await else { return };
            let diagnostics = found.iter().map(ToString::to_string).collect();
            let config = config.map(Box::new);
            let _ending = loaded.send(Loaded { config, diagnostics, reply, _under_way }).await;
        });
    }

    /// Begins to apply it.
    pub(super) async fn reload(&mut self, loaded: Loaded) {
        let Loaded { config, mut diagnostics, reply, _under_way } = loaded;
        let config = match config.map(|config| self.acceptable(config)) {
            Some(Ok(config)) => config,
            Some(Err(reasons)) => {
                diagnostics.extend(reasons);
                return finish(&self.chronicle, reply, &Reloaded { applied: false, diagnostics });
            }
            None => {
                return finish(&self.chronicle, reply, &Reloaded { applied: false, diagnostics });
            }
        };
        let steps = steps(&self.config, &config, &self.active());
        let addresses: BTreeSet<IpAddr> =
            self.config.addresses().chain(config.addresses()).collect();
        let addresses = FromCore::Addresses(addresses.into_iter().collect());
        let _supervisor_gone = self.supervisor.send(&addresses).await;
        self.reloading = Some(Reloading {
            config,
            diagnostics,
            reply,
            done: Vec::new(),
            turns: Vec::new(),
            asked: None,
        });
        let same_places =
            self.reloading.as_ref().is_some_and(|it| places(&it.config) == places(&self.config));
        if steps.is_empty() && same_places {
            return self.ask_cluster();
        }
        self.adjust(steps);
    }

    /// A configuration that may be applied, with the director told of it; or the reasons why not.
    fn acceptable(&self, config: Box<Config>) -> Result<Box<Config>, Vec<String>> {
        if self.reloading.is_some() {
            return Err(vec!["another reload is in progress".to_owned()]);
        }
        let fixed = work::needs_restart(&self.config, &config);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let shorter = config.timing.deadtime < self.config.timing.deadtime;
        if shorter && config.timing.deadtime < DEADTIME_PLAIN_MIN && self.beat.realtime().is_err() {
            return Err(vec!["a deadtime under 1 s needs real-time priority".to_owned()]);
        }
        self.configure_director(&config).map_err(|why| vec![why.to_owned()])?;
        Ok(config)
    }

    fn configure_director(&self, config: &Config) -> Result<(), &'static str> {
        self.director.configure(config.directors.values().cloned().collect())
    }

    /// The groups that are all up here.
    fn active(&self) -> BTreeSet<GroupName> {
        let groups = self.view.iter().flat_map(|view| &view.engine.cluster.groups);
        let active = groups.filter(|group| group.state == GroupState::Active);
        active.map(|group| group.name.clone()).collect()
    }

    /// Changes the resources of active groups, in a task of its own.
    fn adjust(&self, steps: Vec<Step>) {
        let (keeper, config) = (self.keeper.clone(), Rc::clone(&self.config));
        work::ids(&config).for_each(|group| self.keeper.looks_away(group));
        let (hands, director) = (Rc::clone(&self.hands), self.director.clone());
        let adjusted = self.adjusted.0.clone();
        tokio::task::spawn_local(async move {
            let mut turns = Vec::new();
            for group in work::ids(&config) {
                turns.push(keeper.turn(group).await);
            }
            let result = carry_out(steps, &hands, &director).await;
            let _ending = adjusted.send((result, turns)).await;
        });
    }

    /// The resources of active groups are as the new configuration wants them, or as before.
    pub(super) fn resources_adjusted(&mut self, (result, turns): Adjusted) {
        let Some(reloading) = &mut self.reloading else { return };
        match result {
            Ok(done) => {
                (reloading.done, reloading.turns) = (done, turns);
                self.ask_cluster();
            }
            Err(why) => self.abandon(why),
        }
    }

    fn ask_cluster(&mut self) {
        let id = self.new_request();
        let Some(reloading) = &mut self.reloading else { return };
        reloading.asked = Some(id);
        let settings = Box::new(work::settings(&reloading.config));
        let changed = changed(&self.config, &reloading.config);
        let keys = reloading.config.keys.clone();
        self.order(Order::Settings { id, settings, changed, keys });
    }

    /// Whether that answer is the cluster core's to new settings.
    pub(super) fn is_reload(&self, id: RequestId) -> bool {
        self.reloading.as_ref().is_some_and(|it| it.asked == Some(id))
    }

    /// The cluster core goes by the new settings now, or does not.
    pub(super) async fn settled(&mut self, answer: Answer) {
        match answer {
            Answer::Done { .. } => self.in_force().await,
            Answer::Refused { why } | Answer::Failed { why } => self.abandon(why),
        }
    }

    /// Everything else follows the cluster core.
    async fn in_force(&mut self) {
        let Some(reloading) = self.reloading.take() else { return };
        let Reloading { config, mut diagnostics, reply, turns, .. } = reloading;
        diagnostics.extend(story(&self.config, &config));
        let guarded = |config: &Config| (config.timing.deadtime, config.groups.clone());
        let guard_changes = guarded(&self.config) != guarded(&config);
        let active = self.active();
        self.config = Rc::new(*config);
        if !turns.is_empty() {
            let serving = work::ids(&self.config).zip(&self.config.groups);
            let serving = serving.filter(|(_, group)| active.contains(&group.name));
            self.keeper.starts_over(serving.map(|(id, _)| id).collect());
        }
        drop(turns);
        self.director.settings().configure(self.config.kernel_settings());
        self.sync.configure(&self.config, &active);
        self.files.follow(&self.config);
        if guard_changes {
            // The new ticks first: the new lease may be shorter than the pause between old ones.
            self.guard.rest();
            let (watch, pulse) = guard::replace(&self.config, &self.hands);
            self.order(Order::Pulse(pulse));
            self.guard = watch.begin(self.beat.orders());
        }
        let addresses = FromCore::Addresses(self.config.addresses().collect());
        let limit = FromCore::StopLimit(supervisor::stop_limit(&self.config));
        for word in [addresses, limit] {
            let _supervisor_gone = self.supervisor.send(&word).await;
        }
        log::configure(&self.config.service.log);
        self.watch_service();
        self.watch_pings();
        self.vias.clear();
        self.tell_vias().await;
        self.chronicle.links(&self.config);
        finish(&self.chronicle, reply, &Reloaded { applied: true, diagnostics });
    }

    /// Back to how it was.
    fn abandon(&mut self, why: String) {
        let Some(reloading) = self.reloading.take() else { return };
        let Reloading { mut diagnostics, reply, done, turns, .. } = reloading;
        if let Err(busy) = self.configure_director(&self.config) {
            error!("the director goes on with the new configuration: {busy}");
        }
        let (hands, director) = (Rc::clone(&self.hands), self.director.clone());
        let chronicle = self.chronicle.clone();
        diagnostics.push(why);
        tokio::task::spawn_local(async move {
            undo(done, &hands, &director).await;
            drop(turns);
            finish(&chronicle, reply, &Reloaded { applied: false, diagnostics });
        });
    }
}

/// What must be done to active groups: first what is gone is stopped, right to left, then what is
/// new is started, left to right. An address that moves from one group to another is thus held by
/// the latter in the end.
fn steps(old: &Config, new: &Config, active: &BTreeSet<GroupName>) -> Vec<Step> {
    let mut steps = Vec::new();
    let held = old.groups.iter().filter(|group| active.contains(&group.name));
    let held: Vec<(&Group, &[Resource])> =
        held.map(|group| (group, resources(new, &group.name))).collect();
    for (group, wanted) in &held {
        let gone = group.resources.iter().rev().filter(|it| !among(wanted, it));
        steps.extend(gone.map(|it| Step { resource: it.clone(), operation: Operation::Stop }));
    }
    for (group, wanted) in &held {
        let added = wanted.iter().filter(|it| !among(&group.resources, it));
        steps.extend(added.map(|it| Step { resource: it.clone(), operation: Operation::Start }));
    }
    steps
}

/// The groups' names in order: their numbers.
fn places(config: &Config) -> Vec<GroupName> {
    config.groups.iter().map(|group| group.name.clone()).collect()
}

/// Of a group by its name; none where there is no such group.
fn resources<'a>(config: &'a Config, name: &GroupName) -> &'a [Resource] {
    let group = config.groups.iter().find(|group| group.name == *name);
    group.map(|group| group.resources.as_slice()).unwrap_or_default()
}

/// Time limits make no other resource.
fn among(resources: &[Resource], resource: &Resource) -> bool {
    resources.iter().any(|other| other.kind == resource.kind)
}

/// Groups of both configurations whose resources are others, or stand in another order.
fn changed(old: &Config, new: &Config) -> Vec<GroupName> {
    let kinds = |resources: &[Resource]| -> Vec<ResourceKind> {
        resources.iter().map(|resource| resource.kind.clone()).collect()
    };
    let stay = old.groups.iter().filter(|group| {
        let wanted = resources(new, &group.name);
        kinds(&group.resources) != kinds(wanted)
    });
    stay.map(|group| group.name.clone()).collect()
}

/// What the operator should know.
fn story(old: &Config, new: &Config) -> Vec<String> {
    let names = |config: &Config| -> BTreeSet<GroupName> {
        config.groups.iter().map(|group| group.name.clone()).collect()
    };
    let (before, after) = (names(old), names(new));
    let gone = before.difference(&after).map(|name| {
        format!("note: {name}: not in the configuration any more, and down here; a peer that still has it takes it")
    });
    let added = after.difference(&before).map(|name| format!("note: {name}: new"));
    let keys = (old.keys != new.keys).then(|| {
        let ids: Vec<String> = new.keys.keys.iter().map(|key| key.id.to_string()).collect();
        format!("note: keys {} are accepted, the first one signs", ids.join(", "))
    });
    gone.chain(added).chain(keys).collect()
}

/// Does all of it, or undoes what it has done and says what failed.
async fn carry_out(
    steps: Vec<Step>,
    hands: &Hands,
    director: &DirectorHandle,
) -> Result<Vec<Step>, String> {
    let mut done = Vec::new();
    for step in steps {
        let outcome = perform(&step, hands, director).await;
        // What failed may be half done.
        done.push(step);
        if let Outcome::Failed(why) = outcome {
            undo(done, hands, director).await;
            return Err(why);
        }
    }
    Ok(done)
}

async fn undo(done: Vec<Step>, hands: &Hands, director: &DirectorHandle) {
    for step in done.into_iter().rev() {
        let operation = match step.operation {
            Operation::Start => Operation::Stop,
            Operation::Stop => Operation::Start,
        };
        let back = Step { operation, ..step };
        if let Outcome::Failed(why) = perform(&back, hands, director).await {
            error!("{} can't be put back as it was: {why}", back.resource.text);
        }
    }
}

async fn perform(step: &Step, hands: &Hands, director: &DirectorHandle) -> Outcome {
    let Step { resource, operation } = step;
    info!("reload: {operation:?} {}", resource.text);
    match (&resource.kind, operation) {
        (ResourceKind::Director(name), operation) => {
            director.obey(name, *operation, resource.start_timeout).await
        }
        // The sync follows when the configuration is in force.
        (ResourceKind::Sync(_), _) => Outcome::Done,
        _ => hands.perform(resource, *operation, Manner::Alone).await,
    }
}

fn finish(chronicle: &Chronicle, reply: Option<oneshot::Sender<Vec<u8>>>, reloaded: &Reloaded) {
    for diagnostic in &reloaded.diagnostics {
        warn!("{}", diagnostic.trim_end());
    }
    chronicle.reloaded(reloaded.applied, &reloaded.diagnostics);
    if let Some(reply) = reply {
        send(reply, reloaded);
    }
}
