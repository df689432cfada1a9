//! The services that the director runs, made from what a file says.
//!
//! What can't be made is a fault.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::diag::{Span, Word};
use crate::config::ldirectord::file::{CheckType, Globals, Real, Service, Sorry, Virtual};
use crate::config::ldirectord::{Context, exchange, mail, section};
use crate::lvs::check::CheckKind;
use crate::lvs::mail::Line;
use crate::lvs::model::{
    Forwarding, Policy, Protocol, RealKey, RealServer, ServiceKey, Thresholds, VirtualService,
};
use crate::lvs::notify::{Notify, Program};
use crate::lvs::program::{ProgramCheck, Told};

/// How the real servers of a service are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    /// All in the same way.
    Fixed(CheckKind),
    /// Each is told to a program.
    External(ProgramCheck),
    /// The service is spoken to, each with its own texts; between two of them so many connect
    /// checks.
    Negotiate { connects: Option<u32> },
}

/// Builds it.
pub(super) fn service(
    from: &Virtual<'_>,
    globals: &Globals<'_>,
    context: &mut Context<'_, '_>,
) -> VirtualService {
    let method = method(from, context);
    let reals = reals(from, method.as_ref(), context);
    if matches!(from.key, ServiceKey::Address { port: 0, .. }) && from.persistent.is_none() {
        let message = "port 0 is every port, and the kernel takes that only with persistence";
        context.faults.fault(from.head, message).help("add `persistent=300`");
    }
    let negotiates = matches!(method, Some(Method::Negotiate { .. }));
    let timeout = if negotiates { from.negotiate_timeout } else { from.check_timeout };
    let timeout = match (from.check.kind, from.settings.check_count) {
        (CheckType::Ping, Some(count)) => timeout.saturating_mul(count).min(section::SECONDS_MAX),
        _ => timeout,
    };
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let settings = &from.settings;
    VirtualService {
        key: from.key,
        scheduler: from.scheduler.to_owned(),
        persistent: from.persistent,
        netmask: from.netmask,
        one_packet: from.one_packet,
        flags: section::flag_bits(from.sched_flags),
        quiescent: settings.quiescent.unwrap_or(false),
        clean_stop: settings.clean_stop.unwrap_or(true),
        reals,
        backup: Vec::new(),
        fallback: from.fallback.map(|sorry| fallback(from, sorry, context)),
        interval: seconds(settings.interval()),
        timeout: seconds(timeout),
        fall: settings.failure_count.unwrap_or(1),
        rise: 1,
        policy: Policy::default(),
        notify: notify(from, globals),
    }
}

fn notify(from: &Virtual<'_>, globals: &Globals<'_>) -> Notify {
    let line = from.settings.fallback_command;
    Notify {
        name: from.service_name.map(|word| Line::of(word.text)),
        comment: from.comment.map(|word| Line::of(word.text)),
        mail: mail::of(&from.settings, globals.mail_from),
        monitor: from.monitor_file.map(|word| PathBuf::from(word.text)),
        fallback_command: line.and_then(|line| Program::of_line(line.text)),
        ..Notify::default()
    }
}

fn fallback(from: &Virtual<'_>, sorry: Sorry<'_>, context: &mut Context<'_, '_>) -> RealServer {
    let Sorry { word, address, port, forwarding } = sorry;
    // A global one without the right port is nobody's mistake.
    let own = from
        .written
        .iter()
        .any(|written| written.value.start <= word.start && word.start < written.value.end);
    let port = server_port(&from.key, forwarding, port, own.then(|| word.span()), context);
    RealServer::sorry(RealKey { address, port }, forwarding)
}

/// The port that a server has in IPVS. Only NAT can change it: with gate and tunnels it is the
/// service's. Packets with a mark keep theirs then, and what is written is only shown.
pub(in crate::config) fn server_port(
    key: &ServiceKey,
    forwarding: Forwarding,
    written: Option<u16>,
    noticed: Option<Span>,
    context: &mut Context<'_, '_>,
) -> u16 {
    let own = match key {
        ServiceKey::Address { port, .. } => *port,
        ServiceKey::Mark { .. } => return written.unwrap_or(0),
    };
    let Some(written) = written.filter(|port| *port > 0) else { return own };
    if forwarding.is_nat() {
        return written;
    }
    if let (Some(span), true) = (noticed, written != own && own > 0) {
        let message = format!("only NAT (masq) can change the port: packets arrive at port {own}");
        context.faults.warn(span, message);
    }
    own
}

/// `None` where there is nothing that can be done yet.
fn method(from: &Virtual<'_>, context: &mut Context<'_, '_>) -> Option<Method> {
    let connects = match from.check.kind {
        CheckType::Negotiate => None,
        CheckType::Every(connects) => Some(connects),
        CheckType::Connect => return Some(Method::Fixed(connect(&from.key))),
        CheckType::Ping => return Some(Method::Fixed(CheckKind::Ping)),
        CheckType::On => return Some(Method::Fixed(CheckKind::On)),
        CheckType::Off => return Some(Method::Fixed(CheckKind::Off)),
        CheckType::External | CheckType::ExternalPerl => {
            return Some(Method::External(external(from, context)));
        }
        CheckType::Unusable => return None,
    };
    match from.check.service {
        Service::None => Some(Method::Fixed(without_service(from, context))),
        Service::Unusable => None,
        _ => Some(Method::Negotiate { connects }),
    }
}

/// UDP takes no connection; ldirectord pings instead.
fn connect(key: &ServiceKey) -> CheckKind {
    match key {
        ServiceKey::Address { protocol, .. } => CheckKind::Connect(*protocol),
        ServiceKey::Mark { .. } => CheckKind::Connect(Protocol::Tcp),
    }
}

/// The program of an external check; what it is told of a server is filled in for each.
///
/// ldirectord runs the text of `external-perl` inside itself; here perl(1) does.
fn external(from: &Virtual<'_>, context: &mut Context<'_, '_>) -> ProgramCheck {
    let command = from.check.command();
    match from.check.command {
        None => {
            let message = format!("without `checkcommand` this runs {command}: always up");
            context.faults.warn(from.check.kind_at, message);
        }
        Some(word) if word.text.contains(char::is_whitespace) => {
            let message = "the whole line is the name of one file: there is no shell";
            context.faults.warn(word.span(), message).help("arguments belong into a script");
        }
        Some(_) => {}
    }
    let (program, args) = if from.check.kind == CheckType::ExternalPerl {
        ("perl", vec![command.to_owned()])
    } else {
        (command, Vec::new())
    };
    ProgramCheck { program: program.to_owned(), args, told: told(&from.key, 0) }
}

/// What ldirectord's arguments say of a server, but for its address.
pub(in crate::config) fn told(key: &ServiceKey, port: u16) -> Told {
    let (service, service_port) = match key {
        ServiceKey::Address { address: IpAddr::V6(v6), port, .. } => (format!("[{v6}]"), *port),
        ServiceKey::Address { address, port, .. } => (address.to_string(), *port),
        ServiceKey::Mark { mark, .. } => (mark.to_string(), 0),
    };
    Told::Arguments { service, service_port, port }
}

/// Negotiating nothing is always well for ldirectord, even with a server that is off.
fn without_service(from: &Virtual<'_>, context: &mut Context<'_, '_>) -> CheckKind {
    let span = from.check.service_at.unwrap_or(from.head);
    let tcp = matches!(from.key, ServiceKey::Address { protocol: Protocol::Tcp, .. });
    if tcp || from.check.port.is_some() {
        let message = "nothing to negotiate: a connect check is made instead";
        if let Some(warning) = context.faults.warn_once(span, message) {
            let help =
                "ldirectord takes such servers as always up; say `checktype=connect`, or `on`";
            warning.help(help);
        }
        CheckKind::Connect(Protocol::Tcp)
    } else {
        context.faults.warn(span, "nothing to check: the servers are taken as always up").help(
            "`checktype=ping`, or service=http with a checkport; `checktype=on` says it aloud",
        );
        CheckKind::On
    }
}

/// All real servers of a service.
fn reals(
    from: &Virtual<'_>,
    method: Option<&Method>,
    context: &mut Context<'_, '_>,
) -> Vec<RealServer> {
    let mut reals: Vec<RealServer> = Vec::new();
    let mut seen = BTreeSet::new();
    // The servers of a range differ in their addresses only.
    let mut line: Option<(Word<'_>, Option<RealServer>)> = None;
    for real in &from.reals {
        let template = match &line {
            Some((word, template)) if *word == real.word => template.clone(),
            _ => template(from, method, real, context),
        };
        line = Some((real.word, template.clone()));
        let Some(template) = template else { continue };
        let key = RealKey { address: real.address, ..template.key };
        if !seen.insert(key) {
            let message = format!("{key} is there twice; the first one counts");
            context.faults.warn(real.word.span(), message);
            continue;
        }
        let elsewhere = template.check_address != template.key.address;
        let check_address = if elsewhere { template.check_address } else { real.address };
        reals.push(RealServer { key, check_address, ..template });
    }
    reals
}

/// The first server of a line.
fn template(
    from: &Virtual<'_>,
    method: Option<&Method>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<RealServer> {
    let Real { forwarding, word, address, .. } = *line;
    let written = Some(line.port).filter(|port| *port > 0);
    let port = server_port(&from.key, forwarding, written, Some(word.span()), context);
    masqueraded_mark(from, line, port, context);
    let key = RealKey { address, port };
    let own = written.unwrap_or(port);
    let (check, elsewhere) = check(from, method, line, context)?;
    let default = match &check {
        CheckKind::Negotiate(exchange) | CheckKind::Alternate { negotiate: exchange, .. } => {
            exchange.port()
        }
        CheckKind::Connect(Protocol::Tcp | Protocol::Sctp) => None,
        CheckKind::External(_) => return Some(server(key, line, check, (address, line.port))),
        CheckKind::Connect(Protocol::Udp)
        | CheckKind::Agent(_)
        | CheckKind::File(_)
        | CheckKind::Ping
        | CheckKind::On
        | CheckKind::Off => {
            return Some(server(key, line, check, (address, 0)));
        }
    };
    let port = from.check.port.or(Some(own).filter(|port| *port > 0)).or(default);
    let Some(port) = port.or(elsewhere.map(|(_, port)| port)) else {
        let help = "`checkport=80`, or `checktype=ping`";
        context.faults.fault(word.span(), "no port to check at").help(help);
        return None;
    };
    Some(server(key, line, check, elsewhere.unwrap_or((address, port))))
}

fn server(
    key: RealKey,
    line: &Real<'_>,
    check: CheckKind,
    (check_address, check_port): (IpAddr, u16),
) -> RealServer {
    let (forwarding, weight) = (line.forwarding, line.weight);
    let thresholds = Thresholds { upper: line.upper, lower: line.lower };
    RealServer {
        key,
        forwarding,
        weight,
        thresholds,
        check,
        check_address,
        check_port,
        check_source: None,
        requires: Vec::new(),
        agent: None,
    }
}

fn masqueraded_mark(from: &Virtual<'_>, line: &Real<'_>, port: u16, context: &mut Context<'_, '_>) {
    if port > 0 && matches!(from.key, ServiceKey::Mark { .. }) {
        let message = format!("with masq, all marked connections go to port {port}");
        let help = "leave the port out to keep the clients' ports; `checkport` says where to check";
        context.faults.warn(line.word.span(), message).help(help);
    }
}

/// The check of a line, and where it goes when not to the server itself.
fn check(
    from: &Virtual<'_>,
    method: Option<&Method>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(CheckKind, Option<(IpAddr, u16)>)> {
    let connects = match method? {
        Method::Fixed(kind) => return Some((kind.clone(), None)),
        Method::External(program) => {
            let told = told(&from.key, line.port);
            return Some((CheckKind::External(ProgramCheck { told, ..program.clone() }), None));
        }
        Method::Negotiate { connects } => *connects,
    };
    let (exchange, elsewhere) = exchange::of(from, line, context)?;
    let kind = match connects {
        Some(connects) => CheckKind::Alternate { connects, negotiate: exchange },
        None => CheckKind::Negotiate(exchange),
    };
    Some((kind, elsewhere))
}
