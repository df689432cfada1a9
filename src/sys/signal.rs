//! Signals to whole groups of processes, and who of this one takes them.

use std::io;
use std::ptr;

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

/// Keeps SIGTERM, SIGINT and SIGHUP from the calling thread, and from those that it starts. Once no
/// thread takes them they wait in the kernel, also for the program that takes this one's place.
pub fn hold_back() {
    mask(libc::SIG_BLOCK);
}

/// From now on the calling thread takes them again, those first that have waited.
pub fn let_through() {
    mask(libc::SIG_UNBLOCK);
}

#[expect(unsafe_code, reason = "neither std nor rustix changes the signals of a thread")]
fn mask(how: libc::c_int) {
    // SAFETY: all zeroes is a set; the four calls are given that set, which outlives them, numbers
    // of signals that there are, and no place for the old mask.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&raw mut set, signal);
        }
        // It fails for a `how` that there is not.
        libc::pthread_sigmask(how, &raw const set, ptr::null_mut());
    }
}

/// How a core ends whose main loop hangs.
pub const HANGING: u8 = 86;

/// Ends this process at once: no destructors, no buffers written, no thread waited for.
#[expect(unsafe_code, reason = "std waits for buffers and handlers, and those may hang as well")]
pub fn end_at_once(code: u8) -> ! {
    // SAFETY: _exit(2) takes any number, touches no memory of ours and does not come back.
    unsafe { libc::_exit(i32::from(code)) }
}
