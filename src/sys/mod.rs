//! Single facilities of the system, one module each; the only `unsafe` stands here.

pub mod child;
pub mod clock;
pub mod files;
pub mod log;
pub mod packet;
pub mod ready;
