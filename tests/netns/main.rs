//! Addresses and announcements on a real kernel, in network namespaces that each test makes.
//!
//! Needs root. Where that is missing the tests print SKIP, and fail when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod addresses;
mod announcements;
mod hands;
mod lacks;
#[path = "../common/lan.rs"]
mod lan;
#[path = "../common/needs.rs"]
mod needs;
#[path = "../common/nets.rs"]
mod nets;
mod ports;
