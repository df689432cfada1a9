//! Resource scripts: `resource.d` in Heartbeat's manner, and LSB init scripts.
//!
//! A start asks for the status first and starts only what is not running; a stop counts only with
//! exit code 0 (heartbeat, ResourceManager; LSB 5.0, 22.2). No retries: that is the cluster's to
//! decide.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::event::{Outcome, Verdict};
use crate::config::{Script, ScriptStyle};
use crate::exec::{Invocation, Ran, RunError, run};
use crate::names::NodeName;

/// Search path of scripts, whatever ours is: init systems give daemons a short one.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where OCF agents live; Heartbeat's own scripts are wrappers around them.
const OCF_ROOT: &str = "/usr/lib/ocf";

/// LSB: "program is not running".
const LSB_NOT_RUNNING: i32 = 3;

/// Longest reason, in characters: it goes into a journal line and on a screen.
const REASON_MAX: usize = 300;

/// What scripts are told about where they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// This node (`HA_CURHOST`).
    pub node: NodeName,
    /// The directory of `ha.cf` and `shellfuncs` (`HA_DIR`); usually `/etc/ha.d`.
    pub ha_dir: PathBuf,
}

/// What a script's `status` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Up.
    Running,
    /// Down.
    Stopped,
    /// Neither: LSB codes but 0, 1, 2 and 3, or ended by a signal.
    Unknown,
}

/// Why a script's status is not known.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Not run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It hung.
    #[error("{command} did not end within {} s", limit.as_secs_f32())]
    TimedOut {
        /// As typed.
        command: String,
        /// The limit.
        limit: Duration,
    },
}

/// Brings the resource up within `limit`; nothing is done when its status says that it is.
///
/// The status may take half of the limit. When it is unclear the script is started: LSB and
/// Heartbeat both ask that starting twice does no harm.
pub async fn start(script: &Script, surroundings: &Surroundings, limit: Duration) -> Outcome {
    let begun = Instant::now();
    match status(script, surroundings, limit / 2).await {
        Ok(Status::Running) => return Outcome::Done,
        Ok(Status::Stopped | Status::Unknown) => {}
        Err(error) => return Outcome::Failed(one_line(&error.to_string())),
    }
    perform(script, surroundings, "start", limit.saturating_sub(begun.elapsed())).await
}

/// Takes the resource down within `limit`.
pub async fn stop(script: &Script, surroundings: &Surroundings, limit: Duration) -> Outcome {
    perform(script, surroundings, "stop", limit).await
}

/// Asks whether the resource is up.
///
/// # Errors
/// [`StatusError`].
pub async fn status(
    script: &Script,
    surroundings: &Surroundings,
    limit: Duration,
) -> Result<Status, StatusError> {
    let invocation = invocation(script, surroundings, "status", limit);
    let ran = run(&invocation).await?;
    if ran.timed_out {
        return Err(StatusError::TimedOut { command: typed(&invocation), limit });
    }
    Ok(understood(script, &ran))
}

/// Looks whether a resource that should be up is so.
pub async fn monitor(script: &Script, surroundings: &Surroundings, limit: Duration) -> Verdict {
    let invocation = invocation(script, surroundings, "status", limit);
    match run(&invocation).await {
        Err(error) => Verdict::Unclear(one_line(&error.to_string())),
        Ok(ran) if ran.timed_out => Verdict::Unclear(reason(&invocation, &ran)),
        Ok(ran) => match understood(script, &ran) {
            Status::Running => Verdict::Up,
            Status::Stopped => Verdict::Down(reason(&invocation, &ran)),
            Status::Unknown => Verdict::Unclear(reason(&invocation, &ran)),
        },
    }
}

fn understood(script: &Script, ran: &Ran) -> Status {
    match script.style {
        ScriptStyle::Heartbeat => told(&ran.stdout),
        ScriptStyle::Lsb => coded(ran.status.and_then(|status| status.code())),
    }
}

async fn perform(
    script: &Script,
    surroundings: &Surroundings,
    action: &str,
    limit: Duration,
) -> Outcome {
    let invocation = invocation(script, surroundings, action, limit);
    match run(&invocation).await {
        Err(error) => Outcome::Failed(one_line(&error.to_string())),
        Ok(ran) if !ran.timed_out && ran.status.is_some_and(|status| status.success()) => {
            Outcome::Done
        }
        Ok(ran) => Outcome::Failed(reason(&invocation, &ran)),
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

fn invocation(
    script: &Script,
    surroundings: &Surroundings,
    action: &str,
    limit: Duration,
) -> Invocation {
    let mut args = script.args.clone();
    args.push(action.to_owned());
    let environment = environment(surroundings);
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
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn typed(invocation: &Invocation) -> String {
    let mut text = invocation.program.display().to_string();
    for arg in &invocation.args {
        text.push(' ');
        text.push_str(arg);
    }
    text
}

fn reason(invocation: &Invocation, ran: &Ran) -> String {
    let how = match ran.status {
        None => "could not be killed".to_owned(),
        Some(_) if ran.timed_out => {
            format!("did not end within {:.1} s and was killed", invocation.limit.as_secs_f32())
        }
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        },
    };
    let last = last_line(&ran.stderr).or_else(|| last_line(&ran.stdout));
    let said = last.map(|line| format!(": {line}")).unwrap_or_default();
    one_line(&format!("{} {how}{said}", typed(invocation)))
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

fn one_line(text: &str) -> String {
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
}
