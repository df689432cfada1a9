//! The kernel's settings for as long as a director runs: reads, remembers on the disk, writes, and puts
//! back at the end. What follows from what is decided by `lvs::settings`.
//!
//! Those of IPVS are there only once its module is: what is missing is tried again when somebody has
//! spoken to it ([`KernelSettings::there`]).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, info, warn};

use crate::config::switch_settings;
use crate::daemon::Paths;
use crate::kernel::sysctl;
use crate::lvs::settings::{Kept, Plan, Values, Wanted, normal, paths, plan};
use crate::store::prepared::{Prepared, PreparedError};
use crate::sys::clock;
use crate::time::Instant;

/// A disk that is full may not stay so, but is not asked again every second.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The way to the settings.
#[derive(Debug, Clone)]
pub(crate) struct KernelSettings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    /// Held while the kernel and the disk are worked on. The state directory.
    desk: Mutex<PathBuf>,
    /// Everything is as it is wanted, or never will be.
    settled: AtomicBool,
    /// When the disk failed last.
    failed: Mutex<Option<Instant>>,
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
            desk: Mutex::new(paths.state_dir.clone()),
            settled: AtomicBool::new(false),
            failed: Mutex::default(),
        }))
    }

    /// Something may still have to be settled once IPVS is there.
    pub(crate) fn is_due(&self) -> bool {
        let soon = held(&self.0.failed).is_some_and(|at| clock::now().since(at) < AGAIN_AFTER);
        !soon && !self.0.settled.load(Ordering::Relaxed)
    }

    /// IPVS is there: settles what could not be settled before. Costs nothing when all is.
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
        let directory = held(&self.desk);
        let (wanted, there) = {
            let orders = held(&self.orders);
            let moment = orders.switches > 0;
            (Wanted { moment, ..orders.wanted.clone() }, orders.there)
        };
        let obeyed = Prepared::new(&directory).and_then(|file| obey(&file, &wanted));
        self.settled.store(there && obeyed.is_ok(), Ordering::Relaxed);
        *held(&self.failed) = obeyed.is_err().then(clock::now);
        match obeyed {
            Ok(missing) if there => {
                for path in missing {
                    warn!("{path}: this kernel has no such setting");
                }
            }
            Ok(_) => {}
            Err(why) => error!("settings of the kernel stay as they are: {why}"),
        }
    }
}

/// What is wanted and not there.
fn obey(file: &Prepared<Kept>, wanted: &Wanted) -> Result<Vec<String>, PreparedError> {
    let kept = file.read()?;
    let found: Values = paths(wanted, &kept)
        .into_iter()
        .filter_map(|path| Some((path.clone(), normal(&sysctl::read(&path).ok()?))))
        .collect();
    let Plan { during, steps, after } = plan(wanted, &found, &kept);
    if during != kept {
        file.write(&during)?;
    }
    for (path, value) in &steps {
        match sysctl::write(path, value) {
            Ok(()) => info!("{path} is set to {value}"),
            Err(e) => warn!("{path} can't be set to {value}: {e}"),
        }
    }
    if after != during {
        file.write(&after)?;
    }
    Ok(wanted.steady.keys().filter(|path| !found.contains_key(*path)).cloned().collect())
}
