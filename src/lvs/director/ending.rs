//! The end of a director: what it takes out of the kernel, what stays, and whose that is.

use std::collections::BTreeSet;

use super::{Control, Output, Phase, STOP_LIMIT};
use crate::lvs::fault::KernelFault;
use crate::lvs::model::ServiceKey;
use crate::time::Instant;

impl Control {
    pub(super) fn shutdown(&mut self, now: Instant) {
        if self.phase == Phase::Running {
            self.outputs.push_back(Output::Check(Vec::new()));
        }
        if !matches!(self.phase, Phase::Stopping { .. }) {
            self.phase = Phase::Stopping { until: now.plus(STOP_LIMIT) };
            self.mail_of_stop(now);
            self.kernel.try_again(now);
            self.unsettle();
        }
    }

    /// Whether everybody has been told what a stop tells.
    pub(super) fn is_told(&self, now: Instant) -> bool {
        self.hooks.is_idle() && self.mails.letters.is_done(now)
    }

    /// Services that are no longer configured and no longer in the kernel are not ours any more.
    pub(super) fn forget_gone(&mut self) {
        let Some(have) = self.kernel.have() else { return };
        let configured: BTreeSet<_> = self.services().map(|service| service.key).collect();
        let gone = |key: &ServiceKey| !configured.contains(key) && !have.0.contains_key(key);
        self.owned = self.owned.iter().copied().filter(|key| !gone(key)).collect();
    }

    pub(super) fn stopped(&mut self) {
        let stay: BTreeSet<_> = self
            .services()
            .filter(|service| !service.clean_stop)
            .map(|service| service.key)
            .collect();
        let module = self.kernel.fault() != Some(&KernelFault::NoModule);
        let there = |key: &ServiceKey| match self.kernel.have() {
            Some(have) => have.0.contains_key(key),
            None => module,
        };
        self.owned = self.owned.iter().copied().filter(there).collect();
        let left = self.owned.difference(&stay).copied().collect();
        self.phase = Phase::Idle;
        self.hooks.forget();
        self.forget_mails();
        self.touched.clear();
        self.note_serving();
        self.kernel.forget();
        self.outputs.push_back(Output::Stopped { left });
    }
}
