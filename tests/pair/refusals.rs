//! What keeps a node from starting, what it says then, and what it must not say at all.

use std::io::Read;
use std::process::Stdio;

use crate::nets::possible;
use crate::node::{BINARY, Node, Said};
use crate::pair::{KEY, Pair, Setup, VIP};

/// A `run` that ended with this sentence, and touched nothing.
fn refused(node: &Node, said: &Said, sentences: &[&str]) {
    assert_eq!(said.code, Some(1), "{}", said.err);
    for sentence in sentences {
        assert!(said.err.contains(sentence), "`{sentence}` is not in\n{}", said.err);
    }
    let reasons = said.err.lines().filter(|line| line.starts_with("pairbeat: "));
    assert!(reasons.count() >= 1, "{}", said.err);
    assert!(!said.err.contains("panicked"), "{}", said.err);
    assert!(!node.holds(VIP));
}

#[test]
fn a_second_daemon_with_the_same_runtime_directory_is_refused() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    pair.b.start();
    pair.b.wait("an answer", |_| true);
    let said = pair.b.run_behind(&[], &["--force"]);
    let run = pair.b.runtime_dir().display().to_string();
    refused(&pair.b, &said, &[&format!("pairbeat: a daemon already runs with {run}")]);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(pair.b.status().is_some(), "the first one goes on");
}

#[test]
fn a_port_that_another_program_has_is_named() {
    if !possible() {
        return;
    }
    let pair = Pair::new(&Setup::default());
    pair.lan.node.run(|| async {
        let _taken = tokio::net::UdpSocket::bind("0.0.0.0:694").await.unwrap();
        let said = pair.a.run_behind(&[], &["--force"]);
        refused(&pair.a, &said, &["UDP port 694 is taken; `ss -ulpn 'sport = :694'` shows"]);
    });
}

#[test]
fn a_missing_interface_on_the_only_link_is_named() {
    if !possible() {
        return;
    }
    let setup = Setup { interface: "eth7", ..Setup::default() };
    let pair = Pair::new(&setup);
    let said = pair.a.run_behind(&[], &["--force"]);
    refused(&pair.a, &said, &["no link can be used: there is no interface eth7; correct"]);
}

#[test]
fn without_privileges_the_needed_ones_are_named() {
    if !possible() {
        return;
    }
    let pair = Pair::new(&Setup::default());
    let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];
    let said = pair.a.run_behind(&bare, &["--force"]);
    refused(&pair.a, &said, &["CAP_NET_"]);
    // Neither the priority for a deadtime under a second.
    let without = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-all", "--"];
    let said = pair.a.run_behind(&without, &[]);
    refused(
        &pair.a,
        &said,
        &["deadtime 500 ms needs real-time priority", "CAP_SYS_NICE", "--force"],
    );
}

#[test]
fn a_director_on_a_kernel_without_ipvs_fails_its_group_and_the_node_goes_on() {
    if !possible() {
        return;
    }
    let haresources = format!("server101 {VIP}/24/eth0 ldirectord::web.cf\n");
    let mut pair = Pair::new(&Setup { haresources, ..Setup::default() });
    let service = format!(
        "virtual={VIP}:80\n\treal=192.168.2.7:80 gate\n\tchecktype=connect\n\tscheduler=rr\n"
    );
    std::fs::write(pair.a.config.join("web.cf"), service).unwrap();
    pair.a.start();
    let status = pair.a.wait("a view of IPVS", |status| status.0["ipvs"] != "ok");
    if std::fs::exists("/proc/net/ip_vs").unwrap() {
        return;
    }
    assert!(status.0["ipvs"].as_str().unwrap().contains("modprobe ip_vs"), "{status:?}");
    pair.a.becomes("failed");
    assert!(!pair.a.holds(VIP));
    let text = pair.a.ask(&["status"]);
    assert_eq!(text.code, Some(0));
    assert!(text.out.contains("modprobe ip_vs") && text.out.contains("FAILED"), "{}", text.out);
}

#[test]
fn the_status_for_people_is_printed_and_a_closed_pipe_is_no_error() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let text = pair.a.ask(&["status"]).out;
    for part in ["server101  peer server105 up", "link eth0  up", "active here", "confirmed by"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for words in [&["status"][..], &["status", "--json"]] {
        let mut asking = pair.a.asking(BINARY.as_ref(), words);
        let mut child = asking.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
    }
}

#[test]
fn no_secret_is_in_an_argument_a_log_or_a_status() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let mut seen = pair.a.log() + &pair.b.log();
    for words in [&["status"][..], &["status", "--json"], &["check"], &["reload"]] {
        let said = pair.a.ask(words);
        seen = seen + &said.out + &said.err;
    }
    for pid in pair.a.processes() {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", pid.as_raw_nonzero());
            seen += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    }
    assert!(seen.contains("server105"));
    assert!(!seen.contains(KEY) && !seen.contains(&KEY[..16]));
}
