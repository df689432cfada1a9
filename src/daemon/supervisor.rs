//! The supervisor: starts core and checker, restarts them, and cleans up when the core dies.
//!
//! It reads nothing from the network. When the core dies it first removes every address the core
//! may have held and only then tells the peer, with the datagrams that the core had prepared and
//! signed, that they are free.

mod farewell;

use std::fs::{File, TryLockError};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::cluster::GroupSettings;
use crate::config::{self, Config};
use crate::control::protocol::Successor;
use crate::daemon::channel::Channel;
use crate::daemon::messages::{FromCore, ToCore};
use crate::daemon::respawn::Programs;
use crate::daemon::watchdog::{Feeder, Proof};
use crate::daemon::{Fatal, Paths, successor, work};
use crate::journal;
use crate::kernel::addr::{AddressError, Addresses};
use crate::link::Farewell;
use crate::lvs::director::STOP_LIMIT;
use crate::store::carried;
use crate::sys::files::Machine;
use crate::sys::signal::HANGING;
use crate::sys::{clock, log, signal as mask};

/// First pause before a dead process is started again; doubles with each death.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause, and how long a process must have lived for the pause to start over.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest wait for what a dead core had said before.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// Longest wait for the end of a core whose words have ended; then it is killed.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for one address to be removed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for the end of the programs of `respawn` before a restart: they are ended with
/// signals, and most take the first.
const PROGRAMS_LIMIT: Duration = Duration::from_secs(1);
/// Time for a signal that was caught to come through the runtime.
const SIGNAL_MOMENT: Duration = Duration::from_millis(5);
/// What a core may take to stop beside its resources and its director: late answers, the last
/// beats and replies. The core's own limits for these add up to six seconds.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// Longest wait for the core to connect us to its checker socket.
const CHECKER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs this node until it is told to stop.
///
/// # Errors
/// Whatever keeps the daemon from starting, before anything is touched.
pub fn run(paths: &Paths, force: bool) -> Result<(), Fatal> {
    log::start();
    let config = load(paths)?;
    log::configure(&config.service.log);
    let _lock = lock(paths)?;
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().on_thread_start(mask::hold_back).build();
    let runtime = runtime.map_err(|e| Fatal::System(format!("runtime: {e}")))?;
    let local = tokio::task::LocalSet::new();
    let end =
        local.block_on(&runtime, async { Supervisor::new(paths, force, &config)?.whole().await });
    remove_sockets(paths);
    log::flush();
    end
}

/// A configuration without fault; every fault is printed.
fn load(paths: &Paths) -> Result<Config, Fatal> {
    let (config, diagnostics) = config::load(&paths.config, &paths.node, &Machine::default());
    for diagnostic in &diagnostics {
        log::diagnostic(diagnostic);
    }
    config.ok_or_else(|| Fatal::Config(paths.config.clone()))
}

/// The longest that a healthy core may take to stop. Groups are given away side by side.
pub(super) fn stop_limit(config: &Config) -> Duration {
    let groups = work::settings(config).groups;
    let groups = groups.iter().map(GroupSettings::leave_limit).max().unwrap_or_default();
    let directors = if config.directors.is_empty() { Duration::ZERO } else { STOP_LIMIT };
    groups + directors + STOP_GRACE
}

/// Nobody answers there any more.
fn remove_sockets(paths: &Paths) {
    for path in [paths.control_socket(), paths.checker_socket()] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                warn!("{}: {e}", path.display());
            }
            _ => {}
        }
    }
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
    /// It ends with everything held, for that one to go on with.
    paused: Option<Successor>,
}

impl Core {
    /// The end of a core whose words have ended.
    async fn end(&mut self) -> std::io::Result<ExitStatus> {
        if let Ok(end) = timeout(END_LIMIT, self.child.wait()).await {
            return end;
        }
        self.child.start_kill()?;
        self.child.wait().await
    }
}

struct Supervisor<'a> {
    paths: &'a Paths,
    force: bool,
    /// Every address that the core may have put on an interface.
    addresses: Vec<IpAddr>,
    kernel: Addresses,
    signals: Signals,
    stop_limit: Duration,
    /// Whether a core of ours has been in service: from then on another one is always tried.
    served: bool,
    watchdog: Feeder,
    programs: Programs,
    /// The vital program whose end ends the node.
    lost: Option<String>,
    /// When a core that was told to stop, or has said that it leaves, is killed.
    stopping: Option<Instant>,
    /// How the last core died, for the journal of the next.
    died: Option<ToCore>,
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
    /// It left everything to a successor.
    Paused(Successor),
}

/// The checker of the present core.
enum Checker {
    /// The core is not ready for one, or leaves.
    Unwanted,
    Running(Child),
    /// The last one died; another one is started then.
    Due(Instant),
}

/// What happened to the processes.
enum Happening {
    Said(Option<FromCore>),
    CoreEnded(std::io::Result<ExitStatus>),
    CheckerEnded,
    CheckerDue,
    Overdue,
    Lost(String),
    Stop,
    Reload,
}

impl<'a> Supervisor<'a> {
    fn new(paths: &'a Paths, force: bool, config: &Config) -> Result<Self, Fatal> {
        let listen = |kind| signal(kind).map_err(|e| Fatal::System(format!("signals: {e}")));
        let signals = Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        };
        // The program before may have left them waiting.
        mask::let_through();
        let kernel = Addresses::open().map_err(|e| Fatal::System(e.to_string()))?;
        let (addresses, stop_limit) = (config.addresses().collect(), stop_limit(config));
        Ok(Self {
            paths,
            force,
            addresses,
            kernel,
            signals,
            stop_limit,
            served: false,
            watchdog: Feeder::start(config.service.watchdog.as_deref(), config.timing.deadtime),
            programs: Programs::new(&config.service),
            lost: None,
            stopping: None,
            died: None,
        })
    }

    /// Runs to the end, and ends what runs beside the cores.
    async fn whole(mut self) -> Result<(), Fatal> {
        let end = self.run().await;
        self.programs.stop().await;
        self.watchdog.stop().await;
        match self.lost {
            Some(program) if end.is_ok() => Err(Fatal::System(format!(
                "{program} has ended, without which this node is not to run; all is given away"
            ))),
            _ => end,
        }
    }

    async fn run(&mut self) -> Result<(), Fatal> {
        let mut pause = RESTART_PAUSE;
        loop {
            let lived = Instant::now();
            match self.one_core().await? {
                Ended::Stop => return Ok(()),
                Ended::Paused(successor) if self.hand_on(successor).await => return Ok(()),
                Ended::Paused(_) => continue,
                Ended::Died if lived.elapsed() > RESTART_PAUSE_MAX => pause = RESTART_PAUSE,
                Ended::Died => {}
            }
            warn!("the core is started again in {} ms", pause.as_millis());
            tokio::select! {
                () = sleep(pause) => {}
                // Scripts that the dead one had started may run: the next one stops them.
                () = self.signals.stop() => self.stopping = Some(Instant::now() + self.stop_limit),
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
        }
    }

    /// Starts a core and watches it until it ends.
    async fn one_core(&mut self) -> Result<Ended, Fatal> {
        let mut core = self.start_core()?;
        self.watchdog.prove(Proof::Started(Instant::now()));
        let mut checker = Checker::Unwanted;
        if self.stopping.is_some() {
            checker = self.stop(&mut core, checker).await;
        }
        loop {
            match self.next(&mut core, &mut checker).await {
                Happening::Said(Some(message)) => {
                    let ready = matches!(message, FromCore::Ready);
                    self.listen(&mut core, message);
                    if let Some(died) = self.died.take_if(|_| ready) {
                        let _dies_anyway = core.channel.send(&died).await;
                    }
                    checker = self.wanted(&core, checker);
                }
                // The end of the process follows the end of its words, within a moment.
                Happening::Said(None) => {
                    let end = core.end().await;
                    let ended = self.core_ended(core, end).await;
                    end_checker(checker).await;
                    return ended;
                }
                Happening::CoreEnded(end) => {
                    let ended = self.core_ended(core, end).await;
                    end_checker(checker).await;
                    return ended;
                }
                Happening::CheckerEnded => {
                    // A core that leaves sends its checker away.
                    checker = self.wanted(&core, Checker::Due(Instant::now() + RESTART_PAUSE));
                }
                Happening::CheckerDue => checker = self.start_checker().await,
                Happening::Stop if self.stopping.is_some() => {
                    warn!("told twice to stop: the core is killed");
                    let _gone_already = core.child.start_kill();
                }
                Happening::Lost(program) => {
                    error!("{program} has ended, without which this node is not to run");
                    self.lost = Some(program);
                    checker = self.stop(&mut core, checker).await;
                }
                Happening::Overdue => {
                    error!("the core does not stop within its limits: it is killed");
                    self.stopping = Some(Instant::now() + self.stop_limit);
                    let _gone_already = core.child.start_kill();
                }
                Happening::Stop => {
                    info!("told to stop");
                    checker = self.stop(&mut core, checker).await;
                }
                Happening::Reload => {
                    log::reopen();
                    let _dies_anyway = core.channel.send(&ToCore::Reload).await;
                }
            }
        }
    }

    /// Tells the core to give everything away and end.
    async fn stop(&mut self, core: &mut Core, checker: Checker) -> Checker {
        let until = Instant::now() + self.stop_limit;
        self.stopping = Some(until);
        self.watchdog.prove(Proof::Stopping(until));
        let checker = self.wanted(core, checker);
        let _dies_anyway = core.channel.send(&ToCore::Stop).await;
        checker
    }

    async fn next(&mut self, core: &mut Core, checker: &mut Checker) -> Happening {
        let Signals { terminate, interrupt, hangup } = &mut self.signals;
        tokio::select! {
            biased;
            end = core.child.wait() => Happening::CoreEnded(end),
            said = core.channel.recv() => Happening::Said(said.ok().flatten()),
            _ = terminate.recv() => Happening::Stop,
            _ = interrupt.recv() => Happening::Stop,
            _ = hangup.recv() => Happening::Reload,
            () = due(self.stopping) => Happening::Overdue,
            program = self.programs.vital_ended(), if self.stopping.is_none() => Happening::Lost(program),
            happening = attend(checker) => happening,
        }
    }

    /// The checker as the core's state wants it.
    fn wanted(&self, core: &Core, checker: Checker) -> Checker {
        match checker {
            Checker::Unwanted if core.ready && self.stopping.is_none() => {
                Checker::Due(Instant::now())
            }
            Checker::Due(_) if self.stopping.is_some() => Checker::Unwanted,
            as_it_is => as_it_is,
        }
    }

    /// Takes note of the core's words.
    fn listen(&mut self, core: &mut Core, message: FromCore) {
        match message {
            FromCore::Addresses(addresses) => self.addresses = addresses,
            FromCore::StopLimit(limit) => self.stop_limit = limit,
            FromCore::Farewell(farewell) => core.farewell = farewell,
            FromCore::Ready => {
                core.ready = true;
                self.served = true;
                let _not_under_systemd = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
                info!(node = %self.paths.node, "in service");
                self.watchdog.alive();
                if self.stopping.is_none() {
                    self.programs.start();
                }
            }
            FromCore::Alive => self.watchdog.alive(),
            FromCore::Paused(successor) => core.paused = Some(successor),
            FromCore::Leaving => {
                let until = Instant::now() + self.stop_limit;
                let until = *self.stopping.get_or_insert(until);
                self.watchdog.prove(Proof::Stopping(until));
            }
        }
    }

    fn start_core(&self) -> Result<Core, Fatal> {
        let system = |what: &str, e: std::io::Error| Fatal::System(format!("{what}: {e}"));
        let (ours, theirs) = UnixStream::pair().map_err(|e| system("socket pair", e))?;
        let theirs = theirs.into_std().map_err(|e| system("socket pair", e))?;
        let mut command = self.command("core");
        if self.force {
            command.arg("--force");
        }
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(|e| system("the core can't be started", e))?;
        Ok(Core {
            child,
            channel: Channel::new(ours),
            ready: false,
            farewell: Vec::new(),
            paused: None,
        })
    }

    async fn start_checker(&self) -> Checker {
        let path = self.paths.checker_socket();
        match self.connect_checker(&path).await {
            Ok(child) => Checker::Running(child),
            Err(e) => {
                error!("the checker can't be started: {e}");
                Checker::Due(Instant::now() + RESTART_PAUSE_MAX)
            }
        }
    }

    async fn connect_checker(&self, path: &Path) -> std::io::Result<Child> {
        let stream = timeout(CHECKER_CONNECT_TIMEOUT, UnixStream::connect(path)).await??;
        let mut command = self.command("checker");
        command.stdin(Stdio::from(OwnedFd::from(stream.into_std()?))).spawn()
    }

    fn command(&self, role: &str) -> Command {
        // What runs now, also when a package upgrade has replaced the file meanwhile.
        let mut command = Command::new("/proc/self/exe");
        // Signals to the terminal's group are the supervisor's alone.
        command.arg0("pairbeat").process_group(0);
        self.paths.options(&mut command).arg(role).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn core_ended(
        &mut self,
        mut core: Core,
        end: std::io::Result<ExitStatus>,
    ) -> Result<Ended, Fatal> {
        while let Ok(Ok(Some(word))) = timeout(LAST_WORDS, core.channel.recv()).await {
            self.listen(&mut core, word);
        }
        if let Some(successor) = core.paused {
            info!("ended with everything held");
            return Ok(Ended::Paused(successor));
        }
        self.forget_carried();
        let released = self.release().await;
        self.watchdog.prove(if released { Proof::Released } else { Proof::Held });
        if released && !core.farewell.is_empty() {
            farewell::say(&core.farewell).await;
        }
        if end.as_ref().is_ok_and(ExitStatus::success) {
            info!("stopped");
            return Ok(Ended::Stop);
        }
        let how = describe(end);
        let told = released && !core.farewell.is_empty();
        let died = ToCore::Died { at: clock::now(), how: how.clone(), released, told };
        let sentence = journal::Happening::CoreDied { how, released, told }.sentence(&[]);
        if self.stopping.is_some() {
            let stopping = "the core died while it was stopping";
            return Err(Fatal::System(sentence.replacen("the core died", stopping, 1)));
        }
        if !core.ready && !self.served {
            return Err(Fatal::CoreNotStarted);
        }
        error!("{sentence}");
        self.died = Some(died);
        Ok(Ended::Died)
    }

    /// Leaves everything to the successor: true when this process is to end, and never back when
    /// it becomes the program that is on the disk now. Otherwise this one goes on with another core:
    /// that program can't be run, or this node was told to stop meanwhile, when the core that ended
    /// gave nothing away any more.
    async fn hand_on(&mut self, successor: Successor) -> bool {
        let stopping = self.stopping.is_some();
        if !stopping {
            self.end_programs(successor).await;
        }
        mask::hold_back();
        if stopping || timeout(SIGNAL_MOMENT, self.signals.stop()).await.is_ok() {
            info!("told to stop: another core goes on with what is held, and gives it away");
            self.stopping = Some(Instant::now() + self.stop_limit);
        } else if successor == Successor::Service {
            return true;
        } else {
            // The watchdog stays armed: the next program opens it again, or the machine restarts.
            let error = successor::become_it();
            error!("the program on the disk can't be run, this one goes on: {error}");
            self.programs.again();
        }
        mask::let_through();
        false
    }

    async fn end_programs(&mut self, successor: Successor) {
        if successor == Successor::Service {
            return self.programs.stop().await;
        }
        let _not_under_systemd = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
        if timeout(PROGRAMS_LIMIT, self.programs.stop()).await.is_err() {
            warn!("not every program of `respawn` has ended");
        }
    }

    /// Whatever a core had left for a successor: it has died after that.
    fn forget_carried(&self) {
        if let Err(e) = carried::remove(&self.paths.carried_file()) {
            error!("{}: {e}", self.paths.carried_file().display());
        }
    }

    /// Removes every managed address; true when none is left.
    async fn release(&self) -> bool {
        let mut released = true;
        for ip in &self.addresses {
            match timeout(RELEASE_TIMEOUT, self.kernel.remove(*ip)).await {
                Ok(Ok(_)) => {}
                // The address itself is gone.
                Ok(Err(e @ AddressError::Neighbours { .. })) => error!("{ip}: {e}"),
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

fn describe(end: std::io::Result<ExitStatus>) -> String {
    match end {
        Ok(status) if status.code() == Some(HANGING.into()) => {
            "its main loop hung for ten seconds".to_owned()
        }
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// Not left to the kernel: a program that takes our place would have a child that it does not know.
async fn end_checker(checker: Checker) {
    if let Checker::Running(mut child) = checker {
        let _bounded = timeout(END_LIMIT, child.kill()).await;
    }
}

/// Waits for that moment; for ever when there is none.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits until something must be done about the checker.
async fn attend(checker: &mut Checker) -> Happening {
    match checker {
        Checker::Unwanted => std::future::pending().await,
        Checker::Running(child) => {
            let _how = child.wait().await;
            Happening::CheckerEnded
        }
        Checker::Due(at) => {
            sleep_until(*at).await;
            Happening::CheckerDue
        }
    }
}
