//! The values of the directives, one by one: what was written, before anything is derived.

use std::net::IpAddr;

use crate::config::Family;
use crate::config::diag::{Faults, Span, Word, nearest};
use crate::config::ldirectord::lines::{self, Entry};
use crate::config::ldirectord::{Context, address, http};
use crate::lvs::check::HttpMethod;
use crate::lvs::model::{Forwarding, Protocol};

/// Longest persistence, in seconds (ipvsadm's limit of 31 days).
pub(in crate::config) const PERSISTENT_MAX: u32 = 31 * 24 * 3600;
/// Longest interval and timeout, in seconds.
const SECONDS_MAX: u32 = 24 * 3600;
/// Longest scheduler name, in bytes: `IP_VS_SCHEDNAME_MAXLEN` without its NUL (linux/ip_vs.h).
const SCHEDULER_LEN_MAX: usize = 15;
/// The schedulers of Linux 6.18.
const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];

/// What may stand in a section and as a global.
#[derive(Debug, Default)]
pub(super) struct Common<'a> {
    pub(super) interval: Option<u32>,
    pub(super) check_timeout: Option<u32>,
    pub(super) negotiate_timeout: Option<u32>,
    pub(super) failure_count: Option<u32>,
    pub(super) quiescent: Option<bool>,
    pub(super) clean_stop: Option<bool>,
    pub(super) fallback: Option<Sorry<'a>>,
    pub(super) fallback6: Option<Sorry<'a>>,
}

/// A sorry server as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sorry<'a> {
    pub(super) word: Word<'a>,
    pub(super) ip: IpAddr,
    pub(super) port: Option<u16>,
    pub(super) forwarding: Forwarding,
}

/// `checktype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckType {
    Negotiate,
    Connect,
    Ping,
    On,
    Off,
    /// One negotiate check, then so many connect checks.
    Every(u32),
    /// A fault that has been reported.
    Unusable,
}

/// `service`: what a negotiate check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Http,
    Https,
    None,
    /// Known to ldirectord, not to us yet.
    NotYet(&'static str),
    /// A fault that has been reported.
    Unusable,
}

/// What there is instead of a service that can't be checked.
pub(super) const SERVICE_HELP: &str =
    "http, https or none; for anything else `checktype=connect` or `checktype=ping`";

/// The services of ldirectord with their default ports.
const SERVICES: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("dns", 53),
    ("ftp", 21),
    ("http_proxy", 3128),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("mysql", 3306),
    ("nntp", 119),
    ("oracle", 1521),
    ("pgsql", 5432),
    ("pop", 110),
    ("pops", 995),
    ("radius", 1812),
    ("sip", 5060),
    ("smtp", 25),
    ("submission", 587),
    ("simpletcp", 0),
    ("none", 0),
];

impl Service {
    fn named(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "https" => Some(Self::Https),
            "none" => Some(Self::None),
            _ => SERVICES.iter().find(|(known, _)| *known == name).map(|row| Self::NotYet(row.0)),
        }
    }

    /// The service that ldirectord takes for a virtual service on this port.
    pub(super) fn of_port(port: u16) -> Self {
        let known = SERVICES.iter().find(|(_, known)| *known == port && port > 0);
        known.and_then(|(name, _)| Self::named(name)).unwrap_or(Self::None)
    }
}

/// `protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Transport(Protocol),
    Mark,
}

/// One section. Spans are those of the values.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    pub(super) common: Common<'a>,
    pub(super) reals: Vec<Entry<'a>>,
    pub(super) protocol: Option<(Carrier, Span)>,
    pub(super) scheduler: Option<&'a str>,
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<Word<'a>>,
    pub(super) ops: Option<(bool, Span)>,
    pub(super) service: Option<(Service, Span)>,
    pub(super) check_type: Option<(CheckType, Span)>,
    pub(super) check_port: Option<u16>,
    pub(super) request: Option<Word<'a>>,
    pub(super) receive: Option<Word<'a>>,
    pub(super) host: Option<&'a str>,
    pub(super) method: Option<HttpMethod>,
}

/// The globals.
pub(super) fn common<'a>(entries: &[Entry<'a>], context: &mut Context<'_, '_>) -> Common<'a> {
    let mut common = Common::default();
    repeated(entries, context);
    for entry in entries {
        set_common(&mut common, entry, context);
    }
    common
}

/// One section.
pub(super) fn read<'a>(raw: &lines::Section<'a>, context: &mut Context<'_, '_>) -> Section<'a> {
    let mut section = Section::default();
    repeated(&raw.entries, context);
    for entry in &raw.entries {
        set(&mut section, entry, context);
    }
    section
}

/// The last of several counts; only real servers are several.
fn repeated(entries: &[Entry<'_>], context: &mut Context<'_, '_>) {
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.directive.name;
        let before = entries.get(..index).unwrap_or_default();
        if !name.starts_with("real") && before.iter().any(|other| other.directive.name == name) {
            context.faults.warn(entry.key.span(), format!("`{name}` again; this one counts"));
        }
    }
}

fn set_common<'a>(common: &mut Common<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let faults = &mut *context.faults;
    match entry.directive.name {
        "checkinterval" => common.interval = address::number(word, 1, SECONDS_MAX, faults),
        "checktimeout" => common.check_timeout = address::number(word, 1, SECONDS_MAX, faults),
        "negotiatetimeout" => {
            common.negotiate_timeout = address::number(word, 1, SECONDS_MAX, faults);
        }
        "failurecount" => common.failure_count = address::number(word, 1, u32::MAX, faults),
        "quiescent" => common.quiescent = address::yes_no(word, faults),
        "cleanstop" => common.clean_stop = address::yes_no(word, faults),
        "fallback" => common.fallback = sorry(word, Family::V4, context),
        "fallback6" => common.fallback6 = sorry(word, Family::V6, context),
        _ => (),
    }
}

/// `HOST[:PORT] [gate|masq|ipip]`.
fn sorry<'a>(word: Word<'a>, family: Family, context: &mut Context<'_, '_>) -> Option<Sorry<'a>> {
    let words = word.split(char::is_whitespace);
    let Some((server, rest)) = words.split_first() else {
        let help = "`fallback=127.0.0.1:80`, or leave the line out for none";
        context.faults.fault(word.span(), "no sorry server").help(help);
        return None;
    };
    let endpoint = address::endpoint(*server);
    let ip = address::host(endpoint.host, family, context);
    let port = match endpoint.port {
        Some(port) => Some(address::port(port, Protocol::Tcp, context)?),
        None => None,
    };
    let forwarding = match rest.first() {
        Some(word) => address::forwarding(*word, context.faults),
        None => Some(Forwarding::Gate),
    };
    if let Some(extra) = rest.get(1) {
        context.faults.fault(extra.span(), "a sorry server has no weight");
    }
    Some(Sorry { word: *server, ip: ip?, port, forwarding: forwarding? })
}

fn set<'a>(section: &mut Section<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let span = word.span();
    let faults = &mut *context.faults;
    match entry.directive.name {
        "real" | "real6" => section.reals.push(*entry),
        "protocol" => section.protocol = protocol(word, context).map(|p| (p, span)),
        "scheduler" => section.scheduler = scheduler(word, context),
        "persistent" => section.persistent = address::number(word, 1, PERSISTENT_MAX, faults),
        "netmask" => section.netmask = Some(address::first(word, faults)),
        "ops" => section.ops = address::yes_no(word, faults).map(|on| (on, span)),
        "service" => section.service = Some((service(word, context), span)),
        "checktype" => section.check_type = Some((check_type(word, context), span)),
        "checkport" => {
            let port = address::number(word, 1, u32::from(u16::MAX), faults);
            section.check_port = port.and_then(|port| u16::try_from(port).ok());
        }
        "request" => section.request = address::text(word, faults),
        "receive" => {
            section.receive = address::text(word, faults);
            if let Some(text) = section.receive
                && !http::receive(text, faults)
            {
                section.receive = None;
            }
        }
        "virtualhost" => section.host = http::host(address::first(word, faults), faults),
        "httpmethod" => section.method = http::method(address::first(word, faults), faults),
        _ => set_common(&mut section.common, entry, context),
    }
}

fn protocol(word: Word<'_>, context: &mut Context<'_, '_>) -> Option<Carrier> {
    let first = address::first(word, context.faults);
    match first.text {
        "tcp" => Some(Carrier::Transport(Protocol::Tcp)),
        "udp" => Some(Carrier::Transport(Protocol::Udp)),
        "fwm" => Some(Carrier::Mark),
        other => {
            let message = format!("`{other}` is not a protocol");
            context.faults.fault(first.span(), message).help("tcp, udp, or fwm for a mark");
            None
        }
    }
}

fn scheduler<'a>(word: Word<'a>, context: &mut Context<'_, '_>) -> Option<&'a str> {
    let first = address::first(word, context.faults);
    known_scheduler(first, context.faults)
}

/// A scheduler's name; a warning where it is not one of Linux 6.18.
pub(in crate::config) fn known_scheduler<'a>(
    first: Word<'a>,
    faults: &mut Faults<'_>,
) -> Option<&'a str> {
    let name = first.text;
    let letters = name.bytes().all(|b| b.is_ascii_lowercase());
    if name.is_empty() || !letters || name.len() > SCHEDULER_LEN_MAX {
        let message = format!("`{name}` is not a scheduler");
        let help = format!("{}: small letters only", SCHEDULERS.join(", "));
        faults.fault(first.span(), message).help(help);
        return None;
    }
    if !SCHEDULERS.contains(&name) {
        let message = format!("`{name}` is not a scheduler that we know; the kernel must have it");
        let near = nearest(name, SCHEDULERS.iter().copied());
        let warning = faults.warn(first.span(), message);
        if let Some(near) = near {
            warning.help(format!("did you mean `{near}`?"));
        }
    }
    Some(name)
}

fn service(word: Word<'_>, context: &mut Context<'_, '_>) -> Service {
    let first = address::first(word, context.faults);
    Service::named(first.text).unwrap_or_else(|| {
        let message = format!("`{}` is not a service of ldirectord", first.text);
        context.faults.fault(first.span(), message).help(SERVICE_HELP);
        Service::Unusable
    })
}

fn check_type(word: Word<'_>, context: &mut Context<'_, '_>) -> CheckType {
    let first = address::first(word, context.faults);
    match first.text {
        "negotiate" => CheckType::Negotiate,
        "connect" => CheckType::Connect,
        "ping" => CheckType::Ping,
        "on" => CheckType::On,
        "off" => CheckType::Off,
        "external" | "external-perl" => {
            let message = format!("`{}` checks are not supported yet", first.text);
            let help = "`checktype=negotiate` with service=http, connect, or ping";
            context.faults.fault(first.span(), message).help(help);
            CheckType::Unusable
        }
        other => match other.parse::<u32>() {
            Ok(connects) if connects > 0 => CheckType::Every(connects),
            _ => {
                let message = format!("`{other}` is not a type of check");
                let help = "negotiate, connect, ping, on, off, or a number";
                context.faults.fault(first.span(), message).help(help);
                CheckType::Unusable
            }
        },
    }
}
