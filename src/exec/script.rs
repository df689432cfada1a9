//! Resources that are programs: scripts, OCF agents, systemd units.
//!
//! A start asks for the status first and starts only what is not running; a stop counts only with
//! exit code 0 (heartbeat, ResourceManager; LSB 5.0, 22.2; OCF Resource Agent API 1.0). No
//! retries: that is the cluster's to decide. How each kind is asked and understood is [`super::style`]'s.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::style::{OCF_TEMPORARY, Question, invocation, one_line, reason, typed, understood};
use crate::cluster::event::{Outcome, Verdict};
use crate::config::{Script, ScriptStyle};
use crate::exec::{RunError, run};
use crate::names::NodeName;

/// What scripts are told about where they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// This node (`HA_CURHOST`).
    pub node: NodeName,
    /// The directory of `ha.cf` and `shellfuncs` (`HA_DIR`); usually `/etc/ha.d`.
    pub ha_dir: PathBuf,
    /// `env` of ha.cf: names without their `HA_`, and values.
    pub env: Vec<(String, String)>,
}

/// What a script's `status` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Up.
    Running,
    /// Down.
    Stopped,
    /// Not up, and perhaps not all down.
    Broken,
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
/// The status may take half of the limit. What is broken is stopped first. When the status is
/// unclear the script is started: LSB, OCF and Heartbeat all ask that starting twice does no harm.
pub async fn start(script: &Script, surroundings: &Surroundings, limit: Duration) -> Outcome {
    let begun = Instant::now();
    let left = || limit.saturating_sub(begun.elapsed());
    match status(script, surroundings, limit / 2).await {
        Ok(Status::Running) => return Outcome::Done,
        Ok(Status::Broken) => {
            if let failed @ Outcome::Failed(_) = stop(script, surroundings, left()).await {
                return failed;
            }
        }
        Ok(Status::Stopped | Status::Unknown) => {}
        Err(error) => return Outcome::Failed(one_line(&error.to_string())),
    }
    perform(script, surroundings, Question::Start, left()).await
}

/// Takes the resource down within `limit`.
pub async fn stop(script: &Script, surroundings: &Surroundings, limit: Duration) -> Outcome {
    perform(script, surroundings, Question::Stop, limit).await
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
    let invocation = invocation(script, surroundings, Question::Probe, limit);
    prepare(script);
    let ran = run(&invocation).await?;
    if ran.timed_out {
        return Err(StatusError::TimedOut { command: typed(&invocation), limit });
    }
    Ok(understood(script, Question::Probe, &ran))
}

/// Looks whether a resource that should be up is so; it is asked again after `interval`.
pub async fn monitor(
    script: &Script,
    surroundings: &Surroundings,
    (limit, interval): (Duration, Duration),
) -> Verdict {
    let question = Question::Monitor(interval);
    let invocation = invocation(script, surroundings, question, limit);
    prepare(script);
    match run(&invocation).await {
        Err(error) => Verdict::Unclear(one_line(&error.to_string())),
        Ok(ran) if ran.timed_out => Verdict::Unclear(reason(script, &invocation, &ran)),
        Ok(ran) => match understood(script, question, &ran) {
            Status::Running => Verdict::Up,
            Status::Stopped | Status::Broken => Verdict::Down(reason(script, &invocation, &ran)),
            Status::Unknown => Verdict::Unclear(reason(script, &invocation, &ran)),
        },
    }
}

async fn perform(
    script: &Script,
    surroundings: &Surroundings,
    question: Question,
    limit: Duration,
) -> Outcome {
    let invocation = invocation(script, surroundings, question, limit);
    prepare(script);
    match run(&invocation).await {
        Err(error) => Outcome::Failed(one_line(&error.to_string())),
        Ok(ran) if !ran.timed_out && ran.status.is_some_and(|status| status.success()) => {
            Outcome::Done
        }
        Ok(ran) => Outcome::Failed(reason(script, &invocation, &ran)),
    }
}

/// Agents expect their directory, which their package has the system make at boot.
fn prepare(script: &Script) {
    if matches!(script.style, ScriptStyle::Ocf(_)) {
        // Without it the agent says what it misses.
        let _there_or_refused = std::fs::DirBuilder::new().mode(0o755).create(OCF_TEMPORARY);
    }
}
