//! Checks by a program: it is run without a shell, in a process group of its own, and exit code 0
//! means up. A signal, no end in time or no program at all means down.
//!
//! How a program is run and ended is [`crate::exec`]'s. It runs as whoever the checker runs as.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::exec::{Invocation, Ran, RunError, inherited, run};
use crate::lvs::check::{CheckFailure, CheckSpec, shown};
use crate::lvs::program::{ProgramCheck, ProgramEnd, Told};
use crate::time::millis;

/// Most programs at a time. Each is a process with up to 256 KiB of kept output on our side; more
/// than that many hang only where something is wrong with all of them, and then the others wait
/// for their turn, at most one time limit.
pub const PROGRAMS_MAX: usize = 100;

/// Descriptors that one takes: two pipes, its pidfd, and one more while it is started.
pub const DESCRIPTORS_EACH: usize = 5;

static ROOM: Semaphore = Semaphore::const_new(PROGRAMS_MAX);

/// How long a program that was told to end is listened to, for its last words. After that it goes on
/// ending without us.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Runs the program. Its time begins when there is room for it.
pub(super) async fn check(check: &ProgramCheck, spec: &CheckSpec) -> Result<(), CheckFailure> {
    let Some(ran) = ended(invocation(check, spec)).await? else {
        return Err(late(spec.timeout, String::new()));
    };
    judged(&ran, spec.timeout)
}

/// Runs the program, and returns the last line of what it says when it ends well.
pub(super) async fn said(check: &ProgramCheck, spec: &CheckSpec) -> Result<String, CheckFailure> {
    let Some(ran) = ended(invocation(check, spec)).await? else {
        return Err(late(spec.timeout, String::new()));
    };
    judged(&ran, spec.timeout)?;
    Ok(ran.last_line().unwrap_or_default().to_owned())
}

/// Runs a program to its end or to its limit; `None` when it has not ended by then and is being
/// killed. No check is waited for longer than its limit.
pub(super) async fn ended(invocation: Invocation) -> Result<Option<Ran>, CheckFailure> {
    let refused =
        |why: &dyn std::fmt::Display| CheckFailure::Local(shown(why.to_string().as_bytes()));
    let room = ROOM.acquire().await.map_err(|e| refused(&e))?;
    let until = Instant::now() + invocation.limit + LAST_WORDS;
    let mut running = Box::pin(async move {
        let _room = room;
        run(&invocation).await
    });
    match tokio::time::timeout_at(until, &mut running).await {
        Ok(ran) => ran.map(Some).map_err(|error: RunError| refused(&error)),
        Err(_) => {
            tokio::spawn(running);
            Ok(None)
        }
    }
}

/// The verdict of a program that has ended.
pub(super) fn judged(ran: &Ran, limit: Duration) -> Result<(), CheckFailure> {
    let said = shown(ran.last_line().unwrap_or_default().as_bytes());
    let Err(end) = ran.well(limit) else { return Ok(()) };
    Err(CheckFailure::Program { end, said })
}

pub(super) fn late(limit: Duration, said: String) -> CheckFailure {
    CheckFailure::Program { end: ProgramEnd::TimedOut(millis(limit)), said }
}

fn invocation(check: &ProgramCheck, spec: &CheckSpec) -> Invocation {
    let ProgramCheck { program, args, told } = check;
    let mut args = args.clone();
    let mut environment = inherited();
    match told {
        Told::Arguments { service, service_port, port } => {
            let address = match spec.address {
                std::net::IpAddr::V4(v4) => v4.to_string(),
                std::net::IpAddr::V6(v6) => format!("[{v6}]"),
            };
            args.extend([service.clone(), service_port.to_string(), address, port.to_string()]);
            // ldirectord sets it for itself, and so for its children.
            environment.entry("PERLIO".to_owned()).or_insert_with(|| "perlio".to_owned());
        }
        Told::Environment { service } => {
            let told = [
                ("PAIRBEAT_SERVICE", service.clone()),
                ("PAIRBEAT_ADDRESS", spec.address.to_string()),
                ("PAIRBEAT_PORT", spec.port.to_string()),
            ];
            environment.extend(told.map(|(name, value)| (name.to_owned(), value)));
        }
    }
    let program = PathBuf::from(program);
    Invocation { program, args, environment, input: None, limit: spec.timeout }
}

#[cfg(test)]
mod tests;
