//! The keywords and their table.

use std::collections::BTreeSet;

use crate::import::keepalived::keywords;

#[test]
fn no_keyword_is_there_twice_in_one_place() {
    let mut seen = BTreeSet::new();
    for (place, word, _) in keywords() {
        assert!(seen.insert((place, word)), "{place:?} {word}");
    }
}
