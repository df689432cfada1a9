//! What Heartbeat is known to fail at, where no other test has it: `docs/HEARTBEAT.md` has the whole
//! list.

use std::time::Duration;

use crate::client::{self, NO_OUTAGE, station};
use crate::lan::{learned, mac};
use crate::nets::{Net, possible};
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};

/// The bridge that is the LAN.
pub(crate) fn bridge(pair: &Pair) -> Net {
    let shown = pair.lan.node.ip("link show eth0");
    let name = shown.split("link-netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Net::borrowed(name.unwrap())
}

/// Splits the LAN between the nodes, and it alone: both still reach the client.
pub(crate) fn split(pair: &Pair, state: &str) {
    for port in ["port101", "port105"] {
        bridge(pair).ip(&format!("link set {port} type bridge_slave isolated {state}"));
    }
}

/// Waits until neither knows of the other.
pub(crate) fn strangers(pair: &Pair) {
    for node in [&pair.a, &pair.b] {
        node.wait("a dead peer", |status| status.peer() != "up");
    }
}

/// Waits until both know each other and one of them, alone, is active; it.
pub(crate) fn reunited(pair: &Pair) -> &Node {
    let nodes = [&pair.a, &pair.b];
    let keeper = until(|| {
        let statuses = [pair.a.status()?, pair.b.status()?];
        let up = statuses.iter().all(|status| status.peer() == "up");
        let active = [statuses[0].state(0) == "active", statuses[1].state(0) == "active"];
        let other = statuses.iter().any(|status| status.state(0) == "standby");
        (up && other).then_some(())?;
        match active {
            [true, false] => Some(nodes[0]),
            [false, true] => Some(nodes[1]),
            _ => None,
        }
    });
    keeper.unwrap_or_else(|| {
        unreachable!("{:?}\n{:?}", pair.a.status(), pair.b.status());
    })
}

#[test]
fn a_healed_split_costs_the_clients_of_the_keeper_nothing_and_it_announces_again() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    split(&pair, "on");
    pair.b.becomes("active");
    strangers(&pair);
    // The gateway believes the one that will lose; nothing but an announcement tells it better.
    let loser = mac(&pair.a.net);
    pair.lan.gateway.ip(&format!("neigh replace {VIP} lladdr {loser} dev eth0 nud reachable"));
    let seen = client::watches(&pair, || {
        client::lasts(Duration::from_millis(500));
        split(&pair, "off");
        let keeper = reunited(&pair);
        assert_eq!(keeper.name, pair.b.name, "the higher epoch keeps it");
        learned(&pair.lan.gateway, VIP, &mac(&keeper.net));
    });
    assert!(seen.gap(&pair.b) < NO_OUTAGE, "{:?}", seen.gap(&pair.b));
    assert_eq!(seen.holders().last(), Some(&station(&pair.b)));
    client::alone(&pair, &pair.b, || client::lasts(Duration::from_millis(500)));
    assert!(!pair.a.holds(VIP));
    // It neither stopped nor started anything for it.
    assert_eq!(pair.b.log().matches("starting here").count(), 1, "{}", pair.b.log());
}

#[test]
fn two_that_boot_together_serve_long_before_any_fixed_wait() {
    if !possible() {
        return;
    }
    // Here initdead and deadtime are twenty seconds, and nobody waits longer than ten.
    let pair = Pair::settled(&Setup::patient());
    client::alone(&pair, &pair.a, || client::lasts(Duration::from_millis(100)));
}
