//! What the daemon does beside the cluster, as ha.cf asks for it: log files, programs that are
//! kept running, a watchdog.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::nets::possible;
use crate::node::until;
use crate::pair::{Pair, Setup};

/// Adds lines to the ha.cf of the first node.
fn with_ha_cf(pair: &Pair, lines: &str) {
    let path = pair.a.config.join("ha.cf");
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

#[test]
fn the_log_goes_to_a_file_too_which_can_be_put_aside_and_realtime_can_be_switched_off() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    let (file, aside) = (pair.scratch.0.join("ha-log"), pair.scratch.0.join("aside"));
    with_ha_cf(&pair, &format!("logfile {}\nrealtime off\n", file.display()));
    pair.start();
    let logged = |what: &str| {
        let text = || std::fs::read_to_string(&file).unwrap_or_default();
        let found = until(|| text().contains(what).then_some(()));
        assert!(found.is_some(), "no `{what}` in\n{}", text());
    };
    // Of the supervisor, of the core, of the cluster.
    for what in ["in service", "switched off in the configuration", "server105 is up"] {
        logged(what);
    }
    std::fs::rename(&file, &aside).unwrap();
    pair.a.signal(pair.a.supervisor(), Signal::HUP);
    logged("configuration reloaded");
    assert!(!std::fs::read_to_string(&aside).unwrap().contains("configuration reloaded"));
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    pair.a.ended();
    logged("stopped");
}

/// A script, made executable.
fn program(pair: &Pair, name: &str, text: &str) -> std::path::PathBuf {
    let path = pair.scratch.0.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_program_runs_as_its_user_is_started_again_and_ends_by_code_100_or_with_the_node() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    std::fs::set_permissions(&pair.scratch.0, std::fs::Permissions::from_mode(0o777)).unwrap();
    let said = pair.scratch.0.join("said");
    let text = format!("echo \"$(id -u) $1 $HA_SITE\" >> {0}\n", said.display());
    let twice = format!("{text}[ $(wc -l < {}) -lt 2 ] || exit 100\n", said.display());
    let twice = program(&pair, "twice", &twice);
    let long = program(&pair, "long", "trap '' TERM\nwhile :; do sleep 1; done\n");
    with_ha_cf(
        &pair,
        &format!(
            "env SITE=north\nrespawn nobody {} --all\nrespawn root {}\n",
            twice.display(),
            long.display()
        ),
    );
    pair.start();
    pair.a.logs("twice has ended (exit status: 100)");
    let uid = std::process::Command::new("id").args(["-u", "nobody"]).output().unwrap().stdout;
    let line = format!("{} --all north\n", String::from_utf8(uid).unwrap().trim());
    assert_eq!(std::fs::read_to_string(&said).unwrap(), line.repeat(2));
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    assert_eq!(pair.a.ended().code(), Some(0));
    // What was killed takes a moment to be gone; the program itself would go on for ever.
    let gone = until(|| pair.a.processes().is_empty().then_some(()));
    assert!(gone.is_some(), "the program ignores SIGTERM, and has ended all the same");
}

#[test]
fn the_end_of_a_vital_program_hands_everything_to_the_peer_and_ends_the_node() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    let vital = program(&pair, "vital", "exec sleep 1000\n");
    with_ha_cf(&pair, &format!("failfast root {}\n", vital.display()));
    pair.start();
    let sleeper = until(|| pair.a.role("1000"));
    pair.a.signal(sleeper.unwrap(), Signal::KILL);
    pair.b.becomes("active");
    assert_eq!(pair.a.ended().code(), Some(1));
    assert!(pair.a.log().contains("vital has ended, without which this node is not to run"));
}

#[test]
fn the_watchdog_is_fed_by_a_core_that_lives_and_by_nobody_while_it_stands_still() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::patient());
    // A file takes the place of the device and shows what it is told.
    let device = pair.scratch.0.join("watchdog");
    std::fs::write(&device, "").unwrap();
    with_ha_cf(&pair, &format!("watchdog {}\n", device.display()));
    pair.start();
    let told = || std::fs::read(&device).unwrap();
    let fed = told().len();
    assert!(until(|| (told().len() > fed + 1).then_some(())).is_some());

    let core = pair.a.role("core").unwrap();
    pair.a.signal(core, Signal::STOP);
    pair.a.logs("the watchdog is not fed any more: the core does not answer");
    pair.a.signal(core, Signal::CONT);
    let fed = told().len();
    assert!(until(|| (told().len() > fed + 1).then_some(())).is_some(), "fed again");

    // A core that dies is replaced; nothing is held meanwhile.
    pair.a.signal(core, Signal::KILL);
    pair.a.wait("a new core", |status| status.peer() == "up");
    assert_eq!(pair.a.log().matches("is not fed any more").count(), 1, "{}", pair.a.log());
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    pair.a.ended();
    assert_eq!(told().last(), Some(&b'V'), "switched off at the end");
    assert!(told().iter().rev().skip(1).all(|byte| *byte == 0));
}
