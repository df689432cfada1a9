//! Runs the programs that are told what happens: beside everything else, so that one that hangs
//! keeps nobody waiting.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::config::Watched;
use crate::exec::{Invocation, inherited, run};
use crate::lvs::check::shown;
use crate::lvs::director::RUN_LIMIT;
use crate::lvs::notify::{Program, RunFailure};

/// Programs at a time; more wait for their turn. Each is a process and half a megabyte of output that
/// is kept at most.
const PROGRAMS_MAX: usize = 64;

static ROOM: Semaphore = Semaphore::const_new(PROGRAMS_MAX);

/// Runs a program to its end, or kills it at its limit. It has the environment of the daemon and
/// runs as the same user.
///
/// # Errors
/// Why it has not done its part.
pub(super) async fn told(program: Program, limit: Duration) -> Result<(), RunFailure> {
    let _room = ROOM.acquire().await;
    let Program { program, args } = program;
    let program = PathBuf::from(program);
    let invocation = Invocation { program, args, environment: inherited(), input: None, limit };
    let ran = run(&invocation).await.map_err(|e| RunFailure::NotRun(e.to_string()))?;
    ran.well(limit).map_err(|end| {
        let said = shown(ran.last_line().unwrap_or_default().as_bytes());
        RunFailure::Ended { end, said }
    })
}

/// Runs what is told of a changed file, with the file's path.
pub(super) fn call_back(watched: &Watched) {
    let Some(callback) = &watched.callback else { return };
    let program = callback.with([watched.file.display().to_string()]);
    tokio::task::spawn_local(async move {
        let command = program.to_string();
        match told(program, RUN_LIMIT).await {
            Ok(()) => info!("callback {command} is done"),
            Err(why) => warn!("callback {command} failed: {why}"),
        }
    });
}
