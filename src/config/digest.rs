//! A digest of what both nodes must agree on, sent in every beat.
//!
//! Left out: what may differ between two good nodes, which are the own name, interface names,
//! peers' addresses, script directories; and secrets. The text that is hashed is written here
//! line by line, not derived, so that it stays the same from one version to the next.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::cluster::Damping;
use crate::config::{AutoFailback, Config, Group, ResourceKind};
use crate::lvs::check::{CheckKind, HttpCheck, HttpMethod};
use crate::lvs::model::{Director, Forwarding, VirtualService};

/// First eight bytes of the SHA-256 of everything that must be the same on both nodes.
pub fn digest(config: &Config) -> u64 {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write_config(&mut text, config);
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn write_config(out: &mut String, config: &Config) -> fmt::Result {
    let mut nodes = [config.node.as_str(), config.peer.as_str()];
    nodes.sort_unstable();
    writeln!(out, "pairbeat config 1\nnodes {nodes:?}")?;
    let timing = &config.timing;
    for time in [timing.keepalive, timing.warntime, timing.deadtime, timing.initdead] {
        writeln!(out, "time {}", time.as_micros())?;
    }
    writeln!(out, "auto_failback {}", config.auto_failback == AutoFailback::On)?;
    let damping = &config.damping;
    if *damping != Damping::default() {
        let times = [damping.window, damping.hold, damping.hold_max].map(|it| it.as_micros());
        writeln!(out, "damping {} {times:?}", damping.switches)?;
    }
    for link in &config.links {
        writeln!(out, "link {}", link.port)?;
    }
    for group in &config.groups {
        write_group(out, group)?;
    }
    for director in config.directors.values() {
        write_director(out, director)?;
    }
    Ok(())
}

fn write_group(out: &mut String, group: &Group) -> fmt::Result {
    writeln!(out, "group {:?} {}", group.name.as_str(), group.preferred)?;
    for resource in &group.resources {
        let (start, stop) = (resource.start_timeout.as_micros(), resource.stop_timeout.as_micros());
        write!(out, "resource {start} {stop} ")?;
        match &resource.kind {
            ResourceKind::Address(address) => writeln!(out, "address {}", address.ip)?,
            ResourceKind::Director(name) => writeln!(out, "director {:?}", name.as_str())?,
            ResourceKind::Script(script) => {
                writeln!(out, "script {:?} {:?}", script.path.file_name(), script.args)?;
            }
        }
    }
    Ok(())
}

fn write_director(out: &mut String, director: &Director) -> fmt::Result {
    writeln!(out, "director {:?}", director.name.as_str())?;
    for service in &director.services {
        write_service(out, service)?;
    }
    Ok(())
}

fn write_service(out: &mut String, service: &VirtualService) -> fmt::Result {
    let VirtualService { key, scheduler, persistent, netmask, one_packet, .. } = service;
    writeln!(out, "service {key:#} {scheduler} {persistent:?} {netmask:?} {one_packet}")?;
    let (interval, timeout) = (service.interval.as_micros(), service.timeout.as_micros());
    let VirtualService { quiescent, clean_stop, fall, rise, .. } = service;
    writeln!(out, "check {interval} {timeout} {fall} {rise} {quiescent} {clean_stop}")?;
    if let Some(fallback) = service.fallback {
        writeln!(out, "fallback {} {}", fallback.key, forwarding(fallback.forwarding))?;
    }
    for real in &service.reals {
        let (address, port) = (real.check_address, real.check_port);
        write!(out, "real {} {} {} ", real.key, forwarding(real.forwarding), real.weight)?;
        write_check(out, &real.check)?;
        writeln!(out, " {address} {port}")?;
    }
    Ok(())
}

fn forwarding(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Gate => "gate",
        Forwarding::Masq => "masq",
        Forwarding::Ipip => "ipip",
        Forwarding::Local => "local",
    }
}

fn write_check(out: &mut String, check: &CheckKind) -> fmt::Result {
    match check {
        CheckKind::On => out.write_str("on"),
        CheckKind::Off => out.write_str("off"),
        CheckKind::Connect(protocol) => write!(out, "connect {protocol}"),
        CheckKind::Ping => out.write_str("ping"),
        CheckKind::Http(http) => write_http(out, http),
        CheckKind::Alternate { connects, negotiate } => {
            write!(out, "{connects} ")?;
            write_http(out, negotiate)
        }
    }
}

fn write_http(out: &mut String, check: &HttpCheck) -> fmt::Result {
    let HttpCheck { tls, method, path, host, receive } = check;
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Head => "head",
    };
    write!(out, "http {tls} {method} {path:?} {host:?} {receive:?}")
}
