//! One core a node, also when its supervisor is gone.

use std::fs::{File, TryLockError};
use std::time::Duration;

use tokio::time::timeout;

use crate::daemon::{Fatal, Paths};

/// Longest wait for an earlier core of this node to end.
const EARLIER_CORE_MAX: Duration = Duration::from_secs(5);
/// From one look for it to the next.
const EARLIER_CORE_LOOK: Duration = Duration::from_millis(50);

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
