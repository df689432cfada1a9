//! The text form of "when the core wants to be called, and why" in a recorded core.
//!
//! The instant alone is kept: the reason is for the debug log.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Instant;

pub(super) fn serialize<S: Serializer>(
    due: &(Instant, &'static str),
    to: S,
) -> Result<S::Ok, S::Error> {
    due.0.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<(Instant, &'static str), D::Error> {
    Instant::deserialize(from).map(|at| (at, "as recorded"))
}
