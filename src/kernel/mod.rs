//! Hands on the kernel: netlink, blocking or on its own thread. Decides nothing.

mod genl;
pub mod ipvs;
