//! ha.d layouts and ldirectord.cf: read as `config` reads them, and written in other words.

use std::path::Path;

use crate::cluster::Damping;
use crate::config::diag::{Diagnostic, Severity};
use crate::config::ldirectord::Read;
use crate::config::{
    self, Address, AutoFailback, Cast, Config, FenceDevice, Link, Medium, ResourceKind, Sync,
    Watched,
};
use crate::import::document::{Block, Table, Value};
use crate::import::model::{Director, Group, Pair, Preferred, Real, Secrets, Service, alone, name};
use crate::import::remark::{At, Done, Remarks};
use crate::import::{Refused, World, exchange, source};
use crate::lvs::mail::{Envelope, Mail, Sender, Stage, Stages};
use crate::lvs::model::{self, RealKey, RealServer, ServiceKey, VirtualService};
use crate::lvs::notify::Notify;
use crate::names::{DirectorName, NodeName};

/// The director's name where the file's says nothing.
const NAME: &str = "lvs";

/// One ldirectord.cf: a director, and a group that holds its addresses.
pub(super) fn ldirectord(
    path: &Path,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Result<Pair, Refused> {
    let source = source(path, world)?;
    let name = DirectorName::new(NAME).map_err(|error| error.to_string())?;
    let Read { director: draft, watched, execute, found } =
        config::ldirectord::read(&source, &name, world.environment);
    tell(&found, remarks);
    watched.iter().for_each(|watched| unwatched(watched, remarks));
    for (other, mark) in execute {
        let at = At::new(&mark.place.file, mark.place.line);
        remarks.left_out(&at, format!("`execute={other}`: that file is to be imported, too"));
    }
    let mut secrets = Secrets::default();
    let marks = draft.services.into_iter().map(|mark| At::new(&mark.place.file, mark.place.line));
    let services = draft.director.services.iter().zip(marks);
    let services =
        services.map(|(service, at)| of_model(service, Some(at), path, &mut secrets, remarks));
    let services: Vec<Service> = services.collect();
    let at = At::new(path, 0);
    let mut pair = alone(services, NAME, &at, remarks);
    for director in &mut pair.directors {
        director.settings = settings(&draft.director);
    }
    pair.secrets = secrets;
    Ok(pair)
}

fn unwatched(watched: &Watched, remarks: &mut Remarks) {
    let at = At::new(&watched.file, 0);
    if watched.auto_reload {
        remarks.left_out(&at, "`autoreload`: a change takes effect with `pairbeat reload`");
    }
    if let Some(callback) = &watched.callback {
        remarks.left_out(&at, format!("`callback`: nobody runs {callback}"));
    }
}

/// What a director says for all its services.
fn settings(director: &model::Director) -> Table {
    let mut settings = Table::default();
    let maintenance = director.maintenance.as_ref();
    settings.put_some("maintenance_dir", maintenance.map(|it| it.display().to_string()));
    settings
}

/// What the reader of that file says is what becomes of it.
fn tell(found: &[Diagnostic], remarks: &mut Remarks) {
    for diagnostic in found {
        let done = match diagnostic.severity {
            Severity::Fault => Done::LeftOut,
            Severity::Warning => Done::Changed,
        };
        let at = At::new(&diagnostic.place.file, diagnostic.place.line);
        let help = diagnostic.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        remarks.add(&at, done, format!("{}{help}", diagnostic.message));
    }
}

/// A directory with ha.cf.
pub(super) fn ha_d(
    directory: &Path,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Result<Pair, Refused> {
    let ha_cf = directory.join("ha.cf");
    let text = world.text(&ha_cf)?;
    let Some(node) = first_node(&text) else {
        return Err(Refused::Because(format!("{}: no `node`", ha_cf.display())));
    };
    let (config, found) = config::load(directory, &node, world.environment);
    let Some(config) = config else { return Err(Refused::Faults(found)) };
    tell(&found, remarks);
    config.watched.iter().for_each(|watched| unwatched(watched, remarks));
    let mut pair = Pair {
        nodes: vec![config.node.to_string(), config.peer.to_string()],
        auto_failback: config.auto_failback == AutoFailback::On,
        ..Pair::default()
    };
    let timing = &config.timing;
    pair.timing = vec![
        ("keepalive", timing.keepalive),
        ("warntime", timing.warntime),
        ("deadtime", timing.deadtime),
        ("initdead", timing.initdead),
    ];
    pair.links = config.links.iter().map(|it| (Vec::new(), link(it))).collect();
    pair.blocks = blocks(&config);
    no_words(&config, &text, &ha_cf, remarks);
    for group in &config.groups {
        let used: Vec<&str> = pair.groups.iter().map(|group| group.name.as_str()).collect();
        let own = group.name.as_str();
        let name = if used.contains(&own) { name(own, &used) } else { own.to_owned() };
        let preferred = Preferred::Named(group.preferred.to_string());
        let resources = group.resources.iter().map(|it| resource(&it.kind, &it.text)).collect();
        pair.groups.push(Group { comments: Vec::new(), name, preferred, resources });
    }
    for (name, director) in &config.directors {
        let path = directory.join(name.as_str());
        let mut of = |service| of_model(service, None, &path, &mut pair.secrets, remarks);
        let services = director.services.iter().map(&mut of).collect();
        pair.directors.push(Director {
            name: name.to_string(),
            settings: settings(director),
            services,
        });
    }
    let at = At::new(&directory.join("authkeys"), 0);
    remarks.changed(&at, "the keys are not taken over: pairbeat.toml has a key file of its own");
    Ok(pair)
}

/// The first name behind `node`, as ha.cf has it.
fn first_node(text: &str) -> Option<NodeName> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words =
            line.split(|c: char| c.is_whitespace() || c == ',').filter(|it| !it.is_empty());
        (words.next()? == "node").then(|| NodeName::new(words.next()?).ok())?
    })
}

fn link(link: &Link) -> Table {
    let mut table = Table::default().with("name", link.name.to_string());
    let udp = match &link.medium {
        Medium::Serial(serial) => {
            table.put("kind", "serial");
            table.put("device", serial.device.display().to_string());
            return table.with("baud", serial.baud.get());
        }
        Medium::Udp(udp) => udp,
    };
    match &udp.cast {
        Cast::Unicast { interface, targets } => {
            table.put_some("interface", interface.clone());
            table.put("peers", targets.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        Cast::Broadcast { interface } => {
            table.put("kind", "bcast");
            table.put("interface", interface.clone());
        }
        Cast::Multicast(it) => {
            table.put("kind", "mcast");
            table.put("interface", it.interface.clone());
            table.put("group", it.group.ip().to_string());
            table.put("ttl", u32::from(it.ttl.get()));
            table.put("loop", it.looped);
        }
    }
    table.with("port", u32::from(udp.port))
}

/// Damping, ping nodes, the daemon's own settings.
fn blocks(config: &Config) -> Vec<Block> {
    let mut blocks = Vec::new();
    if config.damping != Damping::default() {
        let Damping { switches, window, hold, hold_max } = config.damping;
        let mut block = Block::new("[damping]");
        block.put("switches", switches);
        block.put("window", window);
        block.put("hold", hold);
        block.put("hold_max", hold_max);
        blocks.push(block);
    }
    if !config.ping_nodes.is_empty() {
        let mut block = Block::new("[connectivity]");
        let members = |members: &[std::net::IpAddr]| {
            members.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let groups = config.ping_nodes.iter().map(|ping| {
            Table::default()
                .with("name", ping.name.to_string())
                .with("members", members(&ping.members))
        });
        block.put("ping_group", groups.collect::<Vec<_>>());
        block.put("deadping", config.deadping);
        block.put("ipfail", config.ipfail);
        blocks.push(block);
    }
    let service = &config.service;
    if *service != config::Service::default() {
        let mut block = Block::new("[service]");
        let mut table = Table::default()
            .with("realtime", service.realtime)
            .with("priority", u32::from(service.priority));
        let path = |path: &std::path::PathBuf| path.display().to_string();
        table.put_some("watchdog", service.watchdog.as_ref().map(path));
        table.put_some("log_file", service.log.file.as_ref().map(path));
        table.put_some("debug_file", service.log.debug_file.as_ref().map(path));
        table.put_some("log_facility", service.log.facility.as_ref().map(|it| it.name));
        block.put_table(table.with("debug", u32::from(service.log.debug)));
        blocks.push(block);
    }
    for program in &service.respawn {
        let mut block = Block::new("[[respawn]]");
        block.put("user", program.user.clone());
        let mut command = vec![program.program.display().to_string()];
        command.extend(program.args.iter().cloned());
        block.put("command", command);
        block.put("vital", program.vital);
        blocks.push(block);
    }
    blocks
}

/// What ha.cf can say and pairbeat.toml can't, by the lines that say it.
fn no_words(config: &Config, text: &str, path: &Path, remarks: &mut Remarks) {
    let fenced = !config.fence.is_empty();
    let arbiters = !config.arbiters.is_empty();
    for (number, line) in (1..).zip(text.lines()) {
        let word = line.split_whitespace().next().unwrap_or_default();
        let at = At::new(path, number);
        match word {
            "stonith" | "stonith_host" if fenced => {
                let devices: Vec<&str> =
                    config.fence.iter().map(|it: &FenceDevice| it.name.as_str()).collect();
                let text = format!(
                    "`{word}`: parameters have names in a `[[fence]]`; write one for {}",
                    devices.join(", ")
                );
                remarks.left_out(&at, text);
            }
            "arbiter" if arbiters => {
                remarks.left_out(&at, "`arbiter`: write an `[[arbiter]]` (docs/ARBITERS.md)")
            }
            "env" => remarks.left_out(
                &at,
                format!("`{}`: the environment of programs has no words there", line.trim()),
            ),
            _ => {}
        }
    }
}

fn resource(kind: &ResourceKind, text: &str) -> Value {
    match kind {
        ResourceKind::Address(address) => self::address(address).into(),
        ResourceKind::Director(name) => Table::default().with("director", name.to_string()).into(),
        ResourceKind::Sync(sync) => self::sync(sync).into(),
        ResourceKind::Script(_) | ResourceKind::Announce(_) | ResourceKind::Mail(_) => text.into(),
    }
}

fn address(address: &Address) -> Table {
    let prefix = address.prefix.map_or_else(String::new, |prefix| format!("/{prefix}"));
    let mut table = Table::default().with("address", format!("{}{prefix}", address.ip));
    table.put_some("interface", address.interface.clone());
    table.put_some("label", address.label.clone());
    table.put_some("broadcast", address.broadcast.map(|it| it.to_string()));
    table
}

fn sync(sync: &Sync) -> Table {
    let mut table = Table::default().with("sync", sync.interface.clone());
    table.put_some("id", Some(u32::from(sync.id)).filter(|id| *id > 0));
    table
}

/// A service of ldirectord's.
fn of_model(
    from: &VirtualService,
    at: Option<At>,
    path: &Path,
    secrets: &mut Secrets,
    remarks: &mut Remarks,
) -> Service {
    let place = at.clone().unwrap_or_else(|| At::new(path, 0));
    let mut service = Service::new(from.key, &from.scheduler);
    service.at = at;
    service.persistent = from.persistent;
    service.netmask = from.netmask;
    service.one_packet = from.one_packet;
    service.flags = flags(&from.scheduler, from.flags.0);
    service.quiescent = from.quiescent;
    service.clean_stop = from.clean_stop;
    service.fit(&place, remarks);
    service.rhythm = Table::default()
        .with("interval", from.interval)
        .with("timeout", from.timeout)
        .with("fall", exchange::counted("failurecount", from.fall, &place, remarks))
        .with("rise", from.rise);
    service.reals =
        from.reals.iter().map(|it| real(&from.key, it, &place, secrets, remarks)).collect();
    service.fallback = from.fallback.as_ref().map(|sorry| {
        let real = Real::new(sorry.key.address, Some(sorry.key.port), &from.key);
        (real.text(), sorry.forwarding)
    });
    service.fallback_command = from.notify.fallback_command.as_ref().map(|it| {
        let path = (!it.program.starts_with('/')).then(|| exchange::ENV.to_owned());
        path.into_iter().chain([it.program.clone()]).chain(it.args.iter().cloned()).collect()
    });
    service.notify = notify(&from.notify);
    service
}

fn notify(from: &Notify) -> Table {
    let mut table = Table::default();
    table.put_some("name", from.name.as_ref().map(ToString::to_string));
    table.put_some("comment", from.comment.as_ref().map(ToString::to_string));
    let monitor = from.monitor.as_ref().filter(|it| it.is_absolute());
    table.put_some("monitor_file", monitor.map(|it| it.display().to_string()));
    table.put_some("mail", from.mail.as_ref().map(mail));
    table
}

fn mail(from: &Mail) -> Table {
    let Mail { envelope: Envelope { to, from, relay }, repeat, stages } = from;
    let to: Vec<String> = to.iter().map(ToString::to_string).collect();
    let mut table = Table::default().with("to", to);
    table.put_some(
        "from",
        from.as_ref().map(|Sender { name, address }| match name {
            Some(name) => format!("{name} <{address}>"),
            None => address.to_string(),
        }),
    );
    // Longer than pairbeat.toml takes is as good as never.
    table.put_some("repeat", repeat.map(|it| it.min(*config::MAIL_REPEAT.end())));
    if *stages != Stages::ALL {
        let all = [Stage::Starting, Stage::Running, Stage::Stopping, Stage::Reloading];
        let some = all.into_iter().filter(|stage| stages.has(*stage));
        table.put("when", some.map(|stage| stage.word().to_owned()).collect::<Vec<_>>());
    }
    table.put_some("smtp", relay.as_ref().map(ToString::to_string));
    table
}

fn flags(scheduler: &str, bits: u8) -> Option<String> {
    let name = if scheduler == "mh" { "mh" } else { "sh" };
    let all =
        [(1, format!("{name}-fallback")), (2, format!("{name}-port")), (4, "flag-3".to_owned())];
    let set: Vec<String> =
        all.into_iter().filter(|(bit, _)| bits & bit > 0).map(|(_, name)| name).collect();
    (!set.is_empty()).then(|| set.join(","))
}

fn real(
    key: &ServiceKey,
    from: &RealServer,
    at: &At,
    secrets: &mut Secrets,
    remarks: &mut Remarks,
) -> Real {
    let RealKey { address, port } = from.key;
    let mut real = Real::new(address, Some(port), key);
    real.forwarding = from.forwarding;
    real.weight = from.weight;
    real.thresholds = from.thresholds;
    real.check = exchange::check(key, from, at, secrets, remarks);
    real
}
