//! The cluster core: pure. `now` and inputs go in, ordered outputs come out.

pub mod event;
pub mod message;
