//! `pairbeat director`, ldirectord's command line: its words, exit codes and files.
//!
//! What a running director does with the kernel's table is shown where there is one
//! (`tests/lab/differential.sh`). Here a process that holds its lock stands for it: mostly this one, so that a
//! signal to it would end the test.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::Duration;

use tokio::time::Instant;

const GOOD: &str = "virtual=192.0.2.10:80\n\treal=192.0.2.2:80 gate\n";
const BROKEN: &str = "virtual=192.0.2.10:80\n\treal=192.0.2.2:80 gate\ncheckinterval=often\n";
const VERBS: [&str; 8] =
    ["start", "stop", "restart", "try-restart", "reload", "force-reload", "status", "configtest"];

/// A directory that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, text: &str) -> Self {
        let own = format!("pairbeat-alone-{}-{name}", std::process::id());
        let place = Self(std::env::temp_dir().join(own));
        std::fs::create_dir_all(&place.0).unwrap();
        std::fs::write(place.0.join("web.cf"), text).unwrap();
        place
    }

    fn call(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.0);
        command.arg("--runtime-dir").arg(self.0.join("run"));
        command.arg("--state-dir").arg(self.0.join("state"));
        command.output().unwrap()
    }

    fn director(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let words: Vec<&str> = std::iter::once("director").chain(words.iter().copied()).collect();
        said(self.call(env!("CARGO_BIN_EXE_pairbeat"), &words))
    }

    fn pid_file(&self) -> PathBuf {
        self.0.join("run/ldirectord.web.cf.pid")
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("run/director-web.cf/lock")
    }

    /// What a running director has, with this number; the lock is not held.
    fn files(&self, pid: u32) {
        let number = format!("{pid}\n");
        std::fs::create_dir_all(self.lock_file().parent().unwrap()).unwrap();
        std::fs::write(self.lock_file(), &number).unwrap();
        std::fs::write(self.pid_file(), &number).unwrap();
    }

    /// The same with our own number, and we hold it.
    fn running(&self) -> File {
        self.files(std::process::id());
        let lock = File::open(self.lock_file()).unwrap();
        lock.lock().unwrap();
        lock
    }

    /// Another process that holds the lock, and ends when it is told to.
    fn other(&self) -> Child {
        self.files(0);
        let mut holder = Command::new("flock");
        let child = holder.arg("-F").arg(self.lock_file()).args(["sleep", "1000"]).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while File::open(self.lock_file()).unwrap().try_lock_shared().is_ok() {
            assert!(Instant::now() < end, "flock(1) does not lock");
            std::thread::yield_now();
        }
        self.files(child.id());
        child
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_a_daemon_each_verb_ends_as_ldirectords() {
    let place = Place::new("none", GOOD);
    let stopped = format!("ldirectord is stopped for {}\n", place.0.join("web.cf").display());
    for (verb, code, out) in [
        ("status", 3, stopped.as_str()),
        ("stop", 0, ""),
        ("try-restart", 0, ""),
        ("reload", 1, &stopped),
        ("force-reload", 1, &stopped),
        ("configtest", 0, ""),
    ] {
        let (is, printed, err) = place.director(&["web.cf", verb]);
        assert_eq!((is, printed.as_str(), err.as_str()), (Some(code), out, ""), "{verb}");
    }
    assert!(!place.0.join("run").exists(), "nothing was made");
}

#[test]
fn a_missing_file_is_named_and_a_faulty_one_is_shown_with_its_places() {
    let place = Place::new("bad", BROKEN);
    for verb in VERBS {
        let (code, _, err) = place.director(&["nosuch.cf", verb]);
        assert_eq!(code, Some(1), "{verb}");
        assert!(err.contains("Config file ") && err.contains("nosuch.cf not found"), "{err}");
    }
    for verb in ["start", "restart", "configtest"] {
        let (code, _, err) = place.director(&["web.cf", verb]);
        assert_eq!(code, Some(2), "{verb}");
        assert!(err.contains("web.cf:3:15: fault: "), "{verb}: {err}");
    }
    // Who asks or stops needs no faultless file.
    assert_eq!(place.director(&["web.cf", "status"]).0, Some(3));
    assert_eq!(place.director(&["web.cf", "stop"]).0, Some(0));
}

#[test]
fn no_verb_deletes_a_pid_or_lock_or_touches_the_daemon_of_a_faulty_file() {
    let place = Place::new("running", BROKEN);
    let _lock = place.running();
    for (verb, want) in [
        ("status", 0),
        ("start", 0),
        ("configtest", 2),
        ("reload", 2),
        ("force-reload", 2),
        ("restart", 2),
        ("try-restart", 2),
        ("status", 0),
    ] {
        let (code, out, _) = place.director(&["web.cf", verb]);
        assert_eq!(code, Some(want), "{verb}");
        if verb == "status" {
            let running = format!("is running with pid: {}\n", std::process::id());
            assert!(out.ends_with(&running), "{out}");
        }
        let own = format!("{}\n", std::process::id());
        assert_eq!(std::fs::read_to_string(place.pid_file()).unwrap(), own, "{verb}");
        assert_eq!(std::fs::read_to_string(place.lock_file()).unwrap(), own, "{verb}");
    }
}

/// Else a cluster could not give its list away.
#[test]
fn a_director_is_stopped_whatever_has_become_of_its_file() {
    for (name, text) in [("spoilt", Some(BROKEN)), ("emptied", Some("")), ("lost", None)] {
        let place = Place::new(name, GOOD);
        let mut director = place.other();
        let file = place.0.join("web.cf");
        match text {
            Some(text) => std::fs::write(file, text).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
        let pid = director.id();
        let (code, out, _) = place.director(&["web.cf", "status"]);
        assert_eq!((code, out.contains(&format!("with pid: {pid}"))), (Some(0), true), "{out}");
        assert_eq!(place.director(&["web.cf", "stop"]).0, Some(0), "{name}");
        let ended = director.try_wait().unwrap();
        if ended.is_none() {
            director.kill().unwrap();
        }
        assert_eq!(ended.and_then(|it| it.signal()), Some(15), "{name}");
    }
}

#[test]
fn a_pid_file_that_nobody_holds_is_stale_whoever_has_that_number_now() {
    let place = Place::new("stale", GOOD);
    drop(place.running());
    let (code, out, err) = place.director(&["web.cf", "status"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("ldirectord stale pid file ") && out.contains("is stopped"), "{err}");
    assert_eq!(place.director(&["web.cf", "stop"]).0, Some(0));
    assert!(place.pid_file().exists(), "no verb deletes it");
}

#[test]
fn called_as_ldirectord_it_is_that() {
    let place = Place::new("argv0", GOOD);
    let ldirectord = place.0.join("ldirectord");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pairbeat"), &ldirectord).unwrap();
    let ldirectord = ldirectord.to_str().unwrap();
    for (words, code) in [
        (&["web.cf", "status"][..], 3),
        (&["-d", "web.cf", "stop"], 0),
        (&["-v"], 0),
        (&["-h"], 0),
        (&[], 255),
        (&["web.cf"], 255),
        (&["web.cf", "sing"], 255),
        (&["web.cf", "start", "now"], 255),
    ] {
        let (is, out, err) = said(place.call(ldirectord, words));
        assert_eq!(is, Some(code), "{words:?} {out}");
        assert_eq!(code == 255, err.starts_with("usage: ldirectord"), "{words:?} {err}");
    }
}

#[test]
fn status_and_real_are_asked_of_the_director_of_a_file_and_say_when_none_runs() {
    let place = Place::new("asked", GOOD);
    for words in [
        &["status", "--director", "web.cf"][..],
        &["status", "--director", "web.cf", "--json"],
        &["real", "--director", "web.cf", "drain", "192.0.2.2"],
        &["real", "drain", "192.0.2.2", "--director", "web.cf"],
    ] {
        let (code, out, err) = said(place.call(env!("CARGO_BIN_EXE_pairbeat"), words));
        assert_eq!((code, out.as_str()), (Some(3), ""), "{words:?} {err}");
        assert!(err.contains("run/director-web.cf/"), "{err}");
    }
}
