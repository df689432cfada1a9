//! The control API: HTTP with JSON over a unix socket.
//!
//! `protocol` has the types, `server` and `client` the transport. What a request means is the
//! daemon's business.

pub mod client;
pub mod protocol;
pub mod server;
