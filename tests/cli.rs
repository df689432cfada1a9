//! The command line as scripts see it: words, exit codes, where the text goes.

#![expect(clippy::expect_used, reason = "a test says why it failed")]

use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_pairbeat");

fn pairbeat(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_command_without_a_daemon_exits_3_and_says_where_it_looked() {
    for command in [&["status"][..], &["standby"], &["takeover", "local"], &["stop"], &["reload"]] {
        let mut words = vec!["--runtime-dir", "/nonexistent/pairbeat"];
        words.extend(command);
        let output = pairbeat(&words);
        assert_eq!(code(&output), 3, "{command:?}");
        assert!(errors(&output).contains("/nonexistent/pairbeat/control.sock"), "{command:?}");
    }
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for words in [
        ["--runtime-dir", "/nonexistent/a", "status"],
        ["status", "--runtime-dir", "/nonexistent/a"],
    ] {
        let output = pairbeat(&words);
        assert!(errors(&output).contains("/nonexistent/a/control.sock"), "{words:?}");
    }
}

#[test]
fn a_bad_command_line_exits_2() {
    for words in [&["frobnicate"][..], &["standby", "everything"], &[], &["--node", "a b", "check"]]
    {
        assert_eq!(code(&pairbeat(words)), 2, "{words:?}");
    }
}

#[test]
fn help_and_version_exit_0() {
    for word in ["--help", "--version"] {
        assert_eq!(code(&pairbeat(&[word])), 0, "{word}");
    }
}

#[test]
fn a_document_that_help_names_is_there() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let help = |words: &[&str]| {
        let output = pairbeat(words);
        assert_eq!(code(&output), 0, "{words:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let overview = help(&["--help"]);
    let list = overview.split("Options:").next().unwrap_or_default();
    let lines = list.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = lines.filter_map(|line| line.split(' ').next().filter(|it| !it.is_empty()));
    let commands: Vec<&str> = commands.filter(|it| *it != "help").collect();
    assert!(commands.contains(&"events") && commands.contains(&"status"), "{commands:?}");
    let mut named = 0;
    for command in commands {
        let text = help(&[command, "--help"]);
        let fit = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        for word in text.split(|c| !fit(c)).filter(|word| word.starts_with("docs/")) {
            named += 1;
            assert!(project.join(word).is_file(), "`{command} --help` names {word}");
        }
    }
    assert!(named > 0, "`status --help` names its schema");
}

#[test]
fn called_as_hb_standby_it_is_that_command() {
    let directory = std::env::temp_dir().join(format!("pairbeat-cli-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    for name in ["hb_standby", "hb_takeover"] {
        let link = directory.join(name);
        std::os::unix::fs::symlink(BINARY, &link).expect("a link");
        let run = |words: &[&str]| Command::new(&link).args(words).output().expect("it runs");
        let absent = run(&["local", "--runtime-dir", "/nonexistent/pairbeat"]);
        assert_eq!(code(&absent), 3, "{name}");
        assert_eq!(code(&run(&["everything"])), 2, "{name}");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn check_of_a_missing_configuration_exits_1_and_names_it() {
    let output = pairbeat(&["--config", "/nonexistent/ha.d", "--node", "a", "check"]);
    assert_eq!(code(&output), 1);
    assert!(errors(&output).contains("/nonexistent/ha.d"), "{}", errors(&output));
}

#[test]
fn run_with_a_missing_configuration_exits_1_before_anything_is_touched() {
    let runtime = std::env::temp_dir().join(format!("pairbeat-untouched-{}", std::process::id()));
    let runtime = runtime.to_str().expect("a text path");
    let words = ["--config", "/nonexistent/ha.d", "--node", "a", "--runtime-dir", runtime, "run"];
    assert_eq!(code(&pairbeat(&words)), 1);
    assert!(!Path::new(runtime).exists());
}

#[test]
fn keygen_makes_a_new_key_each_time() {
    let keys: Vec<_> = (0..2).map(|_| pairbeat(&["keygen"]).stdout).collect();
    assert!(keys.iter().all(|key| key.len() >= 64));
    assert_ne!(keys.first(), keys.last());
}
