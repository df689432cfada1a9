//! Heartbeats that get lost, in one direction or both, while everything else works.

use std::time::Duration;

use crate::client::{self, lasts};
use crate::heartbeat::{reunited, split, strangers};
use crate::nets::{Net, possible, sh};
use crate::node::Node;
use crate::pair::{Pair, Setup, VIP};

/// What one node loses of what comes in on the heartbeat port, as a rule of nftables.
fn lose(net: &Net, rule: &str) {
    let nft = |words: &str| sh(&format!("ip netns exec {} nft {words}", net.name()));
    nft("add table inet faults");
    nft("add chain inet faults in { type filter hook input priority 0 ; }");
    nft(&format!("add rule inet faults in udp dport 694 {rule} drop"));
}

fn lose_nothing(net: &Net) {
    sh(&format!("ip netns exec {} nft delete table inet faults", net.name()));
}

/// Fifteen beats in a deadtime: what is asked here is not how few are enough.
fn setup() -> Setup {
    Setup { deadtime: 1500, initdead: 3000, ..Setup::default() }
}

/// A role changed hands, or somebody was called dead.
fn disturbed(node: &Node) -> bool {
    let log = node.log();
    log.contains("is dead") || log.matches("starting here").count() > 1
}

#[test]
fn a_third_of_all_heartbeats_lost_both_ways_kills_nobody() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&setup());
    for node in [&pair.a, &pair.b] {
        lose(&node.net, "numgen random mod 100 < 33");
    }
    client::alone(&pair, &pair.a, || {
        pair.b.wait("losses", |status| {
            assert_eq!(status.peer(), "up");
            status.0["links"][0]["lost"].as_u64() > Some(5)
        });
        lasts(Duration::from_secs(3));
    });
    assert!(!disturbed(&pair.a) && !disturbed(&pair.b), "{}\n{}", pair.a.log(), pair.b.log());
}

#[test]
fn with_most_heartbeats_lost_the_lan_decides_and_nobody_takes_over() {
    if !possible() {
        return;
    }
    // Nine of ten, five to a deadtime: silences longer than that come all the time.
    let pair = Pair::settled(&Setup::cable());
    for node in [&pair.a, &pair.b] {
        lose(&node.net, "numgen random mod 100 < 90");
    }
    client::alone(&pair, &pair.a, || {
        pair.b.wait("jeopardy", |status| status.peer() == "jeopardy");
        lasts(Duration::from_secs(3));
    });
    for node in [&pair.a, &pair.b] {
        lose_nothing(&node.net);
    }
    assert_eq!(reunited(&pair).name, pair.a.name);
    assert!(!pair.b.log().contains("starting here"), "{}", pair.b.log());
}

#[test]
fn bursts_of_loss_shorter_than_the_deadtime_are_a_warning_and_nothing_more() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup { deadtime: 4000, initdead: 8000, ..Setup::default() });
    client::alone(&pair, &pair.a, || {
        for _ in 0..3 {
            lose(&pair.b.net, "");
            pair.b.wait("a late heartbeat", |status| {
                status.0["warnings"].to_string().contains("late heartbeat")
            });
            lose_nothing(&pair.b.net);
            pair.b
                .wait("a heartbeat", |status| status.0["peer"]["silent_ms"].as_u64() < Some(1000));
        }
    });
    assert!(!disturbed(&pair.a) && !disturbed(&pair.b), "{}\n{}", pair.a.log(), pair.b.log());
}

#[test]
fn a_standby_that_is_deaf_on_the_heartbeat_links_asks_the_lan_and_takes_nothing() {
    one_way(|pair| &pair.b);
}

#[test]
fn an_owner_that_is_deaf_on_the_heartbeat_links_goes_on_to_serve() {
    one_way(|pair| &pair.a);
}

/// Heartbeats arrive at the other node only, on a cable of their own.
fn one_way(deaf: fn(&Pair) -> &Node) {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    client::alone(&pair, &pair.a, || {
        lose(&deaf(&pair).net, "");
        deaf(&pair).wait("a silent peer", |status| status.peer() != "up");
        deaf(&pair)
            .wait("a reason", |status| status.0["warnings"].to_string().contains("no redundancy"));
        lasts(Duration::from_secs(1));
        lose_nothing(&deaf(&pair).net);
        assert_eq!(reunited(&pair).name, pair.a.name);
    });
    assert!(!pair.b.log().contains("starting here"), "{}", pair.b.log());
}

#[test]
fn a_one_way_split_of_lan_and_links_ends_with_one_holder_when_it_heals() {
    if !possible() {
        return;
    }
    for (from, to) in [("port101", "port105"), ("port105", "port101")] {
        let pair = Pair::settled(&Setup::default());
        let bridge = crate::heartbeat::bridge(&pair);
        let nft = |words: &str| sh(&format!("ip netns exec {} nft {words}", bridge.name()));
        let seen = client::watches(&pair, || {
            nft("add table bridge faults");
            nft("add chain bridge faults over { type filter hook forward priority 0 ; }");
            nft(&format!("add rule bridge faults over iifname {from} oifname {to} drop"));
            let deaf = if from == "port101" { &pair.b } else { &pair.a };
            deaf.wait("a silent peer", |status| status.peer() != "up");
            lasts(Duration::from_secs(1));
            nft("delete table bridge faults");
            reunited(&pair);
        });
        assert!(seen.outage() < client::NO_OUTAGE, "{from}: {:?}", seen.outage());
        let keeper = reunited(&pair);
        client::alone(&pair, keeper, || lasts(Duration::from_millis(500)));
        let both = [pair.a.holds(VIP), pair.b.holds(VIP)];
        assert_eq!(both.iter().filter(|held| **held).count(), 1, "{from}");
    }
}

#[test]
fn twenty_splits_that_heal_leave_one_holder_each_time() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let mut before = 0;
    for cycle in 1..=20 {
        split(&pair, "on");
        strangers(&pair);
        split(&pair, "off");
        let keeper = reunited(&pair);
        let epoch = keeper.status().unwrap().groups()[0]["epoch"].as_u64().unwrap();
        assert!(epoch >= before, "cycle {cycle}: epoch {epoch} after {before}");
        before = epoch;
        let other = if keeper.name == pair.a.name { &pair.b } else { &pair.a };
        assert!(keeper.holds(VIP) && !other.holds(VIP), "cycle {cycle}");
    }
    let keeper = reunited(&pair);
    client::alone(&pair, keeper, || lasts(Duration::from_millis(500)));
}
