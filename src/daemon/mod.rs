//! The daemon: its processes and what they say to each other.

pub mod channel;
pub mod checker;
