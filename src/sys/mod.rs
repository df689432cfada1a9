//! The operating system, one facility a file. No decisions.

pub mod files;
