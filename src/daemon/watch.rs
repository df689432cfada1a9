//! Notices that a configuration file has changed on the disk: by what is in it, and not before it
//! has stayed the same for a whole pause, so that nobody reads what somebody is still writing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};

use crate::config::{Environment, FILE_LEN_MAX, Watched};
use crate::sys::files::Machine;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that is looked at.
pub(super) struct Watch {
    file: PathBuf,
    seen: Seen,
    every: Duration,
    /// The next look; not sooner, however often the waiting is begun anew.
    next: Instant,
}

impl Watch {
    /// From the moment on in which it was read.
    pub(super) fn new(watched: &Watched) -> Self {
        let seen = Seen { known: Some(watched.digest), new: None };
        Self { file: watched.file.clone(), seen, every: LOOK_EVERY, next: Instant::now() }
    }

    /// Waits until it has changed. A file that is not there has not.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep_until(self.next).await;
            self.next = Instant::now() + self.every;
            let file = self.file.clone();
            // A disk that hangs holds up nobody but this watch.
            let content = tokio::task::spawn_blocking(move || content(&file)).await;
            if self.seen.is_changed(content.ok().flatten()) {
                return;
            }
        }
    }
}

fn content(file: &Path) -> Option<Content> {
    let found = Machine::default().read(file).ok()?;
    // A longer one is refused by its readers.
    let fits = found.bytes.len() <= FILE_LEN_MAX;
    fits.then(|| Sha256::digest(found.bytes).into())
}

type Content = [u8; 32];

/// What was there at the last looks.
#[derive(Debug, Default)]
struct Seen {
    /// What the last change was to.
    known: Option<Content>,
    /// What may become the next.
    new: Option<Content>,
}

impl Seen {
    fn is_changed(&mut self, content: Option<Content>) -> bool {
        let before = std::mem::replace(&mut self.new, content);
        match (self.known, content) {
            (None, _) => {
                self.known = content;
                false
            }
            (Some(known), Some(content)) if known != content && before == Some(content) => {
                self.known = Some(content);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::scratch::Scratch;

    #[test]
    fn a_change_is_one_that_stays() {
        let (a, b, c) = (Some([1; 32]), Some([2; 32]), Some([3; 32]));
        let mut seen = Seen::default();
        for (content, changed) in [
            (a, false),
            (a, false),
            (b, false),
            (b, true),
            (b, false),
            (c, false),
            (a, false),
            (c, false),
            (b, false),
            (b, false),
            (None, false),
            (None, false),
            (b, false),
            (b, false),
            (None, false),
            (a, false),
            (a, true),
        ] {
            assert_eq!(seen.is_changed(content), changed, "{content:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_noticed_and_one_that_is_touched_is_not() {
        let place = Scratch::new("watch");
        let file = place.join("watched");
        std::fs::write(&file, "checkinterval=1\n").unwrap();
        let digest = Sha256::digest("checkinterval=1\n").into();
        let watched = Watched { file: file.clone(), digest, auto_reload: true, callback: None };
        let mut watch = Watch { every: Duration::from_millis(5), ..Watch::new(&watched) };
        let limit = Duration::from_millis(200);
        assert!(tokio::time::timeout(limit, watch.changed()).await.is_err(), "nothing has changed");
        std::fs::write(&file, "checkinterval=1\n").unwrap();
        assert!(tokio::time::timeout(limit, watch.changed()).await.is_err(), "nor now");
        std::fs::write(&file, "checkinterval=2\n").unwrap();
        tokio::time::timeout(limit * 50, watch.changed()).await.unwrap();
    }
}
