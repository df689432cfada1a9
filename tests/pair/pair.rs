//! Two nodes on a LAN, and their configuration.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::lan::Lan;
use crate::nets::Net;
use crate::node::Node;

pub(crate) const VIP: &str = "192.168.2.110";
pub(crate) const VIP2: &str = "192.168.2.111";
pub(crate) const KEY: &str = "5f0c2e8a91d4b7631f9ae2c05d7b48e3a6c1902f7e84d35b60f1c9a7e2483d16";
/// The names of the nodes, the preferred one of [`Setup::default`] first.
pub(crate) const NAMES: [&str; 2] = ["server101", "server105"];

/// What a test wants different.
pub(crate) struct Setup {
    /// In milliseconds.
    pub(crate) deadtime: u32,
    /// In milliseconds.
    pub(crate) initdead: u32,
    pub(crate) auto_failback: bool,
    /// Lines of haresources.
    pub(crate) haresources: String,
    /// The interface of the link.
    pub(crate) interface: &'static str,
    /// Heartbeats go over a cable of their own, eth1, and not over the LAN.
    pub(crate) cable: bool,
    /// Lines of ha.cf instead of the link's. `LINE` is the node's [`Pair::line`].
    pub(crate) links: Option<&'static str>,
    /// A pairbeat.toml instead, whose resources have this time limit: haresources has none.
    pub(crate) toml_limits: Option<&'static str>,
}

/// The addresses on the cable between the nodes.
pub(crate) const CABLE: [&str; 2] = ["10.0.0.1", "10.0.0.2"];

impl Default for Setup {
    fn default() -> Self {
        Self {
            deadtime: 500,
            initdead: 1500,
            auto_failback: false,
            haresources: format!("server101 {VIP}/24/eth0\n"),
            interface: "eth0",
            cable: false,
            links: None,
            toml_limits: None,
        }
    }
}

impl Setup {
    /// Silence means nothing for so long that whatever happens has another cause.
    pub(crate) fn patient() -> Self {
        Self { deadtime: 20_000, initdead: 20_000, ..Self::default() }
    }

    /// Heartbeats over a cable of their own.
    pub(crate) fn cable() -> Self {
        Self { interface: "eth1", cable: true, ..Self::default() }
    }

    /// Two groups, each at home on another node.
    pub(crate) fn two_groups(self) -> Self {
        let haresources = format!("server101 {VIP}/24/eth0\nserver105 {VIP2}/24/eth0\n");
        Self { haresources, ..self }
    }

    /// Where the configuration is in its directory.
    pub(crate) fn config(&self, directory: &Path) -> PathBuf {
        match self.toml_limits {
            Some(_) => directory.join("pairbeat.toml"),
            None => directory.to_owned(),
        }
    }

    /// Writes a directory in ha.d layout, or one with a pairbeat.toml.
    pub(crate) fn write(&self, directory: &Path, key: &str) {
        std::fs::create_dir_all(directory.join("resource.d")).unwrap();
        if let Some(limit) = self.toml_limits {
            std::fs::write(directory.join("pairbeat.toml"), self.toml(limit)).unwrap();
            return secret(&directory.join("keys"), &format!("1 {key}\n"));
        }
        let line = directory.with_file_name("line");
        let ha_cf = self.ha_cf().replace("LINE", line.to_str().unwrap());
        std::fs::write(directory.join("ha.cf"), ha_cf).unwrap();
        std::fs::write(directory.join("haresources"), &self.haresources).unwrap();
        secret(&directory.join("authkeys"), &format!("auth 1\n1 sha256 {key}\n"));
    }

    /// The same as a pairbeat.toml; a word of haresources is a `script` or an `address` there.
    fn toml(&self, limit: &str) -> String {
        let mut text = String::from("[cluster]\nnodes = [\"server101\", \"server105\"]\n");
        writeln!(text, "keepalive = \"100ms\"\ndeadtime = \"{}ms\"", self.deadtime).unwrap();
        writeln!(text, "initdead = \"{}ms\"", self.initdead).unwrap();
        writeln!(text, "auto_failback = {}", self.auto_failback).unwrap();
        writeln!(text, "[[link]]\ninterface = \"{}\"", self.interface).unwrap();
        writeln!(text, "peers = [\"192.168.2.101\", \"192.168.2.105\"]").unwrap();
        for line in self.haresources.lines() {
            let mut words = line.split_whitespace();
            let preferred = words.next().unwrap();
            writeln!(text, "[[group]]\nname = \"{preferred}\"\npreferred = \"{preferred}\"")
                .unwrap();
            writeln!(text, "resources = [").unwrap();
            for word in words {
                let kind = match word.strip_suffix("/eth0") {
                    Some(address) => format!("address = \"{address}\", interface = \"eth0\""),
                    None => format!("script = \"{word}\", monitor_interval = \"1s\", restarts = 1"),
                };
                let limits = format!("start_timeout = \"{limit}\", stop_timeout = \"{limit}\"");
                writeln!(text, "  {{ {kind}, {limits} }},").unwrap();
            }
            writeln!(text, "]").unwrap();
        }
        text
    }

    fn ha_cf(&self) -> String {
        let mut text = String::new();
        let failback = if self.auto_failback { "on" } else { "off" };
        writeln!(text, "keepalive 100ms\ndeadtime {}ms", self.deadtime).unwrap();
        writeln!(text, "initdead {}ms\nauto_failback {failback}", self.initdead).unwrap();
        let addresses = if self.cable { CABLE } else { ["192.168.2.101", "192.168.2.105"] };
        for (name, address) in NAMES.iter().zip(addresses) {
            writeln!(text, "node {name}").unwrap();
            if self.links.is_none() {
                writeln!(text, "ucast {} {address}", self.interface).unwrap();
            }
        }
        text.push_str(self.links.unwrap_or_default());
        text
    }
}

/// A file that only its owner may read.
pub(crate) fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory of our own, gone when dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pairbeat-{}-t{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A pair; the order of the fields is that of the end.
pub(crate) struct Pair {
    /// server101, preferred by the first group.
    pub(crate) a: Node,
    /// server105.
    pub(crate) b: Node,
    pub(crate) lan: Lan,
    pub(crate) scratch: Scratch,
}

impl Pair {
    /// Configured, nothing runs yet.
    pub(crate) fn new(setup: &Setup) -> Self {
        let (lan, scratch) = (Lan::new(), Scratch::new());
        if setup.cable {
            lan.node.cable("eth1", &lan.other, "eth1");
            for (net, address) in [&lan.node, &lan.other].into_iter().zip(CABLE) {
                net.ip(&format!("addr add {address}/24 dev eth1"));
            }
        }
        let node = |name: &str, net: &Net| {
            let directory = scratch.0.join(name);
            setup.write(&directory.join("ha.d"), KEY);
            let config = setup.config(&directory.join("ha.d"));
            Node::new(name, Net::borrowed(net.name()), directory, config)
        };
        let [one, two] = NAMES;
        Self { a: node(one, &lan.node), b: node(two, &lan.other), lan, scratch }
    }

    /// A node's end of the serial line, which a test may lay.
    pub(crate) fn line(&self, node: &Node) -> PathBuf {
        self.scratch.0.join(&node.name).join("line")
    }

    /// Both run, each sees the other, every group is active on its preferred node.
    pub(crate) fn settled(setup: &Setup) -> Self {
        let mut pair = Self::new(setup);
        pair.start();
        pair
    }

    /// Starts both and waits until each group is active on its preferred node.
    pub(crate) fn start(&mut self) {
        self.a.start();
        self.b.start();
        for node in [&self.a, &self.b] {
            node.wait("every group where it belongs", |status| {
                status.peer() == "up"
                    && status.groups().iter().all(|group| {
                        let home = group["preferred"] == node.name.as_str();
                        group["state"] == if home { "active" } else { "standby" }
                            && group["holder"] == group["preferred"]
                    })
            });
        }
    }
}
