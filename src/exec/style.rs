//! How each kind of program is asked, and what its answers mean.
//!
//! | kind | asked | up | down |
//! |---|---|---|---|
//! | `resource.d` (heartbeat, ResourceManager) | arguments, action | prints "running" or "OK" | anything else |
//! | LSB 5.0, 22.2 | action | exit code 0 | 1, 2, 3 |
//! | OCF Resource Agent API 1.0 | action; the rest by its environment | 0, 8 | 7 |
//! | systemctl(1) | action, unit | prints `active` | `inactive`, `failed` |

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::script::{Status, Surroundings};
use crate::config::{OcfAgent, Script, ScriptStyle};
use crate::exec::{Invocation, Ran};

/// Search path of scripts, whatever ours is: init systems give daemons a short one.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where OCF agents live; Heartbeat's own scripts are wrappers around them.
const OCF_ROOT: &str = "/usr/lib/ocf";
/// Where agents keep what must not outlive a boot.
pub(super) const OCF_TEMPORARY: &str = "/run/resource-agents";
/// The version of the interface that agents are called by.
const OCF_VERSION: [(&str, &str); 2] =
    [("OCF_RA_VERSION_MAJOR", "1"), ("OCF_RA_VERSION_MINOR", "0")];

/// LSB: "program is not running".
const LSB_NOT_RUNNING: i32 = 3;

/// Longest reason, in characters: it goes into a journal line and on a screen.
const REASON_MAX: usize = 300;
/// Before the reason that an OCF agent gives, on its standard error.
const OCF_REASON: &str = "ocf-exit-reason:";

/// What is asked of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Start,
    Stop,
    /// Whether it is up, when nothing is expected.
    Probe,
    /// Whether it is still up; asked again after that time.
    Monitor(Duration),
}

impl Question {
    fn word(self, style: &ScriptStyle) -> &'static str {
        match (self, style) {
            (Self::Start, _) => "start",
            (Self::Stop, _) => "stop",
            (Self::Probe | Self::Monitor(_), ScriptStyle::Ocf(_)) => "monitor",
            (Self::Probe | Self::Monitor(_), ScriptStyle::Systemd) => "is-active",
            (Self::Probe | Self::Monitor(_), ScriptStyle::Heartbeat | ScriptStyle::Lsb) => "status",
        }
    }
}

/// The call that asks it.
pub(super) fn invocation(
    script: &Script,
    surroundings: &Surroundings,
    question: Question,
    limit: Duration,
) -> Invocation {
    let word = question.word(&script.style).to_owned();
    let mut args = script.args.clone();
    let mut environment = environment(surroundings);
    match &script.style {
        ScriptStyle::Heartbeat | ScriptStyle::Lsb => args.push(word),
        ScriptStyle::Ocf(agent) => {
            environment.extend(ocf_environment(agent, question, (&word, limit)));
            args.push(word);
        }
        ScriptStyle::Systemd => {
            args.splice(0..0, ["--no-ask-password".to_owned(), word]);
        }
    }
    Invocation { program: script.path.clone(), args, environment, input: None, limit }
}

/// What Heartbeat gives its scripts. `LC_ALL`: a status in another language would not be
/// understood.
fn environment(surroundings: &Surroundings) -> BTreeMap<String, String> {
    let ha = |file: &str| surroundings.ha_dir.join(file).display().to_string();
    let variables = [
        ("HA_CURHOST", surroundings.node.as_str().to_owned()),
        ("HA_DIR", surroundings.ha_dir.display().to_string()),
        ("HA_RCDIR", ha("rc.d")),
        ("HA_FUNCS", ha("shellfuncs")),
        ("OCF_ROOT", OCF_ROOT.to_owned()),
        ("PATH", SEARCH_PATH.to_owned()),
        ("HOME", "/".to_owned()),
        ("LC_ALL", "C".to_owned()),
    ];
    let own = surroundings.env.iter().map(|(name, value)| (format!("HA_{name}"), value.clone()));
    own.chain(variables.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// What an OCF agent is told: its parameters, and, as cluster managers do, the action's limit and
/// interval in milliseconds.
fn ocf_environment(
    agent: &OcfAgent,
    question: Question,
    (word, limit): (&str, Duration),
) -> BTreeMap<String, String> {
    let interval = match question {
        Question::Monitor(interval) => interval,
        Question::Start | Question::Stop | Question::Probe => Duration::ZERO,
    };
    let fixed = [
        ("OCF_RESOURCE_INSTANCE", agent.instance.clone()),
        ("OCF_RESOURCE_TYPE", agent.agent.clone()),
        ("OCF_RESOURCE_PROVIDER", agent.provider.clone()),
        ("OCF_CHECK_LEVEL", "0".to_owned()),
        ("OCF_RESKEY_CRM_meta_name", word.to_owned()),
        ("OCF_RESKEY_CRM_meta_timeout", limit.as_millis().to_string()),
        ("OCF_RESKEY_CRM_meta_interval", interval.as_millis().to_string()),
        ("HA_RSCTMP", OCF_TEMPORARY.to_owned()),
    ];
    let version = OCF_VERSION.map(|(name, value)| (name, value.to_owned()));
    let given = agent.parameters.iter();
    let given = given.map(|(name, value)| (format!("OCF_RESKEY_{name}"), value.clone()));
    let fixed = fixed.into_iter().chain(version).map(|(name, value)| (name.to_owned(), value));
    given.chain(fixed).collect()
}

/// What an answer to a probe or a monitor says.
pub(super) fn understood(script: &Script, question: Question, ran: &Ran) -> Status {
    let code = ran.status.and_then(|status| status.code());
    match &script.style {
        ScriptStyle::Heartbeat => told(&ran.stdout),
        ScriptStyle::Lsb => coded(code),
        ScriptStyle::Ocf(_) => ocf_coded(code, question),
        ScriptStyle::Systemd => unit_told(&ran.stdout),
    }
}

/// The exit code does not count, only what is printed (heartbeat, `we_own_resource`).
fn told(stdout: &str) -> Status {
    let says = |word: &str| stdout.contains(word);
    let up = !says("not running") && (says("running") || says("Running") || says("OK"));
    if up { Status::Running } else { Status::Stopped }
}

/// LSB 5.0, 22.2: 1 and 2 are "dead, and a pid or lock file is left".
fn coded(code: Option<i32>) -> Status {
    match code {
        Some(0) => Status::Running,
        Some(1..=LSB_NOT_RUNNING) => Status::Stopped,
        _ => Status::Unknown,
    }
}

/// 8 and 9: up, and broken, in a role that there is not here. 190 and 191 of OCF 1.1: up, though
/// not well. What is not installed is not up, where nobody has started it.
fn ocf_coded(code: Option<i32>, question: Question) -> Status {
    match code {
        Some(0 | 8 | 190 | 191) => Status::Running,
        Some(7) => Status::Stopped,
        Some(5) if question == Question::Probe => Status::Stopped,
        Some(1..=6 | 9) => Status::Broken,
        _ => Status::Unknown,
    }
}

/// systemctl(1), `is-active`: the state of each unit in one word.
fn unit_told(stdout: &str) -> Status {
    match stdout.trim() {
        "active" | "reloading" | "refreshing" => Status::Running,
        "inactive" => Status::Stopped,
        "failed" => Status::Broken,
        _ => Status::Unknown,
    }
}

/// As an operator would type it.
pub(super) fn typed(invocation: &Invocation) -> String {
    let mut text = invocation.program.display().to_string();
    for arg in &invocation.args {
        text.push(' ');
        text.push_str(arg);
    }
    text
}

/// How it ended and what it said, in one line.
pub(super) fn reason(script: &Script, invocation: &Invocation, ran: &Ran) -> String {
    let how = match ran.status {
        None => "could not be killed".to_owned(),
        Some(_) if ran.timed_out => {
            format!("did not end within {:.1} s and was killed", invocation.limit.as_secs_f32())
        }
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}{}", meaning(script, code)),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        },
    };
    let said = given_reason(&ran.stderr).or_else(|| ran.last_line());
    let said = said.map(|line| format!(": {line}")).unwrap_or_default();
    one_line(&format!("{} {how}{said}", typed(invocation)))
}

/// The names of OCF exit codes.
fn meaning(script: &Script, code: i32) -> String {
    let names = [
        "generic error",
        "wrong arguments",
        "unimplemented",
        "insufficient privileges",
        "not installed",
        "not configured",
        "not running",
        "running in the promoted role",
        "failed in the promoted role",
    ];
    let place = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
    match (&script.style, place.and_then(|place| names.get(place))) {
        (ScriptStyle::Ocf(_), Some(name)) => format!(" ({name})"),
        _ => String::new(),
    }
}

fn given_reason(stderr: &str) -> Option<&str> {
    stderr.lines().rev().find_map(|line| line.strip_prefix(OCF_REASON)).map(str::trim)
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeat_status_is_told_by_its_words() {
        let table = [
            ("", Status::Stopped),
            ("running", Status::Running),
            ("INFO:  Running OK\n", Status::Running),
            ("OK", Status::Running),
            ("apache is not running", Status::Stopped),
            ("not running, though eth0 is running", Status::Stopped),
            ("stopped", Status::Stopped),
        ];
        for (text, status) in table {
            assert_eq!(told(text), status, "{text:?}");
        }
    }

    #[test]
    fn lsb_status_is_told_by_its_code() {
        let table = [
            (Some(0), Status::Running),
            (Some(1), Status::Stopped),
            (Some(3), Status::Stopped),
            (Some(4), Status::Unknown),
            (None, Status::Unknown),
        ];
        for (code, status) in table {
            assert_eq!(coded(code), status, "{code:?}");
        }
    }

    #[test]
    fn every_ocf_exit_code_has_its_meaning() {
        let monitor = Question::Monitor(Duration::from_secs(10));
        for (codes, probed, monitored) in [
            (vec![Some(0), Some(8), Some(190), Some(191)], Status::Running, Status::Running),
            (vec![Some(7)], Status::Stopped, Status::Stopped),
            (vec![Some(5)], Status::Stopped, Status::Broken),
            ([1, 2, 3, 4, 6, 9].map(Some).to_vec(), Status::Broken, Status::Broken),
            (vec![Some(10), Some(137), None], Status::Unknown, Status::Unknown),
        ] {
            for code in codes {
                assert_eq!(ocf_coded(code, Question::Probe), probed, "{code:?}");
                assert_eq!(ocf_coded(code, monitor), monitored, "{code:?}");
            }
        }
    }

    #[test]
    fn units_are_told_by_their_state() {
        for (text, status) in [
            ("active\n", Status::Running),
            ("reloading\n", Status::Running),
            ("inactive\n", Status::Stopped),
            ("failed\n", Status::Broken),
            ("activating\n", Status::Unknown),
            ("", Status::Unknown),
        ] {
            assert_eq!(unit_told(text), status, "{text:?}");
        }
    }

    #[test]
    fn the_reason_of_an_agent_is_the_one_it_gives() {
        let given = "WARNING: x\nocf-exit-reason:no such device\nERROR: something after it\n";
        assert_eq!(given_reason(given), Some("no such device"));
    }
}
