//! How long the kernel remembers connections, as keepalived and ipvsadm write it: seconds, and 0 leaves
//! one as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::import::document::{Block, Table};
use crate::import::remark::{At, Remarks};
use crate::lvs::settings::{TIMEOUT_MAX, Timeout};

/// Those that are to be set, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Timeouts(BTreeMap<Timeout, u32>);

impl Timeouts {
    /// Takes one over; what is written later counts.
    pub(super) fn take(&mut self, timeout: Timeout, value: &str, at: &At, remarks: &mut Remarks) {
        let name = timeout.word();
        match value.parse::<u32>() {
            Ok(0) => {}
            Ok(seconds @ 1..=TIMEOUT_MAX) => {
                self.0.insert(timeout, seconds);
            }
            Ok(_) => {
                let text = format!("timeout {name} {value}: the kernel's longest, {TIMEOUT_MAX} s");
                remarks.changed(at, text);
                self.0.insert(timeout, TIMEOUT_MAX);
            }
            Err(_) => {
                remarks.left_out(at, format!("timeout {name}: `{value}` is no number of seconds"));
            }
        }
    }

    /// As pairbeat.toml has them; nothing where none is set.
    pub(super) fn block(&self) -> Option<Block> {
        if self.0.is_empty() {
            return None;
        }
        let mut table = Table::default();
        for (timeout, seconds) in &self.0 {
            table.put(timeout.word(), Duration::from_secs(u64::from(*seconds)));
        }
        let mut block = Block::new("[ipvs]");
        block.put("timeouts", table);
        Some(block)
    }
}
