//! Checks against real servers of their protocols, and against servers that mean harm.
//!
//! Each real server is the one of a Debian package, with a configuration of its own in a temporary
//! directory, on a loopback address that is this test's alone. Where the package is missing the
//! test says SKIP, and fails when `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may end at the first surprise"
)]

mod hostile;
mod mail;
#[path = "../common/needs.rs"]
mod needs;
mod protocols;
mod rig;
mod script;
