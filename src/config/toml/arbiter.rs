//! `[[arbiter]]`: third parties that have a say before a takeover.
//!
//! ```toml
//! [[arbiter]]
//! kind = "etcd"
//! addresses = ["10.0.0.11:2379", "10.0.0.12:2379", "10.0.0.13:2379"]
//! lease = "10s"
//!
//! [[arbiter]]
//! kind = "ping"
//! addresses = ["192.168.2.1", "10.1.0.1"]
//! needed = "any"
//! required = false
//! ```

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::arbiter::{
    ARBITER_ADDRESSES_MAX, ARBITER_LEASE, ARBITER_LEASE_MAX, ARBITER_LEASE_MIN, ARBITER_TIMEOUT,
    ARBITER_TIMEOUT_MAX, ARBITER_TIMEOUT_MIN, ARBITERS_MAX, Arbiter, ArbiterKind, ETCD_PORT,
    Endpoint, Etcd, EtcdTls, Needed,
};
use crate::config::diag::{Excerpts, Span, Word, nearest};
use crate::config::keys::permissions;
use crate::config::link::numbered;
use crate::config::source::Source;
use crate::config::toml::link::host;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::config::value;
use crate::keys::Secret;
use crate::names::{NAME_LEN_MAX, NodeName};

/// Words of `kind`.
const KINDS: [&str; 3] = ["ping", "tcp", "etcd"];

/// All of them.
pub(super) fn read(
    item: Option<Item<'_>>,
    nodes: &[NodeName],
    walk: &mut Walk<'_>,
) -> Vec<Arbiter> {
    let mut arbiters: Vec<Arbiter> = Vec::new();
    for (place, item) in item.map_or_else(Vec::new, |item| item.items(walk)).iter().enumerate() {
        if place == ARBITERS_MAX {
            walk.faults.fault(item.span, format!("over {ARBITERS_MAX} arbiters"));
        }
        let Some(fields) = item.fields(walk) else { continue };
        arbiters.extend(arbiter(fields, (&arbiters, nodes), walk));
    }
    arbiters
}

fn arbiter(
    mut fields: Fields<'_>,
    (others, nodes): (&[Arbiter], &[NodeName]),
    walk: &mut Walk<'_>,
) -> Option<Arbiter> {
    let span = fields.span;
    let word = kind_word(fields.take("kind"), span, walk);
    let given = fields.take("name").and_then(|item| item.text(walk));
    let required = fields.take("required").and_then(|item| item.boolean(walk)).unwrap_or(true);
    let limits = (ARBITER_TIMEOUT_MIN, ARBITER_TIMEOUT_MAX);
    let timeout = time(fields.take("timeout"), limits, walk).unwrap_or(ARBITER_TIMEOUT);
    let addresses = addresses(fields.take("addresses"), span, walk);
    let kind = match word {
        Some("etcd") => etcd(&mut fields, &addresses, nodes, walk),
        Some("tcp") => tcp(&mut fields, &addresses, walk),
        Some(_) => ping(&mut fields, &addresses, walk),
        None => {
            // Which keys are known depends on the kind.
            fields.take_all();
            None
        }
    };
    fields.finish(walk);
    let name = name(given, word?, others, walk);
    Some(Arbiter { name, required, timeout, kind: kind? })
}

fn kind_word(item: Option<Item<'_>>, span: Span, walk: &mut Walk<'_>) -> Option<&'static str> {
    let Some(item) = item else {
        walk.missing(span, "an arbiter without `kind`", "`kind` is one of ping, tcp, etcd");
        return None;
    };
    let word = item.text(walk)?;
    let known = KINDS.into_iter().find(|kind| *kind == word.text);
    if known.is_none() {
        let help = match nearest(word.text, KINDS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", KINDS.join(", ")),
        };
        walk.faults.fault(word.span(), format!("unknown kind `{}`", word.text)).help(help);
    }
    known
}

fn name(given: Option<Word<'_>>, kind: &str, others: &[Arbiter], walk: &mut Walk<'_>) -> String {
    let taken = |name: &str| others.iter().any(|other| other.name == name);
    let Some(word) = given else {
        let mut names = (0..=others.len()).map(|count| numbered(kind, count));
        return names.find(|name| !taken(name)).unwrap_or_default();
    };
    if let Err(error) = NodeName::new(word.text) {
        walk.faults.fault(word.span(), error.to_string());
    } else if taken(word.text) {
        walk.faults.fault(word.span(), format!("a second arbiter called `{}`", word.text));
    }
    word.text.chars().take(NAME_LEN_MAX).collect()
}

fn time(
    item: Option<Item<'_>>,
    (least, most): (Duration, Duration),
    walk: &mut Walk<'_>,
) -> Option<Duration> {
    let item = item?;
    let time = item.time(walk)?;
    if time < least || time > most {
        let (least, most) = (value::time_text(least), value::time_text(most));
        walk.faults.fault(item.span, format!("at least {least} and at most {most}"));
    }
    Some(time)
}

fn addresses<'d>(item: Option<Item<'d>>, span: Span, walk: &mut Walk<'_>) -> Vec<Word<'d>> {
    let items = item.map_or_else(Vec::new, |item| item.items(walk));
    let at = item.map_or(span, |item| item.span);
    if items.is_empty() {
        walk.missing(at, "an arbiter without addresses", "`addresses = [\"192.168.2.1\"]`");
    }
    if items.len() > ARBITER_ADDRESSES_MAX {
        walk.faults.fault(at, format!("over {ARBITER_ADDRESSES_MAX} addresses"));
    }
    let mut words: Vec<Word<'d>> = Vec::new();
    for item in items.into_iter().take(ARBITER_ADDRESSES_MAX) {
        let Some(word) = item.text(walk) else { continue };
        if words.iter().any(|other| other.text == word.text) {
            walk.faults.warn(word.span(), format!("{} is given twice", word.text));
        } else {
            words.push(word);
        }
    }
    words
}

fn needed(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Needed {
    let Some(word) = fields.take("needed").and_then(|item| item.text(walk)) else {
        return Needed::Majority;
    };
    match word.text {
        "any" => Needed::Any,
        "majority" => Needed::Majority,
        other => {
            let message = format!("`{other}` is neither `any` nor `majority`");
            walk.faults.fault(word.span(), message);
            Needed::Majority
        }
    }
}

fn ping(fields: &mut Fields<'_>, words: &[Word<'_>], walk: &mut Walk<'_>) -> Option<ArbiterKind> {
    let needed = needed(fields, walk);
    let mut ips: Vec<IpAddr> = Vec::new();
    for word in words {
        let Some(ip) = host(*word, walk) else { continue };
        if ip.is_loopback() {
            walk.faults.fault(word.span(), "a loopback address says nothing about the network");
        }
        ips.push(ip);
    }
    Some(ArbiterKind::Ping(ips, needed))
}

fn tcp(fields: &mut Fields<'_>, words: &[Word<'_>], walk: &mut Walk<'_>) -> Option<ArbiterKind> {
    let needed = needed(fields, walk);
    let mut targets = Vec::new();
    for word in words {
        targets.extend(socket(*word, None, walk).map(|(address, _)| address));
    }
    Some(ArbiterKind::Tcp(targets, needed))
}

fn etcd(
    fields: &mut Fields<'_>,
    words: &[Word<'_>],
    nodes: &[NodeName],
    walk: &mut Walk<'_>,
) -> Option<ArbiterKind> {
    let mut endpoints = Vec::new();
    for word in words {
        let found = socket(*word, Some(ETCD_PORT), walk);
        endpoints.extend(found.map(|(address, host)| Endpoint { address, host }));
    }
    let prefix = fields.take("prefix").and_then(|item| item.text(walk));
    let prefix = prefix.map_or_else(|| default_prefix(nodes), |word| word.text.to_owned());
    let lease = fields.take("lease");
    let span = lease.map(|item| item.span);
    let lease = time(lease, (ARBITER_LEASE_MIN, ARBITER_LEASE_MAX), walk).unwrap_or(ARBITER_LEASE);
    if let Some(span) = span.filter(|_| lease.subsec_nanos() != 0) {
        walk.faults.fault(span, "a lease in etcd is whole seconds");
    }
    let tls = tls(fields, walk);
    let user = user(fields, walk);
    Some(ArbiterKind::Etcd(Box::new(Etcd { endpoints, prefix, lease, tls, user })))
}

/// Two clusters may share an etcd.
fn default_prefix(nodes: &[NodeName]) -> String {
    let mut names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    names.sort_unstable();
    format!("/pairbeat/{}/", names.join("+"))
}

fn tls(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<EtcdTls> {
    let on = fields.take("tls").map(|item| (item, item.boolean(walk)));
    let mut files = ["ca_file", "cert_file", "key_file"].map(|key| {
        let word = fields.take(key).and_then(|item| item.text(walk))?;
        Some((word, readable(word, walk)))
    });
    let [ca, cert, key] = files.each_mut().map(Option::take);
    let first = [&ca, &cert, &key].into_iter().flatten().next();
    match (on, first) {
        (Some((item, Some(false))), Some(_)) => {
            walk.faults.fault(item.span, "`tls = false`, and yet there are files for it");
        }
        (None | Some((_, Some(false))), None) => return None,
        _ => {}
    }
    let own = match (cert, key) {
        (Some((_, cert)), Some((word, key))) => {
            private(word, walk);
            Some((cert, key))
        }
        (None, None) => None,
        (Some((word, _)), None) | (None, Some((word, _))) => {
            let message = "a certificate of our own needs both, `cert_file` and `key_file`";
            walk.faults.fault(word.span(), message);
            None
        }
    };
    Some(EtcdTls { ca: ca.map(|(_, path)| path), own })
}

/// A file that is there; its content is for later.
fn readable(word: Word<'_>, walk: &mut Walk<'_>) -> PathBuf {
    let path = walk.directory.join(word.text);
    if let Err(error) = walk.environment.read(&path) {
        walk.faults.fault(word.span(), format!("`{}`: cannot read: {error}", word.text));
    }
    path
}

fn private(word: Word<'_>, walk: &mut Walk<'_>) {
    if let Ok(source) = Source::open(&walk.directory.join(word.text), walk.environment) {
        let mut faults = source.faults(Excerpts::Hidden);
        permissions(&source, &mut faults);
        walk.others.extend(faults.into_list());
    }
}

fn user(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<(String, Secret)> {
    let name = fields.take("user").and_then(|item| item.text(walk));
    let file = fields.take("password_file").and_then(|item| item.text(walk));
    match (name, file) {
        (Some(name), Some(file)) => Some((name.text.to_owned(), walk.password(file)?)),
        (None, None) => None,
        (Some(word), None) | (None, Some(word)) => {
            let message = "a user needs both, `user` and `password_file`";
            walk.faults.fault(word.span(), message);
            None
        }
    }
}

/// `HOST:PORT`, `[IPV6]:PORT`, and without a port where there is a usual one. With the host as it
/// was written.
fn socket(word: Word<'_>, usual: Option<u16>, walk: &mut Walk<'_>) -> Option<(SocketAddr, String)> {
    if let Ok(address) = word.text.parse::<SocketAddr>()
        && address.port() != 0
    {
        return Some((address, address.ip().to_string()));
    }
    if word.text.contains("://") {
        let help = "`tls = true` says that TLS is spoken";
        walk.faults.fault(word.span(), "an address, not a URL").help(help);
        return None;
    }
    let whole = word.text.parse::<IpAddr>().is_ok();
    let (name, port) = match word.text.rsplit_once(':').filter(|_| !whole) {
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)),
        None => (word.text, usual),
    };
    let Some(port) = port else {
        let message = format!("`{}` is not an address with a port", word.text);
        walk.faults.fault(word.span(), message).help("HOST:PORT, or [IPV6]:PORT");
        return None;
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let ip = host(Word { text: bare, start: word.start }, walk)?;
    Some((SocketAddr::new(ip, port), bare.to_owned()))
}
