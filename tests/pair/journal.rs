//! What the journal of a real pair says: one record for each role change, with its cause; what is
//! explained, what is replayed, and that no disk stands in the way.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::nets::possible;
use crate::node::{BINARY, Node, until};
use crate::pair::{Pair, Setup, VIP};

/// Every record that a node can show.
fn records(node: &Node) -> Vec<Value> {
    let said = node.ask(&["events", "--json", "--last", "100000"]);
    assert_eq!(said.code, Some(0), "{} {}", said.err, node.log());
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The role changes of a node: state, cause, and the cause of the series.
fn roles(node: &Node) -> Vec<String> {
    let all = records(node);
    let roles = all.iter().filter(|record| record["name"] == "role");
    let words = |record: &Value| {
        let role = &record["what"]["cluster"]["role"];
        let because = &record["because"];
        assert!(because["evidence"]["links"].is_array(), "{record}");
        let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        format!("{} {} < {}", word(&role["state"]), word(&role["cause"]), word(&because["origin"]))
    };
    roles.map(words).collect()
}

fn journal(node: &Node) -> PathBuf {
    node.state_dir().join("journal")
}

#[test]
fn each_role_change_of_a_switch_and_of_a_crash_has_one_record_with_its_cause() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    assert_eq!(pair.a.ask(&["standby"]).code, Some(0));
    pair.b.becomes("active");
    pair.b.crash();
    pair.a.becomes("active");
    assert_eq!(
        roles(&pair.a),
        [
            "starting boot < boot",
            "active completed < boot",
            "stopping standby < standby",
            "standby completed < standby",
            "starting peer_dead < peer_dead",
            "active completed < peer_dead",
        ]
    );
    // The other node is down: its journal is read all the same.
    assert_eq!(roles(&pair.b), ["starting standby < standby", "active completed < standby"]);
    let all = records(&pair.a);
    let find = |state: &str, cause: &str| {
        let mut found = all.iter().filter(|record| {
            let role = &record["what"]["cluster"]["role"];
            role["state"] == state && role["cause"] == cause
        });
        found.next_back().unwrap().clone()
    };
    let standby = find("stopping", "standby");
    assert_eq!(standby["because"]["asked"]["by"]["uid"], 0, "{standby}");
    assert!(find("standby", "completed")["because"]["overlap_ms"].is_u64());
    let dead = find("starting", "peer_dead")["because"]["evidence"].clone();
    let heard = dead["links"][0]["heard_ms"].as_u64().unwrap();
    assert!(dead["peer"] == "dead" && heard >= 500, "{dead}");
    // Numbers without a gap: nothing was dropped.
    let seqs: Vec<u64> = all.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
    assert!(all.iter().any(|record| record["name"] == "answered"));
}

#[test]
fn a_takeover_is_explained_and_its_recording_decides_the_same_again() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    let before = pair.b.ask(&["explain"]).out;
    for part in [
        "standby on server105, held by server101",
        "the peer says: it serves it",
        "if the peer died now:\n    server105 would start it 0.",
        "if this node died now:\n    server101 would go on to serve it",
    ] {
        assert!(before.contains(part), "`{part}` is not in\n{before}");
    }
    pair.a.crash();
    pair.b.becomes("active");
    let group = format!("{VIP}/24/eth0");
    let after = pair.b.ask(&["explain", &group]).out;
    for part in [
        "active on server105, held by server105",
        "it began with: the peer is dead",
        "the peer was dead, silent for 5",
        "link eth0: last heard 5",
        "no stall of our own",
        "server101 is not there already",
        "nobody would serve it: server101 is not in service",
    ] {
        assert!(after.contains(part), "`{part}` is not in\n{after}");
    }
    assert_eq!(pair.b.ask(&["explain", "nothing"]).code, Some(1));
    let file = pair.scratch.0.join("recording");
    let said = pair.b.ask(&["events", "--dump", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let said = pair.b.ask(&["replay", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    assert!(
        said.out.contains("server101 is dead") && said.out.ends_with("every step as recorded\n")
    );
    let secret = std::fs::read_to_string(&file).unwrap().contains(crate::pair::KEY);
    assert!(!secret);
    // It is kept by itself too, a moment after the change.
    let kept = until(|| {
        let found = pair.b.ask(&["explain", &group]).out;
        found.lines().find_map(|line| {
            line.strip_prefix("recorded: pairbeat replay ").map(Path::new)?.exists().then_some(())
        })
    });
    assert!(kept.is_some());
}

#[test]
fn a_forged_recording_is_said_to_differ() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    pair.a.crash();
    pair.b.becomes("active");
    let file = pair.scratch.0.join("recording");
    assert_eq!(pair.b.ask(&["events", "--dump", file.to_str().unwrap()]).code, Some(0));
    let text = std::fs::read_to_string(&file).unwrap();
    let forged = text.replacen("\"cause\":\"peer_dead\"", "\"cause\":\"boot\"", 1);
    assert_ne!(text, forged);
    std::fs::write(&file, forged).unwrap();
    let said = pair.b.ask(&["replay", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains("DIFFERS") && said.err.contains("1 steps differ"), "{}", said.err);
}

#[test]
fn who_follows_sees_what_happens_and_the_core_that_comes_after_a_death() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let mut follower = Follower::new(&pair.a);
    // What was before it began it does not show: again until it does.
    let seen = until(|| {
        pair.a.signal(pair.a.supervisor(), Signal::HUP);
        follower.shows("configuration reloaded").then_some(())
    });
    assert!(seen.is_some(), "{}", pair.a.log());
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    let died = "the core died (signal: 9 (SIGKILL))";
    let seen = until(|| follower.shows(died).then_some(()));
    assert!(seen.is_some(), "{}", pair.a.log());
    let died = records(&pair.a).into_iter().find(|record| record["name"] == "core_died");
    assert_eq!(died.unwrap()["what"]["core_died"]["told"], true);
}

/// `events --follow`, read as it comes.
struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    fn new(node: &Node) -> Self {
        let mut command = node.asking(Path::new(BINARY), &["events", "--follow", "--last", "0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
        });
        Self { child, lines }
    }

    /// Whether it has shown that since it was asked last, or does within a moment.
    fn shows(&mut self, what: &str) -> bool {
        let mut more = || self.lines.recv_timeout(Duration::from_millis(200)).ok();
        std::iter::from_fn(&mut more).any(|line| line.contains(what))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_disk_that_takes_nothing_blocks_no_takeover_and_is_an_alarm() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    // A file where the directory should be: nobody can write there, not even root.
    std::fs::create_dir_all(pair.b.state_dir()).unwrap();
    std::fs::write(journal(&pair.b), "").unwrap();
    pair.start();
    pair.a.crash();
    let status = pair.b.becomes("active");
    assert!(status.0["journal"]["dropped"].as_u64().unwrap() > 0, "{status:?}");
    let warnings = status.0["warnings"].to_string();
    assert!(warnings.contains("the journal can't be written"), "{warnings}");
    // What the disk did not take is in memory.
    assert!(roles(&pair.b).contains(&"active completed < peer_dead".to_owned()));
    std::fs::remove_file(journal(&pair.b)).unwrap();
    pair.b.signal(pair.b.supervisor(), Signal::HUP);
    pair.b.wait("a journal", |status| status.0["journal"]["error"].is_null());
    pair.b.signal(pair.b.supervisor(), Signal::HUP);
    pair.b.logs("records of the journal were lost");
}

#[test]
fn a_full_disk_blocks_no_takeover() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    std::fs::create_dir_all(journal(&pair.b)).unwrap();
    let place = journal(&pair.b);
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
    assert!(Command::new("mount").args(mount).arg(&place).status().unwrap().success());
    let filled = std::fs::write(place.join("other"), vec![0; 1024 * 1024]);
    let _unmount = Unmount(place);
    assert!(filled.is_err());
    pair.start();
    pair.a.crash();
    let status = pair.b.becomes("active");
    assert!(status.0["journal"]["error"].is_string(), "{status:?}");
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_journal_of_another_cluster_is_left_alone_and_named() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    std::fs::create_dir_all(journal(&pair.a)).unwrap();
    let stranger = journal(&pair.a).join("events-00000001.jsonl");
    let head = r#"{"pairbeat_journal":1,"cluster":["x","y"],"node":"x"}"#;
    std::fs::write(&stranger, format!("{head}\n")).unwrap();
    std::fs::set_permissions(&stranger, std::fs::Permissions::from_mode(0o600)).unwrap();
    pair.start();
    let status = pair.a.wait("its name", |status| status.0["journal"]["refused"][0].is_string());
    assert!(status.0["journal"]["refused"][0].as_str().unwrap().contains("cluster of x and y"));
    assert_eq!(std::fs::read_to_string(&stranger).unwrap(), format!("{head}\n"));
    let said = pair.a.ask(&["events"]);
    assert!(said.err.contains("left out:") && said.out.contains("active here"), "{}", said.err);
}

#[test]
fn a_start_that_fails_is_recorded_with_what_the_script_said() {
    if !possible() {
        return;
    }
    let haresources = format!("server101 {VIP}/24/eth0 broken\n");
    let mut pair = Pair::new(&Setup { haresources, ..Setup::patient() });
    for (node, body) in [(&pair.a, "echo no luck >&2; exit 1"), (&pair.b, "exit 0")] {
        let path = node.config.join("resource.d/broken");
        let script = format!(
            "#!/bin/sh\n[ $1 = status ] && {{ echo stopped; exit 0; }}\n[ $1 = stop ] && exit 0\n{body}\n"
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    pair.a.start();
    pair.b.start();
    pair.b.becomes("active");
    pair.a.becomes("failed");
    let roles = roles(&pair.a);
    assert_eq!(
        roles,
        ["starting boot < boot", "stopping start_failed < boot", "failed start_failed < boot"]
    );
    let explained = pair.a.ask(&["explain"]).out;
    assert!(explained.contains("start of resource 2 failed"), "{explained}");
    assert!(explained.contains("no luck"), "{explained}");
}
