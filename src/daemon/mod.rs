//! The daemon: joins the pure core with the hands.

pub mod beat;
