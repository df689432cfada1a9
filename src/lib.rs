//! pairbeat: a two-node high-availability cluster manager for Linux directors.
//!
//! Floors, bottom first; a module uses only what stands below it (`tests/tidy.rs` checks it).

// Floor 0: words.
pub mod names;
pub mod time;
// Floor 1: pure. No IO, clock, threads, environment or log.
pub mod cluster;
pub mod lvs;
pub mod wire;
// Floor 2: configuration. Text in, values out.
pub mod config;
pub mod engine; // Wire and core bound together; pure.
// Floor 3: hands. IO, no decisions.
pub mod link;
pub mod sys;
// Floor 4: the daemon.
pub mod daemon;
