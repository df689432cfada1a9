//! Reload: all of a new configuration, or nothing of it.

use rustix::process::Signal;

use crate::nets::possible;
use crate::node::{Node, Status, until};
use crate::pair::{KEY, Pair, Setup, VIP, VIP2};
use crate::prober;

#[test]
fn reload_applies_an_unchanged_configuration_and_refuses_one_with_faults() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let before = pair.a.status().unwrap().0["groups"].clone();
    let said = pair.a.ask(&["reload"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "reloaded\n", ""));

    let (ha_cf, haresources) = (pair.a.config.join("ha.cf"), pair.a.config.join("haresources"));
    let good = std::fs::read_to_string(&ha_cf).unwrap();
    std::fs::write(&ha_cf, format!("keepalive soon\n{good}deadtime never\n")).unwrap();
    std::fs::write(&haresources, "server101 192.168.2.999/24/eth0\n").unwrap();
    let said = pair.a.ask(&["reload"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    for place in ["ha.cf:1:11: fault:", "ha.cf:10:10: fault:", "haresources:1:11: fault:"] {
        assert!(said.err.contains(place), "{place}\n{}", said.err);
    }
    assert!(said.err.ends_with("not reloaded; everything goes on as before\n"), "{}", said.err);

    hang_up(&pair.a, "configuration not reloaded");

    Setup::patient().write(&pair.a.config, KEY);
    hang_up(&pair.a, "configuration reloaded");
    pair.a.wait("everything as before", |status| status.0["groups"] == before);
    assert!(pair.a.holds(VIP));
}

/// Reloads by signal and waits for the end of it, which is logged once more than before: files
/// written while they are read would be half of a configuration.
fn hang_up(node: &Node, end: &str) {
    let before = node.log().matches(end).count();
    node.signal(node.supervisor(), Signal::HUP);
    let ended = until(|| (node.log().matches(end).count() > before).then_some(()));
    assert!(ended.is_some(), "no {end}\n{}", node.log());
}

/// Reloads with another setup, which must be accepted.
fn reload(node: &Node, setup: &Setup) -> String {
    setup.write(&node.config, KEY);
    let said = node.ask(&["reload"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.err, node.log());
    said.err
}

fn resources(words: &str) -> Setup {
    Setup { haresources: format!("server101 {words}\n"), ..Setup::default() }
}

#[test]
fn timing_and_auto_failback_change_by_a_reload_and_nobody_looks_dead() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    pair.b.becomes("active");
    pair.a.wait("peer", |status| status.peer() == "up");
    // One node has the new timing long before the other.
    let slow = Setup { deadtime: 3000, initdead: 4000, auto_failback: true, ..Setup::default() };
    let ha_cf = |node: &Node| {
        let path = node.config.join("ha.cf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("keepalive 100ms", "keepalive 900ms")).unwrap();
    };
    slow.write(&pair.a.config, KEY);
    ha_cf(&pair.a);
    let said = pair.a.ask(&["reload"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.err, pair.a.log());
    pair.a.wait("longer lease", |status| status.0["guard"] == "lease of 1000 ms");
    pair.a.becomes("active");
    pair.b.becomes("standby");
    reload(&pair.b, &slow);
    for node in [&pair.a, &pair.b] {
        assert_eq!(node.status().unwrap().peer(), "up");
        assert!(!node.log().contains("is dead"), "{}", node.log());
    }
}

#[test]
fn an_active_group_gets_and_loses_an_address_while_the_other_goes_on_to_answer() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&resources(&format!("{VIP}/24/eth0")));
    let both = resources(&format!("{VIP}/24/eth0 {VIP2}/24/eth0"));
    let answers = prober::ask(&pair.lan.client, VIP, || {
        reload(&pair.a, &both);
        assert!(pair.a.holds(VIP) && pair.a.holds(VIP2), "{}", pair.a.log());
        assert!(pair.a.status().unwrap().notes(0).contains(VIP2));
        reload(&pair.a, &resources(&format!("{VIP}/24/eth0")));
        assert!(pair.a.holds(VIP) && !pair.a.holds(VIP2), "{}", pair.a.log());
    });
    let mine = prober::hardware(&crate::lan::mac(&pair.a.net));
    assert!(answers.iter().all(|(_, mac)| *mac == mine));
    assert_eq!(pair.a.log().matches("starting here").count(), 1, "{}", pair.a.log());
    // What the supervisor would release is known: the core dies, and nothing is left.
    reload(&pair.a, &both);
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    pair.a.logs("its addresses are removed");
    assert!(!pair.a.holds(VIP) && !pair.a.holds(VIP2));
}

#[test]
fn a_resource_that_does_not_start_leaves_the_group_as_it_was() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let script = pair.a.config.join("resource.d/broken");
    std::fs::write(&script, "#!/bin/sh\n[ \"$1\" = start ] && exit 1\nexit 0\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    resources(&format!("{VIP2}/24/eth0 broken")).write(&pair.a.config, KEY);
    let haresources = pair.a.config.join("haresources");
    std::fs::write(&haresources, format!("server101 {VIP}/24/eth0 {VIP2}/24/eth0 broken\n"))
        .unwrap();
    let said = pair.a.ask(&["reload"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let put_back = until(|| (!pair.a.holds(VIP2)).then_some(()));
    assert!(put_back.is_some() && pair.a.holds(VIP), "{}", pair.a.log());
    assert_eq!(pair.a.status().unwrap().state(0), "active");
}

#[test]
fn a_group_that_is_new_is_decided_as_at_boot_and_one_that_is_gone_is_stopped() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let two = Setup::default().two_groups();
    let said = reload(&pair.b, &two);
    assert!(said.contains("note: ") && said.contains("new"), "{said}");
    reload(&pair.a, &two);
    pair.b.wait("second group", |status| status.groups().len() == 2 && status.state(1) == "active");
    assert!(pair.b.holds(VIP2) && pair.a.holds(VIP));
    pair.a
        .wait("second group", |status| status.groups().len() == 2 && status.state(1) == "standby");
    reload(&pair.a, &Setup::default());
    reload(&pair.b, &Setup::default());
    assert!(!pair.b.holds(VIP2) && pair.a.holds(VIP));
    assert_eq!(pair.a.status().unwrap().state(0), "active");
}

#[test]
fn a_directors_file_that_changes_on_the_disk_is_read_again_and_somebody_is_told() {
    if !possible() {
        return;
    }
    let haresources = format!("server101 {VIP}/24/eth0 ldirectord::web.cf\n");
    let mut pair = Pair::new(&Setup { haresources, ..Setup::default() });
    let (file, told) = (pair.a.config.join("web.cf"), pair.a.config.join("told"));
    let text = |weight: &str| {
        let callback = format!("/bin/sh -c 'echo >>{} \"$@\"'", told.display());
        format!(
            "autoreload=yes\ncallback=\"{callback} sh\"\nvirtual={VIP}:80\n\
             \treal=192.168.2.7:80 gate {weight}\n\tchecktype=on\n"
        )
    };
    std::fs::write(&file, text("1")).unwrap();
    pair.a.start();
    let weight =
        |n: u32| move |status: &Status| status.0["virtual"][0]["real"][0]["configured_weight"] == n;
    pair.a.wait("the file as it is", weight(1));
    let calls = || std::fs::read_to_string(&told).unwrap_or_default().lines().count();
    std::fs::write(&file, text("7")).unwrap();
    pair.a.wait("the file as it is now", weight(7));
    assert!(until(|| (calls() == 1).then_some(())).is_some(), "{}", pair.a.log());
    assert_eq!(std::fs::read_to_string(&told).unwrap(), format!("{}\n", file.display()));
    std::fs::write(&file, text("heavy")).unwrap();
    assert!(until(|| (calls() == 2).then_some(())).is_some(), "{}", pair.a.log());
    pair.a.wait("as before", weight(7));
    std::fs::write(&file, text("8")).unwrap();
    pair.a.wait("the mended file", weight(8));
}
