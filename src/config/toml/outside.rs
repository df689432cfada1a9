//! `[connectivity]` and `[[fence]]`: ping nodes, and devices that fence the peer.
//!
//! ```toml
//! [connectivity]
//! ping = ["192.168.2.1"]
//! ping_group = [{ name = "uplinks", members = ["10.1.0.1", "10.2.0.1"] }]
//!
//! [[fence]]
//! agent = "fence_ipmilan"
//! node = "server105"
//! params = { ip = "10.0.0.5", lanplus = true }
//! params_file = "fence-server105"
//! ```
//!
//! Passwords stand in the file that `params_file` names, never in this one.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::diag::{Excerpts, Faults, Mark, Span, Word, lines};
use crate::config::keys::permissions;
use crate::config::outside::{
    DraftFence, FENCE_PARAMS_MAX, FENCE_TIMEOUT, FENCE_TIMEOUT_MAX, FenceDevice, FenceKind,
    FenceParams, Outside, PING_MEMBERS_MAX, PingNode, Whom, is_program, names_a_secret,
};
use crate::config::source::Source;
use crate::config::toml::link::host;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::config::value;
use crate::keys::Secret;
use crate::names::NodeName;

/// Both sections.
pub(super) fn read(
    connectivity: Option<Item<'_>>,
    fence: Option<Item<'_>>,
    walk: &mut Walk<'_>,
) -> Outside {
    let mut outside = Outside::default();
    if let Some(fields) = connectivity.and_then(|item| item.fields(walk)) {
        read_connectivity(fields, &mut outside, walk);
    }
    for item in fence.map_or_else(Vec::new, |item| item.items(walk)) {
        let Some(fields) = item.fields(walk) else { continue };
        outside.fence.extend(device(fields, walk));
    }
    outside
}

fn read_connectivity(mut fields: Fields<'_>, outside: &mut Outside, walk: &mut Walk<'_>) {
    for item in fields.take("ping").map_or_else(Vec::new, |item| item.items(walk)) {
        let Some(word) = item.text(walk) else { continue };
        let members = address(word, walk).into_iter().collect();
        outside.ping_nodes.extend(ping_node(word, members, walk));
    }
    for item in fields.take("ping_group").map_or_else(Vec::new, |item| item.items(walk)) {
        let Some(fields) = item.fields(walk) else { continue };
        outside.ping_nodes.extend(ping_group(fields, walk));
    }
    if let Some(item) = fields.take("deadping") {
        outside.deadping = item.time(walk).map(|time| (time, walk.faults.mark(item.span)));
    }
    outside.ipfail = match fields.take("ipfail") {
        Some(item) => item.boolean(walk).unwrap_or_default(),
        None => !outside.ping_nodes.is_empty(),
    };
    fields.finish(walk);
}

fn ping_group(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> Option<(PingNode, Mark)> {
    let span = fields.span;
    let name = fields.take("name").and_then(|item| item.text(walk));
    let items = fields.take("members").map_or_else(Vec::new, |item| item.items(walk));
    fields.finish(walk);
    if items.is_empty() || items.len() > PING_MEMBERS_MAX {
        let message = format!("a ping group has 1 to {PING_MEMBERS_MAX} addresses");
        walk.missing(span, &message, "`members = [\"10.1.0.1\", \"10.2.0.1\"]`");
        return None;
    }
    let Some(name) = name else {
        walk.missing(span, "a ping group without `name`", "`name = \"uplinks\"`");
        return None;
    };
    let words: Vec<Word<'_>> = items.into_iter().filter_map(|item| item.text(walk)).collect();
    let mut members: Vec<IpAddr> = Vec::new();
    for word in words {
        match address(word, walk) {
            Some(ip) if members.contains(&ip) => {
                walk.faults.warn(word.span(), format!("{ip} is given twice"));
            }
            found => members.extend(found),
        }
    }
    ping_node(name, members, walk)
}

fn ping_node(
    name: Word<'_>,
    members: Vec<IpAddr>,
    walk: &mut Walk<'_>,
) -> Option<(PingNode, Mark)> {
    let at = walk.faults.mark(name.span());
    match NodeName::new(name.text) {
        Ok(_) if members.is_empty() => None,
        Ok(name) => Some((PingNode { name, members }, at)),
        Err(error) => {
            walk.faults.fault(name.span(), error.to_string());
            None
        }
    }
}

fn address(word: Word<'_>, walk: &mut Walk<'_>) -> Option<IpAddr> {
    let ip = host(word, walk)?;
    if let Some(what) = value::unfit_vip(ip) {
        walk.faults.fault(word.span(), format!("{what} says nothing about the network"));
        return None;
    }
    Some(ip)
}

fn device(mut fields: Fields<'_>, walk: &mut Walk<'_>) -> Option<DraftFence> {
    let span = fields.span;
    let at = walk.faults.mark(span);
    let kinds = [
        (FenceKind::Agent, fields.take("agent")),
        (FenceKind::External, fields.take("external")),
        (FenceKind::StonithPlugin, fields.take("plugin")),
    ];
    let mut given = kinds.into_iter().filter_map(|(kind, item)| Some((kind, item?)));
    let kind = match (given.next(), given.next()) {
        (Some(one), None) => Some(one),
        _ => {
            let help = "`agent = \"fence_ipmilan\"`, `external = \"ipmi\"` or `plugin = \"rps10\"`";
            walk.missing(span, "a fencing device is exactly one program", help);
            None
        }
    };
    let whom = whom(fields.take("node"), walk);
    let timeout = timeout(fields.take("timeout"), walk);
    let mut params = params(fields.take("params"), walk);
    if let Some(word) = fields.take("params_file").and_then(|item| item.text(walk)) {
        params.extend(params_file(word, walk));
    }
    fields.finish(walk);
    check_params(&params, span, walk);
    let (kind, item) = kind?;
    let name = item.text(walk)?;
    if !is_program(name.text) {
        let message = format!("`{}` is not the name of a program", name.text);
        walk.faults.fault(name.span(), message).help("without a path");
        return None;
    }
    let (name, params) = (name.text.to_owned(), FenceParams::Named(params));
    let device = FenceDevice { kind, name, params, timeout, node: None };
    Some(DraftFence { device, whom, at })
}

fn whom(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Whom {
    let Some(word) = item.and_then(|item| item.text(walk)) else { return Whom::Peer };
    match NodeName::new(word.text) {
        Ok(node) => Whom::Target(node, walk.faults.mark(word.span())),
        Err(error) => {
            walk.faults.fault(word.span(), error.to_string());
            Whom::Peer
        }
    }
}

fn timeout(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Duration {
    let Some(item) = item else { return FENCE_TIMEOUT };
    let Some(time) = item.time(walk) else { return FENCE_TIMEOUT };
    if time.is_zero() || time > FENCE_TIMEOUT_MAX {
        let most = value::time_text(FENCE_TIMEOUT_MAX);
        walk.faults.fault(item.span, format!("a timeout is more than nothing and at most {most}"));
    }
    time
}

fn params(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Vec<(String, Secret)> {
    let Some(mut fields) = item.and_then(|item| item.fields(walk)) else { return Vec::new() };
    let mut params = Vec::new();
    for (key, item) in fields.take_all() {
        if names_a_secret(key.text) {
            let message = format!("`{}` is a secret, and this file is no place for it", key.text);
            let help = "`params_file = \"FILE\"`: lines of NAME = VALUE, mode 600";
            let fault = walk.faults.fault(key.span(), message);
            fault.help(help);
            fault.conceal();
            continue;
        }
        let Some(value) = item.scalar(walk) else { continue };
        params.extend(param(key, &value, &mut walk.faults));
    }
    params
}

/// `NAME = VALUE` lines; the value goes to the end of the line.
fn params_file(name: Word<'_>, walk: &mut Walk<'_>) -> Vec<(String, Secret)> {
    let source = match Source::open(&walk.directory.join(name.text), walk.environment) {
        Ok(source) => source,
        Err(error) => {
            let message = format!("`{}`: {}", name.text, error.message);
            walk.faults.fault(name.span(), message);
            return Vec::new();
        }
    };
    let mut faults = source.faults(Excerpts::Hidden);
    permissions(&source, &mut faults);
    let mut params = Vec::new();
    for line in lines(&source.text).map(|line| line.trim()) {
        if line.text.is_empty() || line.text.starts_with('#') {
            continue;
        }
        match line.split_once("=") {
            Some((key, value)) => {
                params.extend(param(key.trim(), value.trim().text, &mut faults));
            }
            None => drop(faults.fault(line.span(), "not NAME = VALUE")),
        }
    }
    walk.others.extend(faults.into_list());
    params
}

fn param(key: Word<'_>, value: &str, faults: &mut Faults<'_>) -> Option<(String, Secret)> {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if key.text.is_empty() || !key.text.chars().all(fit) {
        faults.fault(key.span(), "letters, digits, `_` and `-` make the name of a parameter");
        return None;
    }
    if value.contains(char::is_control) {
        let message = format!("the value of `{}` has a control character in it", key.text);
        faults.fault(key.span(), message).conceal();
        return None;
    }
    Some((key.text.to_owned(), Secret::new(value)))
}

fn check_params(params: &[(String, Secret)], span: Span, walk: &mut Walk<'_>) {
    for (index, (name, _)) in params.iter().enumerate() {
        if params.iter().take(index).any(|(other, _)| other == name) {
            walk.faults.fault(span, format!("the parameter `{name}` is given twice"));
        }
    }
    if params.len() > FENCE_PARAMS_MAX {
        walk.faults.fault(span, format!("over {FENCE_PARAMS_MAX} parameters"));
    }
}
