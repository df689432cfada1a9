//! Checks by programs that misbehave. They run as whoever runs the tests, in a temporary directory.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::lvs::check::{CheckKind, Verdict};
use crate::lvs::program::FileCheck;
use crate::probe::{Context, probe, tls};
use crate::sys::scratch::Scratch;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes with its test.
struct Place(Scratch);

impl Place {
    fn new(name: &str) -> Self {
        Self(Scratch::new(name))
    }

    /// A shell script; `$HERE` is the directory.
    fn script(&self, body: &str) -> ProgramCheck {
        let script = self.0.join("script");
        let text = format!("HERE={}\n{body}\n", self.0.display());
        std::fs::write(&script, text).unwrap();
        let told = Told::Environment { service: "tcp 192.0.2.10:80".to_owned() };
        let args = vec![script.display().to_string()];
        ProgramCheck { program: "/bin/sh".to_owned(), args, told }
    }

    fn read(&self, file: &str) -> String {
        self.0.read(file)
    }
}

fn wait<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, task).await.expect("it hangs") })
}

fn spec(kind: CheckKind, target: &str, timeout: Duration) -> CheckSpec {
    let target: SocketAddr = target.parse().unwrap();
    CheckSpec::once(kind, target, timeout)
}

async fn verdict(spec: &CheckSpec) -> Verdict {
    let context = Context::new(Arc::new(tls::Trust::none()), std::slice::from_ref(spec));
    probe(spec, &context).await.verdict
}

fn run_once(check: ProgramCheck, timeout: Duration) -> Verdict {
    wait(verdict(&spec(CheckKind::External(check), "192.0.2.2:8080", timeout)))
}

fn cause(verdict: Verdict) -> String {
    match verdict {
        Verdict::Said(advice) => panic!("{advice:?} of no agent"),
        Verdict::Up => panic!("it should be down"),
        Verdict::Down(failure) => failure.to_string(),
    }
}

fn gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn exit_code_zero_is_up_and_nothing_else_is() {
    for (body, want) in [
        ("exit 0", None),
        ("exit 1", Some("exit code 1")),
        ("echo looking; echo 'disk full' >&2; exit 3", Some("exit code 3: disk full")),
        ("echo 'no answer'; echo; exit 3", Some("exit code 3: no answer")),
        ("kill -9 $$", Some("ended by signal 9")),
        ("kill -15 $$", Some("ended by signal 15")),
    ] {
        let place = Place::new("codes");
        let verdict = run_once(place.script(body), PATIENCE);
        match want {
            None => assert_eq!(verdict, Verdict::Up, "{body}"),
            Some(want) => assert_eq!(cause(verdict), want, "{body}"),
        }
    }
}

#[test]
fn an_external_check_gives_no_false_up() {
    for program in ["/nonexistent/check", "/etc", "/etc/passwd", "", "no-such-program-anywhere"] {
        let told = Told::Environment { service: String::new() };
        let check = ProgramCheck { program: program.to_owned(), args: Vec::new(), told };
        let why = cause(run_once(check, PATIENCE));
        assert!(why.contains("can't run"), "{program}: {why}");
    }
}

#[test]
fn what_a_program_says_is_shortened_and_has_no_control_characters() {
    let place = Place::new("words");
    let body = "printf 'red \\033[31malert %0200d\\n' 7 >&2; exit 1";
    let why = cause(run_once(place.script(body), PATIENCE));
    assert!(why.starts_with("exit code 1: red \u{fffd}[31malert 000"), "{why}");
    assert!(why.chars().count() < 100 && !why.contains('\u{1b}'), "{why}");
}

#[test]
fn a_flood_of_output_is_read_and_forgotten() {
    let place = Place::new("flood");
    let body = "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end; exit 4";
    assert_eq!(cause(run_once(place.script(body), PATIENCE)), "exit code 4: end");
}

#[test]
fn a_hung_program_is_down_in_time_and_killed_with_its_children() {
    let place = Place::new("hang");
    let body = "echo waiting for godot\nsleep 600 & echo $! >$HERE/child; wait";
    let check = place.script(body);
    wait(async {
        let kind = CheckKind::External(check);
        let down = verdict(&spec(kind, "192.0.2.2:80", Duration::from_millis(500))).await;
        assert_eq!(cause(down), "no end within 500 ms: waiting for godot");
        while !gone(&place.read("child")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_program_that_does_not_listen_to_signals_holds_nobody_up_and_is_killed() {
    let place = Place::new("deaf");
    let body = "trap '' TERM; echo $$ >$HERE/own; while :; do sleep 1; done";
    let check = place.script(body);
    wait(async {
        let limit = Duration::from_secs(1);
        let began = Instant::now();
        let kind = CheckKind::External(check);
        assert_eq!(
            cause(verdict(&spec(kind, "192.0.2.2:80", limit)).await),
            "no end within 1000 ms"
        );
        // The ladder has a quarter of the limit between its signals: it was not waited for.
        assert!(began.elapsed() < limit + limit / 5, "{:?}", began.elapsed());
        while !gone(&place.read("own")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn a_hung_script_stops_nobody_else() {
    let place = Place::new("others");
    let told = Told::Environment { service: String::new() };
    let quick = ProgramCheck { program: "/bin/true".to_owned(), args: Vec::new(), told };
    let quick = spec(CheckKind::External(quick), "192.0.2.2:80", PATIENCE);
    let hung = spec(CheckKind::External(place.script("sleep 600")), "192.0.2.3:80", PATIENCE);
    wait(async {
        tokio::select! {
            _ = verdict(&hung) => panic!("the hung one ended"),
            up = verdict(&quick) => assert_eq!(up, Verdict::Up),
        }
    });
}

#[test]
fn a_check_that_is_no_longer_wanted_leaves_no_program_behind() {
    let place = Place::new("dropped");
    let hung = place.script("echo $$ >$HERE/own; sleep 600");
    let hung = spec(CheckKind::External(hung), "192.0.2.3:80", PATIENCE);
    wait(async {
        let context = Context::new(Arc::new(tls::Trust::none()), std::slice::from_ref(&hung));
        let task = tokio::spawn(async move { probe(&hung, &context).await.verdict });
        while !place.read("own").ends_with('\n') {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abort();
        while !gone(&place.read("own")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn ldirectords_programs_get_its_four_arguments() {
    let place = Place::new("arguments");
    let told = |service: &str, service_port, port| Told::Arguments {
        service: service.to_owned(),
        service_port,
        port,
    };
    for (told, target, want) in [
        (told("192.0.2.10", 80, 8080), "192.0.2.2:80", "192.0.2.10 80 192.0.2.2 8080 perlio"),
        (told("7", 0, 0), "192.0.2.2:0", "7 0 192.0.2.2 0 perlio"),
        (
            told("[2001:db8::10]", 80, 80),
            "[2001:db8::2]:80",
            "[2001:db8::10] 80 [2001:db8::2] 80 perlio",
        ),
    ] {
        let check = place.script("echo \"$* $PERLIO\" >$HERE/told");
        let check = ProgramCheck { told, ..check };
        let spec = spec(CheckKind::External(check), target, PATIENCE);
        assert_eq!(wait(verdict(&spec)), Verdict::Up);
        assert_eq!(place.read("told").trim(), want);
    }
}

#[test]
fn our_own_scripts_learn_the_server_from_their_environment() {
    let place = Place::new("environment");
    let body = "echo \"$PAIRBEAT_SERVICE,$PAIRBEAT_ADDRESS,$PAIRBEAT_PORT,$#\" >$HERE/told";
    assert_eq!(run_once(place.script(body), PATIENCE), Verdict::Up);
    assert_eq!(place.read("told").trim(), "tcp 192.0.2.10:80,192.0.2.2,8080,0");
}

#[test]
fn an_external_perl_check_is_run_by_perl_and_falling_off_its_end_is_up() {
    let place = Place::new("perl");
    let path = place.0.join("check.pl").display().to_string();
    let told = || Told::Arguments { service: "7".to_owned(), service_port: 0, port: 81 };
    for (text, want) in [
        ("my ($v, $vp, $r, $rp) = @ARGV; $r eq '192.0.2.2' && $rp == 81 or exit 9;", None),
        ("exit 4;", Some("exit code 4")),
        ("die \"no\\n\";", Some("exit code 255: no")),
        ("this is no perl (", Some("exit code 255: ")),
    ] {
        if std::process::Command::new("perl").arg("-v").output().is_err() {
            let required = std::env::var("PAIRBEAT_REQUIRE_ALL").as_deref() == Ok("1");
            assert!(!required, "cannot run: perl is not installed");
            println!("SKIP perl is not installed");
            return;
        }
        std::fs::write(&path, text).unwrap();
        let check =
            ProgramCheck { program: "perl".to_owned(), args: vec![path.clone()], told: told() };
        let verdict = run_once(check, PATIENCE);
        match want {
            None => assert_eq!(verdict, Verdict::Up, "{text}"),
            Some(want) => assert!(cause(verdict).starts_with(want), "{text}"),
        }
    }
}

fn look(path: &Path, receive: Option<&str>) -> Verdict {
    let path = path.display().to_string();
    let check = FileCheck { path, receive: receive.map(str::to_owned) };
    wait(verdict(&spec(CheckKind::File(check), "192.0.2.2:0", Duration::from_secs(5))))
}

#[test]
fn a_file_says_up_while_it_is_there_and_says_what_it_should() {
    let place = Place::new("file");
    let file = place.0.join("in-service");
    assert!(cause(look(&file, None)).contains("No such file"));
    std::fs::write(&file, "weight=5\nstate=ready\n").unwrap();
    assert_eq!(look(&file, None), Verdict::Up);
    assert_eq!(look(&file, Some("state=(ready|warm)")), Verdict::Up);
    assert_eq!(cause(look(&file, Some("drained"))), "`drained` is not in the answer");
    assert!(cause(look(&place.0, Some("x"))).contains("directory"));
    assert_eq!(cause(look(Path::new("/dev/zero"), Some("x"))), "`x` is not in the answer");
}

#[test]
fn a_pipe_that_nobody_writes_to_holds_nobody_up() {
    let place = Place::new("fifo");
    let pipe = place.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    assert_eq!(look(&pipe, None), Verdict::Up);
    assert_eq!(cause(look(&pipe, Some("x"))), "`x` is not in the answer");
}
