//! `cl_status`: Heartbeat's question about nodes, links and resources, with its words and its exit
//! codes (cl_status(1) of Heartbeat 3.0.6).
//!
//! Answered from the daemon's status and the configuration; nothing here is asked of the peer.

use clap::Args;

use super::exit::Code;
use super::out;
use crate::cluster::event::GroupState;
use crate::config::{self, Config};
use crate::control::client;
use crate::control::protocol::Call;
use crate::daemon::Paths;
use crate::status::Status;
use crate::sys::files::Machine;

/// Heartbeat's codes beside 0: no, and what was asked for is not there.
const NO: Code = Code::Heartbeat(1);
const NO_SUCH_NODE: Code = Code::Heartbeat(11);
const NO_SUCH_LINK: Code = Code::Heartbeat(13);

/// The words of cl_status.
#[derive(Debug, Args)]
pub(super) struct Words {
    /// hbstatus, listnodes, nodestatus, nodeweight, nodesite, nodetype, listhblinks, hblinkstatus,
    /// clientstatus, rscstatus or hbparameter
    question: String,
    /// Node, link or client
    names: Vec<String>,
    /// More details
    #[arg(short)]
    verbose: bool,
    /// For people
    #[arg(short)]
    m: bool,
    /// Normal nodes only
    #[arg(short)]
    normal: bool,
    /// Ping nodes only; with hbparameter, the parameter
    #[arg(short, num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    p: Option<Option<String>>,
}

/// Answers one question.
pub(super) fn cl_status(paths: &Paths, words: &Words) -> Code {
    let status = status(paths);
    if words.question == "hbstatus" {
        return hbstatus(status.as_ref(), paths, words);
    }
    if words.question == "hbparameter" {
        return parameter(paths, words);
    }
    let Some(status) = status else {
        return out::fault(NO, "Heartbeat is stopped on this machine.");
    };
    let name = |at: usize| words.names.get(at).map(|name| name.to_lowercase());
    match (words.question.as_str(), name(0), name(1)) {
        ("listnodes", ..) => {
            list_nodes(&status, paths, words);
            Code::Well
        }
        ("rscstatus", ..) => say(words, "This node is holding {} resources.", held(&status)),
        ("nodestatus", Some(node), _) => node_status(&status, paths, words, &node),
        ("nodetype", Some(node), _) => {
            let kind = find(&status, paths, &node).map_or("unknown", |node| node.kind);
            say(words, &format!("The node {node}'s type: {{}}"), kind)
        }
        ("nodeweight", Some(node), _) => known(&status, paths, &node, || {
            say(words, &format!("The weight of the cluster node {node} is {{}}"), "100")
        }),
        ("nodesite", Some(node), _) => known(&status, paths, &node, || {
            say(words, &format!("The site of the cluster node {node} is {{}}"), "")
        }),
        ("listhblinks", Some(node), _) => known(&status, paths, &node, || {
            if words.m {
                out::line("\tthis node has the following heartbeat links:");
            }
            list_links(&status, words.verbose);
            Code::Well
        }),
        ("hblinkstatus", Some(node), Some(_)) => link_status(&status, paths, words, &node),
        ("clientstatus", Some(node), Some(client)) => known(&status, paths, &node, || {
            let runs = client == "ipfail" && load(paths).is_some_and(|config| config.ipfail);
            out::line(if runs { "online" } else { "offline" });
            if runs { Code::Well } else { NO }
        }),
        _ => out::fault(Code::Usage, "cl_status: a question of cl_status(1) and its names"),
    }
}

/// The bare answer, or within Heartbeat's sentence where `-m` asks for it.
fn say(words: &Words, sentence: &str, answer: &str) -> Code {
    if words.m {
        out::line(&sentence.replace("{}", answer));
    } else {
        out::line(answer);
    }
    Code::Well
}

fn status(paths: &Paths) -> Option<Status> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let body = runtime.block_on(client::call(&paths.control_socket(), &Call::Status)).ok()?;
    serde_json::from_slice(&body).ok()
}

fn load(paths: &Paths) -> Option<Config> {
    config::load(&paths.config, &paths.node, &Machine::default()).0
}

fn hbstatus(status: Option<&Status>, paths: &Paths, words: &Words) -> Code {
    let Some(status) = status else {
        out::line("Heartbeat is stopped on this machine.");
        return NO;
    };
    out::line("Heartbeat is running on this machine.");
    if words.verbose {
        out::line(&format!("version:\tpairbeat {}", env!("CARGO_PKG_VERSION")));
        list_nodes(status, paths, words);
    }
    Code::Well
}

/// A node in Heartbeat's words.
struct Node {
    name: String,
    state: &'static str,
    kind: &'static str,
}

fn nodes(status: &Status, paths: &Paths) -> Vec<Node> {
    let state = match status.peer.state.as_str() {
        "up" => "active",
        "unknown" => "init",
        _ => "dead",
    };
    let pair = [
        Node { name: status.peer.node.clone(), state, kind: "normal" },
        Node { name: status.node.clone(), state: "active", kind: "normal" },
    ];
    let pings = load(paths).map_or_else(Vec::new, |config| config.ping_nodes);
    let pings = pings.into_iter().map(|ping| Node {
        name: ping.name.to_string(),
        state: "ping",
        kind: "ping",
    });
    pings.chain(pair).collect()
}

fn find(status: &Status, paths: &Paths, name: &str) -> Option<Node> {
    nodes(status, paths).into_iter().find(|node| node.name == name)
}

fn known(status: &Status, paths: &Paths, name: &str, answer: impl FnOnce() -> Code) -> Code {
    match find(status, paths, name) {
        Some(_) => answer(),
        None => out::fault(NO_SUCH_NODE, "Error. May be due to incorrect node name"),
    }
}

fn list_nodes(status: &Status, paths: &Paths, words: &Words) {
    if words.m {
        out::line("The nodes are as follow:");
    }
    let pings = words.p.is_some();
    for node in nodes(status, paths) {
        let wanted = (!pings && !words.normal) || (node.kind == "ping") == pings;
        if wanted && words.verbose {
            out::line(&format!("{}\t{}\t(nodetype: {})", node.name, node.state, node.kind));
            if node.kind == "normal" {
                list_links(status, true);
            }
        } else if wanted {
            out::line(&node.name);
        }
    }
}

fn list_links(status: &Status, verbose: bool) {
    for link in &status.links {
        let state = if verbose { format!("\t{}", link_word(&link.state)) } else { String::new() };
        out::line(&format!("\t{}{state}", link.name));
    }
}

fn link_word(state: &str) -> &'static str {
    if state == "up" { "up" } else { "dead" }
}

fn node_status(status: &Status, paths: &Paths, words: &Words, name: &str) -> Code {
    let Some(node) = find(status, paths, name) else {
        return out::fault(NO_SUCH_NODE, "Error. Maybe due to incorrect node name.");
    };
    say(words, &format!("The cluster node {name} is {{}}"), node.state);
    if matches!(node.state, "active" | "ping") { Code::Well } else { NO }
}

fn link_status(status: &Status, paths: &Paths, words: &Words, node: &str) -> Code {
    // Names of links are case-sensitive, unlike those of nodes.
    let name = words.names.get(1).map(String::as_str).unwrap_or_default();
    let link = status.links.iter().find(|link| link.name == name);
    let Some((link, _)) = link.zip(find(status, paths, node)) else {
        return out::fault(NO_SUCH_LINK, "Cannot get heartbeat link status");
    };
    let state = link_word(&link.state);
    say(words, &format!("The node {node}'s heartbeat link {name} is {{}}"), state);
    if state == "up" { Code::Well } else { NO }
}

/// Which groups are held, as Heartbeat counts: a node without groups of its own holds all of them.
fn held(status: &Status) -> &'static str {
    let moving = |state| matches!(state, GroupState::Starting | GroupState::Stopping);
    if status.groups.iter().any(|group| moving(group.state)) {
        return "transition";
    }
    let (local, foreign): (Vec<_>, Vec<_>) =
        status.groups.iter().partition(|group| group.preferred == status.node);
    let active = |group: &&crate::status::GroupStatus| group.state == GroupState::Active;
    let (mine, theirs) = (local.iter().all(active), foreign.iter().any(active));
    match (mine, theirs) {
        (true, true) => "all",
        (true, false) => "local",
        (false, true) => "foreign",
        (false, false) => "none",
    }
}

fn parameter(paths: &Paths, words: &Words) -> Code {
    let asked = words.p.as_ref().and_then(Option::as_ref);
    let Some(asked) = asked else { return out::fault(NO, "parameter name required") };
    match load(paths).and_then(|config| value(&config, asked)) {
        Some(value) => say(words, &format!("Heartbeat parameter {asked}'s value: {{}}"), &value),
        None => out::fault(NO, &format!("Cannot get parameter {asked}'s value")),
    }
}

fn value(config: &Config, asked: &str) -> Option<String> {
    let time = |time: std::time::Duration| Some(format!("{}ms", time.as_millis()));
    let path = |path: &Option<std::path::PathBuf>| Some(path.as_ref()?.display().to_string());
    match asked {
        "keepalive" => time(config.timing.keepalive),
        "warntime" => time(config.timing.warntime),
        "deadtime" => time(config.timing.deadtime),
        "initdead" => time(config.timing.initdead),
        "deadping" => time(config.deadping),
        "auto_failback" => {
            let on = config.auto_failback == config::AutoFailback::On;
            Some(if on { "on" } else { "off" }.to_owned())
        }
        "debug" => Some(config.service.log.debug.to_string()),
        "logfile" => path(&config.service.log.file),
        "debugfile" => path(&config.service.log.debug_file),
        "logfacility" => config.service.log.facility.map(|facility| facility.name.to_owned()),
        "watchdog" => path(&config.service.watchdog),
        "hbversion" => Some(env!("CARGO_PKG_VERSION").to_owned()),
        _ => None,
    }
}
