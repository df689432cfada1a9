//! Two files that differ: named on both nodes, and nobody is called dead for it.

use crate::nets::possible;
use crate::pair::{KEY, Pair, Setup, VIP, VIP2};

/// The sections that a node sees differ, as `SECTION ONLY`.
fn differs(status: &crate::node::Status) -> Vec<String> {
    let sections = status.0["peer"]["differs"].as_array().unwrap().iter();
    let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    sections.map(|it| format!("{} {}", word(&it["section"]), word(&it["only"]))).collect()
}

#[test]
fn both_nodes_name_what_differs_and_a_group_of_one_file_stays_on_its_node() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient().two_groups());
    // server105 does not know the second group, although it is the one that should have it.
    Setup { deadtime: 19_000, ..Setup::patient() }.write(&pair.b.config, KEY);
    pair.a.start();
    pair.b.start();
    let second = format!("group {VIP2}/24/eth0");
    for (node, only) in [(&pair.a, "here"), (&pair.b, "there")] {
        let want = ["timing neither".to_owned(), format!("{second} {only}")];
        let status = node.wait("named differences", |status| differs(status) == want);
        assert_eq!(status.peer(), "up");
        node.logs(&format!("the peer's configuration differs in timing, {second} (only"));
        let shown = node.ask(&["status"]).out;
        assert!(shown.contains(&format!("a different configuration: timing, {second}")), "{shown}");
    }
    pair.a.wait("both groups", |status| status.state(0) == "active" && status.state(1) == "active");

    // What the peer does not know stays where it is known; the other group moves.
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(4), "{}{}", said.out, said.err);
    assert!(pair.a.holds(VIP2) && !pair.b.holds(VIP2));
    assert_eq!(pair.b.ask(&["takeover"]).code, Some(0));
    pair.b.wait("the first group", |status| status.state(0) == "active");
    assert!(pair.b.holds(VIP) && !pair.a.holds(VIP));
    assert!(pair.a.holds(VIP2) && !pair.b.holds(VIP2));

    // The same file again, and nothing differs.
    assert_eq!(pair.b.ask(&["stop"]).code, Some(0));
    pair.b.ended();
    Setup::patient().two_groups().write(&pair.b.config, KEY);
    pair.b.start();
    for node in [&pair.a, &pair.b] {
        node.wait("no difference", |status| differs(status).is_empty() && status.peer() == "up");
    }
    pair.a.logs("the peer runs on the same configuration again");
}
