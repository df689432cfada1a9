//! pairbeat: a two-node high-availability cluster manager for Linux directors.
//!
//! Floors, bottom first; a module uses only what stands below it (`tests/tidy.rs` checks it).

// Floor 0: words.
pub mod names;
pub mod time;
// Floor 1: pure. No IO, clock, threads, environment or log.
pub mod cluster;
pub mod lvs;
pub mod net;
// Floor 2: configuration. Text in, values out.
pub mod config;
// Floor 3: hands. IO, no decisions.
pub mod exec;
pub mod kernel;
pub mod sys;
// Floor 4: the daemon.
pub mod daemon;
