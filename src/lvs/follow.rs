//! A standby that goes by the active node's verdicts instead of checking by itself
//! (`standby_checks = "active"`): half the checks at the real servers, and a table that is as warm.
//!
//! Both nodes have the same checks in the same order when they have the same configuration; the
//! digest of the list says whether they do. What is not told, or was told too long ago, a node
//! checks by itself: a peer that is dead, of another version or otherwise configured costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lvs::check::{CheckId, CheckSpec};
use crate::lvs::health::Health;
use crate::lvs::model::Director;
use crate::names::DirectorName;
use crate::time::Instant;

/// A told verdict counts for so long: a list of [`crate::lvs::check::CHECKS_MAX`] is told in twenty
/// beats, and the default keepalive is a second.
pub const FOLLOW_LIMIT: Duration = Duration::from_secs(30);

/// As many verdicts are in one byte.
pub const STATES_PER_BYTE: usize = 4;

const NOTHING: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// Verdicts of the node that serves, for the one that does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Stands for the list of checks that they belong to.
    pub list: u32,
    /// The first one's place in that list; a multiple of [`STATES_PER_BYTE`].
    pub first: u16,
    /// Two bits each, the lowest first: 0 nothing to say, 1 up, 2 down. Empty: nothing at all.
    pub states: Vec<u8>,
}

/// What a node leads and what it follows.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Directors whose groups are active here.
    lead: BTreeSet<DirectorName>,
    /// The checks in the order in which both nodes have them.
    order: Vec<CheckId>,
    list: u32,
    /// Checks that we tell of.
    told: BTreeSet<CheckId>,
    /// Checks that may be followed.
    open: BTreeSet<CheckId>,
    /// Checks that are followed, and until when.
    heard: BTreeMap<CheckId, Instant>,
    /// No verdict lapses before; `None`: none is followed.
    lapses: Option<Instant>,
}

impl Following {
    /// Begins or ceases to lead a director; false when nothing changes by it.
    pub(super) fn lead(&mut self, director: DirectorName, lead: bool) -> bool {
        if lead { self.lead.insert(director) } else { self.lead.remove(&director) }
    }

    /// Whether a director's group is active here.
    pub(super) fn leads(&self, director: &DirectorName) -> bool {
        self.lead.contains(director)
    }

    /// Finds out anew which checks are told and which may be followed.
    pub(super) fn sort_out(&mut self, directors: &[Director], health: &Health) {
        let specs = health.specs();
        self.order = specs.iter().map(|spec| spec.id).collect();
        self.list = digest(&specs);
        let mut own = BTreeSet::new();
        (self.told, self.open) = (BTreeSet::new(), BTreeSet::new());
        for director in directors {
            let reals = director.services.iter().flat_map(|service| {
                service.servers().flat_map(move |real| health.checks_of(service, real))
            });
            // An agent says more than can be told in two bits.
            let reals = reals.filter(|id| !health.is_agent(*id));
            let leads = self.lead.contains(&director.name);
            match (director.follow, leads) {
                (true, true) => self.told.extend(reals),
                (true, false) => self.open.extend(reals),
                (false, _) => own.extend(reals),
            }
        }
        // Who checks it for one service need not be told for another.
        self.open.retain(|id| !own.contains(id) && !self.told.contains(id));
        self.heard.retain(|id, _| self.open.contains(id));
    }

    /// Takes in what the other node says: the checks that it is about, with what is new.
    pub(super) fn hear(&mut self, now: Instant, verdicts: &Verdicts) -> Vec<(CheckId, bool)> {
        if verdicts.list != self.list {
            return Vec::new();
        }
        let ids = self.order.iter().skip(usize::from(verdicts.first)).copied();
        let heard = ids.zip(unpack(&verdicts.states));
        let said = heard.filter_map(|(id, said)| Some((id, said?)));
        let said: Vec<_> = said.filter(|(id, _)| self.open.contains(id)).collect();
        let until = now.plus(FOLLOW_LIMIT);
        if !said.is_empty() {
            self.lapses.get_or_insert(until);
        }
        self.heard.extend(said.iter().map(|(id, _)| (*id, until)));
        said
    }

    /// Forgets what was told too long ago; true when something was.
    pub(super) fn lapse(&mut self, now: Instant) -> bool {
        if self.deadline() > now {
            return false;
        }
        let before = self.heard.len();
        self.heard.retain(|_, until| *until > now);
        self.lapses = self.heard.values().min().copied();
        self.heard.len() != before
    }

    /// When the next verdict may lapse.
    pub(super) fn deadline(&self) -> Instant {
        self.lapses.unwrap_or(Instant::NEVER)
    }

    /// Whether the other node's word counts for this check.
    pub(super) fn is_heard(&self, id: CheckId) -> bool {
        self.heard.contains_key(&id)
    }

    /// Whether the other node is told of this check.
    pub(super) fn tells(&self, id: CheckId) -> bool {
        self.told.contains(&id)
    }

    /// How many checks are followed.
    pub(super) fn count(&self) -> usize {
        self.heard.len()
    }

    /// Everything that the other node should know.
    pub(super) fn tell(&self, health: &Health) -> Verdicts {
        if self.told.is_empty() {
            return Verdicts::default();
        }
        let state = |id: &CheckId| match health.agreed(*id).filter(|_| self.told.contains(id)) {
            Some(true) => UP,
            Some(false) => DOWN,
            None => NOTHING,
        };
        let pack = |ids: &[CheckId]| ids.iter().rev().fold(0, |byte, id| (byte << 2) | state(id));
        let states = self.order.chunks(STATES_PER_BYTE).map(pack).collect();
        Verdicts { list: self.list, first: 0, states }
    }
}

fn unpack(states: &[u8]) -> impl Iterator<Item = Option<bool>> {
    states.iter().flat_map(|byte| {
        [0, 2, 4, 6].map(|place| match (byte >> place) & 3 {
            UP => Some(true),
            DOWN => Some(false),
            _ => None,
        })
    })
}

/// Equal for equal lists, whatever the checks' numbers; says nothing about passwords in them.
fn digest(specs: &[CheckSpec]) -> u32 {
    let mut hash = Sha256::new();
    for spec in specs {
        hash.update(format!("{:?}\n", CheckSpec { id: CheckId(0), source: None, ..spec.clone() }));
    }
    let bytes: [u8; 32] = hash.finalize().into();
    u32::from_be_bytes(bytes.first_chunk().copied().unwrap_or_default())
}
