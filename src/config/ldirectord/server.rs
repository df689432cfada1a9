//! Real servers: `real=HOST[->HOST][:PORT] METHOD [WEIGHT] ["REQUEST","RECEIVE"] [l:N] [u:N]`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::Family;
use crate::config::diag::{Faults, Word};
use crate::config::ldirectord::lines::Entry;
use crate::config::ldirectord::section::Section;
use crate::config::ldirectord::service::{self, Method};
use crate::config::ldirectord::{Context, address, http};
use crate::lvs::check::{CHECKS_MAX, CheckKind, HttpCheck, HttpMethod};
use crate::lvs::model::{Forwarding, Protocol, RealKey, RealServer, ServiceKey};

/// Highest weight of the kernel.
pub(in crate::config) const WEIGHT_MAX: u32 = 65_535;

/// What all servers of a service have in common.
pub(super) struct Plan<'p, 'a> {
    pub(super) key: ServiceKey,
    /// `None` after a fault: the servers are read all the same, for their own faults.
    pub(super) method: Option<&'p Method>,
    pub(super) section: &'p Section<'a>,
}

/// One `real` line.
struct Line<'a> {
    first: IpAddr,
    last: IpAddr,
    port: Option<u16>,
    forwarding: Forwarding,
    weight: u32,
    request: Option<Word<'a>>,
    receive: Option<Word<'a>>,
    word: Word<'a>,
}

/// All real servers of a service.
pub(super) fn reals(plan: &Plan<'_, '_>, context: &mut Context<'_, '_>) -> Vec<RealServer> {
    let mut reals: Vec<RealServer> = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in &plan.section.reals {
        let Some(line) = line(plan, *entry, context) else { continue };
        let Some(addresses) = range((line.first, line.last), line.word, context.faults) else {
            continue;
        };
        let Some(template) = template(plan, &line, context) else { continue };
        for address in addresses {
            let key = RealKey { address, ..template.key };
            if !seen.insert(key) {
                let message = format!("{key} is there twice; the first one counts");
                context.faults.warn(line.word.span(), message);
                continue;
            }
            if reals.len() >= CHECKS_MAX {
                let message = format!("over {CHECKS_MAX} real servers");
                context.faults.fault(line.word.span(), message);
                return reals;
            }
            let elsewhere = template.check_address != line.first;
            let check_address = if elsewhere { template.check_address } else { address };
            reals.push(RealServer { key, check_address, ..template.clone() });
        }
    }
    reals
}

fn line<'a>(
    plan: &Plan<'_, '_>,
    entry: Entry<'a>,
    context: &mut Context<'_, '_>,
) -> Option<Line<'a>> {
    let words = entry.value.split(char::is_whitespace);
    let [server, method, ..] = words.as_slice() else {
        let message = "a real server is an address and a forwarding method";
        let help = format!("`{}=ADDRESS:PORT gate`, or masq, or ipip", entry.directive.name);
        context.faults.fault(entry.value.span(), message).help(help);
        return None;
    };
    let ipv6 = plan.key.is_ipv6();
    if (entry.directive.name == "real6") != ipv6 {
        let right = if ipv6 { "real6" } else { "real" };
        let message = format!("read as `{right}`, for the service is of that family");
        context.faults.warn(entry.key.span(), message);
    }
    let family = if ipv6 { Family::V6 } else { Family::V4 };
    let endpoint = address::endpoint(*server);
    let first = address::host(endpoint.host, family, context);
    let last = match endpoint.last {
        Some(word) => address::host(word, family, context),
        None => first,
    };
    let protocol = match plan.key {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => Protocol::Tcp,
    };
    let port = match endpoint.port {
        Some(word) => Some(address::port(word, protocol, context)?),
        None => None,
    };
    let forwarding = address::forwarding(*method, context.faults);
    let rest = method.start + method.text.len() - entry.value.start;
    let rest = entry.value.part(rest..entry.value.text.len());
    let tail = tail(rest, context)?;
    Some(Line {
        first: first?,
        last: last?,
        port,
        forwarding: forwarding?,
        weight: tail.weight,
        request: tail.request,
        receive: tail.receive,
        word: *server,
    })
}

/// What follows the forwarding method.
struct Tail<'a> {
    weight: u32,
    request: Option<Word<'a>>,
    receive: Option<Word<'a>>,
}

fn tail<'a>(rest: Word<'a>, context: &mut Context<'_, '_>) -> Option<Tail<'a>> {
    let mut tail = Tail { weight: 1, request: None, receive: None };
    let mut rest = rest.trim();
    if rest.text.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.text.find(|c: char| c.is_whitespace() || c == '"');
        let end = end.unwrap_or(rest.text.len());
        tail.weight = weight(rest.part(0..end), context)?;
        rest = rest.part(end..rest.text.len()).trim();
    }
    if rest.text.starts_with('"') {
        let (request, receive, behind) = strings(rest, context)?;
        tail.request = Some(request).filter(|word| !word.text.is_empty());
        tail.receive = Some(receive).filter(|word| !word.text.is_empty());
        rest = behind;
    }
    for word in rest.split(char::is_whitespace) {
        let threshold = word.text.strip_prefix("l:").or_else(|| word.text.strip_prefix("u:"));
        if threshold.is_some_and(|number| number.parse::<u32>().is_ok()) {
            let message = "connection thresholds are not applied yet";
            context.faults.warn(word.span(), message);
        } else {
            let message = format!("`{}` is not understood here", word.text);
            let help = "`ADDRESS:PORT METHOD [WEIGHT] [\"REQUEST\",\"RECEIVE\"] [l:N] [u:N]`";
            context.faults.fault(word.span(), message).help(help);
            return None;
        }
    }
    Some(tail)
}

fn weight(word: Word<'_>, context: &mut Context<'_, '_>) -> Option<u32> {
    let weight = word.text.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
    if weight.is_none() {
        let message = format!("`{}` is not a weight", word.text);
        context.faults.fault(word.span(), message).help("a whole number of 0 to 65535");
    }
    weight
}

/// `"REQUEST","RECEIVE"`, with a comma or blanks between them, and what is behind.
fn strings<'a>(
    rest: Word<'a>,
    context: &mut Context<'_, '_>,
) -> Option<(Word<'a>, Word<'a>, Word<'a>)> {
    let mut quotes = rest.text.match_indices('"').map(|(at, _)| at);
    let ends = (quotes.next(), quotes.next(), quotes.next(), quotes.next());
    let (Some(a), Some(b), Some(c), Some(d)) = ends else {
        let message = "request and receive are two texts in quotes";
        context.faults.fault(rest.span(), message).help("`\"index.html\",\"Test Page\"`");
        return None;
    };
    let between = rest.part(b + 1..c);
    if between.text.chars().any(|c| !c.is_whitespace() && c != ',') {
        let message = format!("`{}` between request and receive", between.text.trim());
        context.faults.fault(between.span(), message);
        return None;
    }
    let behind = rest.part(d + 1..rest.text.len());
    Some((rest.part(a + 1..b), rest.part(c + 1..d), behind))
}

/// The addresses from `first` to `last`, compared as numbers; ldirectord compares them as texts
/// and loses ranges that cross from 9 to 10 digits.
pub(in crate::config) fn range(
    (first, last): (IpAddr, IpAddr),
    word: Word<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<IpAddr>> {
    let (low, high) = (bits(first), bits(last));
    if low > high {
        faults.fault(word.span(), format!("a range from {first} down to {last}"));
        return None;
    }
    if high - low >= CHECKS_MAX as u128 {
        faults.fault(word.span(), format!("a range of over {CHECKS_MAX} servers"));
        return None;
    }
    Some((low..=high).map(|bits| address_of(bits, first.is_ipv6())).collect())
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address_of(bits: u128, ipv6: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if !ipv6 => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// The first server of a line; the others differ in their addresses only.
fn template(
    plan: &Plan<'_, '_>,
    line: &Line<'_>,
    context: &mut Context<'_, '_>,
) -> Option<RealServer> {
    let Line { forwarding, port: written, word, .. } = *line;
    let port = service::server_port(&plan.key, forwarding, written, Some(word.span()), context);
    masqueraded_mark(plan, line, port, context);
    let key = RealKey { address: line.first, port };
    let own = written.filter(|port| *port > 0).unwrap_or(port);
    let (check, elsewhere) = check(plan, line, context)?;
    let default = match &check {
        CheckKind::Http(http) | CheckKind::Alternate { negotiate: http, .. } => {
            if http.tls {
                443
            } else {
                80
            }
        }
        CheckKind::Connect(Protocol::Tcp) => 0,
        CheckKind::Connect(Protocol::Udp) | CheckKind::Ping | CheckKind::On | CheckKind::Off => {
            return Some(real(key, line, check, (line.first, 0)));
        }
    };
    let port = [plan.section.check_port.unwrap_or(0), own, default];
    let port = port.into_iter().find(|port| *port > 0);
    let Some(port) = port.or(elsewhere.map(|(_, port)| port)) else {
        let help = "`checkport=80`, or `checktype=ping`";
        context.faults.fault(word.span(), "no port to check at").help(help);
        return None;
    };
    Some(real(key, line, check, elsewhere.unwrap_or((line.first, port))))
}

fn real(
    key: RealKey,
    line: &Line<'_>,
    check: CheckKind,
    (check_address, check_port): (IpAddr, u16),
) -> RealServer {
    let (forwarding, weight) = (line.forwarding, line.weight);
    RealServer { key, forwarding, weight, check, check_address, check_port }
}

fn masqueraded_mark(
    plan: &Plan<'_, '_>,
    line: &Line<'_>,
    port: u16,
    context: &mut Context<'_, '_>,
) {
    if port > 0 && matches!(plan.key, ServiceKey::Mark { .. }) {
        let message = format!("with masq, all marked connections go to port {port}");
        let help = "leave the port out to keep the clients' ports; `checkport` says where to check";
        context.faults.warn(line.word.span(), message).help(help);
    }
}

/// The check of a line, and where it goes when not to the server itself.
fn check(
    plan: &Plan<'_, '_>,
    line: &Line<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(CheckKind, Option<(IpAddr, u16)>)> {
    let (tls, connects) = match plan.method? {
        Method::Fixed(kind) => return Some((kind.clone(), None)),
        Method::Http { tls, connects } => (*tls, *connects),
    };
    if let Some(word) = line.request.filter(|word| word.text.starts_with('/')) {
        let message = "this server's own request and receive are used";
        let help = "ldirectord ignores both when the request begins with a slash";
        context.faults.warn(word.span(), message).help(help);
    }
    let request = match line.request.or(plan.section.request) {
        Some(word) => http::request(word, tls, context)?,
        None => http::Request { path: "/".to_owned(), elsewhere: None },
    };
    if let Some(word) = line.receive
        && !http::receive(word, context.faults)
    {
        return None;
    }
    let receive = line.receive.or(plan.section.receive.filter(|_| line.request.is_none()));
    let http = HttpCheck {
        tls,
        method: plan.section.method.unwrap_or(HttpMethod::Get),
        path: request.path,
        host: plan.section.host.map(str::to_owned),
        receive: receive.map(|word| word.text.to_owned()),
    };
    let kind = match connects {
        Some(connects) => CheckKind::Alternate { connects, negotiate: http },
        None => CheckKind::Http(http),
    };
    Some((kind, request.elsewhere))
}
