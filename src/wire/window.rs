//! Which of the last packets of one sender's link were heard: against replay, and for loss.

use crate::wire::PIECES_MAX;

/// How many sequence numbers back a packet may come late, and loss is counted over. Reordering
/// between two directors is a matter of single packets; 64 is what IPsec uses (RFC 4303, 3.4.3).
pub(super) const WINDOW: u64 = 64;
const SLOTS: usize = 64;

/// The last [`WINDOW`] sequence numbers of one link of the sender.
#[derive(Debug, Clone)]
pub(super) struct Window {
    highest: u64,
    first: u64,
    /// A bit per piece heard, by sequence number modulo [`WINDOW`].
    heard: [u8; SLOTS],
}

/// What a window says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Not heard before.
    New,
    /// Heard before.
    Before,
    /// Below the window.
    TooOld,
}

impl Default for Window {
    fn default() -> Self {
        Self { highest: 0, first: 0, heard: [0; SLOTS] }
    }
}

impl Window {
    /// Notes a packet; sequence numbers start at 1.
    pub(super) fn note(&mut self, seq: u64, piece: u8) -> Seen {
        debug_assert!(piece < PIECES_MAX, "checked with the header");
        if self.highest == 0 {
            self.first = seq;
        }
        if seq > self.highest {
            let from = self.highest.max(seq.saturating_sub(WINDOW));
            for passed in from..seq {
                self.set(passed.wrapping_add(1), 0);
            }
            self.highest = seq;
        } else if self.highest - seq >= WINDOW {
            return Seen::TooOld;
        }
        let bit = 1u8.checked_shl(u32::from(piece)).unwrap_or(0);
        let heard = self.at(seq);
        if heard & bit != 0 {
            return Seen::Before;
        }
        self.first = self.first.min(seq);
        self.set(seq, heard | bit);
        Seen::New
    }

    /// Lost packets and the number they are counted over, up to `newest`, the highest sequence
    /// number heard on any link; (0, 0) before the first.
    pub(super) fn loss(&self, newest: u64) -> (u32, u32) {
        if self.highest == 0 {
            return (0, 0);
        }
        let newest = newest.max(self.highest);
        let oldest = newest.saturating_sub(WINDOW - 1).max(self.first);
        let (mut lost, mut of) = (0, 0);
        for seq in oldest..=newest {
            of += 1;
            let known = seq <= self.highest && self.highest - seq < WINDOW;
            if !known || self.at(seq) == 0 {
                lost += 1;
            }
        }
        (lost, of)
    }

    fn at(&self, seq: u64) -> u8 {
        self.heard.get(slot(seq)).copied().unwrap_or(0)
    }

    fn set(&mut self, seq: u64, bits: u8) {
        if let Some(place) = self.heard.get_mut(slot(seq)) {
            *place = bits;
        }
    }
}

fn slot(seq: u64) -> usize {
    usize::try_from(seq % WINDOW).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_of_the_window_counts_once() {
        let mut window = Window::default();
        for seq in [10, 12, 11] {
            assert_eq!(window.note(seq, 0), Seen::New);
            assert_eq!(window.note(seq, 0), Seen::Before);
            assert_eq!(window.note(seq, 1), Seen::New, "another piece");
        }
        assert_eq!(window.note(75, 0), Seen::New);
        assert_eq!(window.note(11, 0), Seen::TooOld);
        assert_eq!(window.note(12, 0), Seen::Before, "the last one the window reaches");
        assert_eq!(window.note(13, 0), Seen::New);
    }

    #[test]
    fn a_window_agrees_with_a_list_of_everything_heard() {
        let mut random = 1u64;
        let mut window = Window::default();
        let mut all = std::collections::BTreeSet::new();
        let mut highest = 0;
        for turn in 0..20_000u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let seq = 1 + turn / 2 + (random >> 33) % 100;
            let piece = u8::try_from((random >> 60) % 8).unwrap();
            let expected = if seq + WINDOW <= highest {
                Seen::TooOld
            } else if all.insert((seq, piece)) {
                Seen::New
            } else {
                Seen::Before
            };
            highest = highest.max(seq);
            assert_eq!(window.note(seq, piece), expected, "turn {turn} seq {seq} of {highest}");
        }
    }

    #[test]
    fn loss_counts_what_the_other_links_had() {
        let mut window = Window::default();
        assert_eq!(window.loss(100), (0, 0));
        for seq in [5, 6, 8] {
            window.note(seq, 0);
        }
        assert_eq!(window.loss(8), (1, 4));
        assert_eq!(window.loss(10), (3, 6));
        assert_eq!(window.loss(1000), (64, 64));
    }
}
