//! Bytes on the LAN, as values.

pub mod frames;
