//! The status for people.

use std::fmt::{self, Write};

use crate::cluster::ResourceState;
use crate::cluster::event::GroupState;
use crate::cluster::message::Extent;
use crate::lvs::director::{QuorumView, RealView, ServiceView};
use crate::lvs::pool::Turn;
use crate::status::{
    AloneStatus, GroupStatus, LinkStatus, ResourceHealth, Status, SyncStatus, Warmth,
};

/// The status as a few lines of text.
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a String can't fail.
    let _infallible = write_all(&mut out, status);
    out
}

/// The same of a director without a cluster.
pub fn render_alone(status: &AloneStatus) -> String {
    let mut out = String::new();
    let _infallible = write_alone(&mut out, status);
    out
}

fn write_alone(out: &mut String, status: &AloneStatus) -> fmt::Result {
    let state = if status.converged { "all checked, table as configured" } else { "not settled" };
    writeln!(out, "{}  process {}, {state}", status.file, status.pid)?;
    for service in &status.services {
        write_service(out, service)?;
    }
    if status.ipvs != "ok" {
        writeln!(out, "ipvs  {}", status.ipvs)?;
    }
    if !status.checker {
        writeln!(out, "checker  NOT RUNNING: the last verdicts stay in force")?;
    }
    Ok(())
}

fn write_all(out: &mut String, status: &Status) -> fmt::Result {
    write!(out, "{}  peer {} {}", status.node, status.peer.node, status.peer.state)?;
    match status.peer.silent_ms {
        Some(ms) => writeln!(out, ", heard {ms} ms ago")?,
        None => writeln!(out)?,
    }
    match status.frozen {
        Extent::Nothing => {}
        Extent::ExceptDead => writeln!(out, "FROZEN  no automatic switch, but from a dead node")?,
        Extent::All => writeln!(out, "FROZEN  no automatic switch, whatever happens")?,
    }
    for link in &status.links {
        write_link(out, link)?;
    }
    for group in &status.groups {
        write_group(out, group)?;
    }
    for service in &status.services {
        write_service(out, service)?;
    }
    if let Some(ipvs) = status.ipvs.as_deref().filter(|text| *text != "ok") {
        writeln!(out, "ipvs  {ipvs}")?;
    }
    if let Some(warmth) = &status.warmth {
        write_warmth(out, warmth)?;
    }
    if let Some(sync) = &status.sync {
        write_sync(out, sync)?;
    }
    writeln!(out, "guard  {}", status.guard)?;
    if let Some(fence) = &status.fence {
        writeln!(out, "fencing  {fence}")?;
    }
    if let Some(reach) = &status.reach {
        let count = |it: Option<u8>| it.map_or_else(|| "?".to_owned(), |it| it.to_string());
        let (mine, theirs) = (count(reach.mine), count(reach.theirs));
        writeln!(out, "ping nodes  {mine} of {} answer here, {theirs} at the peer", reach.of)?;
    }
    if let Some(theirs) = status.keys.peer_signing {
        writeln!(out, "keys  {} signs here, {theirs} there", status.keys.signing)?;
    }
    if status.journal.dropped > 0 {
        let why = status.journal.last_error.as_deref().unwrap_or("no reason");
        writeln!(out, "journal  {} records lost: {why}", status.journal.dropped)?;
    }
    for stranger in &status.journal.refused {
        writeln!(out, "journal  left alone: {stranger}")?;
    }
    for warning in &status.warnings {
        writeln!(out, "warning  {warning}")?;
    }
    for (reason, count) in status.refused.iter().filter(|(_, count)| **count > 0) {
        writeln!(out, "refused packets  {count} {reason}")?;
    }
    Ok(())
}

fn write_warmth(out: &mut String, warmth: &Warmth) -> fmt::Result {
    match &warmth.why {
        None => write!(out, "director  warm")?,
        Some(why) => write!(out, "director  COLD: {why}")?,
    }
    match warmth.followed {
        0 => writeln!(out),
        checks => writeln!(out, ", {checks} checks by the active node"),
    }
}

fn write_sync(out: &mut String, sync: &SyncStatus) -> fmt::Result {
    let SyncStatus { interface, id, wanted, .. } = sync;
    write!(out, "sync  {wanted} on {interface}, id {id}")?;
    match &sync.unguarded {
        None if !sync.peers.is_empty() => {
            let peers: Vec<String> = sync.peers.iter().map(ToString::to_string).collect();
            write!(out, ", from {} only", peers.join(" and "))?;
        }
        _ => out.write_str(", from anybody")?,
    }
    match &sync.fault {
        Some(why) => writeln!(out, "  NOT RUNNING: {why}"),
        None if sync.role.as_ref() != Some(wanted) => writeln!(out, "  about to run"),
        None if !sync.fresh => writeln!(out, "  has not heard of every connection yet"),
        None => writeln!(out),
    }
}

fn write_link(out: &mut String, link: &LinkStatus) -> fmt::Result {
    write!(out, "link {}  {}", link.name, link.state)?;
    if !link.kind.is_empty() {
        write!(out, ", {}", link.kind)?;
    }
    if let Some(us) = link.rtt_us {
        write!(out, ", rtt {}.{:03} ms", us / 1000, us % 1000)?;
    }
    if let Some(ms) = link.silent_ms {
        write!(out, ", heard {ms} ms ago")?;
    }
    if link.lost > 0 {
        write!(out, ", {} of {} lost", link.lost, link.lost_of)?;
    }
    if link.broken > 0 {
        write!(out, ", {} broken frames", link.broken)?;
    }
    if let Some(error) = &link.error {
        write!(out, ", {error}")?;
    }
    writeln!(out)
}

fn write_group(out: &mut String, group: &GroupStatus) -> fmt::Result {
    let state = match group.state {
        GroupState::Standby => "standby",
        GroupState::Starting => "starting",
        GroupState::Active => "active",
        GroupState::Stopping => "stopping",
        GroupState::Failed => "FAILED",
    };
    let holder = group.holder.as_deref().unwrap_or("nobody");
    writeln!(out, "group {}  {state} here ({}), held by {holder}", group.name, group.cause)?;
    if let Some(seconds) = group.held_down_s {
        writeln!(out, "    held down for {seconds} s: it has switched by itself too often")?;
    }
    if let Some(seconds) = group.sync_wait_s {
        writeln!(out, "    waits at most {seconds} s to hear of every open connection there")?;
    }
    for (place, resource) in group.resources.iter().enumerate() {
        write!(out, "    {resource}")?;
        write_health(out, group.health.get(place))?;
    }
    if let Some(why) = &group.jeopardy {
        writeln!(out, "    not taken: {why}")?;
    }
    for arbiter in &group.arbiters {
        if let (Some(answer), Some(ms)) = (&arbiter.answer, arbiter.ago_ms) {
            writeln!(out, "    {}, {ms} ms ago", answer.words(&arbiter.name))?;
        }
    }
    for note in &group.notes {
        writeln!(out, "    {note}")?;
    }
    Ok(())
}

/// Of a standby's resources there is nothing to say.
fn write_health(out: &mut String, health: Option<&ResourceHealth>) -> fmt::Result {
    let state = match health.map(|health| health.state) {
        None | Some(ResourceState::Down) => "",
        Some(ResourceState::Starting) => "  starting",
        Some(ResourceState::Up) => "  up",
        Some(ResourceState::Failed) => "  FAILED",
        Some(ResourceState::Stopping) => "  stopping",
    };
    write!(out, "{state}")?;
    match health.filter(|health| health.failures > 0) {
        Some(health) => writeln!(out, ", {} failures", health.failures),
        None => writeln!(out),
    }
}

fn write_service(out: &mut String, service: &ServiceView) -> fmt::Result {
    let up = service.real.iter().filter(|real| real.up).count();
    let all = service.real.len();
    write!(out, "{} {} {}", service.protocol, service.service, service.scheduler)?;
    writeln!(out, "  {up} of {all} real servers up")?;
    match (&service.name, &service.comment) {
        (Some(name), Some(comment)) => writeln!(out, "    {name}: {comment}")?,
        (Some(text), None) | (None, Some(text)) => writeln!(out, "    {text}")?,
        (None, None) => {}
    }
    for real in &service.real {
        write_real(out, real)?;
    }
    if let Some(quorum) = &service.quorum {
        let QuorumView { of, needed, lost_below, present, met } = quorum;
        let state = if *met { "met" } else { "NOT MET" };
        write!(out, "    quorum  {state}: {of} {present} of {needed}")?;
        writeln!(out, ", lost below {lost_below}")?;
    }
    if service.panic {
        writeln!(out, "    PANIC  too many fail at once: those that fail stay in")?;
    }
    if !service.backup.is_empty() {
        let state = if service.turn == Some(Turn::Backup) { "SERVING" } else { "waiting" };
        writeln!(out, "    backup pool  {state}")?;
    }
    for real in &service.backup {
        write_real(out, real)?;
    }
    if service.turn == Some(Turn::Nobody) {
        writeln!(out, "    NOBODY serves")?;
    }
    if let Some(fallback) = &service.fallback {
        let state = if fallback.active { "serving" } else { "waiting" };
        write!(out, "    sorry server {}  {state}", fallback.address)?;
        match (fallback.state.as_str(), &fallback.cause) {
            ("down", Some(cause)) => writeln!(out, ", DOWN and not to be put in: {cause}")?,
            ("unknown", _) => writeln!(out, ", not checked yet")?,
            _ => writeln!(out)?,
        }
    }
    Ok(())
}

fn write_real(out: &mut String, real: &RealView) -> fmt::Result {
    write!(out, "    {} {} weight {}", real.address, real.forwarding, real.weight)?;
    write!(out, "  {}", real.state)?;
    if let Some(ordered) = &real.ordered {
        write!(out, ", {ordered} by an operator")?;
    }
    if real.ordered.is_some() || real.open > 0 {
        write!(out, ", {} open", real.open)?;
    }
    if let Some(ms) = real.drain_ends_ms {
        write!(out, ", out in {} s", ms.div_ceil(1000))?;
    }
    if let Some(warning) = &real.warning {
        write!(out, ", {warning}")?;
    }
    if let Some(ms) = real.whole_in_ms {
        write!(out, ", grows to its weight within {} s", ms.div_ceil(1000))?;
    }
    if let Some(percent) = real.agent_percent.filter(|percent| *percent != 100) {
        write!(out, ", {percent} % by its agent")?;
    }
    if let Some(why) = &real.agent_silent {
        write!(out, ", its agent is silent ({why})")?;
    }
    if real.flapping {
        write!(out, ", FLAPS: {} changes in ten minutes", real.changes)?;
    }
    match &real.cause {
        Some(cause) => writeln!(out, ": {cause}")?,
        None => writeln!(out)?,
    }
    Ok(())
}
