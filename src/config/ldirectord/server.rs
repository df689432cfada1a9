//! Real servers: `real=HOST[->HOST][:PORT] METHOD [WEIGHT] ["REQUEST","RECEIVE"] [l:N] [u:N]`.

use std::net::IpAddr;

use crate::config::Family;
use crate::config::diag::{Faults, Span, Word};
use crate::config::ldirectord::file::Real;
use crate::config::ldirectord::lines::Entry;
use crate::config::ldirectord::{Context, address, http};
use crate::lvs::check::CHECKS_MAX;
use crate::lvs::model::{Protocol, ServiceKey, WEIGHT_MAX};

/// All real servers of a service, ranges taken apart.
pub(super) fn reals<'a>(
    key: &ServiceKey,
    entries: &[Entry<'a>],
    context: &mut Context<'_, '_>,
) -> Vec<Real<'a>> {
    let mut reals = Vec::new();
    for entry in entries {
        let Some((real, last)) = line(key, *entry, context) else { continue };
        let Some(addresses) = range((real.address, last), real.word, context.faults) else {
            continue;
        };
        if addresses.len() > 1 {
            unlike_ldirectord((real.address, last), real.word, context.faults);
        }
        if reals.len() + addresses.len() > CHECKS_MAX {
            context.faults.fault(real.word.span(), format!("over {CHECKS_MAX} real servers"));
            return reals;
        }
        reals.extend(addresses.into_iter().map(|address| Real { address, ..real }));
    }
    reals
}

/// The first server of a line, and the address of the last one.
fn line<'a>(
    key: &ServiceKey,
    entry: Entry<'a>,
    context: &mut Context<'_, '_>,
) -> Option<(Real<'a>, IpAddr)> {
    let words = entry.value.split(char::is_whitespace);
    let [server, method, ..] = words.as_slice() else {
        let message = "a real server is an address and a forwarding method";
        let help = format!("`{}=ADDRESS:PORT gate`, or masq, or ipip", entry.directive.name);
        context.faults.fault(entry.value.span(), message).help(help);
        return None;
    };
    let ipv6 = key.is_ipv6();
    if (entry.directive.name == "real6") != ipv6 {
        let right = if ipv6 { "real6" } else { "real" };
        let message = format!("read as `{right}`, for the service is of that family");
        context.faults.warn(entry.key.span(), message);
    }
    let family = if ipv6 { Family::V6 } else { Family::V4 };
    let endpoint = address::endpoint(*server);
    misread(*server, endpoint.host, ipv6, context);
    let first = address::host(endpoint.host, family, context);
    let last = match endpoint.last {
        Some(word) => address::host(word, family, context),
        None => first,
    };
    let protocol = match *key {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => Protocol::Tcp,
    };
    let port = match endpoint.port {
        Some(word) => address::port(word, protocol, context)?,
        None => 0,
    };
    let forwarding = address::forwarding(*method, context.faults);
    let rest = method.start + method.text.len() - entry.value.start;
    let tail = tail(entry.value.part(rest..entry.value.text.len()), context)?;
    let real = Real {
        word: *server,
        address: first?,
        port,
        forwarding: forwarding?,
        weight: tail.weight,
        request: tail.request,
        receive: tail.receive,
        lower: tail.lower,
        upper: tail.upper,
        thresholds_at: tail.thresholds_at,
    };
    Some((real, last?))
}

/// Names that ldirectord takes for others.
fn misread(server: Word<'_>, host: Word<'_>, ipv6: bool, context: &mut Context<'_, '_>) {
    if !ipv6 && server.text.starts_with('[') {
        let message = "an IPv4 address in brackets is that address";
        if let Some(warning) = context.faults.warn_once(server.span(), message) {
            warning.help("ldirectord takes the port for the address");
        }
    }
    if !ipv6 && host.text.contains('_') {
        let message = "a host name with an underscore is looked up as it is";
        if let Some(warning) = context.faults.warn_once(host.span(), message) {
            warning.help("ldirectord looks up what is behind the last underscore");
        }
    }
}

/// What follows the forwarding method.
struct Tail<'a> {
    weight: u32,
    request: Option<Word<'a>>,
    receive: Option<Word<'a>>,
    lower: u32,
    upper: u32,
    thresholds_at: Option<Span>,
}

fn tail<'a>(rest: Word<'a>, context: &mut Context<'_, '_>) -> Option<Tail<'a>> {
    let mut tail =
        Tail { weight: 1, request: None, receive: None, lower: 0, upper: 0, thresholds_at: None };
    let mut rest = rest.trim();
    if rest.text.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.text.find(|c: char| c.is_whitespace() || c == '"');
        let end = end.unwrap_or(rest.text.len());
        tail.weight = weight(rest.part(0..end), context)?;
        rest = rest.part(end..rest.text.len()).trim();
    }
    if rest.text.starts_with('"') {
        let (request, receive, behind) = strings(rest, context)?;
        own_texts(request, receive, context);
        tail.request = Some(request).filter(|word| !word.text.is_empty());
        tail.receive = Some(receive).filter(|word| !word.text.is_empty());
        if tail.receive.is_some_and(|word| !http::receive(word, context.faults)) {
            return None;
        }
        rest = behind;
    }
    let words = rest.split(char::is_whitespace);
    for word in &words {
        threshold(*word, &mut tail, context)?;
    }
    if let (Some(first), Some(last)) = (words.first(), words.last()) {
        tail.thresholds_at = Some(Span { start: first.start, end: last.span().end });
    }
    Some(tail)
}

/// `l:N` or `u:N`.
fn threshold(word: Word<'_>, tail: &mut Tail<'_>, context: &mut Context<'_, '_>) -> Option<()> {
    let number = |prefix| word.strip_prefix(prefix).and_then(|number| number.text.parse().ok());
    if let Some(lower) = number("l:") {
        tail.lower = lower;
        if tail.upper > 0 {
            let message = "`u:` before `l:` counts too";
            if let Some(warning) = context.faults.warn_once(word.span(), message) {
                warning.help("ldirectord forgets it, and takes `l:10 u:20` only");
            }
        }
        return Some(());
    }
    if let Some(upper) = number("u:") {
        tail.upper = upper;
        return Some(());
    }
    let message = format!("`{}` is not understood here", word.text);
    let help = "`ADDRESS:PORT METHOD [WEIGHT] [\"REQUEST\",\"RECEIVE\"] [l:N] [u:N]`";
    context.faults.fault(word.span(), message).help(help);
    None
}

/// What ldirectord does not take a server's own texts for.
fn own_texts(request: Word<'_>, receive: Word<'_>, context: &mut Context<'_, '_>) {
    if request.text.starts_with('/') {
        let message = "this server's own request and receive are used";
        if let Some(warning) = context.faults.warn_once(request.span(), message) {
            warning.help("ldirectord ignores both when the request begins with a slash");
        }
    }
    let threshold = |word: Word<'_>| word.text.starts_with("l:") || word.text.starts_with("u:");
    if threshold(request) || threshold(receive) {
        let message = "in quotes this is a request or an answer, not a threshold";
        context.faults.warn(request.span(), message).help("`l:10 u:20`, without quotes");
    }
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
    if between.text.trim_start().len() < between.text.len() && between.text.contains(',') {
        context.faults.warn(between.span(), "ldirectord takes no blank before this comma");
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

/// ldirectord compares the ends of a range as texts, and has none for IPv6.
fn unlike_ldirectord((first, last): (IpAddr, IpAddr), word: Word<'_>, faults: &mut Faults<'_>) {
    if first.is_ipv6() {
        faults.warn_once(word.span(), "a range of IPv6 addresses, which ldirectord refuses");
        return;
    }
    if bits(first).to_string().len() != bits(last).to_string().len() {
        let message = "a range is all addresses from the first to the last";
        if let Some(warning) = faults.warn_once(word.span(), message) {
            warning.help("ldirectord compares them as texts and finds no server in this one");
        }
    }
}
