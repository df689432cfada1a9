//! Names: what cl_status says of them, and two nodes that have the same.

use std::os::unix::fs::symlink;

use crate::nets::possible;
use crate::node::BINARY;
use crate::pair::{Pair, Setup};

#[test]
fn cl_status_answers_in_the_words_and_with_the_codes_of_heartbeat() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::patient());
    let program = pair.scratch.0.join("cl_status");
    symlink(BINARY, &program).unwrap();
    let asked = |pair: &Pair, words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        let said = pair.a.ask_as(&program, &words);
        (said.code.unwrap(), said.out)
    };
    for (words, code, out) in [
        ("hbstatus", 0, "Heartbeat is running on this machine.\n"),
        ("listnodes", 0, "server105\nserver101\n"),
        ("listnodes -p", 0, ""),
        ("nodestatus SERVER105", 0, "active\n"),
        ("nodestatus server105 -m", 0, "The cluster node server105 is active\n"),
        ("nodestatus nobody", 11, ""),
        ("nodetype server105", 0, "normal\n"),
        ("nodeweight server105", 0, "100\n"),
        ("listhblinks server105", 0, "\teth0\n"),
        ("listhblinks server105 -v", 0, "\teth0\tup\n"),
        ("hblinkstatus server105 eth0", 0, "up\n"),
        ("hblinkstatus server105 eth9", 13, ""),
        ("clientstatus server105 ipfail", 1, "offline\n"),
        ("rscstatus", 0, "local\n"),
        ("rscstatus -m", 0, "This node is holding local resources.\n"),
        ("hbparameter -p deadtime", 0, "20000ms\n"),
        ("hbparameter -p colour", 1, ""),
        ("frobnicate", 2, ""),
    ] {
        assert_eq!(asked(&pair, words), (code, out.to_owned()), "{words}");
    }
    assert_eq!(pair.a.ask(&["standby"]).code, Some(0));
    assert_eq!(asked(&pair, "rscstatus").1, "none\n");
    assert_eq!(pair.b.ask_as(&program, &["rscstatus"]).out, "all\n");

    pair.b.crash();
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    pair.a.ended();
    let stopped = (1, "Heartbeat is stopped on this machine.\n".to_owned());
    assert_eq!(asked(&pair, "hbstatus"), stopped);
    assert_eq!(asked(&pair, "rscstatus").0, 1);
}

#[test]
fn two_nodes_of_one_name_are_told_so() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    "server101".clone_into(&mut pair.b.name);
    pair.a.start();
    pair.b.start();
    for node in [&pair.a, &pair.b] {
        node.wait("a warning of the namesake", |status| {
            let warnings = status.0["warnings"].to_string();
            warnings.contains("is the other node called server101 too?")
                && status.refused("our own packet") > 0
        });
    }
}

#[test]
fn the_case_of_a_name_does_not_matter() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    let path = pair.a.config.join("ha.cf");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("node server", "node SERVER")).unwrap();
    "Server105".clone_into(&mut pair.b.name);
    pair.a.start();
    pair.b.start();
    for node in [&pair.a, &pair.b] {
        node.wait("the peer", |status| status.peer() == "up");
    }
}
