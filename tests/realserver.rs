//! `pairbeat realserver` on a real kernel: a director, a real server, a gateway and a client on one
//! LAN of namespaces.
//!
//! Needs root. Where that is missing the tests print SKIP, and fail when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/lan.rs"]
mod lan;
#[path = "common/needs.rs"]
mod needs;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "common/nets.rs"]
mod nets;

#[path = "common/prepared.rs"]
mod prepared;

use std::collections::BTreeSet;
use std::process::Command;

use pairbeat::sys::inject::Injector;

use lan::PATIENCE;
use nets::sh;
use prepared::{Rig, VIP, VIP6};

#[test]
fn in_gate_mode_the_real_server_takes_packets_and_only_the_director_answers() {
    let Some(rig) = Rig::new("gate") else { return };
    // As somebody does it who knows the half of it: what the test asks must be able to fail.
    rig.server().ip(&format!("addr add {VIP}/32 dev lo"));
    let both = BTreeSet::from([lan::mac(&rig.lan.node), lan::mac(rig.server())]);
    assert_eq!(rig.heard(VIP), both);
    rig.server().ip(&format!("addr del {VIP}/32 dev lo"));
    let (code, said, _) = rig.call(&format!("status {VIP}"));
    assert_eq!(code, 3, "{said}");

    rig.well(&format!("up {VIP}"));
    assert_eq!(rig.heard(VIP), rig.director());
    rig.delivered(VIP);
    let said = rig.well("status");
    assert!(said.contains(&format!("{VIP}  ready, gate on lo")), "{said}");
    assert!(
        said.contains("eth0: asked, and it does not answer") || said.contains("not asked:"),
        "{said}"
    );

    rig.set("all.arp_ignore", "0");
    let (code, said, _) = rig.call("status");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("arp_ignore is 0") && said.contains("eth0: asked, and it ANSWERS"),
        "{said}"
    );
    assert_eq!(rig.heard(VIP), both, "and so it does");

    rig.well(&format!("up {VIP}"));
    assert_eq!(rig.heard(VIP), rig.director());
    rig.well("down");
    assert_eq!(rig.call("status").0, 3);
}

/// What asking shows: for each virtual IP whether it answered, `null` where it was not asked.
fn asked(rig: &Rig) -> Vec<(String, serde_json::Value)> {
    let (_, said, _) = rig.call("status --json");
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    let vips = status.get("vips").unwrap().as_array().unwrap().clone();
    let of = |vip: &serde_json::Value| {
        let lan = vip.get("lans").unwrap().get(0).unwrap();
        (vip.get("vip").unwrap().as_str().unwrap().to_owned(), lan["answered_when_asked"].clone())
    };
    vips.iter().map(of).collect()
}

#[test]
fn status_asks_the_machine_itself_and_is_right_where_the_settings_are_not_all() {
    let Some(rig) = Rig::new("asked") else { return };
    if !needs::met(Injector::open().is_ok(), "bpf(2), Linux 5.18") {
        return;
    }
    rig.well(&format!("up {VIP} {VIP6}"));
    let silent = || vec![(VIP.to_owned(), false.into()), (VIP6.to_owned(), false.into())];
    assert_eq!(asked(&rig), silent());
    // The client saw nothing of it.
    assert_eq!(rig.heard(VIP), rig.director());
    rig.set("all.arp_ignore", "0");
    assert_eq!(asked(&rig), [(VIP.to_owned(), true.into()), (VIP6.to_owned(), false.into())]);
    // Settings that let it answer, and a filter that does not.
    let nft = "add table arp t; add chain arp t in { type filter hook input priority 0; }; \
               add rule arp t in arp operation request arp daddr ip 192.168.2.110 drop";
    let mut command = Command::new("ip");
    command.args(["netns", "exec", rig.server().name(), "nft", nft]);
    assert!(command.status().unwrap().success());
    assert_eq!(asked(&rig), silent());
    assert_eq!(rig.heard(VIP), rig.director());
    // One that is on the card.
    rig.server().ip(&format!("addr add {VIP6}/64 dev eth0 nodad"));
    assert_eq!(asked(&rig), [(VIP.to_owned(), false.into()), (VIP6.to_owned(), true.into())]);
    // Nothing that the test of the test could be told by.
    rig.server().ip("addr flush dev eth0");
    let (code, said, _) = rig.call("status");
    assert!(code == 1 && said.contains("not asked: the interface has no address"), "{said}");
}

#[test]
fn the_example_of_the_documentation_works_as_it_stands() {
    let Some(rig) = Rig::new("example") else { return };
    let page = include_str!("../docs/REALSERVER.md");
    let (_, rest) = page.split_once("<!-- example -->\n```sh\n").unwrap();
    let (lines, _) = rest.split_once("```").unwrap();
    let before = rig.everything();
    let mut codes = Vec::new();
    for line in lines.lines() {
        let words = line.strip_prefix("pairbeat realserver ").unwrap();
        codes.push(rig.call(words).0);
        if words == "status" {
            assert_eq!(rig.heard(VIP), rig.director());
        }
    }
    assert_eq!(codes, [0, 0, 0]);
    rig.is_as(&before, "after the last line");
}

#[test]
fn the_unit_for_systemd_says_what_the_command_line_takes() {
    let Some(rig) = Rig::new("unit") else { return };
    let unit = include_str!("../etc/systemd/pairbeat-realserver@.service");
    let words = |key: &str, mode: &str, instance: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let words = line.strip_prefix("=/usr/sbin/pairbeat realserver ").unwrap();
        words.replace("${MODE}", mode).replace("$OVER", "").replace("%i", instance)
    };
    let mode = unit.lines().find_map(|line| line.strip_prefix("Environment=MODE=")).unwrap();
    let before = rig.everything();
    for vip in [VIP, VIP6] {
        rig.well(&words("ExecStart", mode, vip));
        assert_eq!(rig.heard(vip), rig.director());
    }
    rig.well(&words("ExecReload", mode, VIP));
    for vip in [VIP, VIP6] {
        rig.well(&words("ExecStop", mode, vip));
    }
    rig.is_as(&before, "all instances stopped");
}

#[test]
fn an_ipv6_address_on_the_loopback_is_not_answered_for_and_usable_at_once() {
    let Some(rig) = Rig::new("ipv6") else { return };
    let before = rig.everything();
    rig.well(&format!("up {VIP6}"));
    let shown = rig.server().ip("-6 addr show dev lo");
    assert!(shown.contains(&format!("{VIP6}/128")) && shown.contains("nodad"), "{shown}");
    assert!(!shown.contains("tentative"), "{shown}");
    assert_eq!(rig.heard(VIP6), rig.director());
    rig.delivered(VIP6);
    assert!(rig.well("status").contains("ready"));
    rig.well("down");
    rig.is_as(&before, "put back");
}

#[test]
fn down_puts_back_exactly_what_was_there() {
    let Some(rig) = Rig::new("exact") else { return };
    // A machine with habits of its own.
    rig.set("all.arp_announce", "1");
    rig.set("eth0.arp_ignore", "3");
    rig.server().ip("addr add 192.168.2.111/32 dev lo");
    let before = rig.everything();
    assert_eq!(rig.well("down"), "nothing to take back\n");
    rig.is_as(&before, "put back");

    let all = format!("{VIP} 192.168.2.111 {VIP6}");
    rig.well(&format!("up {all}"));
    assert_eq!(rig.heard(VIP), rig.director());
    let (up, file) = (rig.everything(), rig.state.join("realserver.json"));
    let kept = std::fs::read(&file).unwrap();
    assert_eq!(rig.well(&format!("up {all}")), "already so\n");
    rig.is_as(&up, "up twice");
    assert_eq!(std::fs::read(&file).unwrap(), kept);

    rig.well(&format!("down {VIP}"));
    let shown = rig.server().ip("addr show dev lo");
    assert!(!shown.contains(VIP) && shown.contains(VIP6), "{shown}");
    rig.well("down");
    rig.is_as(&before, "the address that was there before, too");
    assert!(!file.exists());
    assert_eq!(rig.well("down"), "nothing to take back\n");
}

#[test]
fn what_somebody_else_has_set_meanwhile_stays_and_is_said() {
    let Some(rig) = Rig::new("meanwhile") else { return };
    rig.well(&format!("up {VIP}"));
    rig.set("all.arp_ignore", "8");
    let (code, _, errors) = rig.call("down");
    assert_eq!(code, 0);
    assert!(errors.contains("arp_ignore is 8") && errors.contains("stays as it is"), "{errors}");
    let left = sh(&format!(
        "ip netns exec {} sysctl -n net.ipv4.conf.all.arp_ignore net.ipv4.conf.all.arp_announce",
        rig.server().name()
    ));
    assert_eq!(left, "8\n0\n");
}

#[test]
fn an_up_that_is_killed_is_finished_or_taken_back_by_the_next_command() {
    let Some(rig) = Rig::new("killed") else { return };
    let before = rig.everything();
    let list = rig.state.with_extension("list");
    let many: String = (1..=200).map(|n| format!("10.9.0.{n}  # one of many\n")).collect();
    std::fs::write(&list, many).unwrap();
    let words = format!("up --file {}", list.display());
    for round in 0..6 {
        let mut child = rig.command(&words).stdout(std::process::Stdio::null()).spawn().unwrap();
        // From when it has written down what it is about to do.
        rig.lan.node.run(|| async {
            let until = tokio::time::Instant::now() + PATIENCE;
            while !rig.state.join("realserver.json").exists() {
                assert!(tokio::time::Instant::now() < until, "it has not begun");
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(round * 10)).await;
        });
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 1 {
            rig.well(&words);
            assert!(rig.server().ip("addr show dev lo").contains("10.9.0.200/32"));
        }
        let (code, said, errors) = rig.call("down");
        assert_eq!(code, 0, "{said}{errors}");
        rig.is_as(&before, &format!("round {round}"));
    }
    std::fs::remove_file(list).unwrap();
}

#[test]
fn a_damaged_memory_is_refused_and_kept() {
    let Some(rig) = Rig::new("damaged") else { return };
    rig.well(&format!("up {VIP}"));
    let file = rig.state.join("realserver.json");
    std::fs::write(&file, "{").unwrap();
    for words in [format!("up {VIP}"), "down".to_owned(), "status".to_owned()] {
        let (code, _, errors) = rig.call(&words);
        assert_eq!(code, 1, "{words}");
        assert!(errors.contains("realserver.json") && errors.contains("remove it"), "{errors}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{");
}

#[test]
fn an_address_that_is_on_the_card_is_said() {
    let Some(rig) = Rig::new("card") else { return };
    rig.server().ip("addr add 192.168.2.111/24 dev eth0");
    let (code, _, errors) = rig.call("up 192.168.2.111");
    assert_eq!(code, 0);
    assert!(errors.contains("192.168.2.111 is on eth0 too"), "{errors}");
    let (code, said, _) = rig.call("status");
    assert!(code == 1 && said.contains("ANSWERS"), "{said}");
}

#[test]
fn words_that_mean_nothing_are_refused_before_anything_is_done() {
    let Some(rig) = Rig::new("words") else { return };
    for words in
        ["up", "up 127.0.0.1", "up 224.0.0.1", "up 192.168.2.110/24", "up --interface a/b 10.0.0.1"]
    {
        assert_eq!(rig.call(words).0, 2, "{words}");
    }
    let list = rig.state.with_extension("list");
    std::fs::write(&list, "10.0.0.1\n  ten # not one\nff02::1\n").unwrap();
    let (code, _, errors) = rig.call(&format!("up --file {}", list.display()));
    assert_eq!(code, 1);
    assert!(errors.contains(":2:3: `ten`") && errors.contains(":3:1: `ff02::1`"), "{errors}");
    let (code, _, errors) = rig.call("up --interface eth7 10.0.0.1");
    assert!(code == 1 && errors.contains("eth7"), "{errors}");
    std::fs::remove_file(list).unwrap();
}
