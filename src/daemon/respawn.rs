//! Programs that are kept running while the node is in service (`respawn` and `failfast` of ha.cf).
//!
//! Each has a task of its own in the supervisor: started once the core is in service, started
//! again when it ends, ended with the node. None of them can hold up anything else.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use crate::config::{Respawn, Service};
use crate::sys::child::isolate;
use crate::sys::users;

/// Exit code by which a program says that it is not to be started again (heartbeat 3.0.6,
/// `hb_respawn`).
const DONE: i32 = 100;
/// A life shorter than this is a quick end; Heartbeat's figure.
const QUICK: Duration = Duration::from_secs(30);
/// So many quick ends in a row are enough; Heartbeat's figure.
const QUICK_MAX: u32 = 10;
/// Pause before a program is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// The path of commands, as scripts get it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs.
#[derive(Debug)]
pub(super) struct Programs {
    service: Service,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// Vital programs that have ended, by name.
    ended: (mpsc::Sender<String>, mpsc::Receiver<String>),
}

impl Programs {
    /// Nothing runs yet.
    pub(super) fn new(service: &Service) -> Self {
        let stop = watch::Sender::new(false);
        Self { service: service.clone(), stop, tasks: Vec::new(), ended: mpsc::channel(1) }
    }

    /// Starts them all, the first time.
    pub(super) fn start(&mut self) {
        if !self.tasks.is_empty() {
            return;
        }
        for program in &self.service.respawn {
            let keeper = Keeper {
                program: program.clone(),
                env: self.service.env.clone(),
                stop: self.stop.subscribe(),
                ended: self.ended.0.clone(),
            };
            self.tasks.push(tokio::task::spawn_local(keeper.keep()));
        }
    }

    /// May be started once more.
    pub(super) fn again(&mut self) {
        self.stop.send_replace(false);
        self.tasks.clear();
    }

    /// Waits for the end of a vital program.
    pub(super) async fn vital_ended(&mut self) -> String {
        match self.ended.1.recv().await {
            Some(program) => program,
            None => std::future::pending().await,
        }
    }

    /// Ends them all; bounded by the ladder of signals.
    pub(super) async fn stop(&mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            let _panicked = task.await;
        }
    }
}

/// What follows the end of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    Done,
    GiveUp,
}

/// `quick`: quick ends in a row before this one.
fn next(code: Option<i32>, lived: Duration, quick: u32) -> Next {
    if code == Some(DONE) {
        Next::Done
    } else if lived < QUICK && quick >= QUICK_MAX {
        Next::GiveUp
    } else {
        Next::Again
    }
}

struct Keeper {
    program: Respawn,
    env: Vec<(String, String)>,
    stop: watch::Receiver<bool>,
    ended: mpsc::Sender<String>,
}

impl Keeper {
    async fn keep(mut self) {
        let name = self.program.program.display().to_string();
        let mut quick = 0;
        loop {
            let begun = Instant::now();
            let code = match self.spawn() {
                Ok(child) => match self.attend(child).await {
                    Some(status) => {
                        info!("{name} has ended ({status})");
                        status.code().or_else(|| status.signal().map(|signal| -signal))
                    }
                    None => return,
                },
                Err(why) => {
                    error!("{name} can't be started as {}: {why}", self.program.user);
                    None
                }
            };
            let lived = begun.elapsed();
            match next(code, lived, quick) {
                Next::Again if !self.program.vital => {}
                Next::GiveUp => {
                    error!("{name} ended {QUICK_MAX} times too quickly; it is not started again");
                    return;
                }
                Next::Done if !self.program.vital => return,
                Next::Again | Next::Done => {
                    let _leaving_already = self.ended.try_send(name);
                    return;
                }
            }
            quick = if lived < QUICK { quick + 1 } else { 0 };
            let stopped = timeout(PAUSE, self.stop.wait_for(|stop| *stop)).await;
            if stopped.is_ok() {
                return;
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let user = users::find(&self.program.user)?;
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.args)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.env.iter().map(|(name, value)| (format!("HA_{name}"), value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        // Where it is ours already, changing it needs rights that we may not have.
        let own = rustix::process::geteuid();
        if own.is_root() || own.as_raw() != user.uid {
            command.uid(user.uid).gid(user.gid);
        }
        isolate(command.as_std_mut());
        command.spawn()
    }

    /// Until it ends by itself; `None`: it was ended with the node.
    async fn attend(&mut self, mut child: Child) -> Option<ExitStatus> {
        tokio::select! {
            end = child.wait() => return end.ok().or(Some(ExitStatus::from_raw(0))),
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        for signal in [Signal::TERM, Signal::KILL] {
            if let Some(group) = group {
                let _gone = kill_process_group(group, signal);
            }
            if timeout(GRACE, child.wait()).await.is_ok() {
                return None;
            }
        }
        warn!("{} does not end", self.program.program.display());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_started_again_unless_it_says_no_or_ends_too_quickly_too_often() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(next(Some(0), short, 0), Next::Again);
        assert_eq!(next(Some(1), short, QUICK_MAX - 1), Next::Again);
        assert_eq!(next(Some(1), short, QUICK_MAX), Next::GiveUp);
        assert_eq!(next(Some(1), long, QUICK_MAX), Next::Again);
        assert_eq!(next(Some(DONE), short, QUICK_MAX), Next::Done);
        assert_eq!(next(None, short, 0), Next::Again);
    }
}
