//! One virtual service from its section and the globals.

use std::time::Duration;

use crate::config::diag::{Span, Word};
use crate::config::ldirectord::lines::Entry;
use crate::config::ldirectord::section::{
    Carrier, CheckType, Common, SERVICE_HELP, Section, Service, Sorry,
};
use crate::config::ldirectord::{Context, address, server};
use crate::config::{Family, value};
use crate::lvs::check::CheckKind;
use crate::lvs::model::{Fallback, Forwarding, Protocol, RealKey, ServiceKey, VirtualService};

/// ldirectord's default.
const SCHEDULER: &str = "wrr";
/// Seconds between checks, ldirectord's default.
const INTERVAL: u32 = 10;
/// Seconds for a connect or ping check, ldirectord's default.
const CHECK_TIMEOUT: u32 = 5;
/// Seconds for a negotiate check, ldirectord's default.
const NEGOTIATE_TIMEOUT: u32 = 30;
/// `domain` in /etc/services.
const DNS_PORT: u16 = 53;

/// How the real servers of a service are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    /// All in the same way.
    Fixed(CheckKind),
    /// Each with its own request; between two of them so many connect checks.
    Http { tls: bool, connects: Option<u32> },
}

/// Builds it; `None` after a fault that leaves nothing to build on.
pub(super) fn build(
    head: Entry<'_>,
    section: &Section<'_>,
    globals: &Common<'_>,
    context: &mut Context<'_, '_>,
) -> Option<VirtualService> {
    let key = key(head, section, context)?;
    let method = method(head, section, &key, context);
    let plan = server::Plan { key, method: method.as_ref(), section };
    let reals = server::reals(&plan, context);
    if section.reals.is_empty() {
        let message = "no real server: only the sorry server can serve";
        context.faults.warn(head.value.span(), message);
    }
    let persistent = section.persistent;
    any_port_is_persistent(head, &key, persistent, context);
    let common = &section.common;
    let negotiates = matches!(method, Some(Method::Http { .. }));
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Some(VirtualService {
        key,
        scheduler: section.scheduler.unwrap_or(SCHEDULER).to_owned(),
        persistent,
        netmask: netmask(&key, section, context),
        one_packet: one_packet(&key, section, context),
        quiescent: common.quiescent.or(globals.quiescent).unwrap_or(false),
        clean_stop: common.clean_stop.or(globals.clean_stop).unwrap_or(true),
        reals,
        fallback: fallback(&key, common, globals, context),
        interval: seconds(common.interval.or(globals.interval).unwrap_or(INTERVAL)),
        timeout: seconds(timeout(common, globals, negotiates)),
        fall: common.failure_count.or(globals.failure_count).unwrap_or(1),
        rise: 1,
    })
}

/// The order in which ldirectord looks for a timeout.
fn timeout(own: &Common<'_>, globals: &Common<'_>, negotiates: bool) -> u32 {
    if negotiates {
        own.negotiate_timeout
            .or(own.check_timeout)
            .or(globals.negotiate_timeout)
            .or(globals.check_timeout)
            .unwrap_or(NEGOTIATE_TIMEOUT)
    } else {
        own.check_timeout
            .or(own.negotiate_timeout)
            .or(globals.check_timeout)
            .or(globals.negotiate_timeout)
            .unwrap_or(CHECK_TIMEOUT)
    }
}

fn key(
    head: Entry<'_>,
    section: &Section<'_>,
    context: &mut Context<'_, '_>,
) -> Option<ServiceKey> {
    let word = address::first(head.value, context.faults);
    let ipv6 = head.directive.name == "virtual6";
    if !word.text.is_empty() && word.text.bytes().all(|b| b.is_ascii_digit()) {
        return mark(word, ipv6, section, context);
    }
    let endpoint = address::endpoint(word);
    let Some(port) = endpoint.port.filter(|_| !is_bare_ipv6(word)) else {
        let message = format!("`{}` has no port", word.text);
        let help =
            "`ADDRESS:PORT`, or `[ADDRESS]:PORT` for IPv6; a number alone is a firewall mark";
        context.faults.fault(word.span(), message).help(help);
        return None;
    };
    let ipv6 = family_by_text(head, endpoint.host, ipv6, context);
    let family = if ipv6 { Family::V6 } else { Family::V4 };
    let address = address::host(endpoint.host, family, context);
    let explicit = match section.protocol {
        Some((Carrier::Transport(protocol), _)) => Some(protocol),
        Some((Carrier::Mark, span)) => {
            let message = "`fwm` is for a firewall mark, not for an address";
            context.faults.fault(span, message).help("tcp or udp");
            return None;
        }
        None => None,
    };
    let by_name = if port.text == "domain" { Protocol::Udp } else { Protocol::Tcp };
    let port = address::port(port, explicit.unwrap_or(by_name), context)?;
    let by_port = if port == DNS_PORT { Protocol::Udp } else { Protocol::Tcp };
    let protocol = explicit.unwrap_or(by_port);
    Some(ServiceKey::Address { protocol, address: address?, port })
}

fn is_bare_ipv6(word: Word<'_>) -> bool {
    word.text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// An IPv6 address below `virtual=` is what it is.
fn family_by_text(
    head: Entry<'_>,
    host: Word<'_>,
    ipv6: bool,
    context: &mut Context<'_, '_>,
) -> bool {
    if !ipv6 && host.text.contains(':') {
        let message = "read as `virtual6`, for the address is IPv6";
        context.faults.warn(head.key.span(), message);
        return true;
    }
    ipv6
}

fn mark(
    word: Word<'_>,
    ipv6: bool,
    section: &Section<'_>,
    context: &mut Context<'_, '_>,
) -> Option<ServiceKey> {
    if let Some((Carrier::Transport(protocol), span)) = section.protocol {
        let message = format!("a firewall mark has no protocol `{protocol}`");
        context.faults.fault(span, message).help("`protocol=fwm`, or leave the line out");
        return None;
    }
    let mark = address::number(word, 1, u32::MAX, context.faults)?;
    Some(ServiceKey::Mark { ipv6, mark })
}

fn any_port_is_persistent(
    head: Entry<'_>,
    key: &ServiceKey,
    persistent: Option<u32>,
    context: &mut Context<'_, '_>,
) {
    if matches!(key, ServiceKey::Address { port: 0, .. }) && persistent.is_none() {
        let message = "port 0 is every port, and the kernel takes that only with persistence";
        context.faults.fault(head.value.span(), message).help("add `persistent=300`");
    }
}

fn netmask(key: &ServiceKey, section: &Section<'_>, context: &mut Context<'_, '_>) -> Option<u8> {
    let word = section.netmask?;
    let max = if key.is_ipv6() { 128 } else { 32 };
    let Some(prefix) = value::prefix(word.text, max) else {
        let message = format!("`{}` is not a netmask", word.text);
        let help = if max == 32 { "for example 255.255.255.0" } else { "1 to 128" };
        context.faults.fault(word.span(), message).help(help);
        return None;
    };
    if section.persistent.is_none() {
        context.faults.warn(word.span(), "`netmask` means nothing without `persistent`");
        return None;
    }
    Some(prefix).filter(|prefix| *prefix < max)
}

fn one_packet(key: &ServiceKey, section: &Section<'_>, context: &mut Context<'_, '_>) -> bool {
    let Some((true, span)) = section.ops else { return false };
    if let ServiceKey::Address { protocol: Protocol::Udp, .. } = key {
        return true;
    }
    context.faults.warn(span, "`ops` means nothing but for udp");
    false
}

/// The sorry server: the section's own before the global one, of the service's family.
fn fallback(
    key: &ServiceKey,
    own: &Common<'_>,
    globals: &Common<'_>,
    context: &mut Context<'_, '_>,
) -> Option<Fallback> {
    let (mine, other, theirs) = if key.is_ipv6() {
        (&own.fallback6, &own.fallback, &globals.fallback6)
    } else {
        (&own.fallback, &own.fallback6, &globals.fallback)
    };
    if let Some(other) = other {
        let family = if key.is_ipv6() { "IPv6" } else { "IPv4" };
        let message = format!("this sorry server is not used: the service is {family}");
        context.faults.warn(other.word.span(), message);
    }
    let Sorry { word, ip, port, forwarding } = (*mine).or(*theirs)?;
    // A global one without the right port is nobody's mistake.
    let noticed = mine.is_some().then(|| word.span());
    let port = server_port(key, forwarding, port, noticed, context);
    Some(Fallback { key: RealKey { address: ip, port }, forwarding })
}

/// The port that a server has in IPVS. Only masq can change it: with gate and ipip it is the
/// service's, and with a mark there is none.
pub(in crate::config) fn server_port(
    key: &ServiceKey,
    forwarding: Forwarding,
    written: Option<u16>,
    noticed: Option<Span>,
    context: &mut Context<'_, '_>,
) -> u16 {
    let own = match key {
        ServiceKey::Address { port, .. } => *port,
        ServiceKey::Mark { .. } => 0,
    };
    let Some(written) = written.filter(|port| *port > 0) else { return own };
    if forwarding == Forwarding::Masq {
        return written;
    }
    if let (Some(span), true) = (noticed, written != own && own > 0) {
        let message = format!("only masq can change the port: packets arrive at port {own}");
        context.faults.warn(span, message);
    }
    own
}

fn method(
    head: Entry<'_>,
    section: &Section<'_>,
    key: &ServiceKey,
    context: &mut Context<'_, '_>,
) -> Option<Method> {
    let connects = match section.check_type.map_or(CheckType::Negotiate, |(kind, _)| kind) {
        CheckType::Negotiate => None,
        CheckType::Every(connects) => Some(connects),
        CheckType::Connect => return Some(Method::Fixed(connect(key))),
        CheckType::Ping => return Some(Method::Fixed(CheckKind::Ping)),
        CheckType::On => return Some(Method::Fixed(CheckKind::On)),
        CheckType::Off => return Some(Method::Fixed(CheckKind::Off)),
        CheckType::Unusable => return None,
    };
    let by_port = match key {
        ServiceKey::Address { port, .. } => Service::of_port(*port),
        ServiceKey::Mark { .. } => Service::None,
    };
    let (service, span) = section.service.unwrap_or((by_port, head.value.span()));
    match service {
        Service::Http => Some(Method::Http { tls: false, connects }),
        Service::Https => Some(Method::Http { tls: true, connects }),
        Service::None => Some(Method::Fixed(without_service(section, key, span, context))),
        Service::NotYet(name) if section.service.is_some() => {
            let message = format!("service={name} is not supported yet");
            context.faults.fault(span, message).help(SERVICE_HELP);
            None
        }
        Service::NotYet(name) => {
            let message =
                format!("this port is checked as service={name}, which is not supported yet");
            let help = "`checktype=connect` sees whether the port takes connections, \
                        `checktype=ping` whether the server is there";
            context.faults.fault(span, message).help(help);
            None
        }
        Service::Unusable => None,
    }
}

/// UDP takes no connection; ldirectord pings instead.
fn connect(key: &ServiceKey) -> CheckKind {
    match key {
        ServiceKey::Address { protocol, .. } => CheckKind::Connect(*protocol),
        ServiceKey::Mark { .. } => CheckKind::Connect(Protocol::Tcp),
    }
}

/// Negotiating nothing is always well for ldirectord, even with a server that is off.
fn without_service(
    section: &Section<'_>,
    key: &ServiceKey,
    span: Span,
    context: &mut Context<'_, '_>,
) -> CheckKind {
    let tcp = matches!(key, ServiceKey::Address { protocol: Protocol::Tcp, .. });
    if tcp || section.check_port.is_some() {
        context
            .faults
            .warn(span, "nothing to negotiate: a connect check is made instead")
            .help("ldirectord takes such servers as always up; say `checktype=connect`, or `on`");
        CheckKind::Connect(Protocol::Tcp)
    } else {
        context.faults.warn(span, "nothing to check: the servers are taken as always up").help(
            "`checktype=ping`, or service=http with a checkport; `checktype=on` says it aloud",
        );
        CheckKind::On
    }
}
