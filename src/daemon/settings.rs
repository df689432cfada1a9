//! The kernel's settings for as long as a director runs: reads, remembers on the disk, writes, and puts
//! back at the end. What follows from what is decided by `lvs::settings`.
//!
//! Those of IPVS are there only once its module is: what is missing is tried again when somebody has
//! spoken to it ([`KernelSettings::there`]). From then on they are looked at, and what somebody else has changed
//! is set again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use crate::config::switch_settings;
use crate::daemon::Paths;
use crate::kernel::ipvs::Ipvs;
use crate::kernel::sysctl;
use crate::lvs::settings::{Kept, Plan, Timeout, Values, Wanted, changed, normal, paths, plan};
use crate::store::prepared::{Prepared, PreparedError};
use crate::sys::clock;
use crate::time::Instant;

/// A disk that is full may not stay so, but is not asked again every second.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// From one look at what stands to the next, at least: twice as often as the table is read at rest, so that
/// each reading brings a look.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The way to the settings.
#[derive(Debug, Clone)]
pub(crate) struct KernelSettings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    /// Held while the kernel and the disk are worked on.
    desk: Mutex<Desk>,
    /// Everything is as it is wanted, or never will be.
    settled: AtomicBool,
    /// When somebody looked last.
    looked: Mutex<Option<Instant>>,
    /// When the disk failed last.
    failed: Mutex<Option<Instant>>,
    /// What is wanted and the kernel does not take or have.
    refused: Mutex<BTreeSet<String>>,
}

/// What is wanted. Held for moments only; who works goes by what stands here then, so that the last
/// word holds in whatever order the work is done.
#[derive(Debug)]
struct Orders {
    wanted: Wanted,
    /// How many switches go on.
    switches: u32,
    /// IPVS has answered: what is missing now is not in this kernel.
    there: bool,
}

impl KernelSettings {
    /// Those of this configuration; nothing is changed yet. One of each state directory at a time.
    pub(crate) fn new(paths: &Paths, steady: Values) -> Self {
        let wanted = Wanted { steady, moments: switch_settings(), moment: false };
        Self(Arc::new(Shared {
            orders: Mutex::new(Orders { wanted, switches: 0, there: false }),
            desk: Mutex::new(Desk {
                directory: paths.state_dir.clone(),
                last: None,
                refused: BTreeSet::new(),
            }),
            settled: AtomicBool::new(false),
            looked: Mutex::default(),
            failed: Mutex::default(),
            refused: Mutex::default(),
        }))
    }

    /// Something may still have to be settled once IPVS is there, or it is time to look at it.
    pub(crate) fn is_due(&self) -> bool {
        let since = |at: &Mutex<Option<Instant>>| held(at).map(|at| clock::now().since(at));
        let soon = since(&self.0.failed).is_some_and(|it| it < AGAIN_AFTER);
        let looked = since(&self.0.looked).is_some_and(|it| it < LOOK_EVERY);
        let rests = looked && self.0.settled.load(Ordering::Relaxed);
        !(soon || rests)
    }

    /// What is wanted and the kernel does not take or have, in sentences.
    pub(crate) fn refused(&self) -> Vec<String> {
        held(&self.0.refused).iter().cloned().collect()
    }

    /// IPVS is there: settles what could not be settled before, and what has been changed since.
    pub(crate) async fn there(&self) {
        if self.is_due() {
            done(self.change(|orders| orders.there = true)).await;
        }
    }

    /// Other values from now on. Nobody waits for it.
    pub(crate) fn configure(&self, steady: Values) {
        let _goes_on = self.change(|orders| orders.wanted.steady = steady);
    }

    /// A switch begins, and needs its own values until [`Self::switched`].
    pub(crate) async fn switches(&self) {
        done(self.change(|orders| orders.switches += 1)).await;
    }

    /// A switch has ended.
    pub(crate) async fn switched(&self) {
        done(self.change(|orders| orders.switches = orders.switches.saturating_sub(1))).await;
    }

    /// Everything as it was before, and nothing is wanted any more.
    pub(crate) async fn end(&self) {
        done(self.change(|orders| {
            orders.wanted = Wanted::default();
            orders.switches = 0;
        }))
        .await;
    }

    /// The work is done on a thread of its own: what is remembered has to be on the disk, which may
    /// take long.
    fn change(&self, change: impl FnOnce(&mut Orders)) -> JoinHandle<()> {
        change(&mut held(&self.0.orders));
        let shared = Arc::clone(&self.0);
        spawn_blocking(move || shared.settle())
    }
}

async fn done(work: JoinHandle<()>) {
    if work.await.is_err() {
        error!("the kernel's settings may not be as they should be");
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn settle(&self) {
        let mut desk = held(&self.desk);
        let (wanted, there) = {
            let orders = held(&self.orders);
            let moment = orders.switches > 0;
            (Wanted { moment, ..orders.wanted.clone() }, orders.there)
        };
        let obeyed = desk.obey(&wanted);
        let now = clock::now();
        self.settled.store(there && obeyed.is_ok(), Ordering::Relaxed);
        *held(&self.looked) = Some(now);
        *held(&self.failed) = obeyed.is_err().then_some(now);
        match obeyed {
            // What is missing before IPVS has answered may come with it.
            Ok(refused) if there => {
                let known = std::mem::replace(&mut *held(&self.refused), refused.clone());
                for why in refused.difference(&known) {
                    warn!("{why}");
                }
            }
            Ok(_) => {}
            Err(why) => error!("settings of the kernel stay as they are: {why}"),
        }
    }
}

/// What the work needs, and what came of it last.
#[derive(Debug)]
struct Desk {
    /// The state directory.
    directory: PathBuf,
    /// What was wanted, and what stood there then.
    last: Option<(Wanted, Values)>,
    /// What the kernel does not take or have, in sentences.
    refused: BTreeSet<String>,
}

impl Desk {
    /// What the kernel does not take or have of what is wanted.
    fn obey(&mut self, wanted: &Wanted) -> Result<BTreeSet<String>, PreparedError> {
        let file = Prepared::<Kept>::new(&self.directory)?;
        let kept = file.read()?;
        let paths = paths(wanted, &kept);
        let (found, mut refused) = read(&paths);
        let mut changes = Vec::new();
        if let Some((_, stood)) = self.last.as_ref().filter(|(then, _)| then == wanted) {
            changes = changed(stood, &found);
            if stood.len() == found.len() && changes.is_empty() {
                return Ok(self.refused.clone());
            }
            changes.retain(|(path, _)| stood.contains_key(*path));
        }
        let Plan { during, steps, after } = plan(wanted, &found, &kept);
        for (path, value) in changes.into_iter().filter(|(path, _)| steps.contains_key(*path)) {
            warn!("somebody else has set {path} to {value}");
        }
        if during != kept {
            file.write(&during)?;
        }
        for (path, value) in &steps {
            match write(path, value) {
                Ok(()) => info!("{path} is set to {value}"),
                Err(e) => drop(refused.insert(format!("{path} can't be set to {value}: {e}"))),
            }
        }
        if after != during {
            file.write(&after)?;
        }
        let missing = wanted.steady.keys().filter(|path| !found.contains_key(*path));
        refused.extend(missing.map(|path| format!("{path}: this kernel has no such setting")));
        self.last = Some((wanted.clone(), if steps.is_empty() { found } else { read(&paths).0 }));
        self.refused.clone_from(&refused);
        Ok(refused)
    }
}

/// What stands, and why not all of it can be told.
fn read(paths: &BTreeSet<String>) -> (Values, BTreeSet<String>) {
    let (timeouts, files): (Vec<_>, Vec<_>) =
        paths.iter().partition(|path| Timeout::of(path).is_some());
    let value = |path: &String| Some((path.clone(), normal(&sysctl::read(path).ok()?)));
    let mut found: Values = files.into_iter().filter_map(value).collect();
    if timeouts.is_empty() {
        return (found, BTreeSet::new());
    }
    match Ipvs::open().and_then(|mut ipvs| ipvs.timeouts()) {
        Ok(seconds) => {
            let seconds = seconds.into_iter().map(|(timeout, it)| (timeout.path(), it.to_string()));
            found.extend(seconds.filter(|(path, _)| paths.contains(path)));
            (found, BTreeSet::new())
        }
        Err(why) => (found, BTreeSet::from([format!("the timeouts of connections: {why}")])),
    }
}

fn write(path: &str, value: &str) -> Result<(), String> {
    let Some(timeout) = Timeout::of(path) else {
        return sysctl::write(path, value).map_err(|e| e.to_string());
    };
    let seconds = value.parse().map_err(|_| format!("`{value}` is no number of seconds"))?;
    let done = Ipvs::open().and_then(|mut ipvs| ipvs.set_timeout(timeout, seconds));
    done.map_err(|e| e.to_string())
}
