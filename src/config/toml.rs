//! `pairbeat.toml`: the native format.
//!
//! One file says what ha.cf, haresources and ldirectord.cf say together; the keys are in a file of
//! their own. The document is walked by hand, so that every fault is found in one go, with its
//! place. Rules across sections are in `config::check`, shared with the ha.d layout.
//!
//! ```toml
//! [cluster]
//! nodes = ["server101", "server105"]
//!
//! [[link]]
//! interface = "eth1"
//! peers = ["10.0.0.101", "10.0.0.105"]
//!
//! [[group]]
//! name = "web"
//! preferred = "server101"
//! resources = ["192.168.2.110/24/eth0", { director = "web" }]
//!
//! [[director.web.service]]
//! address = "192.168.2.110:80"
//! real = ["192.168.2.106", "192.168.2.107"]
//! ```

mod agent;
mod arbiter;
mod check;
pub(crate) use self::check::{COUNT_MAX, TIME_MAX as CHECK_TIME_MAX, TIME_MIN as CHECK_TIME_MIN};
pub(crate) use self::mail::REPEAT as MAIL_REPEAT;
pub(crate) use self::requires::DEPENDENCIES_MAX;
mod damping;
mod director;
mod exchange;
mod group;
mod http;
mod ipvs;
mod link;
mod mail;
mod outside;
mod policy;
mod requires;
mod service;
mod source;
mod tls;

#[cfg(test)]
mod tests;
mod walk;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::check::{Draft, DraftDirector};
use crate::config::diag::{Diagnostic, Excerpts, Mark, Span};
use crate::config::source::Source;
use crate::config::{AutoFailback, Environment, KeyRing, Timing, keys, timing};
use crate::names::{DirectorName, NodeName};
use walk::{Fields, Item, Walk};

/// The key file where none is named, beside the TOML file.
const KEY_FILE: &str = "keys";

/// Reads the file and the key file that it names.
pub(super) fn read(
    path: &Path,
    node: &NodeName,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Draft> {
    let source = match Source::open(path, environment) {
        Ok(source) => source,
        Err(fault) => {
            found.push(*fault);
            return None;
        }
    };
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let mut walk = Walk {
        faults: source.faults(Excerpts::Shown),
        text: &source.text,
        environment,
        node,
        directory: path.parent().unwrap_or(Path::new("")),
        broken: !errors.is_empty(),
        others: Vec::new(),
    };
    if let Some(at) = source.not_utf8 {
        walk.faults.fault(at..at + 1, "not UTF-8");
    }
    for error in &errors {
        let span = error.span().map_or(Span::FILE, Span::from);
        walk.faults.fault(span, error.message().lines().collect::<Vec<_>>().join(", "));
    }
    let mut fields = Fields::new(document.get_ref(), Span::FILE);
    let cluster = cluster(fields.take("cluster"), &mut walk);
    let damping = damping::read(fields.take("damping"), &mut walk);
    let links = link::read(fields.take("link"), &mut walk);
    let groups = group::read(fields.take("group"), &mut walk);
    let directors = directors(fields.take("director"), &mut walk);
    let mut outside = outside::read(fields.take("connectivity"), fields.take("fence"), &mut walk);
    let names: Vec<_> = cluster.nodes.iter().map(|(name, _)| name.clone()).collect();
    outside.arbiters = arbiter::read(fields.take("arbiter"), &names, &mut walk);
    let ipvs = ipvs::read(fields.take("ipvs"), &mut walk);
    let service = service::read(fields.take("service"), fields.take("respawn"), &mut walk);
    group::directors_exist(&groups, &directors, &mut walk);
    fields.finish(&mut walk);
    let broken = walk.broken;
    found.extend(walk.faults.into_list());
    found.extend(walk.others);
    found.extend(cluster.timing_faults);
    let keys = key_ring(&cluster.key_file, environment, found);
    if broken {
        return None;
    }
    Some(Draft {
        file: path.to_owned(),
        nodes: cluster.nodes,
        timing: cluster.timing,
        auto_failback: cluster.auto_failback,
        damping,
        links,
        keys,
        groups,
        directors,
        watched: Vec::new(),
        outside,
        service,
        ipvs,
    })
}

fn key_ring(path: &Path, environment: &dyn Environment, found: &mut Vec<Diagnostic>) -> KeyRing {
    match Source::open(path, environment) {
        Ok(source) => {
            let (keys, faults) = keys::read(&source);
            found.extend(faults);
            keys
        }
        Err(mut fault) => {
            fault.help("`pairbeat keygen` prints a complete file; put it on both nodes, mode 600");
            found.push(*fault);
            KeyRing { keys: Vec::new() }
        }
    }
}

/// `[cluster]`.
struct Cluster {
    nodes: Vec<(NodeName, Mark)>,
    timing: Timing,
    timing_faults: Vec<Diagnostic>,
    auto_failback: AutoFailback,
    key_file: PathBuf,
}

fn cluster(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Cluster {
    let fields = item.and_then(|item| item.fields(walk));
    if item.is_none() {
        let help = "`nodes = [\"server101\", \"server105\"]` below it";
        walk.missing(Span::FILE, "no `[cluster]`", help);
    }
    let mut fields = fields.unwrap_or_else(Fields::none);
    let nodes = fields.take("nodes").map_or_else(Vec::new, |item| nodes(item, walk));
    let mut time = |key| {
        let item = fields.take(key)?;
        Some((item.time(walk)?, walk.faults.mark(item.span)))
    };
    let written = timing::Written {
        keepalive: time("keepalive"),
        warntime: time("warntime"),
        deadtime: time("deadtime"),
        initdead: time("initdead"),
    };
    let (timing, timing_faults) = timing::resolve(written, timing::NATIVE);
    let on = fields.take("auto_failback").and_then(|item| item.boolean(walk)).unwrap_or(false);
    let key_file = fields.take("key_file").and_then(|item| item.text(walk));
    let key_file = walk.directory.join(key_file.map_or(KEY_FILE, |word| word.text));
    fields.finish(walk);
    let auto_failback = if on { AutoFailback::On } else { AutoFailback::Off };
    Cluster { nodes, timing, timing_faults, auto_failback, key_file }
}

fn nodes(item: Item<'_>, walk: &mut Walk<'_>) -> Vec<(NodeName, Mark)> {
    let mut nodes: Vec<(NodeName, Mark)> = Vec::new();
    for item in item.items(walk) {
        let Some(word) = item.text(walk) else { continue };
        match NodeName::new(word.text) {
            Err(error) => drop(walk.faults.fault(item.span, error.to_string())),
            Ok(name) if nodes.iter().any(|(other, _)| *other == name) => {
                walk.faults.fault(item.span, format!("node {name} is listed twice"));
            }
            Ok(name) => nodes.push((name, walk.faults.mark(item.span))),
        }
    }
    nodes
}

fn directors(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Vec<DraftDirector> {
    let Some(mut fields) = item.and_then(|item| item.fields(walk)) else { return Vec::new() };
    let mut directors = Vec::new();
    for (key, item) in fields.take_all() {
        let Some(fields) = item.fields(walk) else { continue };
        match DirectorName::new(key.text) {
            Ok(name) => directors.push(director::read(name, fields, walk)),
            Err(error) => drop(walk.faults.fault(key.span(), error.to_string())),
        }
    }
    directors
}
