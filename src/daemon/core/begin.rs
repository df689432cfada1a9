//! What must be had before the core can begin: the lock, the links, the engine, the timing that
//! this machine can keep.

use std::fs::{File, TryLockError};
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use crate::cluster::recording::Recorder;
use crate::cluster::{Carried, Past, Settings};
use crate::config::Config;
use crate::daemon::beat::{BeatHandle, Habits, Pulse};
use crate::daemon::{Fatal, Paths, work};
use crate::engine::{Engine, Identity};
use crate::kernel::fullnat;
use crate::link::Links;
use crate::lvs::model::Director;
use crate::lvs::settings::Values;
use crate::sys::{clock, sched};

/// Longest wait for an earlier core of this node to end.
const EARLIER_CORE_MAX: Duration = Duration::from_secs(5);
/// From one look for it to the next.
const EARLIER_CORE_LOOK: Duration = Duration::from_millis(50);

/// Keeps this process in memory, where it is configured to run in real time.
pub(super) fn lock_memory(config: &Config) {
    if config.service.realtime
        && let Err(why) = sched::lock_memory()
    {
        warn!("memory is not locked, the kernel may swap this process out: {why}");
    }
}

/// Drawn at random for this start.
pub(super) fn session() -> Result<[u8; 16], Fatal> {
    let mut session = [0_u8; 16];
    getrandom::fill(&mut session)
        .map_err(|e| Fatal::System(format!("no random numbers to be had: {e}")))?;
    Ok(session)
}

/// The engine, with a core that remembers what it is told, and goes on for an earlier one where it
/// can.
pub(super) fn engine(
    config: &Config,
    (past, carried): (&Past, Option<&Carried>),
    session: [u8; 16],
) -> Result<Engine<Recorder>, Fatal> {
    let now = clock::now();
    let settings = Settings { past: past.clone(), ..work::settings(config) };
    let core = match carried {
        Some(carried) => crate::cluster::Core::resumed(settings, now, carried),
        None => crate::cluster::Core::new(settings, now),
    };
    let core = Recorder::new(core);
    let identity = Identity {
        node: config.node.clone(),
        peer: config.peer.clone(),
        session,
        links: u8::try_from(config.links.len()).unwrap_or(u8::MAX),
        deadtime: config.timing.deadtime,
    };
    Engine::new(core, &identity, &config.keys, now).map_err(|e| Fatal::System(e.to_string()))
}

/// The directors, what they want of the kernel's settings, and the table of their rules.
pub(super) fn directors(config: &Config) -> (Vec<Director>, Values, &'static str) {
    (config.directors.values().cloned().collect(), config.kernel_settings(), fullnat::OF_NODE)
}

/// How the beat thread is to run.
pub(super) fn habits(config: &Config, pulse: Option<Pulse>) -> Habits {
    let priority = config.service.realtime.then_some(config.service.priority);
    Habits { pulse, priority }
}

/// Waits for an earlier core of this node: sweeping while it serves would take its addresses.
pub(super) async fn only_core(paths: &Paths) -> Result<File, Fatal> {
    let path = paths.core_lock_file();
    let wrap = |source| Fatal::File { path: path.clone(), source };
    let file = File::create(&path).map_err(wrap)?;
    let locked = async {
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => tokio::time::sleep(EARLIER_CORE_LOOK).await,
                other => return other,
            }
        }
    };
    match timeout(EARLIER_CORE_MAX, locked).await {
        Ok(Ok(())) => Ok(file),
        Ok(Err(TryLockError::Error(source))) => Err(wrap(source)),
        Ok(Err(TryLockError::WouldBlock)) | Err(_) => Err(Fatal::System(format!(
            "an earlier core of this node has not ended yet; `fuser {}` shows it",
            path.display()
        ))),
    }
}

/// Shortest deadtime that is kept without real-time priority on a loaded machine.
pub(super) const DEADTIME_PLAIN_MIN: Duration = Duration::from_secs(1);

pub(super) fn refuse_untimely(
    config: &Config,
    beat: &BeatHandle,
    force: bool,
) -> Result<(), Fatal> {
    let deadtime = config.timing.deadtime;
    match beat.realtime() {
        Err(why) if deadtime < DEADTIME_PLAIN_MIN && !force => Err(Fatal::System(format!(
            "deadtime {} ms needs real-time priority, which there is not: {why}; give the process \
             CAP_SYS_NICE, choose a deadtime of 1 s or more, or run with --force",
            deadtime.as_millis()
        ))),
        Err(why) => {
            warn!("beats run without real-time priority: {why}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Opens the links. One that can't be used now is tried again later, as long as there is another
/// and the fault may pass by itself.
pub(super) fn open_links(config: &Config) -> Result<Links, Fatal> {
    let links = Links::open(&config.links, clock::now());
    let mut faulty = std::collections::BTreeSet::new();
    for (link, fault) in links.faults() {
        faulty.insert(link);
        if fault.is_lasting() {
            return Err(Fatal::System(fault.to_string()));
        }
        warn!("{fault}; it is tried again");
    }
    if faulty.len() < config.links.len() {
        return Ok(links);
    }
    let reasons: Vec<String> = links.faults().map(|(_, fault)| fault.to_string()).collect();
    let reasons = reasons.join("; ");
    Err(Fatal::System(format!(
        "no link can be used: {reasons}; correct the interfaces of the links"
    )))
}
