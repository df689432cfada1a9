//! What an order of the cluster means for the hands and the director.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::cluster::event::{Action, Manner, Operation, Outcome};
use crate::cluster::{GroupSettings, ResourceSettings, Settings, Side};
use crate::config::{self, Address, AutoFailback, Config, Group, Resource, ResourceKind};
use crate::daemon::Paths;
use crate::daemon::director::DirectorHandle;
use crate::daemon::hands::Hands;
use crate::daemon::switch::{Switch, WARM_MAX};
use crate::names::GroupId;

/// The addresses of one group, in order.
pub(crate) fn addresses(config: &Config, group: GroupId) -> impl Iterator<Item = &Address> {
    let group = config.groups.get(usize::from(group.0));
    group.into_iter().flat_map(|group| &group.resources).filter_map(|resource| {
        match &resource.kind {
            ResourceKind::Address(address) => Some(address),
            ResourceKind::Director(_) | ResourceKind::Script(_) => None,
        }
    })
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
        config: config::digest(config),
    }
}

fn group_settings(config: &Config, group: &Group) -> GroupSettings {
    let side = if group.preferred == config.node { Side::Me } else { Side::Peer };
    GroupSettings {
        name: group.name.clone(),
        preferred: side,
        resources: group.resources.iter().map(resource_settings).collect(),
        via: None,
    }
}

fn resource_settings(resource: &Resource) -> ResourceSettings {
    ResourceSettings {
        overlap: !matches!(resource.kind, ResourceKind::Script(_)),
        start_timeout: resource.start_timeout,
        stop_timeout: resource.stop_timeout,
    }
}

/// Starts or stops one resource.
pub(crate) async fn perform(
    config: &Config,
    hands: &Hands,
    director: &DirectorHandle,
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
            let switch = Switch { hands, director, resource, ip: address.ip };
            match (action.operation, action.manner) {
                (Operation::Start, Manner::Overlap { peer }) if group.is_some_and(has_director) => {
                    switch.take(peer).await
                }
                (Operation::Stop, Manner::Overlap { .. }) if group.is_some_and(has_director) => {
                    switch.give().await
                }
                (operation, manner) => hands.perform(resource, operation, manner).await,
            }
        }
        ResourceKind::Script(_) => hands.perform(resource, action.operation, action.manner).await,
    }
}

fn has_director(group: &Group) -> bool {
    group.resources.iter().any(|resource| matches!(resource.kind, ResourceKind::Director(_)))
}

/// Heartbeat's directory, which scripts are told: the configuration where that is one.
pub(crate) fn ha_dir(paths: &Paths) -> PathBuf {
    if paths.config.is_dir() { paths.config.clone() } else { PathBuf::from("/etc/ha.d") }
}

/// What differs between two configurations that only a restart can change; one sentence each.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let parts = [
        ("node names", old.node == new.node && old.peer == new.peer),
        ("timing", old.timing == new.timing),
        ("auto_failback", old.auto_failback == new.auto_failback),
        ("links", old.links == new.links),
        ("keys", old.keys == new.keys),
        ("groups and their resources", old.groups == new.groups),
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
            ResourceKind::Director(_) | ResourceKind::Script(_) => None,
        })
    }
}
