//! Freeze: groups stay where they are until an operator says otherwise.

use rustix::process::Signal;

use crate::nets::possible;
use crate::pair::{Pair, Setup, VIP};

#[test]
fn frozen_groups_stay_until_they_are_taken_or_unfrozen_also_over_the_end_of_every_core() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    assert_eq!(pair.a.ask(&["freeze"]).code, Some(0));
    for node in [&pair.a, &pair.b] {
        let status = node.wait("freeze", |status| status.0["frozen"] == "all");
        assert!(status.0["warnings"].to_string().contains("frozen"));
        let text = node.ask(&["status"]).out;
        assert!(text.contains("FROZEN"), "{text}");
    }

    // The holder's core dies and comes back: the group stays with it.
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    pair.b.logs("not taken: automatic switches are frozen");
    pair.a.logs("the core is started again");
    pair.a.becomes("active");
    assert_eq!(pair.b.status().unwrap().state(0), "standby");

    // The node dies for good: nobody has it, until somebody wants it.
    pair.a.crash();
    pair.b.wait("dead peer", |status| status.peer() == "dead");
    assert_eq!(pair.b.status().unwrap().state(0), "standby");
    assert_eq!(pair.b.ask(&["takeover"]).code, Some(0));
    assert!(pair.b.holds(VIP));

    // It comes back and knows of the freeze by itself.
    pair.a.start();
    let status = pair.a.wait("peer", |status| status.peer() == "up");
    assert_eq!((&status.0["frozen"], status.state(0)), (&"all".into(), "standby"));
    assert_eq!(pair.b.ask(&["unfreeze"]).code, Some(0));
    pair.a.wait("end of freeze", |status| status.0["frozen"] == "nothing");
}

#[test]
fn frozen_but_for_the_dead_a_dead_nodes_groups_are_taken() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup { auto_failback: true, ..Setup::default() });
    assert_eq!(pair.b.ask(&["freeze", "--except-dead"]).code, Some(0));
    pair.a.wait("freeze", |status| status.0["frozen"] == "except_dead");
    pair.a.crash();
    pair.b.becomes("active");
    pair.a.start();
    pair.a.logs("not taken: automatic switches are frozen");
    assert_eq!(pair.b.ask(&["unfreeze"]).code, Some(0));
    pair.a.becomes("active");
}
