//! Heartbeat links: bytes to and from the peer.
//!
//! What the bytes mean is `wire`'s, when to send them the core's.

pub mod udp;
