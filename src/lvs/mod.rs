//! Linux Virtual Server, the pure part: what should be in the kernel's table, and the way there.

pub mod check;
pub mod model;
