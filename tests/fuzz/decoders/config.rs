//! Configuration files: each reader on its own, and in a configuration whose other files are good.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use pairbeat::config::diag::{Diagnostic, Severity};
use pairbeat::config::{self, Config, Environment, Family, KeyRing, Source, SourceFile};
use pairbeat::import;
use pairbeat::lvs::model::Protocol;
use pairbeat::names::{DirectorName, NodeName};
use pairbeat::wire::auth::Auth;

use super::wire::NODES;

const HA_CF: &str = "keepalive 1\ndeadtime 10\nucast eth1 10.0.0.101\nucast eth1 10.0.0.105\n\
                     node server101 server105\n";
const HARESOURCES: &str = "server101 192.168.2.110/24/eth0 ldirectord::ldirectord.cf\n";
const AUTHKEYS: &str =
    "auth 1\n1 sha256 5f0c7a3e91b24d68a0c1e2f3b4d5968778695a4b3c2d1e0ff1e2d3c4b5a69788\n";
const KEYS: &str = "1 5f0c7a3e91b24d68a0c1e2f3b4d5968778695a4b3c2d1e0ff1e2d3c4b5a69788\n";
const LDIRECTORD: &str = "virtual=192.168.2.110:80\n\treal=192.168.2.106:80 gate\n";
/// Longest diagnostic, in lines: sentence, excerpt, marker, advice.
const LINES_MAX: usize = 4;

/// Good files in /etc/ha.d and one in TOML, and among them the one that is in question.
struct World<'a> {
    file: &'a str,
    bytes: &'a [u8],
}

impl Environment for World<'_> {
    fn read(&self, path: &Path) -> Result<SourceFile, io::Error> {
        let name = path.to_str().unwrap_or_default();
        if name == self.file {
            return Ok(SourceFile { bytes: self.bytes.to_vec(), mode: 0o600 });
        }
        let text = match name {
            "/etc/ha.d/ha.cf" => HA_CF,
            "/etc/ha.d/haresources" => HARESOURCES,
            "/etc/ha.d/authkeys" => AUTHKEYS,
            "/etc/ha.d/ldirectord.cf" => LDIRECTORD,
            "/etc/pairbeat/keys" => KEYS,
            "/etc/pairbeat/pairbeat.toml/ha.cf" => return Err(io::ErrorKind::NotADirectory.into()),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(SourceFile { bytes: text.as_bytes().to_vec(), mode: 0o600 })
    }

    fn executable(&self, path: &Path) -> bool {
        path.starts_with("/etc/ha.d/resource.d") || path.to_string_lossy().contains("/fence.d/")
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let ip = if family == Family::V6 { "2001:db8::106" } else { "192.168.2.106" };
        (!name.is_empty()).then(|| ip.parse().unwrap())
    }

    fn service(&self, name: &str, _: Protocol) -> Option<u16> {
        (name == "http").then_some(80)
    }

    fn user(&self, name: &str) -> bool {
        name == "nobody"
    }
}

/// What a reader found can be shown, and hides nothing of a terminal's.
fn shown(found: &[Diagnostic]) {
    for diagnostic in found {
        let text = diagnostic.to_string();
        assert!(text.lines().count() <= LINES_MAX, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

fn faults(found: &[Diagnostic]) -> bool {
    found.iter().any(|diagnostic| diagnostic.severity == Severity::Fault)
}

/// A configuration exactly when there is no fault; and then one that a node can run on.
fn load(path: &str, environment: &World<'_>) -> bool {
    let node = NodeName::new(NODES[0]).unwrap();
    let (config, found) = config::load(Path::new(path), &node, environment);
    shown(&found);
    assert_eq!(config.is_none(), faults(&found), "{found:?}");
    let again = config::load(Path::new(path), &node, environment);
    assert_eq!((&config, &found), (&again.0, &again.1), "the same file says the same");
    config.is_some_and(|config| {
        runs(&config);
        true
    })
}

fn runs(config: &Config) {
    let timing = config.timing;
    assert!(timing.keepalive * 3 <= timing.deadtime && timing.deadtime <= timing.initdead);
    assert!(timing.warntime < timing.deadtime && !timing.keepalive.is_zero());
    assert!(config.node != config.peer && !config.links.is_empty());
    assert!(config.groups.iter().all(|group| !group.resources.is_empty()));
    usable(&config.keys);
    let _never_panics = config::digests(config);
}

/// Heartbeats can be signed with it.
fn usable(ring: &KeyRing) -> Auth {
    let [node, peer] = NODES.map(|name| NodeName::new(name).unwrap());
    let keys = ring.keys.iter().map(|key| (key.id, key.secret.as_slice()));
    Auth::new(&node, &peer, keys).unwrap()
}

fn legacy<T>(
    file: &str,
    bytes: &[u8],
    read: impl FnOnce(&Source, &World<'_>) -> (T, Vec<Diagnostic>),
) -> (Option<T>, bool) {
    let path = format!("/etc/ha.d/{file}");
    let world = World { file: &path, bytes };
    let runs = load("/etc/ha.d", &world);
    let Ok(source) = Source::open(Path::new(&path), &world) else { return (None, runs) };
    let (value, found) = read(&source, &world);
    shown(&found);
    let good = !faults(&found);
    assert!(good || !runs, "a file that is faulty alone is so among others");
    (good.then_some(value), runs)
}

pub(super) fn ha_cf(bytes: &[u8]) -> bool {
    legacy("ha.cf", bytes, |source, world| config::ha_cf::read(source, world)).1
}

pub(super) fn haresources(bytes: &[u8]) -> bool {
    let directory = Path::new("/etc/ha.d");
    legacy("haresources", bytes, |source, world| {
        config::haresources::read(source, directory, world)
    })
    .1
}

pub(super) fn ldirectord(bytes: &[u8]) -> bool {
    let name = DirectorName::new("ldirectord.cf").unwrap();
    legacy("ldirectord.cf", bytes, |source, world| {
        let read = config::ldirectord::read(source, &name, world);
        (read.director, read.found)
    })
    .1
}

pub(super) fn authkeys(bytes: &[u8]) -> bool {
    let (ring, runs) = legacy("authkeys", bytes, |source, _| config::authkeys::read(source));
    if let Some(ring) = ring {
        usable(&ring);
    }
    runs
}

pub(super) fn toml(bytes: &[u8]) -> bool {
    const FILE: &str = "/etc/pairbeat/pairbeat.toml";
    load(FILE, &World { file: FILE, bytes })
}

/// A good key file says the same when its keys are written anew.
pub(super) fn keys(bytes: &[u8]) -> bool {
    let file = "keys";
    let Ok(source) = Source::open(Path::new(file), &World { file, bytes }) else { return false };
    let (ring, found) = config::keys::read(&source);
    shown(&found);
    if faults(&found) {
        return false;
    }
    usable(&ring);
    let hex = |secret: &[u8]| secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |key: &config::Key| format!("{} {}\n", key.id, hex(&key.secret));
    let text: String = ring.keys.iter().map(line).collect();
    let (again, found) = config::keys::read(&Source::literal(file, &text));
    assert_eq!((again, found), (ring, Vec::new()));
    true
}

/// Another program's configuration: what comes of it can be used.
pub(super) fn import(bytes: &[u8]) -> bool {
    let world = World { file: "/etc/keepalived/keepalived.conf", bytes };
    let list = |_: &Path| vec![Path::new(world.file).to_owned()];
    let files = import::World { environment: &world, list: &list };
    let nodes = Some((NODES[0].to_owned(), NODES[1].to_owned()));
    let options = import::Options { node: NODES[0], nodes, ..import::Options::default() };
    let Ok(imported) = import::import(Path::new(world.file), None, &options, &files) else {
        return false;
    };
    assert!(imported.remarks.iter().all(|remark| remark.to_string().lines().count() == 1));
    // A file with a password is not there to be read.
    if imported.secrets.is_empty() {
        let file = "/etc/pairbeat/pairbeat.toml";
        let written = World { file, bytes: imported.toml.as_bytes() };
        let node = NodeName::new(NODES[0]).unwrap();
        let (config, found) = config::load(Path::new(file), &node, &written);
        assert!(config.is_some(), "{found:?}\n{}", imported.toml);
    }
    true
}
