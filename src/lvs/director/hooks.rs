//! What programs have been told of the services, and what they are to be told next.
//!
//! A program is told a state, not a change: of what comes and goes while one runs it learns the end only.
//! So each service has at most one program of a kind running, and nothing waits in a queue. A
//! program that fails is not run again until the state changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Control, DirectorEvent, Output, Phase};
use crate::lvs::model::{ServiceKey, VirtualService};
use crate::lvs::notify::{Notify, Program, RunFailure, told_of};
use crate::lvs::pool::{is_lost, is_quorate};
use crate::lvs::table::Wish;
use crate::time::Instant;

/// Longest run of a program; then it is killed with its process group. Long enough to restart a
/// web server, short enough that one that hangs is noticed within the minute.
pub const RUN_LIMIT: Duration = Duration::from_secs(30);

/// How much later than that its end must be known: it may have waited for its turn, and a killed
/// one is given seconds to go.
pub(super) const RUN_GRACE: Duration = Duration::from_secs(60);

/// One order to run a program. Never used twice by one control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// What a program is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// Whether the sorry server's time has come.
    Fallback,
    /// Whether the primary pool has its quorum.
    Quorum,
}

/// Of which service what.
type Topic = (ServiceKey, Subject);

/// A state, as what is run to tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Telling {
    /// What is run; `None`: this state is told to nobody.
    run: Option<Program>,
    /// What is run when nobody is told of it any more; `None`: nothing has to be taken back.
    undo: Option<Program>,
}

/// A `fallbackcommand` (ldirectord(8)): `start` when no server of the pool takes connections, `stop`
/// when one does again, and when a director that has said `start` ends.
fn fallback(command: &Program, service: &ServiceKey, lost: bool) -> Telling {
    let line = |verb: &str| command.with([verb.to_owned()].into_iter().chain(told_of(service)));
    match lost {
        true => Telling { run: Some(line("start")), undo: Some(line("stop")) },
        false => Telling { run: Some(line("stop")), undo: None },
    }
}

/// What is to be told of a service, with what is known of it; `None` with a subject: not known yet.
fn subjects(
    service: &VirtualService,
    wish: Wish<'_>,
) -> impl Iterator<Item = (Subject, Option<Telling>)> {
    let Notify { fallback_command, quorum_up, quorum_down, .. } = &service.notify;
    let lost = fallback_command.as_ref().map(|command| {
        let telling = is_lost(service, wish).map(|lost| fallback(command, &service.key, lost));
        (Subject::Fallback, telling)
    });
    let heard = quorum_up.is_some() || quorum_down.is_some();
    let quorum = heard.then(|| {
        let telling = is_quorate(service, wish).map(|quorate| match quorate {
            true => {
                let undo = quorum_up.as_ref().and(quorum_down.clone());
                Telling { run: quorum_up.clone(), undo }
            }
            false => Telling { run: quorum_down.clone(), undo: None },
        });
        (Subject::Quorum, telling)
    });
    lost.into_iter().chain(quorum)
}

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    told: BTreeMap<Topic, Told>,
    last: u64,
}

#[derive(Debug)]
struct Told {
    telling: Telling,
    running: Option<(RunId, Instant)>,
}

impl Hooks {
    /// The programs to run so that all is told that is `wished`; a topic of which nothing is known
    /// yet (`None`) stays as it was told. What is no longer wished is taken back.
    fn follow(
        &mut self,
        now: Instant,
        wished: BTreeMap<Topic, Option<Telling>>,
    ) -> Vec<(RunId, ServiceKey, Program)> {
        let mut runs = Vec::new();
        for (topic, told) in &mut self.told {
            if wished.contains_key(topic) || told.running.is_some() {
                continue;
            }
            if let Some(undo) = told.telling.undo.take() {
                let id = next(&mut self.last);
                told.running = Some((id, now));
                runs.push((id, topic.0, undo.clone()));
                told.telling.run = Some(undo);
            }
        }
        self.told.retain(|topic, told| wished.contains_key(topic) || told.running.is_some());
        for (topic, telling) in wished {
            let Some(telling) = telling else { continue };
            match self.told.get_mut(&topic) {
                Some(told) if told.running.is_some() => continue,
                Some(told) if told.telling.run == telling.run => {
                    told.telling.undo = telling.undo;
                    continue;
                }
                _ => {}
            }
            let running = telling.run.clone().map(|program| {
                let id = next(&mut self.last);
                runs.push((id, topic.0, program));
                (id, now)
            });
            self.told.insert(topic, Told { telling, running });
        }
        runs
    }

    /// A program has ended; the service that it was told of. `None` for a late answer.
    fn ended(&mut self, id: RunId) -> Option<ServiceKey> {
        let of = |told: &Told| told.running.is_some_and(|(running, _)| running == id);
        let (topic, told) = self.told.iter_mut().find(|(_, told)| of(told))?;
        told.running = None;
        Some(topic.0)
    }

    /// Programs that have been silent for longer than they may; they count as ended.
    fn overdue(&mut self, now: Instant) -> Vec<ServiceKey> {
        let mut late = Vec::new();
        for (topic, told) in &mut self.told {
            if told.running.take_if(|(_, since)| now >= since.plus(LIMIT)).is_some() {
                late.push(topic.0);
            }
        }
        late
    }

    /// Forgets all but the numbers of orders.
    pub(super) fn forget(&mut self) {
        self.told.clear();
    }

    /// Whether nothing runs.
    pub(super) fn is_idle(&self) -> bool {
        self.told.values().all(|told| told.running.is_none())
    }

    /// When a program has been silent for too long.
    pub(super) fn deadline(&self) -> Instant {
        let running = self.told.values().filter_map(|told| told.running);
        running.map(|(_, since)| since.plus(LIMIT)).min().unwrap_or(Instant::NEVER)
    }
}

impl Control {
    pub(super) fn ran(&mut self, id: RunId, result: Result<(), RunFailure>) {
        let Some(service) = self.hooks.ended(id) else { return };
        self.unheard = true;
        // A stop looks again whether it is at its end.
        self.dirty |= matches!(self.phase, Phase::Stopping { .. });
        if let Err(why) = result {
            self.report(DirectorEvent::NotTold { service, why });
        }
    }

    /// Orders programs to be told what they have not been told yet.
    pub(super) fn run_hooks(&mut self, now: Instant) {
        for service in self.hooks.overdue(now) {
            self.unheard = true;
            self.report(DirectorEvent::NotTold { service, why: RunFailure::Unanswered });
        }
        if !std::mem::take(&mut self.unheard) {
            return;
        }
        let wished = self.wished(now);
        for (id, service, program) in self.hooks.follow(now, wished) {
            self.report(DirectorEvent::Told { service, command: program.to_string() });
            self.outputs.push_back(Output::Run { id, program });
        }
    }

    /// All that programs are to be told; nothing once the director stops. Only the node that serves
    /// tells anybody.
    fn wished(&self, now: Instant) -> BTreeMap<Topic, Option<Telling>> {
        if self.phase != Phase::Running {
            return BTreeMap::new();
        }
        let wish = self.wish(now);
        let leading = self.directors.iter().filter(|director| self.following.leads(&director.name));
        let services = leading.flat_map(|director| &director.services);
        let topics = services.flat_map(|service| {
            let told = subjects(service, wish);
            told.map(|(subject, telling)| ((service.key, subject), telling))
        });
        topics.collect()
    }
}

const LIMIT: Duration = RUN_LIMIT.saturating_add(RUN_GRACE);

fn next(last: &mut u64) -> RunId {
    *last += 1;
    RunId(*last)
}
