//! Scripts that misbehave. They run as whoever runs the tests, and touch nothing but their own
//! temporary directory.

use std::path::Path;

use super::script::{Status, StatusError, Surroundings, start, status, stop};
use super::*;
use crate::cluster::event::Outcome;
use crate::config::{Script, ScriptStyle};
use crate::names::NodeName;
use crate::sys::scratch::Scratch;

/// Long enough for a loaded machine, short enough for a person.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes with its test.
struct Place(Scratch);

impl Place {
    fn new(name: &str) -> Self {
        Self(Scratch::new(name))
    }

    fn script(&self, style: ScriptStyle, body: &str) -> Script {
        let text = format!("#!/bin/sh\nHERE={}\n{body}\n", self.0.display());
        let path = self.0.program("script", &text);
        Script { path, args: vec!["one".to_owned()], style }
    }

    fn read(&self, file: &str) -> String {
        self.0.read(file)
    }
}

fn surroundings() -> Surroundings {
    Surroundings {
        node: NodeName::new("server101").unwrap(),
        ha_dir: PathBuf::from("/etc/ha.d"),
        env: vec![("site".to_owned(), "one".to_owned())],
    }
}

fn invocation(program: &Path, limit: Duration) -> Invocation {
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let (program, args) = (program.to_owned(), Vec::new());
    Invocation { program, args, environment, input: None, limit }
}

fn wait<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, task).await.expect("it hangs") })
}

fn ran(place: &Place, body: &str, limit: Duration) -> Ran {
    let script = place.script(ScriptStyle::Lsb, body);
    wait(run(&invocation(&script.path, limit))).unwrap()
}

fn gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

fn failed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(why) => why,
        Outcome::Done => panic!("it should have failed"),
    }
}

#[test]
fn a_running_resource_is_not_started_again() {
    let place = Place::new("running");
    let script = place.script(
        ScriptStyle::Heartbeat,
        "echo \"$@\" >>$HERE/calls\ntest $2 = status && echo running\nexit 7",
    );
    assert_eq!(wait(start(&script, &surroundings(), PATIENCE)), Outcome::Done);
    assert_eq!(place.read("calls"), "one status\n");
}

#[test]
fn a_stopped_resource_is_started_with_its_arguments_and_heartbeats_environment() {
    let place = Place::new("stopped");
    let script = place.script(
        ScriptStyle::Heartbeat,
        "echo \"$@ $HA_CURHOST $HA_DIR $HA_RCDIR $HA_FUNCS $OCF_ROOT $NOTIFY_SOCKET\" >>$HERE/calls\n\
         test $2 = status && echo not running\nexit 0",
    );
    assert_eq!(wait(start(&script, &surroundings(), PATIENCE)), Outcome::Done);
    let environment = "server101 /etc/ha.d /etc/ha.d/rc.d /etc/ha.d/shellfuncs /usr/lib/ocf ";
    let calls = format!("one status {environment}\none start {environment}\n");
    assert_eq!(place.read("calls"), calls);
}

#[test]
fn an_lsb_resource_is_started_unless_its_status_is_zero() {
    let place = Place::new("lsb");
    let body = "echo \"$2\" >>$HERE/calls\ntest $2 = status && exit $(cat $HERE/code)\nexit 0";
    let script = place.script(ScriptStyle::Lsb, body);
    for (code, calls) in [("0", "status\n"), ("3", "status\nstart\n"), ("4", "status\nstart\n")] {
        std::fs::write(place.0.join("code"), code).unwrap();
        std::fs::write(place.0.join("calls"), "").unwrap();
        assert_eq!(wait(start(&script, &surroundings(), PATIENCE)), Outcome::Done);
        assert_eq!(place.read("calls"), calls, "status {code}");
    }
}

#[test]
fn a_failure_names_the_script_its_code_and_its_last_words() {
    let place = Place::new("words");
    let script = place.script(
        ScriptStyle::Lsb,
        "echo first >&2; echo 'disk \x1b[31mbusy' >&2; echo >&2; test $2 = status || exit 5; exit 3",
    );
    let why = failed(wait(stop(&script, &surroundings(), PATIENCE)));
    assert!(why.starts_with(&format!("{} one stop exited with 5: disk ", script.path.display())));
    assert!(why.ends_with("[31mbusy") && !why.contains('\u{1b}'), "{why}");
}

#[test]
fn a_script_that_is_not_there_has_failed_also_at_stop() {
    let missing = PathBuf::from("/nonexistent/script");
    let script = Script { path: missing, args: Vec::new(), style: ScriptStyle::Heartbeat };
    let why = failed(wait(start(&script, &surroundings(), PATIENCE)));
    assert!(why.contains("can't run /nonexistent/script"), "{why}");
    failed(wait(stop(&script, &surroundings(), PATIENCE)));
}

#[test]
fn a_script_ended_by_a_signal_has_failed() {
    let place = Place::new("signal");
    let script = place.script(ScriptStyle::Lsb, "kill -9 $$");
    let why = failed(wait(stop(&script, &surroundings(), PATIENCE)));
    assert!(why.contains("ended by signal 9"), "{why}");
}

#[test]
fn a_script_that_hangs_is_ended_with_its_children() {
    let place = Place::new("hang");
    let ran = ran(&place, "sleep 600 & echo $! >$HERE/child\nwait", Duration::from_millis(300));
    assert!(ran.timed_out);
    let child = place.read("child");
    wait(async {
        while !gone(&child) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_script_that_ignores_sigterm_is_killed_after_the_grace() {
    let place = Place::new("ignore");
    let ran = ran(
        &place,
        "trap 'echo told' TERM\necho ready\nwhile :; do sleep 0.02; done",
        Duration::from_millis(400),
    );
    assert!(ran.timed_out);
    assert_eq!(ran.status.and_then(|s| ExitStatusExt::signal(&s)), Some(9));
    assert_eq!(ran.stdout, "ready\ntold\n");
}

#[test]
fn a_hanging_status_fails_the_start_within_the_limit() {
    let place = Place::new("status");
    let script = place.script(ScriptStyle::Lsb, "exec sleep 600");
    let why = failed(wait(start(&script, &surroundings(), Duration::from_millis(400))));
    assert!(why.contains("status did not end within 0.2 s"), "{why}");
    let asked = wait(status(&script, &surroundings(), Duration::from_millis(100)));
    assert!(matches!(asked, Err(StatusError::TimedOut { .. })), "{asked:?}");
}

#[test]
fn a_flood_is_read_to_its_end_and_only_its_end_is_kept() {
    let place = Place::new("flood");
    let body = "head -c 5000000 /dev/zero | tr '\\0' x\necho the end\nhead -c 300000 /dev/zero >&2";
    let ran = ran(&place, body, PATIENCE);
    assert!(ran.status.is_some_and(|status| status.success()), "{:?}", ran.status);
    assert_eq!((ran.stdout.len(), ran.stderr.len()), (OUTPUT_MAX, OUTPUT_MAX));
    assert!(ran.stdout.ends_with("xthe end\n"));
}

#[test]
fn a_flood_without_end_is_stopped_by_the_limit() {
    let place = Place::new("endless");
    let ran = ran(&place, "exec cat /dev/zero", Duration::from_millis(300));
    assert!(ran.timed_out);
    assert_eq!(ran.stdout.len(), OUTPUT_MAX);
}

#[test]
fn what_stays_in_the_background_with_our_pipe_does_not_hold_us_and_survives() {
    let place = Place::new("background");
    let script = place.script(
        ScriptStyle::Lsb,
        "( while ! test -e $HERE/go; do sleep 0.01; done; echo late; echo late; echo alive >$HERE/alive\n\
         ) & echo begun",
    );
    wait(async {
        let ran = run(&invocation(&script.path, PATIENCE)).await.unwrap();
        assert!(ran.status.is_some_and(|status| status.success()) && !ran.timed_out);
        assert_eq!(ran.stdout, "begun\n");
        std::fs::write(place.0.join("go"), "").unwrap();
        while place.read("alive").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_run_that_is_given_up_kills_the_group() {
    let place = Place::new("dropped");
    let script = place.script(ScriptStyle::Lsb, "sleep 600 & echo $! >$HERE/child\nwait");
    let invocation = invocation(&script.path, PATIENCE);
    wait(async {
        let begun = async {
            while !place.read("child").ends_with('\n') {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = run(&invocation) => panic!("it should hang"),
            () = begun => {}
        }
        while !gone(&place.read("child")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_script_gets_no_input_no_foreign_files_and_its_own_group() {
    let place = Place::new("clean");
    // Inherited on purpose: the way a shell leaves files open for us.
    let leak = std::fs::File::create(place.0.join("leak")).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let ran = ran(
        &place,
        "read -r line; echo \"in:$line\"; pwd; umask\n\
         test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo own group\n\
         ls -l /proc/$$/fd | grep -c leak",
        PATIENCE,
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines, ["in:", "/", "0022", "own group", "0"], "{}", ran.stderr);
}

#[test]
fn status_tells_running_from_stopped() {
    let place = Place::new("tell");
    let script = place.script(ScriptStyle::Heartbeat, "echo stopped; exit 0");
    assert_eq!(wait(status(&script, &surroundings(), PATIENCE)).unwrap(), Status::Stopped);
}
