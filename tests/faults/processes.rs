//! Processes that stop, die, or get no more of what they need.

use std::time::Duration;

use rustix::process::Signal;

use crate::client::{self, lasts, station};
use crate::nets::{possible, sh};
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};

/// Stops a process of a node for three seconds.
fn stands_still(node: &Node, process: rustix::process::Pid) {
    node.signal(process, Signal::STOP);
    lasts(Duration::from_secs(3));
    node.signal(process, Signal::CONT);
}

#[test]
fn a_supervisor_or_a_checker_that_stands_still_disturbs_nobody() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let core = pair.a.role("core");
    let checker = until(|| pair.a.role("checker")).unwrap();
    client::alone(&pair, &pair.a, || {
        for process in [pair.a.supervisor(), checker] {
            stands_still(&pair.a, process);
            assert_eq!(pair.a.status().unwrap().state(0), "active");
        }
    });
    assert_eq!((pair.a.role("core"), pair.a.role("checker")), (core, Some(checker)));
    assert!(!pair.b.log().contains("is dead"), "{}", pair.b.log());
}

#[test]
fn a_core_that_dies_while_its_supervisor_stands_still_is_dark_and_the_peer_has_the_vip() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let [a, b] = [&pair.a, &pair.b].map(station);
    let seen = client::watches(&pair, || {
        pair.a.signal(pair.a.supervisor(), Signal::STOP);
        pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
        pair.b.becomes("active");
        lasts(Duration::from_secs(1));
        assert!(pair.a.holds(VIP), "nobody is there to remove it");
        pair.a.signal(pair.a.supervisor(), Signal::CONT);
        pair.a.wait("its peer", |status| status.peer() == "up" && status.state(0) == "standby");
    });
    assert_eq!(seen.holders(), [a, b]);
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

/// Lets a process open no more files, or as many as usual again.
fn files(process: rustix::process::Pid, may_open: bool) {
    let pid = process.as_raw_nonzero();
    let free = |number: &i32| !std::fs::exists(format!("/proc/{pid}/fd/{number}")).unwrap();
    // What is open stays open; numbers from here on are refused.
    let most = if may_open { 1024 } else { (3..).find(free).unwrap() };
    sh(&format!("prlimit --pid {pid} --nofile={most}:"));
}

#[test]
fn a_core_without_a_file_to_spare_refuses_a_reload_and_beats_on() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let core = pair.a.role("core").unwrap();
    client::alone(&pair, &pair.a, || {
        files(core, false);
        pair.a.signal(pair.a.supervisor(), Signal::HUP);
        pair.a.logs("configuration not reloaded");
        lasts(Duration::from_secs(2));
        assert_eq!(pair.b.status().unwrap().peer(), "up");
        files(core, true);
        let said = until(|| Some(pair.a.ask(&["reload"])).filter(|said| said.code == Some(0)));
        assert!(said.is_some(), "{}", pair.a.log());
    });
    assert_eq!(pair.a.role("core"), Some(core), "{}", pair.a.log());
    assert_eq!(pair.a.status().unwrap().state(0), "active");
    assert!(!pair.b.log().contains("is dead"), "{}", pair.b.log());
}

#[test]
fn a_standby_without_a_file_to_spare_says_so_and_takes_over_when_it_has_one() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    let core = pair.b.role("core").unwrap();
    files(core, false);
    pair.a.crash();
    pair.b.logs("on eth0: Too many open files");
    pair.b.logs("failed here");
    assert!(!pair.b.holds(VIP), "an address that nobody hears of is not left behind");
    files(core, true);
    pair.b.becomes("active");
}
