//! Signals to whole groups of processes.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// From now on this process does not end by SIGTERM, SIGINT and SIGHUP: a terminal and a service
/// manager send them to every process, and the supervisor alone decides what they mean.
///
/// Handlers, unlike ignored signals, are not inherited by the scripts that we start.
///
/// # Errors
/// When the runtime can't take signals.
pub fn leave_to_supervisor() -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // The runtime keeps its handler when nobody listens any more.
        drop(signal(kind)?);
    }
    Ok(())
}
