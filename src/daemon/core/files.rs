//! The directors' files that are looked at: one that has changed on the disk is read again with all
//! others, and somebody is told of it, as it says itself (`autoreload`, `callback`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::info;

use super::Core;
use crate::config::Config;
use crate::daemon::hooks;
use crate::daemon::watch::Watch;

/// Changes that wait for the loop; a file is told once at a time.
const CHANGES_MAX: usize = 8;

/// Pause before a changed file is thought of again while another reload is under way.
const AGAIN: Duration = Duration::from_secs(1);

/// Looks at files.
pub(super) struct Files {
    looking: BTreeMap<PathBuf, JoinHandle<()>>,
    changes: (mpsc::Sender<PathBuf>, mpsc::Receiver<PathBuf>),
    /// Held by each configuration that is being read.
    pub(super) under_way: Rc<()>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            looking: BTreeMap::new(),
            changes: mpsc::channel(CHANGES_MAX),
            under_way: Rc::default(),
        }
    }
}

impl Files {
    /// Looks at those of this configuration from now on. A file that stays is looked at all the
    /// time, so that no change is missed.
    pub(super) fn follow(&mut self, config: &Config) {
        self.looking.retain(|file, looking| {
            let stays = config.watched.iter().any(|it| it.file == *file);
            if !stays {
                looking.abort();
            }
            stays
        });
        for watched in &config.watched {
            let (file, changes) = (watched.file.clone(), self.changes.0.clone());
            self.looking.entry(file.clone()).or_insert_with(|| {
                tokio::task::spawn_local(look(Watch::new(watched), file, changes))
            });
        }
    }

    /// Another reload is under way, which may have read the file before it changed.
    fn later(&self, file: PathBuf) {
        let changes = self.changes.0.clone();
        tokio::task::spawn_local(async move {
            sleep(AGAIN).await;
            let _ending = changes.send(file).await;
        });
    }

    /// The next one that has changed.
    pub(super) async fn changed(&mut self) -> Option<PathBuf> {
        self.changes.1.recv().await
    }
}

async fn look(mut watch: Watch, file: PathBuf, changes: mpsc::Sender<PathBuf>) {
    loop {
        watch.changed().await;
        if changes.send(file.clone()).await.is_err() {
            return;
        }
    }
}

impl Core {
    /// A file has changed on the disk.
    pub(super) fn file_changed(&self, file: &PathBuf) {
        let Some(watched) = self.config.watched.iter().find(|it| it.file == *file) else { return };
        let file = file.display();
        if !watched.auto_reload {
            info!("{file} has changed on the disk; `pairbeat reload` takes it over");
            return hooks::call_back(watched);
        }
        if self.reloading.is_some() || Rc::strong_count(&self.files.under_way) > 1 {
            return self.files.later(watched.file.clone());
        }
        info!("{file} has changed on the disk, and is read again");
        let watched = watched.clone();
        let (reply, applied) = oneshot::channel();
        self.load(Some(reply));
        tokio::task::spawn_local(async move {
            // Whatever has come of it is in the journal.
            let _read = applied.await;
            hooks::call_back(&watched);
        });
    }
}
