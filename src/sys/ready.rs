//! Waiting for any kind of file descriptor on tokio.
//!
//! Neighbours: [`crate::exec`] waits for processes so, [`crate::kernel::announce`] for packets.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a descriptor with the runtime of the calling task. It must be one that epoll(7) takes.
///
/// # Errors
/// What epoll says.
#[expect(unsafe_code, reason = "tokio can't know that a type keeps its descriptor; this one does")]
pub fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` has the same descriptor for all its life, and closes it only when it is
    // dropped, which is after `AsyncFd` has deregistered it.
    let watched = unsafe { AsyncFd::register(descriptor) };
    watched.map_err(io::Error::from)
}
