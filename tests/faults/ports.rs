//! Interfaces that go away, come back, change their name, and addresses that others touch.

use std::time::Duration;

use crate::client::{self, lasts, station};
use crate::heartbeat::{bridge, reunited};
use crate::lan::{PATIENCE, mac};
use crate::nets::{Net, possible, sh};
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};

/// Any interface of a node that has the virtual IP.
fn held_anywhere(node: &Node) -> bool {
    node.net.ip("-o address show").contains(&format!(" {VIP}/"))
}

/// The first node takes the group back and keeps it. It may have to ask again: its interface is
/// looked at a few times a second.
fn can_take_over(pair: &Pair) {
    let kept = until(|| {
        pair.a.ask(&["takeover"]);
        lasts(Duration::from_millis(500));
        pair.a.status().filter(|status| status.state(0) == "active")
    });
    assert!(kept.is_some(), "{}", pair.a.log());
    client::alone(pair, &pair.a, || lasts(Duration::from_millis(300)));
}

/// The owner's service interface goes away by one of these, comes back, and can be used again.
fn goes_and_returns(away: &[&str], back: &[&str]) {
    let pair = Pair::settled(&Setup::cable());
    let seen = client::watches(&pair, || {
        away.iter().for_each(|words| drop(pair.a.net.ip(words)));
        pair.b.becomes("active");
        pair.a.becomes("standby");
    });
    assert!(seen.outage() < PATIENCE);
    client::alone(&pair, &pair.b, || lasts(Duration::from_millis(300)));
    assert!(!held_anywhere(&pair.a), "{}", pair.a.log());
    client::alone(&pair, &pair.b, || {
        back.iter().for_each(|words| drop(pair.a.net.ip(words)));
        pair.a.wait("the LAN", |status| status.0["groups"][0]["service_link"] == "up");
    });
    can_take_over(&pair);
}

#[test]
fn a_service_interface_that_is_set_down_goes_to_the_peer_and_can_return() {
    if possible() {
        let route = "route add default via 192.168.2.1";
        goes_and_returns(&["link set eth0 down"], &["link set eth0 up", route]);
    }
}

#[test]
fn a_renamed_service_interface_keeps_no_address_when_the_peer_takes_over() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    // The address goes along, and is served under the new name until somebody wants it elsewhere.
    for words in ["link set eth0 down", "link set eth0 name old0", "link set old0 up"] {
        pair.a.net.ip(words);
    }
    pair.a.logs("there is no interface eth0");
    let said = pair.b.ask(&["takeover"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    pair.b.becomes("active");
    pair.a.becomes("standby");
    client::alone(&pair, &pair.b, || lasts(Duration::from_millis(300)));
    assert!(!held_anywhere(&pair.a), "{}", pair.a.log());
    for words in ["link set old0 down", "link set old0 name eth0", "link set eth0 up"] {
        pair.a.net.ip(words);
    }
    can_take_over(&pair);
}

#[test]
fn a_service_interface_that_is_deleted_and_made_anew_goes_to_the_peer_and_can_return() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    pair.a.net.ip("link del eth0");
    pair.b.becomes("active");
    pair.a.becomes("standby");
    client::alone(&pair, &pair.b, || {
        let lan = bridge_of(&pair.b.net);
        pair.a.net.cable("eth0", &lan, "port101");
        lan.ip("link set port101 master lan");
        pair.a.net.ip("addr add 192.168.2.101/24 dev eth0");
        pair.a.wait("the LAN", |status| status.0["groups"][0]["service_link"] == "up");
    });
    can_take_over(&pair);
}

/// The bridge at the other end of a node's interface.
fn bridge_of(net: &Net) -> Net {
    let shown = net.ip("link show eth0");
    let name = shown.split("link-netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Net::borrowed(name.unwrap())
}

#[test]
fn a_carrier_that_flaps_ten_times_a_second_moves_the_group_a_few_times_at_most() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    let lan = bridge(&pair);
    for _ in 0..30 {
        for state in ["down", "up"] {
            lan.ip(&format!("link set port101 {state}"));
            lasts(Duration::from_millis(50));
        }
    }
    let keeper = reunited(&pair);
    client::alone(&pair, keeper, || lasts(Duration::from_millis(500)));
    let moves = pair.a.log().matches("starting here").count()
        + pair.b.log().matches("starting here").count();
    // The first start, and what damping allows.
    assert!(moves <= 1 + 4, "{moves} starts\n{}\n{}", pair.a.log(), pair.b.log());
}

#[test]
fn a_change_of_mtu_disturbs_nobody() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    client::alone(&pair, &pair.a, || {
        // The least of IPv4: a beat goes in pieces.
        for (port, mtu) in [("eth1", 68), ("eth0", 576), ("eth1", 1500), ("eth0", 1500)] {
            for node in [&pair.a, &pair.b] {
                node.net.ip(&format!("link set {port} mtu {mtu}"));
            }
            lasts(Duration::from_secs(1));
        }
    });
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.status().unwrap().peer(), "up");
        assert!(!node.log().contains("is dead"), "{}", node.log());
    }
}

#[test]
fn a_vip_that_falls_with_all_other_addresses_is_back_while_a_thousand_changes_go_on() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    let changes: String = (1..=500)
        .map(|n| {
            let address = format!("10.9.{}.{}/32 dev lo", n / 250, n % 250 + 1);
            format!("address add {address}\naddress del {address}\n")
        })
        .collect();
    let batch = pair.scratch.0.join("changes");
    std::fs::write(&batch, changes).unwrap();
    let batch = format!("ip -n {} -batch {}", pair.a.net.name(), batch.display());
    let seen = client::watches(&pair, || {
        std::thread::scope(|scope| {
            scope.spawn(|| sh(&batch));
            pair.a.net.ip("address flush dev eth0");
            assert!(until(|| pair.a.holds(VIP).then_some(())).is_some(), "{}", pair.a.log());
            sh(&batch);
        });
    });
    assert_eq!(seen.holders(), [station(&pair.a)]);
    assert_eq!(pair.b.status().unwrap().state(0), "standby");
}

#[test]
fn a_vip_of_ipv6_is_usable_at_once_although_another_host_claims_it() {
    if !possible() {
        return;
    }
    let vip = "fd00:2::110";
    let haresources = format!("server101 {vip}/64/eth0\n");
    let mut pair = Pair::new(&Setup { haresources, toml_limits: Some("5s"), ..Setup::default() });
    pair.lan.client.ip(&format!("address add {vip}/64 dev eth0 nodad"));
    for node in [&pair.a, &pair.b] {
        sh(&format!(
            "ip netns exec {} sysctl -qw net.ipv6.conf.eth0.accept_dad=2",
            node.net.name()
        ));
    }
    pair.start();
    let shown = pair.a.net.ip(&format!("-6 -o address show dev eth0 to {vip}"));
    assert!(!shown.contains("tentative") && !shown.contains("dadfailed"), "{shown}");
    let claimed = format!("ALSO CLAIMED by {}", mac(&pair.lan.client));
    pair.a.wait("a rival", |status| status.notes(0).contains(&claimed));
}
