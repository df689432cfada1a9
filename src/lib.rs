//! pairbeat: a two-node high-availability cluster manager for Linux directors.
//!
//! Floors, bottom first; a module uses only what stands below it (`tests/tidy.rs` checks it).

// Floor 0: words.
pub mod keys;
pub mod names;
pub mod time;
// Floor 1: pure. No IO, clock, threads, environment or log.
pub mod cluster;
pub mod engine;
pub mod journal;
pub mod lvs;
pub mod net;
pub mod realserver;
pub mod status;
pub mod wire;
// Floor 2: configuration. Text in, values out.
pub mod config;
pub mod import;
// Floor 3: hands. IO without decisions.
pub mod control;
pub mod exec;
pub mod kernel;
pub mod link;
pub mod outside;
pub mod probe;
pub mod store;
pub mod sys;
// Floor 4: the daemon.
pub mod daemon;
// Floor 5: commands.
pub mod cli;
