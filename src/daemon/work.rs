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
use crate::daemon::switch::{Switch, pass_on};
use crate::daemon::sync::SyncKeeper;
use crate::daemon::{Fatal, Paths};
use crate::exec::script::{self, Status, Surroundings};
use crate::names::{DirectorName, GroupId, GroupName};
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
        ResourceKind::Director(name) => {
            director.obey(name, action.operation, resource.start_timeout).await
        }
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

/// The directors of a group.
pub(crate) fn directors(group: &Group) -> impl Iterator<Item = &DirectorName> {
    group.resources.iter().filter_map(|resource| match &resource.kind {
        ResourceKind::Director(name) => Some(name),
        _ => None,
    })
}

/// Ends before the cluster gives up on the order; what comes later would be harmful.
async fn bounded(resource: &Resource, order: impl Future<Output = Outcome>) -> Outcome {
    let limit = resource.start_timeout.max(resource.stop_timeout).saturating_add(SWITCH_GRACE);
    timeout(limit, order).await.unwrap_or_else(|_| {
        Outcome::Failed(format!("{} took longer than {} s", resource.text, limit.as_secs()))
    })
}

fn has_director(group: &Group) -> bool {
    directors(group).next().is_some()
}

/// What scripts are told about where they run.
pub(crate) fn surroundings(paths: &Paths, config: &Config) -> Surroundings {
    let (node, env) = (config.node.clone(), config.service.env.clone());
    Surroundings { node, ha_dir: ha_dir(paths), env }
}

/// Heartbeat's directory, which scripts are told: the configuration where that is in its layout.
fn ha_dir(paths: &Paths) -> PathBuf {
    let is_ha_d = paths.config.join("ha.cf").exists();
    if is_ha_d { paths.config.clone() } else { PathBuf::from(config::DEFAULT_LEGACY) }
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

/// What the daemon does beside the cluster, without the log and the watchdog.
fn habits(config: &Config) -> Service {
    Service { log: config::Log::default(), watchdog: None, ..config.service.clone() }
}

/// What differs between two configurations that only a restart can change; one sentence each.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let stop = stays_armed(old, new);
    let watchdog = old.service.watchdog == new.service.watchdog;
    let parts = [
        ("links", old.links == new.links),
        ("arbiters", old.arbiters == new.arbiters),
        ("ping nodes and ipfail", (&old.ping_nodes, old.ipfail) == (&new.ping_nodes, new.ipfail)),
        ("fencing devices", old.fence == new.fence),
        ("realtime, rtprio, watchdog, env and respawn", {
            habits(old) == habits(new) && (watchdog || stop)
        }),
    ];
    let refused = needs_stop(old, new).into_iter().map(|part| {
        format!("{part} can't be changed by a reload; `pairbeat stop` hands over, then start again")
    });
    let restarted = parts.iter().filter(|(_, same)| !same).map(|(part, _)| {
        format!(
            "{part} can't be changed by a reload; `pairbeat restart` takes them over with \
             everything held"
        )
    });
    refused.chain(restarted).collect()
}

/// What differs that not even a restart with everything held can change.
pub(crate) fn needs_stop(old: &Config, new: &Config) -> Vec<&'static str> {
    // What is left for the next process is of two nodes by their names.
    let names = (&old.node, &old.peer) != (&new.node, &new.peer);
    let parts = [("node names", names), ("the watchdog device", stays_armed(old, new))];
    parts.into_iter().filter(|(_, differ)| *differ).map(|(part, _)| part).collect()
}

/// A device stays armed through a restart, and restarts the machine where nobody opens it again.
fn stays_armed(old: &Config, new: &Config) -> bool {
    old.service.watchdog.is_some() && old.service.watchdog != new.service.watchdog
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, Family, SourceFile};
    use crate::lvs::model::Protocol;
    use crate::names::NodeName;

    /// One ha.cf, and what goes with it.
    struct World(String);

    impl Environment for World {
        fn read(&self, path: &Path) -> io::Result<SourceFile> {
            let key = "5f0c2e8a91d4b7631f9ae2c05d7b48e3a6c1902f7e84d35b60f1c9a7e2483d16";
            let text = match path.to_str() {
                Some("/c/ha.cf") => self.0.clone(),
                Some("/c/haresources") => "alpha 192.168.2.110/24/eth0\n".to_owned(),
                Some("/c/authkeys") => format!("auth 1\n1 sha256 {key}\n"),
                _ => return Err(io::ErrorKind::NotFound.into()),
            };
            Ok(SourceFile { bytes: text.into_bytes(), mode: 0o600 })
        }

        fn executable(&self, _: &Path) -> bool {
            true
        }

        fn host(&self, _: &str, _: Family) -> Option<IpAddr> {
            None
        }

        fn service(&self, _: &str, _: Protocol) -> Option<u16> {
            None
        }

        fn user(&self, _: &str) -> bool {
            true
        }
    }

    fn config(lines: &str) -> Config {
        let peer = if lines.contains("gamma") { "" } else { "node beta\n" };
        let text = format!("ucast eth0 10.0.0.2\nnode alpha\n{peer}auto_failback off\n{lines}\n");
        let node = NodeName::new("alpha").unwrap();
        let (config, found) = config::load(Path::new("/c"), &node, &World(text));
        config.unwrap_or_else(|| panic!("{found:?}"))
    }

    #[test]
    fn what_a_reload_can_not_change_is_said_with_the_command_that_can() {
        let (restart, stop) = ("`pairbeat restart` takes them over", "`pairbeat stop` hands over");
        let wd = "watchdog /dev/watchdog";
        for (before, after, want) in [
            ("", "deadtime 20\nlogfile /var/log/x", None),
            ("", "bcast eth1", Some(("links ", restart))),
            ("", "ping 10.0.0.254", Some(("ping nodes ", restart))),
            ("", "stonith_host * external/x y", Some(("fencing devices ", restart))),
            ("", "rtprio 7", Some(("realtime, rtprio, ", restart))),
            ("", "respawn root /bin/true", Some(("realtime, rtprio, ", restart))),
            ("", wd, Some(("realtime, rtprio, watchdog, ", restart))),
            (wd, wd, None),
            (wd, "", Some(("the watchdog device ", stop))),
            (wd, "watchdog /dev/watchdog1", Some(("the watchdog device ", stop))),
            ("", "node gamma", Some(("node names ", stop))),
        ] {
            let (old, new) = (config(before), config(after));
            let said = needs_restart(&old, &new);
            assert_eq!(said.len(), usize::from(want.is_some()), "{after:?}: {said:?}");
            if let Some((part, command)) = want {
                assert!(said[0].starts_with(part) && said[0].contains(command), "{said:?}");
                assert_eq!(needs_stop(&old, &new).is_empty(), command == restart, "{said:?}");
            }
        }
    }
}
