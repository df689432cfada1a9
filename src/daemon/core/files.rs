//! The directors' files that are looked at: one that has changed on the disk is read again with all
//! others, and somebody is told of it, as it says itself (`autoreload`, `callback`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::info;

use super::Core;
use crate::config::{Config, Watched};
use crate::daemon::hooks;
use crate::daemon::watch::Watch;

/// Changes that wait for the loop; a file is told once at a time.
const CHANGES_MAX: usize = 8;

/// Looks at files.
pub(super) struct Files {
    looking: BTreeMap<PathBuf, JoinHandle<()>>,
    changes: (mpsc::Sender<PathBuf>, mpsc::Receiver<PathBuf>),
}

impl Default for Files {
    fn default() -> Self {
        Self { looking: BTreeMap::new(), changes: mpsc::channel(CHANGES_MAX) }
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
        for Watched { file, .. } in &config.watched {
            let look = || tokio::task::spawn_local(look(file.clone(), self.changes.0.clone()));
            self.looking.entry(file.clone()).or_insert_with(look);
        }
    }

    /// The next one that has changed.
    pub(super) async fn changed(&mut self) -> Option<PathBuf> {
        self.changes.1.recv().await
    }
}

async fn look(file: PathBuf, changes: mpsc::Sender<PathBuf>) {
    let mut watch = Watch::new(file.clone());
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
