//! What operators have ordered, told to the peer a little with each beat until it knows everything.
//!
//! The books themselves are `lvs::overrides`'s; here is only what is told and when. Nothing is
//! acknowledged: both say what all that they know amounts to, and as long as the two differ each
//! tells some of its own in turn.

use crate::cluster::message::{WORDS_MAX, Word, Words};

/// Our side of it.
#[derive(Debug, Default)]
pub(super) struct Telling {
    digest: u64,
    all: Vec<Word>,
    /// What the peer's amounted to, as far as it has said since its start.
    theirs: Option<u64>,
    /// Which is told next.
    next: usize,
}

impl Telling {
    /// All that is known here now.
    pub(super) fn replace(&mut self, digest: u64, all: Vec<Word>) {
        (self.digest, self.all, self.next) = (digest, all, 0);
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
        Words { digest: self.digest, told }
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
        assert_eq!(telling.heard(Words { digest: 7, told: vec![word(9)] }), None);
        assert_eq!(telling.next(), Words { digest: 7, told: vec![] });
        let news = Words { digest: 8, told: vec![word(9)] };
        assert_eq!(telling.heard(news), Some(vec![word(9)]));
        telling.greet();
        assert_eq!((telling.theirs(), telling.next().told), (None, vec![]));
    }
}
