//! Rules across sections and files, the same for both formats.
//!
//! The readers hand over a [`Draft`]: values that are good by themselves, with their marks. Here
//! they become a [`Config`], or faults at the marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::cluster::Damping;
use crate::cluster::message::{GROUPS_MAX, LINKS_MAX};
use crate::config::diag::{Diagnostic, Mark, Severity, nearest};
use crate::config::ipvs;
use crate::config::link::{self, DraftLink};
use crate::config::outside::Outside;
use crate::config::{
    AutoFailback, Config, Environment, Group, Ipvs, KeyRing, ResourceKind, Script, ScriptStyle,
    Service, Timing, Watched,
};
use crate::lvs::check::CHECKS_MAX;
use crate::lvs::model::{Director, ServiceKey};
use crate::names::{DirectorName, NodeName};
use crate::wire::frame;

/// A cluster has two nodes.
const NODES: usize = 2;

/// A group with the places of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftGroup {
    /// The group.
    pub group: Group,
    /// Its name.
    pub at: Mark,
    /// Its preferred node.
    pub preferred_at: Mark,
    /// Its resources, as many as in the group.
    pub resources: Vec<DraftResource>,
}

/// Where a resource was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftResource {
    /// The resource as a whole.
    pub at: Mark,
}

/// A director with the places of its virtual services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftDirector {
    /// The director.
    pub director: Director,
    /// Its services, as many as in the director.
    pub services: Vec<Mark>,
}

/// A configuration whose parts are good by themselves.
#[derive(Debug)]
pub(super) struct Draft {
    /// The file that names the nodes.
    pub(super) file: PathBuf,
    /// All nodes.
    pub(super) nodes: Vec<(NodeName, Mark)>,
    pub(super) timing: Timing,
    pub(super) auto_failback: AutoFailback,
    pub(super) damping: Damping,
    pub(super) links: Vec<DraftLink>,
    pub(super) keys: KeyRing,
    pub(super) groups: Vec<DraftGroup>,
    pub(super) directors: Vec<DraftDirector>,
    /// Files of theirs whose changes on the disk count.
    pub(super) watched: Vec<Watched>,
    pub(super) outside: Outside,
    pub(super) service: Service,
    pub(super) ipvs: Ipvs,
}

/// The configuration of `node`; `None` where `found` has or gets a fault.
pub(super) fn finish(
    mut draft: Draft,
    node: &NodeName,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Config> {
    let file = Mark::file(&draft.file);
    draft.outside.check(&draft.nodes, &draft.timing, found);
    let peer = nodes(&draft, node, &file, found);
    if let Some(peer) = &peer {
        let directory = draft.file.parent().unwrap_or(Path::new(""));
        draft.outside.check_fences(peer, directory, environment, found);
    }
    draft.links = link::without_doubles(draft.links, found);
    let names = draft.groups.iter().map(|group| group.group.name.as_str().len());
    let beat = frame::lengths(names, draft.keys.keys.len());
    link::check_speed(&draft.links, &draft.timing, &beat, found);
    if draft.links.len() > LINKS_MAX {
        let message = format!("{} heartbeat links; at most {LINKS_MAX}", draft.links.len());
        found.push(file.fault(message));
    }
    groups(&draft, found);
    addresses(&draft, found);
    directors(&draft, found);
    ipvs::check_stateless(&draft, found);
    ipvs::check_full_nat(&draft, found);
    families(&draft, found);
    unheld(&draft, found);
    unguarded(&draft, found);
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Fault) {
        return None;
    }
    Some(Config {
        node: node.clone(),
        peer: peer?,
        timing: draft.timing,
        auto_failback: draft.auto_failback,
        damping: draft.damping,
        links: draft.links.into_iter().map(|draft| draft.link).collect(),
        keys: draft.keys,
        groups: draft.groups.into_iter().map(|group| group.group).collect(),
        directors: draft
            .directors
            .into_iter()
            .map(|draft| (draft.director.name.clone(), draft.director))
            .collect(),
        watched: draft.watched,
        deadping: draft.outside.deadping(&draft.timing),
        ipfail: draft.outside.ipfail,
        ping_nodes: draft.outside.ping_nodes.into_iter().map(|(ping, _)| ping).collect(),
        service: draft.service,
        ipvs: draft.ipvs,
        arbiters: draft.outside.arbiters,
        fence: draft.outside.fence.into_iter().map(|draft| draft.device).collect(),
    })
}

/// The other node. Anything but two nodes, or two others, is a fault.
fn nodes(
    draft: &Draft,
    node: &NodeName,
    file: &Mark,
    found: &mut Vec<Diagnostic>,
) -> Option<NodeName> {
    let names: Vec<String> = draft.nodes.iter().map(|(name, _)| name.to_string()).collect();
    if names.len() < NODES {
        let message = match names.as_slice() {
            [] => "no nodes".to_owned(),
            [one, ..] => format!("only one node, {one}"),
        };
        let help = "a cluster has two: name both as `uname -n` does on them";
        found.push(file.fault(message).with_help(help));
        return None;
    }
    if let Some((name, mark)) = draft.nodes.get(NODES) {
        let message = format!("{name} is node number three; a cluster has two");
        found.push(mark.fault(message));
    }
    if !draft.nodes.iter().any(|(name, _)| name == node) {
        let message = format!("this node, {node}, is not one of {}", names.join(" and "));
        let mut help = "the name is that of `uname -n`; `--node NAME` says another".to_owned();
        if let Some(near) = near_host(node, &draft.nodes) {
            help = format!("{help}: `--node {near}`?");
        }
        found.push(file.fault(message).with_help(help));
        return None;
    }
    draft.nodes.iter().map(|(name, _)| name).find(|name| *name != node).cloned()
}

/// The node with the same first label, or nearly the same name: `server101.example.com`.
fn near_host<'a>(node: &NodeName, nodes: &'a [(NodeName, Mark)]) -> Option<&'a str> {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let names = || nodes.iter().map(|(name, _)| name.as_str());
    names()
        .find(|name| short(name) == short(node.as_str()))
        .or_else(|| nearest(node.as_str(), names()))
}

fn groups(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, &Mark> = BTreeMap::new();
    if draft.groups.is_empty() && !found.iter().any(|found| found.severity == Severity::Fault) {
        let mark = Mark::file(&draft.file);
        found.push(mark.warning("no resource group: the nodes watch each other and do nothing"));
    }
    for (index, group) in draft.groups.iter().enumerate() {
        let name = group.group.name.as_str();
        if let Some(first) = seen.insert(name, &group.at) {
            let message = format!("a second group called `{name}`");
            let help =
                format!("a group is known by this name; the other one is at {}", first.place);
            found.push(group.at.fault(message).with_help(help));
        }
        if index == GROUPS_MAX {
            found.push(group.at.fault(format!("over {GROUPS_MAX} groups")));
        }
        let preferred = &group.group.preferred;
        if !draft.nodes.iter().any(|(name, _)| name == preferred) {
            let message = format!("{preferred} is not a node of this cluster");
            let known = draft.nodes.iter().map(|(name, _)| name.as_str());
            let mut fault = group.preferred_at.fault(message);
            if let Some(near) = nearest(preferred.as_str(), known) {
                fault.help(format!("did you mean `{near}`?"));
            }
            found.push(fault);
        }
    }
}

/// One VIP is in one place only, and so are one director and the connection sync.
fn addresses(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut vips = BTreeMap::new();
    let mut directors: BTreeMap<&DirectorName, &Mark> = BTreeMap::new();
    let mut sync: Option<&Mark> = None;
    for group in &draft.groups {
        for (resource, DraftResource { at }) in group.group.resources.iter().zip(&group.resources) {
            let (what, first) = match &resource.kind {
                ResourceKind::Address(address) => {
                    (format!("the virtual IP {}", address.ip), vips.insert(address.ip, at))
                }
                ResourceKind::Director(name) => {
                    (format!("the director `{name}`"), directors.insert(name, at))
                }
                ResourceKind::Sync(_) => ("the connection sync".to_owned(), sync.replace(at)),
                ResourceKind::Script(_) | ResourceKind::Announce(_) | ResourceKind::Mail(_) => {
                    continue;
                }
            };
            if let Some(first) = first {
                let help = format!("the other one is at {}", first.place);
                found.push(at.fault(format!("{what} is there twice")).with_help(help));
            }
        }
    }
}

fn directors(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<String, &Mark> = BTreeMap::new();
    let mut checks: usize = 0;
    for DraftDirector { director, services } in &draft.directors {
        for (service, at) in director.services.iter().zip(services) {
            let key = format!("{:#}", service.key);
            if let Some(first) = seen.insert(key.clone(), at) {
                let help = format!("the other one is at {}", first.place);
                let message = format!("the virtual service {key} is there twice");
                found.push(at.fault(message).with_help(help));
            }
            let before = checks;
            checks += service.checks();
            if before <= CHECKS_MAX && checks > CHECKS_MAX {
                found.push(at.fault(format!("over {CHECKS_MAX} real servers in all")));
            }
        }
    }
}

/// The kernel's sync messages have one address family for both ends of a connection: it runs its
/// daemons, or has a server of the other family (`ip_vs_genl_set_cmd` and `ip_vs_genl_new_daemon` of Linux).
fn families(draft: &Draft, found: &mut Vec<Diagnostic>) {
    let resources = draft.groups.iter().flat_map(|group| &group.group.resources);
    if !resources.into_iter().any(|it| matches!(it.kind, ResourceKind::Sync(_))) {
        return;
    }
    for DraftDirector { director, services } in &draft.directors {
        for (service, at) in director.services.iter().zip(services) {
            let Some(server) = service.of_other_family() else { continue };
            let message = format!(
                "{} is not of the address family of {:#}, and there is a connection sync: the \
                 kernel does one or the other",
                server.key, service.key
            );
            let help = "leave out the sync, or reach the servers by addresses of that family";
            found.push(at.fault(message).with_help(help));
        }
    }
}

/// A service on an address that no group holds is mostly a slip of the pen. Not looked for next to
/// faults: the address may be what is faulty.
fn unheld(draft: &Draft, found: &mut Vec<Diagnostic>) {
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Fault) {
        return;
    }
    let resources = || draft.groups.iter().flat_map(|group| &group.group.resources);
    let held: BTreeSet<IpAddr> = resources().filter_map(|resource| held(&resource.kind)).collect();
    let runs = |draft: &&DraftDirector| {
        let name = &draft.director.name;
        resources().any(|it| matches!(&it.kind, ResourceKind::Director(other) if other == name))
    };
    for DraftDirector { director, services } in draft.directors.iter().filter(runs) {
        for (service, at) in director.services.iter().zip(services) {
            let ServiceKey::Address { address, .. } = &service.key else { continue };
            if !held.contains(address) {
                let message =
                    format!("no group holds {address}: clients do not reach this service here");
                let help = "name it among the resources of a group, unless something else \
                            brings it to the active node";
                found.push(at.warning(message).with_help(help));
            }
        }
    }
}

/// Whoever is on the service LAN could write into the table of connections.
fn unguarded(draft: &Draft, found: &mut Vec<Diagnostic>) {
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Fault) {
        return;
    }
    let links: Vec<_> = draft.links.iter().map(|draft| draft.link.clone()).collect();
    let groups: Vec<&Group> = draft.groups.iter().map(|draft| &draft.group).collect();
    for DraftGroup { group, resources, .. } in &draft.groups {
        for (resource, DraftResource { at }) in group.resources.iter().zip(resources) {
            let ResourceKind::Sync(sync) = &resource.kind else { continue };
            if sync.admitted(&links).is_empty() && sync.among_clients(&groups) {
                let message = format!(
                    "the connection sync is on {}, where the clients are, and takes messages of anybody",
                    sync.interface
                );
                let help = "name both nodes' addresses there, `peers = [\"192.168.2.101\", \
                            \"192.168.2.105\"]`, or use a network of the directors' own";
                found.push(at.warning(message).with_help(help));
            }
        }
    }
}

/// The address that is on the active node with this resource.
fn held(resource: &ResourceKind) -> Option<IpAddr> {
    match resource {
        ResourceKind::Address(address) | ResourceKind::Announce(address) => Some(address.ip),
        ResourceKind::Script(Script { style: ScriptStyle::Ocf(agent), .. }) => {
            agent.parameters.get("ip")?.parse().ok()
        }
        ResourceKind::Script(_)
        | ResourceKind::Director(_)
        | ResourceKind::Sync(_)
        | ResourceKind::Mail(_) => None,
    }
}
