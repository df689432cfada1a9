//! The lease on every kind of interface that a VIP may be on, judged by a client.
//!
//! Needs root, and a kernel with bridges, VLANs and macvlan; this one need not have them all, so it runs
//! in the lab. What is missing prints SKIP, and fails when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may end at the first surprise"
)]

#[path = "common/needs.rs"]
mod needs;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/nets.rs"]
mod nets;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nets::{Net, possible, sh};
use pairbeat::kernel::lease::{self, Guarded, Lease};
use pairbeat::net::frames::{self, Mac};
use pairbeat::sys::packet::PacketSocket;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

const VIPS: [&str; 2] = ["192.168.2.110", "fd00:2::110"];
const OWN: [&str; 2] = ["192.168.2.7", "fd00:2::7"];
const LENGTH: Duration = Duration::from_millis(300);
/// An answer comes within a millisecond, or not at all.
const ANSWER: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with both VIPs on an interface of this kind, and a client on the same LAN.
struct Bench {
    node: Net,
    client: Net,
    /// The node's interface, and the client's.
    ports: [&'static str; 2],
}

/// `None` where the kernel has no such interfaces.
fn bench(kind: &str) -> Option<Bench> {
    let (node, client) = (Net::new(), Net::new());
    node.cable("eth0", &client, "eth0");
    let (make, ports) = match kind {
        "bridge" => ("br0 type bridge", ["br0", "eth0"]),
        "macvlan" => ("mv0 link eth0 type macvlan mode bridge", ["mv0", "eth0"]),
        "vlan" => ("eth0.5 link eth0 type vlan id 5", ["eth0.5", "eth0.5"]),
        _ => ("", ["eth0", "eth0"]),
    };
    if !make.is_empty() && !add(&node, make) {
        return None;
    }
    if kind == "macvlan" {
        // Otherwise the interface below answers for the addresses of the one above.
        let sysctl = "net.ipv4.conf.eth0.arp_ignore=1";
        sh(&format!("ip netns exec {} sysctl -q -w {sysctl}", node.name()));
    }
    if kind == "bridge" {
        node.ip("link set eth0 master br0");
    }
    if kind == "vlan" {
        assert!(add(&client, make));
    }
    for (net, port, own) in
        [(&node, ports[0], ["192.168.2.101", "fd00:2::101"]), (&client, ports[1], OWN)]
    {
        net.ip(&format!("link set {port} up"));
        net.ip(&format!("addr add {}/24 dev {port}", own[0]));
        net.ip(&format!("addr add {}/64 dev {port} nodad", own[1]));
    }
    node.ip(&format!("addr add {}/24 dev {}", VIPS[0], ports[0]));
    node.ip(&format!("addr add {}/64 dev {} nodad", VIPS[1], ports[0]));
    Some(Bench { node, client, ports })
}

/// Adds an interface; false when the kernel has none of its kind.
fn add(net: &Net, what: &str) -> bool {
    let words = format!("-n {} link add {what}", net.name());
    std::process::Command::new("ip").args(words.split(' ')).status().unwrap().success()
}

fn hardware(net: &Net, port: &str) -> Mac {
    let shown = net.ip(&format!("-o link show {port}"));
    let text = shown.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<u8>>().try_into().unwrap()
}

impl Bench {
    /// Whether the node answers the client's question where the VIP is (ARP, neighbour discovery).
    fn resolves(&self, vip: IpAddr) -> bool {
        let port = self.ports[1];
        let index = self.client.ip(&format!("-o link show {port}"));
        let index: u32 = index.split(':').next().unwrap().parse().unwrap();
        let own = hardware(&self.client, port);
        self.client.run(|| async move {
            let socket = PacketSocket::open(index, vip).unwrap();
            socket.send(&frames::probe(vip, own)).unwrap();
            let answer = async {
                loop {
                    let frame = socket.receive().await.unwrap();
                    if frames::claim(&frame).is_some_and(|claim| claim.ip == vip) {
                        return;
                    }
                }
            };
            timeout(ANSWER, answer).await.is_ok()
        })
    }

    /// Whether the node answers a connection to the VIP, whose place the client knows.
    fn refuses(&self, vip: IpAddr) -> bool {
        let mac = self.node.ip(&format!("-o link show {}", self.ports[0]));
        let mac = mac.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        self.client
            .ip(&format!("neigh replace {vip} lladdr {mac} dev {} nud permanent", self.ports[1]));
        self.client
            .run(|| async move { timeout(ANSWER, TcpStream::connect((vip, 7))).await.is_ok() })
    }

    /// Waits until both VIPs are all alive, or all dark.
    fn becomes(&self, alive: bool, what: &str) {
        let vips = VIPS.map(|vip| vip.parse::<IpAddr>().unwrap());
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = vips.map(|vip| (self.resolves(vip), self.refuses(vip)));
            if seen == [(alive, alive); 2] {
                return;
            }
            assert!(Instant::now() < end, "{what}: (resolves, answers) is {seen:?}, not {alive}");
        }
    }
}

#[test]
fn a_vip_is_dark_without_ticks_on_every_kind_of_interface() {
    if !possible() {
        return;
    }
    sh("nft --version");
    for kind in ["veth", "bridge", "macvlan", "vlan"] {
        let bench = bench(kind);
        if !needs::met(bench.is_some(), &format!("a kernel with {kind} interfaces")) {
            continue;
        }
        let bench = bench.unwrap();
        bench.becomes(true, kind);
        let (ticking, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let guarded: Guarded =
            VIPS.iter().map(|vip| (vip.parse().unwrap(), bench.ports[0].to_owned())).collect();
        std::thread::scope(|scope| {
            let end = End(&over);
            let _node = scope.spawn(|| bench.node.run(|| alive(&guarded, &ticking, &over)));
            bench.becomes(false, kind);
            ticking.store(true, Ordering::Relaxed);
            bench.becomes(true, kind);
            ticking.store(false, Ordering::Relaxed);
            bench.becomes(false, kind);
            drop(end);
        });
        bench.becomes(true, kind);
    }
}

/// Ends the node, also when the test has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a core does: the rules at the start, ticks while it lives, and none of it in the end.
async fn alive(guarded: &Guarded, ticking: &AtomicBool, over: &AtomicBool) {
    let tick = Lease::open(LENGTH).unwrap();
    lease::begin(guarded, (LENGTH, &BTreeSet::new())).await.unwrap();
    let mut turn = interval(tick.every());
    while !over.load(Ordering::Relaxed) {
        turn.tick().await;
        if ticking.load(Ordering::Relaxed) {
            tick.tick();
        }
    }
    lease::end().await.unwrap();
}
