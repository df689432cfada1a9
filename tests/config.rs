//! Configuration golden files: each directory in `tests/config` is a configuration, and its
//! `expected.txt` is everything that loading it says, faults and warnings first, then what the
//! node would run on.
//!
//! A case is a directory in ha.d layout, or holds a `pairbeat.toml`. The file `modes` in it says
//! which permissions a file has, for git does not store them. `UPDATE_GOLDEN=1` rewrites.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

#[path = "config/ldirectord/mod.rs"]
mod ldirectord;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pairbeat::cluster::Monitor;
use pairbeat::config::diag::Severity;
use pairbeat::config::{
    self, Arbiter, Cast, Config, Environment, Family, Medium, ResourceKind, SourceFile,
};
use pairbeat::lvs::check::CheckKind;
use pairbeat::lvs::exchange::Exchange;
use pairbeat::lvs::model::{Policy, Protocol, RealServer, VirtualService};
use pairbeat::names::NodeName;
use pairbeat::sys::files::Machine;

/// The directory of [`ldirectord`], which is no configuration.
const CASES_OF_LDIRECTORD: &str = "ldirectord";

/// A copy of a case with its permissions, gone when dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(case: &Path) -> Self {
        let name = case.file_name().unwrap().to_str().unwrap();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let to = format!("pairbeat-{}-{number}-{name}", std::process::id());
        let to = std::env::temp_dir().join(to);
        copy_dir(case, &to);
        if let Ok(modes) = std::fs::read_to_string(case.join("modes")) {
            for line in modes.lines() {
                let (mode, file) = line.split_once(' ').unwrap();
                set_mode(&to.join(file), u32::from_str_radix(mode, 8).unwrap());
            }
        }
        Self(to)
    }

    fn config(&self) -> PathBuf {
        let toml = self.0.join("pairbeat.toml");
        if toml.exists() { toml } else { self.0.clone() }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
            set_mode(&target, 0o644);
        }
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// Everything that loading a case says, without the name of the temporary directory.
fn said(case: &Path) -> String {
    let copy = Copy::of(case);
    let (config, found) = config::load(&copy.config(), &node("server101"), &Machine::default());
    let faults = found.iter().any(|diagnostic| diagnostic.severity == Severity::Fault);
    assert_eq!(
        config.is_none(),
        faults,
        "{}: no configuration exactly with a fault",
        case.display()
    );
    let mut text = String::new();
    for diagnostic in &found {
        writeln!(text, "{diagnostic}").unwrap();
    }
    if let Some(config) = config {
        summary(&mut text, &config);
    }
    let directory = copy.0.to_str().unwrap();
    text.replace(&format!("{directory}/"), "").replace(directory, ".")
}

fn ipvs_summary(text: &mut String, config: &Config) {
    for (name, value) in &config.ipvs.sysctl {
        writeln!(text, "sysctl {name} {value}").unwrap();
    }
    for (timeout, seconds) in &config.ipvs.timeouts {
        writeln!(text, "timeout {} {seconds} s", timeout.word()).unwrap();
    }
    if config.ipvs.prepare {
        writeln!(text, "prepare {:?}", config.kernel_settings()).unwrap();
    }
}

fn summary(text: &mut String, config: &Config) {
    let t = &config.timing;
    writeln!(text, "nodes {} and {}", config.node, config.peer).unwrap();
    writeln!(
        text,
        "keepalive {:?} warntime {:?} deadtime {:?} initdead {:?} auto_failback {:?}",
        t.keepalive, t.warntime, t.deadtime, t.initdead, config.auto_failback
    )
    .unwrap();
    for link in &config.links {
        let udp = match &link.medium {
            Medium::Udp(udp) => udp,
            Medium::Serial(serial) => {
                let (device, baud) = (serial.device.display(), serial.baud.get());
                writeln!(text, "link {} serial {device} at {baud}", link.name).unwrap();
                continue;
            }
        };
        let interface = link.interface().unwrap_or("-");
        match &udp.cast {
            Cast::Unicast { targets, .. } => {
                write!(text, "link {} {interface} {targets:?}", link.name).unwrap();
            }
            Cast::Broadcast { .. } => {
                write!(text, "link {} {interface} broadcast", link.name).unwrap()
            }
            Cast::Multicast(it) => {
                let (group, ttl, looped) = (it.group.ip(), it.ttl, it.looped);
                let name = &link.name;
                write!(text, "link {name} {interface} group {group} ttl {ttl} loop {looped}")
                    .unwrap();
            }
        }
        writeln!(text, " port {}", udp.port).unwrap();
    }
    for key in &config.keys.keys {
        writeln!(text, "key {} of {} bytes", key.id, key.secret.len()).unwrap();
    }
    for group in &config.groups {
        writeln!(text, "group {} on {}", group.name, group.preferred).unwrap();
        for resource in &group.resources {
            let (start, stop) = (resource.start_timeout, resource.stop_timeout);
            let kind = match &resource.kind {
                ResourceKind::Address(a) => format!(
                    "address {} prefix {:?} interface {:?} label {:?} broadcast {:?}",
                    a.ip, a.prefix, a.interface, a.label, a.broadcast
                ),
                ResourceKind::Director(name) => format!("director {name}"),
                ResourceKind::Sync(s) => format!("{s:?}"),
                ResourceKind::Announce(a) => format!("announce {} {:?}", a.ip, a.interface),
                ResourceKind::Mail(mail) => format!("{mail:?}"),
                ResourceKind::Script(s) => {
                    format!("script {} {:?} {:?}", s.path.display(), s.args, s.style)
                }
            };
            writeln!(text, "  {} ({start:?}, {stop:?}): {kind}", resource.text).unwrap();
            monitor_summary(text, resource.monitor.as_ref());
        }
    }
    outside_summary(text, config);
    ipvs_summary(text, config);
    for director in config.directors.values() {
        writeln!(text, "director {}", director.name).unwrap();
        for service in &director.services {
            service_summary(text, service);
        }
    }
}

fn monitor_summary(text: &mut String, monitor: Option<&Monitor>) {
    let Some(Monitor { interval, timeout, restarts, decay, wary }) = monitor else { return };
    let word = if *wary { "wary" } else { "plain" };
    writeln!(
        text,
        "    monitored every {interval:?} ({timeout:?}), {restarts} restarts in {decay:?}, {word}"
    )
    .unwrap();
}

/// Only where something was said.
fn outside_summary(text: &mut String, config: &Config) {
    for arbiter in &config.arbiters {
        let Arbiter { name, required, timeout, kind } = arbiter;
        writeln!(text, "arbiter {name} required {required} timeout {timeout:?} {kind:?}").unwrap();
    }
    for ping in &config.ping_nodes {
        writeln!(text, "ping {} {:?}", ping.name, ping.members).unwrap();
    }
    if !config.ping_nodes.is_empty() {
        writeln!(text, "deadping {:?} ipfail {}", config.deadping, config.ipfail).unwrap();
    }
    for device in &config.fence {
        writeln!(text, "fence {device:?}").unwrap();
    }
    if config.service != config::Service::default() {
        writeln!(text, "{:?}", config.service).unwrap();
    }
}

fn service_summary(text: &mut String, service: &VirtualService) {
    let s = service;
    writeln!(
        text,
        "  {:#} {} persistent {:?}/{:?} ops {} quiescent {} cleanstop {}",
        s.key, s.scheduler, s.persistent, s.netmask, s.one_packet, s.quiescent, s.clean_stop
    )
    .unwrap();
    writeln!(
        text,
        "    every {:?} timeout {:?} fall {} rise {}",
        s.interval, s.timeout, s.fall, s.rise
    )
    .unwrap();
    if s.policy != Policy::default() {
        writeln!(text, "    {:?}", s.policy).unwrap();
    }
    for (pool, real) in
        s.reals.iter().map(|it| ("real", it)).chain(s.backup.iter().map(|it| ("backup", it)))
    {
        let RealServer { key, forwarding, weight, check_address, check_port, .. } = real;
        let check = match &real.check {
            CheckKind::Negotiate(Exchange::Http(http)) => format!("{http:?}"),
            other => format!("{other:?}"),
        };
        writeln!(
            text,
            "    {pool} {key} {forwarding:?} {weight} at {check_address} {check_port} {check}"
        )
        .unwrap();
    }
    for (real, agent) in s.pools().filter_map(|real| Some((real, real.agent.as_ref()?))) {
        writeln!(text, "    {} asks {:?} {} {}", real.key, agent.check, agent.address, agent.port)
            .unwrap();
    }
    for real in s.pools().filter(|real| !real.requires.is_empty()) {
        let needs = real.requires.iter();
        let needs =
            needs.map(|it| format!("{} {:?} {} {}", it.name, it.check, it.address, it.port));
        writeln!(text, "    {} requires {:?}", real.key, needs.collect::<Vec<_>>()).unwrap();
    }
    if let Some(fallback) = &s.fallback {
        write!(text, "    fallback {} {:?}", fallback.key, fallback.forwarding).unwrap();
        if fallback.check != CheckKind::On {
            let RealServer { check_address, check_port, check, .. } = fallback;
            write!(text, " at {check_address} {check_port} {check:?}").unwrap();
        }
        writeln!(text).unwrap();
    }
}

/// Every case, sorted.
fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(project().join("tests/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && !path.ends_with(CASES_OF_LDIRECTORD))
        .collect();
    cases.sort();
    assert!(cases.len() >= 18, "only {} cases", cases.len());
    cases
}

#[test]
fn every_case_says_what_its_golden_file_has() {
    let cases = cases();
    let mut wrong = 0;
    for case in cases {
        let golden = case.join("expected.txt");
        let said = said(&case);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, said).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if said != expected {
            wrong += 1;
            eprintln!("--- {}\n{}", golden.display(), differences(&expected, &said));
        }
    }
    assert_eq!(wrong, 0, "UPDATE_GOLDEN=1 rewrites the golden files");
}

fn differences(expected: &str, said: &str) -> String {
    let only = |mark: char, from: &str, other: &str| {
        let other: Vec<&str> = other.lines().collect();
        let lines = from.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    only('-', expected, said) + &only('+', said, expected)
}

#[test]
fn the_name_of_a_case_says_whether_it_can_run() {
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let bad = said(&case).lines().any(|line| line.contains(": fault: "));
        assert_eq!(bad, name.starts_with("bad-"), "{name}");
    }
}

/// The examples in `etc` with the permissions that a package gives them.
fn examples(file: &str) -> (Config, Vec<String>) {
    let copy = Copy::of(&project().join("etc"));
    set_mode(&copy.0.join("ha.d/authkeys"), 0o600);
    let (config, found) = config::load(&copy.0.join(file), &node("server105"), &Machine::default());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    (config.unwrap_or_else(|| panic!("{}", found.join("\n"))), found)
}

#[test]
fn the_example_of_ha_d_runs_and_only_its_key_is_warned_of() {
    let (config, found) = examples("ha.d");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("authkeys") && found[0].contains("keygen"), "{found:?}");
    assert_eq!(config.peer, node("server101"));
    assert_eq!(config.groups.len(), 1);
    assert_eq!(config.directors.values().next().unwrap().services[0].reals.len(), 2);
}

/// The commented examples say the same in both formats, but for timing and names.
#[test]
fn the_example_in_toml_is_the_same_cluster_as_that_of_ha_d() {
    let case = project().join("etc");
    let copy = Copy::of(&case);
    let load = |found: &mut Vec<String>| {
        let path = copy.0.join("pairbeat.toml");
        let (config, all) = config::load(&path, &node("server105"), &Machine::default());
        found.extend(all.iter().map(ToString::to_string));
        config
    };
    let keys = copy.0.join("keys");
    std::fs::copy(copy.0.join("pairbeat.keys.example"), &keys).unwrap();
    set_mode(&keys, 0o600);
    let mut refused = Vec::new();
    assert!(load(&mut refused).is_none(), "the example key must not be used");
    assert!(refused.len() == 1 && refused[0].contains("sample"), "{refused:?}");
    std::fs::write(&keys, &*config::keys::key_file(1, b"32 bytes nobody could ever guess"))
        .unwrap();
    let mut found = Vec::new();
    let toml = load(&mut found).unwrap_or_else(|| panic!("{}", found.join("\n")));
    assert_eq!(found, Vec::<String>::new());
    let path = copy.0.join("pairbeat.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let uncommented = |line: &str| -> String {
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic));
        setting.unwrap_or(line).to_owned() + "\n"
    };
    std::fs::write(&path, text.lines().map(uncommented).collect::<String>()).unwrap();
    assert_eq!(load(&mut found).as_ref(), Some(&toml), "{found:?}: the defaults shown are true");
    let (legacy, _) = examples("ha.d");
    assert_eq!(toml.links, legacy.links);
    let services = |config: &Config| -> Vec<VirtualService> {
        config.directors.values().flat_map(|director| director.services.clone()).collect()
    };
    assert_eq!(services(&toml), services(&legacy));
    let kinds = |config: &Config| config.groups[0].resources[0].kind.clone();
    assert_eq!(kinds(&toml), kinds(&legacy));
}

#[test]
fn both_nodes_have_the_same_digest_and_a_change_shows() {
    let case = project().join("tests/config/good-vip-director-dr");
    let digest = |node_name: &str, edit: &dyn Fn(&Path)| {
        let copy = Copy::of(&case);
        edit(&copy.0);
        let (config, found) = config::load(&copy.config(), &node(node_name), &Machine::default());
        config::digests(&config.unwrap_or_else(|| panic!("{found:?}")))
    };
    let replace = |file: &'static str, from: &'static str, to: &'static str| {
        move |directory: &Path| {
            let path = directory.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            std::fs::write(&path, text.replace(from, to)).unwrap();
        }
    };
    let one = digest("server101", &|_| ());
    assert_eq!(one, digest("server105", &|_| ()));
    assert_eq!(one, digest("server101", &replace("ha.cf", "eth1", "eth2")), "interfaces differ");
    assert_eq!(one, digest("server101", &replace("authkeys", "5f0c", "6f0c")), "no secrets");
    for change in [
        replace("ha.cf", "deadtime 10", "deadtime 11"),
        replace("ha.cf", "auto_failback off", "auto_failback on"),
        replace("haresources", "server101", "server105"),
        replace("haresources", ".110/24", ".111/24"),
        replace("ldirectord.cf", "106:80 gate", "106:80 gate 2"),
        replace("ldirectord.cf", "Test Page", "Best Page"),
    ] {
        assert_ne!(one, digest("server101", &change));
    }
}

/// A case in which one file has other bytes than on disk.
struct Changed<'a> {
    file: &'a Path,
    bytes: &'a [u8],
}

impl Environment for Changed<'_> {
    fn read(&self, path: &Path) -> Result<SourceFile, std::io::Error> {
        if path == self.file {
            return Ok(SourceFile { bytes: self.bytes.to_vec(), mode: 0o600 });
        }
        Machine::default().read(path)
    }

    fn executable(&self, path: &Path) -> bool {
        Machine::default().executable(path)
    }

    fn host(&self, _: &str, _: Family) -> Option<std::net::IpAddr> {
        None
    }

    fn service(&self, name: &str, _: Protocol) -> Option<u16> {
        (name == "http").then_some(80)
    }

    fn user(&self, name: &str) -> bool {
        Machine::default().user(name)
    }
}

/// A generator that is good enough to make a mess of a file (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// Removes, doubles, swaps or replaces a few pieces.
    fn mess(&mut self, bytes: &mut Vec<u8>) {
        const PIECES: &[&str] = &[
            "",
            "=",
            "\"",
            "#",
            "\n",
            "\t",
            " ",
            ":",
            "::",
            "/",
            "->",
            "[",
            "]",
            "{",
            "}",
            "0",
            "4294967296",
            "65536",
            "\u{feff}",
            "\u{e9}",
            "\\",
            "'",
            ",",
            "(",
            "*",
            "virtual=",
            "%",
        ];
        for _ in 0..=self.below(4) {
            let from = self.below(bytes.len() + 1);
            let to = (from + self.below(12)).min(bytes.len());
            match self.below(3) {
                0 => drop(bytes.drain(from..to)),
                1 => {
                    let copy = bytes.get(from..to).unwrap_or_default().to_vec();
                    let at = self.below(bytes.len() + 1);
                    bytes.splice(at..at, copy);
                }
                _ => {
                    let piece = PIECES.get(self.below(PIECES.len())).unwrap_or(&"");
                    bytes.splice(from..to, piece.bytes());
                }
            }
        }
        if self.below(16) == 0 {
            let at = self.below(bytes.len() + 1);
            bytes.insert(at, 0xff);
        }
    }
}

/// The beginning of the summary of a good case, in its golden file.
const SUMMARY: &str = "nodes server101 and ";

#[test]
fn the_command_check_prints_every_fault_of_the_golden_files_and_exits_by_them() {
    for case in cases() {
        let copy = Copy::of(&case);
        let golden = std::fs::read_to_string(case.join("expected.txt")).unwrap();
        let good = golden.lines().position(|line| line.starts_with(SUMMARY));
        let faults = golden.lines().take(good.unwrap_or(usize::MAX));
        let mut expected: String = faults.flat_map(|line| [line, "\n"]).collect();
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_pairbeat"))
            .args(["check", "--node", "server101", "--config"])
            .arg(copy.config())
            .output()
            .unwrap();
        let directory = copy.0.to_str().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(&format!("{directory}/"), "").replace(directory, ".")
        };
        let (out, err) = (text(said.stdout), text(said.stderr));
        // What the machine lacks is not about the file.
        let about_the_file = err.split_inclusive('\n').filter(|line| !line.starts_with("note: "));
        let err: String = about_the_file.collect();
        let name = if copy.config() == copy.0 { "." } else { "pairbeat.toml" };
        if good.is_none() {
            writeln!(expected, "pairbeat: {name}: not usable").unwrap();
        }
        assert_eq!(err, expected, "{}", case.display());
        let sentence = format!("{name}: good: node server101, peer server105, ");
        assert_eq!(out.starts_with(&sentence), good.is_some(), "{}: {out}", case.display());
        assert_eq!(said.status.code(), Some(good.is_none().into()), "{}", case.display());
    }
}

#[test]
fn no_file_however_broken_makes_a_reader_fail() {
    let rounds = if std::env::var_os("PAIRBEAT_LONG").is_some() { 2_000 } else { 40 };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in cases() {
        let copy = Copy::of(&case);
        let files: Vec<PathBuf> = std::fs::read_dir(&copy.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && !path.ends_with("expected.txt"))
            .collect();
        for file in files {
            let original = std::fs::read(&file).unwrap();
            for _ in 0..rounds {
                let mut bytes = original.clone();
                random.mess(&mut bytes);
                let environment = Changed { file: &file, bytes: &bytes };
                let (config, found) =
                    config::load(&copy.config(), &node("server101"), &environment);
                let faults = found.iter().any(|found| found.severity == Severity::Fault);
                assert_eq!(config.is_none(), faults, "{}", String::from_utf8_lossy(&bytes));
                for diagnostic in &found {
                    let text = diagnostic.to_string();
                    assert!(!text.contains('\u{1b}') && text.lines().count() <= 4, "{text}");
                }
            }
        }
    }
}
