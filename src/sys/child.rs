//! What a child must not inherit from us.
//!
//! Neighbour: [`crate::exec`], which starts the children.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// First descriptor after stdin, stdout and stderr.
const FIRST_EXTRA: libc::c_uint = 3;

/// Makes the child start with ordinary scheduling, niceness 0, file mode mask 022, and no open file
/// but the first three, and end with the thread that started it. Its signal mask is already emptied by the standard library.
///
/// Our own descriptors are close-on-exec anyway; this is for those that we were started with. On
/// kernels before 5.11 (close_range(2) with `CLOSE_RANGE_CLOEXEC`) these stay open.
#[expect(unsafe_code, reason = "only code between fork and exec can do this")]
pub fn isolate(command: &mut Command) {
    // SAFETY: `cleaned` runs between fork and exec. It only makes system calls, which are
    // async-signal-safe: no allocation, no lock, no memory shared with another thread.
    unsafe {
        command.pre_exec(cleaned);
    }
}

#[expect(unsafe_code, reason = "scheduling and close_range(2) have no safe wrapper here")]
fn cleaned() -> io::Result<()> {
    // SAFETY: plain system calls about the calling process; the only pointer is to a live local.
    // Each may be refused (a sandbox, an old kernel): then the child keeps what it has.
    unsafe {
        let normal: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const normal);
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
        libc::umask(0o022);
        // A script must not outlive the core that ordered it: the next core would not know of it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        libc::syscall(libc::SYS_close_range, FIRST_EXTRA, libc::c_uint::MAX, flags);
    }
    Ok(())
}
