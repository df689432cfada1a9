//! Asks the world outside the pair: arbiters, ping nodes, and devices that fence the peer.
//!
//! Each call is one question with a time limit and one answer. What follows from an answer is
//! decided in [`crate::cluster`]; when something is asked is `daemon::outside`'s. Neighbours:
//! [`crate::probe`] knows ICMP and TCP, [`crate::exec`] runs programs.

pub mod arbiter;
pub mod etcd;
pub mod fence;
pub mod ping;
