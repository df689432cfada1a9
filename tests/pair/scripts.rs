//! Groups with scripts: their order, and what becomes of those that fail or hang.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::nets::possible;
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};

/// A resource that writes down what is asked of it, and fails or hangs where a file says so.
pub(crate) const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*} me=${0##*/}
if [ "$1" = status ]; then
  if [ -e "$here/$me.status.hangs" ]; then echo "$me status" >>"$here/calls"; exec sleep 600; fi
  if [ -e "$here/$me.up" ]; then echo running; else echo stopped; fi
  exit 0
fi
echo "$me $1" >>"$here/calls"
if [ -e "$here/$me.$1.hangs" ]; then exec sleep 600; fi
if [ -e "$here/$me.$1.fails" ]; then echo "no luck" >&2; exit 1; fi
case $1 in start) : >"$here/$me.up" ;; stop) rm -f "$here/$me.up" ;; esac
"#;

fn resource_d(node: &Node) -> PathBuf {
    let config =
        if node.config.is_dir() { node.config.as_path() } else { node.config.parent().unwrap() };
    config.join("resource.d")
}

/// What was asked of the scripts of a node, in order.
pub(crate) fn calls(node: &Node) -> String {
    let text = std::fs::read_to_string(resource_d(node).join("calls")).unwrap_or_default();
    text.lines().collect::<Vec<_>>().join(", ")
}

/// Makes an action fail or hang from now on.
fn let_it(node: &Node, what: &str) {
    std::fs::write(resource_d(node).join(what), "").unwrap();
}

/// A pair with one group of an address between two scripts; nothing runs yet.
pub(crate) fn pair(setup: &Setup) -> Pair {
    let haresources = format!("server101 first {VIP}/24/eth0 last\n");
    let pair = Pair::new(&Setup { haresources, ..*setup });
    for node in [&pair.a, &pair.b] {
        for name in ["first", "last"] {
            let path = resource_d(node).join(name);
            std::fs::create_dir_all(resource_d(node)).unwrap();
            std::fs::write(&path, SCRIPT).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    pair
}

#[test]
fn scripts_start_from_left_to_right_and_stop_from_right_to_left_before_the_peer_starts() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup::patient());
    pair.start();
    assert_eq!((calls(&pair.a).as_str(), calls(&pair.b).as_str()), ("first start, last start", ""));
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(calls(&pair.a), "first start, last start, last stop, first stop");
    assert_eq!(calls(&pair.b), "first start, last start");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

#[test]
fn a_group_that_can_not_start_here_ends_at_the_peer() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup::patient());
    let_it(&pair.a, "last.start.fails");
    pair.a.start();
    pair.b.start();
    pair.b.becomes("active");
    let status = pair.a.wait("what failed", |status| status.notes(0).contains("no luck"));
    assert_eq!(status.state(0), "failed");
    assert!(status.notes(0).contains("it could not be started here"), "{status:?}");
    assert!(calls(&pair.a).ends_with("last stop, first stop"), "{}", calls(&pair.a));
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

#[test]
fn a_group_that_can_not_be_stopped_is_never_released() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup::patient());
    pair.start();
    let_it(&pair.a, "first.stop.fails");
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains("failed: "), "{}", said.err);
    let status = pair.a.becomes("failed");
    assert!(status.0["warnings"].to_string().contains("failed here"), "{status:?}");
    assert!(status.notes(0).contains("stop of resource 1 failed: "), "{status:?}");
    let refused = pair.b.ask(&["takeover"]);
    assert_eq!(refused.code, Some(4), "{}{}", refused.out, refused.err);
    assert!(refused.err.contains("the peer could not stop it"), "{}", refused.err);
    // A node that leaves so can't say that it has released everything.
    let said = pair.a.ask(&["stop"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    pair.a.ended();
    assert_eq!((pair.b.status().unwrap().state(0), calls(&pair.b).as_str()), ("standby", ""));
}

#[test]
fn a_script_that_hangs_is_killed_at_its_limit() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup { toml_limits: Some("1s"), ..Setup::patient() });
    let_it(&pair.a, "last.start.hangs");
    pair.a.start();
    pair.b.start();
    pair.b.becomes("active");
    pair.a.logs("did not end within 1.0 s and was killed");
    let hanging = || {
        let mut pids = pair.a.processes().into_iter();
        pids.any(|pid| {
            let pid = pid.as_raw_nonzero();
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with("sleep")
        })
    };
    assert!(until(|| (!hanging()).then_some(())).is_some());
}

#[test]
fn what_a_dead_core_left_running_is_stopped_before_anything_is_started_again() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup::patient());
    pair.start();
    pair.a.signal(pair.a.role("core").unwrap(), rustix::process::Signal::KILL);
    pair.a.logs("the peer is not told");
    pair.a.logs("last is not known to be down before our start: it is stopped");
    pair.a.becomes("active");
    assert!(pair.a.holds(VIP) && !pair.b.holds(VIP));
    let again = "first start, last start, last stop, first stop, first start, last start";
    assert_eq!((calls(&pair.a).as_str(), calls(&pair.b).as_str()), (again, ""));
}

#[test]
fn with_no_wait_the_command_returns_while_the_switch_is_under_way() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup::patient());
    pair.start();
    let_it(&pair.a, "last.stop.hangs");
    let said = pair.a.ask(&["standby", "--no-wait"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "under way\n", ""));
    assert_eq!(pair.a.status().unwrap().state(0), "stopping");
    let again = pair.a.ask(&["standby"]);
    assert_eq!(again.code, Some(4), "{}{}", again.out, again.err);
    assert!(again.err.contains("a request for it is in progress"), "{}", again.err);
}

#[test]
fn what_has_died_is_started_again_and_given_to_the_peer_when_it_dies_too_often() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup { toml_limits: Some("10s"), ..Setup::patient() });
    pair.start();
    let die = || std::fs::remove_file(resource_d(&pair.a).join("first.up")).unwrap();
    let (mut served, lost) = ("first start, last start".to_owned(), ", last stop, first stop");
    die();
    served = format!("{served}{lost}, {served}");
    let back = until(|| (calls(&pair.a) == served).then_some(()));
    assert!(back.is_some(), "{}\n{}", calls(&pair.a), pair.a.log());
    pair.a.logs("resource 1 has failed, failure 1: ");
    pair.a.becomes("active");
    assert!(pair.a.holds(VIP) && !pair.b.holds(VIP));
    die();
    pair.b.becomes("active");
    let status = pair.a.becomes("failed");
    assert!(status.notes(0).contains("a resource of it has failed here too often"), "{status:?}");
    assert_eq!(calls(&pair.a), format!("{served}{lost}"));
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

#[test]
fn a_look_that_hangs_delays_no_switch() {
    if !possible() {
        return;
    }
    let mut pair = pair(&Setup { toml_limits: Some("10s"), ..Setup::patient() });
    pair.start();
    let_it(&pair.a, "last.status.hangs");
    let asked = until(|| calls(&pair.a).contains("last status").then_some(()));
    assert!(asked.is_some(), "{}", calls(&pair.a));
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(pair.b.status().unwrap().state(0), "active");
}
