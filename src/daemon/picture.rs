//! One picture of the node out of what the cluster, the director and the hands know.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::event::{Bar, ServiceLink};
use crate::cluster::message::Extent;
use crate::cluster::{
    ArbiterAnswer, Difference, FenceView, GroupView, LinkState, PeerLife, ResourceView,
};
use crate::config::{Config, Group, ResourceKind};
use crate::daemon::beat::View;
use crate::daemon::guard::Standing;
use crate::daemon::hands::{Hands, HeldAddress};
use crate::journal::words::{bar_words, cause_words, list, service_word, state_word};
use crate::kernel::sysctl;
use crate::lvs::director::{ServiceView, View as DirectorView};
use crate::lvs::pool::Turn;
use crate::lvs::prerequisites;
use crate::names::GroupName;
use crate::net::frames::mac_text;
use crate::status::{
    GroupStatus, JournalStatus, KeysStatus, LinkStatus, PeerStatus, ResourceHealth, Status,
    SyncStatus, VERSION, Warmth,
};
use crate::wire::Refusal;

/// What the core itself knows.
pub(crate) struct Seen<'a> {
    pub(crate) config: &'a Config,
    /// The beat thread's last picture.
    pub(crate) view: &'a View,
    /// The last failure of each group that has not recovered from it.
    pub(crate) failures: &'a BTreeMap<GroupName, String>,
    /// What takes the VIPs out of service when the core does not run.
    pub(crate) guard: &'a Standing,
    /// How the journal stands.
    pub(crate) journal: &'a JournalStatus,
    /// The connection sync, where there is one.
    pub(crate) sync: Option<&'a SyncStatus>,
    /// Settings that the kernel does not take or have.
    pub(crate) refused: &'a [String],
}

/// What this machine lacks for the ways in which these are served.
fn lacks(services: &[ServiceView]) -> Vec<String> {
    let reached = prerequisites::reached_of_views(services);
    let lacks = prerequisites::lacking(&reached, |path| sysctl::read(path).ok());
    lacks.iter().map(ToString::to_string).collect()
}

/// The status of this node.
pub(crate) fn status(seen: &Seen<'_>, director: Option<&DirectorView>, hands: &Hands) -> Status {
    let Seen { config, view, failures, guard, journal, sync, .. } = *seen;
    let held = hands.held();
    let (guard, guards) = guard.status();
    // For a moment after a reload the picture is older than the configuration.
    let groups = config.groups.iter().filter_map(|group| {
        let mut seen = view.engine.cluster.groups.iter();
        seen.find(|seen| seen.name == group.name).map(|seen| (group, seen))
    });
    Status {
        version: VERSION,
        node: config.node.to_string(),
        pid: std::process::id(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        peer: peer(view),
        frozen: view.engine.cluster.freeze.extent,
        links: links(config, view),
        groups: groups
            .map(|(group, seen)| {
                let mut status = group_status(group, seen, &held);
                status.notes.extend(failures.get(&seen.name).cloned());
                status
            })
            .collect(),
        services: director.map(|director| director.services.clone()).unwrap_or_default(),
        ipvs: ipvs(config, director),
        lacks: director.map(|director| lacks(&director.services)).unwrap_or_default(),
        guard,
        guards,
        sync: sync.cloned(),
        warmth: director.filter(|director| !director.services.is_empty()).map(|director| Warmth {
            warm: director.cold.is_none(),
            why: director.cold.clone(),
            followed: director.followed,
        }),
        orders_agreed: director
            .zip(view.engine.peer_words)
            .map(|(director, theirs)| director.orders == theirs),
        fence: view.engine.cluster.fence.clone(),
        reach: Some(view.engine.cluster.reach).filter(|reach| reach.of > 0),
        keys: keys(view),
        journal: journal.clone(),
        warnings: unmet(config, view)
            .into_iter()
            .chain(warnings(view, director, journal))
            .chain(sync.and_then(out_of_sync))
            .chain(sync.and_then(unguarded))
            .chain(seen.refused.iter().cloned())
            .collect(),
        refused: refused(view),
    }
}

fn peer(view: &View) -> PeerStatus {
    let peer = &view.engine.cluster.peer;
    let served = |group: &GroupView| group.jeopardy == Some(Bar::Served);
    let state = match peer.state {
        _ if view.engine.cluster.groups.iter().any(served) => "jeopardy",
        PeerLife::Unknown => "unknown",
        PeerLife::Alive if peer.restarts_ms.is_some() => "restarting",
        PeerLife::Alive => "up",
        PeerLife::Dead => "dead",
        PeerLife::Left => "standby",
    };
    let silent_ms = (peer.state != PeerLife::Unknown).then_some(peer.silent_ms);
    let (node, state) = (peer.node.to_string(), state.to_owned());
    PeerStatus { node, state, silent_ms, differs: peer.differences.clone() }
}

fn keys(view: &View) -> KeysStatus {
    let security = &view.engine.security;
    let peer = security.peer.as_ref();
    let theirs = peer.into_iter().flat_map(|peer| &peer.keys);
    KeysStatus {
        signing: security.signing,
        accepted: security.accepted.clone(),
        peer_signing: peer.map(|peer| peer.signs_with),
        shared: theirs.filter(|key| key.agrees).map(|key| key.id).collect(),
    }
}

/// A key that one node has and the other has not, or has with another secret.
fn half_rotated(view: &View) -> Option<String> {
    let peer = view.engine.security.peer.as_ref()?;
    let here = view.engine.cluster.peer.state == PeerLife::Alive && !peer.keys.is_empty();
    let KeysStatus { accepted, shared, .. } = keys(view);
    let ours = accepted.into_iter().filter(|id| !shared.contains(id));
    let theirs = peer.keys.iter().filter(|key| !key.agrees).map(|key| key.id);
    let lone: std::collections::BTreeSet<u8> = ours.chain(theirs).collect();
    let lone: Vec<String> = lone.iter().map(ToString::to_string).collect();
    (here && !lone.is_empty()).then(|| {
        format!("key {} is not the same on both nodes: a rotation is half done", lone.join(", "))
    })
}

fn links(config: &Config, view: &View) -> Vec<LinkStatus> {
    let engine = view.engine.cluster.links.iter().zip(&view.engine.links);
    let seen = engine.zip(&view.links);
    let statuses =
        config.links.iter().zip(seen).map(|(link, ((life, quality), socket))| LinkStatus {
            name: link.name.to_string(),
            kind: link.kind().to_owned(),
            state: match life.state {
                LinkState::Unknown if socket.fault.is_none() => "unknown",
                LinkState::Up => "up",
                LinkState::Down | LinkState::Unknown => "down",
            }
            .to_owned(),
            silent_ms: life.heard_ms,
            rtt_us: quality.rtt_us,
            sent: socket.traffic.sent,
            left_out: socket.traffic.left_out,
            broken: socket.traffic.broken,
            received: quality.believed,
            refused: quality.refused,
            lost: quality.lost,
            lost_of: quality.of,
            error: socket.fault.clone().or_else(|| socket.traffic.failure.clone()),
        });
    statuses.collect()
}

fn group_status(group: &Group, seen: &GroupView, held: &[HeldAddress]) -> GroupStatus {
    let mut notes: Vec<String> = seen.setback.iter().cloned().collect();
    for resource in &group.resources {
        if let ResourceKind::Address(address) = &resource.kind {
            let mine = held.iter().find(|held| held.ip == address.ip);
            notes.extend(mine.map(address_note));
        }
    }
    GroupStatus {
        name: seen.name.to_string(),
        state: seen.state,
        holder: seen.holder.as_ref().map(ToString::to_string),
        preferred: seen.preferred.to_string(),
        epoch: seen.epoch,
        cause: cause_words(seen.cause).to_owned(),
        held_down_s: seen.held_down_s,
        sync_wait_s: seen.sync_wait_s,
        jeopardy: seen.jeopardy.map(|why| bar_words(why).to_owned()),
        service_link: service_word(seen.service).to_owned(),
        arbiters: seen.arbiters.clone(),
        resources: group.resources.iter().map(|resource| resource.text.clone()).collect(),
        health: seen.resources.iter().map(health).collect(),
        notes,
    }
}

fn health(seen: &ResourceView) -> ResourceHealth {
    let ResourceView { state, monitored, failures, why } = seen.clone();
    ResourceHealth { state, monitored, failures, why }
}

fn address_note(held: &HeldAddress) -> String {
    let mut note = format!("{}/{} {} held", held.ip, held.prefix, held.interface);
    if let Some(confirmation) = &held.confirmed {
        let micros = confirmation.after.as_micros();
        let millis = micros / 1000;
        note +=
            &format!(", confirmed by {} after {millis}.{:03} ms", confirmation.by, micros % 1000);
    }
    if let Some(rival) = &held.rival {
        note += &format!(", ALSO CLAIMED by {}", mac_text(*rival));
    }
    if let Some(fault) = &held.fault {
        note += &format!(", can't be announced: {fault}");
    }
    note
}

fn ipvs(config: &Config, director: Option<&DirectorView>) -> Option<String> {
    if config.directors.is_empty() {
        return None;
    }
    Some(match director {
        Some(view) => view.kernel.message.clone().unwrap_or_else(|| "ok".to_owned()),
        None => "the director does not answer".to_owned(),
    })
}

/// Silence that is worth a warning, and not yet a verdict.
fn late(config: &Config, view: &View) -> Option<String> {
    let peer = &view.engine.cluster.peer;
    let silent = Duration::from_millis(peer.silent_ms);
    let late = peer.state == PeerLife::Alive && silent > config.timing.warntime;
    late.then(|| {
        format!("late heartbeat: nothing heard of {} for {} ms", peer.node, peer.silent_ms)
    })
}

/// What may keep the two nodes from meeting.
fn unmet(config: &Config, view: &View) -> Option<String> {
    let alive = view.engine.cluster.peer.state == PeerLife::Alive;
    let own = view
        .engine
        .security
        .refused
        .iter()
        .any(|(reason, count)| *reason == Refusal::Reflected && *count > 0);
    let node = &config.node;
    let namesake = (own && !alive).then(|| {
        format!("beats in the name of {node} come in: is the other node called {node} too?")
    });
    namesake.or_else(|| late(config, view))
}

fn warnings(view: &View, director: Option<&DirectorView>, journal: &JournalStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(why) = &journal.error {
        warnings.push(format!("the journal can't be written: {why}"));
    }
    if view.engine.cluster.freeze.extent != Extent::Nothing {
        warnings.push("automatic switches are frozen; `pairbeat unfreeze` ends that".to_owned());
    }
    if view.engine.cluster.peer.state != PeerLife::Alive {
        warnings.push(format!("no redundancy: {} is not there", view.engine.cluster.peer.node));
    }
    if view.engine.cluster.peer.config_differs {
        warnings.push(differs(&view.engine.cluster.peer.differences));
    }
    if let Some(fence @ FenceView::Failed { .. }) = &view.engine.cluster.fence {
        warnings.push(format!("fencing of the peer: {fence}"));
    }
    let reach = view.engine.cluster.reach;
    if let Some(mine) = reach.mine.filter(|mine| *mine < reach.of) {
        warnings.push(format!("only {mine} of {} ping nodes answer this node", reach.of));
    }
    warnings.extend(half_rotated(view));
    for group in &view.engine.cluster.groups {
        if group.state == crate::cluster::event::GroupState::Failed {
            warnings.push(format!("{} is {} here", group.name, state_word(group.state)));
        }
        let worn = group.resources.iter().zip(1..).filter(|(it, _)| it.failures > 0);
        warnings.extend(worn.map(|(it, place)| {
            let why = it.why.as_deref().unwrap_or("no reason is known");
            format!(
                "{}: resource {place} has failed here, failure {}: {why}",
                group.name, it.failures
            )
        }));
        warnings.extend(group.jeopardy.map(|why| format!("{}: {}", group.name, bar_words(why))));
        warnings.extend(group.arbiters.iter().filter_map(|arbiter| match &arbiter.answer {
            Some(answer @ ArbiterAnswer::Unreachable(_)) => {
                Some(format!("{}: {}", group.name, answer.words(&arbiter.name)))
            }
            _ => None,
        }));
        if group.service == ServiceLink::Down {
            warnings.push(format!("{}: the way to its clients is down here", group.name));
        }
    }
    if let Some(director) = director {
        if !director.checker && !director.services.is_empty() {
            warnings.push("the checker is not running; verdicts are its last ones".to_owned());
        }
        warnings.extend(hindered(director));
        warnings.extend(warned(director));
        warnings.extend(director.services.iter().filter_map(unserved));
        warnings.extend(director.kernel.refused.iter().map(|r| format!("kernel: {r}")));
    }
    warnings
}

fn out_of_sync(sync: &SyncStatus) -> Option<String> {
    let why = sync.fault.as_ref()?;
    Some(format!("connections are not synced, a takeover cuts them: {why}"))
}

/// Nothing on the wire is authenticated. On a cable of the directors' own that is nobody's business, unless
/// a guard was to be there.
fn unguarded(sync: &SyncStatus) -> Option<String> {
    let why = sync.unguarded.as_ref()?;
    (sync.among_clients || !sync.peers.is_empty()).then(|| {
        format!("whoever is on {} can write into the table of connections: {why}", sync.interface)
    })
}

/// A sorry server that is not there when it is needed, or would not be.
fn unserved(service: &ServiceView) -> Option<String> {
    let ServiceView { protocol, service: name, turn, .. } = service;
    let sorry = service.fallback.as_ref().filter(|sorry| sorry.state == "down");
    match (turn, sorry) {
        (Some(Turn::Nobody), Some(_)) => {
            Some(format!("{protocol} {name}: nobody serves, and the sorry server is down too"))
        }
        (_, Some(sorry)) => {
            Some(format!("{protocol} {name}: the sorry server {} is down", sorry.address))
        }
        _ => None,
    }
}

/// Checks that this node can't carry out.
fn hindered(director: &DirectorView) -> Option<String> {
    let services = || director.services.iter();
    let reals = || services().flat_map(|service| service.real.iter().chain(&service.backup));
    let why = reals().find_map(|real| real.hindered.as_ref())?;
    let count = reals().filter(|real| real.hindered.is_some()).count();
    Some(format!("{count} checks can't be carried out, their verdicts are the last ones: {why}"))
}

/// What checks warn of, though the server may be up.
fn warned(director: &DirectorView) -> Option<String> {
    let reals = || {
        let services = director.services.iter();
        services.flat_map(|service| service.real.iter().map(move |real| (service, real)))
    };
    let warnings = || reals().filter(|(_, real)| real.warning.is_some());
    let (service, real) = warnings().next()?;
    let more = match warnings().count() {
        1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    let warning = real.warning.as_deref().unwrap_or_default();
    Some(format!("{}: {}: {warning}{more}", service.service, real.address))
}

fn differs(sections: &[Difference]) -> String {
    let base = "the peer runs on a different configuration";
    if sections.is_empty() { base.to_owned() } else { format!("{base}: {}", list(sections)) }
}

fn refused(view: &View) -> BTreeMap<String, u64> {
    let counts = view.engine.security.refused.iter();
    counts.map(|(reason, count)| (reason.to_string(), *count)).collect()
}
