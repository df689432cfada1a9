//! Addresses, ports and single values of ldirectord.cf.

use std::net::IpAddr;

use crate::config::Family;
use crate::config::diag::{Faults, Word};
use crate::config::ldirectord::Context;
use crate::keys::Secret;
use crate::lvs::model::{Forwarding, Protocol};

/// `HOST[->HOST][:PORT]` cut into its parts.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Endpoint<'a> {
    pub(in crate::config) host: Word<'a>,
    /// Last one of a range.
    pub(in crate::config) last: Option<Word<'a>>,
    pub(in crate::config) port: Option<Word<'a>>,
}

/// Cuts; hosts in brackets lose them.
pub(in crate::config) fn endpoint(word: Word<'_>) -> Endpoint<'_> {
    let (first, rest) = match word.split_once("->") {
        Some((first, rest)) => (Some(first), rest),
        None => (None, word),
    };
    let (host, port) = match rest.text.rfind("]:") {
        Some(at) => (rest.part(0..at + 1), Some(rest.part(at + 2..rest.text.len()))),
        None if rest.text.ends_with(']') => (rest, None),
        None => match rest.text.rfind(':') {
            Some(at) => (rest.part(0..at), Some(rest.part(at + 1..rest.text.len()))),
            None => (rest, None),
        },
    };
    match first {
        Some(first) => Endpoint { host: bare(first), last: Some(bare(host)), port },
        None => Endpoint { host: bare(host), last: None, port },
    }
}

fn bare(host: Word<'_>) -> Word<'_> {
    if host.text.len() >= 2 && host.text.starts_with('[') && host.text.ends_with(']') {
        host.part(1..host.text.len() - 1)
    } else {
        host
    }
}

/// The address of a host of that family, or a fault.
pub(in crate::config) fn host(
    word: Word<'_>,
    family: Family,
    context: &mut Context<'_, '_>,
) -> Option<IpAddr> {
    // `192.168.6.2::5060` stands in ldirectord's own sample.
    let colon = word.text.strip_suffix(':').filter(|host| !host.contains(':'));
    let word = match colon {
        Some(host) => {
            context.faults.warn(word.span(), "one colon too many, which is ignored");
            word.part(0..host.len())
        }
        None => word,
    };
    let ip = match word.text.parse::<IpAddr>() {
        Ok(ip) => Some(ip),
        Err(_) if is_host_name(word.text) => context.environment.host(word.text, family),
        Err(_) => None,
    };
    let Some(ip) = ip else {
        let message = format!("`{}` is neither an address nor a known host", word.text);
        context.faults.fault(word.span(), message);
        return None;
    };
    if ip.is_ipv6() != (family == Family::V6) {
        let (other, own) = if ip.is_ipv6() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        let message = format!("an {other} address in an {own} service");
        context.faults.fault(word.span(), message);
        return None;
    }
    if let IpAddr::V6(v6) = ip
        && v6.to_ipv4_mapped().is_some()
    {
        let message = format!("{ip} is an IPv4 address");
        context.faults.fault(word.span(), message).help("write it as one, in an IPv4 service");
        return None;
    }
    Some(ip)
}

/// Whether it is worth asking for; four numbers that are no address are a typing error.
fn is_host_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
        && text.chars().any(|c| c.is_ascii_alphabetic())
}

/// A port of 0 to 65535 by number or by name, or a fault.
pub(in crate::config) fn port(
    word: Word<'_>,
    protocol: Protocol,
    context: &mut Context<'_, '_>,
) -> Option<u16> {
    let number = word.text.parse::<u16>().ok();
    let named = || context.environment.service(word.text, protocol);
    let port = if word.text.bytes().all(|b| b.is_ascii_digit()) { number } else { named() };
    if port.is_none() {
        let message = format!("`{}` is neither a port nor a {protocol} service", word.text);
        context.faults.fault(word.span(), message).help("0 to 65535, or a name of /etc/services");
    }
    port
}

/// `gate`, `masq` or `ipip`, or a fault.
pub(in crate::config) fn forwarding(word: Word<'_>, faults: &mut Faults<'_>) -> Option<Forwarding> {
    match word.text {
        "gate" => Some(Forwarding::Gate),
        "masq" => Some(Forwarding::Masq),
        "ipip" => Some(Forwarding::Ipip),
        other => {
            let message = format!("`{other}` is not a forwarding method");
            faults.fault(word.span(), message).help("gate, masq or ipip");
            None
        }
    }
}

/// A whole number of `low` to `high`. ldirectord takes the first digits it finds and ignores
/// the rest, and so do we, with a warning.
pub(in crate::config) fn number(
    word: Word<'_>,
    low: u32,
    high: u32,
    faults: &mut Faults<'_>,
) -> Option<u32> {
    let digits = word.text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let start = word.text.len() - digits.len();
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let digits = word.part(start..start + length);
    let number = digits.text.parse::<u32>().ok().filter(|n| (low..=high).contains(n));
    let Some(number) = number else {
        let message = if high == u32::MAX {
            format!("`{}` is not a whole number of {low} or more", word.text)
        } else {
            format!("`{}` is not a whole number of {low} to {high}", word.text)
        };
        faults.fault(word.span(), message);
        return None;
    };
    if digits.text.len() != word.text.len() {
        faults.warn(word.span(), format!("read as {number}, as ldirectord does"));
    }
    Some(number)
}

/// yes or no.
pub(in crate::config) fn yes_no(word: Word<'_>, faults: &mut Faults<'_>) -> Option<bool> {
    let first = first(word, faults);
    match first.text {
        "yes" => Some(true),
        "no" => Some(false),
        other => match crate::config::value::boolean(other) {
            Some(on) => {
                let read = if on { "yes" } else { "no" };
                let message = format!("read as `{read}`; ldirectord takes yes and no only");
                faults.warn(first.span(), message);
                Some(on)
            }
            None => {
                faults.fault(word.span(), format!("`{}` is neither yes nor no", word.text));
                None
            }
        },
    }
}

/// The first word, without quotes; a warning names the rest.
pub(in crate::config) fn first<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Word<'a> {
    let words = word.split(char::is_whitespace);
    let first = words.first().copied().unwrap_or(word);
    if let Some(rest) = words.get(1) {
        let end = word.start + word.text.len();
        let rest = word.part(rest.start - word.start..end - word.start);
        faults.warn(rest.span(), format!("`{}` is ignored", rest.text));
    }
    unquoted(first).unwrap_or(first)
}

/// What is between the first and the last quote.
pub(in crate::config) fn unquoted(word: Word<'_>) -> Option<Word<'_>> {
    let first = word.text.find('"')?;
    let last = word.text.rfind('"')?;
    (first == 0 && last > first).then(|| word.part(first + 1..last))
}

/// A text as it is, quotes and all. Empty is a fault.
pub(in crate::config) fn literal<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Word<'a>> {
    if word.text.is_empty() {
        faults.fault(word.span(), "an empty text").help("leave the line out for the default");
        return None;
    }
    Some(word)
}

/// A text that may stand in quotes. Empty is a fault.
pub(in crate::config) fn quotable<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Word<'a>> {
    literal(unquoted(word).unwrap_or(word), faults)
}

/// A text that ldirectord takes with its quotes, where they do no good: they are left away.
pub(in crate::config) fn without_quotes<'a>(
    word: Word<'a>,
    faults: &mut Faults<'_>,
) -> Option<Word<'a>> {
    if unquoted(word).is_some() {
        faults.warn_once(word.span(), "ldirectord takes these quotes as part of the value");
    }
    quotable(word, faults)
}

/// A secret in quotes: as [`text`], but no message repeats it.
pub(in crate::config) fn secret(word: Word<'_>, faults: &mut Faults<'_>) -> Option<Secret> {
    let text = match unquoted(word) {
        Some(text) => {
            if word.text.trim_end().len() > text.text.len() + 2 {
                faults.warn(word.span(), "what is behind the quotes is ignored");
            }
            text
        }
        None => {
            faults.warn(word.span(), "quotes are missing");
            word
        }
    };
    if text.text.is_empty() {
        faults.fault(word.span(), "an empty text").help("leave the line out for the default");
        return None;
    }
    Some(Secret::new(text.text))
}

/// A text that ldirectord wants in quotes. Without them it is taken as it is, with a warning;
/// what is behind the last quote is ignored, with a warning. Empty is a fault.
pub(in crate::config) fn text<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Word<'a>> {
    let text = match unquoted(word) {
        Some(text) => {
            let end = text.start + text.text.len() + 1 - word.start;
            let rest = word.part(end..word.text.len()).trim();
            if !rest.text.is_empty() {
                faults.warn(rest.span(), format!("`{}` is ignored", rest.text));
            }
            text
        }
        None => {
            let bare = word.text.trim_matches('"');
            let start = word.text.len() - word.text.trim_start_matches('"').len();
            let bare = word.part(start..start + bare.len());
            if !bare.text.is_empty() {
                faults.warn(bare.span(), format!("read as \"{}\": quotes are missing", bare.text));
            }
            bare
        }
    };
    if text.text.is_empty() {
        faults.fault(word.span(), "an empty text").help("leave the line out for the default");
        return None;
    }
    Some(text)
}
