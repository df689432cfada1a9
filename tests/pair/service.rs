//! What the daemon does beside the cluster, as ha.cf asks for it: log files, programs that are
//! kept running, a watchdog.

use std::io::Write as _;

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
