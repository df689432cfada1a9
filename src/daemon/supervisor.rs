//! The supervisor: starts core and checker, restarts them, and cleans up when the core dies.
//!
//! It reads nothing from the network. When the core dies it first removes every address the core
//! may have held and only then tells the peer, with the datagrams that the core had prepared and
//! signed, that they are free.

use std::fs::{File, TryLockError};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config;
use crate::daemon::channel::Channel;
use crate::daemon::messages::{FromCore, ToCore};
use crate::daemon::{Fatal, Paths};
use crate::kernel::addr::Addresses;
use crate::link::udp::{self, Farewell};
use crate::sys::files::Machine;
use crate::sys::log;

/// First pause before a dead process is started again; doubles with each death.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause, and how long a process must have lived for the pause to start over.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// The released word is sent this often: any one of them is enough, and datagrams get lost.
const FAREWELL_REPEATS: usize = 3;
/// Pause between two of them.
const FAREWELL_PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for one address to be removed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the core to connect us to its checker socket.
const CHECKER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs this node until it is told to stop.
///
/// # Errors
/// Whatever keeps the daemon from starting, before anything is touched.
pub fn run(paths: &Paths, force: bool) -> Result<(), Fatal> {
    log::start();
    let addresses = configured_addresses(paths)?;
    let _lock = lock(paths)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fatal::System(format!("runtime: {e}")))?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { Supervisor::new(paths, force, addresses)?.run().await })
}

/// The addresses of a configuration without fault; every fault is printed.
fn configured_addresses(paths: &Paths) -> Result<Vec<IpAddr>, Fatal> {
    let (config, diagnostics) = config::load(&paths.config, &paths.node, &Machine::default());
    for diagnostic in &diagnostics {
        log::diagnostic(diagnostic);
    }
    let config = config.ok_or_else(|| Fatal::Config(paths.config.clone()))?;
    Ok(config.addresses().collect())
}

fn lock(paths: &Paths) -> Result<File, Fatal> {
    for directory in [&paths.runtime_dir, &paths.state_dir] {
        std::fs::create_dir_all(directory)
            .map_err(|source| Fatal::File { path: directory.clone(), source })?;
    }
    let path = paths.lock_file();
    let wrap = |source| Fatal::File { path: path.clone(), source };
    let file = File::create(&path).map_err(wrap)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fatal::AlreadyRunning(paths.runtime_dir.clone())),
        Err(TryLockError::Error(source)) => Err(wrap(source)),
    }
}

/// The core process and what it has told us.
struct Core {
    child: Child,
    channel: Channel<ToCore, FromCore>,
    ready: bool,
    farewell: Vec<Farewell>,
}

struct Supervisor<'a> {
    paths: &'a Paths,
    force: bool,
    /// Every address that the core may have put on an interface.
    addresses: Vec<IpAddr>,
    kernel: Addresses,
    signals: Signals,
    stopping: bool,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What ended the watch over one core.
enum Ended {
    /// As asked, or for good.
    Stop,
    /// It died; another one shall take its place.
    Died,
}

/// What happened to the processes.
enum Happening {
    Said(Option<FromCore>),
    CoreEnded(String),
    CheckerEnded,
    Stop,
    Reload,
}

impl<'a> Supervisor<'a> {
    fn new(paths: &'a Paths, force: bool, addresses: Vec<IpAddr>) -> Result<Self, Fatal> {
        let listen = |kind| signal(kind).map_err(|e| Fatal::System(format!("signals: {e}")));
        let signals = Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        };
        let kernel = Addresses::open().map_err(|e| Fatal::System(e.to_string()))?;
        Ok(Self { paths, force, addresses, kernel, signals, stopping: false })
    }

    async fn run(&mut self) -> Result<(), Fatal> {
        let mut pause = RESTART_PAUSE;
        loop {
            let lived = tokio::time::Instant::now();
            match self.one_core().await? {
                Ended::Stop => return Ok(()),
                Ended::Died if lived.elapsed() > RESTART_PAUSE_MAX => pause = RESTART_PAUSE,
                Ended::Died => {}
            }
            warn!("the core is started again in {} ms", pause.as_millis());
            tokio::select! {
                () = sleep(pause) => {}
                () = self.signals.stop() => return Ok(()),
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    /// Starts a core and watches it until it ends.
    async fn one_core(&mut self) -> Result<Ended, Fatal> {
        let mut core = self.start_core()?;
        let mut checker: Option<Child> = None;
        loop {
            match self.next(&mut core, &mut checker).await {
                Happening::Said(Some(message)) => {
                    if self.listen(&mut core, message) && checker.is_none() {
                        checker = self.start_checker().await;
                    }
                }
                // The end of the process follows the end of its words.
                Happening::Said(None) => {
                    let end = core.child.wait().await;
                    return self.core_ended(core, &describe(end)).await;
                }
                Happening::CoreEnded(how) => return self.core_ended(core, &how).await,
                Happening::CheckerEnded => {
                    warn!("the checker ended; the verdicts stay as they are until it is back");
                    sleep(RESTART_PAUSE).await;
                    checker = self.start_checker().await;
                }
                Happening::Stop if self.stopping => {
                    warn!("told twice to stop: the core is killed");
                    let _gone_already = core.child.start_kill();
                }
                Happening::Stop => {
                    self.stopping = true;
                    let _dies_anyway = core.channel.send(&ToCore::Stop).await;
                }
                Happening::Reload => {
                    let _dies_anyway = core.channel.send(&ToCore::Reload).await;
                }
            }
        }
    }

    async fn next(&mut self, core: &mut Core, checker: &mut Option<Child>) -> Happening {
        let Signals { terminate, interrupt, hangup } = &mut self.signals;
        tokio::select! {
            biased;
            end = core.child.wait() => Happening::CoreEnded(describe(end)),
            said = core.channel.recv() => Happening::Said(said.ok().flatten()),
            _ = terminate.recv() => Happening::Stop,
            _ = interrupt.recv() => Happening::Stop,
            _ = hangup.recv() => Happening::Reload,
            () = ended(checker) => Happening::CheckerEnded,
        }
    }

    /// Takes note of the core's words; true when it is ready for its checker.
    fn listen(&mut self, core: &mut Core, message: FromCore) -> bool {
        match message {
            FromCore::Addresses(addresses) => {
                self.addresses = addresses;
                false
            }
            FromCore::Farewell(farewell) => {
                core.farewell = farewell;
                false
            }
            FromCore::Ready => {
                core.ready = true;
                let _not_under_systemd = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                info!(node = %self.paths.node, "in service");
                true
            }
        }
    }

    fn start_core(&self) -> Result<Core, Fatal> {
        let system = |what: &str, e: std::io::Error| Fatal::System(format!("{what}: {e}"));
        let (ours, theirs) = UnixStream::pair().map_err(|e| system("socket pair", e))?;
        let theirs = theirs.into_std().map_err(|e| system("socket pair", e))?;
        let mut command = self.command("core")?;
        if self.force {
            command.arg("--force");
        }
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|e| system("the core can't be started", e))?;
        Ok(Core { child, channel: Channel::new(ours), ready: false, farewell: Vec::new() })
    }

    async fn start_checker(&self) -> Option<Child> {
        let path = self.paths.checker_socket();
        match self.connect_checker(&path).await {
            Ok(child) => Some(child),
            Err(e) => {
                error!("the checker can't be started: {e}");
                None
            }
        }
    }

    async fn connect_checker(&self, path: &Path) -> std::io::Result<Child> {
        let stream = timeout(CHECKER_CONNECT_TIMEOUT, UnixStream::connect(path)).await??;
        let mut command = self.command("checker").map_err(std::io::Error::other)?;
        command.stdin(Stdio::from(OwnedFd::from(stream.into_std()?))).spawn()
    }

    fn command(&self, role: &str) -> Result<Command, Fatal> {
        let program = std::env::current_exe()
            .map_err(|e| Fatal::System(format!("the path of this program: {e}")))?;
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(&self.paths.config)
            .args(["--node", self.paths.node.as_str()])
            .arg("--runtime-dir")
            .arg(&self.paths.runtime_dir)
            .arg("--state-dir")
            .arg(&self.paths.state_dir)
            .arg(role)
            .stdout(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    async fn core_ended(&mut self, core: Core, how: &str) -> Result<Ended, Fatal> {
        let released = self.release().await;
        if released && !core.farewell.is_empty() {
            say_farewell(&core.farewell).await;
        }
        if self.stopping || how == "exit status: 0" {
            info!("stopped");
            return Ok(Ended::Stop);
        }
        if !core.ready {
            return Err(Fatal::CoreNotStarted);
        }
        error!(
            "the core died ({how}); its addresses are {}",
            if released {
                "removed and the peer is told"
            } else {
                "NOT all removed; the peer is not told"
            }
        );
        Ok(Ended::Died)
    }

    /// Removes every managed address; true when none is left.
    async fn release(&self) -> bool {
        let mut released = true;
        for ip in &self.addresses {
            match timeout(RELEASE_TIMEOUT, self.kernel.remove(*ip)).await {
                Ok(Ok(_)) => {}
                Ok(Err(e)) => {
                    error!("{ip} can't be removed: {e}");
                    released = false;
                }
                Err(_) => {
                    error!("{ip} can't be removed: the kernel does not answer");
                    released = false;
                }
            }
        }
        released
    }
}

impl Signals {
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn describe(end: std::io::Result<std::process::ExitStatus>) -> String {
    end.map_or_else(|e| e.to_string(), |status| status.to_string())
}

/// Waits for the end of the checker; for ever when there is none.
async fn ended(checker: &mut Option<Child>) {
    match checker {
        Some(child) => {
            let _how = child.wait().await;
        }
        None => std::future::pending().await,
    }
}

async fn say_farewell(farewell: &[Farewell]) {
    for repeat in 0..FAREWELL_REPEATS {
        if repeat > 0 {
            sleep(FAREWELL_PAUSE).await;
        }
        for word in farewell {
            if let Err(e) = udp::say(word) {
                warn!("the released word can't be sent to {}: {e}", word.to);
            }
        }
    }
}
