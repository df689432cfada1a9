//! `daemon::hands`: orders as the core gives them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use pairbeat::cluster::event::{Manner, Operation, Outcome};
use pairbeat::config::{Address, Resource, ResourceKind, Script, ScriptStyle};
use pairbeat::daemon::hands::Hands;
use pairbeat::exec::script::Surroundings;
use pairbeat::kernel::handover;
use pairbeat::names::{DirectorName, NodeName};
use tokio::time::Instant;

use crate::addresses::{on, vip};
use crate::announcements::written;
use crate::lan::{Lan, mac};
use crate::nets::{Net, possible, sh};

const PATIENCE: Duration = Duration::from_secs(10);
const VIP: &str = "192.168.2.110";
const OVERLAP: Manner = Manner::Overlap { peer: None };

fn hands() -> Hands {
    let node = NodeName::new("server101").unwrap();
    Hands::new(Surroundings { node, ha_dir: PathBuf::from("/etc/ha.d"), env: Vec::new() }).unwrap()
}

fn resource(kind: ResourceKind) -> Resource {
    let (start_timeout, stop_timeout) = (PATIENCE, PATIENCE);
    Resource { text: "as written".to_owned(), start_timeout, stop_timeout, monitor: None, kind }
}

fn address(address: Address) -> Resource {
    resource(ResourceKind::Address(address))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(why) => why,
        Outcome::Done => String::new(),
    }
}

#[test]
fn an_address_is_started_confirmed_and_stopped() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let hands = hands();
        let vip = address(vip(VIP));
        for manner in [Manner::Alone, OVERLAP] {
            assert_eq!(hands.perform(&vip, Operation::Start, manner).await, Outcome::Done);
            assert!(lan.node.ip("addr").contains("192.168.2.110/24"));
            let held = hands.held();
            let [one] = held.as_slice() else { unreachable!("{held:?}") };
            assert_eq!((one.ip, one.interface.as_str(), one.prefix), (ip(VIP), "eth0", 24));
            assert_eq!(one.confirmed.unwrap().by, ip("192.168.2.1"));
            assert_eq!((one.rival, &one.fault), (None, &None));
            assert_eq!(hands.perform(&vip, Operation::Stop, manner).await, Outcome::Done);
            assert!(!lan.node.ip("addr").contains(VIP) && hands.held().is_empty());
            assert_eq!(hands.perform(&vip, Operation::Stop, manner).await, Outcome::Done);
        }
    });
}

#[test]
fn a_silent_gateway_delays_the_start_by_a_tenth_of_a_second_and_no_more() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.gateway.ip("link set eth0 down");
    lan.node.run(|| async {
        let hands = hands();
        let begun = Instant::now();
        let outcome = hands.perform(&address(vip(VIP)), Operation::Start, Manner::Alone).await;
        assert_eq!(outcome, Outcome::Done);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(hands.held().iter().all(|one| one.confirmed.is_none()));
    });
}

#[test]
fn the_same_order_puts_back_what_somebody_else_removed_and_announces_it() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let hands = hands();
        let vip = address(vip(VIP));
        hands.perform(&vip, Operation::Start, Manner::Alone).await;
        let first = hands.held();
        hands.perform(&vip, Operation::Start, Manner::Alone).await;
        assert_eq!(hands.held(), first, "what is in order is left alone");
        lan.node.ip("addr del 192.168.2.110/24 dev eth0");
        assert_eq!(hands.perform(&vip, Operation::Start, Manner::Alone).await, Outcome::Done);
        assert!(lan.node.ip("addr").contains("192.168.2.110/24"));
        assert!(hands.held().iter().all(|one| one.confirmed.is_none()), "announced anew");
    });
}

#[test]
fn a_rival_is_noted_and_does_not_prevent_the_takeover() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.other.ip("addr add 192.168.2.110/24 dev eth0");
    lan.node.run(|| async {
        let hands = hands();
        let outcome = hands.perform(&address(vip(VIP)), Operation::Start, Manner::Alone).await;
        assert_eq!(outcome, Outcome::Done);
        let deadline = Instant::now() + PATIENCE;
        while hands.held().iter().all(|one| one.rival.is_none()) && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        let rival = hands.held().into_iter().find_map(|one| one.rival);
        assert_eq!(written(rival), mac(&lan.other));
    });
}

#[test]
fn an_interface_made_anew_is_announced_anew() {
    if !possible() {
        return;
    }
    let net = Net::new();
    net.run(|| async {
        let hands = hands();
        let vip = address(on("eth0", vip("10.0.0.9/24")));
        for _ in 0..2 {
            net.port("eth0");
            assert_eq!(hands.perform(&vip, Operation::Start, Manner::Alone).await, Outcome::Done);
            assert_eq!(hands.held().len(), 1);
            net.ip("link del eth0");
        }
        // Gone with the interface: as ordered.
        assert_eq!(hands.perform(&vip, Operation::Stop, Manner::Alone).await, Outcome::Done);
    });
}

#[test]
fn what_can_not_be_started_says_why_and_leaves_nothing() {
    if !possible() {
        return;
    }
    let net = Net::new();
    net.run(|| async {
        let hands = hands();
        let lost = address(vip("10.1.2.3"));
        let reason = why(hands.perform(&lost, Operation::Start, Manner::Alone).await);
        assert!(reason.contains("no interface has a network with 10.1.2.3"), "{reason}");
        assert!(hands.held().is_empty());
        let director = resource(ResourceKind::Director(DirectorName::new("web").unwrap()));
        let reason = why(hands.perform(&director, Operation::Start, Manner::Alone).await);
        assert!(reason.contains("director web"), "{reason}");
    });
}

#[test]
fn a_vip_configured_on_the_loopback_is_stopped_there_and_others_spare_it() {
    if !possible() {
        return;
    }
    let net = Net::new();
    net.port("eth0");
    net.run(|| async {
        let hands = hands();
        let here = address(on("lo", vip("10.0.0.9/32")));
        let there = address(on("eth0", vip("10.0.0.9/24")));
        for order in [&here, &there] {
            assert_eq!(hands.perform(order, Operation::Start, OVERLAP).await, Outcome::Done);
        }
        assert_eq!(hands.perform(&there, Operation::Stop, OVERLAP).await, Outcome::Done);
        assert!(net.ip("addr").contains("10.0.0.9/32"));
        assert_eq!(hands.perform(&here, Operation::Stop, OVERLAP).await, Outcome::Done);
        assert!(!net.ip("addr").contains("10.0.0.9"));
    });
}

#[test]
fn strays_are_swept_away() {
    if !possible() {
        return;
    }
    let net = Net::new();
    net.port("eth0");
    net.port("eth1");
    net.ip("addr add 10.0.0.1/24 dev eth0");
    net.ip("addr add 10.0.0.9/24 dev eth0");
    net.ip("addr add fd00::9/64 dev eth1");
    net.run(|| async {
        let errors = hands().sweep(&[ip("10.0.0.9"), ip("fd00::9"), ip("10.0.0.77")]).await;
        assert!(errors.is_empty(), "{errors:?}");
    });
    let left = net.ip("addr");
    assert!(left.contains("10.0.0.1/24") && !left.contains("10.0.0.9"), "{left}");
    assert!(!left.contains("fd00::9"), "{left}");
}

#[test]
fn a_script_runs_in_the_same_hands() {
    if !possible() {
        return;
    }
    Net::new().run(|| async {
        let hands = hands();
        for (path, outcome) in [("/bin/true", true), ("/bin/false", false)] {
            let (args, style) = (Vec::new(), ScriptStyle::Heartbeat);
            let script = ResourceKind::Script(Script { path: path.into(), args, style });
            for operation in [Operation::Start, Operation::Stop] {
                let result = hands.perform(&resource(script.clone()), operation, OVERLAP).await;
                assert_eq!(result == Outcome::Done, outcome, "{path} {operation:?} {result:?}");
            }
        }
    });
}

/// What a planned switch has silenced in the network namespace of a node.
fn silenced(node: &Net) -> usize {
    let rules = sh(&format!("ip netns exec {} nft list ruleset", node.name()));
    rules.matches("chain hush").count()
}

#[test]
fn what_a_switch_has_silenced_and_not_ended_is_heard_again_at_the_next_start_and_stop() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let hands = hands();
        let [four, six] = [VIP, "fd00:7::110/64"].map(|text| on("eth0", vip(text))).map(address);
        let silence = async || {
            for text in [VIP, "fd00:7::110"] {
                handover::hush(ip(text)).await.unwrap();
            }
            assert_eq!(silenced(&lan.node), 2);
        };
        for operation in [Operation::Start, Operation::Stop] {
            silence().await;
            assert_eq!(hands.perform(&four, operation, Manner::Alone).await, Outcome::Done);
            assert_eq!(silenced(&lan.node), 1, "each for itself");
            assert_eq!(hands.perform(&six, operation, Manner::Alone).await, Outcome::Done);
            assert_eq!(silenced(&lan.node), 0);
        }
        // An order that was given up half-way has perhaps been obeyed.
        let given_up = tokio::time::timeout(Duration::ZERO, handover::hush(ip(VIP))).await;
        assert!(given_up.is_err());
        assert_eq!(hands.perform(&four, Operation::Stop, Manner::Alone).await, Outcome::Done);
        assert_eq!(silenced(&lan.node), 0);
    });
}
