//! Single facilities of the system, one module each; the only `unsafe` stands here.

pub mod child;
pub mod log;
pub mod ready;
