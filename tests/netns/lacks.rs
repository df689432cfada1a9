//! What `check` says of this machine's settings for the ways of forwarding that are configured.

use std::path::PathBuf;

use crate::nets::{Net, possible, sh};

/// A configuration with NAT, with its secrets as they must be; it goes with its test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let own = format!("pairbeat-lacks-{}", std::process::id());
        let files = Self(std::env::temp_dir().join(own));
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/good-nat-two-vips");
        sh(&format!("cp -r {from} {}", files.0.display()));
        sh(&format!("chmod 600 {}/authkeys", files.0.display()));
        files
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_says_what_nat_lacks_on_this_machine_and_is_well_all_the_same() {
    if !possible() {
        return;
    }
    let (net, files) = (Net::new(), Files::new());
    let check = || {
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", net.name(), env!("CARGO_BIN_EXE_pairbeat"), "check"]);
        command.arg("--config").arg(&files.0).args(["--node", "server101"]);
        let out = command.output().unwrap();
        let errors = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{errors}");
        errors
            .lines()
            .filter(|line| line.starts_with("note:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    net.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.send_redirects=1");
    let said = check();
    let [forward, redirects, routes @ ..] = said.as_slice() else { panic!("{said:?}") };
    assert!(forward.contains("net.ipv4.ip_forward is 0: answers of real servers"), "{forward}");
    assert!(redirects.contains("net.ipv4.conf.all.send_redirects is 1"), "{redirects}");
    let of_none = |line: &String| line.starts_with("note: no route leads to real server 10.1.1.");
    assert!(routes.len() > 1 && routes.iter().all(of_none), "{routes:?}");
    net.sh("ip link set lo up");
    net.sh("ip address add 10.1.1.200/24 dev lo");
    net.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0");
    let said = check();
    let [own] = said.as_slice() else { panic!("{said:?}") };
    assert!(own.contains("net.ipv4.conf.lo.send_redirects is 1"), "{own}");
    net.sh("sysctl -qw net.ipv4.conf.lo.send_redirects=0");
    assert_eq!(check(), [""; 0]);
    // Clients come in by eth0, where the virtual IP is, and are answered by eth1.
    for line in [
        "ip link add eth0 type veth peer name eth1",
        "ip link set eth1 up",
        "ip address add 10.9.9.1/24 dev eth1",
        "ip route add default via 10.9.9.2",
        "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=1",
    ] {
        net.sh(line);
    }
    let said = check();
    let [strict] = said.as_slice() else { panic!("{said:?}") };
    assert!(strict.contains("net.ipv4.conf.eth0.rp_filter is strict"), "{strict}");
    net.sh("sysctl -qw net.ipv4.conf.eth0.rp_filter=2");
    assert_eq!(check(), [""; 0]);
}
