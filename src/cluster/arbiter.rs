//! Third parties that have a say: before a group is taken from a silent peer, and for as long as it
//! is held without contact to one. A peer that we hear, and that hears us nowhere, is no contact.
//!
//! A *witness* only shows that this node reaches the world. A *lease* is granted to one node at a
//! time: who holds the group keeps it alive, so that the other is refused in a split.
//!
//! ```text
//!   taker    peer dead - LAN free - asks ---- granted - silent for 2 deadtimes + lease/3 - starts
//!   holder   renews at every third - no answer - silent peer: stops when a third is left
//! ```
//!
//! The last third is the time that a stop may take; a holder without a grant stops as soon as the
//! peer is dead to it, which may be a deadtime later than the other way round, and the taker leaves
//! it the same third for that. The policy is a table in
//! docs/ARBITERS.md. Neighbours: `clearance` asks before it lets a group be taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Bar, Cause, Event, Manner, Output, OutsideOrder};
use crate::cluster::group::{Group, Role, Stance};
use crate::cluster::message::Hold;
use crate::cluster::outbox::Turn;
use crate::cluster::outside::{ArbiterAnswer, ArbiterSettings, ArbiterView};
use crate::cluster::peer::PeerState;
use crate::names::{ActionId, GroupId};
use crate::time::{Instant, millis};

/// How much longer the core waits for an answer than the driver for the arbiter.
const ANSWER_GRACE: Duration = Duration::from_secs(1);
/// From an answer that is no grant to the next question.
const AGAIN: Duration = Duration::from_secs(1);
/// The same while the group is served here and the key is still the peer's, who is just letting
/// go of it.
const AGAIN_SOON: Duration = Duration::from_millis(250);
/// How long a witness's word counts for a taking: another question of the service LAN, which may
/// take 200 ms, fits into it several times.
const WITNESS_FRESH: Duration = Duration::from_secs(2);
/// Questions in a row that a witness may leave unanswered before what is held is given up.
const WITNESS_TRIES: u32 = 3;
/// A lease is renewed when a third of it is over, and given up when a third is left.
const THIRDS: u32 = 3;

/// What one group knows of its arbiters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Arbitration {
    /// In the order of the settings; shorter before the first question.
    voices: Vec<Voice>,
    /// Since when it is held without contact to the peer.
    alone: Option<Instant>,
}

/// One arbiter's word on one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Voice {
    asked: Option<Asked>,
    said: Option<(ArbiterAnswer, Instant)>,
    /// Its grant is good until then.
    until: Option<Instant>,
    /// It may have granted the group to this node, in an earlier life of it too.
    claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    order: ActionId,
    at: Instant,
    until: Instant,
}

/// What one arbiter's word means for a taking.
enum Word {
    Yes,
    Wait,
    No(Bar),
}

impl Default for Voice {
    fn default() -> Self {
        Self { asked: None, said: None, until: None, claimed: true }
    }
}

impl ArbiterSettings {
    /// The time that a holder without a grant has for its stop.
    fn margin(&self) -> Duration {
        self.lease.unwrap_or_default() / THIRDS
    }

    /// How long the word of a witness carries what is held.
    fn patience(&self) -> Duration {
        (self.timeout + AGAIN) * WITNESS_TRIES
    }
}

impl Voice {
    /// When it is to be asked next while the group is held.
    fn next(&self, arbiter: &ArbiterSettings, freed: bool) -> Option<Instant> {
        let Some((answer, at)) = &self.said else { return None };
        Some(match answer {
            ArbiterAnswer::Granted if arbiter.lease.is_some() => {
                self.until.unwrap_or(*at).minus(arbiter.margin() * (THIRDS - 1)).max(*at)
            }
            ArbiterAnswer::Held(_) if freed => at.plus(AGAIN_SOON),
            _ => at.plus(AGAIN),
        })
    }

    /// When what is held is to be given up, if it says nothing more.
    fn lost_at(&self, arbiter: &ArbiterSettings, alone: Instant) -> Instant {
        let held = matches!(&self.said, Some((ArbiterAnswer::Held(_), at)) if *at >= alone);
        match arbiter.lease {
            Some(_) if held => alone,
            _ if !arbiter.required => Instant::NEVER,
            Some(_) => self.until.map_or(alone, |until| until.minus(arbiter.margin())).max(alone),
            None => self.until.map_or(alone, |until| until.max(alone)).plus(arbiter.patience()),
        }
    }

    fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        arbiter: &ArbiterSettings,
        (place, group): (usize, GroupId),
    ) {
        if self.asked.is_some() {
            return;
        }
        let order = turn.outbox.new_action();
        let until = turn.now.plus(arbiter.timeout).plus(ANSWER_GRACE);
        self.asked = Some(Asked { order, at: turn.now, until });
        self.claimed = true;
        let ask = OutsideOrder::Ask { order, arbiter: number(place), group };
        turn.outbox.push(Output::Outside(ask));
    }

    fn weigh(&self, turn: &Turn<'_>, arbiter: &ArbiterSettings, contact: Instant) -> Word {
        let Some((answer, at)) = &self.said else { return Word::Wait };
        let fresh = turn.now < at.plus(WITNESS_FRESH);
        match (answer, arbiter.lease) {
            (ArbiterAnswer::Held(_), _) => Word::No(Bar::Held),
            (ArbiterAnswer::Granted, None) if fresh => Word::Yes,
            (ArbiterAnswer::Granted, Some(_)) => {
                let good = self.until.is_some_and(|it| turn.now < it.minus(arbiter.margin()));
                // The holder may have heard us for almost a deadtime after we last heard it.
                let left = turn.settings.deadtime * 2 + arbiter.margin();
                if good && turn.now >= contact.plus(left) { Word::Yes } else { Word::Wait }
            }
            (ArbiterAnswer::Unreachable(_), _) if arbiter.required && !turn.fence.confirmed() => {
                Word::No(Bar::Unreachable)
            }
            (ArbiterAnswer::Unreachable(_), _) if fresh => Word::Yes,
            (ArbiterAnswer::Granted | ArbiterAnswer::Unreachable(_), _) => Word::Wait,
        }
    }
}

impl Arbitration {
    /// One voice for each arbiter.
    fn seat(&mut self, arbiters: usize) {
        self.voices.resize_with(arbiters, Voice::default);
    }

    /// This node stood still: what was granted ran on meanwhile.
    pub(super) fn stood_still(&mut self, late: Duration) {
        for voice in &mut self.voices {
            voice.until = voice.until.map(|until| until.minus(late));
            if let Some(asked) = &mut voice.asked {
                asked.at = asked.at.minus(late);
            }
        }
    }

    /// Whether a grant of a lease has ended, be it while this node stood still: by now the arbiter
    /// may have granted the group to a peer that is back.
    fn ran_out(&self, arbiters: &[ArbiterSettings], now: Instant) -> bool {
        self.voices.iter().zip(arbiters).any(|(voice, arbiter)| {
            arbiter.lease.is_some() && voice.until.is_some_and(|until| now >= until)
        })
    }

    /// Whether an arbiter of a lease, of which there is no grant, says nothing: a peer that is back
    /// may hear another word from it.
    fn unheard(&self, arbiters: &[ArbiterSettings]) -> bool {
        self.voices.iter().zip(arbiters).any(|(voice, arbiter)| {
            let silent = matches!(&voice.said, Some((ArbiterAnswer::Unreachable(_), _)));
            arbiter.lease.is_some() && silent && voice.until.is_none()
        })
    }

    /// What each of them said last.
    pub(super) fn view(&self, arbiters: &[ArbiterSettings], now: Instant) -> Vec<ArbiterView> {
        let said = |place: usize| self.voices.get(place).and_then(|voice| voice.said.as_ref());
        let each = arbiters.iter().enumerate();
        each.map(|(place, arbiter)| ArbiterView {
            name: arbiter.name.clone(),
            answer: said(place).map(|(answer, _)| answer.clone()),
            ago_ms: said(place).map(|(_, at)| millis(now.since(*at))),
        })
        .collect()
    }

    /// When something here is to be done.
    pub(super) fn deadlines(
        &self,
        arbiters: &[ArbiterSettings],
    ) -> impl Iterator<Item = (Instant, &'static str)> {
        self.voices.iter().zip(arbiters).flat_map(move |(voice, arbiter)| {
            let asked = voice.asked.map(|asked| asked.until);
            let next = voice.next(arbiter, true);
            let lost = self.alone.map(|alone| voice.lost_at(arbiter, alone));
            let stale = voice.said.as_ref().map(|(_, at)| at.plus(WITNESS_FRESH));
            [asked, next, lost, stale].into_iter().flatten().map(|at| (at, "arbiter"))
        })
    }
}

impl Group {
    /// An arbiter's answer; false when nobody waits for it.
    pub(super) fn judged(
        &mut self,
        turn: &mut Turn<'_>,
        order: ActionId,
        answer: &ArbiterAnswer,
    ) -> bool {
        let waits = |voice: &Voice| voice.asked.is_some_and(|asked| asked.order == order);
        let Some(place) = self.arbitration.voices.iter().position(waits) else { return false };
        let Some(arbiter) = turn.settings.outside.arbiters.get(place) else { return false };
        let Some(voice) = self.arbitration.voices.get_mut(place) else { return false };
        let Some(asked) = voice.asked.take() else { return false };
        if *answer == ArbiterAnswer::Granted {
            voice.until = Some(match arbiter.lease {
                Some(lease) => asked.at.plus(lease),
                None => turn.now,
            });
        }
        let before = voice.said.replace((answer.clone(), turn.now)).map(|(answer, _)| answer);
        if before.as_ref().is_none_or(|before| !same_kind(before, answer)) {
            turn.outbox.report(Event::Arbiter {
                group: self.settings.name.clone(),
                arbiter: arbiter.name.clone(),
                answer: answer.clone(),
            });
        }
        true
    }

    /// Time passes: questions run out, leases are kept or let go of, and what must not be held is
    /// stopped.
    pub(super) fn step_arbiters(&mut self, turn: &mut Turn<'_>) {
        self.arbitration.seat(turn.settings.outside.arbiters.len());
        self.overdue(turn);
        match self.role {
            Role::Idle { .. } | Role::Claiming { .. } => {
                self.arbitration.alone = None;
                if !turn.peer.long_gone(turn.now) && !self.unheard(turn, Duration::ZERO) {
                    self.let_go(turn);
                }
            }
            Role::Starting { .. }
            | Role::Active { .. }
            | Role::Mending { .. }
            | Role::Stopping { .. }
            | Role::Stuck { .. } => self.keep(turn),
        }
    }

    fn overdue(&mut self, turn: &mut Turn<'_>) {
        let late = |voice: &Voice| voice.asked.filter(|asked| turn.now >= asked.until);
        let late: Vec<ActionId> =
            self.arbitration.voices.iter().filter_map(late).map(|asked| asked.order).collect();
        for order in late {
            let why = "no answer in time".to_owned();
            self.judged(turn, order, &ArbiterAnswer::Unreachable(why));
        }
    }

    /// What may have been granted and is not wanted is given back, once.
    fn let_go(&mut self, turn: &mut Turn<'_>) {
        let arbiters = turn.settings.outside.arbiters.iter();
        for (place, (voice, arbiter)) in
            self.arbitration.voices.iter_mut().zip(arbiters).enumerate()
        {
            if arbiter.lease.is_some() && voice.claimed {
                let order = OutsideOrder::Release { arbiter: number(place), group: self.id };
                turn.outbox.push(Output::Outside(order));
            }
            *voice = Voice { claimed: false, ..Voice::default() };
        }
    }

    /// While it is held: leases are renewed; alone, every arbiter is asked.
    fn keep(&mut self, turn: &mut Turn<'_>) {
        let alone = match turn.peer.state() {
            PeerState::Dead => true,
            PeerState::Left => {
                let (arbiters, silent) =
                    (&turn.settings.outside.arbiters, turn.peer.silent(turn.now));
                silent >= self.farewell_patience(turn)
                    || self.arbitration.ran_out(arbiters, turn.now)
                    || (silent >= turn.settings.deadtime && self.arbitration.unheard(arbiters))
            }
            PeerState::Alive => turn.peer.is_deaf(),
            // It went on with what an earlier process held, and has heard nobody since.
            PeerState::Unknown => turn.peer.silent(turn.now) >= turn.settings.deadtime,
        };
        self.arbitration.alone = match self.arbitration.alone {
            _ if !alone => None,
            Some(since) => Some(since),
            None => Some(turn.now),
        };
        let freed = turn.peer.claim(&self.settings.name).hold == Hold::Nothing;
        let arbiters = &turn.settings.outside.arbiters;
        for (place, (voice, arbiter)) in
            self.arbitration.voices.iter_mut().zip(arbiters).enumerate()
        {
            let due = voice.next(arbiter, freed).is_none_or(|at| turn.now >= at);
            if (arbiter.lease.is_some() || alone) && due {
                voice.ask(turn, arbiter, (place, self.id));
            }
        }
        self.give_up(turn);
    }

    /// How long the key of a peer that left may stay where nobody took it away: a core that died
    /// could not.
    fn farewell_patience(&self, turn: &Turn<'_>) -> Duration {
        let leases = turn.settings.outside.arbiters.iter().filter_map(|arbiter| arbiter.lease);
        turn.settings.deadtime + leases.max().unwrap_or_default() + ANSWER_GRACE
    }

    fn give_up(&mut self, turn: &mut Turn<'_>) {
        let Some(alone) = self.arbitration.alone else { return };
        let serves =
            matches!(self.role, Role::Starting { .. } | Role::Active { .. } | Role::Mending { .. });
        let confirmed = turn.fence.confirmed();
        let mut each = self.arbitration.voices.iter().zip(&turn.settings.outside.arbiters);
        let lost = each.any(|(voice, arbiter)| {
            let held = matches!(&voice.said, Some((ArbiterAnswer::Held(_), _)));
            turn.now >= voice.lost_at(arbiter, alone) && (held || !confirmed)
        });
        if serves && lost {
            self.stop(turn, Cause::ArbiterLost, Manner::Alone, Stance::Willing);
        }
    }

    /// Whether no arbiter stands against taking the group from a peer that is dead to us, or to
    /// which we are; or what does. `None`: it is not known yet. `contact`: when both last heard
    /// each other, at the latest.
    pub(super) fn consult(
        &mut self,
        turn: &mut Turn<'_>,
        contact: Instant,
    ) -> Option<Result<(), Bar>> {
        let mut verdict = Some(Ok(()));
        let arbiters = &turn.settings.outside.arbiters;
        for (place, (voice, arbiter)) in
            self.arbitration.voices.iter_mut().zip(arbiters).enumerate()
        {
            let word = voice.weigh(turn, arbiter, contact);
            let due = match word {
                Word::Yes if arbiter.lease.is_none() => false,
                Word::Wait if arbiter.lease.is_none() => true,
                _ => voice.next(arbiter, false).is_none_or(|at| turn.now >= at),
            };
            if due {
                voice.ask(turn, arbiter, (place, self.id));
            }
            verdict = match (verdict, word) {
                (Some(Err(bar)), _) | (_, Word::No(bar)) => Some(Err(bar)),
                (None, _) | (_, Word::Wait) => None,
                (Some(Ok(())), Word::Yes) => Some(Ok(())),
            };
        }
        verdict
    }
}

fn same_kind(one: &ArbiterAnswer, other: &ArbiterAnswer) -> bool {
    match (one, other) {
        (ArbiterAnswer::Held(one), ArbiterAnswer::Held(other)) => one == other,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// There are at most [`crate::config::ARBITERS_MAX`].
fn number(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}
