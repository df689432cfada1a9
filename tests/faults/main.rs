//! The fault menu: what goes wrong on directors, on purpose, and what a client sees of it.
//!
//! `docs/FAULTS.md` lists every fault with its scenario, `docs/HEARTBEAT.md` those that Heartbeat
//! fails. The verdict comes from outside: a client asks for the virtual IP the whole time, every few
//! milliseconds, and knows who answered. Needs root. Where that is missing the tests print SKIP, and
//! fail when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test may end at the first surprise"
)]

mod client;
mod heartbeat;
mod keys;
#[expect(dead_code, reason = "the tests of `pair` use the rest")]
#[path = "../common/lan.rs"]
mod lan;
#[path = "../common/needs.rs"]
mod needs;
#[path = "../common/nets.rs"]
mod nets;
#[expect(dead_code, reason = "the tests of `pair` use the rest")]
#[path = "../pair/node.rs"]
mod node;
#[expect(dead_code, reason = "the tests of `pair` use the rest")]
#[path = "../pair/pair.rs"]
mod pair;
mod ports;
#[path = "../pair/prober.rs"]
mod prober;
mod processes;
mod storm;
mod wire;
