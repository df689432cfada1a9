//! OCF agents of the `resource-agents` package, and systemd units: run for real, stopped for real,
//! looked after, and started again when they have died.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::lan::{learned, mac};
use crate::needs::met;
use crate::nets::possible;
use crate::node::{Node, Status, until};
use crate::pair::{Pair, Setup, VIP, VIP2};

/// A unit of a systemd that is not there, and a systemctl that knows it.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=@HERE@
[ "$1" = --no-ask-password ] || exit 1
case $2 in
  is-active) if [ -e $here/$3 ]; then cat $here/$3; else echo inactive; exit 3; fi ;;
  start) echo "start $3" >>$here/units; echo active >$here/$3 ;;
  stop) echo "stop $3" >>$here/units; rm -f $here/$3 ;;
esac
"#;

/// Whether this machine has what stands there.
fn installed(path: &str, package: &str) -> bool {
    met(Path::new(path).exists(), &format!("{path} of {package}"))
}

fn agents() -> bool {
    possible()
        && installed("/usr/lib/ocf/resource.d/heartbeat/anything", "resource-agents")
        && installed("/usr/sbin/apache2", "apache2-bin")
}

/// A pair whose groups have these resources; nothing runs yet. `{HERE}` is a directory of the node's.
fn pair(resources: &str) -> Pair {
    let pair = Pair::new(&Setup { toml_limits: Some("30s"), ..Setup::patient() });
    for node in [&pair.a, &pair.b] {
        let text = std::fs::read_to_string(&node.config).unwrap();
        let (head, _) = text.split_once("[[group]]").unwrap();
        let group = "[[group]]\nname = \"server101\"\npreferred = \"server101\"\nresources = [\n";
        let here = here(node);
        std::fs::create_dir_all(&here).unwrap();
        let resources = resources.replace("{HERE}", here.to_str().unwrap());
        std::fs::write(&node.config, format!("{head}{group}{resources}\n]\n")).unwrap();
    }
    pair
}

fn here(node: &Node) -> PathBuf {
    node.config.parent().unwrap().join("here")
}

/// The states of the first group's resources.
fn states(status: &Status) -> Vec<String> {
    let health = status.0["groups"][0]["health"].as_array().unwrap();
    health.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

fn failures(status: &Status, resource: usize) -> u64 {
    let Value::Number(count) = &status.0["groups"][0]["health"][resource]["failures"] else {
        return 0;
    };
    count.as_u64().unwrap()
}

/// The processes of a node with these words in their command.
fn running(node: &Node, words: &str) -> Vec<rustix::process::Pid> {
    let mut pids = node.processes();
    pids.retain(|pid| {
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        let line = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").starts_with(words)
    });
    pids
}

/// Whether a file system is mounted where the node's processes are.
fn mounted(node: &Node, on: &Path) -> bool {
    let mounts = format!("/proc/{}/mounts", node.supervisor().as_raw_nonzero());
    let mounts = std::fs::read_to_string(mounts).unwrap_or_default();
    mounts.contains(&format!(" {} tmpfs", on.display()))
}

fn apache(node: &Node) {
    let here = here(node);
    let text = format!(
        "ServerRoot {0}\nPidFile {0}/apache.pid\nErrorLog {0}/error.log\nServerName localhost\n\
         Listen 127.0.0.1:80\nDocumentRoot {0}\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         LoadModule status_module /usr/lib/apache2/modules/mod_status.so\n\
         <Location /server-status>\nSetHandler server-status\n</Location>\n",
        here.display()
    );
    std::fs::write(here.join("apache.conf"), text).unwrap();
}

const AGENTS: &str = r#"
  { ocf = "heartbeat:IPaddr2", params = { ip = "192.168.2.111", cidr_netmask = 24, nic = "eth0" } },
  { ocf = "heartbeat:Filesystem", params = { device = "tmpfs", directory = "{HERE}/mnt", fstype = "tmpfs" } },
  { ocf = "heartbeat:Dummy", params = { state = "{HERE}/dummy.state" } },
  { ocf = "heartbeat:anything", params = { binfile = "/bin/sleep", cmdline_options = "7654", pidfile = "{HERE}/sleep.pid" }, monitor_interval = "1s", restarts = 1 },
"#;

/// Agents are shell scripts of many processes: waits four times as long as for others.
fn patiently(node: &Node, what: &str, so: impl Fn(&Status) -> bool) {
    let mut seen = || until(|| node.status().filter(|status| so(status)));
    let found = seen().or_else(&mut seen).or_else(&mut seen).or_else(&mut seen);
    assert!(found.is_some(), "no {what}\n{}", node.log());
}

#[test]
fn agents_of_the_package_start_move_to_the_peer_and_are_started_again_when_they_die() {
    if !agents() {
        return;
    }
    let mut pair = pair(AGENTS);
    for node in [&pair.a, &pair.b] {
        std::fs::create_dir_all(here(node).join("mnt")).unwrap();
    }
    pair.a.start();
    pair.b.start();
    patiently(&pair.a, "start", |status| status.peer() == "up" && status.state(0) == "active");
    let up = |node: &Node| {
        let here = here(node);
        node.holds(VIP2)
            && mounted(node, &here.join("mnt"))
            && here.join("dummy.state").exists()
            && running(node, "/bin/sleep 7654").len() == 1
    };
    let down = |node: &Node| {
        let here = here(node);
        !node.holds(VIP2)
            && !mounted(node, &here.join("mnt"))
            && !here.join("dummy.state").exists()
            && running(node, "/bin/sleep 7654").is_empty()
    };
    assert!(up(&pair.a) && down(&pair.b));
    assert_eq!(states(&pair.a.status().unwrap()), ["up"; 4]);
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(down(&pair.a) && up(&pair.b), "{}", pair.b.log());
    assert_eq!(states(&pair.a.status().unwrap()), ["down"; 4]);

    // One failure is met with a restart, the next one with the peer.
    let die = || pair.b.signal(running(&pair.b, "/bin/sleep 7654")[0], Signal::KILL);
    die();
    let again = |status: &Status| failures(status, 3) == 1 && status.state(0) == "active";
    patiently(&pair.b, "another start", again);
    assert!(up(&pair.b), "{}", pair.b.log());
    let log = pair.b.log();
    assert!(log.contains("resource 4 has failed, failure 1: /usr/lib/ocf/"), "{log}");
    die();
    patiently(&pair.a, "hand-over", |status| status.state(0) == "active");
    assert!(up(&pair.a) && down(&pair.b));
}

const APACHE: &str = r#"
  { ocf = "heartbeat:apache", params = { configfile = "{HERE}/apache.conf", httpd = "/usr/sbin/apache2", statusurl = "http://127.0.0.1:80/server-status" }, monitor_interval = "1s" },
"#;

#[test]
fn a_web_server_is_run_by_its_agent() {
    if !agents() {
        return;
    }
    let mut pair = pair(APACHE);
    for node in [&pair.a, &pair.b] {
        apache(node);
    }
    pair.a.start();
    pair.b.start();
    patiently(&pair.a, "start", |status| status.peer() == "up" && status.state(0) == "active");
    let serves = |node: &Node| !running(node, "/usr/sbin/apache2 ").is_empty();
    assert!(serves(&pair.a) && !serves(&pair.b));
    patiently(&pair.a, "look", |status| status.0["groups"][0]["health"][0]["monitored"] == true);
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(serves(&pair.b) && !serves(&pair.a));
}

#[test]
fn an_agent_that_is_configured_badly_says_so_and_the_peer_has_it() {
    if !agents() {
        return;
    }
    let mut pair = pair(
        r#"{ ocf = "heartbeat:Filesystem", params = { device = "tmpfs", directory = "{HERE}/mnt", fstype = "tmpfs" } }"#,
    );
    std::fs::write(here(&pair.a).join("mnt"), "").unwrap();
    std::fs::create_dir(here(&pair.b).join("mnt")).unwrap();
    pair.a.start();
    pair.b.start();
    patiently(&pair.b, "hand-over", |status| status.state(0) == "active");
    let status = pair.a.becomes("failed");
    let notes = status.notes(0);
    assert!(notes.contains("start of resource 1 failed: "), "{status:?}");
    assert!(notes.contains("(not installed): "), "{notes}");
    let checked = pair.a.ask(&["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
}

#[test]
fn what_check_knows_of_an_agent_it_says() {
    if !agents() {
        return;
    }
    let pair = pair(
        r#"
  { ocf = "heartbeat:Filesystem", params = { device = "tmpfs", directry = "/srv" } },
  { ocf = "heartbeat:Filesytem" },
"#,
    );
    let said = pair.a.ask(&["check"]);
    let all = format!("{}{}", said.out, said.err);
    assert_ne!(said.code, Some(0), "{all}");
    for part in [
        "the agent has no parameter `directry`",
        "did you mean `directory`?",
        "the agent wants its parameter `directory`",
        "no OCF agent `heartbeat:Filesytem`",
    ] {
        assert!(all.contains(part), "no `{part}` in\n{all}");
    }
}

#[test]
fn a_unit_is_started_watched_and_stopped() {
    if !(possible() && installed("/usr/bin/systemctl", "systemd")) {
        return;
    }
    let resources = format!(
        "\"{VIP}/24/eth0\", {{ systemd = \"database\", monitor_interval = \"1s\", restarts = 1 }}"
    );
    let mut pair = pair(&resources);
    for node in [&mut pair.a, &mut pair.b] {
        let here = here(node);
        let fake = here.join("systemctl");
        std::fs::write(&fake, SYSTEMCTL.replace("@HERE@", here.to_str().unwrap())).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Its namespace of mounts is its own.
        node.prelude = format!("mount --bind {} /usr/bin/systemctl && ", fake.display());
    }
    pair.a.start();
    pair.b.start();
    patiently(&pair.a, "start", |status| status.peer() == "up" && status.state(0) == "active");
    let unit = |node: &Node| here(node).join("database.service");
    let done = |node: &Node| {
        let text = std::fs::read_to_string(here(node).join("units")).unwrap_or_default();
        text.lines().collect::<Vec<_>>().join(", ")
    };
    assert_eq!(done(&pair.a), "start database.service");
    std::fs::write(unit(&pair.a), "failed\n").unwrap();
    let again = "start database.service, stop database.service, start database.service";
    patiently(&pair.a, "another start", |status| {
        failures(status, 1) == 1 && status.state(0) == "active"
    });
    assert_eq!(done(&pair.a), again);
    // A moment of change means nothing.
    std::fs::write(unit(&pair.a), "reloading\n").unwrap();
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert_eq!(done(&pair.a), format!("{again}, stop database.service"));
    assert_eq!(done(&pair.b), "start database.service");
    assert!(!pair.a.holds(VIP) && pair.b.holds(VIP));
}

#[test]
fn a_group_that_moves_sends_its_mail_and_announces_what_it_is_told_to() {
    if !possible() {
        return;
    }
    let mut pair = pair(r#""MailTo::root@example.org,ops::web", "SendArp::192.168.2.111/eth0""#);
    for node in [&mut pair.a, &mut pair.b] {
        let here = here(node);
        let sbin = here.join("sbin");
        std::fs::create_dir(&sbin).unwrap();
        let fake = format!("#!/bin/sh\n{{ echo \"$*\"; cat; }} >>{}/mail\n", here.display());
        std::fs::write(sbin.join("sendmail"), fake).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(sbin.join("sendmail"), executable).unwrap();
        node.prelude = format!(
            "mount -t overlay -o lowerdir={}:/usr/sbin overlay /usr/sbin && ",
            sbin.display()
        );
    }
    let stranger = "02:00:00:00:00:99";
    pair.lan.gateway.ip(&format!("neigh replace {VIP2} lladdr {stranger} nud stale dev eth0"));
    let at = |node: &Node| learned(&pair.lan.gateway, VIP2, &mac(&node.net));
    pair.a.start();
    pair.b.start();
    patiently(&pair.a, "start", |status| status.peer() == "up" && status.state(0) == "active");
    let letters =
        |node: &Node| std::fs::read_to_string(here(node).join("mail")).unwrap_or_default();
    let sent = |node: &Node, words: &str| until(|| letters(node).contains(words).then_some(()));
    assert!(sent(&pair.a, "Subject: web: taken over by server101").is_some(), "{}", pair.a.log());
    assert!(
        letters(&pair.a).starts_with("-i -- root@example.org ops\nTo: root@example.org, ops\n")
    );
    at(&pair.a);
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(sent(&pair.a, "Subject: web: given up by server101").is_some(), "{}", pair.a.log());
    assert!(sent(&pair.b, "Subject: web: taken over by server105").is_some(), "{}", pair.b.log());
    at(&pair.b);
    assert!(!pair.a.holds(VIP2) && !pair.b.holds(VIP2));
}
