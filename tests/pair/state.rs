//! What is on the disk when a node starts, and a disk that takes nothing: never a reason not to serve.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::nets::possible;
use crate::pair::{Pair, Setup, VIP};

/// A small file system of its own, gone when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(place: &Path, size: &str) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let disk = Self(place.to_owned());
        disk.mount(&["-t", "tmpfs", "-o", size, "tmpfs"]);
        disk
    }

    fn mount(&self, words: &[&str]) {
        assert!(Command::new("mount").args(words).arg(&self.0).status().unwrap().success());
    }

    /// Until nothing fits any more.
    fn fill(&self) {
        assert!(std::fs::write(self.0.join("other"), vec![0; 4 * 1024 * 1024]).is_err());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn state_files_that_are_damaged_or_strangers_are_named_and_the_node_serves() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    let (state, run) = (pair.a.state_dir(), pair.a.runtime_dir());
    std::fs::create_dir_all(state.join("journal")).unwrap();
    std::fs::create_dir_all(&run).unwrap();
    let past =
        r#"{"version":1,"node":"server105","past":{"freeze":{"generation":9,"extent":"all"}"#;
    for (file, text) in [
        (state.join("cluster.json"), past),
        (state.join("owned-services.json"), "[{\"key\":"),
        (state.join("journal/events-00000001.jsonl"), "\0\0\0"),
        (run.join("carried.json"), "{}\n"),
    ] {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    pair.start();
    for named in ["cluster.json", "taken as empty", "all begins anew: it is damaged"] {
        pair.a.logs(named);
    }
    assert!(pair.a.holds(VIP));
    // What was damaged is not what is remembered from now on.
    assert_eq!(pair.a.ask(&["freeze"]).code, Some(0));
    let written = crate::node::until(|| {
        let text = std::fs::read_to_string(state.join("cluster.json")).ok()?;
        (text.contains("server101") && text.contains("\"all\"")).then_some(text)
    });
    assert!(written.is_some());
}

#[test]
fn a_state_directory_that_is_read_only_blocks_neither_start_nor_takeover_nor_restart() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    let disk = Disk::new(&pair.b.state_dir(), "size=64k");
    disk.mount(&["-o", "remount,ro"]);
    pair.start();
    pair.a.crash();
    pair.b.becomes("active");
    let said = pair.b.ask(&["restart"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.err, pair.b.log());
    assert_eq!(pair.b.ask(&["freeze"]).code, Some(0));
    pair.b.logs("a restart will not know of the freeze");
    assert!(pair.b.holds(VIP));
}

#[test]
fn a_full_disk_means_no_restart_and_nothing_else() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    let disk = Disk::new(&pair.a.runtime_dir(), "size=64k");
    pair.start();
    let core = pair.a.role("core");
    disk.fill();
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("could not be written down"), "{}", said.err);
    assert!(said.err.contains("No space left on device"), "{}", said.err);
    let status = pair.a.becomes("active");
    assert_eq!((status.peer(), pair.a.role("core")), ("up", core));
    pair.b.logs("is back after");
    std::fs::remove_file(disk.0.join("other")).unwrap();
    let said = pair.a.ask(&["restart"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(pair.a.holds(VIP) && pair.a.role("core") != core);
}
