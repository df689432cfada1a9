//! The lease of the VIPs, while others change the rules and the interfaces that it stands on.

use crate::nets::{Net, possible, sh};
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};
use crate::prober;

/// A ruleset as Debian's nftables.service loads it at each start and reload.
const OPERATORS: &str = "flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy accept;
    ip saddr 203.0.113.7 drop
  }
}
";

/// In the node's namespace; the answer.
fn nft(node: &Node, arguments: &str) -> String {
    sh(&format!("ip netns exec {} nft {arguments}", node.net.name()))
}

/// Waits until every VIP of the node has this guard.
fn guarded(node: &Node, kind: &str) {
    node.wait(kind, |status| {
        let guards = status.0["guards"].as_array().unwrap();
        !guards.is_empty() && guards.iter().all(|guard| guard["kind"] == kind)
    });
}

/// Whether the rules are whole.
fn gated(node: &Node) -> bool {
    let tables = nft(node, "list ruleset");
    ["chain gate0", "chain tick", "@alive4 drop"].iter().all(|part| tables.contains(part))
}

/// How many questions for the VIP were not answered. The last answer may be on its way: it is not
/// missed.
fn unanswered(pair: &Pair, during: impl FnOnce() + Send) -> usize {
    let (questions, answers) = prober::asked(&pair.lan.client, VIP, during);
    assert!(questions > 10, "asked only {questions} times");
    (questions - 1).saturating_sub(answers.len())
}

/// Kills the node and waits until it is dark; its peer does not run.
fn goes_dark(pair: &mut Pair) {
    pair.a.crash();
    assert!(pair.a.holds(VIP), "the address is still there");
    let heard = || prober::ask(&pair.lan.client, VIP, || std::thread::park_timeout(PAUSE)).len();
    assert!(until(|| (heard() == 0).then_some(())).is_some(), "it goes on to answer");
}

const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Alone, with its group, on a lease that would show a moment without ticks.
fn alone() -> Pair {
    let mut pair = Pair::new(&Setup { deadtime: 2000, initdead: 2000, ..Setup::cable() });
    pair.a.start();
    pair.a.becomes("active");
    guarded(&pair.a, "lease");
    pair
}

#[test]
fn an_operators_ruleset_takes_the_lease_away_for_a_moment_and_no_answer_at_all() {
    if !possible() {
        return;
    }
    let mut pair = alone();
    let file = pair.scratch.0.join("nftables.conf");
    std::fs::write(&file, OPERATORS).unwrap();
    let lost = unanswered(&pair, || {
        for _ in 0..3 {
            nft(&pair.a, &format!("-f {}", file.display()));
            let back = until(|| gated(&pair.a).then_some(()));
            assert!(back.is_some(), "{}\n{}", nft(&pair.a, "list ruleset"), pair.a.log());
        }
    });
    assert_eq!(lost, 0);
    assert!(nft(&pair.a, "list ruleset").contains("203.0.113.7"), "the operator's rules stay");
    pair.a.logs("the rules of the VIP lease were gone or changed");
    goes_dark(&mut pair);
}

#[test]
fn a_rule_of_the_lease_that_somebody_deletes_is_put_back() {
    if !possible() {
        return;
    }
    let pair = alone();
    let log = |times: usize| pair.a.log().matches("were gone or changed").count() == times;
    let vandalism =
        ["flush chain netdev pairbeat_lease gate0", "delete table netdev pairbeat_lease"];
    for (times, vandalism) in (1..).zip(vandalism) {
        nft(&pair.a, vandalism);
        assert!(until(|| log(times).then_some(())).is_some(), "{vandalism}");
        assert!(gated(&pair.a), "{vandalism}");
    }
}

/// Removes the node's interface on the LAN.
fn unplug(node: &Node) -> Net {
    let shown = node.net.ip("link show eth0");
    let bridge = shown.split("link-netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let bridge = Net::borrowed(bridge.unwrap());
    node.net.ip("link del eth0");
    bridge
}

/// Makes it anew, with its network.
fn plug(node: &Node, bridge: &Net, number: u32) {
    node.net.cable("eth0", bridge, &format!("port{number}"));
    bridge.ip(&format!("link set port{number} master lan"));
    node.net.ip(&format!("addr add 192.168.2.{number}/24 dev eth0"));
}

#[test]
fn an_interface_that_comes_after_the_start_or_is_made_anew_is_guarded() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::cable());
    let bridge = unplug(&pair.a);
    pair.a.start();
    guarded(&pair.a, "none");
    let why = pair.a.status().unwrap().0["guards"][0]["why"].clone();
    assert!(why.as_str().unwrap().contains("there is no interface eth0"), "{why}");
    plug(&pair.a, &bridge, 101);
    guarded(&pair.a, "lease");
    for _ in 0..2 {
        let bridge = unplug(&pair.a);
        guarded(&pair.a, "none");
        plug(&pair.a, &bridge, 101);
        guarded(&pair.a, "lease");
    }
    pair.a.ask(&["takeover"]);
    pair.a.becomes("active");
    assert!(until(|| pair.a.holds(VIP).then_some(())).is_some());
    assert!(gated(&pair.a));
    goes_dark(&mut pair);
}
