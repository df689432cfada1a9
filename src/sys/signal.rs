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

/// How a core ends whose main loop hangs.
pub const HANGING: u8 = 86;

/// Ends this process at once: no destructors, no buffers written, no thread waited for.
#[expect(unsafe_code, reason = "std waits for buffers and handlers, and those may hang as well")]
pub fn end_at_once(code: u8) -> ! {
    // SAFETY: _exit(2) takes any number, touches no memory of ours and does not come back.
    unsafe { libc::_exit(i32::from(code)) }
}
