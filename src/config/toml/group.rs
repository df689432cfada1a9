//! `[[group]]`: a resource group.
//!
//! A resource is a string in the syntax of haresources, or a table: `{ address = "IP/PREFIX",
//! interface, label, broadcast }`, `{ director = "NAME" }`, `{ sync = "INTERFACE", id, group, port,
//! ttl, maxlen, peers }`, `{ script = "NAME", args = [...] }`, `{ ocf = "PROVIDER:AGENT", params = { ... } }`,
//! `{ systemd = "UNIT" }`, each with `start_timeout` and `stop_timeout`; a program also with `monitor`,
//! `monitor_interval`, `monitor_timeout`, `restarts` and `failure_decay`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::cluster::Monitor;
use crate::config::check::{DraftDirector, DraftGroup, DraftResource};
use crate::config::diag::{Span, nearest};
use crate::config::haresources::{
    OCF_PARAMS_MAX, RESOURCES_MAX, agent_name, found, is_param, ocf, parse, plain, plain_address,
    script as program, systemd, watched,
};
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::config::value::time_text;
use crate::config::{Group, Resource, ResourceKind, Sync, sync};
use crate::names::{DirectorName, GroupName, NodeName};

/// Longest start or stop of one resource.
const ACTION_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Longest time from one look at a resource to the next: less often is as good as never.
const MONITOR_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest time for which a failure is remembered.
const FAILURE_DECAY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most restarts before a group goes to the peer.
const RESTARTS_MAX: u32 = 100;

/// All groups.
pub(super) fn read(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Vec<DraftGroup> {
    let items = item.map_or_else(Vec::new, |item| item.items(walk));
    items.into_iter().filter_map(|item| group(item.fields(walk)?, walk)).collect()
}

/// A group may only name a director that is there.
pub(super) fn directors_exist(
    groups: &[DraftGroup],
    directors: &[DraftDirector],
    walk: &mut Walk<'_>,
) {
    let names: Vec<&str> = directors.iter().map(|draft| draft.director.name.as_str()).collect();
    let mut used: Vec<&str> = Vec::new();
    let mut missing = Vec::new();
    for group in groups {
        for (resource, DraftResource { at }) in group.group.resources.iter().zip(&group.resources) {
            let ResourceKind::Director(name) = &resource.kind else { continue };
            used.push(name.as_str());
            if names.contains(&name.as_str()) {
                continue;
            }
            let help = match nearest(name.as_str(), names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("`[[director.{name}.service]]` makes one"),
            };
            missing.push(at.fault(format!("no director `{name}`")).with_help(help));
        }
    }
    let unused = names.iter().filter(|name| missing.is_empty() && !used.contains(name));
    for name in unused {
        let message = format!("no group has the director `{name}`, so it never runs");
        let help = format!("`{{ director = \"{name}\" }}` among the resources of a group");
        walk.faults.warn(Span::FILE, message).help(help);
    }
    walk.faults.extend(missing);
}

fn group(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> Option<DraftGroup> {
    let span = fields.span;
    let name = match fields.take("name") {
        Some(item) => item.text(walk).and_then(|word| match GroupName::new(word.text) {
            Ok(name) => Some((name, item.span)),
            Err(error) => {
                walk.faults.fault(item.span, error.to_string());
                None
            }
        }),
        None => {
            walk.missing(span, "a group without `name`", "`name = \"web\"`");
            None
        }
    };
    let preferred = match fields.take("preferred") {
        Some(item) => item.text(walk).and_then(|word| match NodeName::new(word.text) {
            Ok(name) => Some((name, item.span)),
            Err(error) => {
                walk.faults.fault(item.span, error.to_string());
                None
            }
        }),
        None => {
            let help = "the node that should have it when both can: `preferred = \"server101\"`";
            walk.missing(span, "a group without `preferred`", help);
            None
        }
    };
    let items = fields.take("resources").map_or_else(Vec::new, |item| item.items(walk));
    if items.is_empty() {
        let help = "`resources = [\"192.168.2.110/24/eth0\", { director = \"web\" }]`";
        walk.missing(span, "a group without resources", help);
    }
    if let Some(extra) = items.get(RESOURCES_MAX) {
        walk.faults.fault(extra.span, format!("over {RESOURCES_MAX} resources in one group"));
    }
    fields.finish(walk);
    let mut resources = Vec::new();
    let mut marks = Vec::new();
    for item in items.iter().take(RESOURCES_MAX) {
        if let Some(found) = resource(*item, walk) {
            resources.push(found);
            marks.push(DraftResource { at: walk.faults.mark(item.span) });
        }
    }
    let ((name, name_span), (preferred, preferred_span)) = (name?, preferred?);
    Some(DraftGroup {
        group: Group { name, preferred, resources },
        at: walk.faults.mark(name_span),
        preferred_at: walk.faults.mark(preferred_span),
        resources: marks,
    })
}

fn resource(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    if !item.is_table() {
        let word = item.text(walk)?;
        return parse(word, &mut walk.resource());
    }
    let mut fields = item.fields(walk)?;
    let limits = [fields.take("start_timeout"), fields.take("stop_timeout")];
    let looks = Looks::of(&mut fields);
    let mut resource = one(item.span, &mut fields, walk);
    fields.finish(walk);
    let resource = resource.as_mut()?;
    let [start, stop] = limits.map(|item| item.and_then(|item| timeout(item, walk)));
    resource.start_timeout = start.unwrap_or(resource.start_timeout);
    resource.stop_timeout = stop.unwrap_or(resource.stop_timeout);
    resource.monitor = looks.read(resource.monitor, walk);
    Some(resource.clone())
}

/// Exactly one thing.
fn one(span: Span, fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    const KINDS: [&str; 6] = ["address", "director", "sync", "script", "ocf", "systemd"];
    let given = KINDS.map(|kind| (kind, fields.take(kind)));
    let mut given = given.into_iter().filter_map(|(kind, item)| Some((kind, item?)));
    let (Some((kind, item)), None) = (given.next(), given.next()) else {
        let help = "`address`, `director`, `sync`, `script`, `ocf` or `systemd`";
        walk.missing(span, "a resource is exactly one thing", help);
        return None;
    };
    match kind {
        "address" => address(item, fields, walk),
        "director" => director(item, walk),
        "sync" => sync(item, fields, walk),
        "script" => script(item, fields, walk),
        "ocf" => agent(item, fields, walk),
        _ => {
            let word = item.text(walk)?;
            let unit = systemd(word, &mut walk.resource())?;
            Some(watched(&format!("systemd:{}", word.text), unit))
        }
    }
}

fn director(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    let word = item.text(walk)?;
    match DirectorName::new(word.text) {
        Ok(name) => {
            Some(plain(&format!("ldirectord::{}", word.text), ResourceKind::Director(name)))
        }
        Err(error) => {
            walk.faults.fault(item.span, error.to_string());
            None
        }
    }
}

/// What is said of the monitoring of a resource.
struct Looks<'d> {
    on: Option<Item<'d>>,
    interval: Option<Item<'d>>,
    timeout: Option<Item<'d>>,
    restarts: Option<Item<'d>>,
    decay: Option<Item<'d>>,
}

impl<'d> Looks<'d> {
    fn of(fields: &mut Fields<'d>) -> Self {
        Self {
            on: fields.take("monitor"),
            interval: fields.take("monitor_interval"),
            timeout: fields.take("monitor_timeout"),
            restarts: fields.take("restarts"),
            decay: fields.take("failure_decay"),
        }
    }

    fn read(&self, usual: Option<Monitor>, walk: &mut Walk<'_>) -> Option<Monitor> {
        let on = self.on.and_then(|item| item.boolean(walk)).unwrap_or(true);
        let said = [self.on, self.interval, self.timeout, self.restarts, self.decay];
        let Some(mut monitor) = usual else {
            for item in said.into_iter().flatten() {
                let help = "addresses are kept by the daemon, directors look after themselves";
                walk.faults.fault(item.span, "only programs are monitored").help(help);
            }
            return None;
        };
        span(self.interval, MONITOR_INTERVAL_MAX, &mut monitor.interval, walk);
        span(self.timeout, ACTION_TIMEOUT_MAX, &mut monitor.timeout, walk);
        span(self.decay, FAILURE_DECAY_MAX, &mut monitor.decay, walk);
        if let Some(restarts) = self.restarts.and_then(|it| it.number(0, RESTARTS_MAX, walk)) {
            monitor.restarts = restarts;
        }
        on.then_some(monitor)
    }
}

/// A time of a second to `most`, where one is given.
fn span(item: Option<Item<'_>>, most: Duration, into: &mut Duration, walk: &mut Walk<'_>) {
    let Some((item, time)) = item.and_then(|item| Some((item, item.time(walk)?))) else { return };
    if !(Duration::from_secs(1)..=most).contains(&time) {
        let message = format!("at least 1s and at most {}", time_text(most));
        walk.faults.fault(item.span, message);
        return;
    }
    *into = time;
}

fn timeout(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Duration> {
    let time = item.time(walk)?;
    if time.is_zero() || time > ACTION_TIMEOUT_MAX {
        walk.faults.fault(item.span, "a timeout is more than nothing and at most an hour");
    }
    Some(time)
}

/// `address = "IP/PREFIX"` and what it has beside it, put together as haresources has it.
fn address(item: Item<'_>, fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    let word = item.text(walk)?;
    let mut text = |key| fields.take(key).and_then(|item| item.text(walk));
    let parts = [text("interface"), text("label"), text("broadcast")];
    let mut address = plain_address(word, parts, &mut walk.faults)?;
    if address.label.is_some() && address.interface.is_none() {
        // A label begins with its interface: `eth0:web`.
        let label = address.label.as_deref().unwrap_or_default();
        address.interface = label.split(':').next().map(str::to_owned);
    }
    Some(plain(word.text, ResourceKind::Address(address)))
}

/// The interface, and what is not left to the kernel.
fn sync(item: Item<'_>, fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    let mut number = |key, from, to| fields.take(key).and_then(|item| item.number(from, to, walk));
    let id = number("id", 0, u32::from(u8::MAX)).unwrap_or(0);
    let port = number("port", 1, u32::from(u16::MAX));
    let ttl = number("ttl", 1, u32::from(u8::MAX));
    let maxlen = number("maxlen", *sync::MAXLEN.start(), *sync::MAXLEN.end());
    let group = fields.take("group").and_then(|item| multicast(item, walk));
    let peers = fields.take("peers").map_or_else(Vec::new, |item| peers(item, walk));
    let interface = sync::interface(item.text(walk)?, &mut walk.faults)?;
    let text = format!("LVSSyncDaemonSwap::master::{interface}::{id}");
    let sync = Sync {
        id: u8::try_from(id).ok()?,
        group,
        port: port.and_then(|port| u16::try_from(port).ok()),
        ttl: ttl.and_then(|ttl| u8::try_from(ttl).ok()),
        maxlen: maxlen.and_then(|maxlen| u16::try_from(maxlen).ok()),
        peers,
        ..Sync::new(&interface)
    };
    Some(plain(&text, ResourceKind::Sync(sync)))
}

/// One address, or an array of them.
fn peers(item: Item<'_>, walk: &mut Walk<'_>) -> Vec<IpAddr> {
    let items = if item.is_array() { item.items(walk) } else { vec![item] };
    if let Some(extra) = items.get(sync::PEERS_MAX) {
        walk.faults.fault(extra.span, format!("over {} addresses", sync::PEERS_MAX));
    }
    let mut peers = Vec::new();
    for item in items {
        let Some(word) = item.text(walk) else { continue };
        match word.text.parse::<IpAddr>().ok().filter(|ip| !ip.is_multicast()) {
            Some(ip) => peers.push(ip),
            None => {
                let message = format!("`{}` is not the address of a node", word.text);
                let help = "those of both nodes on that interface: `[\"10.0.0.1\", \"10.0.0.2\"]`";
                walk.faults.fault(item.span, message).help(help);
            }
        }
    }
    peers
}

fn multicast(item: Item<'_>, walk: &mut Walk<'_>) -> Option<IpAddr> {
    let word = item.text(walk)?;
    let group = word.text.parse::<IpAddr>().ok().filter(|group| group.is_multicast());
    if group.is_none() {
        let message = format!("`{}` is no multicast group", word.text);
        walk.faults.fault(item.span, message).help("`224.0.0.81`, `ff02::81`");
    }
    group
}

fn script(item: Item<'_>, fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    let word = item.text(walk)?;
    let items = fields.take("args").map_or_else(Vec::new, |item| item.items(walk));
    let args: Vec<String> = items
        .into_iter()
        .filter_map(|item| item.text(walk).map(|word| word.text.to_owned()))
        .collect();
    let (path, lsb) = found(word, &mut walk.resource())?;
    let mut text = word.text.to_owned();
    for arg in &args {
        text = format!("{text}::{arg}");
    }
    Some(watched(&text, program(path, lsb, args)))
}

/// `ocf = "PROVIDER:AGENT"` with its `params`, a table.
fn agent(item: Item<'_>, fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Resource> {
    let word = item.text(walk)?;
    let params = fields.take("params").and_then(|item| item.fields(walk));
    let mut parameters = BTreeMap::new();
    for (key, item) in params.map(|mut params| params.take_all()).into_iter().flatten() {
        if !is_param(key.text) || parameters.len() >= OCF_PARAMS_MAX {
            let message = format!("`{}` is no parameter of an agent", key.text);
            walk.faults.fault(item.span, message).help("letters, digits and `_`");
            continue;
        }
        if let Some(value) = item.scalar(walk) {
            parameters.insert(key.text.to_owned(), value);
        }
    }
    let context = &mut walk.resource();
    let name = agent_name(word, context)?;
    Some(watched(&format!("ocf:{}", word.text), ocf(word, name, parameters, context)?))
}
