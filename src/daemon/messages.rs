//! What supervisor and core say to each other.
//!
//! The core's words to the checker are in `lvs::check` and `daemon::channel`.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::control::protocol::Successor;
use crate::link::Farewell;
use crate::time::Instant;

/// Supervisor to core.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToCore {
    /// Give everything to the peer, then end (SIGTERM).
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
    /// The core before this one died.
    Died {
        /// When.
        at: Instant,
        /// Exit code or signal.
        how: String,
        /// Whether its addresses were all removed.
        released: bool,
        /// Whether the peer was told so.
        told: bool,
    },
}

/// Core to supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromCore {
    /// Every address that the core may ever put on an interface; sent before the first one is.
    Addresses(Vec<IpAddr>),
    /// In service: beats are sent, the control socket answers.
    Ready,
    /// The core's loop runs, and its beat thread reports; said about once a second.
    Alive,
    /// Everything is given away: the process ends soon and wants no checker any more.
    Leaving,
    /// Ends at once with everything held, for a successor to go on with: nothing is to be released.
    Paused(Successor),
    /// The longest that a stop of this core may take; after a reload.
    StopLimit(Duration),
    /// The last word to send for this core if it dies, replacing the one before. Empty while
    /// something is held that the supervisor could not release.
    Farewell(Vec<Farewell>),
}
