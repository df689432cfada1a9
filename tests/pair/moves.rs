//! Standby and takeover as the operator types them.

use std::os::unix::fs::symlink;

use crate::nets::possible;
use crate::node::{BINARY, Node, Said};
use crate::pair::{Pair, Setup, VIP, VIP2};

/// Asks for a switch and says how it ended: the code and both texts.
fn told(node: &Node, words: &[&str]) -> (Option<i32>, String, String) {
    let Said { code, out, err } = node.ask(words);
    (code, out, err)
}

/// Which of the two groups are active on this node.
fn active(node: &Node) -> [bool; 2] {
    let status = node.status().unwrap();
    [0, 1].map(|group| status.state(group) == "active")
}

/// A switch that is done when the command has ended, on both nodes.
fn switched(pair: &Pair, (by, words): (&Node, &[&str]), (moved, on_a): (&str, [bool; 2])) {
    let (code, out, err) = told(by, words);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?} {out}\n{}", by.log());
    assert!(out.contains(moved), "{words:?}: {out}");
    assert_eq!(active(by), if by.name == pair.a.name { on_a } else { on_a.map(|on| !on) });
    for (vip, here) in [VIP, VIP2].into_iter().zip(on_a) {
        let held = (pair.a.holds(vip), pair.b.holds(vip));
        // The peer of a takeover hears of its end with the next beat.
        if words[0] == "standby" {
            assert_eq!(held, (here, !here), "{words:?} {vip}");
        }
    }
    pair.a.wait("what was asked", |status| {
        (0..2).all(|group| (status.state(group) == "active") == on_a[group])
    });
    pair.b.wait("what was asked", |status| {
        (0..2).all(|group| (status.state(group) == "active") != on_a[group])
    });
}

#[test]
fn standby_hands_over_the_groups_that_are_meant() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient().two_groups());
    let (a, b) = (&pair.a, &pair.b);
    let (one, two) = (format!("{VIP}/24/eth0 handed"), format!("{VIP2}/24/eth0 handed"));
    switched(&pair, (a, &["standby", "local"]), (&one, [false, false]));
    switched(&pair, (b, &["standby", "foreign"]), (&one, [true, false]));
    switched(&pair, (a, &["standby", "foreign"]), ("nothing to do", [true, false]));
    switched(&pair, (b, &["standby"]), (&two, [true, true]));
    switched(&pair, (a, &["standby", "failback"]), (&two, [true, false]));
    switched(&pair, (a, &["standby", "all"]), (&one, [false, false]));
}

#[test]
fn takeover_takes_the_groups_that_are_meant() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient().two_groups());
    let (a, b) = (&pair.a, &pair.b);
    let (one, two) = (format!("{VIP}/24/eth0 taken"), format!("{VIP2}/24/eth0 taken"));
    switched(&pair, (a, &["takeover", "foreign"]), (&two, [true, true]));
    switched(&pair, (a, &["takeover", "local"]), ("nothing to do", [true, true]));
    switched(&pair, (b, &["takeover", "local"]), (&two, [true, false]));
    switched(&pair, (b, &["takeover", "failback"]), (&one, [false, false]));
    switched(&pair, (a, &["takeover"]), (&two, [true, true]));
}

#[test]
fn without_a_peer_standby_is_refused_with_the_reason() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.b.crash();
    pair.a.wait("a dead peer", |status| status.peer() == "dead");
    let (code, out, err) = told(&pair.a, &["standby"]);
    assert_eq!((code, out.as_str()), (Some(4), ""));
    assert_eq!(err, "pairbeat: refused: the peer is dead\n");
    assert!(pair.a.holds(VIP));
    let (code, out, _) = told(&pair.a, &["takeover"]);
    assert_eq!((code, out.as_str()), (Some(0), "nothing to do\n"));
}

#[test]
fn with_no_wait_what_is_done_at_once_is_reported_as_done() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let (code, out, err) = told(&pair.a, &["standby", "--no-wait"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out == "under way\n" || out.contains("handed to the peer"), "{out}");
    pair.b.becomes("active");
    pair.a.becomes("standby");
    assert_eq!(told(&pair.a, &["takeover", "--no-wait"]).0, Some(0));
    pair.a.becomes("active");
}

#[test]
fn with_no_wait_too_a_refusal_is_a_refusal() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.b.crash();
    pair.a.wait("a dead peer", |status| status.peer() == "dead");
    let (code, _, err) = told(&pair.a, &["standby", "--no-wait"]);
    assert_eq!((code, err.as_str()), (Some(4), "pairbeat: refused: the peer is dead\n"));
}

#[test]
fn called_as_hb_standby_and_hb_takeover_it_is_these_commands() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let programs = ["hb_standby", "hb_takeover"].map(|name| {
        let program = pair.scratch.0.join(name);
        symlink(BINARY, &program).unwrap();
        program
    });
    for (program, state) in programs.iter().zip(["standby", "active"]) {
        let said = pair.a.ask_as(program, &[]);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", program.display());
        assert_eq!(pair.a.status().unwrap().state(0), state);
    }
}
