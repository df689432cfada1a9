//! Hands on the kernel: netlink and raw frames. Decides nothing.

pub mod addr;
mod genl;
pub mod handover;
pub mod ipvs;
pub mod announce;
