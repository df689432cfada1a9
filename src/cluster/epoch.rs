//! Ownership epochs: numbers that grow with each taking and are never the same on both nodes.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::names::NodeName;

/// Which numbers are this node's: even for the node whose name sorts first, odd for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbering {
    low_bit: u64,
}

impl Numbering {
    pub(super) fn new(node: &NodeName, peer: &NodeName) -> Self {
        let low_bit = match node.cmp(peer) {
            Ordering::Less | Ordering::Equal => 0,
            Ordering::Greater => 1,
        };
        Self { low_bit }
    }

    /// The smallest number of ours above `seen`.
    ///
    /// A peer that holds the key could claim the very highest number; then there is none above,
    /// and we stay at the highest of ours.
    pub(super) fn above(self, seen: u64) -> u64 {
        let next = seen.saturating_add(1);
        if next & 1 == self.low_bit { next } else { next.checked_add(1).unwrap_or(next - 1) }
    }
}
