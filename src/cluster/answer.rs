//! How an operator's request ended.

use serde::{Deserialize, Serialize};

use crate::names::GroupName;

/// The result of a [`Request`](crate::cluster::event::Request).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// All that was asked is done.
    Done {
        /// The groups that moved; empty when there was nothing to do.
        moved: Vec<GroupName>,
        /// From request to done, in milliseconds.
        took_ms: u64,
        /// Where every group was given away in an agreed overlap: for how long both nodes served at
        /// least, in milliseconds; there was no time in which none did. Of what is taken it is not
        /// known at that time: an [`Event::Overlapped`](crate::cluster::event::Event) follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overlap_ms: Option<u64>,
    },
    /// Not begun: it can't be done now. Exit code 4.
    Refused {
        /// Why, for the operator.
        why: String,
    },
    /// Begun and not finished. Exit code 1.
    Failed {
        /// Why, for the operator.
        why: String,
    },
}

impl Answer {
    /// Done, and nothing had to be.
    pub const NOTHING_TO_DO: Self = Self::Done { moved: Vec::new(), took_ms: 0, overlap_ms: None };
}
