//! Orders of operators about real servers: told to the peer, kept over everything.
//!
//! This kernel need not have IPVS: what the orders do to its table is the lab's business.

use rustix::process::Signal;

use crate::nets::possible;
use crate::node::{Node, Status};
use crate::pair::{Pair, Setup};

const DIRECTOR: &str = "[[director.web.service]]\naddress = \"192.168.2.110:80\"\ncheck = \"off\"\n\
    real = [{ address = \"10.0.1.1:80\" }, { address = \"10.0.1.2:80\", weight = 5 }]\n";

/// A pair whose nodes have a director with two real servers.
fn pair() -> Pair {
    let mut pair = Pair::new(&Setup { toml_limits: Some("30s"), ..Setup::patient() });
    for node in [&pair.a, &pair.b] {
        let text = std::fs::read_to_string(&node.config).unwrap();
        std::fs::write(&node.config, text + DIRECTOR).unwrap();
    }
    pair.start();
    pair.a.becomes("active");
    pair.b.becomes("standby");
    pair
}

/// What is ordered of the first and the second server.
fn ordered(status: &Status) -> Vec<Option<&str>> {
    let reals = status.0["virtual"][0]["real"].as_array().into_iter().flatten();
    reals.map(|real| real["ordered"].as_str()).collect()
}

fn both(pair: &Pair, what: &str, want: [Option<&str>; 2]) {
    for node in [&pair.a, &pair.b] {
        node.wait(what, |status| ordered(status) == want);
    }
}

fn order(node: &Node, words: &[&str]) {
    let said = node.ask(&[&["real"], words].concat());
    assert_eq!(said.code, Some(0), "{words:?}: {}{}", said.out, said.err);
    assert!(said.out.contains("knows it too"), "{}{}", said.out, said.err);
}

#[test]
fn an_order_is_told_to_the_peer_and_outlives_reload_restart_and_takeover() {
    if !possible() {
        return;
    }
    let pair = pair();
    order(&pair.a, &["drain", "10.0.1.1", "--deadline", "1h"]);
    order(&pair.b, &["weight", "10.0.1.2:80", "9", "--service", "192.168.2.110:80"]);
    let want = [Some("drain"), Some("weight 9")];
    both(&pair, "both orders", want);
    assert_eq!(pair.a.ask(&["reload"]).code, Some(0));
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    pair.b.becomes("active");
    both(&pair, "both orders after a reload and a restart", want);
    order(&pair.a, &["enable", "10.0.1.1"]);
    order(&pair.a, &["disable", "10.0.1.2"]);
    order(&pair.a, &["enable", "10.0.1.2:80"]);
    both(&pair, "the exception", [None, None]);
}

#[test]
fn a_node_that_was_away_learns_what_was_ordered_meanwhile() {
    if !possible() {
        return;
    }
    let mut pair = pair();
    order(&pair.a, &["drain", "10.0.1.1"]);
    order(&pair.a, &["disable", "10.0.1.2"]);
    both(&pair, "both orders", [Some("drain"), Some("disable")]);
    assert_eq!(pair.b.ask(&["stop"]).code, Some(0));
    pair.b.ended();
    let said = pair.a.ask(&["real", "enable", "10.0.1.1"]);
    assert_eq!(said.code, Some(0));
    assert!(said.err.contains("server105 does not know it yet"), "{}", said.err);
    pair.b.start();
    both(&pair, "the end of one order", [None, Some("disable")]);
}

#[test]
fn an_order_about_nothing_is_refused() {
    if !possible() {
        return;
    }
    let pair = pair();
    for (words, code, why) in [
        (["drain", "10.9.9.9", "--wait"].as_slice(), 4, "no virtual service has 10.9.9.9"),
        (&["disable", "10.0.1.1", "--service", "192.168.2.110:81"], 4, "no virtual service has"),
        (&["drain", "web1"], 2, "ADDRESS:PORT"),
        (&["weight", "10.0.1.1", "70000"], 2, "65535"),
        (&["drain", "10.0.1.1", "--deadline", "soon"], 2, "90s"),
    ] {
        let said = pair.a.ask(&[&["real"], words].concat());
        assert_eq!(said.code, Some(code), "{words:?}: {}", said.err);
        assert!(said.err.contains(why), "{words:?}: {}", said.err);
    }
    assert_eq!(ordered(&pair.a.status().unwrap()), [None, None]);
}

#[test]
fn a_server_that_is_marked_as_being_worked_on_is_out_until_the_mark_is_gone() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup { toml_limits: Some("30s"), ..Setup::patient() });
    let marks = pair.scratch.0.join("maintenance");
    std::fs::create_dir(&marks).unwrap();
    std::fs::write(marks.join("10.0.1.2:80"), "").unwrap();
    for node in [&pair.a, &pair.b] {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let own = format!("[director.web]\nmaintenance_dir = \"{}\"\n", marks.display());
        std::fs::write(&node.config, text + &own + DIRECTOR).unwrap();
    }
    pair.start();
    both(&pair, "the mark that was there", [None, Some("maintenance")]);
    std::fs::write(marks.join("10.0.1.1"), "").unwrap();
    std::fs::remove_file(marks.join("10.0.1.2:80")).unwrap();
    both(&pair, "the other mark", [Some("maintenance"), None]);
    assert_eq!(pair.a.ask(&["reload"]).code, Some(0));
    assert_eq!(ordered(&pair.a.status().unwrap()), [Some("maintenance"), None]);
}
