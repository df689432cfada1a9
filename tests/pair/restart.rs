//! A restart with everything held, judged by a client, by the peer, and by who answers on the wire.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::lan::mac;
use crate::nets::{Net, possible};
use crate::node::{BINARY, Node, until};
use crate::pair::{Pair, Setup, VIP};
use crate::{prober, scripts};

/// A client that asks a thousand times a second; only kernels and the network are in between.
struct Client(Child);

impl Client {
    fn begin(pair: &Pair) -> Self {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", pair.lan.client.name(), "ping", "-i", "0.001", "-W", "2", VIP]);
        Self(ping.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Its summary: sent and answered.
    fn end(self) -> (u64, u64) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), Signal::INT)
            .unwrap();
        let said = self.0.wait_with_output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let summary = said.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let mut numbers = summary.split(|c: char| !c.is_ascii_digit()).filter(|it| !it.is_empty());
        let mut next = || numbers.next().unwrap().parse::<u64>().unwrap();
        (next(), next())
    }
}

/// A pair that holds an address and two scripts, on one node.
fn with_scripts(setup: &Setup) -> Pair {
    let mut pair = scripts::pair(setup);
    pair.start();
    pair
}

fn epoch(node: &Node) -> u64 {
    node.status().unwrap().0["groups"][0]["epoch"].as_u64().unwrap()
}

#[test]
fn a_restart_holds_the_address_and_the_scripts_and_a_client_loses_nothing() {
    if !possible() {
        return;
    }
    // The lease is 250 ms, and the peer's patience twice as much.
    let pair = with_scripts(&Setup::default());
    let (before, core) = (epoch(&pair.a), pair.a.role("core").unwrap());
    let client = Client::begin(&pair);
    for _ in 0..3 {
        let said = pair.a.ask(&["restart"]);
        assert_eq!(said.code, Some(0), "{}\n{}", said.err, pair.a.log());
        assert!(said.out.contains("held all the time: first"), "{}", said.out);
        pair.b.wait("the peer back", |status| status.peer() == "up");
        pair.a.wait("the peer back", |status| status.peer() == "up");
    }
    let (sent, answered) = client.end();
    assert!(sent > 100 && answered >= sent - 1, "{answered} of {sent} were answered");
    assert_ne!(pair.a.role("core"), Some(core));
    assert_eq!((epoch(&pair.a), pair.a.status().unwrap().state(0)), (before, "active"));
    assert_eq!(scripts::calls(&pair.a), "first start, last start");
    assert_eq!(scripts::calls(&pair.b), "");
    pair.b.logs("server101 restarts with all that it holds");
    assert!(!pair.b.log().contains("is dead"), "{}", pair.b.log());
}

#[test]
fn a_daemon_that_does_not_come_back_is_taken_over_from_and_never_one_of_two_that_answer() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    let [a, b] = [&pair.a, &pair.b].map(|node| prober::hardware(&mac(&node.net)));
    let client = Net::borrowed(pair.lan.client.name());
    let answers = prober::ask(&client, VIP, || {
        let said = pair.a.ask(&["stop", "--hold"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(pair.a.ended().success());
        assert!(pair.a.processes().is_empty() && pair.a.holds(VIP));
        let status = pair.b.wait("the notice", |status| status.peer() == "restarting");
        assert_eq!(status.state(0), "standby");
        // Ten seconds, and patience for them.
        pair.b.wait("half of it", |status| status.0["peer"]["silent_ms"].as_u64() > Some(5000));
        pair.b.becomes("active");
    });
    let mut holders: Vec<_> = answers.iter().map(|(_, mac)| *mac).collect();
    holders.dedup();
    assert_eq!(holders, [a, b]);
    // What it left is too old now.
    pair.a.start();
    pair.a.logs("what the process before has left is not used, all begins anew: it is too old");
    pair.a.wait("the peer's group", |status| status.peer() == "up" && status.state(0) == "standby");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

#[test]
fn a_daemon_that_is_started_in_time_goes_on_with_what_the_stopped_one_held() {
    if !possible() {
        return;
    }
    let mut pair = with_scripts(&Setup::default());
    let before = epoch(&pair.a);
    let client = Client::begin(&pair);
    assert_eq!(pair.a.ask(&["stop", "--hold"]).code, Some(0));
    assert!(pair.a.ended().success());
    // Several leases and deadtimes.
    pair.b.wait("a silence", |status| status.0["peer"]["silent_ms"].as_u64() > Some(2000));
    pair.a.start();
    pair.a.wait("service", |status| status.peer() == "up" && status.state(0) == "active");
    let (sent, answered) = client.end();
    assert!(answered >= sent - 1, "{answered} of {sent} were answered");
    assert_eq!(
        (epoch(&pair.a), scripts::calls(&pair.a).as_str()),
        (before, "first start, last start")
    );
    assert!(!pair.a.runtime_dir().join("carried.json").exists());
}

#[test]
fn a_damaged_leaving_is_refused_and_the_start_is_an_ordinary_one() {
    if !possible() {
        return;
    }
    let mut pair = with_scripts(&Setup::default());
    assert_eq!(pair.a.ask(&["stop", "--hold"]).code, Some(0));
    assert!(pair.a.ended().success());
    let file = pair.a.runtime_dir().join("carried.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    pair.a.start();
    pair.a.logs("what the process before has left is not used, all begins anew: it is damaged");
    let one_holder = until(|| {
        let states = [&pair.a, &pair.b].map(|node| node.status());
        let [Some(a), Some(b)] = states else { return None };
        let held = [pair.a.holds(VIP), pair.b.holds(VIP)];
        match (a.state(0), b.state(0)) {
            ("active", "standby") => (held == [true, false]).then_some(()),
            ("standby", "active") => (held == [false, true]).then_some(()),
            _ => None,
        }
    });
    assert!(one_holder.is_some(), "{}\n{}", pair.a.log(), pair.b.log());
    // What was up was stopped first.
    assert!(scripts::calls(&pair.a).starts_with("first start, last start, last stop, first stop"));
    assert!(!file.exists());
}

#[test]
fn a_script_that_has_died_meanwhile_is_not_held() {
    if !possible() {
        return;
    }
    let mut pair = with_scripts(&Setup::default());
    assert_eq!(pair.a.ask(&["stop", "--hold"]).code, Some(0));
    assert!(pair.a.ended().success());
    std::fs::remove_file(pair.a.config.join("resource.d/last.up")).unwrap();
    pair.a.start();
    pair.a.logs("is not as it was left, and is released: last does not run");
    pair.a.wait("a peer", |status| status.peer() == "up");
    // Nothing of it was left half up.
    assert!(scripts::calls(&pair.a).starts_with("first start, last start, first stop"));
}

/// A program of its own for a node, which an upgrade can replace.
fn own_program(node: &mut Node, lan: &std::path::Path) -> PathBuf {
    let program = lan.join(format!("{}-pairbeat", node.name));
    std::fs::copy(BINARY, &program).unwrap();
    node.program.clone_from(&program);
    program
}

/// Puts another file in its place, as a package manager does.
fn replace(program: &std::path::Path, with: impl FnOnce(&std::path::Path)) {
    let new = program.with_extension("new");
    with(&new);
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, program).unwrap();
}

#[test]
fn an_upgrade_is_run_by_a_restart_and_one_that_can_not_run_changes_nothing() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    let program = own_program(&mut pair.a, &pair.scratch.0);
    pair.start();
    let core = pair.a.role("core");
    replace(&program, |new| std::fs::write(new, "#!/bin/sh\necho broken >&2\nexit 7\n").unwrap());
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(said.err.contains("ended with exit status: 7: broken"), "{}", said.err);
    replace(&program, |new| std::fs::copy(BINARY, new).map(|_| ()).unwrap());
    // A configuration that the new one can't read.
    let file = pair.a.config.join("ha.cf");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\nno_such_thing yes\n")).unwrap();
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(4), "{}", said.err);
    std::fs::write(&file, good).unwrap();
    // Other resources for what is held.
    let file = pair.a.config.join("haresources");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("/24/eth0", "/24/eth0 192.168.2.119/24/eth0")).unwrap();
    let said = pair.a.ask(&["restart"]);
    assert!(said.err.contains("`pairbeat reload` first"), "{}", said.err);
    std::fs::write(&file, good).unwrap();
    assert_eq!((pair.a.role("core"), pair.a.status().unwrap().state(0)), (core, "active"));
    let runs = || std::fs::read_link(format!("/proc/{}/exe", pair.a.supervisor().as_raw_nonzero()));
    assert!(runs().unwrap().to_str().unwrap().ends_with(" (deleted)"));
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.err, pair.a.log());
    assert_eq!(runs().unwrap(), program);
    assert!(pair.a.holds(VIP));
}

#[test]
fn what_a_reload_refuses_is_taken_over_by_a_restart_but_for_an_armed_watchdog() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    let file = pair.a.config.join("ha.cf");
    // There is no such device, and nothing is armed; the rule goes by the configuration.
    let device = pair.scratch.0.join("nowhere/watchdog");
    let plain = std::fs::read_to_string(&file).unwrap();
    let watched = format!("{plain}\nwatchdog {}\n", device.display());
    std::fs::write(&file, &watched).unwrap();
    pair.start();
    pair.a.wait("the address", |status| status.state(0) == "active");
    let more = format!("{watched}bcast eth0\nping 192.168.2.105\nrtprio 9\n");
    std::fs::write(&file, &more).unwrap();
    let said = pair.a.ask(&["reload"]);
    assert_eq!(said.err.matches("`pairbeat restart` takes them over").count(), 3, "{}", said.err);
    let (before, links) = (epoch(&pair.a), pair.a.status().unwrap().0["links"].clone());
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.err, pair.a.log());
    assert!(said.out.contains("held all the time: "), "{}", said.out);
    let now = pair.a.status().unwrap();
    let count = |links: &serde_json::Value| links.as_array().unwrap().len();
    assert_eq!((epoch(&pair.a), count(&now.0["links"])), (before, count(&links) + 1));
    std::fs::write(&file, more.replace("watchdog ", "# ")).unwrap();
    let said = pair.a.ask(&["reload"]);
    assert!(said.err.contains("the watchdog device can't be changed"), "{}", said.err);
    let core = pair.a.role("core");
    for command in [&["restart"][..], &["stop", "--hold"]] {
        let said = pair.a.ask(command);
        assert_eq!(said.code, Some(4), "{}", said.err);
        assert!(said.err.contains("`pairbeat stop` hands over"), "{}", said.err);
    }
    assert_eq!(pair.a.role("core"), core);
    assert!(pair.a.holds(VIP));
}

/// The node has been told to stop while it ended with everything held: whatever was held is given
/// away in order, and nothing is left behind.
fn gave_all_away(pair: &mut Pair) {
    let end = pair.a.ended();
    assert!(end.success(), "{end}\n{}", pair.a.log());
    pair.b.becomes("active");
    assert_eq!(scripts::calls(&pair.a), "first start, last start, last stop, first stop");
    assert_eq!(scripts::calls(&pair.b), "first start, last start");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
    assert!(!pair.a.runtime_dir().join("carried.json").exists());
}

/// Asks while the supervisor stands still, tells it to stop when the core has ended, and lets it go
/// on.
fn told_to_stop_at_the_end_of_the_core(words: &[&str]) {
    let mut pair = with_scripts(&Setup::default());
    let supervisor = pair.a.supervisor();
    pair.a.signal(supervisor, Signal::STOP);
    let mut asking = pair.a.asking(std::path::Path::new(BINARY), words);
    let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ended = until(|| pair.a.role("core").is_none().then_some(()));
    assert!(ended.is_some(), "{}", pair.a.log());
    pair.a.signal(supervisor, Signal::TERM);
    pair.a.signal(supervisor, Signal::CONT);
    gave_all_away(&mut pair);
    let _ended_by_itself = asking.kill();
    asking.wait().unwrap();
}

#[test]
fn a_stop_signal_that_meets_a_stop_with_everything_held_gives_all_away() {
    if !possible() {
        return;
    }
    told_to_stop_at_the_end_of_the_core(&["stop", "--hold"]);
}

#[test]
fn a_stop_signal_that_meets_a_restart_gives_all_away() {
    if !possible() {
        return;
    }
    told_to_stop_at_the_end_of_the_core(&["restart"]);
}

#[test]
fn a_stop_signal_before_the_next_program_takes_signals_waits_for_it() {
    if !possible() {
        return;
    }
    let mut pair = scripts::pair(&Setup::default());
    let program = own_program(&mut pair.a, &pair.scratch.0);
    pair.start();
    let [here, go] = ["here", "go"].map(|name| pair.scratch.0.join(name));
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    // Nothing that a shell would wait for: it takes all signals again then.
    let slow = format!(
        "#!/bin/sh\ncase \" $* \" in *\" run \"*)\n: >{}\nread -r go <{};;\nesac\n\
         exec {BINARY} \"$@\"\n",
        here.display(),
        go.display()
    );
    replace(&program, |new| std::fs::write(new, slow).unwrap());
    let mut asking = pair.a.asking(std::path::Path::new(BINARY), &["restart"]);
    let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = until(|| here.exists().then_some(()));
    assert!(begun.is_some(), "{}", pair.a.log());
    pair.a.signal(pair.a.supervisor(), Signal::TERM);
    std::fs::write(&go, "go\n").unwrap();
    gave_all_away(&mut pair);
    let _ended_by_itself = asking.kill();
    asking.wait().unwrap();
}
