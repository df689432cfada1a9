//! `lvs_dr.conf`, `lvs_nat.conf`, `lvs_tun.conf` of configure-lvs: `NAME=VALUE` lines for a director
//! of its own.

use std::net::IpAddr;
use std::path::Path;

use crate::config::{Family, INTERFACE_LEN_MAX, SCHEDULERS};
use crate::import::World;
use crate::import::document::{Table, Value};
use crate::import::model::{
    Director, Group, Pair, Preferred, Real, Service, is_interface, is_usable, netmask, plain_check,
};
use crate::import::remark::{At, Remarks};
use crate::lvs::model::{Forwarding, Protocol, ServiceKey, WEIGHT_MAX};

const NAME: &str = "lvs";
/// The scheduler where none is named.
const SCHEDULER: &str = "rr";

/// Settings that have nothing to say to a director of pairbeat.
const LEFT_OUT: &[(&str, &str)] = &[
    ("LVSCONF_FORMAT", "the format of the file"),
    ("INITIAL_STATE", "the group is up on one of the nodes, always"),
    ("CLEAR_IPVS_TABLES", "only what is our own is ever taken out of the kernel"),
    ("DIP", "an address of the director itself is not moved"),
    (
        "DIRECTOR_INSIDEIP",
        "the address that is the real servers' gateway has to move with VS/NAT: put it into the group",
    ),
    ("DIRECTOR_DEFAULT_GW", "routes are not set"),
    ("DIRECTOR_GW", "routes are not set"),
    ("SERVER_DEFAULT_GW", "the real servers are prepared by their own means"),
    ("SERVER_GW", "the real servers are prepared by their own means"),
    ("SERVER_VIP_DEVICE", "the real servers are prepared by their own means"),
    ("SERVER_NET_DEVICE", "the real servers are prepared by their own means"),
    ("SERVER_NETWORK", "the real servers are prepared by their own means"),
    ("REALSERVER_DEFAULT_GW", "the real servers are prepared by their own means"),
];

/// A `SERVICE` line, for it needs the type of the LVS, which may stand below it.
struct Line<'t> {
    at: At,
    words: Vec<&'t str>,
}

pub(super) fn read(path: &Path, world: &World<'_>, remarks: &mut Remarks) -> Result<Pair, String> {
    let text = world.text(path)?;
    let mut forwarding = None;
    let mut vips: Vec<(IpAddr, Value)> = Vec::new();
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at = At::new(path, number);
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((name, value)) = line.split_once('=') else {
            if !line.is_empty() {
                remarks.unknown(&at, format!("`{line}` sets nothing"));
            }
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim() {
            "LVS_TYPE" => forwarding = method(value, &at, remarks),
            "VIP" => {
                let found = vip(value, &at, world, remarks);
                let known = |ip: IpAddr| vips.iter().any(|(other, _)| *other == ip);
                match found.filter(|(ip, _)| !known(*ip)) {
                    Some(found) => vips.push(found),
                    None => remarks.left_out(&at, format!("`VIP={value}`: not taken over")),
                }
            }
            "SERVICE" => lines.push(Line { at, words: value.split_whitespace().collect() }),
            name => {
                let why = LEFT_OUT.iter().find(|(known, _)| *known == name).map(|(_, why)| *why);
                match why {
                    Some(why) => remarks.left_out(&at, format!("`{line}`: {why}")),
                    None => remarks.unknown(&at, format!("`{line}`: `{name}` is not known here")),
                }
            }
        }
    }
    let at = At::new(path, 0);
    let forwarding = forwarding.unwrap_or_else(|| {
        remarks.changed(&at, "no LVS_TYPE: VS_DR");
        Forwarding::Gate
    });
    let mut services: Vec<Service> = Vec::new();
    for line in &lines {
        for (vip, _) in &vips {
            services_of(line, *vip, forwarding, &mut services, world, remarks);
        }
        if vips.is_empty() {
            remarks.left_out(&line.at, "a service without a VIP");
        }
    }
    let mut pair = Pair::default();
    let mut resources: Vec<Value> = vips.into_iter().map(|(_, value)| value).collect();
    if !services.is_empty() {
        resources.push(Table::default().with("director", NAME).into());
        let settings = Table::default();
        pair.directors.push(Director { name: NAME.to_owned(), settings, services });
    }
    if !resources.is_empty() {
        let comments = vec![format!("From {at}.")];
        let preferred = Preferred::First;
        pair.groups.push(Group { comments, name: NAME.to_owned(), preferred, resources });
    }
    Ok(pair)
}

fn method(value: &str, at: &At, remarks: &mut Remarks) -> Option<Forwarding> {
    match value {
        "VS_DR" => Some(Forwarding::Gate),
        "VS_NAT" => Some(Forwarding::Masq),
        "VS_TUN" => Some(Forwarding::Ipip),
        other => {
            remarks.left_out(at, format!("`LVS_TYPE={other}` is none of VS_DR, VS_NAT and VS_TUN"));
            None
        }
    }
}

/// An address, or a name that this machine knows.
fn host(text: &str, world: &World<'_>) -> Option<IpAddr> {
    text.parse().ok().or_else(|| world.environment.host(text, Family::V4))
}

/// `eth0:110 192.168.1.110 255.255.255.255 192.168.1.110`
fn vip(value: &str, at: &At, world: &World<'_>, remarks: &mut Remarks) -> Option<(IpAddr, Value)> {
    let mut words = value.split_whitespace();
    let (device, ip) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(ip) = host(ip, world).filter(|ip| ip.is_ipv4() && is_usable(*ip) && !ip.is_loopback())
    else {
        remarks.left_out(at, format!("`VIP={value}`: `{ip}` is no address that is known here"));
        return None;
    };
    let prefix = words.next().and_then(|mask| netmask(mask, false)).unwrap_or(32);
    let mut table = Table::default().with("address", format!("{ip}/{prefix}"));
    let interface = device.split(':').next().unwrap_or_default();
    if is_interface(interface) {
        table.put("interface", interface);
        if device.len() > interface.len() + 1 && device.len() <= INTERFACE_LEN_MAX {
            table.put("label", device);
        }
    } else {
        remarks.left_out(at, format!("`{device}` is no interface"));
    }
    if let Some(broadcast) = words.next() {
        remarks.left_out(at, format!("broadcast address {broadcast}: the kernel chooses it"));
    }
    Some((ip, table.into()))
}

/// `t telnet rr rs1,1 rs2:23,2`
fn services_of(
    line: &Line<'_>,
    vip: IpAddr,
    forwarding: Forwarding,
    services: &mut Vec<Service>,
    world: &World<'_>,
    remarks: &mut Remarks,
) {
    let at = &line.at;
    let [kind, port, rest @ ..] = line.words.as_slice() else {
        remarks.left_out(at, "a service without a port");
        return;
    };
    let protocol = match *kind {
        "t" | "tcp" => Protocol::Tcp,
        "u" | "udp" => Protocol::Udp,
        other => {
            remarks.left_out(at, format!("`{other}` is neither t nor u"));
            return;
        }
    };
    let number =
        |text: &str| text.parse().ok().or_else(|| world.environment.service(text, protocol));
    let Some(own) = number(port) else {
        remarks.left_out(at, format!("`{port}` is no port that is known here"));
        return;
    };
    let key = ServiceKey::Address { protocol, address: vip, port: own };
    if services.iter().any(|known| known.key == key) {
        remarks.left_out(at, format!("{key:#} is there twice"));
        return;
    }
    let (scheduler, servers) = match rest.split_first() {
        Some((word, servers)) if SCHEDULERS.contains(word) => (*word, servers),
        _ => {
            remarks.changed(at, format!("no scheduler that is known: {SCHEDULER}"));
            (SCHEDULER, rest)
        }
    };
    let mut service = Service::new(key, scheduler);
    service.at = Some(at.clone());
    service.fit(at, remarks);
    let kind = plain_check(&key);
    remarks.fill_in(
        at,
        format!("configure-lvs knows no checks: the real servers are checked by `{kind}`"),
    );
    service.rhythm = Table::default().with("type", kind);
    for server in servers {
        let (server, weight) = server.split_once(',').unwrap_or((server, "1"));
        let (name, port) =
            server.split_once(':').map_or((server, None), |(name, port)| (name, Some(port)));
        let port = port.map(number);
        let (Some(ip), Ok(weight), None | Some(Some(_))) =
            (host(name, world), weight.parse::<u32>(), port)
        else {
            let text = format!(
                "`{server}`: no real server with an address, a port and a weight that are known here"
            );
            remarks.left_out(at, text);
            continue;
        };
        let mut real = Real::new(ip, port.flatten(), &key);
        real.forwarding = forwarding;
        real.weight = weight.min(WEIGHT_MAX);
        service.add(real, at, remarks);
    }
    services.push(service);
}
