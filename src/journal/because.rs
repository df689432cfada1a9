//! Joins each role change with what led to it.
//!
//! The core says of every change why it came; of the change that ends a series it says `done`. Here
//! the end is joined with the beginning of its series, with the stalls and failures on the way, and
//! with who asked.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::cluster::Evidence;
use crate::cluster::event::{Cause, Event, GroupState, Request};
use crate::journal::{Caller, words};
use crate::names::{GroupName, RequestId};
use crate::time::Instant;

/// How far back a stall of our own may have had a part in a decision: longer than any deadtime in
/// use.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(120);
/// Stalls and failures kept; more of them than that tell nothing new.
const KEPT_MAX: usize = 16;

/// What led to a role change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// What began the series of changes that this one belongs to.
    pub origin: Cause,
    /// How long ago it began, in milliseconds.
    pub since_ms: u64,
    /// The request behind it, where there was one on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What was known when the series began.
    pub evidence: Evidence,
    /// Stalls of our own in the two minutes before, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalls: Vec<Stall>,
    /// Actions that failed in this series, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// A hand-over from here: for how long both nodes served, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_ms: Option<u64>,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// As in the log.
    pub id: u64,
    /// Who; `None` for a signal.
    pub by: Option<Caller>,
}

/// A stall of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// How long before the change it ended, in milliseconds.
    pub ago_ms: u64,
    /// How long it was.
    pub late_ms: u64,
}

/// One group's series of changes that has not come to its end, or the last one.
#[derive(Debug, Clone)]
struct Series {
    begun: Instant,
    origin: Cause,
    asked: Option<Asked>,
    evidence: Evidence,
    failures: Vec<String>,
    /// Since when both nodes have served.
    both: Option<Instant>,
}

/// What is known of open series, requests and stalls.
#[derive(Debug, Clone, Default)]
pub struct Chains {
    series: BTreeMap<GroupName, Series>,
    /// Failures that came before the change that they cause, as the core reports them.
    failed: BTreeMap<GroupName, Vec<String>>,
    /// Requests that have not been answered; bounded by the control socket's connections.
    open: BTreeMap<RequestId, (Request, Option<Caller>)>,
    stalls: VecDeque<(Instant, u64)>,
}

impl Chains {
    /// An operator has asked for something.
    pub fn asked(&mut self, id: RequestId, request: Request, by: Option<Caller>) {
        self.open.insert(id, (request, by));
    }

    /// It was answered; who had asked what.
    pub fn answered(&mut self, id: RequestId) -> Option<(Request, Option<Caller>)> {
        self.open.remove(&id)
    }

    /// An event of the core, in order. A role change comes with what the core knew then, and gets
    /// what led to it.
    pub fn event(
        &mut self,
        at: Instant,
        event: &Event,
        evidence: Option<Evidence>,
    ) -> Option<Because> {
        match event {
            Event::Stalled { late_ms } => {
                self.stalls.push_back((at, *late_ms));
                if self.stalls.len() > KEPT_MAX {
                    self.stalls.pop_front();
                }
                None
            }
            Event::ActionFailed { group, resource, operation, why } => {
                self.failure(group, words::failure(*resource, *operation, why));
                None
            }
            Event::ResourceFailed { group, resource, failures, why } => {
                self.failure(group, words::broken(*resource, *failures, why));
                None
            }
            Event::Role { group, state, cause, .. } => {
                Some(self.role(at, (group, *state, *cause), &evidence?))
            }
            _ => None,
        }
    }

    fn failure(&mut self, group: &GroupName, text: String) {
        let failed = self.failed.entry(group.clone()).or_default();
        if failed.len() < KEPT_MAX {
            failed.push(text);
        }
    }

    fn role(
        &mut self,
        at: Instant,
        (group, state, cause): (&GroupName, GroupState, Cause),
        evidence: &Evidence,
    ) -> Because {
        let failures = self.failed.remove(group).unwrap_or_default();
        let before = self.series.remove(group);
        let series = match before {
            Some(series) if follows(state, cause) => series,
            _ => Series {
                begun: at,
                origin: cause,
                asked: self.request(cause),
                evidence: evidence.clone(),
                failures: Vec::new(),
                both: None,
            },
        };
        let series = series.step(at, state, (evidence, failures));
        let because = Because {
            origin: series.origin,
            since_ms: millis(at, series.begun),
            asked: series.asked,
            evidence: series.evidence.clone(),
            stalls: self.stalls_before(at),
            failures: series.failures.clone(),
            overlap_ms: series
                .both
                .filter(|_| state == GroupState::Standby)
                .map(|since| millis(at, since)),
        };
        self.series.insert(group.clone(), series);
        because
    }

    /// The newest open request that asks for what this cause says.
    fn request(&self, cause: Cause) -> Option<Asked> {
        let fits = |request: &Request| match request {
            Request::Standby(_) => cause == Cause::Standby,
            Request::Takeover(_) => cause == Cause::Takeover,
            Request::Leave => cause == Cause::Leave,
            Request::Freeze(_) | Request::Restart | Request::ConfirmDead => false,
        };
        let mut open = self.open.iter().rev();
        let (id, (_, by)) = open.find(|(_, (request, _))| fits(request))?;
        Some(Asked { id: id.0, by: *by })
    }

    fn stalls_before(&self, at: Instant) -> Vec<Stall> {
        let recent = self.stalls.iter().filter(|(when, _)| at.since(*when) <= WINDOW);
        recent
            .map(|(when, late_ms)| Stall { ago_ms: millis(at, *when), late_ms: *late_ms })
            .collect()
    }
}

impl Series {
    fn step(
        mut self,
        at: Instant,
        state: GroupState,
        (evidence, failures): (&Evidence, Vec<String>),
    ) -> Self {
        let room = KEPT_MAX.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(room));
        let theirs = evidence.theirs.map(|theirs| theirs.hold);
        if state == GroupState::Stopping && theirs == Some(crate::cluster::message::Hold::Active) {
            self.both.get_or_insert(at);
        }
        self
    }
}

/// Whether a change with this cause belongs to the series before.
fn follows(state: GroupState, cause: Cause) -> bool {
    match cause {
        Cause::Completed | Cause::StartFailed | Cause::StopFailed => true,
        // Given up, after it was stopped for the same reason.
        Cause::ResourceFailed => state == GroupState::Failed,
        _ => false,
    }
}

fn millis(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
