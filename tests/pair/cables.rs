//! Heartbeats on a cable of their own: that cable, and the service LAN, each cut without the other.

use rustix::process::Signal;

use crate::lan::mac;
use crate::nets::{Net, possible};
use crate::node::Node;
use crate::pair::{Pair, Setup, VIP};

/// How often each cut is made: `RUNS`, else once.
fn runs() -> u32 {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// The other end of a node's cable to the LAN, the port of the bridge, goes up or down.
fn lan_port(node: &Net, port: &str, state: &str) {
    let shown = node.ip("link show eth0");
    let bridge = shown.split("link-netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Net::borrowed(bridge.unwrap()).ip(&format!("link set {port} {state}"));
}

/// Whether the client's questions for the VIP are answered by this node alone.
fn answered_by(pair: &Pair, node: &Node) -> bool {
    let ask = ["arping", "-b", "-c", "2", "-w", "1", "-I", "eth0", VIP];
    let mut question = std::process::Command::new("ip");
    question.args(["netns", "exec", pair.lan.client.name()]).args(ask);
    let heard = String::from_utf8(question.output().unwrap().stdout).unwrap().to_lowercase();
    let (all, its) = (heard.matches("reply from").count(), heard.matches(&mac(&node.net)).count());
    all > 0 && all == its
}

#[test]
fn with_the_heartbeats_cut_and_the_lan_alive_nobody_takes_over() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    for _ in 0..runs() {
        pair.lan.node.ip("link set eth1 down");
        pair.b.wait("jeopardy", |status| status.peer() == "jeopardy");
        pair.b.wait("a long silence", |status| {
            assert_eq!(status.state(0), "standby");
            status.0["peer"]["silent_ms"].as_u64() > Some(3000)
        });
        let status = pair.b.status().unwrap();
        let told = status.0["groups"][0]["jeopardy"].as_str().unwrap();
        assert!(told.contains("still serves it on the service LAN"), "{told}");
        assert!(answered_by(&pair, &pair.a) && pair.a.holds(VIP) && !pair.b.holds(VIP));
        let said = pair.b.ask(&["takeover"]);
        assert_eq!(said.code, Some(4), "{}", said.err);
        assert!(said.err.contains("still serves it on the service LAN"), "{}", said.err);
        pair.lan.node.ip("link set eth1 up");
        pair.b.wait("the peer again", |status| status.peer() == "up");
        pair.a
            .wait("the peer again", |status| status.peer() == "up" && status.state(0) == "active");
    }
    assert!(!pair.b.log().contains("starting here"), "{}", pair.b.log());
}

#[test]
fn an_owner_that_dies_in_jeopardy_is_taken_over() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::cable());
    pair.lan.node.ip("link set eth1 down");
    pair.b.wait("jeopardy", |status| status.peer() == "jeopardy");
    pair.a.crash();
    pair.b.becomes("active");
    assert!(answered_by(&pair, &pair.b));
}

#[test]
fn an_owner_that_stands_still_in_jeopardy_is_taken_over() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    pair.lan.node.ip("link set eth1 down");
    pair.b.wait("jeopardy", |status| status.peer() == "jeopardy");
    let core = pair.a.role("core").unwrap();
    pair.a.signal(core, Signal::STOP);
    pair.b.becomes("active");
    assert!(answered_by(&pair, &pair.b));
    // When it goes on, only the service LAN can tell it.
    pair.a.signal(core, Signal::CONT);
    pair.a.becomes("standby");
    assert!(answered_by(&pair, &pair.b));
}

#[test]
fn with_the_owners_lan_cut_and_the_heartbeats_alive_the_peer_has_it() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::cable());
    for _ in 0..runs() {
        let begun = tokio::time::Instant::now();
        lan_port(&pair.lan.node, "port101", "down");
        pair.b.becomes("active");
        eprintln!("the peer has it {} ms after the cut", begun.elapsed().as_millis());
        pair.a.becomes("standby");
        assert!(answered_by(&pair, &pair.b));
        let status = pair.a.status().unwrap();
        assert_eq!(status.0["groups"][0]["service_link"], "down");
        // It can't be moved to where nobody reaches it.
        assert_eq!(pair.b.ask(&["standby"]).code, Some(4));
        lan_port(&pair.lan.node, "port101", "up");
        pair.a.wait("the LAN again", |status| status.0["groups"][0]["service_link"] == "up");
        let said = pair.a.ask(&["takeover"]);
        assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
        pair.a.becomes("active");
    }
}

#[test]
fn a_node_without_a_way_to_the_clients_takes_nothing_from_a_dead_peer_until_it_has_one() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::cable());
    lan_port(&pair.lan.other, "port105", "down");
    pair.b.wait("no LAN", |status| status.0["groups"][0]["service_link"] == "down");
    pair.a.crash();
    pair.b.wait("a reason", |status| {
        status.peer() == "dead" && status.0["groups"][0]["jeopardy"].is_string()
    });
    assert_eq!(pair.b.status().unwrap().state(0), "standby");
    lan_port(&pair.lan.other, "port105", "up");
    pair.b.becomes("active");
    assert!(answered_by(&pair, &pair.b));
}
