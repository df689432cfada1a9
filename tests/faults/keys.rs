//! Keys that change under a running pair, that half of it has, that nobody may read.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::client::{self, lasts};
use crate::nets::possible;
use crate::node::{Node, Said};
use crate::pair::{KEY, Pair, Setup, secret};

const OTHER: &str = "a0c1e2f3948576b7c8d9eafb0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f";

/// Gives a node these keys, signing with one of them, and reloads.
fn reload(node: &Node, signing: u8, keys: &[(u8, &str)]) -> Said {
    let lines: String = keys.iter().map(|(id, key)| format!("{id} sha256 {key}\n")).collect();
    secret(&node.config.join("authkeys"), &format!("auth {signing}\n{lines}"));
    node.ask(&["reload"])
}

fn accepted(node: &Node, signing: u8, keys: &[(u8, &str)]) {
    let said = reload(node, signing, keys);
    assert_eq!(said.code, Some(0), "{}", said.err);
    lasts(Duration::from_millis(600));
    let status = node.wait("the peer", |status| status.0["keys"]["signing"] == signing);
    assert_eq!(status.peer(), "up");
}

fn refused(node: &Node, signing: u8, keys: &[(u8, &str)], why: &str) {
    let said = reload(node, signing, keys);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains(why), "{}", said.err);
}

#[test]
fn keys_are_rotated_one_node_after_the_other_without_a_gap_and_a_step_too_early_is_refused() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let (both, new) = ([(1, KEY), (2, OTHER)], [(2, OTHER)]);
    client::alone(&pair, &pair.a, || {
        refused(&pair.a, 2, &both, "the peer does not have the same key 2 yet");
        accepted(&pair.a, 1, &both);
        for node in [&pair.a, &pair.b] {
            node.wait("half a rotation", |status| {
                status.0["warnings"].to_string().contains("key 2 is not the same on both nodes")
            });
        }
        accepted(&pair.b, 1, &both);
        pair.a
            .wait("a shared key", |status| status.0["keys"]["shared"] == serde_json::json!([1, 2]));
        accepted(&pair.a, 2, &both);
        refused(&pair.a, 2, &new, "the peer signs with key 1");
        accepted(&pair.b, 2, &both);
        accepted(&pair.a, 2, &new);
        accepted(&pair.b, 2, &new);
    });
    for node in [&pair.a, &pair.b] {
        let status =
            node.wait("one key", |status| status.0["keys"]["shared"] == serde_json::json!([2]));
        assert!(status.0["warnings"].as_array().unwrap().is_empty(), "{status:?}");
        assert!(!node.log().contains("is dead"), "{}", node.log());
    }
    // The last word was signed anew, too.
    pair.a.signal(pair.a.role("core").unwrap(), rustix::process::Signal::KILL);
    pair.b.logs("has released everything");
    pair.b.becomes("active");
}

#[test]
fn with_a_key_file_that_can_not_be_read_or_may_be_read_by_others_the_old_keys_hold() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let file = pair.a.config.join("authkeys");
    let text = std::fs::read_to_string(&file).unwrap();
    client::alone(&pair, &pair.a, || {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(pair.a.ask(&["reload"]).code, Some(1));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(pair.a.ask(&["reload"]).code, Some(1));
        std::fs::create_dir(&file).unwrap();
        let said = pair.a.ask(&["reload"]);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("authkeys"), "{}", said.err);
        lasts(Duration::from_secs(1));
        assert_eq!(pair.a.status().unwrap().peer(), "up");
        std::fs::remove_dir(&file).unwrap();
        secret(&file, &text);
        assert_eq!(pair.a.ask(&["reload"]).code, Some(0));
    });
    assert!(!pair.b.log().contains("is dead"), "{}", pair.b.log());
}

#[test]
fn a_peer_that_is_gone_does_not_hold_up_new_keys() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.b.crash();
    pair.a.wait("a dead peer", |status| status.peer() == "dead");
    let said = reload(&pair.a, 2, &[(2, OTHER)]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    secret(&pair.b.config.join("authkeys"), &format!("auth 2\n2 sha256 {OTHER}\n"));
    pair.b.start();
    pair.b.wait("its peer", |status| status.peer() == "up" && status.state(0) == "standby");
}
