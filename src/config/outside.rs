//! What a node asks of the world outside the pair: ping nodes, and devices that fence the peer.
//!
//! Types and the rules that hold for both formats. Asks nobody itself. Neighbours: `ha_cf::outside`
//! and `toml::outside` read them, `check` ties their names to the nodes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::arbiter::Arbiter;
use crate::config::diag::{Diagnostic, Mark, nearest};
use crate::config::timing::TIME_MAX;
use crate::config::value::time_text;
use crate::config::{Config, Environment, Timing};
use crate::keys::Secret;
use crate::names::NodeName;

/// Most ping nodes: each of them gets an echo request every keepalive.
pub const PING_NODES_MAX: usize = 16;
/// Most members of one ping group, for the same reason.
pub const PING_MEMBERS_MAX: usize = 16;
/// Most fencing devices: they are tried one after the other while nobody serves.
pub const FENCES_MAX: usize = 8;
/// Most parameters of one fencing device; the largest agents know some sixty.
pub const FENCE_PARAMS_MAX: usize = 64;
/// Longest that one fencing device may take, where nothing is said. Agents of power switches wait
/// some 20 s for the machine to go off.
pub const FENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest that may be asked for; nobody serves meanwhile.
pub const FENCE_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Directory of fencing programs of one's own, beside the configuration: looked into first.
pub const FENCE_DIRECTORY: &str = "fence.d";
/// Where `fence-agents` puts its programs, on every distribution.
const AGENT_DIRECTORIES: &[&str] =
    &["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin"];
/// Where cluster-glue puts them.
const EXTERNAL_DIRECTORIES: &[&str] = &[
    "/usr/lib/stonith/plugins/external",
    "/usr/lib64/stonith/plugins/external",
    "/usr/local/lib/stonith/plugins/external",
];
/// What a fencing device can be told to do by its parameter `action`: whatever else it can do puts
/// nothing out of service.
pub const FENCE_ACTIONS: &[&str] = &["off", "reboot", "reset", "cycle"];

/// Parts of the names of parameters that hold a secret, in fencing and resource agents alike.
const SECRET_NAMES: &[&str] = &["passw", "secret", "token", "community", "pwd"];

/// Whether a parameter of that name holds a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| lower.contains(part))
}

/// An address, or several, whose answers show that this node reaches the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingNode {
    /// Shown in status and log: the address as written (`ping`, `ping6`), or the name of a
    /// `ping_group`. No two are the same, and none is that of a node.
    pub name: NodeName,
    /// Reachable when one of them answers; at least one, at most [`PING_MEMBERS_MAX`].
    pub members: Vec<IpAddr>,
}

/// A device that can put a node out of service for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceDevice {
    /// How it is called.
    pub kind: FenceKind,
    /// The program: `fence_ipmilan`, the file name below `plugins/external`, the type of a plugin.
    pub name: String,
    /// What the program is told; a password is among it.
    pub params: FenceParams,
    /// Longest run; default [`FENCE_TIMEOUT`], at most [`FENCE_TIMEOUT_MAX`].
    pub timeout: Duration,
    /// The node that it fences; `None`: whichever is the peer.
    pub node: Option<NodeName>,
}

impl FenceDevice {
    /// The file name of its program.
    fn program(&self) -> &str {
        match self.kind {
            FenceKind::Agent | FenceKind::External => &self.name,
            FenceKind::StonithPlugin => "stonith",
        }
    }

    /// Where its program may be, in the order in which it is looked for; `config` is the directory
    /// of the configuration.
    pub fn candidates(&self, config: &Path) -> Vec<PathBuf> {
        let directories = match self.kind {
            FenceKind::Agent | FenceKind::StonithPlugin => AGENT_DIRECTORIES,
            FenceKind::External => EXTERNAL_DIRECTORIES,
        };
        let own = std::iter::once(config.join(FENCE_DIRECTORY));
        let all = own.chain(directories.iter().map(PathBuf::from));
        all.map(|directory| directory.join(self.program())).collect()
    }
}

/// How a fencing device is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceKind {
    /// A program of the `fence-agents` package: `NAME=VALUE` lines on its standard input
    /// (FenceAgentAPI).
    Agent,
    /// A program of cluster-glue below `plugins/external`: parameters in its environment, the
    /// action and the host as arguments.
    External,
    /// A plugin of cluster-glue, by way of stonith(8).
    StonithPlugin,
}

/// The parameters of a fencing device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceParams {
    /// By name, as in TOML; at most [`FENCE_PARAMS_MAX`].
    Named(Vec<(String, Secret)>),
    /// As in ha.cf: one line, in the order in which the device names its parameters, the last of
    /// them takes the rest of the line (`stonith -p`, `getconfignames`).
    Positional(Secret),
}

impl Config {
    /// The devices that fence the peer, in the order in which they are to be tried.
    pub fn fences(&self) -> impl Iterator<Item = &FenceDevice> {
        self.fence.iter().filter(|device| device.node.as_ref().is_none_or(|it| *it == self.peer))
    }
}

/// Whom a device is for, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    /// Whichever is the peer.
    Peer,
    /// This node is fenced by it.
    Target(NodeName, Mark),
    /// This node uses it, so that the other one is fenced by it: `stonith_host`.
    User(NodeName, Mark),
}

/// A device with the places of its parts.
#[derive(Debug, Clone)]
pub(super) struct DraftFence {
    pub(super) device: FenceDevice,
    pub(super) whom: Whom,
    pub(super) at: Mark,
}

/// What the outside part of a configuration says.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) ping_nodes: Vec<(PingNode, Mark)>,
    pub(super) deadping: Option<(Duration, Mark)>,
    /// Whether the node with the better connectivity shall hold the groups.
    pub(super) ipfail: bool,
    pub(super) fence: Vec<DraftFence>,
    /// In the order of the file.
    pub(super) arbiters: Vec<Arbiter>,
}

impl Outside {
    /// Faults of what does not fit the nodes and the timing; binds each device to a node.
    pub(super) fn check(
        &mut self,
        nodes: &[(NodeName, Mark)],
        timing: &Timing,
        found: &mut Vec<Diagnostic>,
    ) {
        self.check_pings(nodes, timing, found);
        for draft in &mut self.fence {
            draft.check_action(found);
            draft.bind(nodes, found);
        }
        if let Some(draft) = self.fence.get(FENCES_MAX) {
            found.push(draft.at.fault(format!("over {FENCES_MAX} fencing devices")));
        }
    }

    fn check_pings(
        &self,
        nodes: &[(NodeName, Mark)],
        timing: &Timing,
        found: &mut Vec<Diagnostic>,
    ) {
        for (index, (ping, at)) in self.ping_nodes.iter().enumerate() {
            if index == PING_NODES_MAX {
                found.push(at.fault(format!("over {PING_NODES_MAX} ping nodes")));
            }
            if self.ping_nodes.iter().take(index).any(|(other, _)| other.name == ping.name) {
                found.push(at.fault(format!("a second ping node called `{}`", ping.name)));
            }
            if nodes.iter().any(|(node, _)| *node == ping.name) {
                let message = format!("`{}` is a node of the cluster, no ping node", ping.name);
                found.push(at.fault(message));
            }
        }
        if let Some((deadping, at)) = &self.deadping {
            found.extend(deadping_fault(*deadping, timing, at));
        }
    }

    /// Faults of fencing that could never be done: what fences `peer` must be there. `directory` is
    /// that of the configuration.
    pub(super) fn check_fences(
        &self,
        peer: &NodeName,
        directory: &Path,
        environment: &dyn Environment,
        found: &mut Vec<Diagnostic>,
    ) {
        let ours = |it: &&DraftFence| it.device.node.as_ref().is_none_or(|node| node == peer);
        let ours: Vec<&DraftFence> = self.fence.iter().filter(ours).collect();
        if let (Some(first), true) = (self.fence.first(), ours.is_empty()) {
            let message = format!("no device fences {peer}, the peer of this node");
            let help = "this node takes its groups without fencing it";
            found.push(first.at.warning(message).with_help(help));
        }
        for DraftFence { device, at, .. } in &ours {
            let candidates = device.candidates(directory);
            if candidates.iter().any(|path| environment.executable(path)) {
                continue;
            }
            let then = match ours.len() {
                1 => "while it is missing nothing is taken from a silent peer",
                _ => "this device can't fence anybody",
            };
            let message = format!("no fencing program {}; {then}", device.program());
            let package = match device.kind {
                FenceKind::Agent => "fence-agents",
                FenceKind::External | FenceKind::StonithPlugin => "cluster-glue",
            };
            let looked = candidates.iter().filter_map(|path| path.parent());
            let looked: Vec<String> = looked.map(|it| it.display().to_string()).collect();
            let help =
                format!("the package {package} may have it; looked in {}", looked.join(", "));
            found.push(at.fault(message).with_help(help));
        }
    }

    /// Silence after which a ping node counts as unreachable; default: deadtime.
    pub(super) fn deadping(&self, timing: &Timing) -> Duration {
        self.deadping.as_ref().map_or(timing.deadtime, |(time, _)| *time)
    }
}

/// Heartbeat's rule (heartbeat 3.0.6, `config.c`): more than two keepalives.
fn deadping_fault(deadping: Duration, timing: &Timing, at: &Mark) -> Option<Diagnostic> {
    let least = timing.keepalive * 2;
    if deadping > TIME_MAX {
        return Some(at.fault(format!("at most {} s", TIME_MAX.as_secs())));
    }
    (deadping <= least).then(|| {
        let (deadping, least) = (time_text(deadping), time_text(least));
        at.fault(format!("deadping {deadping} is not more than two keepalives ({least})"))
            .with_help("one lost answer would count as a dead router")
    })
}

impl DraftFence {
    fn check_action(&self, found: &mut Vec<Diagnostic>) {
        let FenceParams::Named(params) = &self.device.params else { return };
        let mut actions = params.iter().filter(|(name, _)| name == "action");
        if actions.any(|(_, action)| !FENCE_ACTIONS.contains(&action.reveal())) {
            let fault = self.at.fault("the `action` of this fencing device fences nobody");
            found.push(fault.with_help(format!("one of {}", FENCE_ACTIONS.join(", "))));
        }
    }

    fn bind(&mut self, nodes: &[(NodeName, Mark)], found: &mut Vec<Diagnostic>) {
        let (name, mark) = match &self.whom {
            Whom::Peer => return,
            Whom::Target(name, mark) | Whom::User(name, mark) => (name, mark),
        };
        if !nodes.iter().any(|(node, _)| node == name) {
            let mut fault = mark.fault(format!("{name} is not a node of this cluster"));
            if let Some(near) = nearest(name.as_str(), nodes.iter().map(|(it, _)| it.as_str())) {
                fault.help(format!("did you mean `{near}`?"));
            }
            found.push(fault);
            return;
        }
        self.device.node = match &self.whom {
            Whom::Peer => None,
            Whom::Target(name, _) => Some(name.clone()),
            Whom::User(name, _) => {
                nodes.iter().map(|(node, _)| node).find(|node| *node != name).cloned()
            }
        };
    }
}

/// Whether it is the name of a file and nothing else.
pub(super) fn is_program(name: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(fit)
}
