//! The operating system, one facility a file. No decisions.

pub mod clock;
pub mod datagram;
#[cfg(test)]
pub(crate) mod namespace;
pub mod sched;
