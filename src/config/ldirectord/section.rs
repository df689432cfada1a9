//! The values of the directives, one by one: what was written, before anything is derived.

use crate::config::Family;
use crate::config::diag::{Faults, Span, Word, nearest};
use crate::config::ldirectord::file::{CheckType, Globals, Log, Service, Settings, Sorry, Written};
use crate::config::ldirectord::lines::{self, Entry};
use crate::config::ldirectord::{Context, address, http, mail};
use crate::keys::Secret;
use crate::lvs::exchange::HttpMethod;
use crate::lvs::model::{Forwarding, Protocol, SchedFlags};

/// Longest persistence, in seconds (ipvsadm's limit of 31 days).
pub(crate) const PERSISTENT_MAX: u32 = 31 * 24 * 3600;
/// Longest interval and timeout, in seconds.
pub(super) const SECONDS_MAX: u32 = 24 * 3600;
/// Longest scheduler name, in bytes: `IP_VS_SCHEDNAME_MAXLEN` without its NUL (linux/ip_vs.h).
const SCHEDULER_LEN_MAX: usize = 15;
/// The schedulers of Linux 6.18.
pub(crate) const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
];
/// The flags of schedulers that ipvsadm knows by name.
pub(crate) const SCHED_FLAGS: &[&str] =
    &["sh-fallback", "sh-port", "mh-fallback", "mh-port", "flag-1", "flag-2", "flag-3"];
/// What they are in the kernel.
const SCHED_BITS: &[u8] = &[1, 2, 1, 2, 1, 2, 4];

/// What there is instead of a service that is none.
const SERVICE_HELP: &str = "docs/LDIRECTORD.md has the services; `checktype=connect` or `checktype=ping` for anything else";

/// `protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Transport(Protocol),
    Mark,
}

/// One section. Spans are those of the values.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    pub(super) written: Vec<Written>,
    pub(super) settings: Settings<'a>,
    pub(super) reals: Vec<Entry<'a>>,
    pub(super) protocol: Option<(Carrier, Span)>,
    pub(super) scheduler: Option<&'a str>,
    pub(super) sched_flags: Option<Word<'a>>,
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<Word<'a>>,
    pub(super) ops: Option<(bool, Span)>,
    pub(super) service: Option<(Service, Span)>,
    pub(super) check_type: Option<(CheckType, Span)>,
    pub(super) check_port: Option<u16>,
    pub(super) check_command: Option<Word<'a>>,
    pub(super) request: Option<Word<'a>>,
    pub(super) receive: Option<Word<'a>>,
    pub(super) host: Option<&'a str>,
    pub(super) method: Option<HttpMethod>,
    pub(super) login: Option<Word<'a>>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<Word<'a>>,
    pub(super) secret: Option<Secret>,
    pub(super) load: Option<Word<'a>>,
    pub(super) monitor_file: Option<Word<'a>>,
    pub(super) service_name: Option<Word<'a>>,
    pub(super) comment: Option<Word<'a>>,
}

/// The globals.
pub(super) fn globals<'a>(entries: &[Entry<'a>], context: &mut Context<'_, '_>) -> Globals<'a> {
    let mut globals = Globals { written: written(entries, context), ..Globals::default() };
    for entry in entries {
        set_global(&mut globals, entry, context);
    }
    globals
}

/// One section.
pub(super) fn read<'a>(raw: &lines::Section<'a>, context: &mut Context<'_, '_>) -> Section<'a> {
    let mut section = Section { written: written(&raw.entries, context), ..Section::default() };
    for entry in &raw.entries {
        set(&mut section, entry, context);
    }
    section
}

/// What stands there. The last of several counts; only real servers and `execute` are several.
fn written(entries: &[Entry<'_>], context: &mut Context<'_, '_>) -> Vec<Written> {
    let mut list: Vec<Written> = Vec::new();
    for entry in entries {
        let directive = entry.directive.name;
        let several = matches!(directive, "real" | "real6" | "execute");
        if !several && list.iter().any(|other| other.directive == directive) {
            let message = format!("`{directive}` again; this one counts");
            context.faults.warn(entry.key.span(), message);
            list.retain(|other| other.directive != directive);
        }
        // Thousands of servers would make this list long for nobody.
        if !directive.starts_with("real") {
            list.push(Written { directive, key: entry.key.span(), value: entry.value.span() });
        }
    }
    list
}

fn set_global<'a>(globals: &mut Globals<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let faults = &mut *context.faults;
    match entry.directive.name {
        "autoreload" => globals.auto_reload = address::yes_no(word, faults),
        "callback" => globals.callback = address::text(word, faults),
        "logfile" => globals.log = address::text(word, faults).map(log),
        "emailalertfrom" => globals.mail_from = mail::sender(word, faults),
        "execute" => globals.execute.extend(address::without_quotes(word, faults)),
        "fork" => globals.fork = address::yes_no(word, faults),
        "maintenancedir" => globals.maintenance = address::without_quotes(word, faults),
        "readdquiescent" => globals.readd_quiescent = address::yes_no(word, faults),
        "fallbackcommand" => {
            globals.settings.fallback_command = address::without_quotes(word, faults);
        }
        "supervised" if word.text.is_empty() => globals.supervised = Some(true),
        "supervised" => globals.supervised = address::yes_no(word, faults),
        _ => set_common(&mut globals.settings, entry, context),
    }
}

fn log(word: Word<'_>) -> Log<'_> {
    if word.text.starts_with('/') { Log::File(word) } else { Log::Facility(word) }
}

fn set_common<'a>(settings: &mut Settings<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let faults = &mut *context.faults;
    match entry.directive.name {
        "checkinterval" => settings.check_interval = address::number(word, 1, SECONDS_MAX, faults),
        "checktimeout" => settings.check_timeout = address::number(word, 1, SECONDS_MAX, faults),
        "negotiatetimeout" => {
            settings.negotiate_timeout = address::number(word, 1, SECONDS_MAX, faults);
        }
        "checkcount" => settings.check_count = address::number(word, 1, u32::MAX, faults),
        "failurecount" => settings.failure_count = address::number(word, 1, u32::MAX, faults),
        "quiescent" => settings.quiescent = address::yes_no(word, faults),
        "cleanstop" => settings.clean_stop = address::yes_no(word, faults),
        "fallback" => settings.fallback = sorry(word, Family::V4, context),
        "fallback6" => settings.fallback6 = sorry(word, Family::V6, context),
        "fallbackcommand" => settings.fallback_command = address::quotable(word, faults),
        "emailalert" => settings.mail_to = mail::addresses(word, faults),
        "emailalertfreq" => {
            settings.mail_frequency = address::number(word, 0, u32::MAX, faults);
        }
        "emailalertstatus" => settings.mail_stages = mail::stages(word, faults),
        "smtp" => settings.smtp = mail::relay(word, faults),
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
    Some(Sorry { word: *server, address: ip?, port, forwarding: forwarding? })
}

fn set<'a>(section: &mut Section<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let span = word.span();
    let faults = &mut *context.faults;
    match entry.directive.name {
        "real" | "real6" => section.reals.push(*entry),
        "protocol" => section.protocol = protocol(word, context).map(|p| (p, span)),
        "scheduler" => section.scheduler = scheduler(word, context),
        "schedflags" => section.sched_flags = sched_flags(word, faults),
        "persistent" => section.persistent = address::number(word, 1, PERSISTENT_MAX, faults),
        "netmask" => section.netmask = Some(address::first(word, faults)),
        "ops" => section.ops = address::yes_no(word, faults).map(|on| (on, span)),
        "monitorfile" => section.monitor_file = address::quotable(word, faults),
        "servicename" => section.service_name = address::literal(word, faults),
        "comment" => section.comment = address::literal(word, faults),
        "load" => section.load = address::text(word, faults),
        name if SETTINGS_OF_CHECKS.contains(&name) => set_check(section, entry, context),
        _ => set_common(&mut section.settings, entry, context),
    }
}

/// What [`set_check`] sets.
const SETTINGS_OF_CHECKS: &[&str] = &[
    "service",
    "checktype",
    "checkport",
    "checkcommand",
    "request",
    "receive",
    "virtualhost",
    "httpmethod",
    "login",
    "passwd",
    "database",
    "secret",
];

fn set_check<'a>(section: &mut Section<'a>, entry: &Entry<'a>, context: &mut Context<'_, '_>) {
    let word = entry.value;
    let span = word.span();
    let faults = &mut *context.faults;
    match entry.directive.name {
        "service" => section.service = Some((service(word, context), span)),
        "checktype" => section.check_type = Some((check_type(word, context), span)),
        "checkport" => {
            let port = address::number(word, 1, u32::from(u16::MAX), faults);
            section.check_port = port.and_then(|port| u16::try_from(port).ok());
        }
        "checkcommand" => section.check_command = address::quotable(word, faults),
        "request" => section.request = address::text(word, faults),
        "receive" => {
            let text = address::text(word, faults);
            section.receive = text.filter(|text| http::receive(*text, faults));
        }
        "virtualhost" => section.host = http::host(address::first(word, faults), faults),
        "httpmethod" => section.method = http::method(address::first(word, faults), faults),
        "login" => section.login = address::text(word, faults),
        "passwd" => section.password = address::secret(word, faults),
        "database" => section.database = address::text(word, faults),
        "secret" => section.secret = address::secret(word, faults),
        _ => (),
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
    let end = first.text.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(first.text.len());
    let letters = if end > 0 { first.part(0..end) } else { first };
    if letters != first {
        let message = format!("read as `{}`, as ldirectord does", letters.text);
        context.faults.warn(first.span(), message);
    }
    known_scheduler(letters, context.faults)
}

/// Names with commas between them.
pub(in crate::config) fn sched_flags<'a>(
    word: Word<'a>,
    faults: &mut Faults<'_>,
) -> Option<Word<'a>> {
    let word = address::first(word, faults);
    let list = word.split(|c| c == ',');
    if list.is_empty() {
        faults.fault(word.span(), "no flag").help(SCHED_FLAGS.join(", "));
        return None;
    }
    for flag in list {
        if !SCHED_FLAGS.contains(&flag.text) {
            let message = format!("`{}` is not a flag of a scheduler", flag.text);
            faults.fault(flag.span(), message).help(SCHED_FLAGS.join(", "));
            return None;
        }
    }
    Some(word)
}

/// The flags of a list that has no fault.
pub(in crate::config) fn flag_bits(list: Option<Word<'_>>) -> SchedFlags {
    let names = list.into_iter().flat_map(|list| list.split(|c| c == ','));
    let bit = |word: Word<'_>| {
        let known = SCHED_FLAGS.iter().zip(SCHED_BITS);
        known.filter(|(name, _)| **name == word.text).map(|(_, bit)| *bit).fold(0, |a, b| a | b)
    };
    SchedFlags(names.map(bit).fold(0, |a, b| a | b))
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
        let help = match nearest(first.text, Service::names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => SERVICE_HELP.to_owned(),
        };
        context.faults.fault(first.span(), message).help(help);
        Service::Unusable
    })
}

fn check_type(word: Word<'_>, context: &mut Context<'_, '_>) -> CheckType {
    let first = address::first(word, context.faults);
    match first.text {
        "negotiate" => CheckType::Negotiate,
        "connect" => CheckType::Connect,
        "ping" => CheckType::Ping,
        "external" => CheckType::External,
        "external-perl" => CheckType::ExternalPerl,
        "on" => CheckType::On,
        "off" => CheckType::Off,
        other if other.contains(|c: char| c.is_ascii_digit()) => {
            match address::number(first, 0, u32::MAX, context.faults) {
                Some(0) => CheckType::Negotiate,
                Some(connects) => CheckType::Every(connects),
                None => CheckType::Unusable,
            }
        }
        other => {
            let message = format!("`{other}` is not a type of check");
            let help = "negotiate, connect, ping, external, external-perl, on, off, or a number";
            context.faults.fault(first.span(), message).help(help);
            CheckType::Unusable
        }
    }
}
