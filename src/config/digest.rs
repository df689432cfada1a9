//! Digests of what both nodes must agree on: of the whole, sent in every beat, and of each section,
//! told while the whole differs.
//!
//! Left out: what may differ between two good nodes, which are the own name, interface names,
//! peers' addresses, script directories; and secrets. The text that is hashed is written here
//! line by line, not derived, so that it stays the same from one version to the next.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::cluster::message::SectionKind;
use crate::cluster::{Damping, Digests, Monitor, Section};
use crate::config::outside::names_a_secret;
use crate::config::{
    Arbiter, ArbiterKind, AutoFailback, Cast, Config, FenceParams, Group, Medium, OcfAgent,
    ResourceKind, ScriptStyle, Udp,
};
use crate::lvs::agent::AgentCheck;
use crate::lvs::check::CheckKind;
use crate::lvs::exchange::{
    Authority, DnsCheck, Encryption, Exchange, FtpCheck, GrpcCheck, HttpCheck, HttpMethod,
    LdapCheck, MailCheck, OracleCheck, ProxyCheck, RadiusCheck, RedisCheck, SipCheck, SmtpCheck,
    SqlCheck, TextCheck, Tls, Wanted,
};
use crate::lvs::mail::Mail;
use crate::lvs::model::{
    Agent, Dependency, Director, Pace, Policy, Quorum, RealServer, Thresholds, VirtualService,
};
use crate::lvs::notify::{Notify, Program};
use crate::lvs::program::{FileCheck, ProgramCheck, Told};
use crate::names::NodeName;

/// The digests of everything that must be the same on both nodes: first eight bytes of the SHA-256
/// of the whole, first four of each section's.
pub fn digests(config: &Config) -> Digests {
    let mut whole = Sha256::new();
    let mut sections = Vec::new();
    for (kind, name, text) in texts(config) {
        whole.update(text.as_bytes());
        let digest = first::<4>(&Sha256::digest(text.as_bytes()));
        sections.push(Section { kind, name, digest: u32::from_be_bytes(digest) });
    }
    Digests { whole: u64::from_be_bytes(first(&whole.finalize())), sections }
}

fn first<const N: usize>(hash: &[u8]) -> [u8; N] {
    hash.first_chunk().copied().unwrap_or([0; N])
}

/// Each section as text, with its name where it has one.
fn texts(config: &Config) -> Vec<(SectionKind, String, String)> {
    type Writer = fn(&mut String, &Config) -> fmt::Result;
    let fixed: [(SectionKind, Writer); 5] = [
        (SectionKind::Timing, write_timing),
        (SectionKind::Failback, write_failback),
        (SectionKind::Links, write_links),
        (SectionKind::Connectivity, write_connectivity),
        (SectionKind::Fencing, write_fencing),
    ];
    // Writing to a String can't fail.
    let written = |write: &dyn Fn(&mut String) -> fmt::Result| {
        let mut text = String::new();
        let _ = write(&mut text);
        text
    };
    let fixed = fixed.into_iter().map(|(kind, write)| {
        (kind, String::new(), written(&|out: &mut String| write(out, config)))
    });
    let groups = config.groups.iter().map(|group| {
        let text = written(&|out: &mut String| write_group(out, group));
        (SectionKind::Group, group.name.to_string(), text)
    });
    let directors = config.directors.values().map(|director| {
        let text = written(&|out: &mut String| write_director(out, director));
        (SectionKind::Director, director.name.to_string(), text)
    });
    fixed.chain(groups).chain(directors).collect()
}

fn write_timing(out: &mut String, config: &Config) -> fmt::Result {
    let mut nodes = [config.node.as_str(), config.peer.as_str()];
    nodes.sort_unstable();
    writeln!(out, "pairbeat config 2\nnodes {nodes:?}")?;
    let timing = &config.timing;
    for time in [timing.keepalive, timing.warntime, timing.deadtime, timing.initdead] {
        writeln!(out, "time {}", time.as_micros())?;
    }
    let damping = &config.damping;
    if *damping != Damping::default() {
        let times = [damping.window, damping.hold, damping.hold_max].map(|it| it.as_micros());
        writeln!(out, "damping {} {times:?}", damping.switches)?;
    }
    Ok(())
}

fn write_failback(out: &mut String, config: &Config) -> fmt::Result {
    writeln!(out, "auto_failback {}", config.auto_failback == AutoFailback::On)
}

fn write_links(out: &mut String, config: &Config) -> fmt::Result {
    config.links.iter().try_for_each(|link| {
        let (port, cast) = match &link.medium {
            Medium::Udp(Udp { port, cast }) => (port, cast),
            Medium::Serial(serial) => return writeln!(out, "link serial {}", serial.baud.get()),
        };
        match cast {
            Cast::Unicast { .. } => writeln!(out, "link {port}"),
            Cast::Broadcast { .. } => writeln!(out, "link bcast {port}"),
            Cast::Multicast(it) => writeln!(out, "link mcast {} {port}", it.group.ip()),
        }
    })
}

fn write_connectivity(out: &mut String, config: &Config) -> fmt::Result {
    for ping in &config.ping_nodes {
        writeln!(out, "ping {} {:?}", ping.name, ping.members)?;
    }
    if !config.ping_nodes.is_empty() {
        writeln!(out, "deadping {} ipfail {}", config.deadping.as_micros(), config.ipfail)?;
    }
    config.arbiters.iter().try_for_each(|arbiter| write_arbiter(out, arbiter))
}

/// Addresses are left out: each node may reach the same arbiter in another way.
fn write_arbiter(out: &mut String, arbiter: &Arbiter) -> fmt::Result {
    let Arbiter { name, required, timeout, kind } = arbiter;
    write!(out, "arbiter {name:?} {required} {} ", timeout.as_micros())?;
    match kind {
        ArbiterKind::Ping(_, needed) => writeln!(out, "ping {needed:?}"),
        ArbiterKind::Tcp(_, needed) => writeln!(out, "tcp {needed:?}"),
        ArbiterKind::Etcd(etcd) => {
            writeln!(out, "etcd {:?} {}", etcd.prefix, etcd.lease.as_micros())
        }
    }
}

/// Values of parameters are left out: a digest of a password that can be guessed is a way to
/// guess it.
fn write_fencing(out: &mut String, config: &Config) -> fmt::Result {
    for device in &config.fence {
        let node = device.node.as_ref().map_or("peer", NodeName::as_str);
        let (kind, timeout) = (device.kind, device.timeout.as_micros());
        write!(out, "fence {kind:?} {:?} {node} {timeout}", device.name)?;
        if let FenceParams::Named(params) = &device.params {
            for (name, _) in params {
                write!(out, " {name}")?;
            }
        }
        writeln!(out)?;
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
            // Its interface may have another name on each node.
            ResourceKind::Sync(sync) => {
                let crate::config::Sync {
                    interface: _,
                    id,
                    group,
                    port,
                    ttl: _,
                    maxlen: _,
                    peers: _,
                } = sync;
                writeln!(out, "sync {id} {group:?} {port:?}")?;
            }
            ResourceKind::Announce(address) => writeln!(out, "announce {}", address.ip)?,
            ResourceKind::Mail(mail) => writeln!(out, "mail {:?} {:?}", mail.to, mail.subject)?,
            ResourceKind::Script(script) => {
                writeln!(out, "script {:?} {:?}", script.path.file_name(), script.args)?;
                if let ScriptStyle::Ocf(agent) = &script.style {
                    write_agent(out, agent)?;
                }
            }
        }
        if let Some(monitor) = &resource.monitor {
            let Monitor { interval, timeout, restarts, decay, wary: _ } = monitor;
            let times = [interval, timeout, decay].map(|it| it.as_micros());
            writeln!(out, "monitor {times:?} {restarts}")?;
        }
    }
    Ok(())
}

/// Without what may be a password: a digest of one that can be guessed is a way to guess it.
fn write_agent(out: &mut String, agent: &OcfAgent) -> fmt::Result {
    writeln!(out, "ocf {:?} {:?}", agent.provider, agent.agent)?;
    for (name, value) in &agent.parameters {
        let value = if names_a_secret(name) { "" } else { value };
        writeln!(out, "param {name} {value:?}")?;
    }
    Ok(())
}

fn write_director(out: &mut String, director: &Director) -> fmt::Result {
    writeln!(out, "director {:?}", director.name.as_str())?;
    if director.follow {
        writeln!(out, "standby_checks active")?;
    }
    if director.adopt {
        writeln!(out, "hand_made adopt")?;
    }
    for service in &director.services {
        write_service(out, service)?;
    }
    Ok(())
}

fn write_service(out: &mut String, service: &VirtualService) -> fmt::Result {
    let VirtualService { key, scheduler, persistent, netmask, one_packet, flags, .. } = service;
    writeln!(out, "service {key:#} {scheduler} {persistent:?} {netmask:?} {one_packet}")?;
    if flags.0 > 0 {
        writeln!(out, "flags {}", flags.0)?;
    }
    let (interval, timeout) = (service.interval.as_micros(), service.timeout.as_micros());
    let VirtualService { quiescent, clean_stop, fall, rise, .. } = service;
    writeln!(out, "check {interval} {timeout} {fall} {rise} {quiescent} {clean_stop}")?;
    write_notify(out, &service.notify)?;
    if let Some(fallback) = &service.fallback {
        write!(out, "fallback {} {}", fallback.key, fallback.forwarding)?;
        if fallback.check != CheckKind::On {
            out.write_char(' ')?;
            write_check(out, &fallback.check)?;
            write!(out, " {} {}", fallback.check_address, fallback.check_port)?;
        }
        writeln!(out)?;
    }
    write_policy(out, &service.policy)?;
    write_reals(out, "real", &service.reals)?;
    write_reals(out, "backup", &service.backup)
}

/// Files, senders and relays may differ from node to node.
fn write_notify(out: &mut String, notify: &Notify) -> fmt::Result {
    let Notify { name, comment, mail, monitor: _, fallback_command, quorum_up, quorum_down } =
        notify;
    let told = [("told", fallback_command), ("quorum_up", quorum_up), ("quorum_down", quorum_down)];
    for (when, program) in told {
        let Some(Program { program, args }) = program else { continue };
        writeln!(out, "{when} {:?} {args:?}", program.rsplit('/').next().unwrap_or_default())?;
    }
    if name.is_some() || comment.is_some() {
        writeln!(out, "called {name:?} {comment:?}")?;
    }
    if let Some(Mail { envelope, repeat, stages }) = mail {
        writeln!(out, "mail {} {repeat:?} {stages:?}", envelope.addressees())?;
    }
    Ok(())
}

/// Only what is not as ldirectord has it.
fn write_policy(out: &mut String, policy: &Policy) -> fmt::Result {
    let Policy { quorum, slow_start, panic, pace, stateless } = policy;
    if *stateless {
        writeln!(out, "stateless")?;
    }
    if *quorum != Quorum::default() {
        writeln!(out, "quorum {:?} {}", quorum.need, quorum.hysteresis)?;
    }
    if let Some(span) = slow_start {
        writeln!(out, "slow_start {}", span.as_micros())?;
    }
    if let Some(percent) = panic {
        writeln!(out, "panic {percent}")?;
    }
    let Pace { retry, warmup } = pace;
    if let Some(retry) = retry {
        writeln!(out, "retry {} {}", retry.after.as_micros(), retry.failures)?;
    }
    if let Some(span) = warmup {
        writeln!(out, "warmup {}", span.as_micros())?;
    }
    Ok(())
}

fn write_reals(out: &mut String, pool: &str, reals: &[RealServer]) -> fmt::Result {
    for real in reals {
        let (address, port) = (real.check_address, real.check_port);
        write!(out, "{pool} {} {} {} ", real.key, real.forwarding, real.weight)?;
        write_check(out, &real.check)?;
        writeln!(out, " {address} {port}")?;
        let Thresholds { upper, lower } = real.thresholds;
        if upper > 0 || lower > 0 {
            writeln!(out, "thresholds {lower} {upper}")?;
        }
        if let Some(Agent { check, address, port }) = &real.agent {
            write_check(out, check)?;
            writeln!(out, " {address} {port}")?;
        }
        for needed in real.requires.iter().map(AsRef::as_ref) {
            let Dependency { name, check, address, port, source: _ } = needed;
            write!(out, "requires {name:?} ")?;
            write_check(out, check)?;
            writeln!(out, " {address} {port}")?;
        }
    }
    Ok(())
}

fn write_check(out: &mut String, check: &CheckKind) -> fmt::Result {
    match check {
        CheckKind::Agent(AgentCheck::Tcp { send }) => write!(out, "agent {send:?}"),
        CheckKind::Agent(AgentCheck::Program(program)) => {
            out.write_str("agent ")?;
            write_program(out, program)
        }
        CheckKind::External(program) => write_program(out, program),
        CheckKind::File(FileCheck { path, receive }) => write!(out, "file {path:?} {receive:?}"),
        CheckKind::On => out.write_str("on"),
        CheckKind::Off => out.write_str("off"),
        CheckKind::Connect(protocol) => write!(out, "connect {protocol}"),
        CheckKind::Ping => out.write_str("ping"),
        CheckKind::Negotiate(exchange) => write_exchange(out, exchange),
        CheckKind::Alternate { connects, negotiate } => {
            write!(out, "{connects} ")?;
            write_exchange(out, negotiate)
        }
    }
}

/// Passwords stay out of it: a digest that everybody on the LAN sees would let them be guessed.
fn write_exchange(out: &mut String, exchange: &Exchange) -> fmt::Result {
    match exchange {
        Exchange::Dns(dns) => {
            let DnsCheck { transport, name, record, receive } = dns;
            write!(out, "dns {transport} {name:?} {} {receive:?}", record.word())
        }
        Exchange::Ftp(FtpCheck { login, path, receive }) => {
            write!(out, "ftp {:?} {path:?} {receive:?}", login.name)
        }
        Exchange::Grpc(GrpcCheck { tls, host, service }) => {
            write!(out, "grpc {host:?} {service:?}")?;
            write_tls(out, tls.as_ref())
        }
        Exchange::Http(http) => write_http(out, http),
        Exchange::Ldap(ldap) => {
            let LdapCheck { tls, base, receive, login, password: _ } = ldap;
            write!(out, "ldap {base:?} {receive:?} {login:?}")?;
            write_tls(out, tls.as_ref())
        }
        Exchange::Mysql(sql) => write_sql(out, "mysql", sql),
        Exchange::Imap(imap) => write_mail(out, "imap", imap),
        Exchange::Nntp => write!(out, "nntp"),
        Exchange::Pop(pop) => write_mail(out, "pop", pop),
        Exchange::Sip(SipCheck { transport, user }) => write!(out, "sip {transport} {user:?}"),
        Exchange::Smtp(SmtpCheck { submission, starttls, host }) => {
            write!(out, "smtp {submission} {host:?}")?;
            write_tls(out, starttls.as_ref())
        }
        Exchange::Text(TextCheck { transport, send, receive, half_close }) => {
            write!(out, "text {transport} {send:?} {receive:?} {half_close}")
        }
        Exchange::Oracle(OracleCheck { login, password: _, sid, query }) => {
            write!(out, "oracle {login:?} {sid:?} {query:?}")
        }
        Exchange::Pgsql(sql) => write_sql(out, "pgsql", sql),
        Exchange::Proxy(ProxyCheck { method, uri, want }) => {
            write!(out, "proxy {} {uri:?}", word(*method))?;
            write_wanted(out, want)
        }
        Exchange::Radius(radius) => {
            let RadiusCheck { login, password: _, secret: _ } = radius;
            write!(out, "radius {login:?}")
        }
        Exchange::Redis(redis) => {
            let RedisCheck { login, password } = redis;
            write!(out, "redis {login:?} {}", password.is_some())
        }
    }
}

fn write_mail(out: &mut String, protocol: &str, check: &MailCheck) -> fmt::Result {
    let MailCheck { encryption, host, login } = check;
    let name = login.as_ref().map(|login| login.name.as_str());
    let later = matches!(encryption, Encryption::StartTls(_));
    write!(out, "{protocol} {later} {host:?} {name:?}")?;
    write_tls(out, encryption.tls())
}

/// Each node may have the file of authorities in another place.
fn write_tls(out: &mut String, tls: Option<&Tls>) -> fmt::Result {
    let Some(Tls { authority, name, warn_days }) = tls else { return Ok(()) };
    let authority = match authority {
        Authority::Anybody => "anybody",
        Authority::System => "system",
        Authority::File(_) => "file",
    };
    write!(out, " tls {authority} {name} {warn_days}")
}

/// Each node may have the program in another directory.
fn write_program(out: &mut String, check: &ProgramCheck) -> fmt::Result {
    let ProgramCheck { program, args, told } = check;
    let name = program.rsplit('/').next().unwrap_or_default();
    write!(out, "program {name:?} {args:?} ")?;
    match told {
        Told::Arguments { service, service_port, port } => {
            write!(out, "{service} {service_port} {port}")
        }
        Told::Environment { service: _ } => out.write_str("environment"),
    }
}

fn write_sql(out: &mut String, kind: &str, check: &SqlCheck) -> fmt::Result {
    let SqlCheck { login, password: _, database, query, tls } = check;
    write!(out, "{kind} {login:?} {database:?} {query:?}")?;
    write_tls(out, tls.as_ref())
}

fn write_http(out: &mut String, check: &HttpCheck) -> fmt::Result {
    let HttpCheck { tls, method, path, host, headers, login, want } = check;
    let method = word(*method);
    let name = login.as_ref().map(|login| login.name.as_str());
    // What a header says may be a secret.
    let headers: Vec<&String> = headers.iter().map(|(name, _)| name).collect();
    write!(out, "http {method} {path:?} {host:?} {headers:?} {name:?}")?;
    write_tls(out, tls.as_ref())?;
    write_wanted(out, want)
}

fn write_wanted(out: &mut String, want: &Wanted) -> fmt::Result {
    let Wanted { status, receive, sha256, md5 } = want;
    write!(out, " {status} {receive:?} {sha256:?}")?;
    // Only where there is one: a node of before has the same digest.
    md5.iter().try_for_each(|sum| write!(out, " md5 {sum}"))
}

fn word(method: HttpMethod) -> &'static str {
    match method {
        HttpMethod::Get => "get",
        HttpMethod::Head => "head",
    }
}
