//! A director without a cluster, as ldirectord is one: the director's task and its checker, no
//! heartbeats, no virtual IPs.
//!
//! One process with the checker as its child. When it dies, the kernel's table stays as it is, and
//! the next start goes on from there. One lock file says whether it runs: held as long as it lives, with its
//! number in it. Nobody else ever removes that or the pid file.

mod answers;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::cluster::event::Outcome;
use crate::config::alone::{self, Alone};
use crate::config::diag::Diagnostic;
use crate::config::{Watched, director_settings};
use crate::control::server::{self, Server};
use crate::daemon::director::{self, DirectorHandle};
use crate::daemon::watch::Watch;
use crate::daemon::{Fatal, Paths, chronicle, hooks};
use crate::kernel::fullnat;
use crate::lvs::director::STOP_LIMIT;
use crate::names::DirectorName;
use crate::sys::files::Machine;
use crate::sys::log;

/// Longest wait at the start for every server's first verdict and the table that follows from it.
/// What has not answered by then is out. Below the 15 s that cluster managers give a start.
const START_MAX: Duration = Duration::from_secs(10);
/// Pause before a dead checker is started again.
const CHECKER_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the connection to the director's socket, which this process serves itself.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest wait for the lock: somebody may be looking whether it is held.
const LOCK_MAX: Duration = Duration::from_secs(2);
/// From one try to the next.
const LOCK_TRY: Duration = Duration::from_millis(20);
/// Longest wait for a director that was told to stop, beside its own limit.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The files of one director without a cluster.
#[derive(Debug, Clone)]
pub struct Home {
    /// The name of its configuration, which it is known by.
    pub name: DirectorName,
    /// Its configuration, and directories of its own.
    pub paths: Paths,
    /// For service managers.
    pub pid_file: PathBuf,
}

impl Home {
    /// That of the director with this configuration, below the directories of `paths`.
    pub fn new(name: DirectorName, paths: &Paths) -> Self {
        let own = format!("director-{name}");
        let pid_file = paths.runtime_dir.join(format!("ldirectord.{name}.pid"));
        let paths = Paths {
            runtime_dir: paths.runtime_dir.join(&own),
            state_dir: paths.state_dir.join(&own),
            ..paths.clone()
        };
        Self { name, paths, pid_file }
    }

    /// Reads the configuration.
    pub fn load(&self) -> (Option<Alone>, Vec<Diagnostic>) {
        alone::load(&self.paths.config, &self.name, &Machine::default())
    }

    /// The director that runs, by its process number; `None` where none does. Whatever the pid file says.
    ///
    /// # Errors
    /// When the lock file can't be read.
    pub fn running(&self) -> io::Result<Option<Pid>> {
        let mut file = match File::open(self.paths.lock_file()) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                let number = text.trim().parse().ok().and_then(Pid::from_raw);
                number.map(Some).ok_or_else(|| io::Error::other("it begins just now"))
            }
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Tells the running director to read its file again.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn reload(pid: Pid) -> io::Result<()> {
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// Tells the running director to stop, and waits until it has. False: it has not, in its time.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn stop(&self, pid: Pid) -> io::Result<bool> {
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        if self.running()? != Some(pid) {
            return Ok(true);
        }
        pidfd_send_signal(&process, Signal::TERM)?;
        let limit = Timespec::try_from(STOP_LIMIT + STOP_GRACE).ok();
        Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], limit.as_ref())? > 0)
    }
}

/// Runs the director until it is told to stop; `ready` is called when its table is in the kernel.
///
/// # Errors
/// Whatever keeps it from starting: a sentence that names the remedy.
pub fn run(home: &Home, config: Alone, ready: impl FnOnce()) -> Result<(), Fatal> {
    log::start();
    log::configure(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fatal::System(format!("runtime: {e}")))?;
    let local = tokio::task::LocalSet::new();
    let end = local.block_on(&runtime, async {
        let _lock = lock(home).await?;
        let end = serve(home, config, ready).await;
        let sockets = [home.paths.checker_socket(), home.paths.control_socket()];
        for file in sockets.into_iter().chain([home.pid_file.clone()]) {
            let _gone = std::fs::remove_file(file);
        }
        end
    });
    log::flush();
    drop(local);
    // A name that is still being asked for is no reason to stay.
    runtime.shutdown_background();
    end
}

async fn lock(home: &Home) -> Result<File, Fatal> {
    let in_file = |path: &Path| {
        let path = path.to_owned();
        move |source| Fatal::File { path, source }
    };
    for directory in [&home.paths.runtime_dir, &home.paths.state_dir] {
        std::fs::create_dir_all(directory).map_err(in_file(directory))?;
    }
    let path = home.paths.lock_file();
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = options.map_err(in_file(&path))?;
    let until = Instant::now() + LOCK_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                sleep(LOCK_TRY).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Fatal::AlreadyRunning(home.paths.runtime_dir.clone()));
            }
            Err(TryLockError::Error(source)) => return Err(Fatal::File { path, source }),
        }
    }
    let own = format!("{}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.write_all(own.as_bytes()));
    written.map_err(in_file(&path))?;
    std::fs::write(&home.pid_file, own).map_err(in_file(&home.pid_file))?;
    Ok(file)
}

async fn serve(home: &Home, config: Alone, ready: impl FnOnce()) -> Result<(), Fatal> {
    let system = |e: io::Error| Fatal::System(e.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
    let mut quit = signal(SignalKind::quit()).map_err(system)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system)?;
    let director = director::start(
        &home.paths,
        (vec![config.director], director_settings(), fullnat::OF_ALONE),
        chronicle::log_only(),
    );
    let director = director.map_err(system)?;
    director.lead(&home.name, true).await;
    let listener = server::listen(&home.paths.control_socket());
    let listener = listener.map_err(|e| Fatal::System(e.to_string()))?;
    let (calls, mut asked) = mpsc::channel(server::CALLS_MAX);
    let _server = Server::start(listener, calls, answers::takes);
    let mut watched = config.watched;
    let mut watch = Watch::new(&watched);
    let mut checker = Checker::Due(Instant::now());
    let mut ready = Some(ready);
    let mut warm = Box::pin(director.warm(START_MAX));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = quit.recv() => break,
            _ = hangup.recv() => {
                if let Some(new) = reload(home, &director).await {
                    watched = new;
                }
            }
            Some(asked) = asked.recv() => answers::answer(asked, home, &director),
            () = watch.changed() => watched = changed(home, &director, watched).await,
            outcome = &mut warm, if ready.is_some() => match outcome {
                Outcome::Failed(why) => return Err(Fatal::System(why)),
                Outcome::Done => {
                    info!("director {} in service", home.name);
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                }
            },
            () = attend(&mut checker, &home.paths) => {}
        }
    }
    info!("told to stop");
    let _services_may_stay = director.shut_down().await;
    if let Checker::Running(mut child) = checker {
        let _bounded = timeout(CONNECT_MAX, child.kill()).await;
    }
    info!("stopped");
    Ok(())
}

/// The file has changed on the disk.
async fn changed(home: &Home, director: &DirectorHandle, mut watched: Watched) -> Watched {
    let file = home.paths.config.display();
    if watched.auto_reload {
        info!("{file} has changed on the disk, and is read again");
        watched = reload(home, director).await.unwrap_or(watched);
    } else {
        info!("{file} has changed on the disk; `reload` takes it over");
    }
    hooks::call_back(&watched);
    watched
}

/// Takes the file over as it is now, or leaves everything as it is.
async fn reload(home: &Home, director: &DirectorHandle) -> Option<Watched> {
    log::reopen();
    let reader = home.clone();
    let Ok((config, found)) = tokio::task::spawn_blocking(move || reader.load()).await else {
        error!("the configuration can't be read; everything goes on as before");
        return None;
    };
    found.iter().for_each(log::diagnostic);
    let Some(config) = config else {
        error!("not reloaded; everything goes on as before");
        return None;
    };
    if let Err(why) = director.configure(vec![config.director]) {
        error!("not reloaded: {why}");
        return None;
    }
    log::configure(&config.log);
    info!("reloaded");
    Some(config.watched)
}

/// The director's checker.
enum Checker {
    Running(Child),
    /// It is to be started then.
    Due(Instant),
}

/// Starts the checker when it is time, or waits for its end.
async fn attend(checker: &mut Checker, paths: &Paths) {
    match checker {
        Checker::Running(child) => {
            let how = child.wait().await;
            warn!("the checker has ended: {how:?}");
            *checker = Checker::Due(Instant::now() + CHECKER_PAUSE);
        }
        Checker::Due(at) => {
            sleep_until(*at).await;
            *checker = match start_checker(paths).await {
                Ok(child) => Checker::Running(child),
                Err(e) => {
                    error!("the checker can't be started: {e}");
                    Checker::Due(Instant::now() + CHECKER_PAUSE)
                }
            };
        }
    }
}

async fn start_checker(paths: &Paths) -> io::Result<Child> {
    let stream = timeout(CONNECT_MAX, UnixStream::connect(paths.checker_socket())).await??;
    // What runs now, also when a package upgrade has replaced the file meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pairbeat").process_group(0);
    paths.options(&mut command).arg("checker").stdout(Stdio::null()).kill_on_drop(true);
    command.stdin(Stdio::from(OwnedFd::from(stream.into_std()?))).spawn()
}
