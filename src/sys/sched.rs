//! Being on time: real-time priority for a thread, memory that stays in memory.
//!
//! Each says why when it is refused; what follows from that is decided elsewhere.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};

/// What is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// sched_setscheduler(2): no CAP_SYS_NICE and no RLIMIT_RTPRIO, or a cgroup without real-time
    /// share (CONFIG_RT_GROUP_SCHED).
    #[error("real-time priority (SCHED_FIFO; needs CAP_SYS_NICE or LimitRTPRIO)")]
    Realtime(#[source] io::Error),
    /// Not asked for: `realtime off`.
    #[error("real-time priority is switched off in the configuration")]
    Unwanted,
    /// mlockall(2): no CAP_IPC_LOCK, and RLIMIT_MEMLOCK below our size.
    #[error("locking memory (needs CAP_IPC_LOCK or LimitMEMLOCK)")]
    Memory(#[source] io::Error),
}

/// Runs the calling thread before all ordinary ones: SCHED_FIFO at `priority` (1 to 99). Children
/// and threads that it starts are ordinary again (SCHED_RESET_ON_FORK), or resource scripts would
/// run before everything else too.
///
/// # Errors
/// [`Refused::Realtime`].
pub fn realtime(priority: i32) -> Result<(), Refused> {
    set_fifo(priority).map_err(Refused::Realtime)
}

/// Keeps all memory of the process in memory, present and future, each page from its first use on
/// (MCL_ONFAULT: without it every thread's unused stack and arena would count).
///
/// # Errors
/// [`Refused::Memory`].
pub fn lock_memory() -> Result<(), Refused> {
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map_err(|errno| Refused::Memory(errno.into()))
}

/// The system call itself: musl's wrapper only says ENOSYS.
#[expect(unsafe_code, reason = "no safe wrapper of sched_setscheduler(2) among our crates")]
fn set_fifo(priority: i32) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: pid 0 is the calling thread; `param` is a valid sched_param for the whole call,
    // which only reads it.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
