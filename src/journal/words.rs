//! Events of the cluster in words: one sentence each, for log, journal and status alike.

use crate::cluster::event::{Bar, Cause, Event, GroupState, Operation, Restraint, ServiceLink};
use crate::cluster::message::Extent;
use crate::cluster::{ArbiterAnswer, Difference};
use crate::journal::Severity;
use crate::names::{LinkId, LinkName, NodeName};

/// The stable name of an event, by which scripts know it, and how grave it is.
pub fn kind(event: &Event) -> (&'static str, Severity) {
    match event {
        Event::PeerAlive { .. } => ("peer_alive", Severity::Info),
        Event::PeerDead { .. } => ("peer_dead", Severity::Alarm),
        Event::PeerLeft { .. } => ("peer_left", Severity::Warning),
        Event::PeerRestarts { .. } => ("peer_restarts", Severity::Warning),
        Event::PeerBack { .. } => ("peer_back", Severity::Info),
        Event::LateBeat { .. } => ("late_beat", Severity::Warning),
        Event::LinkUp { .. } => ("link_up", Severity::Info),
        Event::LinkDown { .. } => ("link_down", Severity::Warning),
        Event::Role { state: GroupState::Failed, .. } => ("role", Severity::Alarm),
        Event::Role { .. } => ("role", Severity::Info),
        Event::ActionFailed { .. } => ("action_failed", Severity::Alarm),
        Event::ResourceFailed { .. } => ("resource_failed", Severity::Alarm),
        Event::NotMonitored { .. } => ("not_monitored", Severity::Warning),
        Event::Stalled { .. } => ("stalled", Severity::Warning),
        Event::Conflict { .. } => ("conflict", Severity::Alarm),
        Event::Jeopardy { .. } => ("jeopardy", Severity::Alarm),
        Event::JeopardyOver { .. } => ("jeopardy_over", Severity::Info),
        Event::Service { link: ServiceLink::Down, .. } => ("service_link", Severity::Alarm),
        Event::Service { .. } => ("service_link", Severity::Info),
        Event::ConfigDiffers => ("config_differs", Severity::Warning),
        Event::SectionsDiffer { .. } => ("sections_differ", Severity::Warning),
        Event::ConfigAgrees => ("config_agrees", Severity::Info),
        Event::Arbiter { answer: ArbiterAnswer::Granted, .. } => ("arbiter", Severity::Info),
        Event::Arbiter { .. } => ("arbiter", Severity::Warning),
        Event::Fencing { .. } => ("fencing", Severity::Alarm),
        Event::Fenced { .. } => ("fenced", Severity::Alarm),
        Event::FenceFailed { .. } => ("fence_failed", Severity::Alarm),
        Event::ConfirmedDead { .. } => ("confirmed_dead", Severity::Warning),
        Event::Reach { count, of } if count == of => ("reach", Severity::Info),
        Event::Reach { .. } => ("reach", Severity::Warning),
        Event::HeldDown { .. } => ("held_down", Severity::Alarm),
        Event::Restrained { .. } => ("restrained", Severity::Alarm),
        Event::Freeze { extent: Extent::Nothing } => ("freeze", Severity::Info),
        Event::Freeze { .. } => ("freeze", Severity::Warning),
    }
}

/// What happened, for the operator. `links` are this node's, in the order of the configuration.
pub fn sentence(links: &[LinkName], event: &Event) -> String {
    match event {
        Event::PeerAlive { node } => format!("{node} is up"),
        Event::PeerDead { node, silent_ms } => {
            format!("{node} is dead: nothing heard of it for {silent_ms} ms")
        }
        Event::PeerLeft { node } => format!("{node} has released everything and left"),
        Event::PeerRestarts { node, within_ms } => {
            format!("{node} restarts with all that it holds; it has {within_ms} ms for it")
        }
        Event::PeerBack { node, silent_ms } => {
            format!("{node} is back after {silent_ms} ms")
        }
        Event::LateBeat { node, silent_ms } => {
            format!("Late heartbeat: Node {node}: interval {silent_ms} ms")
        }
        Event::LinkUp { link } => format!("link {} is up", link_name(links, *link)),
        Event::LinkDown { link } => format!("link {} is down", link_name(links, *link)),
        Event::Role { group, state, epoch, cause } => {
            format!("{group}: {} here, epoch {epoch}: {}", state_word(*state), cause_words(*cause))
        }
        Event::ActionFailed { group, resource, operation, why } => {
            format!("{group}: {}", failure(*resource, *operation, why))
        }
        Event::ResourceFailed { group, resource, failures, why } => {
            format!("{group}: {}", broken(*resource, *failures, why))
        }
        Event::NotMonitored { group, resource } => format!(
            "{group}: resource {} says that it is down right after it was started; it is not \
             monitored",
            resource.saturating_add(1)
        ),
        Event::Stalled { late_ms } => {
            format!("this process stood still for {late_ms} ms; not counted as the peer's silence")
        }
        Event::Conflict { group, mine, theirs } => {
            format!(
                "{group}: both nodes hold it, epoch {mine} here, {theirs} there; the higher keeps it"
            )
        }
        Event::Arbiter { group, arbiter, answer } => {
            format!("{group}: {}", answer.words(arbiter))
        }
        Event::Fencing { node, tries } => format!("{node} is being fenced, try {tries}"),
        Event::Fenced { node, how } => format!("{node} is fenced: {how}"),
        Event::FenceFailed { node, why, again_ms } => fence_failed(node, why, *again_ms),
        Event::ConfirmedDead { node } => format!("an operator says that {node} is off"),
        Event::Reach { count, of } => format!("this node reaches {count} of {of} ping nodes"),
        Event::HeldDown { group, seconds } => format!(
            "{group}: it has switched by itself too often; it stays where it is for {seconds} s"
        ),
        Event::Restrained { group, why } => {
            format!("{group}: not taken: {}", restraint_words(*why))
        }
        Event::Freeze { extent } => freeze_words(*extent).to_owned(),
        Event::Jeopardy { group, why } => format!("{group}: not taken: {}", bar_words(*why)),
        Event::JeopardyOver { group } => {
            format!("{group}: nothing stands against taking it any more")
        }
        Event::Service { group, link } => {
            format!("{group}: the way to its clients is {}", service_word(*link))
        }
        Event::SectionsDiffer { sections } => {
            format!("the peer's configuration differs in {}", list(sections))
        }
        Event::ConfigAgrees => "the peer runs on the same configuration again".to_owned(),
        Event::ConfigDiffers => {
            "the peer runs on a different configuration; compare the files of both nodes".to_owned()
        }
    }
}

fn fence_failed(node: &NodeName, why: &str, again_ms: u64) -> String {
    let seconds = again_ms / 1000;
    format!("{node} is NOT fenced, and nothing is taken from it: {why}; again in {seconds} s")
}

/// Why a group is not taken from a silent peer.
pub fn bar_words(why: Bar) -> &'static str {
    match why {
        Bar::Served => {
            "jeopardy: the peer is silent on every heartbeat link and still serves it on the service LAN"
        }
        Bar::NoLink => "this node's own way to its clients is down",
        Bar::Isolated => "none of the ping nodes answers: this node is the one that is cut off",
        Bar::Held => "an arbiter has granted it to the other node",
        Bar::Unreachable => {
            "an arbiter can't be reached; `pairbeat confirm-dead` if the peer is off for certain"
        }
        Bar::Unfenced => {
            "the peer has not been fenced; `pairbeat confirm-dead` if it is off for certain"
        }
    }
}

/// A service link's state in one word.
pub fn service_word(link: ServiceLink) -> &'static str {
    match link {
        ServiceLink::Unknown => "unknown",
        ServiceLink::Up => "up",
        ServiceLink::Down => "down",
    }
}

/// Why a group that would be taken is not, in a few words.
pub fn restraint_words(why: Restraint) -> &'static str {
    match why {
        Restraint::Frozen => {
            "automatic switches are frozen; `pairbeat takeover` takes it, `pairbeat unfreeze` ends that"
        }
        Restraint::HeldDown => "it has switched by itself too often; `pairbeat status` counts down",
    }
}

/// What is frozen, in a few words.
pub fn freeze_words(extent: Extent) -> &'static str {
    match extent {
        Extent::Nothing => "automatic switches go on again",
        Extent::ExceptDead => "automatic switches are frozen, but for those from a dead node",
        Extent::All => {
            "automatic switches are frozen: whatever happens, each group stays where it is"
        }
    }
}

/// Sections that differ, in one line.
pub(crate) fn list(sections: &[Difference]) -> String {
    let words: Vec<String> = sections.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// What failed, and why; the resource by its place in the list, from 1.
pub fn failure(resource: usize, operation: Operation, why: &str) -> String {
    let verb = match operation {
        Operation::Start => "start",
        Operation::Stop => "stop",
    };
    format!("{verb} of resource {} failed: {why}", resource.saturating_add(1))
}

/// A resource that has failed while it was up, by its place in the list, from 1.
pub fn broken(resource: usize, failures: u32, why: &str) -> String {
    let resource = resource.saturating_add(1);
    format!("resource {resource} has failed, failure {failures}: {why}")
}

fn link_name(links: &[LinkName], link: LinkId) -> String {
    let known = links.get(usize::from(link.0));
    known.map_or_else(|| format!("number {}", link.0), ToString::to_string)
}

/// A group's state in one word.
pub fn state_word(state: GroupState) -> &'static str {
    match state {
        GroupState::Standby => "standby",
        GroupState::Starting => "starting",
        GroupState::Active => "active",
        GroupState::Stopping => "stopping",
        GroupState::Failed => "failed",
    }
}

/// Why a role changed, in a few words.
pub fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Boot => "first decision after the start",
        Cause::PeerDead => "the peer is dead",
        Cause::PeerLeft => "the peer has left",
        Cause::Standby => "standby was asked for",
        Cause::Takeover => "takeover was asked for",
        Cause::Failback => "the preferred node takes it back",
        Cause::PeerDeclined => "the peer can't or won't have it",
        Cause::StartFailed => "a start failed here",
        Cause::StopFailed => "a stop failed here",
        Cause::ResourceFailed => "a resource has failed here",
        Cause::HigherEpoch => "the peer holds it with a higher epoch",
        Cause::Leave => "this node is leaving",
        Cause::ServiceLinkDown => "this node can't reach the clients, the peer can",
        Cause::Connectivity => "the peer reaches more ping nodes",
        Cause::ArbiterLost => "an arbiter does not let this node hold it without the peer",
        Cause::Completed => "done",
        Cause::Reload => "the configuration has it no more",
        Cause::HandoverFailed => "the hand-over came to nothing",
    }
}
