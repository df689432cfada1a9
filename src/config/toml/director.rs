//! `[director.NAME]` and its `[[director.NAME.service]]`s.
//!
//! The director's own keys are defaults for its services, as the globals of ldirectord.cf are;
//! those of a service are defaults for its real servers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::config::check::DraftDirector;
use crate::config::diag::{Mark, Span, Word};
use crate::config::ldirectord::section::{PERSISTENT_MAX, flag_bits, known_scheduler, sched_flags};
use crate::config::ldirectord::server::range;
use crate::config::ldirectord::{address, build::server_port};
use crate::config::toml::agent;
use crate::config::toml::check::{self, Check, Level};
use crate::config::toml::mail;
use crate::config::toml::policy;
use crate::config::toml::requires::{self, Dependencies};
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::config::{Family, value};
use crate::lvs::check::CHECKS_MAX;
use crate::lvs::model::{
    Director, Forwarding, NotForwarding, Policy, Protocol, RealKey, RealServer, SchedFlags,
    ServiceKey, Thresholds, VirtualService, WEIGHT_MAX,
};
use crate::lvs::notify::{Notify, Program};
use crate::names::DirectorName;

/// The kernel's usual choice: new connections by weight.
const SCHEDULER: &str = "wrr";
/// Its flags: mh-fallback, for servers of weight 0, and mh-port, for many connections of one client.
const STATELESS_FLAGS: SchedFlags = SchedFlags(3);

/// Where a service's sorry server is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// In the service.
    Here,
    /// In the director, for all its services.
    InDirector,
}

/// What a director says for its services, and a service for its servers.
#[derive(Clone, Default)]
struct Defaults<'d> {
    check: Check<'d>,
    forwarding: Option<Forwarding>,
    quiescent: Option<bool>,
    clean_stop: Option<bool>,
    policy: policy::Said,
    dependencies: Dependencies<'d>,
    requires: Vec<Word<'d>>,
    agent: Option<agent::Written<'d>>,
    fallback: Option<Item<'d>>,
    notify: Notify,
    mail: mail::Said,
}

impl<'d> Defaults<'d> {
    fn read(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Self {
        Self {
            check: check::read(fields.take("check"), Level::Service, walk),
            forwarding: fields.take("forwarding").and_then(|item| forwarding(item, walk)),
            quiescent: fields.take("quiescent").and_then(|item| item.boolean(walk)),
            clean_stop: fields.take("clean_stop").and_then(|item| item.boolean(walk)),
            policy: policy::Said::read(fields, walk),
            dependencies: Dependencies::default(),
            requires: requires::names(fields, walk),
            agent: fields.take("agent").and_then(|item| agent::read(item, walk)),
            fallback: fields.take("fallback"),
            notify: notify(fields, walk),
            mail: fields.take("mail").map_or_else(mail::Said::default, |it| mail::read(it, walk)),
        }
    }

    fn or(self, farther: &Self) -> Self {
        Self {
            check: self.check.or(&farther.check),
            forwarding: self.forwarding.or(farther.forwarding),
            quiescent: self.quiescent.or(farther.quiescent),
            clean_stop: self.clean_stop.or(farther.clean_stop),
            policy: self.policy.or(&farther.policy),
            dependencies: farther.dependencies.clone(),
            agent: self.agent.or_else(|| farther.agent.clone()),
            requires: [farther.requires.as_slice(), &self.requires].concat(),
            // A farther one is of its own level: see `fallback`.
            fallback: self.fallback,
            notify: self.notify.or(&farther.notify),
            mail: self.mail.or(&farther.mail),
        }
    }
}

/// One director.
pub(super) fn read(
    name: DirectorName,
    mut fields: Fields<'_>,
    walk: &mut Walk<'_>,
) -> DraftDirector {
    let mut defaults = Defaults::read(&mut fields, walk);
    defaults.dependencies = Dependencies::read(&mut fields, walk);
    let maintenance = fields.take("maintenance_dir").and_then(|item| item.text(walk));
    let maintenance = maintenance.map(|word| PathBuf::from(word.text));
    let follow = fields.take("standby_checks").is_some_and(|item| follow(item, walk));
    let adopt = fields.take("hand_made").is_some_and(|item| adopt(item, walk));
    let items = fields.take("service").map_or_else(Vec::new, |item| item.items(walk));
    if items.is_empty() {
        let help = format!("`[[director.{name}.service]]` with `address = \"192.168.2.110:80\"`");
        walk.missing(fields.span, "a director without a service", &help);
    }
    fields.finish(walk);
    let mut services = Vec::new();
    let mut marks = Vec::new();
    for item in items {
        let Some(fields) = item.fields(walk) else { continue };
        if let Some((found, mark)) = service(fields, &defaults, walk) {
            services.push(found);
            marks.push(mark);
        }
    }
    let director = Director { name, services, maintenance, follow, adopt };
    DraftDirector { director, services: marks }
}

fn service(
    mut fields: Fields<'_>,
    director: &Defaults<'_>,
    walk: &mut Walk<'_>,
) -> Option<(VirtualService, Mark)> {
    let key = key(&mut fields, walk);
    let own = Defaults::read(&mut fields, walk).or(director);
    let sorry = own.fallback.map(|item| (item, Said::Here));
    let sorry = sorry.or(director.fallback.map(|item| (item, Said::InDirector)));
    let written = (fields.take("scheduler"), fields.take("persistent"));
    let scheduler = written.0.and_then(|item| {
        let word = item.text(walk)?;
        known_scheduler(word, &mut walk.faults)
    });
    let persistent = written.1.and_then(|item| persistent(item, walk));
    let netmask = fields.take("netmask");
    let one_packet = fields.take("one_packet");
    let flags = fields.take("scheduler_flags").and_then(|item| {
        let word = item.text(walk)?;
        sched_flags(word, &mut walk.faults)
    });
    let stateless = own.policy.is_stateless();
    if stateless {
        policy::refuse_state(written, scheduler, walk);
    }
    let mut notify = mail::named(&mut fields, walk).or(&own.notify);
    notify.mail = own.mail.build(walk);
    let reals = fields.take("real").map_or_else(Vec::new, |item| item.items(walk));
    let backup = fields.take("backup").map_or_else(Vec::new, |item| item.items(walk));
    let span = fields.span;
    fields.finish(walk);
    let (key, at) = key?;
    if reals.is_empty() {
        let who = if backup.is_empty() { "sorry server" } else { "backup pool" };
        walk.faults.warn(at, format!("no real server: only the {who} can serve"));
    }
    if matches!(key, ServiceKey::Address { port: 0, .. }) && persistent.is_none() {
        let message = "port 0 is every port, and the kernel takes that only with persistence";
        walk.faults.fault(at, message).help("`persistent = \"300s\"`");
    }
    let mut seen = BTreeSet::new();
    let mut service = VirtualService {
        key,
        scheduler: scheduler
            .unwrap_or(if stateless { policy::MAGLEV } else { SCHEDULER })
            .to_owned(),
        persistent,
        netmask: netmask.and_then(|item| self::netmask(item, &key, persistent, walk)),
        one_packet: one_packet.is_some_and(|item| self::one_packet(item, &key, walk)),
        flags: if stateless && flags.is_none() { STATELESS_FLAGS } else { flag_bits(flags) },
        quiescent: own.quiescent.unwrap_or(stateless),
        clean_stop: own.clean_stop.unwrap_or(true),
        reals: servers(&reals, &key, &own, &mut seen, walk),
        backup: servers(&backup, &key, &own, &mut seen, walk),
        fallback: sorry.and_then(|(item, said)| fallback(item, said, &key, walk)),
        interval: own.check.interval.unwrap_or(check::INTERVAL),
        timeout: own.check.timeout.unwrap_or(check::TIMEOUT),
        fall: own.check.fall.unwrap_or(1),
        rise: own.check.rise.unwrap_or(1),
        policy: Policy { pace: own.check.pace(), ..Policy::default() },
        notify,
    };
    service.policy = own.policy.build(&service, walk);
    if stateless && service.pools().any(|real| real.agent.is_some()) {
        policy::warn_of_weights(at, "what agents say", walk);
    }
    one_way(&service, at, walk);
    Some((service, walk.faults.mark(if at == Span::FILE { span } else { at })))
}

fn notify(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Notify {
    let mut told = |name| fields.take(name).and_then(|item| program(item, walk));
    Notify {
        fallback_command: told("fallback_command"),
        quorum_up: told("quorum_up"),
        quorum_down: told("quorum_down"),
        ..Notify::default()
    }
}

/// A program that is told something: no shell.
fn program(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Program> {
    let words = check::command(item, walk)?;
    let (program, args) = words.split_first()?;
    let args = args.iter().map(|word| (*word).to_owned()).collect();
    Some(Program { program: (*program).to_owned(), args })
}

/// `address` with `protocol`, or `mark` with `family`.
fn key(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Option<(ServiceKey, Span)> {
    let written = (fields.take("address"), fields.take("mark"));
    let protocol = fields.take("protocol").map(|item| (protocol(item, walk), item.span));
    let family = fields.take("family").map(|item| (family(item, walk), item.span));
    match written {
        (Some(item), None) => {
            let word = item.text(walk)?;
            let protocol = protocol.map_or(Some(Protocol::Tcp), |(protocol, _)| protocol)?;
            let given = family.and_then(|(family, _)| family);
            Some((address_key(word, protocol, given, walk)?, item.span))
        }
        (None, Some(item)) => {
            let mark = item.number(1, u32::MAX, walk);
            if let Some((_, span)) = protocol {
                walk.faults.fault(span, "a firewall mark has no protocol");
            }
            let ipv6 = matches!(family, Some((Some(Family::V6), _)));
            Some((ServiceKey::Mark { ipv6, mark: mark? }, item.span))
        }
        (Some(_), Some(item)) => {
            walk.faults.fault(item.span, "a service has an address or a mark, not both");
            None
        }
        (None, None) => {
            let help = "`address = \"192.168.2.110:80\"`, or `mark = 1`";
            walk.missing(fields.span, "a service without an address", help);
            None
        }
    }
}

fn address_key(
    word: Word<'_>,
    protocol: Protocol,
    given: Option<Family>,
    walk: &mut Walk<'_>,
) -> Option<ServiceKey> {
    let endpoint = address::endpoint(word);
    let bare = word.text.parse::<IpAddr>().is_ok();
    let Some(port) = endpoint.port.filter(|_| !bare) else {
        let message = format!("`{}` has no port", word.text);
        let help = "`\"192.168.2.110:80\"`, `\"[2001:db8::110]:80\"`";
        walk.faults.fault(word.span(), message).help(help);
        return None;
    };
    let by_text = if endpoint.host.text.contains(':') { Family::V6 } else { Family::V4 };
    let mut context = walk.director();
    let address = address::host(endpoint.host, given.unwrap_or(by_text), &mut context);
    let port = address::port(port, protocol, &mut context);
    Some(ServiceKey::Address { protocol, address: address?, port: port? })
}

fn protocol(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Protocol> {
    let word = item.text(walk)?.text;
    let found = Protocol::named(word);
    if found.is_none() {
        let help = Protocol::ALL.map(Protocol::word).join(", ");
        walk.faults.fault(item.span, format!("`{word}` is not a protocol")).help(help);
    }
    found
}

fn family(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Family> {
    match item.text(walk)?.text {
        "ipv4" => Some(Family::V4),
        "ipv6" => Some(Family::V6),
        other => {
            walk.faults.fault(item.span, format!("`{other}` is no family")).help("ipv4, ipv6");
            None
        }
    }
}

/// Whether a standby goes by the active node's verdicts.
fn follow(item: Item<'_>, walk: &mut Walk<'_>) -> bool {
    either(item, ["own", "active"], "not whose checks a standby goes by", walk)
}

/// Whether changes of the kernel's table by hand are orders.
fn adopt(item: Item<'_>, walk: &mut Walk<'_>) -> bool {
    either(item, ["correct", "adopt"], "nothing to do with changes made by hand", walk)
}

/// Whether the second of two words is said.
pub(super) fn either(item: Item<'_>, words: [&str; 2], is_not: &str, walk: &mut Walk<'_>) -> bool {
    let Some(word) = item.text(walk) else { return false };
    if !words.contains(&word.text) {
        let message = format!("`{}` is {is_not}", word.text);
        walk.faults.fault(item.span, message).help(words.join(", "));
    }
    word.text == words[1]
}

fn forwarding(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Forwarding> {
    let word = item.text(walk)?;
    match word.text.parse() {
        Ok(Forwarding::FullNat { source: Some(source) }) if !is_host(source) => {
            let message = format!("{source} is no address that a real server can answer");
            walk.faults.fault(word.span(), message);
            None
        }
        Ok(forwarding) if forwarding != Forwarding::Local => Some(forwarding),
        _ => {
            let message = format!("`{}` is not a forwarding method", word.text);
            walk.faults.fault(word.span(), message).help(NotForwarding.to_string());
            None
        }
    }
}

fn is_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast)
}

/// Whether packets to the server can have the source that is asked for.
fn has_source(forwarding: Forwarding, server: IpAddr, at: Span, walk: &mut Walk<'_>) -> bool {
    let Forwarding::FullNat { source: Some(source) } = forwarding else { return true };
    let same = source.is_ipv4() == server.is_ipv4();
    if !same {
        let message = format!("{server} can't get packets from {source}: another family");
        let help = "`forwarding` of its own, with an address of the real server's family";
        walk.faults.fault(at, message).help(help);
    }
    same
}

/// The kernel's conntrack, which full NAT stands on, does not follow connections of one packet.
fn one_way(service: &VirtualService, at: Span, walk: &mut Walk<'_>) {
    let mut methods = service.servers().map(|server| server.forwarding);
    if service.one_packet && methods.any(Forwarding::is_full_nat) {
        walk.faults.fault(at, "`one_packet` and fullnat exclude each other");
    }
}

fn persistent(item: Item<'_>, walk: &mut Walk<'_>) -> Option<u32> {
    let time = item.time(walk)?;
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    if time.subsec_nanos() > 0 || !(1..=PERSISTENT_MAX).contains(&seconds) {
        walk.faults.fault(item.span, "whole seconds, at least 1s and at most 31 days");
        return None;
    }
    Some(seconds)
}

fn netmask(
    item: Item<'_>,
    key: &ServiceKey,
    persistent: Option<u32>,
    walk: &mut Walk<'_>,
) -> Option<u8> {
    let max: u8 = if key.is_ipv6() { 128 } else { 32 };
    let length = if item.is_text() {
        let word = item.text(walk)?;
        let length = value::prefix(word.text, max);
        if length.is_none() {
            walk.faults.fault(item.span, format!("`{}` is not a netmask", word.text));
        }
        length?
    } else {
        u8::try_from(item.number(1, u32::from(max), walk)?).ok()?
    };
    if persistent.is_none() {
        walk.faults.warn(item.span, "`netmask` means nothing without `persistent`");
        return None;
    }
    Some(length).filter(|length| *length < max)
}

fn one_packet(item: Item<'_>, key: &ServiceKey, walk: &mut Walk<'_>) -> bool {
    if item.boolean(walk) != Some(true) {
        return false;
    }
    if let ServiceKey::Address { protocol: Protocol::Udp, .. } = key {
        return true;
    }
    walk.faults.fault(item.span, "`one_packet` is for udp only");
    false
}

/// One sorry server, or an array of one for each family.
///
/// That of a director serves the services it fits; that of a service must fit.
fn fallback(
    item: Item<'_>,
    said: Said,
    key: &ServiceKey,
    walk: &mut Walk<'_>,
) -> Option<RealServer> {
    let items = if item.is_array() { item.items(walk) } else { vec![item] };
    let fits = |word: Word<'_>| {
        let ipv6 = word.text.starts_with('[') || word.text.parse::<std::net::Ipv6Addr>().is_ok();
        ipv6 == key.is_ipv6()
    };
    for item in items {
        let Sorry { word, forwarding, check } = sorry(item, walk)?;
        if !fits(word) {
            continue;
        }
        let (address, port) = server(word, key, walk)?;
        if !has_source(forwarding, address, word.span(), walk) {
            return None;
        }
        let noticed = (said == Said::Here).then(|| word.span());
        let in_table = server_port(key, forwarding, port, noticed, &mut walk.director());
        let mut sorry = RealServer::sorry(RealKey { address, port: in_table }, forwarding);
        if let Some(check) = check {
            let asked = port.filter(|port| *port > 0).unwrap_or(in_table);
            let built = check.build(key, (address, asked), word.span(), walk)?;
            (sorry.check, sorry.check_address, sorry.check_port) = built;
            sorry.check_source = check.source(sorry.check_address);
        }
        return Some(sorry);
    }
    if said == Said::Here {
        let family = if key.is_ipv6() { "IPv6" } else { "IPv4" };
        walk.faults.fault(item.span, format!("no sorry server of the service's family, {family}"));
    }
    None
}

/// A sorry server as it is written.
struct Sorry<'d> {
    word: Word<'d>,
    forwarding: Forwarding,
    /// Its own check; that of the real servers is not for it.
    check: Option<Check<'d>>,
}

/// `"ADDRESS[:PORT]"`, or a table of `address`, `forwarding` and `check`.
fn sorry<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Sorry<'d>> {
    if item.is_text() {
        let (word, forwarding) = (item.text(walk)?, Forwarding::Gate);
        return Some(Sorry { word, forwarding, check: None });
    }
    let mut fields = item.fields(walk)?;
    let word = fields.take("address").and_then(|item| item.text(walk));
    let written = fields.take("forwarding").map(|item| forwarding(item, walk));
    let check = fields.take("check").map(|item| check::read(Some(item), Level::Server, walk));
    let span = fields.span;
    fields.finish(walk);
    if word.is_none() {
        let help = "`fallback = \"127.0.0.1:80\"`";
        walk.missing(span, "a sorry server without an address", help);
    }
    let forwarding = written.unwrap_or(Some(Forwarding::Gate))?;
    Some(Sorry { word: word?, forwarding, check })
}

/// `ADDRESS[:PORT]`; a name stands for an address of the service's family.
fn server(word: Word<'_>, key: &ServiceKey, walk: &mut Walk<'_>) -> Option<(IpAddr, Option<u16>)> {
    let (host, port) = match word.text.parse::<IpAddr>() {
        Ok(_) => (word, None),
        Err(_) => {
            let endpoint = address::endpoint(word);
            (endpoint.host, endpoint.port)
        }
    };
    let family = match host.text.parse::<IpAddr>() {
        Ok(ip) => Family::of(ip),
        Err(_) if key.is_ipv6() => Family::V6,
        Err(_) => Family::V4,
    };
    let protocol = match key {
        ServiceKey::Address { protocol, .. } => *protocol,
        ServiceKey::Mark { .. } => Protocol::Tcp,
    };
    let mut context = walk.director();
    let address = address::host(host, family, &mut context)?;
    let port = match port {
        Some(port) => Some(address::port(port, protocol, &mut context)?),
        None => None,
    };
    Some((address, port))
}

fn servers(
    items: &[Item<'_>],
    key: &ServiceKey,
    service: &Defaults<'_>,
    seen: &mut BTreeSet<RealKey>,
    walk: &mut Walk<'_>,
) -> Vec<RealServer> {
    let mut reals: Vec<RealServer> = Vec::new();
    for item in items {
        for found in real(*item, key, service, walk).unwrap_or_default() {
            if reals.len() >= CHECKS_MAX {
                walk.faults.fault(item.span, format!("over {CHECKS_MAX} real servers"));
                return reals;
            }
            if seen.insert(found.key) {
                reals.push(found);
            } else {
                walk.faults.fault(item.span, format!("{} is there twice", found.key));
            }
        }
    }
    reals
}

/// One item of `real`: an address as a string, or a table; with `last`, a whole range.
fn real(
    item: Item<'_>,
    key: &ServiceKey,
    service: &Defaults<'_>,
    walk: &mut Walk<'_>,
) -> Option<Vec<RealServer>> {
    let mut fields = if item.is_text() { Fields::none() } else { item.fields(walk)? };
    let written = if item.is_text() { Some(item) } else { fields.take("address") };
    let last = fields.take("last").and_then(|item| item.text(walk));
    let weight = fields.take("weight").map(|item| item.number(0, WEIGHT_MAX, walk));
    let mut threshold = |name| fields.take(name).and_then(|item| item.number(0, u32::MAX, walk));
    let (upper, lower) = (threshold("upper_threshold"), threshold("lower_threshold"));
    let thresholds =
        Thresholds { upper: upper.unwrap_or_default(), lower: lower.unwrap_or_default() };
    let method = fields.take("forwarding").and_then(|item| forwarding(item, walk));
    let names = [service.requires.as_slice(), &requires::names(&mut fields, walk)].concat();
    let agent = fields.take("agent").and_then(|item| agent::read(item, walk));
    let agent = agent.or_else(|| service.agent.clone());
    let own = check::read(fields.take("check"), Level::Server, walk).or(&service.check);
    fields.finish(walk);
    let Some(written) = written else {
        let help = "`{ address = \"192.168.2.106\", weight = 1 }`";
        walk.missing(item.span, "a real server without an address", help);
        return None;
    };
    let word = written.text(walk)?;
    let (first, port) = server(word, key, walk)?;
    let last = match last {
        Some(word) => server(word, key, walk)?.0,
        None => first,
    };
    let forwarding = method.or(service.forwarding).unwrap_or(Forwarding::Gate);
    reachable((first, last), forwarding, key, word, walk)?;
    if !has_source(forwarding, first, word.span(), walk) {
        return None;
    }
    let in_table = server_port(key, forwarding, port, Some(word.span()), &mut walk.director());
    let asked = port.filter(|port| *port > 0).unwrap_or(in_table);
    let weight = weight.unwrap_or(Some(1))?;
    let requires = service.dependencies.of(&names, key, walk);
    let mut reals = Vec::new();
    for address in range((first, last), word, &mut walk.faults)? {
        let (check, check_address, check_port) =
            own.build(key, (address, asked), word.span(), walk)?;
        let agent = agent.as_ref().map(|agent| agent.build(key, (address, asked)));
        let key = RealKey { address, port: in_table };
        reals.push(RealServer {
            key,
            forwarding,
            weight,
            thresholds,
            check,
            check_address,
            check_port,
            check_source: own.source(check_address),
            requires: requires.clone(),
            agent,
        });
    }
    Some(reals)
}

/// The kernel gets from one address family to the other by tunnels only.
fn reachable(
    (first, last): (IpAddr, IpAddr),
    forwarding: Forwarding,
    key: &ServiceKey,
    word: Word<'_>,
    walk: &mut Walk<'_>,
) -> Option<()> {
    if first.is_ipv6() != last.is_ipv6() {
        walk.faults.fault(word.span(), "a range from one address family to the other");
        return None;
    }
    if first.is_ipv6() == key.is_ipv6() || forwarding.is_tunnel() {
        return Some(());
    }
    let families = if key.is_ipv6() { "IPv4 server of an IPv6" } else { "IPv6 server of an IPv4" };
    let message = format!("`{first}` is an {families} service, and `{forwarding}` can't get there");
    let help = "`forwarding = \"ipip\"`, or another tunnel: gue, gre";
    walk.faults.fault(word.span(), message).help(help);
    None
}
