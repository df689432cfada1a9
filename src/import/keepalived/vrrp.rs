//! `vrrp_instance` and `vrrp_sync_group`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::config::INTERFACE_LEN_MAX;
use crate::import::document::Table;
use crate::import::keepalived::lines::Node;
use crate::import::keepalived::table::{self, Place};
use crate::import::model::{is_interface, is_usable};
use crate::import::remark::{At, Remarks};

/// `priority` where none is good.
const PRIORITY: u32 = 100;
/// `advert_int` where none is good.
const ADVERT: Duration = Duration::from_secs(1);

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) at: At,
    pub(super) name: String,
    pub(super) interface: Option<String>,
    /// `state MASTER`.
    pub(super) master: bool,
    pub(super) router: Option<u8>,
    pub(super) priority: u32,
    pub(super) advert: Duration,
    pub(super) nopreempt: Option<At>,
    pub(super) vips: Vec<Vip>,
    pub(super) source: Option<IpAddr>,
    pub(super) peers: Vec<IpAddr>,
    pub(super) sync: Option<Sync>,
}

/// A virtual address.
#[derive(Debug, Clone)]
pub(super) struct Vip {
    pub(super) at: At,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) interface: Option<String>,
    pub(super) label: Option<String>,
    pub(super) broadcast: Option<Ipv4Addr>,
}

/// The connection sync.
#[derive(Debug, Clone)]
pub(super) struct Sync {
    pub(super) at: At,
    pub(super) resource: Table,
}

/// Reads a block.
pub(super) fn instance(node: &Node, remarks: &mut Remarks) -> Instance {
    let mut it = Instance {
        at: node.at.clone(),
        name: node.word(1).unwrap_or("vrrp").to_owned(),
        interface: None,
        master: false,
        router: None,
        priority: PRIORITY,
        advert: ADVERT,
        nopreempt: None,
        vips: Vec::new(),
        source: None,
        peers: Vec::new(),
        sync: None,
    };
    // Addresses without an interface of their own have that of the instance, wherever it stands.
    for line in node.lines() {
        setting(&mut it, line, remarks);
    }
    for line in node.lines() {
        if let "virtual_ipaddress" | "virtual_ipaddress_excluded" = line.keyword() {
            for line in line.lines() {
                it.vips.extend(vip(line, it.interface.as_deref(), remarks));
            }
        }
    }
    it
}

fn setting(it: &mut Instance, line: &Node, remarks: &mut Remarks) {
    let value = line.word(1).unwrap_or_default();
    match line.keyword() {
        "virtual_ipaddress" | "virtual_ipaddress_excluded" => {}
        "interface" => it.interface = interface(line, remarks),
        "state" => match value {
            "MASTER" => it.master = true,
            "BACKUP" => it.master = false,
            other => remarks
                .changed(&line.at, format!("`state {other}` is none: BACKUP, as keepalived does")),
        },
        "virtual_router_id" => {
            it.router = value.parse().ok();
            table::rest(Place::Instance, line, remarks);
        }
        "priority" => match value.parse() {
            Ok(priority @ 1..=255) => it.priority = priority,
            _ => {
                let text = format!("`priority {value}` is none: {PRIORITY}, as keepalived does");
                remarks.changed(&line.at, text);
            }
        },
        "advert_int" => match value.parse::<f64>() {
            Ok(seconds) if (0.01..=255.0).contains(&seconds) => {
                it.advert = Duration::from_secs_f64(seconds)
            }
            _ => remarks.changed(
                &line.at,
                format!("`advert_int {value}` is none: 1 s, as keepalived does"),
            ),
        },
        "nopreempt" => it.nopreempt = Some(line.at.clone()),
        "unicast_src_ip" => match value.parse() {
            Ok(ip) => it.source = Some(ip),
            Err(_) => remarks.left_out(&line.at, format!("`unicast_src_ip {value}` is no address")),
        },
        "unicast_peer" => {
            for peer in line.lines() {
                match peer.keyword().parse() {
                    Ok(ip) => it.peers.push(ip),
                    Err(_) => {
                        remarks.left_out(&peer.at, format!("peer `{}` is no address", peer.text()))
                    }
                }
            }
        }
        "lvs_sync_daemon_interface" => {
            it.sync = is_interface(value).then(|| Sync {
                at: line.at.clone(),
                resource: Table::default().with("sync", value),
            });
            if it.sync.is_none() {
                remarks.left_out(&line.at, format!("`{}` names no interface", line.text()));
            }
        }
        _ => table::rest(Place::Instance, line, remarks),
    }
}

fn interface(line: &Node, remarks: &mut Remarks) -> Option<String> {
    let value = line.word(1).unwrap_or_default();
    if is_interface(value) {
        return Some(value.to_owned());
    }
    remarks.left_out(&line.at, format!("`{}` names no interface", line.text()));
    None
}

/// `IP[/PREFIX] [brd IP] [dev IF] [scope S] [label L] ...`
fn vip(line: &Node, own: Option<&str>, remarks: &mut Remarks) -> Option<Vip> {
    let at = &line.at;
    let (text, prefix) = match line.keyword().split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (line.keyword(), None),
    };
    let Ok(ip) = text.parse::<IpAddr>() else {
        remarks.left_out(at, format!("`{}` is no address; keepalived skips it, too", line.text()));
        return None;
    };
    if !is_usable(ip) || ip.is_loopback() {
        remarks.left_out(at, format!("`{ip}` is no virtual address for a pair"));
        return None;
    }
    let most = if ip.is_ipv6() { 128 } else { 32 };
    let prefix = match prefix.map(str::parse::<u8>) {
        None => most,
        Some(Ok(prefix)) if (1..=most).contains(&prefix) => prefix,
        Some(_) => {
            remarks.changed(at, format!("`{}` has no good prefix length: {most}", line.keyword()));
            most
        }
    };
    let interface = own.map(str::to_owned);
    let mut vip = Vip { at: at.clone(), ip, prefix, interface, label: None, broadcast: None };
    let mut words = line.words.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word {
            "dev" => match Some(value()).filter(|it| is_interface(it)) {
                Some(name) => vip.interface = Some(name.to_owned()),
                None => remarks.left_out(at, "`dev` names no interface"),
            },
            "label" => vip.label = Some(value().to_owned()),
            "brd" | "broadcast" => {
                let value = value();
                vip.broadcast = value.parse().ok().filter(|_| !ip.is_ipv6());
                if vip.broadcast.is_none() {
                    remarks.left_out(
                        at,
                        format!("`brd {value}`: the kernel chooses the broadcast address"),
                    );
                }
            }
            "scope" | "home" | "mngtmpaddr" | "noprefixroute" | "autojoin" | "-nodad" | "nodad"
            | "no_track" | "use_vmac" | "track_group" => {
                if word == "scope" || word == "track_group" {
                    let _its_value = value();
                }
                remarks.left_out(at, format!("`{word}` of {ip} has no equivalent"));
            }
            "peer" | "preferred_lft" => {
                let value = value();
                remarks.left_out(at, format!("`{word} {value}` of {ip} has no equivalent"));
            }
            other => remarks.unknown(at, format!("`{other}` behind {ip}")),
        }
    }
    let begins = |label: &String| {
        let interface = vip.interface.as_deref().unwrap_or_default();
        let rest = label.strip_prefix(interface).and_then(|rest| rest.strip_prefix(':'));
        rest.is_some_and(is_interface)
            && label.len() <= INTERFACE_LEN_MAX
            && !ip.is_ipv6()
            && !interface.is_empty()
    };
    if let Some(label) = vip.label.take_if(|label| !begins(label)) {
        remarks.left_out(at, format!("label `{label}`: one begins with its interface and a colon"));
    }
    Some(vip)
}

/// `IF [INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group IP]`
pub(super) fn sync(line: &Node, remarks: &mut Remarks) -> Option<Sync> {
    let interface = line.word(1).filter(|it| is_interface(it));
    let Some(interface) = interface else {
        remarks.left_out(&line.at, format!("`{}` names no interface", line.text()));
        return None;
    };
    let mut resource = Table::default().with("sync", interface);
    let mut words = line.words.iter().skip(2).map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let value = words.peek().copied().unwrap_or_default();
        let number = value.parse::<u32>().ok();
        match (word, number) {
            ("id", Some(id @ 0..=255)) => resource.put("id", id),
            ("maxlen", Some(length @ 68..=65_507)) => resource.put("maxlen", length),
            ("port", Some(port @ 1..=65_535)) => resource.put("port", port),
            ("ttl", Some(ttl @ 1..=255)) => resource.put("ttl", ttl),
            ("group", _) if value.parse().is_ok_and(|ip: IpAddr| ip.is_multicast()) => {
                resource.put("group", value)
            }
            ("id" | "maxlen" | "port" | "ttl" | "group", _) => {
                remarks.left_out(
                    &line.at,
                    format!("`{word} {value}` of the connection sync is no good"),
                );
            }
            // The instance: here it is the group that holds it.
            _ => continue,
        }
        words.next();
    }
    let mut seen = std::collections::BTreeSet::new();
    resource.0.retain(|(key, _)| seen.insert(key.clone()));
    Some(Sync { at: line.at.clone(), resource })
}

/// Name and instances.
pub(super) fn together(node: &Node, remarks: &mut Remarks) -> (At, String, Vec<String>) {
    let mut names = Vec::new();
    for line in node.lines() {
        match line.keyword() {
            "group" => {
                names.extend(line.lines().iter().flat_map(|line| line.words.iter().cloned()));
            }
            _ => table::rest(Place::SyncGroup, line, remarks),
        }
    }
    (node.at.clone(), node.word(1).unwrap_or("sync").to_owned(), names)
}
