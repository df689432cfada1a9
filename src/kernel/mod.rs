//! Hands on the kernel: netlink, raw frames, nftables. Decides nothing.

pub mod addr;
pub mod announce;
pub mod changes;
pub mod fou;
pub mod fullnat;
mod genl;
pub mod handover;
pub mod ipvs;
pub mod lease;
pub mod links;
pub mod localnode;
pub mod modules;
pub mod nft;
pub mod routes;
pub mod selftest;
pub mod sync_guard;
pub mod sysctl;
