//! `check = ...`: how real servers are checked.
//!
//! A table, or the type alone as a string. One may stand in a director, in a service and at a real
//! server; what the nearer one does not say, the farther one does.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Family;
use crate::config::diag::{Span, Word, nearest};
use crate::config::ldirectord::{address, build, http};
use crate::config::toml::exchange::{Page, Said};
use crate::config::toml::source;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::check::CheckKind;
use crate::lvs::exchange::{Exchange, HttpMethod, Transport};
use crate::lvs::model::{Pace, Protocol, Retry, ServiceKey};
use crate::lvs::program::{FileCheck, ProgramCheck, Told};

/// From one check to the next where nothing is said.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Longest check where nothing is said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest interval and timeout. A check costs the server a connection.
pub(crate) const TIME_MIN: Duration = Duration::from_millis(50);
/// Longest interval and timeout.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most failures or successes in a row that can be asked for.
pub(crate) const COUNT_MAX: u32 = 1000;

/// `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    On,
    Off,
    Connect,
    External,
    File,
    Ping,
    Dns,
    Ftp,
    Grpc,
    Grpcs,
    Http,
    HttpProxy,
    Https,
    Ldap,
    Ldaps,
    Mysql,
    Pgsql,
    Imap,
    Imaps,
    Nntp,
    Pop,
    Pops,
    Radius,
    Redis,
    SimpleTcp,
    Sip,
    Smtp,
    Submission,
    Udp,
    Script,
}

const KINDS: &[(&str, Kind)] = &[
    ("http", Kind::Http),
    ("https", Kind::Https),
    ("dns", Kind::Dns),
    ("ldap", Kind::Ldap),
    ("ldaps", Kind::Ldaps),
    ("mysql", Kind::Mysql),
    ("pgsql", Kind::Pgsql),
    ("ftp", Kind::Ftp),
    ("grpc", Kind::Grpc),
    ("grpcs", Kind::Grpcs),
    ("http_proxy", Kind::HttpProxy),
    ("imap", Kind::Imap),
    ("imaps", Kind::Imaps),
    ("nntp", Kind::Nntp),
    ("pop", Kind::Pop),
    ("pops", Kind::Pops),
    ("radius", Kind::Radius),
    ("redis", Kind::Redis),
    ("simpletcp", Kind::SimpleTcp),
    ("sip", Kind::Sip),
    ("smtp", Kind::Smtp),
    ("submission", Kind::Submission),
    ("udp", Kind::Udp),
    ("connect", Kind::Connect),
    ("ping", Kind::Ping),
    ("script", Kind::Script),
    ("external", Kind::External),
    ("file", Kind::File),
    ("on", Kind::On),
    ("off", Kind::Off),
];

/// Where a check stands; the rhythm is the same for all servers of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// In a director or a service.
    Service,
    /// At one real server.
    Server,
}

/// What is said of a check.
#[derive(Debug, Clone, Default)]
pub(super) struct Check<'d> {
    kind: Option<Kind>,
    address: Option<IpAddr>,
    port: Option<u16>,
    path: Option<Word<'d>>,
    command: Option<Vec<&'d str>>,
    receive: Option<Word<'d>>,
    host: Option<&'d str>,
    method: Option<HttpMethod>,
    said: Said<'d>,
    connects: Option<u32>,
    source: Option<Vec<IpAddr>>,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) fall: Option<u32>,
    pub(super) rise: Option<u32>,
    retry: Option<Duration>,
    warmup: Option<Duration>,
}

impl<'d> Check<'d> {
    /// What this one does not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        Self {
            kind: self.kind.or(farther.kind),
            address: self.address.or(farther.address),
            port: self.port.or(farther.port),
            path: self.path.or(farther.path),
            command: self.command.or_else(|| farther.command.clone()),
            receive: self.receive.or(farther.receive),
            host: self.host.or(farther.host),
            method: self.method.or(farther.method),
            said: self.said.or(&farther.said),
            connects: self.connects.or(farther.connects),
            source: self.source.or_else(|| farther.source.clone()),
            interval: self.interval.or(farther.interval),
            timeout: self.timeout.or(farther.timeout),
            fall: self.fall.or(farther.fall),
            rise: self.rise.or(farther.rise),
            retry: self.retry.or(farther.retry),
            warmup: self.warmup.or(farther.warmup),
        }
    }

    /// The address of ours from which this one is checked, where that is said for its family.
    pub(super) fn source(&self, checked: IpAddr) -> Option<IpAddr> {
        let sources = self.source.iter().flatten();
        sources.copied().find(|source| source.is_ipv4() == checked.is_ipv4())
    }

    /// When checks are made beside their interval.
    pub(super) fn pace(&self) -> Pace {
        let failures = self.fall.unwrap_or(1);
        let retry = self.retry.map(|after| Retry { after, failures });
        // One failure is enough: there is nothing to confirm.
        Pace { retry: retry.filter(|_| failures > 1), warmup: self.warmup }
    }

    /// Whether it says what is done.
    pub(super) fn has_type(&self) -> bool {
        self.kind.is_some()
    }

    /// The check of a server: kind, address, port. `span` is the server's place.
    pub(super) fn build(
        &self,
        key: &ServiceKey,
        server: (IpAddr, u16),
        span: Span,
        walk: &mut Walk<'_>,
    ) -> Option<(CheckKind, IpAddr, u16)> {
        let kind = self.kind.unwrap_or_else(|| by_service(key));
        let address = self.address.unwrap_or(server.0);
        let (check, default) = match kind {
            Kind::External | Kind::Script => {
                let program = self.program(kind, key, server.1, span, walk)?;
                let port = self.port.unwrap_or(server.1);
                return Some((CheckKind::External(program), address, port));
            }
            Kind::File => return Some((CheckKind::File(self.file(span, walk)?), address, 0)),
            Kind::On => return Some((CheckKind::On, address, 0)),
            Kind::Off => return Some((CheckKind::Off, address, 0)),
            Kind::Ping => return Some((CheckKind::Ping, address, 0)),
            Kind::Connect => (CheckKind::Connect(connected(key)), None),
            kind => {
                let exchange = self.exchange(kind, key, span, walk)?;
                let default = exchange.port();
                (self.negotiate(exchange), default)
            }
        };
        let ports = [self.port, Some(server.1), default];
        let Some(port) = ports.into_iter().flatten().find(|port| *port > 0) else {
            let help = "`check = { type = \"connect\", port = 80 }`, or `check = \"ping\"`";
            walk.faults.fault(span, "no port to check at").help(help);
            return None;
        };
        Some((check, address, port))
    }

    fn negotiate(&self, exchange: Exchange) -> CheckKind {
        match self.connects {
            Some(connects) => CheckKind::Alternate { connects, negotiate: exchange },
            None => CheckKind::Negotiate(exchange),
        }
    }

    /// What is said to a service of this kind.
    fn exchange(
        &self,
        kind: Kind,
        key: &ServiceKey,
        span: Span,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        let said = &self.said;
        if !matches!(kind, Kind::Imap | Kind::Pop | Kind::Smtp | Kind::Submission) {
            let name = KINDS.iter().find(|(_, it)| *it == kind).map_or("", |(name, _)| name);
            said.tls.without_starttls(name, span, walk);
        }
        match kind {
            Kind::Dns => said.dns(self.receive, key, span, walk),
            Kind::Ftp => said.ftp(self.receive, span, walk),
            Kind::Grpc => said.grpc(false, self.host, walk),
            Kind::Grpcs => said.grpc(true, self.host, walk),
            Kind::HttpProxy => said.proxy(self.method, self.receive, span, walk),
            Kind::Http => self.http(false, span, walk),
            Kind::Https => self.http(true, span, walk),
            Kind::Ldap => Some(said.ldap(self.receive, false, span, walk)),
            Kind::Ldaps => Some(said.ldap(self.receive, true, span, walk)),
            Kind::Mysql => said.sql(span, walk).map(Exchange::Mysql),
            Kind::Pgsql => said.sql(span, walk).map(Exchange::Pgsql),
            Kind::Imap => said.mail(false, self.host, span, walk).map(Exchange::Imap),
            Kind::Imaps => said.mail(true, self.host, span, walk).map(Exchange::Imap),
            Kind::Nntp => Some(Exchange::Nntp),
            Kind::Pop => said.mail(false, self.host, span, walk).map(Exchange::Pop),
            Kind::Pops => said.mail(true, self.host, span, walk).map(Exchange::Pop),
            Kind::Radius => said.radius(span, walk),
            Kind::Redis => said.redis(span, walk),
            Kind::SimpleTcp => Some(said.text(Transport::Tcp, self.receive, span)),
            Kind::Sip => said.sip(key, span, walk),
            Kind::Smtp => Some(said.smtp(false, self.host)),
            Kind::Submission => Some(said.smtp(true, self.host)),
            Kind::Udp => Some(said.text(Transport::Udp, self.receive, span)),
            Kind::On
            | Kind::Off
            | Kind::Connect
            | Kind::External
            | Kind::File
            | Kind::Ping
            | Kind::Script => None,
        }
    }

    fn http(&self, tls: bool, at: Span, walk: &mut Walk<'_>) -> Option<Exchange> {
        let method = self.method.unwrap_or(HttpMethod::Get);
        let page = Page { tls, method, path: self.path, host: self.host };
        self.said.http(page, self.receive, at, walk)
    }
}

impl Check<'_> {
    fn program(
        &self,
        kind: Kind,
        key: &ServiceKey,
        port: u16,
        span: Span,
        walk: &mut Walk<'_>,
    ) -> Option<ProgramCheck> {
        let Some([program, args @ ..]) = self.command.as_deref() else {
            let help = "`command = [\"/usr/local/bin/check\", \"--fast\"]`";
            walk.missing(span, "a check by a program needs a `command`", help);
            return None;
        };
        let told = if kind == Kind::External {
            build::told(key, port)
        } else {
            Told::Environment { service: format!("{key:#}") }
        };
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Some(ProgramCheck { program: (*program).to_owned(), args, told })
    }

    fn file(&self, span: Span, walk: &mut Walk<'_>) -> Option<FileCheck> {
        let Some(path) = self.path else {
            let help = "`path = \"/run/in-service\"`";
            walk.missing(span, "a check by a file needs a `path`", help);
            return None;
        };
        let receive = self.receive.map(|word| word.text.to_owned());
        Some(FileCheck { path: path.text.to_owned(), receive })
    }
}

/// The check where no type is said: never one that is always up.
fn by_service(key: &ServiceKey) -> Kind {
    match key {
        ServiceKey::Address { protocol: Protocol::Tcp, port: 80, .. } => Kind::Http,
        ServiceKey::Address { protocol: Protocol::Tcp, port: 443, .. } => Kind::Https,
        ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. } => Kind::Connect,
        ServiceKey::Address { protocol: Protocol::Udp, .. } | ServiceKey::Mark { .. } => Kind::Ping,
    }
}

/// What a connection is made by: TCP, but to a service over SCTP.
fn connected(key: &ServiceKey) -> Protocol {
    match key {
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => Protocol::Sctp,
        ServiceKey::Address { .. } | ServiceKey::Mark { .. } => Protocol::Tcp,
    }
}

/// Reads a check; nothing said where there is none.
pub(super) fn read<'d>(item: Option<Item<'d>>, level: Level, walk: &mut Walk<'_>) -> Check<'d> {
    let Some(item) = item else { return Check::default() };
    if item.is_text() {
        return Check { kind: kind(item, walk), ..Check::default() };
    }
    let Some(mut fields) = item.fields(walk) else { return Check::default() };
    let mut check = Check {
        kind: fields.take("type").and_then(|item| kind(item, walk)),
        address: fields.take("address").and_then(|item| elsewhere(item, walk)),
        port: fields.take("port").and_then(|item| item.port(walk)),
        path: fields.take("path").and_then(|item| path(item, walk)),
        command: fields.take("command").and_then(|item| command(item, walk)),
        receive: fields.take("receive").and_then(|item| receive(item, walk)),
        host: fields.take("host").and_then(|item| {
            let word = item.text(walk)?;
            http::host(word, &mut walk.faults)
        }),
        method: fields.take("method").and_then(|item| {
            let word = item.text(walk)?;
            http::method(word, &mut walk.faults)
        }),
        said: Said::read(&mut fields, walk),
        connects: fields.take("connects").and_then(|item| item.number(1, COUNT_MAX, walk)),
        source: fields.take("source").and_then(|item| source::read(item, walk)),
        ..Check::default()
    };
    if level == Level::Service {
        rhythm(&mut check, &mut fields, walk);
    }
    fields.finish(walk);
    check
}

fn rhythm(check: &mut Check<'_>, fields: &mut Fields<'_>, walk: &mut Walk<'_>) {
    check.interval = fields.take("interval").and_then(|item| time(item, walk));
    check.timeout = fields.take("timeout").and_then(|item| time(item, walk));
    check.fall = fields.take("fall").and_then(|item| item.number(1, COUNT_MAX, walk));
    check.rise = fields.take("rise").and_then(|item| item.number(1, COUNT_MAX, walk));
    check.retry = fields.take("retry").and_then(|item| time(item, walk));
    check.warmup = fields.take("warmup").and_then(|item| time(item, walk));
}

fn time(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Duration> {
    let time = item.time(walk)?;
    if (TIME_MIN..=TIME_MAX).contains(&time) {
        return Some(time);
    }
    walk.faults.fault(item.span, "at least 50ms and at most 24h");
    None
}

fn kind(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Kind> {
    let word = item.text(walk)?;
    let found = KINDS.iter().find(|(name, _)| *name == word.text).map(|(_, kind)| *kind);
    if found.is_none() {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` is not a type of check", word.text);
        let help = match nearest(word.text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => names.join(", "),
        };
        walk.faults.fault(item.span, message).help(help);
    }
    found
}

pub(super) fn elsewhere(item: Item<'_>, walk: &mut Walk<'_>) -> Option<IpAddr> {
    let word = item.text(walk)?;
    let family = if word.text.contains(':') { Family::V6 } else { Family::V4 };
    address::host(word, family, &mut walk.director())
}

fn path<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = item.text(walk)?;
    if word.text.starts_with('/') {
        return Some(word);
    }
    let message = format!("`{}` is not a path", word.text);
    walk.faults.fault(item.span, message).help("a path begins with a slash: \"/alive.html\"");
    None
}

/// A program and its arguments; one without arguments may be a string.
pub(super) fn command<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Vec<&'d str>> {
    let items = if item.is_text() { vec![item] } else { item.items(walk) };
    let words: Option<Vec<Word<'d>>> = items.iter().map(|item| item.text(walk)).collect();
    let words = words?;
    if !words.first().is_some_and(|word| word.text.starts_with('/')) {
        let help = "[\"/usr/local/bin/check\", \"--fast\"]: there is no shell";
        walk.faults.fault(item.span, "a command begins with the path of a program").help(help);
        return None;
    }
    Some(words.iter().map(|word| word.text).collect())
}

fn receive<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = item.text(walk)?;
    http::receive(word, &mut walk.faults).then_some(word)
}
