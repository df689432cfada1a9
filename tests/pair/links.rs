//! Every kind of heartbeat link, alone and beside others, and what happens to interfaces.

use crate::nets::possible;
use crate::node::{Node, Status};
use crate::pair::{CABLE, Pair, Setup};

/// Both nodes are on `eth0` and on a cable of their own, `eth1`.
fn setup(links: &'static str) -> Setup {
    Setup { links: Some(links), ..Setup::cable() }
}

fn is_up(status: &Status, link: usize) -> bool {
    status.link(link, "state") == "up"
}

/// Nothing but what a node says before the other knows it.
fn nothing_is_refused(node: &Node) {
    let status = node.status().unwrap();
    let refused = status.0["refused"].as_object().unwrap();
    let other: Vec<_> = refused
        .iter()
        .filter(|(why, count)| *why != "no proof of freshness" && **count != 0)
        .collect();
    assert!(other.is_empty(), "{}: {other:?}", node.name);
}

#[test]
fn a_pair_lives_on_each_kind_of_link_alone() {
    if !possible() {
        return;
    }
    for (kind, links) in [
        ("bcast", "bcast eth1\n"),
        ("mcast", "mcast eth1 239.0.0.42 694 1 0\n"),
        ("mcast", "mcast eth1 239.0.0.42 1694 2 1\n"),
        ("mcast", "mcast6 eth0 ff02::694 694 1 0\n"),
        ("ucast", "ucast6 eth0 fd00:2::101\nucast6 eth0 fd00:2::105\n"),
    ] {
        let pair = Pair::settled(&setup(links));
        for node in [&pair.a, &pair.b] {
            let status = node.wait("a round-trip time", |status| {
                is_up(status, 0) && status.link(0, "rtt_us").is_u64()
            });
            assert_eq!(status.link(0, "kind"), kind, "{links}");
            assert!(status.link(0, "silent_ms").is_u64() && status.link(0, "error").is_null());
            assert!(status.link(0, "sent").as_u64() > Some(0));
            assert_eq!(status.0["links"].as_array().unwrap().len(), 1);
            nothing_is_refused(node);
        }
    }
}

#[test]
fn links_of_every_kind_share_an_interface_and_a_port_and_do_not_mix() {
    if !possible() {
        return;
    }
    let all = "bcast eth0\nucast eth0 192.168.2.101\nucast eth0 192.168.2.105\n\
        mcast eth0 239.0.0.42 694 1 0\nmcast6 eth0 ff02::694 694 1 0\nbcast eth1\n";
    let pair = Pair::settled(&setup(all));
    for node in [&pair.a, &pair.b] {
        node.wait("every link", |status| (0..5).all(|link| is_up(status, link)));
        nothing_is_refused(node);
    }
}

#[test]
fn one_link_that_fails_moves_nothing_and_comes_back_by_itself() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&setup("bcast eth1\nmcast eth0 239.0.0.42 694 1 0\n"));
    for node in [&pair.a, &pair.b] {
        node.wait("both links", |status| is_up(status, 0) && is_up(status, 1));
    }
    let undisturbed = |node: &Node, state: &str, up: bool| {
        let status = node.wait("the link", |status| is_up(status, 0) == up);
        assert_eq!((status.peer(), status.state(0)), ("up", state));
        assert!(is_up(&status, 1));
    };
    for _ in 0..2 {
        pair.lan.node.ip("link set eth1 down");
        undisturbed(&pair.a, "active", false);
        undisturbed(&pair.b, "standby", false);
        pair.lan.node.ip("link set eth1 up");
        undisturbed(&pair.a, "active", true);
        undisturbed(&pair.b, "standby", true);
    }
}

#[test]
fn an_interface_that_is_deleted_and_made_anew_is_used_again() {
    if !possible() {
        return;
    }
    let links = "bcast eth1\nmcast eth1 239.0.0.42 694 1 0\nucast eth1 10.0.0.1\n\
        ucast eth1 10.0.0.2\nucast eth0 192.168.2.101\nucast eth0 192.168.2.105\n";
    let pair = Pair::settled(&setup(links));
    for _ in 0..2 {
        for node in [&pair.a, &pair.b] {
            node.wait("every link", |status| (0..4).all(|link| is_up(status, link)));
        }
        pair.lan.node.ip("link del eth1");
        pair.a.wait("a reason", |status| {
            let error = status.link(0, "error").as_str().unwrap_or_default();
            error.contains("there is no interface eth1")
        });
        pair.b.wait("no cable", |status| (0..3).all(|link| !is_up(status, link)));
        assert_eq!(pair.b.status().unwrap().peer(), "up");
        pair.lan.node.cable("eth1", &pair.lan.other, "eth1");
        for (net, address) in [&pair.lan.node, &pair.lan.other].into_iter().zip(CABLE) {
            net.ip(&format!("addr add {address}/24 dev eth1"));
        }
    }
    for node in [&pair.a, &pair.b] {
        node.wait("every link", |status| (0..4).all(|link| is_up(status, link)));
    }
}

#[test]
fn an_address_may_come_late_and_change() {
    if !possible() {
        return;
    }
    let links = "bcast eth1\nmcast eth1 239.0.0.42 694 1 0\nucast eth1 10.0.0.1\n\
        ucast eth1 10.0.0.2\nucast eth0 192.168.2.101\nucast eth0 192.168.2.105\n";
    let mut pair = Pair::new(&setup(links));
    pair.lan.node.ip("addr flush dev eth1");
    pair.start();
    pair.a.wait("the LAN", |status| is_up(status, 3) && !is_up(status, 2));
    for address in ["10.0.0.1", "10.0.0.77", "10.0.0.1"] {
        pair.lan.node.ip("addr flush dev eth1");
        pair.lan.node.ip(&format!("addr add {address}/24 dev eth1"));
        for node in [&pair.a, &pair.b] {
            node.wait("the LAN", |status| [0, 1, 3].iter().all(|link| is_up(status, *link)));
        }
        // The unicast link goes to an address: it comes back when that does.
        let there = address == "10.0.0.1";
        pair.a.wait("the unicast link", |status| is_up(status, 2) == there);
    }
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.status().unwrap().peer(), "up");
    }
}

#[test]
fn a_link_whose_interface_is_missing_at_the_start_waits_for_it() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&setup("bcast eth1\nbcast eth7\n"));
    pair.start();
    let status = pair.a.wait("a picture", |status| is_up(status, 0));
    assert_eq!(status.link(1, "state"), "down");
    pair.a.logs("there is no interface eth7; it is tried again");
    pair.lan.node.cable("eth7", &pair.lan.other, "eth7");
    for node in [&pair.a, &pair.b] {
        node.wait("the second link", |status| is_up(status, 1));
    }
}
