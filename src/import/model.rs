//! What every format says, in one shape, and the blocks of pairbeat.toml that are made of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::{self, PERSISTENT_MAX, SCHED_FLAGS};
use crate::import::Options;
use crate::import::dependency::{Dependencies, Further};
use crate::import::document::{Block, Table, Value, key};
use crate::import::remark::{At, Remarks};
use crate::keys::Secret;
use crate::lvs::model::{Forwarding, Protocol, ServiceKey, Thresholds};
use crate::names::NAME_LEN_MAX;

/// A node whose name is not known.
const UNKNOWN_PEER: &str = "fill-in-the-peer";
/// The other one.
const UNKNOWN_NODE: &str = "fill-in-this-node";
/// Multicast group of the heartbeats where nothing else can be known.
const GROUP: &str = "239.0.0.42";
/// Interface where nothing else can be known.
const INTERFACE: &str = "eth0";

/// A pair of nodes.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// The node whose files these are first; as many as are known.
    pub(super) nodes: Vec<String>,
    /// Keepalive, warntime, deadtime, initdead.
    pub(super) timing: Vec<(&'static str, Duration)>,
    pub(super) auto_failback: bool,
    /// Each with the comments above it.
    pub(super) links: Vec<(Vec<String>, Table)>,
    /// Other blocks, as they are.
    pub(super) blocks: Vec<Block>,
    pub(super) groups: Vec<Group>,
    pub(super) directors: Vec<Director>,
    /// Files with what must not be read by everybody.
    pub(super) secrets: Secrets,
}

/// A resource group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) comments: Vec<String>,
    pub(super) name: String,
    /// The first or the second node, or another name.
    pub(super) preferred: Preferred,
    pub(super) resources: Vec<Value>,
}

/// Who has a group when both can.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) enum Preferred {
    #[default]
    First,
    Second,
    Named(String),
}

/// A director.
#[derive(Debug, Default)]
pub(super) struct Director {
    pub(super) name: String,
    pub(super) settings: Table,
    pub(super) services: Vec<Service>,
}

/// A virtual service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) at: Option<At>,
    pub(super) key: ServiceKey,
    pub(super) scheduler: String,
    pub(super) persistent: Option<u32>,
    pub(super) netmask: Option<u8>,
    pub(super) one_packet: bool,
    pub(super) flags: Option<String>,
    pub(super) quiescent: bool,
    pub(super) clean_stop: bool,
    /// Weight that is needed, and the hysteresis.
    pub(super) quorum: Option<(u32, u32)>,
    pub(super) rhythm: Table,
    pub(super) reals: Vec<Real>,
    pub(super) fallback: Option<(String, Forwarding)>,
    /// Program and arguments.
    pub(super) fallback_command: Option<Vec<String>>,
    /// `name`, `comment`, `monitor_file` and `mail`.
    pub(super) notify: Table,
    pub(super) quorum_up: Option<Vec<String>>,
    pub(super) quorum_down: Option<Vec<String>>,
}

impl Service {
    pub(super) fn new(key: ServiceKey, scheduler: &str) -> Self {
        Self {
            at: None,
            key,
            scheduler: scheduler.to_owned(),
            persistent: None,
            netmask: None,
            one_packet: false,
            flags: None,
            quiescent: false,
            clean_stop: true,
            quorum: None,
            rhythm: Table::default(),
            reals: Vec::new(),
            fallback: None,
            fallback_command: None,
            notify: Table::default(),
            quorum_up: None,
            quorum_down: None,
        }
    }

    /// Takes back what the kernel would refuse.
    pub(super) fn fit(&mut self, at: &At, remarks: &mut Remarks) {
        if matches!(self.key, ServiceKey::Address { port: 0, .. }) && self.persistent.is_none() {
            let text = format!("port 0 is every port, which needs persistence: {PERSISTENT_ALL} s");
            remarks.changed(at, text);
            self.persistent = Some(PERSISTENT_ALL);
        }
        if self.persistent.is_some_and(|it| !(1..=PERSISTENT_MAX).contains(&it)) {
            remarks.changed(at, format!("persistence is 1 s to {PERSISTENT_MAX} s: none"));
            self.persistent = None;
        }
        if self.one_packet
            && !matches!(self.key, ServiceKey::Address { protocol: Protocol::Udp, .. })
        {
            remarks.left_out(at, "one-packet scheduling is for UDP only");
            self.one_packet = false;
        }
        let known = |flags: &String| flags.split(',').all(|flag| SCHED_FLAGS.contains(&flag));
        if let Some(flags) = self.flags.take_if(|flags| !known(flags)) {
            remarks.left_out(at, format!("the scheduler's flags `{flags}` are not known"));
        }
        let whole = if self.key.is_ipv6() { 128 } else { 32 };
        if self.persistent.is_none() || self.netmask.is_some_and(|length| length >= whole) {
            self.netmask = None;
        }
    }

    /// Adds a real server, unless it does not fit.
    pub(super) fn add(&mut self, real: Real, at: &At, remarks: &mut Remarks) {
        let who = real.text();
        let across = real.address.is_ipv6() != self.key.is_ipv6();
        let fault = if across && !real.forwarding.is_tunnel() {
            Some("is not of the service's family, and only a tunnel gets there")
        } else if !is_usable(real.address) {
            Some("is no address of a server")
        } else if self.has(&real) {
            Some("is there twice")
        } else if self.reals.len() >= REALS_MAX {
            Some("is one too many")
        } else {
            None
        };
        match fault {
            Some(fault) => remarks.left_out(at, format!("real server {who} {fault}")),
            None => self.reals.push(real),
        }
    }

    /// Where packets arrive at the service's own port, servers of one address are one.
    fn has(&self, real: &Real) -> bool {
        let mark = matches!(self.key, ServiceKey::Mark { .. });
        let same = |other: &Real| {
            let port = |it: &Real| it.port.filter(|_| mark || it.forwarding == Forwarding::Masq);
            other.address == real.address && port(other) == port(real)
        };
        self.reals.iter().any(same)
    }
}

/// Persistence of a service of all ports where none is written.
const PERSISTENT_ALL: u32 = 300;
/// Most real servers of one service that are taken over.
const REALS_MAX: usize = 1_000;

/// Whether a service or a server can have it.
pub(super) fn is_usable(ip: IpAddr) -> bool {
    let special = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    !(special || ip.is_unspecified() || ip.is_multicast())
}

/// The plainest check that tells a server that is up from one that is not.
pub(super) fn plain_check(key: &ServiceKey) -> &'static str {
    match key {
        ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, port: 1.., .. } => {
            "connect"
        }
        ServiceKey::Address { .. } | ServiceKey::Mark { .. } => "ping",
    }
}

/// Whether the kernel could have an interface of that name, and nobody would wonder at it.
pub fn is_interface(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    config::is_interface(text) && text.chars().all(fit)
}

/// A prefix length, or dotted; `None` for the whole address, and what is no mask.
pub(super) fn netmask(text: &str, ipv6: bool) -> Option<u8> {
    let max = if ipv6 { 128 } else { 32 };
    config::prefix(text, max).filter(|length| *length < max)
}

/// A real server.
#[derive(Debug, Clone)]
pub(super) struct Real {
    pub(super) address: IpAddr,
    /// Where it is not the service's.
    pub(super) port: Option<u16>,
    pub(super) forwarding: Forwarding,
    pub(super) weight: u32,
    pub(super) thresholds: Thresholds,
    /// With its type; empty: pairbeat's own.
    pub(super) check: Table,
    /// What must pass, too.
    pub(super) further: Vec<Further>,
}

impl Real {
    pub(super) fn new(address: IpAddr, port: Option<u16>, key: &ServiceKey) -> Self {
        Self {
            address,
            port: port.filter(|port| *port > 0 && *port != key.port()),
            forwarding: Forwarding::Gate,
            weight: 1,
            thresholds: Thresholds::default(),
            check: Table::default(),
            further: Vec::new(),
        }
    }

    /// As it stands in the file.
    pub(super) fn text(&self) -> String {
        endpoint(self.address, self.port)
    }
}

/// `192.168.2.106`, or with its port.
pub(super) fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// Files of mode 600 beside pairbeat.toml.
#[derive(Debug, Default)]
pub(super) struct Secrets(pub(super) Vec<(String, Secret)>);

impl Secrets {
    /// The name of the file that holds it.
    pub(super) fn file(&mut self, text: &str) -> String {
        if let Some((name, _)) = self.0.iter().find(|(_, secret)| secret.reveal() == text) {
            return name.clone();
        }
        let name = format!("secret-{}", self.0.len() + 1);
        self.0.push((name.clone(), Secret::new(text)));
        name
    }
}

/// A name that pairbeat takes, and that none of `used` has.
pub(super) fn name(text: &str, used: &[&str]) -> String {
    let fit =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' };
    let mut name: String = text.chars().map(fit).take(NAME_LEN_MAX - 8).collect();
    if name.is_empty() {
        name.push_str("group");
    }
    let first = name.clone();
    let mut number = 2;
    while used.contains(&name.as_str()) {
        name = format!("{first}-{number}");
        number += 1;
    }
    name
}

/// The blocks of the file, but for the comments at its beginning and end.
pub(super) fn blocks(
    mut pair: Pair,
    options: &Options<'_>,
    at: &At,
    remarks: &mut Remarks,
) -> Vec<Block> {
    let nodes = nodes(&pair, options, at, remarks);
    let mut blocks = vec![cluster(&pair, &nodes)];
    blocks.extend(links(&mut pair, options, at, remarks));
    blocks.append(&mut pair.blocks);
    for group in pair.groups {
        let mut block = Block::new("[[group]]");
        block.comments = group.comments;
        block.put("name", group.name);
        block.put(
            "preferred",
            match group.preferred {
                Preferred::First => nodes.0.clone(),
                Preferred::Second => nodes.1.clone(),
                Preferred::Named(name) => name,
            },
        );
        block.put("resources", group.resources);
        blocks.push(block);
    }
    for director in pair.directors {
        let header = format!("director.{}", key(&director.name));
        if !director.settings.0.is_empty() {
            let mut block = Block::new(&format!("[{header}]"));
            block.put_table(director.settings);
            blocks.push(block);
        }
        let mut dependencies = Dependencies::default();
        let mut services = Vec::new();
        for service in director.services {
            services.push(service_block(&header, service, &mut dependencies, remarks));
        }
        blocks.extend(dependencies.blocks(&header));
        blocks.append(&mut services);
    }
    blocks
}

/// Those that were asked for, those that were found, those that nobody knows.
fn nodes(pair: &Pair, options: &Options<'_>, at: &At, remarks: &mut Remarks) -> (String, String) {
    if let Some((first, second)) = &options.nodes {
        return (first.clone(), second.clone());
    }
    let mut found = pair.nodes.clone();
    let mut rest =
        [options.node.to_owned(), UNKNOWN_PEER.to_owned(), UNKNOWN_NODE.to_owned()].into_iter();
    if found.len() < 2 {
        let text = format!(
            "the names of the nodes are not all known: as `uname -n` says on them (`--nodes A,B`); \
             `{UNKNOWN_PEER}` is none"
        );
        remarks.fill_in(at, text);
    }
    while found.len() < 2 {
        let Some(next) = rest.next() else { break };
        if !found.contains(&next) {
            found.push(next);
        }
    }
    let mut found = found.into_iter();
    (found.next().unwrap_or_default(), found.next().unwrap_or_default())
}

fn cluster(pair: &Pair, (first, second): &(String, String)) -> Block {
    let mut block = Block::new("[cluster]");
    let unknown = first == UNKNOWN_NODE || second == UNKNOWN_PEER;
    let hint = unknown.then(|| "FILL IN: both nodes, as `uname -n` says on them.".to_owned());
    let nodes = Value::from(vec![first.clone(), second.clone()]);
    block.entries.push((hint.into_iter().collect(), "nodes".to_owned(), nodes));
    for (name, time) in &pair.timing {
        block.put(name, *time);
    }
    block.put("auto_failback", pair.auto_failback);
    block
}

fn links(pair: &mut Pair, options: &Options<'_>, at: &At, remarks: &mut Remarks) -> Vec<Block> {
    let interface = options.interface.clone();
    if let Some((one, other)) = &options.peers {
        let mut link = Table::default();
        let known = pair.links.first().and_then(|(_, link)| link.get("interface").cloned());
        link.put_some("interface", interface.map(Value::from).or(known));
        link.put("peers", vec![one.to_string(), other.to_string()]);
        pair.links = vec![(Vec::new(), link)];
    } else if pair.links.is_empty() {
        let known = interface.is_some();
        let interface = interface.unwrap_or_else(|| INTERFACE.to_owned());
        let text = format!(
            "a heartbeat link: multicast on {interface} stands there; better two links that share \
             nothing (`--peers ADDRESS,ADDRESS`, `--interface NAME`)"
        );
        remarks.fill_in(at, text);
        let hint = if known {
            "Better two links than one."
        } else {
            "FILL IN: the interface between the nodes; better two links that share nothing."
        };
        let link = Table::default()
            .with("kind", "mcast")
            .with("interface", interface)
            .with("group", GROUP);
        pair.links.push((vec![hint.to_owned()], link));
    }
    let links = std::mem::take(&mut pair.links).into_iter();
    links
        .map(|(comments, link)| {
            let mut block = Block::new("[[link]]");
            block.comments = comments;
            block.put_table(link);
            block
        })
        .collect()
}

fn service_block(
    header: &str,
    service: Service,
    dependencies: &mut Dependencies,
    remarks: &mut Remarks,
) -> Block {
    let mut block = Block::new(&format!("[[{header}.service]]"));
    block.comments = service.at.iter().map(|at| format!("From {at}.")).collect();
    match service.key {
        ServiceKey::Address { protocol, .. } => {
            block.put("address", service.key.to_string());
            if protocol != Protocol::Tcp {
                block.put("protocol", protocol.to_string());
            }
        }
        ServiceKey::Mark { ipv6, mark } => {
            block.put("mark", mark);
            if ipv6 {
                block.put("family", "ipv6");
            }
        }
    }
    block.put("scheduler", service.scheduler);
    let mut table = Table::default();
    table.put_some("scheduler_flags", service.flags);
    table.put_some("persistent", service.persistent.map(|it| Duration::from_secs(u64::from(it))));
    table.put_some("netmask", service.netmask.map(u32::from));
    table.put_some("one_packet", service.one_packet.then_some(true));
    table.put_some("quiescent", service.quiescent.then_some(true));
    table.put_some("clean_stop", (!service.clean_stop).then_some(false));
    table.put_some(
        "quorum",
        service.quorum.map(|(weight, hysteresis)| {
            Table::default().with("weight", weight).with("hysteresis", hysteresis)
        }),
    );
    table.put_some(
        "fallback",
        service.fallback.map(|(address, forwarding)| {
            Table::default().with("address", address).with("forwarding", forwarding.to_string())
        }),
    );
    table.put_some("fallback_command", service.fallback_command);
    table.0.extend(service.notify.0);
    table.put_some("quorum_up", service.quorum_up);
    table.put_some("quorum_down", service.quorum_down);
    let method = common(&service.reals, |real| real.forwarding);
    table.put_some("forwarding", method.map(|it| it.to_string()));
    let common_check = common(&service.reals, |real| real.check.clone());
    let mut check = common_check.clone().unwrap_or_default();
    check.0.extend(service.rhythm.0);
    table.put_some("check", Some(check).filter(|check| !check.0.is_empty()));
    block.put_table(table);
    let reals: Vec<Table> = service
        .reals
        .iter()
        .map(|real| {
            let mut table =
                Table::default().with("address", real.text()).with("weight", real.weight);
            table.put_some("forwarding", method.is_none().then(|| real.forwarding.to_string()));
            let threshold = |value: u32| Some(value).filter(|value| *value > 0);
            table.put_some("upper_threshold", threshold(real.thresholds.upper));
            table.put_some("lower_threshold", threshold(real.thresholds.lower));
            let own = common_check.is_none() && !real.check.0.is_empty();
            table.put_some("check", own.then(|| real.check.clone()));
            let names = dependencies.names(&real.further, remarks);
            table.put_some("requires", Some(names).filter(|names| !names.is_empty()));
            table
        })
        .collect();
    block.put("real", reals);
    block
}

/// What all have in common.
fn common<T: PartialEq>(reals: &[Real], of: impl Fn(&Real) -> T) -> Option<T> {
    let (first, rest) = reals.split_first()?;
    let value = of(first);
    rest.iter().all(|real| of(real) == value).then_some(value)
}

/// A group that holds the addresses of its director's services, where nothing says who else does.
pub(super) fn alone(services: Vec<Service>, name: &str, at: &At, remarks: &mut Remarks) -> Pair {
    let mut seen = BTreeSet::new();
    let mut resources = Vec::new();
    for service in &services {
        let ServiceKey::Address { address, .. } = service.key else { continue };
        if !address.is_unspecified() && !address.is_loopback() && seen.insert(address) {
            resources.push(Table::default().with("address", address.to_string()).into());
        }
    }
    let mut pair = Pair::default();
    if services.is_empty() {
        return pair;
    }
    if !resources.is_empty() {
        let text = "the addresses of the services are held by the group, with the interface and the \
                    prefix of the route to them; take out what another program holds";
        remarks.fill_in(at, text);
    }
    resources.push(Table::default().with("director", name).into());
    let comments =
        vec!["FILL IN: interface and prefix where those of the route are not meant.".to_owned()];
    pair.groups.push(Group {
        comments,
        name: name.to_owned(),
        preferred: Preferred::First,
        resources,
    });
    pair.directors.push(Director { name: name.to_owned(), settings: Table::default(), services });
    pair
}
