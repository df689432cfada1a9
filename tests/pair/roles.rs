//! Who has the virtual IP: at the start, after crashes, after a stop.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::lan::{learned, mac, resolve};
use crate::nets::possible;
use crate::node::until;
use crate::pair::{Pair, Setup, VIP};

#[test]
fn of_two_that_start_together_one_is_owner_and_answers_for_the_vip() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    assert!(pair.a.holds(VIP) && !pair.b.holds(VIP));
    let begun = Instant::now();
    resolve(&pair.lan.client, VIP);
    learned(&pair.lan.client, VIP, &mac(&pair.lan.node));
    assert!(begun.elapsed() < Duration::from_secs(1));
    let status = pair.a.status().unwrap();
    assert!(status.notes(0).contains("confirmed by 192.168.2.1"), "{status:?}");
}

#[test]
fn a_node_alone_takes_its_groups_after_initdead_and_not_before() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    let begun = Instant::now();
    pair.b.start();
    let early = pair.b.wait("an answer", |_| true);
    if begun.elapsed() < Duration::from_secs(1) {
        assert_eq!((early.state(0), early.peer()), ("standby", "unknown"));
    }
    let status = pair.b.becomes("active");
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!((status.peer(), pair.b.holds(VIP)), ("dead", true));
    assert!(status.0["warnings"].to_string().contains("no redundancy"), "{status:?}");
}

#[test]
fn the_peer_of_a_crashed_node_takes_over_and_the_stale_vip_goes_before_its_first_beat() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.a.crash();
    let status = pair.b.becomes("active");
    assert_eq!((status.cause(0), status.peer()), ("done", "dead"));
    assert!(pair.a.holds(VIP), "nobody was there to remove it");
    pair.a.start();
    let status = pair.a.wait("a peer", |status| status.peer() == "up");
    assert_eq!((status.state(0), pair.a.holds(VIP)), ("standby", false));
    pair.b.wait("a peer", |status| status.peer() == "up" && status.state(0) == "active");
    let log = pair.a.log();
    let lives: Vec<&str> = log.split("in service").collect();
    let [.., second_start, _] = lives.as_slice() else { unreachable!("{log}") };
    assert!(second_start.contains("stray address removed"), "{log}");
}

#[test]
fn with_auto_failback_a_preferred_node_that_returns_takes_its_group_back() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup { auto_failback: true, ..Setup::default() });
    pair.a.crash();
    pair.b.becomes("active");
    pair.a.start();
    pair.a.wait("the group", |status| status.state(0) == "active" && status.peer() == "up");
    pair.b.becomes("standby");
    assert!(pair.a.holds(VIP) && !pair.b.holds(VIP));
}

#[test]
fn when_the_core_dies_its_supervisor_frees_the_vip_and_the_peer_takes_over_at_once() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::patient());
    let core = pair.a.role("core").unwrap();
    let begun = Instant::now();
    pair.a.signal(core, Signal::KILL);
    pair.b.becomes("active");
    assert!(begun.elapsed() < Duration::from_secs(10), "far within the deadtime of 20 s");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
    let status = pair.a.wait("a second core", |status| status.peer() == "up");
    assert_eq!(status.state(0), "standby");
    let second = pair.a.role("core").unwrap();
    assert_ne!(second, core);
    assert!(pair.b.log().contains("the peer has left"), "{}", pair.b.log());
    let again = until(|| pair.a.role("checker"));
    assert!(again.is_some(), "and it has a checker");
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    assert_eq!(pair.a.ended().code(), Some(0));
}

#[test]
fn without_its_supervisor_a_core_hands_everything_over_and_ends() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    pair.a.signal(pair.a.supervisor(), Signal::KILL);
    pair.b.becomes("active");
    let gone = until(|| (!pair.a.holds(VIP)).then_some(()));
    assert!(gone.is_some());
    // The dead supervisor itself is ours to bury.
    let alone = until(|| (pair.a.processes().len() <= 1).then_some(()));
    assert!(alone.is_some(), "{:?}", pair.a.processes());
}

#[test]
fn a_dead_checker_is_replaced_and_nothing_else_happens() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let (core, epoch) =
        (pair.a.role("core"), pair.a.status().unwrap().groups()[0]["epoch"].clone());
    let checker = until(|| pair.a.role("checker")).unwrap();
    pair.a.signal(checker, Signal::KILL);
    let next = until(|| pair.a.role("checker").filter(|pid| *pid != checker));
    assert!(next.is_some(), "{}", pair.a.log());
    let status = pair.a.status().unwrap();
    assert_eq!((status.state(0), pair.a.role("core")), ("active", core));
    assert_eq!(status.groups()[0]["epoch"], epoch);
}

/// Stops `a` in some way and looks at what remains.
fn stops(stop: impl FnOnce(&mut Pair)) {
    let mut pair = Pair::settled(&Setup::patient());
    stop(&mut pair);
    assert_eq!(pair.a.ended().code(), Some(0), "{}", pair.a.log());
    assert!(!pair.a.log().contains(" ERROR "), "{}", pair.a.log());
    let status = pair.b.becomes("active");
    assert_eq!(status.peer(), "standby");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
    assert_eq!(pair.a.processes(), []);
    let left: Vec<_> = std::fs::read_dir(pair.a.runtime_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_str().unwrap().ends_with(".sock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(pair.a.ask(&["status"]).code, Some(3));
}

#[test]
fn sigterm_hands_over_without_waiting_and_leaves_nothing_behind() {
    if possible() {
        stops(|pair| pair.a.signal(pair.a.supervisor(), Signal::TERM));
    }
}

#[test]
fn stop_hands_over_without_waiting_and_leaves_nothing_behind() {
    if possible() {
        stops(|pair| {
            let said = pair.a.ask(&["stop"]);
            assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
        });
    }
}

#[test]
fn the_last_node_stops_as_well() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.b.crash();
    pair.a.wait("a dead peer", |status| status.peer() == "dead");
    let said = pair.a.ask(&["stop"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(pair.a.ended().code(), Some(0));
    assert!(!pair.a.holds(VIP));
}

/// A core that hangs, in a node that is told to stop: two ways to end that.
fn hangs(setup: &Setup, also: impl FnOnce(&Pair)) -> Pair {
    let mut pair = Pair::settled(setup);
    pair.a.signal(pair.a.role("core").unwrap(), Signal::STOP);
    pair.a.signal(pair.a.supervisor(), Signal::TERM);
    also(&pair);
    assert_eq!(pair.a.ended().code(), Some(1), "{}", pair.a.log());
    pair.b.becomes("active");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
    assert!(pair.a.log().contains("the core died while it was stopping"), "{}", pair.a.log());
    pair
}

#[test]
fn a_second_sigterm_kills_a_core_that_hangs() {
    if possible() {
        let pair = hangs(&Setup::patient(), |pair| {
            // Two that come together are one.
            pair.a.logs("told to stop");
            pair.a.signal(pair.a.supervisor(), Signal::TERM);
        });
        assert!(pair.b.log().contains("the peer has left"), "{}", pair.b.log());
    }
}

#[test]
fn a_core_that_does_not_stop_is_killed_in_the_end() {
    if possible() {
        let setup = Setup { toml_limits: Some("100ms"), ..Setup::patient() };
        let pair = hangs(&setup, |_| {});
        assert!(pair.a.log().contains("does not stop within its limits"), "{}", pair.a.log());
    }
}
