//! Single facilities of the system, one module each; the only `unsafe` stands here.

pub mod ask;
pub mod calendar;
pub mod child;
pub mod clock;
pub mod datagram;
pub mod files;
pub mod inject;
pub mod log;
#[cfg(test)]
pub(crate) mod namespace;
pub mod packet;
pub mod ready;
pub mod sched;
#[cfg(test)]
pub(crate) mod scratch;
pub mod signal;
pub mod tty;
pub mod users;
pub mod watchdog;
