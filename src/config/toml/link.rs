//! `[[link]]`: heartbeat links.
//!
//! ```toml
//! [[link]]
//! interface = "eth1"
//! peers = ["10.0.0.101", "10.0.0.105"]
//!
//! [[link]]
//! kind = "bcast"
//! interface = "eth2"
//!
//! [[link]]
//! kind = "mcast"
//! interface = "eth0"
//! group = "239.0.0.42"
//!
//! [[link]]
//! kind = "serial"
//! device = "/dev/ttyS0"
//! baud = 115200
//! ```

use std::net::IpAddr;
use std::num::NonZeroU8;

use super::walk::{Fields, Item, Walk};
use crate::config::diag::{Span, Word};
use crate::config::link::numbered;
use crate::config::{
    Baud, Cast, DraftLink, Family, Link, Medium, Multicast, MulticastGroup, Serial, TARGETS_MAX,
    UDP_PORT, Udp, value,
};
use crate::names::LinkName;

const KINDS: &str = "ucast, bcast, mcast, serial";

pub(super) fn read(item: Option<Item<'_>>, walk: &mut Walk<'_>) -> Vec<DraftLink> {
    let items = item.map_or_else(Vec::new, |item| item.items(walk));
    if items.is_empty() {
        let help = "`[[link]]` with `interface = \"eth1\"` and `peers = [...]` below it";
        walk.missing(Span::FILE, "no heartbeat link", help);
    }
    let mut links: Vec<DraftLink> = Vec::new();
    for item in items {
        let Some(fields) = item.fields(walk) else { continue };
        if let Some(link) = link(fields, &links, walk) {
            links.push(link);
        }
    }
    links
}

fn link(mut fields: Fields<'_>, others: &[DraftLink], walk: &mut Walk<'_>) -> Option<DraftLink> {
    let span = fields.span;
    let given = fields.take("name").and_then(|item| item.text(walk));
    let kind = fields.take("kind").and_then(|item| item.text(walk));
    let medium = match kind.map_or("ucast", |word| word.text) {
        "ucast" => ucast(&mut fields, walk),
        "bcast" => bcast(&mut fields, walk),
        "mcast" => mcast(&mut fields, walk),
        "serial" => serial(&mut fields, walk),
        other => {
            let at = kind.map_or(span, |word| word.span());
            walk.faults.fault(at, format!("`{other}` is no kind of link")).help(KINDS);
            return None;
        }
    };
    fields.finish(walk);
    let at = given.map_or(span, |word| word.span());
    let device = match &medium {
        Some(Medium::Serial(serial)) => serial.device.to_str(),
        Some(Medium::Udp(_)) | None => None,
    };
    let name =
        match (given.map(|word| word.text).or(device), medium.as_ref().and_then(Medium::interface))
        {
            (Some(name), _) => name.to_owned(),
            (None, Some(interface)) => {
                let same = |draft: &&DraftLink| draft.link.interface() == Some(interface);
                numbered(interface, others.iter().filter(same).count())
            }
            (None, None) => format!("link{}", others.len() + 1),
        };
    if others.iter().any(|draft| draft.link.name.as_str() == name) {
        walk.faults.fault(at, format!("a second link called `{name}`"));
    }
    match LinkName::new(&name) {
        Ok(name) => {
            Some(DraftLink { link: Link { name, medium: medium? }, at: walk.faults.mark(span) })
        }
        Err(error) => {
            walk.faults.fault(at, error.to_string());
            None
        }
    }
}

fn ucast(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Medium> {
    let interface = bound(fields, walk);
    let port = port(fields, walk);
    let Some(item) = fields.take("peers") else {
        let help = "the addresses of both nodes on this link; each leaves out its own";
        walk.missing(fields.span, "a link without `peers`", help);
        return None;
    };
    let interface = interface.map(|word| word.text.to_owned());
    let cast = Cast::Unicast { interface, targets: peers(item, walk) };
    Some(Medium::Udp(Udp { port, cast }))
}

fn bcast(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Medium> {
    let interface = needed_interface(fields, walk);
    let port = port(fields, walk);
    Some(Medium::Udp(Udp { port, cast: Cast::Broadcast { interface: interface? } }))
}

fn mcast(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Medium> {
    let interface = needed_interface(fields, walk);
    let port = port(fields, walk);
    let ttl = fields.take("ttl").and_then(|item| item.number(1, u32::from(u8::MAX), walk));
    let ttl = ttl.and_then(|ttl| u8::try_from(ttl).ok()).and_then(NonZeroU8::new);
    let looped = fields.take("loop").and_then(|item| item.boolean(walk)).unwrap_or(false);
    let Some(item) = fields.take("group") else {
        let help = "`group = \"239.0.0.42\"`, another one for each cluster of a LAN";
        walk.missing(fields.span, "a multicast link without `group`", help);
        return None;
    };
    let word = item.text(walk)?;
    let Some(group) = word.text.parse().ok().and_then(MulticastGroup::new) else {
        walk.faults
            .fault(word.span(), format!("`{}` is no multicast address", word.text))
            .help("224.0.0.0 to 239.255.255.255, or ff00::/8; one for each cluster of a LAN");
        return None;
    };
    let (interface, ttl) = (interface?, ttl.unwrap_or(NonZeroU8::MIN));
    let cast = Cast::Multicast(Multicast { interface, group, ttl, looped });
    Some(Medium::Udp(Udp { port, cast }))
}

fn serial(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<Medium> {
    const DEVICE: &str = "`device = \"/dev/ttyS0\"`";
    let baud = fields.take("baud").and_then(|item| {
        let number = item.number(0, u32::MAX, walk)?;
        let baud = Baud::new(number);
        if baud.is_none() {
            let known = Baud::ALL.map(|baud| baud.get().to_string()).join(", ");
            walk.faults.fault(item.span, format!("{number} is not one of {known}"));
        }
        baud
    });
    let Some(item) = fields.take("device") else {
        walk.missing(fields.span, "a serial link without `device`", DEVICE);
        return None;
    };
    let word = item.text(walk)?;
    if !word.text.starts_with('/') {
        let message = format!("`{}` is no path of a device", word.text);
        walk.faults.fault(word.span(), message).help(DEVICE);
        return None;
    }
    Some(Medium::Serial(Serial { device: word.text.into(), baud: baud.unwrap_or_default() }))
}

fn port(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> u16 {
    fields.take("port").and_then(|item| item.port(walk)).unwrap_or(UDP_PORT)
}

fn bound<'d>(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = fields.take("interface").and_then(|item| item.text(walk))?;
    if !value::is_interface(word.text) {
        walk.faults.fault(word.span(), format!("`{}` is no interface name", word.text));
    }
    Some(word)
}

fn needed_interface(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<String> {
    let word = bound(fields, walk);
    if word.is_none() {
        walk.missing(fields.span, "a link without `interface`", "`interface = \"eth1\"`");
    }
    word.map(|word| word.text.to_owned())
}

/// Addresses or host names, all of one family.
fn peers(item: Item<'_>, walk: &mut Walk<'_>) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    let items = item.items(walk);
    if items.is_empty() {
        walk.missing(item.span, "no peers", "the addresses of both nodes on this link");
    }
    if items.len() > TARGETS_MAX {
        walk.faults.fault(item.span, format!("over {TARGETS_MAX} addresses on one link"));
    }
    for item in items.into_iter().take(TARGETS_MAX) {
        let Some(word) = item.text(walk) else { continue };
        let Some(ip) = host(word, walk) else { continue };
        if ips.first().is_some_and(|first| first.is_ipv4() != ip.is_ipv4()) {
            let help = "make a link of each family";
            walk.faults.fault(item.span, "IPv4 and IPv6 on one link").help(help);
        } else if ips.contains(&ip) {
            walk.faults.warn(item.span, format!("{ip} is given twice"));
        } else {
            ips.push(ip);
        }
    }
    ips
}

pub(super) fn host(word: Word<'_>, walk: &mut Walk<'_>) -> Option<IpAddr> {
    let environment = walk.environment;
    let asked = || {
        let v4 = environment.host(word.text, Family::V4);
        v4.or_else(|| environment.host(word.text, Family::V6))
    };
    let found = word.text.parse().ok().or_else(asked);
    if found.is_none() {
        let message = format!("`{}` is neither an address nor a known host", word.text);
        walk.faults.fault(word.span(), message);
    }
    let unfit = found.filter(|ip| !ip.is_loopback()).and_then(value::unfit_vip);
    if let Some(what) = unfit {
        walk.faults.fault(word.span(), format!("{what} is no unicast address"));
        return None;
    }
    found
}
