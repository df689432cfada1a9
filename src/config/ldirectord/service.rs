//! One virtual service as values: its section, and the globals where it says nothing.

use crate::config::diag::Word;
use crate::config::ldirectord::file::{
    Check, CheckType, Globals, Service, Settings, Sorry, Virtual,
};
use crate::config::ldirectord::lines::Entry;
use crate::config::ldirectord::section::{Carrier, Section};
use crate::config::ldirectord::{Context, address, server};
use crate::config::{Family, value};
use crate::lvs::exchange::HttpMethod;
use crate::lvs::model::{Protocol, ServiceKey};

/// ldirectord's default.
const SCHEDULER: &str = "wrr";
/// Seconds for a connect or ping check, ldirectord's default.
const CHECK_TIMEOUT: u32 = 5;
/// Seconds for a negotiate check, ldirectord's default.
const NEGOTIATE_TIMEOUT: u32 = 30;
/// `domain` in /etc/services.
const DNS_PORT: u16 = 53;

/// Puts it together; `None` after a fault that leaves nothing to build on.
pub(super) fn resolve<'a>(
    head: Entry<'a>,
    section: Section<'a>,
    globals: &Globals<'a>,
    context: &mut Context<'_, '_>,
) -> Option<Virtual<'a>> {
    let key = key(head, &section, context)?;
    if section.reals.is_empty() {
        let message = "no real server: only the sorry server can serve";
        context.faults.warn(head.value.span(), message);
    }
    let reals = server::reals(&key, &section.reals, context);
    let (own, all) = (&section.settings, &globals.settings);
    Some(Virtual {
        head: head.value.span(),
        key,
        settings: own.or(all),
        check_timeout: check_timeout(own, all),
        negotiate_timeout: negotiate_timeout(own, all),
        scheduler: section.scheduler.unwrap_or(SCHEDULER),
        sched_flags: section.sched_flags,
        persistent: section.persistent,
        netmask: netmask(&key, &section, context),
        one_packet: one_packet(&key, &section, context),
        fallback: fallback(&key, own, all, context),
        reals,
        monitor_file: section.monitor_file,
        service_name: section.service_name,
        comment: section.comment,
        load: section.load,
        written: section.written.clone(),
        check: check(head, &key, section),
    })
}

/// The order in which ldirectord looks for a timeout.
fn check_timeout(own: &Settings<'_>, globals: &Settings<'_>) -> u32 {
    own.check_timeout
        .or(own.negotiate_timeout)
        .or(globals.check_timeout)
        .or(globals.negotiate_timeout)
        .unwrap_or(CHECK_TIMEOUT)
}

/// The same for checks that negotiate.
fn negotiate_timeout(own: &Settings<'_>, globals: &Settings<'_>) -> u32 {
    own.negotiate_timeout
        .or(own.check_timeout)
        .or(globals.negotiate_timeout)
        .or(globals.check_timeout)
        .unwrap_or(NEGOTIATE_TIMEOUT)
}

fn check<'a>(head: Entry<'a>, key: &ServiceKey, section: Section<'a>) -> Check<'a> {
    let by_port = match key {
        ServiceKey::Address { port, .. } => Service::of_port(*port),
        ServiceKey::Mark { .. } => Service::None,
    };
    let (kind, kind_at) = section.check_type.unwrap_or((CheckType::Negotiate, head.value.span()));
    Check {
        kind,
        kind_at,
        service: section.service.map_or(by_port, |(service, _)| service),
        service_at: section.service.map(|(_, span)| span),
        port: section.check_port,
        command: section.check_command,
        request: section.request,
        receive: section.receive,
        method: section.method.unwrap_or(HttpMethod::Get),
        host: section.host,
        login: section.login,
        password: section.password,
        database: section.database,
        secret: section.secret,
    }
}

fn key(
    head: Entry<'_>,
    section: &Section<'_>,
    context: &mut Context<'_, '_>,
) -> Option<ServiceKey> {
    let word = whole(address::first(head.value, context.faults), head, context);
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

/// The address without what ldirectord does not look at, and with a warning for it.
fn whole<'a>(word: Word<'a>, head: Entry<'_>, context: &mut Context<'_, '_>) -> Word<'a> {
    if head.value.text.starts_with('"') && word.start > head.value.start {
        context.faults.warn(word.span(), "ldirectord takes no quotes here");
    }
    let mut parts = word.text.splitn(3, ':');
    let (Some(host), Some(port), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return word;
    };
    if host.parse::<std::net::Ipv4Addr>().is_err() || port.is_empty() {
        return word;
    }
    let end = host.len() + 1 + port.len();
    context.faults.warn(word.part(end..word.text.len()).span(), format!("`:{rest}` is ignored"));
    word.part(0..end)
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
fn fallback<'a>(
    key: &ServiceKey,
    own: &Settings<'a>,
    globals: &Settings<'a>,
    context: &mut Context<'_, '_>,
) -> Option<Sorry<'a>> {
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
    (*mine).or(*theirs)
}
