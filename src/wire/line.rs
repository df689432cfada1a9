//! Datagrams on a serial line: framing that finds itself again after noise.
//!
//! ```text
//! 0x00 | COBS( datagram | CRC-32 of it, network order ) | 0x00
//! ```
//!
//! Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999) leaves no zero byte between the
//! delimiters, so whatever a line garbles ends at the next zero. The check sum only spares noise
//! the signature; it proves nothing. Documented in `docs/PROTOCOL.md`.

use crate::wire::DATAGRAM_MAX;

/// Between frames.
const DELIMITER: u8 = 0;
/// Bytes of the check sum.
const CRC_LEN: usize = 4;
/// Most bytes between two delimiters, before and after the stuffing is taken out.
const CONTENT_MAX: usize = DATAGRAM_MAX + CRC_LEN;
/// A code byte with so many bytes, itself included, and no zero behind them.
const CODE_MAX: u8 = 0xff;

/// Bytes on the line for a datagram of so many, at most.
pub fn line_len(datagram: usize) -> usize {
    let content = datagram + CRC_LEN;
    content + content / usize::from(CODE_MAX - 1) + 1 + 2
}

/// A datagram as it goes over the line.
pub fn encode(datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line_len(datagram.len()));
    out.push(DELIMITER);
    let sum = crc32(datagram).to_be_bytes();
    stuff(datagram.iter().chain(&sum), &mut out);
    out.push(DELIMITER);
    out
}

fn stuff<'a>(content: impl Iterator<Item = &'a u8>, out: &mut Vec<u8>) {
    let mut block: Vec<u8> = Vec::with_capacity(usize::from(CODE_MAX));
    let mut close = |block: &mut Vec<u8>| {
        // A block has less than CODE_MAX bytes.
        out.push(u8::try_from(block.len() + 1).unwrap_or(CODE_MAX));
        out.append(block);
    };
    let mut open = true;
    for byte in content {
        open = true;
        if *byte == DELIMITER {
            close(&mut block);
            continue;
        }
        block.push(*byte);
        if block.len() + 1 == usize::from(CODE_MAX) {
            close(&mut block);
            // Nothing stands for a zero behind a full block, so nothing need follow it.
            open = false;
        }
    }
    if open {
        close(&mut block);
    }
}

/// CRC-32 as in Ethernet and zlib (reflected 0x04c11db7).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    !crc
}

/// Finds datagrams in the bytes of a line, however they are cut.
#[derive(Debug)]
pub struct Decoder {
    /// What the frame under way has so far, without stuffing.
    content: Vec<u8>,
    /// Bytes that still belong to the block.
    left: u8,
    /// Whether a zero stands behind the block, when another one follows.
    zero: bool,
    /// This can't be a frame any more: the rest of it is left out.
    lost: bool,
    /// The content is that of the last call.
    done: bool,
    broken: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        let content = Vec::with_capacity(CONTENT_MAX);
        Self { content, left: 0, zero: false, lost: false, done: false, broken: 0 }
    }
}

impl Decoder {
    /// Takes bytes off `input` until a datagram is complete; `None` when they are used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<&[u8]> {
        if std::mem::take(&mut self.done) {
            self.content.clear();
        }
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if *byte != DELIMITER {
                self.take(*byte);
            } else if self.finish() {
                self.done = true;
                return self.content.get(..self.content.len().saturating_sub(CRC_LEN));
            }
        }
        None
    }

    /// What stood between two delimiters and was no datagram, since the start.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    fn take(&mut self, byte: u8) {
        if self.lost {
            return;
        }
        let zero = self.left == 0 && self.zero;
        if zero {
            self.put(DELIMITER);
        }
        if self.left == 0 {
            self.left = byte - 1;
            self.zero = byte != CODE_MAX;
        } else {
            self.left -= 1;
            self.put(byte);
        }
    }

    fn put(&mut self, byte: u8) {
        if self.content.len() < CONTENT_MAX {
            self.content.push(byte);
        } else {
            self.lost = true;
        }
    }

    /// At a delimiter: whether the content is a datagram with its check sum.
    fn finish(&mut self) -> bool {
        let whole = !self.lost && self.left == 0;
        let nothing = whole && !self.zero && self.content.is_empty();
        let good = whole
            && self
                .content
                .split_last_chunk::<CRC_LEN>()
                .is_some_and(|(datagram, sum)| crc32(datagram).to_be_bytes() == *sum);
        if !good {
            self.broken += u64::from(!nothing);
            self.content.clear();
        }
        (self.left, self.zero, self.lost) = (0, false, false);
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(decoder: &mut Decoder, mut input: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(datagram) = decoder.next(&mut input) {
            found.push(datagram.to_vec());
        }
        found
    }

    /// xorshift64.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % limit).unwrap()
        }

        /// Few values, so that zeros and long runs without one are frequent.
        fn bytes(&mut self, most: u64) -> Vec<u8> {
            let kinds = [1, 2, 256][self.below(3)];
            let len = self.below(most + 1);
            (0..len).map(|_| u8::try_from(self.below(kinds)).unwrap()).collect()
        }
    }

    #[test]
    fn the_check_sum_is_the_one_of_the_textbook() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_sent_comes_out_however_it_is_cut_and_the_length_is_known() {
        let mut random = Random(7);
        for _ in 0..400 {
            let sent: Vec<Vec<u8>> =
                (0..3).map(|_| random.bytes(DATAGRAM_MAX.try_into().unwrap())).collect();
            let mut line = Vec::new();
            for datagram in &sent {
                let framed = encode(datagram);
                assert!(framed.len() <= line_len(datagram.len()), "{}", datagram.len());
                let inner = &framed[1..framed.len() - 1];
                assert!(!inner.contains(&0) && framed.starts_with(&[0]) && framed.ends_with(&[0]));
                line.extend(framed);
            }
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            while !line.is_empty() {
                let cut = 1 + random.below(line.len().try_into().unwrap());
                let rest = line.split_off(cut);
                got.extend(all(&mut decoder, &line));
                line = rest;
            }
            assert_eq!(got, sent);
            assert_eq!(decoder.broken(), 0);
        }
    }

    #[test]
    fn after_noise_of_any_kind_the_next_datagram_is_found() {
        let mut random = Random(11);
        for round in 0..2000 {
            let mut decoder = Decoder::default();
            let mut noise = random.bytes(3000);
            if round % 2 == 0 {
                // A frame that lost, gained or changed something on the way.
                noise = encode(&random.bytes(300));
                let at = random.below(noise.len().try_into().unwrap());
                match random.below(3) {
                    0 => drop(noise.remove(at)),
                    1 => noise.insert(at, u8::try_from(random.below(256)).unwrap()),
                    _ => noise.truncate(at),
                }
            }
            all(&mut decoder, &noise);
            let sent = random.bytes(300);
            assert_eq!(all(&mut decoder, &encode(&sent)).last(), Some(&sent), "{noise:?}");
            assert!(decoder.content.capacity() <= 2 * CONTENT_MAX);
        }
    }

    #[test]
    fn what_is_no_datagram_is_counted_and_silence_is_not() {
        let good = encode(b"beat");
        let mut changed = good.clone();
        changed[3] ^= 1;
        let long = encode(&vec![1; DATAGRAM_MAX + 1]);
        let mut decoder = Decoder::default();
        for (line, broken) in [
            (&b"\0\0\0\0"[..], 0),
            (b"\x01\0", 1),
            (b"login: \0", 2),
            (&changed, 3),
            (&long, 4),
            (b"\x05\0", 5),
        ] {
            assert_eq!(all(&mut decoder, line), Vec::<Vec<u8>>::new(), "{line:?}");
            assert_eq!(decoder.broken(), broken, "{line:?}");
        }
        assert_eq!(all(&mut decoder, &good), [b"beat"]);
        assert_eq!(all(&mut decoder, &encode(b"")), [b""]);
    }
}
