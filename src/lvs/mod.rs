//! Linux Virtual Server, the pure part: what should be in the kernel's table, and the way there.
//!
//! ```text
//! Director ──► health (verdicts) ──► pool (who serves) ──► table (what should be) ──► plan (orders) ──► kernel::ipvs
//!                    ▲                                                                  ▲
//!                 checker                                                       the table read back
//! ```
//!
//! `director` turns that wheel; the others are functions and counters.

pub mod adopt;
pub mod agent;
pub mod check;
pub mod director;
pub mod exchange;
pub mod fault;
pub mod follow;
pub mod health;
pub mod localnode;
pub mod mail;
pub mod model;
pub mod monitor;
pub mod notify;
pub mod overrides;
pub mod plan;
pub mod pool;
pub mod prerequisites;
pub mod program;
pub mod settings;
pub mod table;
pub mod translation;

#[cfg(test)]
mod testing;
