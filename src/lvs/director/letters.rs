//! Letters from what they gather to their end. Knows no service: it is told what has happened, and
//! for which envelope.
//!
//! What happens within a moment goes into one letter, and an envelope has one letter under way at most;
//! what happens meanwhile gathers for the next. A relay that is dead is tried ever more rarely, and then
//! the letter is dropped: it holds up nothing but its own letters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lvs::mail::{About, Entry, Envelope, Letter, Mail, MailFailure, Relay};
use crate::time::{Instant, millis};

/// A letter waits so long for what else happens: a rack does not die in one instant.
pub const GATHER: Duration = Duration::from_secs(2);

/// From one letter of an envelope to its next; what happens meanwhile gathers. Two a minute is what
/// somebody reads.
pub const LETTER_PAUSE: Duration = Duration::from_secs(30);

/// So much of what has happened stands in one letter; the rest is counted. Two screens.
pub const ENTRIES_MAX: usize = 50;

/// Envelopes that gather at a time, and letters that wait: 64 letters of 50 entries are a megabyte.
pub const LETTERS_MAX: usize = 64;

/// Ways, the machine's own and relays, that are tried at a time, with one letter each: a process or
/// a connection.
pub const WAYS_MAX: usize = 8;

/// Longest try to hand a letter over. RFC 5321 section 4.5.3.2 allows minutes; the next try comes.
pub const MAIL_LIMIT: Duration = Duration::from_secs(30);

/// How much later than that its end must be known: a killed program is given seconds to go.
const MAIL_GRACE: Duration = Duration::from_secs(15);

/// How long after each failure it is tried again. Then the letter is dropped.
const RETRIES: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];

/// A director that stops waits so long for its last letters.
pub const LAST_LETTERS: Duration = Duration::from_secs(3);

/// One order to send a letter. Each try has its own; never used twice by one control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

/// All letters.
#[derive(Debug, Default)]
pub(super) struct Letters {
    gathering: BTreeMap<Envelope, Gathering>,
    /// In the order in which they were closed.
    waiting: BTreeMap<u64, Waiting>,
    /// When the last letter of an envelope was closed; forgotten after [`LETTER_PAUSE`].
    closed: BTreeMap<Envelope, Instant>,
    last: u64,
    crowded: usize,
    /// The end: everything leaves at once, and nobody waits longer.
    finish: Option<Instant>,
}

#[derive(Debug)]
struct Gathering {
    since: Instant,
    entries: Vec<Entry>,
    more: usize,
    about: Vec<About>,
}

#[derive(Debug)]
struct Waiting {
    letter: Letter,
    tries: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    UnderWay(LetterId, Instant),
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) letter: Letter,
    /// Why it came to nothing, and when it is tried again; `None`: never.
    pub(super) failed: Option<(String, Option<Duration>)>,
}

impl Waiting {
    fn way(&self) -> &Option<Relay> {
        &self.letter.envelope.relay
    }
}

impl Letters {
    /// Something has happened that is worth a letter.
    pub(super) fn hear(&mut self, now: Instant, mail: &Mail, about: About, entry: Entry) {
        if !mail.stages.has(entry.stage) {
            return;
        }
        let crowded = self.gathering.len() >= LETTERS_MAX;
        if crowded && !self.gathering.contains_key(&mail.envelope) {
            self.crowded += 1;
            return;
        }
        let gathering = self.gathering.entry(mail.envelope.clone()).or_insert_with(|| Gathering {
            since: now,
            entries: Vec::new(),
            more: 0,
            about: Vec::new(),
        });
        if gathering.entries.len() >= ENTRIES_MAX {
            gathering.more += 1;
            return;
        }
        gathering.entries.push(entry);
        if !gathering.about.contains(&about) {
            gathering.about.push(about);
        }
    }

    /// How much was not written down for want of room, since this was asked last.
    pub(super) fn crowded(&mut self) -> usize {
        std::mem::take(&mut self.crowded)
    }

    /// Letters to send now.
    pub(super) fn advance(&mut self, now: Instant) -> Vec<(LetterId, Letter)> {
        self.close(now);
        let mut orders = Vec::new();
        let mut busy = self.busy();
        for waiting in self.waiting.values_mut() {
            let due = matches!(waiting.state, State::Due(at) if at <= now);
            if due && busy.len() < WAYS_MAX && busy.insert(waiting.way().clone()) {
                self.last += 1;
                let id = LetterId(self.last);
                waiting.state = State::UnderWay(id, now);
                waiting.tries += 1;
                orders.push((id, waiting.letter.clone()));
            }
        }
        orders
    }

    /// Closes the letters whose time has come.
    fn close(&mut self, now: Instant) {
        self.closed.retain(|_, at| at.plus(LETTER_PAUSE) > now);
        let due = self.gathering.keys().filter(|envelope| self.closes_at(envelope) <= now);
        for envelope in due.cloned().collect::<Vec<_>>() {
            if self.waiting.len() >= LETTERS_MAX {
                break;
            }
            let Some(gathering) = self.gathering.remove(&envelope) else { continue };
            let Gathering { entries, more, about, .. } = gathering;
            self.closed.insert(envelope.clone(), now);
            self.last += 1;
            let letter = Letter { envelope, entries, more, about };
            let waiting = Waiting { letter, tries: 0, state: State::Due(now) };
            self.waiting.insert(self.last, waiting);
        }
    }

    /// When what gathers for an envelope is to leave; [`Instant::NEVER`] while a letter before it
    /// has not.
    fn closes_at(&self, envelope: &Envelope) -> Instant {
        let Some(gathering) = self.gathering.get(envelope) else { return Instant::NEVER };
        if self.finish.is_some() {
            return gathering.since;
        }
        if self.waiting.values().any(|waiting| waiting.letter.envelope == *envelope) {
            return Instant::NEVER;
        }
        let before = self.closed.get(envelope).map(|at| at.plus(LETTER_PAUSE));
        gathering.since.plus(GATHER).max(before.unwrap_or(Instant::BOOT))
    }

    fn busy(&self) -> BTreeSet<Option<Relay>> {
        let busy = self.waiting.values().filter(|it| matches!(it.state, State::UnderWay(..)));
        busy.map(|waiting| waiting.way().clone()).collect()
    }

    /// A try has ended. `None` for a late answer.
    pub(super) fn tried(
        &mut self,
        now: Instant,
        id: LetterId,
        result: Result<(), MailFailure>,
    ) -> Option<Tried> {
        let is_it = |waiting: &Waiting| matches!(waiting.state, State::UnderWay(it, _) if it == id);
        let (place, waiting) = self.waiting.iter_mut().find(|(_, waiting)| is_it(waiting))?;
        let place = *place;
        let again = waiting.tries.checked_sub(1).and_then(|nth| RETRIES.get(nth)).copied();
        let failed = match result {
            Ok(()) => None,
            Err(MailFailure { why, for_good }) => {
                Some((why, again.filter(|_| !for_good && self.finish.is_none())))
            }
        };
        if let Some((_, Some(pause))) = &failed {
            waiting.state = State::Due(now.plus(*pause));
            return Some(Tried { letter: waiting.letter.clone(), failed });
        }
        let Waiting { letter, .. } = self.waiting.remove(&place)?;
        Some(Tried { letter, failed })
    }

    /// Tries that have been silent for longer than they may; they count as failed.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Tried> {
        let late = self.waiting.values().filter_map(|waiting| match waiting.state {
            State::UnderWay(id, since) if now >= since.plus(LIMIT) => Some(id),
            State::UnderWay(..) | State::Due(_) => None,
        });
        let late: Vec<LetterId> = late.collect();
        let silent = || MailFailure::passing("nothing was heard of it");
        late.into_iter().filter_map(|id| self.tried(now, id, Err(silent()))).collect()
    }

    /// From now on everything leaves at once, for so long.
    pub(super) fn finish(&mut self, now: Instant) {
        self.finish.get_or_insert(now.plus(LAST_LETTERS));
    }

    /// It goes on after all.
    pub(super) fn resume(&mut self) {
        self.finish = None;
    }

    /// Whether nothing more leaves that a stop would wait for.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        self.finish.is_some_and(|end| now >= end) || !self.is_leaving()
    }

    /// Whether something has not been tried once, or is being tried.
    fn is_leaving(&self) -> bool {
        let mut waiting = self.waiting.values();
        !self.gathering.is_empty()
            || waiting.any(|it| it.tries == 0 || matches!(it.state, State::UnderWay(..)))
    }

    /// The end: the letters that have not left.
    pub(super) fn forget(&mut self) -> Vec<Letter> {
        let last = self.last;
        let left = std::mem::replace(self, Self { last, ..Self::default() });
        let gathered = left.gathering.into_iter().map(|(envelope, gathering)| {
            let Gathering { entries, more, about, .. } = gathering;
            Letter { envelope, entries, more, about }
        });
        left.waiting.into_values().map(|waiting| waiting.letter).chain(gathered).collect()
    }

    /// When to come back.
    pub(super) fn deadline(&self) -> Instant {
        let busy = self.busy();
        let waiting = self.waiting.values().map(|waiting| match waiting.state {
            State::UnderWay(_, since) => since.plus(LIMIT),
            State::Due(_) if busy.len() >= WAYS_MAX || busy.contains(waiting.way()) => {
                Instant::NEVER
            }
            State::Due(at) => at,
        });
        let room = self.waiting.len() < LETTERS_MAX;
        let gathering = self.gathering.keys().filter(|_| room).map(|it| self.closes_at(it));
        let finish = self.finish.filter(|_| self.is_leaving());
        waiting.chain(gathering).chain(finish).min().unwrap_or(Instant::NEVER)
    }
}

impl Tried {
    /// In how many seconds it is tried again.
    pub(super) fn again_s(again: Option<Duration>) -> Option<u64> {
        again.map(|pause| millis(pause) / 1000)
    }
}

const LIMIT: Duration = MAIL_LIMIT.saturating_add(MAIL_GRACE);
