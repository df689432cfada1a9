//! Arbiters, fencing devices and ping nodes: who is asked before a group changes its node.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::needs::met;
use crate::nets::{Net, possible};
use crate::node::{Node, until};
use crate::pair::{CABLE, Pair, Scratch, Setup, VIP};

/// The namespace of the bridge: the other end of a node's cable is there.
fn bridge(node: &Net) -> Net {
    let shown = node.ip("link show eth0");
    let name = shown.split("link-netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Net::borrowed(name.unwrap())
}

/// More lines for the pairbeat.toml of both nodes; heartbeats go over the cable.
fn extend(pair: &Pair, lines: &str) {
    for node in [&pair.a, &pair.b] {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let text = text.replace("192.168.2.101\", \"192.168.2.105", &CABLE.join("\", \""));
        std::fs::write(&node.config, format!("{text}{lines}")).unwrap();
    }
}

fn in_toml(setup: Setup) -> Pair {
    Pair::new(&Setup { toml_limits: Some("5s"), ..setup })
}

/// An agent in the style of `fence-agents` that does what a file beside it says.
const AGENT: &str = r#"#!/bin/sh
how=$(cat "${0%/*}/how")
action=$(sed -n 's/^action=//p')
case $how/$action in
works/off) exit 0 ;;
works/status) exit 2 ;;
lies/off | lies/status) exit 0 ;;
hangs/*) exec sleep 60 ;;
*) echo '%$&!'; exit 77 ;;
esac
"#;

fn fenced_pair() -> Pair {
    let pair = in_toml(Setup::cable());
    extend(&pair, "[[fence]]\nagent = \"fence_fake\"\ntimeout = \"1s\"\n");
    for node in [&pair.a, &pair.b] {
        let directory = node.config.with_file_name("fence.d");
        std::fs::create_dir_all(&directory).unwrap();
        let agent = directory.join("fence_fake");
        std::fs::write(&agent, AGENT).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    pair
}

fn agent_does(node: &Node, how: &str) {
    std::fs::write(node.config.with_file_name("fence.d").join("how"), how).unwrap();
}

/// Waits until a fencing has failed, and says why.
fn failed(node: &Node) -> String {
    let status = node.wait("a failed fencing", |status| {
        assert_eq!(status.state(0), "standby");
        status.0["fence"]["state"] == "failed"
    });
    status.0["fence"]["why"].as_str().unwrap().to_owned()
}

#[test]
fn nothing_is_taken_before_the_peer_is_fenced_and_an_agent_that_lies_is_found_out() {
    if !possible() {
        return;
    }
    let mut pair = fenced_pair();
    agent_does(&pair.b, "lies");
    pair.start();
    pair.a.crash();
    let why = failed(&pair.b);
    assert!(why.contains("it is on"), "{why}");
    assert!(!pair.b.holds(VIP));
    let said = pair.b.ask(&["takeover"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(said.err.contains("has not been fenced"), "{}", said.err);
    agent_does(&pair.b, "works");
    let status = pair.b.becomes("active");
    assert_eq!(status.0["fence"]["state"], "done");
    assert!(pair.b.holds(VIP));
}

#[test]
fn where_the_agent_hangs_an_operator_can_answer_for_it_but_not_while_the_peer_is_heard() {
    if !possible() {
        return;
    }
    let mut pair = fenced_pair();
    agent_does(&pair.b, "hangs");
    pair.start();
    let said = pair.b.ask(&["confirm-dead", "--yes"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(said.err.contains("is heard"), "{}", said.err);
    pair.a.crash();
    failed(&pair.b);
    let said = pair.b.ask(&["confirm-dead"]);
    assert_eq!(said.code, Some(4), "nobody typed the name: {}", said.err);
    assert_eq!(pair.b.status().unwrap().state(0), "standby");
    let said = pair.b.ask(&["confirm-dead", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    pair.b.becomes("active");
    assert!(pair.b.holds(VIP));
}

/// A real etcd in a namespace of its own, with a cable to each node.
struct Etcd {
    child: Child,
    _net: Net,
    place: Scratch,
}

const ETCD: [(&str, &str); 2] = [("10.9.1.1", "10.9.1.2"), ("10.9.2.1", "10.9.2.2")];

impl Etcd {
    fn start(pair: &Pair) -> Self {
        let (net, place) = (Net::new(), Scratch::new());
        let mut urls = String::new();
        for (place, (node, (mine, its))) in [&pair.a, &pair.b].iter().zip(ETCD).enumerate() {
            net.cable(&format!("n{place}"), &node.net, "eth2");
            net.ip(&format!("addr add {mine}/24 dev n{place}"));
            node.net.ip(&format!("addr add {its}/24 dev eth2"));
            let comma = if urls.is_empty() { "" } else { "," };
            write!(urls, "{comma}http://{mine}:2379").unwrap();
            let text = std::fs::read_to_string(&node.config).unwrap();
            let arbiter = format!(
                "[[arbiter]]\nkind = \"etcd\"\naddresses = [\"{mine}:2379\"]\nlease = \"3s\"\n"
            );
            std::fs::write(&node.config, format!("{text}{arbiter}")).unwrap();
        }
        let log = std::fs::File::create(place.0.join("log")).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", net.name(), "etcd", "--data-dir"]).arg(place.0.join("data"));
        command.args(["--listen-client-urls", &urls, "--advertise-client-urls", &urls]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let etcd = Self { child: child.unwrap(), _net: net, place };
        let read = || std::fs::read_to_string(etcd.place.0.join("log")).unwrap_or_default();
        let ready = until(|| read().contains("ready to serve client requests").then_some(()));
        assert!(ready.is_some(), "etcd does not start\n{}", read());
        etcd
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn etcd_possible() -> bool {
    let there = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
    met(there, "etcd (package etcd-server)") && possible()
}

#[test]
fn with_every_link_and_the_lan_between_them_cut_etcd_keeps_the_owner_and_only_it() {
    if !etcd_possible() {
        return;
    }
    let mut pair = in_toml(Setup::cable());
    extend(&pair, "");
    let _etcd = Etcd::start(&pair);
    pair.start();
    pair.a.wait("the lease", |status| status.0["groups"][0]["arbiters"][0]["answer"] == "granted");
    // Both keep their carriers: the switch lets neither reach the other.
    let bridge = bridge(&pair.lan.node);
    for port in ["port101", "port105"] {
        crate::nets::sh(&format!(
            "ip netns exec {} bridge link set dev {port} isolated on",
            bridge.name()
        ));
    }
    pair.lan.node.ip("link set eth1 down");
    pair.b.wait("etcd's no", |status| {
        status.0["groups"][0]["arbiters"][0]["answer"]["held"] == pair.a.name.as_str()
    });
    pair.b.wait("a silence longer than the lease", |status| {
        assert_eq!(status.state(0), "standby");
        status.0["peer"]["silent_ms"].as_u64() > Some(5000)
    });
    assert!(pair.a.holds(VIP) && !pair.b.holds(VIP));
    assert_eq!(pair.a.status().unwrap().state(0), "active");
    let said = pair.b.ask(&["explain"]);
    assert!(said.out.contains("etcd holds it for server101"), "{}", said.out);
    // The owner's own way to etcd is cut: it lets go before the other one is granted it.
    pair.lan.node.ip("link set eth2 down");
    pair.b.becomes("active");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
    let status = pair.a.becomes("standby");
    assert!(status.0["groups"][0]["jeopardy"].as_str().unwrap().contains("can't be reached"));
}

#[test]
fn with_ipfail_a_switch_that_is_dead_behind_a_live_port_moves_the_group() {
    if !possible() {
        return;
    }
    let links = "ucast eth1 10.0.0.1\nucast eth1 10.0.0.2\nping 192.168.2.1\ndeadping 500ms\n\
                 respawn root /usr/lib/heartbeat/ipfail\n";
    let pair = Pair::settled(&Setup { links: Some(links), ..Setup::cable() });
    for node in [&pair.a, &pair.b] {
        node.wait("the ping node", |status| {
            status.0["reach"]["mine"] == 1 && status.0["reach"]["theirs"] == 1
        });
    }
    bridge(&pair.lan.node).ip("link set port101 nomaster");
    pair.b.becomes("active");
    let status = pair.a.becomes("standby");
    assert_eq!(status.0["reach"]["mine"], 0);
    assert!(pair.b.holds(VIP) && !pair.a.holds(VIP));
}
