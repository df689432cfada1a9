//! What `ipvsadm -Sn` prints, with or without the program's name in front (ipvsadm(8)).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::config::SCHEDULERS;
use crate::import::World;
use crate::import::document::Table;
use crate::import::model::{Pair, Real, Service, alone, is_usable, netmask, plain_check};
use crate::import::remark::{At, Remarks};
use crate::import::timeouts::Timeouts;
use crate::lvs::model::{Checksum, Forwarding, Protocol, ServiceKey, WEIGHT_MAX};
use crate::lvs::settings::Timeout;

/// Persistence where `-p` has no number, in seconds (ipvsadm(8)).
const PERSISTENT: u32 = 300;
/// The scheduler where none is named (ipvsadm(8)).
const SCHEDULER: &str = "wlc";
const NAME: &str = "lvs";

pub(super) fn read(path: &Path, world: &World<'_>, remarks: &mut Remarks) -> Result<Pair, String> {
    let text = world.text(path)?;
    let mut services: Vec<Service> = Vec::new();
    let mut timeouts = Timeouts::default();
    for (number, line) in (1..).zip(text.lines()) {
        let at = At::new(path, number);
        let line = line.split('#').next().unwrap_or_default();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_some_and(|word| *word == "ipvsadm" || word.ends_with("/ipvsadm")) {
            words.remove(0);
        }
        match words.first() {
            None => {}
            Some(&"-A" | &"--add-service") => service(&words, &at, &mut services, remarks),
            Some(&"-a" | &"--add-server") => server(&words, &at, &mut services, remarks),
            Some(&"--set") => set(&words, &at, &mut timeouts, remarks),
            Some(_) => {
                let text = format!("`{}`: only -A, -a and --set are read", words.join(" "));
                remarks.left_out(&at, text);
            }
        }
    }
    for service in &mut services {
        check(service, path, remarks);
    }
    let at = At::new(path, 0);
    if services.is_empty() {
        remarks.fill_in(&at, "no virtual service: there is nothing to do but heartbeats");
    }
    let mut pair = alone(services, NAME, &at, remarks);
    pair.blocks.extend(timeouts.block());
    Ok(pair)
}

/// `--set TCP TCPFIN UDP`
fn set(words: &[&str], at: &At, timeouts: &mut Timeouts, remarks: &mut Remarks) {
    match words {
        [_, values @ ..] if values.len() == Timeout::ALL.len() => {
            for (timeout, value) in Timeout::ALL.into_iter().zip(values) {
                timeouts.take(timeout, value, at, remarks);
            }
        }
        _ => remarks.left_out(at, format!("`{}`: not three timeouts", words.join(" "))),
    }
}

/// The kernel's table knows no checks.
fn check(service: &mut Service, path: &Path, remarks: &mut Remarks) {
    let kind = plain_check(&service.key);
    let at = service.at.clone().unwrap_or_else(|| At::new(path, 0));
    remarks.fill_in(
        &at,
        format!("the table knows no checks: the real servers are checked by `{kind}`"),
    );
    service.rhythm = Table::default().with("type", kind);
}

/// The options of a line: `value` gives that of one.
struct Words<'w> {
    pairs: Vec<(&'w str, Option<&'w str>)>,
}

impl<'w> Words<'w> {
    fn of(words: &[&'w str]) -> Self {
        let mut pairs: Vec<(&str, Option<&str>)> = Vec::new();
        for word in words.iter().skip(1) {
            if word.starts_with('-') {
                let (name, value) =
                    word.split_once('=').map_or((*word, None), |(n, v)| (n, Some(v)));
                pairs.push((name, value));
            } else if let Some((_, value @ None)) = pairs.last_mut() {
                *value = Some(word);
            } else {
                pairs.push((word, None));
            }
        }
        Self { pairs }
    }

    /// Takes the first one of these names.
    fn take(&mut self, names: &[&str]) -> Option<Option<&'w str>> {
        let at = self.pairs.iter().position(|(name, _)| names.contains(name))?;
        Some(self.pairs.remove(at).1)
    }

    fn number(&mut self, names: &[&str]) -> Option<u32> {
        self.take(names).flatten()?.parse().ok()
    }

    fn rest(&self, at: &At, remarks: &mut Remarks) {
        for (name, value) in &self.pairs {
            let text = format!(
                "`{name}{}{}`",
                if value.is_some() { " " } else { "" },
                value.unwrap_or_default()
            );
            remarks.left_out(at, format!("{text} has no equivalent"));
        }
    }
}

fn key(words: &mut Words<'_>, at: &At, remarks: &mut Remarks) -> Option<ServiceKey> {
    let ipv6 = words.take(&["-6", "--ipv6"]).is_some();
    for (names, protocol) in [
        (&["-t", "--tcp-service"][..], Protocol::Tcp),
        (&["-u", "--udp-service"], Protocol::Udp),
        (&["--sctp-service"], Protocol::Sctp),
    ] {
        let Some(value) = words.take(names) else { continue };
        let value = value.unwrap_or_default();
        let Some((address, port)) = address(value).filter(|(ip, _)| is_usable(*ip)) else {
            remarks
                .left_out(at, format!("`{value}` is not ADDRESS:PORT in numbers (`ipvsadm -Sn`)"));
            return None;
        };
        return Some(ServiceKey::Address { protocol, address, port: port.unwrap_or(0) });
    }
    match words.number(&["-f", "--fwmark-service"]) {
        Some(mark @ 1..) => Some(ServiceKey::Mark { ipv6, mark }),
        _ => {
            remarks.left_out(at, "a line without a virtual service");
            None
        }
    }
}

/// `192.168.2.110:80`, `[2001:db8::110]:80`; the port may be missing.
pub(super) fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Some((both.ip(), Some(both.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|ip| (ip, None))
}

fn service(words: &[&str], at: &At, services: &mut Vec<Service>, remarks: &mut Remarks) {
    let mut words = Words::of(words);
    let Some(key) = key(&mut words, at, remarks) else { return };
    let scheduler = words.take(&["-s", "--scheduler"]).flatten().unwrap_or(SCHEDULER);
    let mut service = Service::new(key, scheduler);
    if !SCHEDULERS.contains(&scheduler) {
        remarks.changed(at, format!("scheduler `{scheduler}` is not known: {SCHEDULER}"));
        SCHEDULER.clone_into(&mut service.scheduler);
    }
    service.at = Some(at.clone());
    if let Some(seconds) = words.take(&["-p", "--persistent"]) {
        service.persistent = Some(seconds.and_then(|it| it.parse().ok()).unwrap_or(PERSISTENT));
    }
    if let Some(mask) = words.take(&["-M", "--netmask"]).flatten() {
        service.netmask = netmask(mask, key.is_ipv6());
    }
    service.one_packet = words.take(&["-o", "--ops"]).is_some();
    service.flags = words.take(&["-b", "--sched-flags"]).flatten().map(str::to_owned);
    words.rest(at, remarks);
    if services.iter().any(|other| other.key == key) {
        remarks.left_out(at, format!("{key:#} is there twice"));
        return;
    }
    service.fit(at, remarks);
    services.push(service);
}

/// The kind of a tunnel.
fn tunnel(words: &mut Words<'_>, at: &At, remarks: &mut Remarks) -> Forwarding {
    let kind = words.take(&["--tun-type"]).flatten().unwrap_or("ipip").to_owned();
    let port = words.number(&["--tun-port"]);
    let _none = words.take(&["--tun-nocsum"]);
    let checksum = match (words.take(&["--tun-csum"]), words.take(&["--tun-remcsum"])) {
        (_, Some(_)) => Checksum::Remote,
        (Some(_), None) => Checksum::Whole,
        (None, None) => Checksum::None,
    };
    match (kind.as_str(), port.and_then(|port: u32| u16::try_from(port).ok())) {
        ("ipip", _) => Forwarding::Ipip,
        ("gre", _) => Forwarding::Gre { checksum: checksum != Checksum::None },
        ("gue", Some(port @ 1..)) => Forwarding::Gue { port, checksum },
        _ => {
            remarks.left_out(at, format!("a tunnel of type {kind} without a port: ipip"));
            Forwarding::Ipip
        }
    }
}

fn server(words: &[&str], at: &At, services: &mut [Service], remarks: &mut Remarks) {
    let mut words = Words::of(words);
    let Some(key) = key(&mut words, at, remarks) else { return };
    let Some(service) = services.iter_mut().find(|service| service.key == key) else {
        remarks.left_out(at, format!("a real server of {key:#}, which is not there"));
        return;
    };
    let written = words.take(&["-r", "--real-server"]).flatten().unwrap_or_default();
    let Some((address, port)) = address(written) else {
        remarks.left_out(at, format!("`{written}` is no real server in numbers (`ipvsadm -Sn`)"));
        return;
    };
    let mut real = Real::new(address, port, &key);
    let masq = words.take(&["-m", "--masquerading"]).is_some();
    let ipip = words.take(&["-i", "--ipip"]).is_some();
    let _gate = words.take(&["-g", "--gatewaying"]);
    real.forwarding = if masq {
        Forwarding::Masq
    } else if ipip {
        tunnel(&mut words, at, remarks)
    } else {
        Forwarding::Gate
    };
    let weight = words.number(&["-w", "--weight"]).unwrap_or(1);
    real.weight = weight.min(WEIGHT_MAX);
    real.thresholds.upper = words.number(&["-x", "--u-threshold"]).unwrap_or(0);
    real.thresholds.lower = words.number(&["-y", "--l-threshold"]).unwrap_or(0);
    words.rest(at, remarks);
    service.add(real, at, remarks);
}
