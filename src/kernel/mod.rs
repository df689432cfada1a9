//! Hands on the kernel: netlink and raw frames. Decides nothing.

pub mod addr;
pub mod announce;
mod genl;
pub mod handover;
pub mod ipvs;
