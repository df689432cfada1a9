//! Heartbeats over a serial line: two terminals that `socat` joins.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::needs::met;
use crate::nets::possible;
use crate::node::{Node, Status, until};
use crate::pair::{Pair, Setup};

/// A line between the nodes. Somebody has both ends open at all times: a terminal whose last user has
/// gone takes `socat` with it.
struct Line {
    joint: Child,
    ends: Vec<File>,
}

impl Line {
    fn lay(pair: &Pair) -> Self {
        let paths = [&pair.a, &pair.b].map(|node| pair.line(node));
        let mut socat = Command::new("socat");
        for path in &paths {
            let _old = std::fs::remove_file(path);
            socat.arg(format!("pty,rawer,link={}", path.display()));
        }
        let joint = socat.stdin(Stdio::null()).spawn().unwrap();
        let mut line = Self { joint, ends: Vec::new() };
        for path in &paths {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
            let end = until(|| options.open(path).ok());
            line.ends.push(end.unwrap_or_else(|| unreachable!("socat lays no line")));
        }
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.joint), signal).unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.joint.kill();
        let _ = self.joint.wait();
    }
}

fn socat_is_here() -> bool {
    let here = Command::new("socat").arg("-V").output().is_ok_and(|said| said.status.success());
    met(here, "socat")
}

/// A serial line and a cable.
fn both() -> Setup {
    Setup { links: Some("baud 115200\nserial LINE\nbcast eth1\n"), ..Setup::cable() }
}

/// A serial line and nothing else.
fn alone() -> Setup {
    Setup { links: Some("baud 115200\nserial LINE\n"), ..Setup::cable() }
}

fn is_up(status: &Status, link: usize) -> bool {
    status.link(link, "state") == "up"
}

fn number(status: &Status, field: &str) -> u64 {
    status.link(0, field).as_u64().unwrap()
}

fn both_nodes(pair: &Pair) -> [&Node; 2] {
    [&pair.a, &pair.b]
}

#[test]
fn a_pair_lives_on_the_serial_line_when_the_cable_is_cut() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&both());
    let _line = Line::lay(&pair);
    pair.start();
    for node in both_nodes(&pair) {
        let status = node.wait("both links", |status| {
            is_up(status, 0) && is_up(status, 1) && status.link(0, "rtt_us").is_u64()
        });
        assert_eq!(status.link(0, "kind"), "serial");
    }
    pair.lan.node.ip("link set eth1 down");
    pair.b.wait("no cable", |status| !is_up(status, 1));
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    pair.b.becomes("active");
    for node in both_nodes(&pair) {
        let status = node.wait("the line", |status| is_up(status, 0));
        assert_eq!((status.peer(), number(&status, "broken")), ("up", 0));
        assert!(number(&status, "received") > 0 && number(&status, "sent") > 0);
        assert_eq!(status.refused("wrong signature"), 0);
    }
    assert!(!pair.b.log().contains("server101 is dead"), "{}", pair.b.log());
}

#[test]
fn on_a_serial_line_alone_a_crash_is_noticed_and_a_stop_is_told() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&Setup { deadtime: 5_000, initdead: 5_000, ..alone() });
    let _line = Line::lay(&pair);
    pair.start();
    let supervisor = pair.a.supervisor();
    pair.a.signal(supervisor, Signal::TERM);
    assert!(pair.a.ended().success());
    let status = pair.b.becomes("active");
    assert_eq!(status.peer(), "standby", "it has said so, and nobody had to wait");
    pair.a.start();
    pair.a.wait("the peer", |status| status.peer() == "up");
    pair.b.wait("the peer", |status| status.peer() == "up");
    // The supervisor says the last word of a dead core.
    let core = pair.b.role("core").unwrap();
    pair.b.signal(core, Signal::KILL);
    pair.a.becomes("active");
    assert!(!pair.a.log().contains("server105 is dead"), "{}", pair.a.log());
    pair.b.wait("the peer", |status| status.peer() == "up" && status.state(0) == "standby");
    pair.a.crash();
    pair.b.wait("a dead peer", |status| status.peer() == "dead" && status.state(0) == "active");
}

#[test]
fn noise_on_the_line_is_counted_and_beats_go_on() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&alone());
    let mut line = Line::lay(&pair);
    pair.start();
    let before = pair.b.wait("beats", |status| number(status, "received") > 3);
    let mut noise = 1_u32;
    for burst in 1..=40_u64 {
        // What is written into the one end comes out at the other, between and within frames.
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0] % 7
        })
        .take(100)
        .collect();
        line.ends[0].write_all(&bytes).unwrap();
        pair.b.wait("the noise", |status| number(status, "broken") > burst);
    }
    let status = pair
        .b
        .wait("more beats", |status| number(status, "received") > number(&before, "received") + 10);
    assert_eq!((status.peer(), status.state(0)), ("up", "standby"));
    let refused = status.0["refused"].as_object().unwrap();
    assert!(refused.keys().all(|why| why == "no proof of freshness"), "{refused:?}");
    let text = pair.b.ask(&["status"]).out;
    assert!(text.contains("broken frames"), "{text}");
}

#[test]
fn a_line_that_is_held_up_blocks_nothing_and_goes_on_by_itself() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&both());
    let mut line = Line::lay(&pair);
    pair.start();
    for node in both_nodes(&pair) {
        node.wait("both links", |status| is_up(status, 0) && is_up(status, 1));
    }
    line.signal(Signal::STOP);
    for end in &mut line.ends {
        // Delimiters, which mean nothing, until there is no room.
        while end.write(&[0; 64]).is_ok() {}
    }
    for node in both_nodes(&pair) {
        let status = node.wait("a silent line", |status| !is_up(status, 0));
        assert_eq!(status.peer(), "up");
        node.wait("beats left out", |status| number(status, "left_out") > 5 && is_up(status, 1));
    }
    line.signal(Signal::CONT);
    for node in both_nodes(&pair) {
        let status = node.wait("the line", |status| is_up(status, 0) && is_up(status, 1));
        assert_eq!(number(&status, "broken"), 0, "no frame was sent in part");
    }
    let log = pair.a.log() + &pair.b.log();
    assert!(!log.contains("is dead") && !log.contains("stood still for 1"), "{log}");
}

#[test]
fn a_device_that_vanishes_is_opened_again_when_it_is_back() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&both());
    let mut line = Line::lay(&pair);
    pair.start();
    for _ in 0..2 {
        for node in both_nodes(&pair) {
            node.wait("both links", |status| is_up(status, 0) && is_up(status, 1));
        }
        drop(line);
        for node in both_nodes(&pair) {
            let status = node.wait("the loss", |status| {
                status.link(0, "error").is_string() && !is_up(status, 0)
            });
            let error = status.link(0, "error").as_str().unwrap();
            assert!(error.contains(pair.line(node).to_str().unwrap()), "{error}");
            assert_eq!(status.peer(), "up");
        }
        line = Line::lay(&pair);
    }
    for node in both_nodes(&pair) {
        node.wait("both links", |status| is_up(status, 0) && is_up(status, 1));
    }
}

#[test]
fn a_device_that_is_missing_at_the_start_is_waited_for_beside_another_link() {
    if !possible() || !socat_is_here() {
        return;
    }
    let mut pair = Pair::new(&both());
    pair.start();
    let name = pair.line(&pair.a).display().to_string();
    pair.a.logs(&format!("{name}: there is no such device; it is tried again"));
    let line = Line::lay(&pair);
    for node in both_nodes(&pair) {
        node.wait("both links", |status| is_up(status, 0) && is_up(status, 1));
    }
    drop(line);
    let pair = Pair::new(&alone());
    let said = pair.a.run_behind(&[], &["--force"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no link can be used: ") && said.err.contains("no such device"));
    std::fs::write(pair.line(&pair.a), "not a terminal").unwrap();
    let said = pair.a.run_behind(&[], &["--force"]);
    assert!(said.err.contains("this is no serial line"), "{}", said.err);
}
