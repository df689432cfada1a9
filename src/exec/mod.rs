//! Runs one program as a child: own process group, no stdin but what is given, bounded output, a time limit and a
//! ladder of signals at its end.
//!
//! What the program's answer means is [`script`]'s business; whether to run it is decided above.

pub mod script;
mod style;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::Semaphore;

use crate::keys::Secret;
use crate::lvs::program::ProgramEnd;
use crate::sys::child::isolate;
use crate::sys::ready::watched;
use crate::time::millis;

/// How much of each output stream is kept: its end, for that is where the reason stands.
pub const OUTPUT_MAX: usize = 64 * 1024;

/// Longest time from SIGTERM to SIGKILL; a quarter of the time limit where that is less.
pub const GRACE_MAX: Duration = Duration::from_secs(5);

/// How long a killed child may take to go. One that waits for a dead disk or NFS server does not.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// Most that is read from a pipe after the child has ended: more than a pipe holds (64 KiB, at
/// most 1 MiB), less than for ever, when a left-over process floods it.
const REMAINS_MAX: usize = 1024 * 1024;

/// Most pipes that are kept open for processes which a script left behind. Beyond that the pipe is
/// closed, and such a process dies of SIGPIPE should it write.
const LEFT_OPEN_MAX: usize = 64;

static LEFT_OPEN: Semaphore = Semaphore::const_new(LEFT_OPEN_MAX);

/// One program to run. The working directory is `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment; nothing of ours is inherited.
    pub environment: BTreeMap<String, String>,
    /// What it reads on its standard input; `None`: nothing, as from `/dev/null`.
    pub input: Option<Secret>,
    /// Longest run before SIGTERM.
    pub limit: Duration,
}

/// What systemd tells us and is for nobody else.
const NOT_INHERITED: &[&str] =
    &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"];

/// The environment that the daemon was started with, as ldirectord hands it on.
pub fn inherited() -> BTreeMap<String, String> {
    let variables = std::env::vars_os();
    let readable = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    readable.filter(|(name, _)| !NOT_INHERITED.contains(&name.as_str())).collect()
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its status; `None` when it did not go even after SIGKILL.
    pub status: Option<ExitStatus>,
    /// Whether it was told to end because its time was over.
    pub timed_out: bool,
    /// The end of its standard output; at most [`OUTPUT_MAX`] bytes.
    pub stdout: String,
    /// The end of its standard error; at most [`OUTPUT_MAX`] bytes.
    pub stderr: String,
}

impl Ran {
    /// Whether it ended by itself with exit code 0; if not, how. `limit` is the one that it had.
    ///
    /// # Errors
    /// How it ended.
    pub fn well(&self, limit: Duration) -> Result<(), ProgramEnd> {
        match self.status.map(|status| (status.code(), status.signal())) {
            _ if self.timed_out => Err(ProgramEnd::TimedOut(millis(limit))),
            Some((Some(0), _)) => Ok(()),
            Some((Some(code), _)) => Err(ProgramEnd::Exited(code)),
            Some((None, signal)) => Err(ProgramEnd::Signal(signal.unwrap_or_default())),
            None => Err(ProgramEnd::TimedOut(millis(limit))),
        }
    }

    /// The last line that it printed and that is not empty; standard error comes first.
    pub fn last_line(&self) -> Option<&str> {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        lines.map(str::trim).rfind(|line| !line.is_empty())
    }
}

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not there, not executable, no process to be had.
    #[error("can't run {}: {cause}", program.display())]
    Spawn {
        /// The executable.
        program: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// Started, but could not be waited for; it has been killed.
    #[error("can't wait for {}: {cause}", program.display())]
    Wait {
        /// The executable.
        program: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

/// Runs a program to its end: that of the process itself, not of what it leaves in the background,
/// even where that keeps our pipes open. Takes at most the limit, the grace and a second.
///
/// When the time is over, SIGTERM goes to its process group, then SIGKILL. When the future is
/// dropped, SIGKILL at once.
///
/// # Errors
/// [`RunError`]; a program that ran and failed is no error here.
pub async fn run(invocation: &Invocation) -> Result<Ran, RunError> {
    let program = || invocation.program.clone();
    let mut child =
        spawned(invocation).map_err(|cause| RunError::Spawn { program: program(), cause })?;
    let mut pipes = Pipes::of(&mut child);
    feed(&mut child, invocation.input.clone());
    let mut life =
        Life::of(&child).map_err(|cause| RunError::Wait { program: program(), cause })?;

    let timed_out = !pipes.hear_while(life.over_within(invocation.limit)).await;
    if timed_out {
        life.signal(Signal::TERM);
        let grace = GRACE_MAX.min(invocation.limit / 4);
        pipes.hear_while(life.over_within(grace)).await;
        // Also when the first process went in time: others of its group may not have.
        life.signal(Signal::KILL);
        pipes.hear_while(life.over_within(KILL_LIMIT)).await;
    }
    // Not before here is the process reaped, so its number could not become another's.
    let status = match tokio::time::timeout(KILL_LIMIT, child.wait()).await {
        Err(_) => None,
        Ok(status) => Some(status.map_err(|cause| RunError::Wait { program: program(), cause })?),
    };
    life.ended = true;
    let (stdout, stderr) = pipes.finish();
    Ok(Ran { status, timed_out, stdout, stderr })
}

fn spawned(invocation: &Invocation) -> io::Result<Child> {
    let mut command = Command::new(&invocation.program);
    command
        .args(&invocation.args)
        .env_clear()
        .envs(&invocation.environment)
        .current_dir("/")
        .stdin(if invocation.input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    isolate(command.as_std_mut());
    command.spawn()
}

/// Writes without waiting for it: a child that does not read ends the writing with its own end.
fn feed(child: &mut Child, input: Option<Secret>) {
    let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) else { return };
    tokio::spawn(async move {
        // The child ended without having read everything.
        let _closed = pipe.write_all(input.reveal().as_bytes()).await;
    });
}

/// A child and its process group, until they are over.
struct Life {
    group: Pid,
    over: AsyncFd<OwnedFd>,
    ended: bool,
}

impl Life {
    fn of(child: &Child) -> io::Result<Self> {
        let number = child.id().and_then(|id| i32::try_from(id).ok());
        let group = number.and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let over = watched(pidfd_open(group, PidfdFlags::empty())?)?;
        Ok(Self { group, over, ended: false })
    }

    /// Whether the child itself ends in time.
    async fn over_within(&self, limit: Duration) -> bool {
        // A pidfd is readable, for good, when the process has ended and may be reaped.
        tokio::time::timeout(limit, self.over.readable()).await.is_ok()
    }

    fn signal(&self, signal: Signal) {
        // Nobody left in the group is as good as everybody told.
        let _ = kill_process_group(self.group, signal);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
        }
    }
}

/// Both output streams of a child.
struct Pipes {
    stdout: Stream<ChildStdout>,
    stderr: Stream<ChildStderr>,
}

impl Pipes {
    fn of(child: &mut Child) -> Self {
        Self {
            stdout: Stream { pipe: child.stdout.take(), tail: Vec::new() },
            stderr: Stream { pipe: child.stderr.take(), tail: Vec::new() },
        }
    }

    /// Reads until something else has happened.
    async fn hear_while<T>(&mut self, event: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            happened = event => happened,
            never = self.stdout.listen() => match never {},
            never = self.stderr.listen() => match never {},
        }
    }

    fn finish(self) -> (String, String) {
        (self.stdout.finish(), self.stderr.finish())
    }
}

struct Stream<P> {
    pipe: Option<P>,
    tail: Vec<u8>,
}

impl<P: AsyncRead + AsFd + Unpin + Send + 'static> Stream<P> {
    async fn listen(&mut self) -> Infallible {
        let mut chunk = [0; 4096];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(count) => keep(&mut self.tail, chunk.get(..count).unwrap_or_default()),
            }
        }
        std::future::pending().await
    }

    /// Takes what stands in the pipe already, without waiting for its end.
    fn finish(mut self) -> String {
        let mut chunk = [0; 4096];
        let mut taken = 0;
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut chunk) {
                Ok(count) if count > 0 && taken < REMAINS_MAX => {
                    taken += count;
                    keep(&mut self.tail, chunk.get(..count).unwrap_or_default());
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => self.pipe = None,
                Ok(_) | Err(_) => break,
            }
        }
        if let Some(pipe) = self.pipe {
            leave_open(pipe);
        }
        let surplus = self.tail.len().saturating_sub(OUTPUT_MAX);
        self.tail.drain(..surplus);
        String::from_utf8_lossy(&self.tail).into_owned()
    }
}

/// Appends, and lets the beginning go when there is too much.
fn keep(tail: &mut Vec<u8>, more: &[u8]) {
    if tail.len() + more.len() > 2 * OUTPUT_MAX {
        let surplus = tail.len().saturating_sub(OUTPUT_MAX);
        tail.drain(..surplus);
    }
    tail.extend_from_slice(more);
}

/// Goes on reading for a process that was left behind with our pipe, so that its next message does
/// not kill it.
fn leave_open<P: AsyncRead + Unpin + Send + 'static>(mut pipe: P) {
    let Ok(permit) = LEFT_OPEN.try_acquire() else { return };
    tokio::spawn(async move {
        let _permit = permit;
        let mut chunk = [0; 4096];
        while pipe.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
    });
}

#[cfg(test)]
mod tests;
