//! `lvs.cf` of piranha (lvs.cf(5)): `name = value` lines, `virtual NAME { ... server NAME { ... } }`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::{INTERFACE_LEN_MAX, SCHEDULERS};
use crate::import::World;
use crate::import::document::{Table, Value};
use crate::import::model::{
    Director, Group, Pair, Preferred, Real, Service, is_interface, is_usable, netmask, plain_check,
};
use crate::import::remark::{At, Remarks};
use crate::lvs::model::{Forwarding, Protocol, ServiceKey, WEIGHT_MAX};

const NAME: &str = "lvs";
/// The scheduler where none is known.
const SCHEDULER: &str = "wlc";
/// piranha's times where none are written, in seconds.
const KEEPALIVE: u64 = 6;
const DEADTIME: u64 = 18;
/// From one check to the next, where nothing is said, in seconds.
const REENTRY: u64 = 15;
const TIMEOUT: u64 = 6;

/// Lines of one block.
#[derive(Debug, Default)]
struct Block {
    at: Option<At>,
    name: String,
    lines: Vec<(At, String, String)>,
    servers: Vec<Block>,
}

impl Block {
    /// The value of a line, which is then done with.
    fn take(&mut self, name: &str) -> Option<(At, String)> {
        let at = self.lines.iter().position(|(_, key, _)| key == name)?;
        let (at, _, value) = self.lines.remove(at);
        Some((at, value))
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|(_, value)| value)
    }

    fn seconds(&mut self, name: &str) -> Option<u64> {
        let seconds: u64 = self.text(name)?.parse().ok()?;
        (1..=86_400).contains(&seconds).then_some(seconds)
    }

    /// What was not asked for.
    fn rest(&self, why: impl Fn(&str) -> &'static str, remarks: &mut Remarks) {
        for (at, name, value) in &self.lines {
            remarks.left_out(at, format!("`{name} = {value}`: {}", why(name)));
        }
    }
}

pub(super) fn read(path: &Path, world: &World<'_>, remarks: &mut Remarks) -> Result<Pair, String> {
    let text = world.text(path)?;
    let (mut global, virtuals) = blocks(&text, path, remarks);
    let mut pair = Pair { auto_failback: true, ..Pair::default() };
    let keepalive = global.seconds("keepalive").unwrap_or(KEEPALIVE);
    let deadtime = global.seconds("deadtime").unwrap_or(DEADTIME);
    let (keepalive, deadtime) = (Duration::from_secs(keepalive), Duration::from_secs(deadtime));
    let fits = keepalive.min(deadtime / 3);
    if fits < keepalive {
        remarks.changed(
            &At::new(path, 0),
            format!(
                "keepalive {keepalive:?} with deadtime {deadtime:?}: {fits:?}, three in a deadtime"
            ),
        );
    }
    pair.timing = vec![("keepalive", fits), ("warntime", fits * 2), ("deadtime", deadtime)];
    if fits * 2 >= deadtime {
        pair.timing.remove(1);
    }
    links(&mut pair, &mut global, remarks);
    let forwarding = match global.text("network").as_deref() {
        Some("nat") => Forwarding::Masq,
        Some("tunnel") => Forwarding::Ipip,
        _ => Forwarding::Gate,
    };
    global.rest(global_why, remarks);
    let mut resources: Vec<Value> = Vec::new();
    let mut services: Vec<Service> = Vec::new();
    let mut held: Vec<IpAddr> = Vec::new();
    for block in virtuals {
        let Some((service, vip)) = service(block, forwarding, world, remarks) else { continue };
        let Some(at) = service.at.clone() else { continue };
        if let ServiceKey::Address { address, .. } = service.key
            && !held.contains(&address)
        {
            held.push(address);
            resources.push(vip.into());
        }
        if services.iter().any(|known| known.key == service.key) {
            remarks.left_out(&at, format!("{:#} is there twice", service.key));
        } else {
            services.push(service);
        }
    }
    if services.is_empty() {
        return Ok(pair);
    }
    resources.push(Table::default().with("director", NAME).into());
    let comments = vec!["The addresses of all services.".to_owned()];
    let preferred = Preferred::First;
    pair.groups.push(Group { comments, name: NAME.to_owned(), preferred, resources });
    pair.directors.push(Director { name: NAME.to_owned(), settings: Table::default(), services });
    Ok(pair)
}

fn global_why(name: &str) -> &'static str {
    match name {
        "serial_no" | "service" | "backup_active" | "heartbeat" | "debug_level" => {
            "of piranha itself"
        }
        "heartbeat_port" => "beats go to port 694; `port` of a `[[link]]` says another",
        "rsh_command" => "the same file is copied to both nodes by hand",
        "nat_router" | "nat_nmask" => {
            "the address that is the real servers' gateway has to move with NAT: put it into the group"
        }
        "syncdaemon" | "syncd_iface" | "syncd_id" => {
            "connection sync is a resource: `{ sync = \"eth1\" }`"
        }
        "tcp_timeout" | "tcpfin_timeout" | "udp_timeout" => {
            "a setting of the kernel that is not made"
        }
        "monitor_links" => "a link is noticed where it carries an address or a heartbeat",
        "reservation_conflict_action" => "of piranha's own locks",
        _ => "has no equivalent",
    }
}

fn links(pair: &mut Pair, global: &mut Block, remarks: &mut Remarks) {
    for (one, other) in [("primary", "backup"), ("primary_private", "backup_private")] {
        let (Some((at, first)), Some(second)) = (global.take(one), global.text(other)) else {
            continue;
        };
        let fit = |text: &str| {
            let ip = text.parse::<IpAddr>().ok()?;
            Some(ip).filter(|ip| is_usable(*ip) && !ip.is_loopback())
        };
        let both = fit(&first).zip(fit(&second));
        let both = both.filter(|(one, other)| one != other && one.is_ipv4() == other.is_ipv4());
        let Some((first, second)) = both else {
            let text =
                format!("`{one}` and `{other}`: `{first}` and `{second}` are no two addresses");
            remarks.left_out(&at, text);
            continue;
        };
        let link = Table::default().with("peers", vec![first.to_string(), second.to_string()]);
        pair.links.push((vec![format!("From {at}.")], link));
    }
}

/// The lines outside, and the virtual servers.
fn blocks(text: &str, path: &Path, remarks: &mut Remarks) -> (Block, Vec<Block>) {
    let mut global = Block::default();
    let mut virtuals: Vec<Block> = Vec::new();
    let mut stack: Vec<Option<Block>> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at = At::new(path, number);
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(head) = line.strip_suffix('{') {
            let words: Vec<&str> = head.split_whitespace().collect();
            let known = match (words.first(), stack.as_slice()) {
                (Some(&"virtual"), []) | (Some(&"server"), [Some(_)]) => true,
                _ => {
                    remarks.left_out(&at, format!("`{}` has no equivalent", head.trim()));
                    false
                }
            };
            let name = words.get(1).copied().unwrap_or(NAME).to_owned();
            stack.push(known.then(|| Block { at: Some(at), name, ..Block::default() }));
        } else if line == "}" {
            match (stack.pop(), stack.last_mut()) {
                (Some(Some(block)), None) => virtuals.push(block),
                (Some(Some(block)), Some(Some(outer))) => outer.servers.push(block),
                (Some(_), _) => {}
                (None, _) => remarks.unknown(&at, "a `}` that closes no block"),
            }
        } else if let Some((name, value)) = line.split_once('=') {
            let entry = (at, name.trim().to_owned(), value.trim().trim_matches('"').to_owned());
            match stack.last_mut() {
                None => global.lines.push(entry),
                Some(Some(block)) => block.lines.push(entry),
                Some(None) => {
                    remarks.left_out(&entry.0, format!("`{line}` of a block that is left out"))
                }
            }
        } else {
            remarks.unknown(&at, format!("`{line}` sets nothing"));
        }
    }
    for block in stack.into_iter().flatten() {
        if let Some(at) = &block.at {
            remarks.left_out(at, "a block that is never closed");
        }
    }
    (global, virtuals)
}

fn service(
    mut block: Block,
    forwarding: Forwarding,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Option<(Service, Table)> {
    let at = block.at.clone()?;
    if block.text("active").as_deref() == Some("0") {
        remarks.left_out(&at, format!("virtual server `{}` is not active", block.name));
        return None;
    }
    let address = block.text("address").unwrap_or_default();
    let mut words = address.split_whitespace();
    let ip = words.next().and_then(|ip| ip.parse::<IpAddr>().ok());
    let ip = ip.filter(|ip| is_usable(*ip) && !ip.is_loopback());
    let protocol = match block.text("protocol").as_deref() {
        Some("udp") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let number = |text: String| {
        text.parse::<u16>().ok().or_else(|| world.environment.service(&text, protocol))
    };
    let port = block.text("port").map_or(Some(80), number);
    let mark =
        block.text("fwmark").and_then(|mark| mark.parse::<u32>().ok()).filter(|mark| *mark > 0);
    let (Some(ip), Some(port)) = (ip, port) else {
        remarks.left_out(&at, format!("virtual server `{}` has no address and port", block.name));
        return None;
    };
    let vip = vip(&mut block, ip, words.next());
    let key = match mark {
        Some(mark) => ServiceKey::Mark { ipv6: ip.is_ipv6(), mark },
        None => ServiceKey::Address { protocol, address: ip, port },
    };
    let mut service = Service::new(key, SCHEDULER);
    service.at = Some(at.clone());
    if let Some((at, scheduler)) = block.take("scheduler") {
        if SCHEDULERS.contains(&scheduler.as_str()) {
            service.scheduler = scheduler;
        } else {
            remarks.changed(&at, format!("`{scheduler}` is no scheduler: {SCHEDULER}"));
        }
    }
    service.persistent =
        block.text("persistent").and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    service.netmask = block.text("pmask").and_then(|mask| netmask(&mask, ip.is_ipv6()));
    service.quiescent = block.text("quiesce_server").is_some_and(|it| it != "0");
    service.fit(&at, remarks);
    service.rhythm = rhythm(&mut block, &key, remarks);
    if let Some((at, sorry)) = block.take("sorry_server") {
        match sorry.parse::<IpAddr>() {
            Ok(sorry) if sorry.is_ipv6() == ip.is_ipv6() && is_usable(sorry) => {
                service.fallback = Some((sorry.to_string(), forwarding))
            }
            _ => remarks.left_out(
                &at,
                format!("`sorry_server = {sorry}` is no address of the service's family"),
            ),
        }
    }
    for server in std::mem::take(&mut block.servers) {
        if let Some((real, at)) = real(server, &key, forwarding, remarks) {
            service.add(real, &at, remarks);
        }
    }
    block.rest(virtual_why, remarks);
    Some((service, vip))
}

/// The address as a resource.
fn vip(block: &mut Block, ip: IpAddr, device: Option<&str>) -> Table {
    let prefix = block.text("vip_nmask").and_then(|mask| netmask(&mask, ip.is_ipv6()));
    let prefix = prefix.unwrap_or(if ip.is_ipv6() { 128 } else { 32 });
    let mut vip = Table::default().with("address", format!("{ip}/{prefix}"));
    if let Some(device) = device {
        let interface = device.split(':').next().unwrap_or_default();
        if is_interface(interface) {
            vip.put("interface", interface);
        }
        if device.contains(':')
            && device.len() <= INTERFACE_LEN_MAX
            && ip.is_ipv4()
            && is_interface(interface)
        {
            vip.put("label", device);
        }
    }
    vip
}

fn virtual_why(name: &str) -> &'static str {
    match name {
        "load_monitor" => "weights do not follow the load of the servers",
        "use_regex" => "`expect` is always a regular expression here",
        _ => "has no equivalent",
    }
}

/// `send` and `expect` are a text and its answer, `send_program` with `expect` a program.
fn rhythm(block: &mut Block, key: &ServiceKey, remarks: &mut Remarks) -> Table {
    let send = block.take("send");
    let expect =
        block.text("expect").filter(|text| !text.is_empty() && text != "up" || send.is_some());
    let mut table = Table::default();
    if let Some((at, program)) = block.take("send_program") {
        remarks.left_out(&at, format!("`send_program = {program}` prints its verdict; a check by `script` has an exit code"));
    }
    let escaped = |text: &str| text.replace("\\r", "\r").replace("\\n", "\n");
    let good = |text: &String| crate::lvs::check::receive_pattern(text).is_ok();
    if let (Some(bad), Some(at)) = (expect.as_ref().filter(|text| !good(text)), &block.at) {
        remarks.left_out(at, format!("`expect = {bad}` is no regular expression here"));
    }
    let pattern = expect.filter(good);
    match send.filter(|(_, text)| !text.is_empty()) {
        Some((_, text)) if plain_check(key) == "connect" => {
            table.put("type", "simpletcp");
            table.put("request", escaped(&text));
            table.put_some("receive", pattern);
        }
        Some((at, text)) => {
            remarks.left_out(&at, format!("`send = {text}`: `ping`"));
            table.put("type", "ping");
        }
        None => table.put("type", plain_check(key)),
    }
    let seconds = |value: Option<u64>, default| Duration::from_secs(value.unwrap_or(default));
    table.put("interval", seconds(block.seconds("reentry"), REENTRY));
    table.put("timeout", seconds(block.seconds("timeout"), TIMEOUT));
    table
}

fn real(
    mut block: Block,
    key: &ServiceKey,
    forwarding: Forwarding,
    remarks: &mut Remarks,
) -> Option<(Real, At)> {
    let at = block.at.clone()?;
    if block.text("active").as_deref() == Some("0") {
        remarks.left_out(&at, format!("real server `{}` is not active", block.name));
        return None;
    }
    let address = block.text("address").and_then(|it| it.parse().ok());
    let Some(address) = address else {
        remarks.left_out(&at, format!("real server `{}` has no address", block.name));
        return None;
    };
    let port = block.text("port").and_then(|it| it.parse().ok());
    let mut real = Real::new(address, port, key);
    real.forwarding = forwarding;
    real.weight = block.text("weight").and_then(|it| it.parse().ok()).unwrap_or(1).min(WEIGHT_MAX);
    block.rest(|_| "has no equivalent", remarks);
    Some((real, at))
}
