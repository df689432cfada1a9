//! What the beat thread shows of itself.

use serde::Serialize;

use crate::engine;
use crate::link::LinkStatus;

/// The thread and all below it, at one instant.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// The engine's picture.
    pub engine: engine::View,
    /// The links' sockets, in the order of the configuration.
    pub links: Vec<LinkStatus>,
    /// How punctual the thread is.
    pub pace: Pace,
}

/// How punctual the thread is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Whether it has real-time priority.
    pub realtime: bool,
    /// Turns since the start.
    pub turns: u64,
    /// How late it was after its timer, the last time, in microseconds.
    pub late_us: u64,
    /// The latest since the start, in microseconds.
    pub latest_us: u64,
    /// Reports dropped because the daemon did not take them.
    pub reports_lost: u64,
}
