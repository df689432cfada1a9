//! `virtual_server`, `virtual_server_group` and `real_server`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::SCHEDULERS;
use crate::import::dependency::Further;
use crate::import::document::Table;
use crate::import::keepalived::check::{self, Checked, Timing};
use crate::import::keepalived::lines::Node;
use crate::import::keepalived::table::{self, Place};
use crate::import::model::{Real, Service, is_usable, netmask};
use crate::import::remark::{At, Remarks};
use crate::lvs::model::{Checksum, Forwarding, Protocol, ServiceKey, WEIGHT_MAX};

/// Persistence where `persistence_timeout` has no number, in seconds.
const PERSISTENT: u32 = 360;
/// The scheduler where none is good.
const SCHEDULER: &str = "wlc";
/// Most addresses that a range of a group is written out for.
const RANGE_MAX: u128 = 256;
/// Most virtual services in all.
const SERVICES_MAX: usize = 2_000;

/// All services of a node.
#[derive(Debug, Default)]
pub(super) struct Lvs {
    groups: BTreeMap<String, Vec<Member>>,
    pub(super) services: Vec<Service>,
}

/// What a virtual server is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Address(IpAddr, u16),
    Mark(u32),
}

impl Lvs {
    /// `virtual_server_group NAME { ... }`
    pub(super) fn group(&mut self, node: &Node, remarks: &mut Remarks) {
        let members = node.lines().iter().flat_map(|line| group_member(line, remarks)).collect();
        let name = node.word(1).unwrap_or_default();
        if self.groups.insert(name.to_owned(), members).is_some() {
            remarks.left_out(&node.at, format!("an earlier group `{name}`: this one counts"));
        }
    }

    /// `virtual_server IP PORT { ... }`, `virtual_server fwmark N { ... }`, `virtual_server group NAME { ... }`
    pub(super) fn server(&mut self, node: &Node, remarks: &mut Remarks) {
        let members = self.members(node, remarks);
        let Some(members) = members else { return };
        let server = Server::read(node, remarks);
        for member in members {
            let key = server.key(member);
            if self.services.iter().any(|known| known.key == key) {
                let text = format!("virtual server {key:#} is there twice; keepalived merges them");
                remarks.left_out(&node.at, text);
            } else if self.services.len() >= SERVICES_MAX {
                remarks
                    .left_out(&node.at, format!("{key:#}: over {SERVICES_MAX} virtual services"));
            } else {
                self.services.push(server.service(key, node, remarks));
            }
        }
    }

    fn members(&self, node: &Node, remarks: &mut Remarks) -> Option<Vec<Member>> {
        let (one, two) = (node.word(1).unwrap_or_default(), node.word(2));
        let extra = |from: usize, remarks: &mut Remarks| {
            if let Some(rest) = node.words.get(from..).filter(|rest| !rest.is_empty()) {
                remarks.left_out(&node.at, format!("`{}` of the virtual server", rest.join(" ")));
            }
        };
        match one {
            "group" => {
                let name = two.unwrap_or_default();
                let found = self.groups.get(name);
                if found.is_none_or(Vec::is_empty) {
                    let text =
                        format!("virtual server of the group `{name}`, in which there is nothing");
                    remarks.left_out(&node.at, text);
                }
                extra(3, remarks);
                found.cloned()
            }
            "fwmark" => match two.and_then(|it| it.parse().ok()) {
                Some(mark @ 1..) => {
                    extra(3, remarks);
                    Some(vec![Member::Mark(mark)])
                }
                _ => {
                    remarks.left_out(&node.at, format!("`{}`: no mark", node.text()));
                    None
                }
            },
            _ => match (one.parse(), two.map_or(Ok(0), str::parse)) {
                (Ok(ip), Ok(port)) if is_usable(ip) => {
                    extra(3, remarks);
                    Some(vec![Member::Address(ip, port)])
                }
                _ => {
                    let text = format!(
                        "`{}` is no address and port; keepalived skips it, too",
                        node.text()
                    );
                    remarks.left_out(&node.at, text);
                    None
                }
            },
        }
    }
}

/// `IP PORT`, `FIRST-LAST PORT`, `IP/PREFIX PORT`, `fwmark N`
fn group_member(line: &Node, remarks: &mut Remarks) -> Vec<Member> {
    let (one, two) = (line.keyword(), line.word(1));
    if one == "fwmark" {
        if let Some(mark @ 1..) = two.and_then(|it| it.parse().ok()) {
            return vec![Member::Mark(mark)];
        }
    } else if let (Some((first, last)), Ok(port)) = (range(one), two.map_or(Ok(0), str::parse)) {
        if last - first < RANGE_MAX {
            let six = one.contains(':');
            return (first..=last)
                .map(|bits| address(bits, six))
                .filter(|ip| is_usable(*ip))
                .map(|ip| Member::Address(ip, port))
                .collect();
        }
        remarks.left_out(
            &line.at,
            format!("`{}`: over {RANGE_MAX} addresses; use a mark", line.text()),
        );
        return Vec::new();
    }
    remarks.left_out(&line.at, format!("`{}` is no member of a virtual server group", line.text()));
    Vec::new()
}

fn address(bits: u128, six: bool) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if !six => IpAddr::V4(bits.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

/// First and last address.
fn range(text: &str) -> Option<(u128, u128)> {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    if let Some((ip, length)) = text.split_once('/') {
        let ip: IpAddr = ip.parse().ok()?;
        let host = (if ip.is_ipv6() { 128 } else { 32_u32 }).checked_sub(length.parse().ok()?)?;
        let mask = 1_u128.checked_shl(host)?.checked_sub(1)?;
        return Some((bits(ip) & !mask, bits(ip) | mask));
    }
    let Some((first, last)) = text.rsplit_once('-') else {
        let one = bits(text.parse().ok()?);
        return Some((one, one));
    };
    let first: IpAddr = first.parse().ok()?;
    let (low, size) = match first {
        IpAddr::V4(_) => (last.parse::<u8>().map(u128::from).ok()?, 0xff_u128),
        IpAddr::V6(_) => (u128::from_str_radix(last, 16).ok()?, 0xffff),
    };
    let end = (bits(first) & !size) | low;
    (low <= size && end >= bits(first)).then_some((bits(first), end))
}

/// A command line, one word of the file, and the user and group that it is run as.
fn told(line: &Node, remarks: &mut Remarks) -> Option<Vec<String>> {
    if let Some(user) = line.word(2) {
        let text = format!("`{}` runs as the user of the daemon, not as {user}", line.keyword());
        remarks.changed(&line.at, text);
    }
    let command = check::program(line, line.word(1).unwrap_or_default(), remarks);
    if command.first().is_some_and(|program| program.starts_with('/')) {
        return Some(command);
    }
    remarks.left_out(&line.at, format!("`{}` without the path of a program", line.keyword()));
    None
}

/// What a `virtual_server` says for all of its addresses.
struct Server {
    protocol: Protocol,
    ipv6: bool,
    template: Service,
    forwarding: Forwarding,
    quorum: u32,
    hysteresis: u32,
    quorum_at: Option<At>,
    sorry: Option<(At, IpAddr, u16)>,
    sorry_forwarding: Option<Forwarding>,
    host: Option<String>,
    timing: Timing,
}

impl Server {
    fn read(node: &Node, remarks: &mut Remarks) -> Self {
        let placeholder = ServiceKey::Mark { ipv6: false, mark: 1 };
        let mut server = Self {
            protocol: Protocol::Udp,
            ipv6: false,
            template: Service::new(placeholder, SCHEDULER),
            forwarding: Forwarding::Masq,
            quorum: 1,
            hysteresis: 0,
            quorum_at: None,
            sorry: None,
            sorry_forwarding: None,
            host: None,
            timing: Timing::default(),
        };
        server.template.at = Some(node.at.clone());
        let said =
            |words: [&str; 2]| node.lines().iter().any(|line| words.contains(&line.keyword()));
        let mark = node.word(1) == Some("fwmark");
        if !said(["protocol", "protocol"]) && !mark {
            remarks.changed(&node.at, "no `protocol`: UDP, as keepalived does");
        }
        if !said(["lb_kind", "lvs_method"]) {
            remarks.changed(&node.at, "no `lvs_method`: NAT, as keepalived does");
        }
        for line in node.lines() {
            server.setting(line, remarks);
        }
        server
    }

    fn setting(&mut self, line: &Node, remarks: &mut Remarks) {
        let (at, value) = (&line.at, line.word(1).unwrap_or_default());
        if self.timing.setting(line) {
            return;
        }
        match line.keyword() {
            "real_server" => {}
            "protocol" => self.protocol = protocol(value, at, remarks),
            "ip_family" => self.ipv6 = value == "inet6",
            "lb_algo" | "lvs_sched" => {
                self.template.scheduler = scheduler(value, at, remarks);
            }
            "lb_kind" | "lvs_method" => self.forwarding = method(line, remarks),
            "persistence_timeout" => self.template.persistent = persistent(line, remarks),
            "persistence_granularity" => {
                self.template.netmask = netmask(value, false).or_else(|| netmask(value, true));
                if self.template.netmask.is_none() {
                    remarks.left_out(at, format!("`{}`: the whole address counts", line.text()));
                }
            }
            "ops" => self.template.one_packet = true,
            "sh-port" | "sh-fallback" | "mh-port" | "mh-fallback" | "flag-1" | "flag-2"
            | "flag-3" => {
                let flags = self.template.flags.get_or_insert_default();
                if !flags.is_empty() {
                    flags.push(',');
                }
                flags.push_str(line.keyword());
            }
            "quorum" => {
                self.quorum_at = Some(at.clone());
                self.quorum = match value.parse() {
                    Ok(quorum @ 1..) => quorum,
                    _ => {
                        remarks.changed(
                            at,
                            format!("`quorum {value}` is none: 1, as keepalived does"),
                        );
                        1
                    }
                };
            }
            "quorum_up" => self.template.quorum_up = told(line, remarks),
            "quorum_down" => self.template.quorum_down = told(line, remarks),
            "hysteresis" => self.hysteresis = value.parse().unwrap_or(0),
            "sorry_server" => {
                let port = line.word(2).map_or(Ok(0), str::parse);
                match (value.parse(), port) {
                    (Ok(ip), Ok(port)) if is_usable(ip) => {
                        self.sorry = Some((at.clone(), ip, port))
                    }
                    _ => remarks.left_out(at, format!("`{}` is no address and port", line.text())),
                }
            }
            "sorry_server_lvs_method" => self.sorry_forwarding = Some(method(line, remarks)),
            "inhibit_on_failure" => self.template.quiescent = true,
            "virtualhost" => self.host = Some(value.to_owned()),
            _ => table::rest(Place::Server, line, remarks),
        }
    }

    fn key(&self, member: Member) -> ServiceKey {
        match member {
            Member::Mark(mark) => ServiceKey::Mark { ipv6: self.ipv6, mark },
            Member::Address(address, port) => {
                ServiceKey::Address { protocol: self.protocol, address, port }
            }
        }
    }

    fn service(&self, key: ServiceKey, node: &Node, remarks: &mut Remarks) -> Service {
        let mut service = self.template.clone();
        service.key = key;
        service.fit(&node.at, remarks);
        let mut timings: Vec<(At, Timing)> = Vec::new();
        let mut inhibited = 0;
        for line in node.lines().iter().filter(|line| line.keyword() == "real_server") {
            let Some(found) = self.real(line, &service, remarks) else { continue };
            inhibited += usize::from(found.inhibit);
            timings.extend(found.timings);
            service.add(found.real, &line.at, remarks);
        }
        if inhibited > 0 && !service.quiescent {
            service.quiescent = inhibited >= service.reals.len();
            let how = if service.quiescent { "all" } else { "some, which is not taken over" };
            remarks.changed(&node.at, format!("`inhibit_on_failure` is of the service here, and was of {how} of its real servers"));
        }
        self.rhythm(&mut service, &timings, remarks);
        self.pools(&mut service, node, remarks);
        service
    }

    /// One rhythm for all real servers.
    fn rhythm(&self, service: &mut Service, timings: &[(At, Timing)], remarks: &mut Remarks) {
        let Some((_, first)) = timings.first() else { return };
        for (at, timing) in timings {
            if timing.table() != first.table() {
                let text = format!("the rhythm of checks is of the service: {first}, not {timing}");
                remarks.changed(at, text);
            }
        }
        service.rhythm = first.table();
    }

    fn pools(&self, service: &mut Service, node: &Node, remarks: &mut Remarks) {
        let at = self.quorum_at.as_ref().unwrap_or(&node.at);
        let (quorum, mut hysteresis) = (self.quorum, self.hysteresis);
        if hysteresis >= quorum && hysteresis > 0 {
            remarks.changed(
                at,
                format!("a hysteresis of {hysteresis} with a quorum of {quorum}: none"),
            );
            hysteresis = 0;
        }
        let there: u64 = service.reals.iter().map(|real| u64::from(real.weight)).sum();
        // Gained from their sum on, lost below their difference.
        let need = quorum.saturating_add(hysteresis);
        if u64::from(need) > there && need > 1 {
            let text = format!(
                "the real servers weigh {there} in all, less than the quorum of {need}: no quorum"
            );
            remarks.changed(at, text);
        } else if need > 1 {
            service.quorum = Some((need, hysteresis.saturating_mul(2)));
        }
        let Some((at, ip, port)) = &self.sorry else { return };
        if ip.is_ipv6() != service.key.is_ipv6() {
            remarks.left_out(at, format!("sorry server {ip} is not of the service's family"));
            return;
        }
        let forwarding = self.sorry_forwarding.unwrap_or(self.forwarding);
        let real = Real::new(*ip, Some(*port), &service.key);
        service.fallback = Some((real.text(), forwarding));
    }

    fn real(&self, node: &Node, service: &Service, remarks: &mut Remarks) -> Option<Found> {
        let port = node.word(2).map_or(Ok(0), str::parse);
        let (Some(Ok(ip)), Ok(port)) = (node.word(1).map(str::parse::<IpAddr>), port) else {
            remarks.left_out(&node.at, format!("`{}` is no address and port", node.text()));
            return None;
        };
        if let Some(rest) = node.words.get(3..).filter(|rest| !rest.is_empty()) {
            remarks.left_out(&node.at, format!("`{}` of the real server", rest.join(" ")));
        }
        let mut real = Real::new(ip, Some(port), &service.key);
        real.forwarding = self.forwarding;
        let mut host = self.host.clone();
        let mut timing = self.timing.clone();
        let mut inhibit = false;
        let mut checks: Vec<&Node> = Vec::new();
        for line in node.lines() {
            let (at, value) = (&line.at, line.word(1).unwrap_or_default());
            if timing.setting(line) {
                continue;
            }
            match line.keyword() {
                "weight" => real.weight = weight(value, at, remarks),
                "lvs_method" | "lb_kind" => real.forwarding = method(line, remarks),
                "uthreshold" => real.thresholds.upper = value.parse().unwrap_or(0),
                "lthreshold" => real.thresholds.lower = value.parse().unwrap_or(0),
                "inhibit_on_failure" => inhibit = true,
                "virtualhost" => host = Some(value.to_owned()),
                word if check::is_check(word) => checks.push(line),
                _ if line.block.is_some() => check::unknown(line, remarks),
                _ => table::rest(Place::Real, line, remarks),
            }
        }
        // Behind a mark keepalived checks at the port, and has the kernel send to every port, but with NAT.
        if matches!(service.key, ServiceKey::Mark { .. }) && real.forwarding != Forwarding::Masq {
            real.port = None;
        }
        let base = check::Base { key: &service.key, port, host, timing };
        let Checked { checks, timings } = check::of(&checks, &base, node, remarks);
        let port = real.port.unwrap_or_else(|| service.key.port());
        let mut checks = checks.into_iter();
        real.check = checks.next().map(|(_, check)| check).unwrap_or_default();
        real.further =
            checks.map(|(at, check)| Further::new(check, real.address, port, &at)).collect();
        Some(Found { real, timings, inhibit })
    }
}

/// A real server as it was read.
struct Found {
    real: Real,
    timings: Vec<(At, Timing)>,
    inhibit: bool,
}

fn protocol(value: &str, at: &At, remarks: &mut Remarks) -> Protocol {
    Protocol::named(&value.to_ascii_lowercase()).unwrap_or_else(|| {
        remarks.changed(at, format!("`protocol {value}` is none: UDP, as keepalived does"));
        Protocol::Udp
    })
}

fn scheduler(value: &str, at: &At, remarks: &mut Remarks) -> String {
    if SCHEDULERS.contains(&value) {
        return value.to_owned();
    }
    remarks.changed(at, format!("`{value}` is no scheduler: {SCHEDULER}, as keepalived does"));
    SCHEDULER.to_owned()
}

fn method(line: &Node, remarks: &mut Remarks) -> Forwarding {
    let value = line.word(1).unwrap_or_default();
    let extra: Vec<&str> = line.words.iter().skip(2).map(String::as_str).collect();
    let tunnel = if value == "TUN" { tunnel(&extra) } else { None };
    if let Some(tunnel) = tunnel {
        return tunnel;
    }
    if !extra.is_empty() {
        remarks.left_out(&line.at, format!("`{}`: not understood", extra.join(" ")));
    }
    match value {
        "NAT" => Forwarding::Masq,
        "DR" => Forwarding::Gate,
        "TUN" => Forwarding::Ipip,
        _ => {
            remarks.changed(&line.at, format!("`{value}` is no method: NAT, as keepalived does"));
            Forwarding::Masq
        }
    }
}

/// `type ipip`, `type gue port 6080 csum`, `type gre csum`.
fn tunnel(words: &[&str]) -> Option<Forwarding> {
    let (words, checksum) = match words {
        [words @ .., "nocsum"] => (words, Checksum::None),
        [words @ .., "csum"] => (words, Checksum::Whole),
        [words @ .., "remcsum"] => (words, Checksum::Remote),
        words => (words, Checksum::None),
    };
    match (words, checksum) {
        ([] | ["type", "ipip"], Checksum::None) => Some(Forwarding::Ipip),
        (["type", "gue", "port", port], checksum) => {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            Some(Forwarding::Gue { port, checksum })
        }
        (["type", "gre"], Checksum::None) => Some(Forwarding::Gre { checksum: false }),
        (["type", "gre"], Checksum::Whole) => Some(Forwarding::Gre { checksum: true }),
        _ => None,
    }
}

fn persistent(line: &Node, remarks: &mut Remarks) -> Option<u32> {
    let Some(value) = line.word(1) else { return Some(PERSISTENT) };
    match value.parse() {
        Ok(seconds @ 1..) => Some(seconds),
        _ => {
            remarks.changed(
                &line.at,
                format!("`persistence_timeout {value}`: no persistence, as keepalived does"),
            );
            None
        }
    }
}

fn weight(value: &str, at: &At, remarks: &mut Remarks) -> u32 {
    match value.parse::<u32>() {
        Ok(weight) if weight <= WEIGHT_MAX => weight,
        Ok(_) => {
            remarks.changed(at, format!("`weight {value}`: at most {WEIGHT_MAX}"));
            WEIGHT_MAX
        }
        Err(_) => {
            remarks.changed(at, format!("`weight {value}` is none: 1, as keepalived does"));
            1
        }
    }
}

/// The table of a check of this type.
pub(super) fn of_type(kind: &str) -> Table {
    Table::default().with("type", kind)
}
