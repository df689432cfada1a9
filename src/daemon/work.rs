//! What an order of the cluster means for the hands and the director.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use crate::cluster::event::{Action, Manner, Operation, Outcome};
use crate::cluster::{
    ArbiterSettings, GroupSettings, OutsideSettings, Past, PingSettings, ResourceSettings,
    Settings, Side,
};
use crate::config::{
    self, Address, ArbiterKind, AutoFailback, Config, Group, Resource, ResourceKind, Service, Sync,
};
use crate::daemon::director::DirectorHandle;
use crate::daemon::hands::Hands;
use crate::daemon::switch::{Switch, WARM_MAX, pass_on};
use crate::daemon::sync::SyncKeeper;
use crate::daemon::{Fatal, Paths};
use crate::exec::script::{self, Status, Surroundings};
use crate::names::{GroupId, GroupName};
use crate::outside::fence;

/// How much longer than its resource a planned switch may take: less than the cluster waits.
const SWITCH_GRACE: Duration = Duration::from_secs(3);

/// The addresses of one group, in order.
pub(crate) fn addresses(config: &Config, group: GroupId) -> impl Iterator<Item = &Address> {
    let group = config.groups.get(usize::from(group.0));
    group.into_iter().flat_map(|group| &group.resources).filter_map(|resource| {
        match &resource.kind {
            ResourceKind::Address(address) => Some(address),
            _ => None,
        }
    })
}

/// A group by its name.
pub(crate) fn group_id(config: &Config, name: &GroupName) -> Option<GroupId> {
    let place = config.groups.iter().position(|group| group.name == *name)?;
    u16::try_from(place).ok().map(GroupId)
}

/// The numbers of all groups.
pub(crate) fn ids(config: &Config) -> impl Iterator<Item = GroupId> {
    let count = u16::try_from(config.groups.len()).unwrap_or(u16::MAX);
    (0..count).map(GroupId)
}

/// Whether a group holds something that the supervisor could not release.
pub(crate) fn has_scripts(group: &Group) -> bool {
    group.resources.iter().any(|resource| matches!(resource.kind, ResourceKind::Script(_)))
}

/// What the cluster core needs to know of a configuration.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        node: config.node.clone(),
        peer: config.peer.clone(),
        keepalive: config.timing.keepalive,
        warntime: config.timing.warntime,
        deadtime: config.timing.deadtime,
        initdead: config.timing.initdead,
        auto_failback: config.auto_failback == AutoFailback::On,
        links: u8::try_from(config.links.len()).unwrap_or(u8::MAX),
        groups: config.groups.iter().map(|group| group_settings(config, group)).collect(),
        config: config::digests(config),
        damping: config.damping,
        outside: outside_settings(config),
        past: Past::default(),
    }
}

fn outside_settings(config: &Config) -> OutsideSettings {
    let arbiters = config.arbiters.iter().map(|arbiter| ArbiterSettings {
        name: arbiter.name.clone(),
        required: arbiter.required,
        timeout: arbiter.timeout,
        lease: match &arbiter.kind {
            ArbiterKind::Etcd(etcd) => Some(etcd.lease),
            ArbiterKind::Ping(..) | ArbiterKind::Tcp(..) => None,
        },
    });
    let fenced = config.fences().next().is_some();
    OutsideSettings {
        arbiters: arbiters.collect(),
        fence: fenced.then(|| fence::longest(config.fences())),
        ping: PingSettings {
            nodes: u8::try_from(config.ping_nodes.len()).unwrap_or(u8::MAX),
            ipfail: config.ipfail,
        },
    }
}

fn group_settings(config: &Config, group: &Group) -> GroupSettings {
    let side = if group.preferred == config.node { Side::Me } else { Side::Peer };
    GroupSettings {
        name: group.name.clone(),
        preferred: side,
        resources: group.resources.iter().map(resource_settings).collect(),
        via: None,
        probe: group.resources.iter().any(|it| matches!(it.kind, ResourceKind::Address(_))),
    }
}

fn resource_settings(resource: &Resource) -> ResourceSettings {
    ResourceSettings {
        overlap: !matches!(resource.kind, ResourceKind::Script(_)),
        start_timeout: resource.start_timeout,
        stop_timeout: resource.stop_timeout,
        monitor: resource.monitor,
    }
}

/// Starts or stops one resource.
pub(crate) async fn perform(
    config: &Config,
    hands: &Hands,
    (director, sync): (&DirectorHandle, &SyncKeeper),
    action: &Action,
) -> Outcome {
    let group = config.groups.get(usize::from(action.group.0));
    let Some(resource) = group.and_then(|group| group.resources.get(action.resource)) else {
        return Outcome::Failed("the configuration has no such resource".to_owned());
    };
    match &resource.kind {
        ResourceKind::Director(_) => match action.operation {
            Operation::Start => director.warm(WARM_MAX.min(resource.start_timeout)).await,
            // It stays warm on the standby.
            Operation::Stop => Outcome::Done,
        },
        ResourceKind::Address(address) => {
            let switch = Switch {
                hands,
                director,
                resource,
                ip: address.ip,
                group: addresses(config, action.group).map(|address| address.ip).collect(),
                synced: config.sync().is_some_and(|(group, _)| group == action.group),
            };
            match (action.operation, action.manner) {
                (Operation::Start, Manner::Overlap { peer }) if group.is_some_and(has_director) => {
                    bounded(resource, switch.take(peer)).await
                }
                (Operation::Stop, Manner::Overlap { .. }) if group.is_some_and(has_director) => {
                    // Stopped right to left.
                    let first = switch.group.last() == Some(&address.ip);
                    bounded(resource, switch.give(first)).await
                }
                (operation, manner) => hands.perform(resource, operation, manner).await,
            }
        }
        ResourceKind::Sync(_) => {
            // A switch does not wait for it, and does not fail with it.
            sync.follow(action.operation, action.manner, pass_on(true));
            Outcome::Done
        }
        ResourceKind::Script(_) | ResourceKind::Announce(_) | ResourceKind::Mail(_) => {
            hands.perform(resource, action.operation, action.manner).await
        }
    }
}

/// Ends before the cluster gives up on the order; what comes later would be harmful.
async fn bounded(resource: &Resource, order: impl Future<Output = Outcome>) -> Outcome {
    let limit = resource.start_timeout.max(resource.stop_timeout).saturating_add(SWITCH_GRACE);
    timeout(limit, order).await.unwrap_or_else(|_| {
        Outcome::Failed(format!("{} took longer than {} s", resource.text, limit.as_secs()))
    })
}

fn has_director(group: &Group) -> bool {
    group.resources.iter().any(|resource| matches!(resource.kind, ResourceKind::Director(_)))
}

/// What scripts are told about where they run.
pub(crate) fn surroundings(paths: &Paths, config: &Config) -> Surroundings {
    let (node, env) = (config.node.clone(), config.service.env.clone());
    Surroundings { node, ha_dir: ha_dir(paths), env }
}

/// Heartbeat's directory, which scripts are told: the configuration where that is one.
fn ha_dir(paths: &Paths) -> PathBuf {
    if paths.config.is_dir() { paths.config.clone() } else { PathBuf::from("/etc/ha.d") }
}

/// Stops every script that an earlier life left running, right to left, but for those of groups
/// that are held on purpose: the first beat says that nothing else is held here.
pub(crate) async fn settle_scripts(
    config: &Config,
    surroundings: &Surroundings,
    held: &BTreeSet<GroupName>,
) -> Result<(), Fatal> {
    let loose = config.groups.iter().filter(|group| !held.contains(&group.name));
    for resource in loose.flat_map(|group| group.resources.iter().rev()) {
        let ResourceKind::Script(program) = &resource.kind else { continue };
        let limit = resource.stop_timeout;
        if matches!(script::status(program, surroundings, limit).await, Ok(Status::Stopped)) {
            continue;
        }
        warn!("{} is not known to be down before our start: it is stopped", resource.text);
        if let Outcome::Failed(why) = script::stop(program, surroundings, limit).await {
            return Err(Fatal::System(format!(
                "{} may be running and can't be stopped: {why}; stop it by hand, then start again",
                resource.text
            )));
        }
    }
    Ok(())
}

/// What the daemon does beside the cluster, without the log.
fn habits(config: &Config) -> Service {
    Service { log: config::Log::default(), ..config.service.clone() }
}

/// What differs between two configurations that only a restart can change; one sentence each.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let parts = [
        ("node names", old.node == new.node && old.peer == new.peer),
        ("links", old.links == new.links),
        ("arbiters", old.arbiters == new.arbiters),
        ("ping nodes and ipfail", (&old.ping_nodes, old.ipfail) == (&new.ping_nodes, new.ipfail)),
        ("fencing devices", old.fence == new.fence),
        ("realtime, rtprio, watchdog and respawn", habits(old) == habits(new)),
    ];
    parts
        .iter()
        .filter(|(_, same)| !same)
        .map(|(part, _)| {
            format!("{part} can't be changed by a reload; hand over with `pairbeat standby`, then restart")
        })
        .collect()
}

impl Config {
    /// Every virtual IP of every group.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let resources = self.groups.iter().flat_map(|group| &group.resources);
        resources.filter_map(|resource| match &resource.kind {
            ResourceKind::Address(address) => Some(address.ip),
            _ => None,
        })
    }

    /// The connection sync, and the group whose node tells the other one.
    pub(crate) fn sync(&self) -> Option<(GroupId, &Sync)> {
        let mut groups = (0..).zip(&self.groups);
        groups.find_map(|(id, group)| group.sync().map(|sync| (GroupId(id), sync)))
    }
}

impl Group {
    /// The connection sync, where the group has it.
    pub(crate) fn sync(&self) -> Option<&Sync> {
        self.resources.iter().find_map(|resource| match &resource.kind {
            ResourceKind::Sync(sync) => Some(sync),
            _ => None,
        })
    }
}
