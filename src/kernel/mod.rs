//! What we ask of the kernel's network stack: addresses and their announcement.

pub mod addr;
pub mod announce;
