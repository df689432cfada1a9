//! Single facilities of the system that need `unsafe`, one small function each.

pub mod child;
pub mod packet;
pub mod ready;
