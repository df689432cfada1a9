//! `pairbeat realserver up` in each kind of tunnel behind a director of the kernel's IPVS.
//!
//! Needs root, ip_vs and the tunnels' modules, so it runs in the lab. What is missing prints SKIP, and fails when
//! `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/lan.rs"]
mod lan;
#[path = "common/needs.rs"]
mod needs;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/nets.rs"]
mod nets;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/prepared.rs"]
mod prepared;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::channel;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use lan::PATIENCE;
use nets::sh;
use prepared::{Rig, VIP, VIP6};

const PORT: u16 = 8080;

const MODULES: [&str; 6] = ["ip_vs", "ipip", "ip6_tunnel", "ip_gre", "ip6_gre", "fou"];

fn rig(name: &str) -> Option<Rig> {
    let there = |module: &str| {
        Command::new("modprobe").args(["-n", "-q", module]).status().is_ok_and(|it| it.success())
    };
    let all = MODULES.into_iter().all(there);
    needs::met(all, &format!("the modules {}", MODULES.join(", ")))
        .then(|| Rig::new(name))
        .flatten()
}

/// `ipvsadm` on the director.
fn ipvsadm(rig: &Rig, words: &str) {
    sh(&format!("ip netns exec {} ipvsadm {words}", rig.lan.node.name()));
}

/// What a client reads that connects to the virtual IP: both ends as the real server sees them.
fn visit(rig: &Rig, vip: &str) -> String {
    let at = SocketAddr::new(vip.parse().unwrap(), PORT);
    let (bound, is_bound) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            rig.server().run(|| async {
                let listener = TcpListener::bind(at).await.unwrap();
                bound.send(()).unwrap();
                let (mut stream, from) =
                    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
                let to = stream.local_addr().unwrap();
                let text = format!("{} to {}", from.ip(), to.ip());
                stream.write_all(text.as_bytes()).await.unwrap();
            });
        });
        is_bound.recv().unwrap();
        rig.lan.client.run(|| async {
            let visit = async {
                let mut text = String::new();
                let mut stream = TcpStream::connect(at).await.unwrap();
                stream.read_to_string(&mut text).await.unwrap();
                text
            };
            let answer = timeout(PATIENCE, visit).await;
            answer.unwrap_or_else(|_| panic!("{vip} does not answer"))
        })
    })
}

/// What the kernel keeps of a tunnel that it has made by itself.
fn without_tunnels(lines: &BTreeSet<String>) -> BTreeSet<String> {
    let of_tunnel = |line: &&String| line.contains("tunl0") || line.contains("ip6tnl0");
    lines.iter().filter(|line| !of_tunnel(line)).cloned().collect()
}

#[test]
fn what_a_director_sends_through_a_tunnel_is_served_and_only_the_director_answers() {
    let Some(rig) = rig("tunnel") else { return };
    // The strictest that distributions set.
    rig.set("all.rp_filter", "1");
    rig.set("eth0.rp_filter", "1");
    let before = rig.everything();
    for (vip, server) in [(VIP, "192.168.2.105"), (VIP6, "fd00:2::105")] {
        let bracket = |ip: &str| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let (service, server) = (bracket(vip), bracket(server));
        ipvsadm(&rig, &format!("-A -t {service}:{PORT} -s rr"));
        ipvsadm(&rig, &format!("-a -t {service}:{PORT} -r {server}:{PORT} -i"));
    }
    let said = rig.well(&format!("up --mode ipip {VIP} {VIP6}"));
    assert!(said.contains(&format!("{VIP} added to tunl0")), "{said}");
    assert!(said.contains("tunl0/rp_filter = 2"), "{said}");
    for (vip, client) in [(VIP, "192.168.2.7"), (VIP6, "fd00:2::7")] {
        assert_eq!(rig.heard(vip), rig.director());
        assert_eq!(visit(&rig, vip), format!("{client} to {vip}"));
        assert_eq!(visit(&rig, vip), format!("{client} to {vip}"));
    }
    let said = rig.well("status");
    assert!(
        said.contains("ready, ipip on tunl0") && said.contains("ready, ipip on ip6tnl0"),
        "{said}"
    );
    assert!(said.contains("asked, and it does not answer"), "{said}");

    rig.set("tunl0.rp_filter", "0");
    let (code, said, _) = rig.call("status");
    assert!(code == 1 && said.contains("tunl0/rp_filter is 0, not 2"), "{said}");
    rig.well(&format!("up --mode ipip {VIP}"));
    rig.well("down");
    assert_eq!(without_tunnels(&rig.everything()), without_tunnels(&before));

    // The devices are there now, switched off, and that is how they are left.
    let before = rig.everything();
    rig.well(&format!("up --mode ipip {VIP} {VIP6}"));
    assert_eq!(visit(&rig, VIP), format!("192.168.2.7 to {VIP}"));
    rig.well("down");
    rig.is_as(&before, "with the devices there before");
}

#[test]
fn a_change_of_mode_moves_the_address() {
    let Some(rig) = rig("mode") else { return };
    rig.well(&format!("up {VIP}"));
    rig.well(&format!("up --mode ipip {VIP}"));
    assert!(rig.server().ip("addr show dev tunl0").contains(VIP));
    assert!(!rig.server().ip("addr show dev lo").contains(VIP));
    assert_eq!(rig.heard(VIP), rig.director());
    rig.well(&format!("up {VIP}"));
    assert!(rig.server().ip("addr show dev lo").contains(VIP));
    assert!(!rig.server().ip("addr show dev tunl0").contains(VIP));
}

#[test]
fn in_every_kind_of_tunnel_both_families_are_served_and_down_takes_it_all_back() {
    let Some(rig) = rig("kinds") else { return };
    // Their devices are in every namespace from then on. Not the one for UDP: nothing of it is seen
    // before, and `up` is to load it.
    sh("modprobe -a ipip ip6_tunnel ip_gre ip6_gre");
    rig.set("all.rp_filter", "1");
    for (mode, method) in [
        ("gue", "--tun-type gue --tun-port 6080 --tun-nocsum"),
        ("gre", "--tun-type gre --tun-nocsum"),
        ("gre,csum", "--tun-type gre --tun-csum"),
    ] {
        // The kernel keeps how a device has been used: settings of the first time.
        rig.well(&format!("up --mode {mode} {VIP} {VIP6}"));
        rig.well("down");
        let before = rig.everything();
        for (service, server) in [(VIP, "192.168.2.105"), ("[fd00:2::110]", "[fd00:2::105]")] {
            ipvsadm(&rig, &format!("-A -t {service}:{PORT} -s rr"));
            ipvsadm(&rig, &format!("-a -t {service}:{PORT} -r {server}:{PORT} -i {method}"));
        }
        rig.well(&format!("up --mode {mode} {VIP} {VIP6}"));
        assert_eq!(rig.well(&format!("up --mode {mode} {VIP} {VIP6}")), "already so\n");
        for (vip, client) in [(VIP, "192.168.2.7"), (VIP6, "fd00:2::7")] {
            assert_eq!(visit(&rig, vip), format!("{client} to {vip}"), "{mode}");
        }
        let said = rig.well("status");
        assert_eq!(said.matches("  ready, ").count(), 2, "{said}");
        rig.well("down");
        rig.is_as(&before, mode);
        assert_eq!(sh(&format!("ip netns exec {} ip fou show", rig.server().name())), "", "{mode}");
        ipvsadm(&rig, "-C");
    }
}

#[test]
fn a_port_that_another_program_has_is_said_and_nothing_is_left() {
    let Some(rig) = rig("taken") else { return };
    let before = rig.everything();
    let socket = rig.server().run(|| async { std::net::UdpSocket::bind("0.0.0.0:6080").unwrap() });
    let (code, _, errors) = rig.call(&format!("up --mode gue {VIP}"));
    assert!(code == 1 && errors.contains("UDP port 6080 over IPv4: the port is taken"), "{errors}");
    assert_eq!(without_tunnels(&rig.everything()), without_tunnels(&before));
    drop(socket);
    rig.well(&format!("up --mode gue {VIP}"));
    // What `status` says when somebody closes the port.
    sh(&format!("ip netns exec {} ip fou del port 6080", rig.server().name()));
    let (code, said, _) = rig.call("status");
    assert!(code == 1 && said.contains("UDP port 6080 over IPv4 takes no GUE"), "{said}");
    rig.well("down");
}
