//! What the directors tell each other, a little with each beat.
//!
//! What operators have ordered is told until the peer knows everything, verdicts for as long as
//! this node serves: what has changed first, the rest in turn.
//!
//! The books themselves are `lvs::overrides`'s; here is only what is told and when. Nothing is
//! acknowledged: both say what all that they know amounts to, and as long as the two differ each
//! tells some of its own in turn.

use std::collections::BTreeSet;

use crate::cluster::message::{VERDICT_BYTES_MAX, Verdicts, WORDS_MAX, Word, Words};

/// As many verdicts are in a byte.
const STATES_PER_BYTE: usize = 4;

/// Our side of it.
#[derive(Debug, Default)]
pub(super) struct Telling {
    digest: u64,
    all: Vec<Word>,
    /// What the peer's amounted to, as far as it has said since its start.
    theirs: Option<u64>,
    /// Which is told next.
    next: usize,
    /// Ours, all of them.
    verdicts: Verdicts,
    /// The parts of them that have changed since they were told last.
    changed: BTreeSet<usize>,
    /// The part that is told next when none has.
    turn: usize,
}

impl Telling {
    /// All that is known here now.
    pub(super) fn replace(&mut self, digest: u64, all: Vec<Word>) {
        (self.digest, self.all, self.next) = (digest, all, 0);
    }

    /// The verdicts of now.
    pub(super) fn judge(&mut self, verdicts: Verdicts) {
        let parts = verdicts.states.chunks(VERDICT_BYTES_MAX);
        self.changed.retain(|n| *n < parts.len());
        let same = self.verdicts.list == verdicts.list;
        let mut before = self.verdicts.states.chunks(VERDICT_BYTES_MAX).filter(|_| same);
        for (n, part) in parts.enumerate() {
            if before.next() != Some(part) {
                self.changed.insert(n);
            }
        }
        self.verdicts = verdicts;
    }

    /// The part of the verdicts that the next beat tells.
    fn next_verdicts(&mut self) -> Option<Verdicts> {
        let parts = self.verdicts.states.len().div_ceil(VERDICT_BYTES_MAX);
        let turn = self.turn.checked_rem(parts)?;
        let part = self.changed.pop_first().unwrap_or_else(|| {
            self.turn = turn + 1;
            turn
        });
        let states = self.verdicts.states.chunks(VERDICT_BYTES_MAX).nth(part)?.to_vec();
        let first = u16::try_from(part * VERDICT_BYTES_MAX * STATES_PER_BYTE).ok()?;
        Some(Verdicts { list: self.verdicts.list, first, states })
    }

    /// Another session of the peer: it has not said anything yet.
    pub(super) fn greet(&mut self) {
        self.theirs = None;
    }

    /// What the next beat says.
    pub(super) fn next(&mut self) -> Words {
        let mut told = Vec::new();
        if self.theirs.is_some_and(|theirs| theirs != self.digest) {
            for _ in 0..WORDS_MAX.min(self.all.len()) {
                self.next %= self.all.len();
                told.extend(self.all.get(self.next).cloned());
                self.next += 1;
            }
        }
        Words { digest: self.digest, told, verdicts: self.next_verdicts() }
    }

    /// What the peer has told, where there can be something new in it.
    pub(super) fn heard(&mut self, words: Words) -> Option<Vec<Word>> {
        self.theirs = Some(words.digest);
        (words.digest != self.digest && !words.told.is_empty()).then_some(words.told)
    }

    /// The peer's digest; `None` until it has said anything.
    pub(super) fn theirs(&self) -> Option<u64> {
        self.theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(stamp: u64) -> Word {
        Word { stamp, text: format!("word {stamp}") }
    }

    #[test]
    fn words_are_told_in_turn_until_the_peer_knows_them() {
        let mut telling = Telling::default();
        assert_eq!(telling.next(), Words::default());
        telling.replace(7, (0..5).map(word).collect());
        assert_eq!(telling.next().told, [], "the peer has not said what it knows");
        assert_eq!(telling.heard(Words::default()), None);
        let mut told: Vec<u64> = Vec::new();
        for _ in 0..3 {
            told.extend(telling.next().told.iter().map(|word| word.stamp));
        }
        assert_eq!(told, [0, 1, 2, 3, 4, 0]);
        assert_eq!(telling.theirs(), Some(0));
        assert_eq!(telling.heard(Words { digest: 7, told: vec![word(9)], verdicts: None }), None);
        assert_eq!(telling.next(), Words { digest: 7, told: vec![], verdicts: None });
        let news = Words { digest: 8, told: vec![word(9)], verdicts: None };
        assert_eq!(telling.heard(news), Some(vec![word(9)]));
        telling.greet();
        assert_eq!((telling.theirs(), telling.next().told), (None, vec![]));
    }

    #[test]
    fn verdicts_are_told_in_turn_and_those_that_change_at_once() {
        let mut telling = Telling::default();
        assert_eq!(telling.next().verdicts, None);
        let all = |states: Vec<u8>| Verdicts { list: 7, first: 0, states };
        let mut states = vec![0x55; 2 * VERDICT_BYTES_MAX + 1];
        telling.judge(all(states.clone()));
        let firsts = |telling: &mut Telling, beats: usize| -> Vec<u16> {
            (0..beats).map(|_| telling.next().verdicts.unwrap().first).collect()
        };
        assert_eq!(firsts(&mut telling, 5), [0, 512, 1024, 0, 512]);
        states[0] = 0x56;
        telling.judge(all(states));
        assert_eq!(firsts(&mut telling, 3), [0, 1024, 0]);
        let last = telling.next().verdicts.unwrap();
        assert_eq!((last.first, last.states.len()), (512, VERDICT_BYTES_MAX));
        telling.judge(Verdicts::default());
        assert_eq!(telling.next().verdicts, None);
    }
}
