//! The checker process: runs the checks that the core gives it and reports each verdict.
//!
//! It has no privileges and parses bytes from strangers; nothing it does can delay a heartbeat. It
//! decides nothing about pools. Checks run side by side, each with its own deadline, so a server
//! that swallows packets delays no other. The core is at the other end of standard input; when that
//! closes, the checker ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::daemon::channel::{self, Channel, ChannelError, Receiver, Sender};
use crate::lvs::check::{CHECKS_MAX, CheckResult, CheckSpec};
use crate::probe::schedule::{Run, RunId, Schedule};
use crate::probe::tls::Trust;
use crate::probe::{Context, Probed, probe, program};
use crate::sys::{log, signal};
use crate::time::Instant;

/// Results wait this long for company before they are sent: far below any interval, and it turns
/// thousands of messages a second into a hundred.
pub const BATCH: Duration = Duration::from_millis(10);

/// Most results in one message, so that one takes the core well under a millisecond.
pub const BATCH_MAX: usize = 1000;

/// Results that may wait for a core that does not read; then no check is started. The core needs
/// the latest verdict of each check, and has that with as many.
const WAITING_MAX: usize = CHECKS_MAX;

/// Descriptors that are not for checks: the standard ones, the channel, the runtime's, files that
/// libraries open, and what programs have beyond the one that each check counts for.
const DESCRIPTORS_KEPT: u64 = 64 + (program::PROGRAMS_MAX * program::DESCRIPTORS_EACH) as u64;

/// What the core says to the checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToChecker {
    /// From now on these checks and no others. At most [`CHECKS_MAX`].
    Checks(Vec<CheckSpec>),
}

/// What the checker says to the core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromChecker {
    /// It has started and listens.
    Ready,
    /// Checks that have ended, in the order of their ends. At most [`BATCH_MAX`]. Right after a
    /// change of the list there may be checks among them that have just left it.
    Results(Vec<CheckResult>),
    /// Something that the operator should know; checks go on.
    Warning(String),
}

/// Why the checker ended.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// Started without a channel, or without the means to run at all.
    #[error("cannot start the checker")]
    Start(#[source] std::io::Error),
    /// The core cannot be understood or reached.
    #[error("lost the channel to the core")]
    Channel(#[from] ChannelError),
    /// A check panicked; the core starts the checker anew.
    #[error("a check panicked")]
    Panic(#[source] JoinError),
}

/// The whole life of the checker process. The channel is standard input.
///
/// # Errors
/// As [`serve`], and when it can't start; logged here.
pub fn run() -> Result<(), CheckerError> {
    log::start();
    start().inspect_err(|error| {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(cause = cause.unwrap_or_default(), "checker: {error}");
    })
}

fn start() -> Result<(), CheckerError> {
    let parallel = parallel_checks();
    let trust = Arc::new(Trust::system());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CheckerError::Start)?;
    let ended = runtime.block_on(async {
        signal::leave_to_supervisor().map_err(CheckerError::Start)?;
        let stream = channel::from_stdin().map_err(CheckerError::Start)?;
        serve(stream, trust, parallel).await
    });
    // A file that can't be read for now is no reason to stay.
    runtime.shutdown_background();
    ended
}

/// Runs checks until the other end of `stream` closes; at most `parallel` at a time.
///
/// # Errors
/// [`CheckerError::Channel`], [`CheckerError::Panic`].
pub async fn serve(
    stream: UnixStream,
    trust: Arc<Trust>,
    parallel: usize,
) -> Result<(), CheckerError> {
    let (mut sender, receiver) = Channel::new(stream).split();
    sender.send(&FromChecker::Ready).await?;
    let context = Arc::new(Context::new(Arc::clone(&trust), &[]));
    let checker = Checker {
        sender,
        receiver,
        trust,
        context,
        parallel,
        clock: Clock::start(),
        schedule: Schedule::default(),
        tasks: JoinSet::new(),
        aborts: BTreeMap::new(),
        results: Vec::new(),
        batch_at: Instant::NEVER,
    };
    match checker.serve().await {
        Err(CheckerError::Channel(error)) if error.is_hang_up() => Ok(()),
        end => end,
    }
}

/// How many checks may run at a time: each has one descriptor. Raises the soft limit to the hard
/// one first (getrlimit(2)).
fn parallel_checks() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let room = current.map_or(u64::MAX, |limit| limit.saturating_sub(DESCRIPTORS_KEPT));
    usize::try_from(room).unwrap_or(usize::MAX).clamp(1, CHECKS_MAX)
}

struct Checker {
    sender: Sender<FromChecker>,
    receiver: Receiver<ToChecker>,
    trust: Arc<Trust>,
    context: Arc<Context>,
    parallel: usize,
    clock: Clock,
    schedule: Schedule,
    /// The checks that run, and aborted ones until their descriptor is closed.
    tasks: JoinSet<(RunId, CheckResult)>,
    aborts: BTreeMap<RunId, AbortHandle>,
    /// Verdicts that the core does not have yet.
    results: Vec<CheckResult>,
    /// When they go out at the latest.
    batch_at: Instant,
}

impl Checker {
    async fn serve(mut self) -> Result<(), CheckerError> {
        loop {
            self.start_due();
            self.report_due()?;
            let wake = self.wake();
            tokio::select! {
                message = self.receiver.recv() => match message? {
                    Some(ToChecker::Checks(checks)) => self.replace(checks)?,
                    None => return Ok(()),
                },
                Some(ended) = self.tasks.join_next() => self.take(ended)?,
                sent = self.sender.flush(), if self.sender.is_waiting() => sent?,
                () = wake => {}
            }
        }
    }

    fn replace(&mut self, mut checks: Vec<CheckSpec>) -> Result<(), CheckerError> {
        if checks.len() > CHECKS_MAX {
            self.warn(format!("{} checks, only {CHECKS_MAX} are run", checks.len()))?;
            checks.truncate(CHECKS_MAX);
        }
        if checks.len() > self.parallel {
            let (count, parallel) = (checks.len(), self.parallel);
            self.warn(format!(
                "{count} checks, but RLIMIT_NOFILE allows only {parallel} at a time"
            ))?;
        }
        self.context = Arc::new(Context::new(Arc::clone(&self.trust), &checks));
        for run in self.schedule.replace(self.clock.now(), checks) {
            if let Some(task) = self.aborts.remove(&run) {
                task.abort();
            }
        }
        Ok(())
    }

    fn start_due(&mut self) {
        if self.results.len() >= WAITING_MAX {
            return;
        }
        let room = self.parallel.saturating_sub(self.tasks.len());
        for Run { id, spec } in self.schedule.due(self.clock.now(), room) {
            let context = Arc::clone(&self.context);
            let task = self.tasks.spawn(async move { (id, timed(&spec, &context).await) });
            self.aborts.insert(id, task);
        }
    }

    /// One task has ended. An aborted one was forgotten before.
    fn take(&mut self, ended: Result<(RunId, CheckResult), JoinError>) -> Result<(), CheckerError> {
        let (run, result) = match ended {
            Ok(ended) => ended,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(CheckerError::Panic(error)),
        };
        self.aborts.remove(&run);
        let now = self.clock.now();
        if self.schedule.ended(now, run, &result.verdict) {
            self.batch_at = self.batch_at.min(now.plus(BATCH));
            self.results.push(result);
        }
        Ok(())
    }

    /// Hands the results over when they have waited long enough and the last ones are gone.
    fn report_due(&mut self) -> Result<(), CheckerError> {
        let full = self.results.len() >= BATCH_MAX;
        if self.sender.is_waiting() || !(full || self.batch_at <= self.clock.now()) {
            return Ok(());
        }
        let rest = self.results.split_off(self.results.len().min(BATCH_MAX));
        let batch = std::mem::replace(&mut self.results, rest);
        if self.results.is_empty() {
            self.batch_at = Instant::NEVER;
        }
        Ok(self.sender.queue(&FromChecker::Results(batch))?)
    }

    fn warn(&mut self, text: String) -> Result<(), CheckerError> {
        Ok(self.sender.queue(&FromChecker::Warning(text))?)
    }

    /// Ends when there is something to start or to report; what waits for a task or for the socket
    /// is woken by those.
    fn wake(&self) -> impl Future<Output = ()> + use<> {
        let is_full = self.results.len() >= WAITING_MAX;
        let has_room = self.tasks.len() < self.parallel && !is_full;
        let start = if has_room { self.schedule.deadline() } else { Instant::NEVER };
        let report = if self.sender.is_waiting() { Instant::NEVER } else { self.batch_at };
        let at = self.clock.when(start.min(report));
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

async fn timed(spec: &CheckSpec, context: &Context) -> CheckResult {
    let started = tokio::time::Instant::now();
    let Probed { verdict, warning } = probe(spec, context).await;
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    CheckResult { id: spec.id, verdict, warning, took_us }
}

/// The runtime's clock as points in time for the schedule, from the checker's start on. Nothing
/// here needs the boot clock: after a suspension checks simply go on.
#[derive(Debug, Clone, Copy)]
struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }

    fn now(self) -> Instant {
        Instant::BOOT.plus(self.start.elapsed())
    }

    fn when(self, at: Instant) -> Option<tokio::time::Instant> {
        (at != Instant::NEVER).then(|| self.start + at.since(Instant::BOOT))
    }
}

#[cfg(test)]
mod tests;
