//! The real binary: a pair of nodes, a gateway and a client in network namespaces.
//!
//! What is waited for is waited for as a level, with a deadline. This kernel need not have IPVS:
//! groups are virtual IPs and scripts. Needs root. Where that is missing the tests print SKIP, and
//! fail when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test may end at the first surprise"
)]

mod agents;
mod cables;
mod calm;
mod drift;
mod guard;
mod journal;
#[path = "../common/lan.rs"]
mod lan;
mod links;
mod moves;
mod names;
#[path = "../common/needs.rs"]
mod needs;
#[path = "../common/nets.rs"]
mod nets;
mod node;
mod operator;
mod outside;
mod pair;
mod prober;
mod refusals;
mod reload;
mod restart;
mod roles;
mod scripts;
mod serial;
mod service;
mod standstill;
mod state;
mod strangers;
mod stream;
mod survival;
