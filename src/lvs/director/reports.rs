//! What the control reports of services and servers: who serves, what has turned, who has interfered.

use std::collections::{BTreeMap, BTreeSet};

use super::{Control, DirectorEvent, Output};
use crate::lvs::adopt::{accept, adopted};
use crate::lvs::check::CheckResult;
use crate::lvs::health::{Health, State};
use crate::lvs::model::{Quorum, RealServer, ServiceKey, Table, VirtualService};
use crate::lvs::monitor;
use crate::lvs::plan::{Op, Places, plan};
use crate::lvs::pool::Turned;
use crate::time::Instant;

impl Control {
    /// Has a check's end written down by each service that wants it.
    pub(super) fn monitor(&mut self, result: &CheckResult) {
        let members = self.members_of(result.id).filter_map(|(service, real)| {
            let file = service.notify.monitor.as_ref()?;
            // A server follows from other checks, too.
            let own = self.health.check_of(service, real) == Some(result.id);
            let line = monitor::line(service, real, &result.verdict).filter(|_| own)?;
            Some(Output::Monitor { file: file.clone(), line })
        });
        let lines: Vec<Output> = members.collect();
        self.outputs.extend(lines);
    }

    pub(super) fn pool_turned(&mut self, key: ServiceKey, what: Turned) {
        let service = self.services().find(|service| service.key == key);
        let Some(policy) = service.map(|service| &service.policy) else { return };
        let Some(pools) = self.pools.get(&key) else { return };
        let event = match what {
            // Of the quorum that every service has, one server, nothing is said: its pools say it.
            Turned::Quorum if policy.quorum == Quorum::default() => return,
            Turned::Quorum => DirectorEvent::Quorum {
                service: key,
                met: pools.quorate,
                strength: pools.strength,
                quorum: policy.quorum,
            },
            Turned::Panic => DirectorEvent::Panic {
                service: key,
                on: pools.panic,
                percent: policy.panic.unwrap_or_default(),
            },
        };
        self.report(event);
    }

    /// Takes what somebody has done by hand for orders, where they count.
    pub(super) fn adopt(&mut self, expected: &mut Table) {
        let Some(have) = self.kernel.have() else { return };
        let orders = adopted(&self.directors, &self.overrides, expected, have);
        accept(expected, have, &orders);
        if orders.is_empty() {
            return;
        }
        for (target, command) in &orders {
            self.report(DirectorEvent::Adopted { what: format!("{command} {target}") });
            // Or it would be put back before the book has it.
            self.overrides = std::mem::take(&mut self.overrides).with(*target, *command);
        }
        self.outputs.push_back(Output::Adopt(orders));
    }

    /// Notes which of our services somebody else has changed since the last order.
    pub(super) fn note_touched(&mut self, mut expected: Table) {
        let Some(have) = self.kernel.have() else { return };
        expected.0.retain(|key, _| self.owned.contains(key));
        let ops = plan(have, &expected, &self.owned, &Places::new());
        let touched: BTreeSet<_> = ops.iter().map(Op::service).collect();
        if !touched.is_empty() {
            let services = touched.iter().copied().collect();
            self.touched.extend(touched);
            self.report(DirectorEvent::Touched { services });
        }
    }

    /// Reports where another pool serves in the kernel's table than before.
    pub(super) fn note_serving(&mut self) {
        let Some(have) = self.kernel.have() else { return };
        let mut events = Vec::new();
        let mut serving = BTreeMap::new();
        for service in self.directors.iter().flat_map(|director| &director.services) {
            let now = Serving::of(service, have);
            let before = self.serving.get(&service.key).copied().unwrap_or_default();
            let left = self.pools.get(&service.key).is_some_and(|pools| pools.strength > 0);
            events.extend(now.events(before, service, left));
            serving.insert(service.key, now);
        }
        self.serving = serving;
        events.into_iter().for_each(|event| self.report(event));
    }
}

/// Which of a service's pools other than the primary one serve in the kernel's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Serving {
    pub(super) backup: bool,
    pub(super) sorry: bool,
}

impl Serving {
    fn of(service: &VirtualService, have: &Table) -> Self {
        let entry = have.0.get(&service.key);
        let serves = |server: &RealServer| {
            let dest = entry.and_then(|entry| entry.dests.get(&server.key));
            dest.is_some_and(|dest| dest.weight > 0)
        };
        Self {
            backup: service.backup.iter().any(serves),
            sorry: service.fallback.as_ref().is_some_and(serves),
        }
    }

    /// `left`: there are primary servers that could serve.
    fn events(self, before: Self, service: &VirtualService, left: bool) -> Vec<DirectorEvent> {
        let mut events = Vec::new();
        let key = service.key;
        match (before.backup, self.backup) {
            (false, true) => events.push(DirectorEvent::BackupIn { service: key, left }),
            (true, false) => events.push(DirectorEvent::BackupOut { service: key }),
            _ => {}
        }
        let Some(fallback) = service.fallback.as_ref().map(|sorry| sorry.key) else {
            return events;
        };
        match (before.sorry, self.sorry) {
            (false, true) => events.push(DirectorEvent::SorryIn { service: key, fallback, left }),
            (true, false) => events.push(DirectorEvent::SorryOut { service: key, fallback }),
            _ => {}
        }
        events
    }
}

/// What to report of a server whose state may just have changed.
pub(super) fn turned(
    now: Instant,
    health: &Health,
    service: &VirtualService,
    real: &RealServer,
) -> Vec<DirectorEvent> {
    let standing = health.standing(service, real);
    if standing.since != now {
        return Vec::new();
    }
    let changes = health.changes(now, service, real);
    let sorry = service.fallback.as_ref().is_some_and(|sorry| std::ptr::eq(sorry, real));
    let (service, real) = (service.key, real.key);
    let flaps = standing.flapping == Some(now);
    let flaps = flaps.then_some(DirectorEvent::Flapping { service, real, changes });
    let turned = match standing.state {
        State::Up if sorry => Some(DirectorEvent::SorryUp { service, fallback: real }),
        State::Down(Some(cause)) if sorry => {
            Some(DirectorEvent::SorryDown { service, fallback: real, cause })
        }
        State::Up => Some(DirectorEvent::RealUp { service, real }),
        State::Down(Some(cause)) => Some(DirectorEvent::RealDown { service, real, cause }),
        State::Down(None) | State::Unknown => None,
    };
    turned.into_iter().chain(flaps).collect()
}
