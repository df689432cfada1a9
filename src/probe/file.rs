//! Checks by a file of this machine: up while it is there and, where that is asked for, while it
//! contains what it should.
//!
//! Reading may hang for ever (a dead NFS server), so it has threads of its own, and few of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use tokio::sync::Semaphore;

use super::{Phase, Run};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::program::FileCheck;

/// How much of a file is looked at.
const FILE_MAX: usize = 64 * 1024;

/// Most files that are read at a time. A read that hangs keeps its place until the kernel gives
/// it back; no more threads than these can be lost.
const FILES_MAX: usize = 64;

static ROOM: Semaphore = Semaphore::const_new(FILES_MAX);

pub(super) async fn check(check: &FileCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let path = check.path.clone();
    let wanted = check.receive.is_some();
    let content = run.bound(Phase::Answer, async move {
        let local = |e: &dyn std::fmt::Display| CheckFailure::Local(e.to_string());
        let room = ROOM.acquire().await.map_err(|e| local(&e))?;
        let (name, reading) = (path.clone(), move || {
            let _room = room;
            content(&path, wanted)
        });
        let read = tokio::task::spawn_blocking(reading).await.map_err(|e| local(&e))?;
        read.map_err(|why| CheckFailure::File {
            path: shown(name.as_bytes()),
            why: why.to_string(),
        })
    });
    let content = content.await?;
    match &check.receive {
        Some(text) if !run.context.pattern(text)?.is_match(&content) => {
            Err(CheckFailure::NoMatch(text.clone()))
        }
        _ => Ok(()),
    }
}

/// The beginning of the file; nothing where it need only be there.
fn content(path: &str, wanted: bool) -> io::Result<Vec<u8>> {
    if !wanted {
        return std::fs::metadata(path).map(|_| Vec::new());
    }
    // A pipe without a writer would never open otherwise.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let mut content = Vec::new();
    file.take(FILE_MAX as u64).read_to_end(&mut content)?;
    Ok(content)
}
