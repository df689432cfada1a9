//! Key files: the native format, what `pairbeat keygen` prints, and what makes a key a good one.
//!
//! Random bytes come from outside; nothing here reads a clock, a file or a generator. Neighbours:
//! `authkeys` reads Heartbeat's format, `wire::auth` derives the working keys.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::config::diag::{Diagnostic, Excerpts, Faults, Span, Word, lines};
use crate::config::source::Source;
use crate::config::{Key, KeyRing};

/// Shortest key that can't be guessed from a recorded packet, in bytes: the strength of
/// HMAC-SHA256 (RFC 2104, section 3).
pub const KEY_LEN_MIN: usize = 32;
/// Longest key, in bytes; longer ones add nothing.
pub const KEY_LEN_MAX: usize = 1024;

/// Secrets that stand in the documentation of Heartbeat, its samples and well-known tutorials.
const SAMPLES: &[&str] = &[
    "HI!",
    "Hello!",
    "hello",
    "secret",
    "mysecret",
    "somesecret",
    "somerandomstring",
    "SomeRandomString",
    "somepassword",
    "password",
    "test",
    "linux-ha",
    "PutYourSuperSecretKeyHere",
    "YourSecretKey",
    "TestKey",
    "key",
    "example-key-of-the-documentation",
];

/// Why a key should not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weakness {
    /// It stands in a manual.
    Sample,
    /// Under [`KEY_LEN_MIN`] bytes.
    Short,
}

/// What is wrong with a key: `text` as written, `bytes` as used.
pub(super) fn weakness(text: &str, bytes: &[u8]) -> Option<Weakness> {
    let one_byte_only = bytes.windows(2).all(|pair| pair.first() == pair.last());
    if SAMPLES.contains(&text) || (bytes.len() >= KEY_LEN_MIN && one_byte_only) {
        Some(Weakness::Sample)
    } else if bytes.len() < KEY_LEN_MIN {
        Some(Weakness::Short)
    } else {
        None
    }
}

/// Faults of a key file that others than its owner may read or write.
pub(super) fn permissions(source: &Source, faults: &mut Faults<'_>) {
    let others = match (source.mode & 0o044 != 0, source.mode & 0o022 != 0) {
        (false, false) => return,
        (true, false) => "read",
        (false, true) => "write",
        (true, true) => "read and write",
    };
    let message = format!("others may {others} the keys (mode {:04o})", source.mode & 0o7777);
    let help = format!("`chmod 600 {}`", source.file.display());
    faults.fault(Span::FILE, message).help(help);
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks_exact(2) {
        let [high, low] = pair else { return None };
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

/// Reads a native key file: lines of an id of 0 to 255 and a key of at least 64 hexadecimal
/// digits, `#` begins a comment. The first key signs, all are accepted. What [`authkeys_file`]
/// makes is read as well: a line `auth ID` says what key signs, `sha256` may stand before a key.
pub fn read(source: &Source) -> (KeyRing, Vec<Diagnostic>) {
    let mut faults = source.faults(Excerpts::Hidden);
    permissions(source, &mut faults);
    let mut keys: Vec<Key> = Vec::new();
    let mut signing: Option<Word<'_>> = None;
    for line in lines(&source.text) {
        let text = line.split_once("#").map_or(line, |(before, _)| before);
        let words = text.split(char::is_whitespace);
        let Some((id, rest)) = words.split_first() else { continue };
        if let ("auth", [number]) = (id.text, rest) {
            signing = Some(*number);
            continue;
        }
        let Some(key) = key(*id, rest, &mut faults) else { continue };
        if keys.iter().any(|other| other.id == key.id) {
            faults.fault(id.span(), format!("key {} is given twice", key.id));
        } else {
            keys.push(key);
        }
    }
    if let Some(word) = signing {
        match keys.iter().position(|key| word.text.parse() == Ok(key.id)) {
            Some(at) => keys.get_mut(..=at).unwrap_or_default().rotate_right(1),
            None => drop(faults.fault(word.span(), format!("no usable key {}", word.text))),
        }
    }
    let mut found = faults.into_list();
    if keys.is_empty() && found.is_empty() {
        let mark = crate::config::diag::Mark::file(&source.file);
        found.push(mark.fault("no key").with_help("`pairbeat keygen` prints a complete file"));
    }
    (KeyRing { keys }, found)
}

fn key(id: Word<'_>, rest: &[Word<'_>], faults: &mut Faults<'_>) -> Option<Key> {
    const HELP: &str = "`ID KEY`, as `pairbeat keygen` prints it";
    let Ok(number) = id.text.parse::<u8>() else {
        faults.fault(id.span(), "a line begins with a key id of 0 to 255").help(HELP);
        return None;
    };
    let ([secret] | [Word { text: "sha256", .. }, secret]) = rest else {
        faults.fault(id.span(), "not an id and a key").help(HELP);
        return None;
    };
    let Some(bytes) = hex(secret.text) else {
        faults.fault(secret.span(), "a key is an even number of hexadecimal digits").help(HELP);
        return None;
    };
    if bytes.len() > KEY_LEN_MAX {
        faults.fault(secret.span(), format!("over {KEY_LEN_MAX} bytes"));
        return None;
    }
    match weakness(secret.text, &bytes) {
        None => Some(Key { id: number, secret: bytes }),
        Some(Weakness::Sample) => {
            let message = "this key is a sample, or one byte again and again: everybody knows it";
            faults.fault(secret.span(), message).help("`pairbeat keygen` prints a good one");
            None
        }
        Some(Weakness::Short) => {
            let message = format!("a key of {} bytes, under {KEY_LEN_MIN}", bytes.len());
            faults.fault(secret.span(), message).help("`pairbeat keygen` prints a good one");
            None
        }
    }
}

fn digits(random: &[u8; KEY_LEN_MIN]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN_MIN));
    for byte in random {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The text of a native key file with one key, `id`, from random bytes.
pub fn key_file(id: u8, random: &[u8; KEY_LEN_MIN]) -> Zeroizing<String> {
    let digits = digits(random);
    Zeroizing::new(format!(
        "# Keys of pairbeat, the same on both nodes; mode 600. The first one signs, all are\n\
         # accepted: add a new one below on both nodes first, then move it to the top.\n\
         {id} {}\n",
        *digits
    ))
}

/// The text of an authkeys file with one key, number `id` of 0 to 15, from random bytes.
pub fn authkeys_file(id: u8, random: &[u8; KEY_LEN_MIN]) -> Zeroizing<String> {
    let digits = digits(random);
    Zeroizing::new(format!("auth {id}\n{id} sha256 {}\n", *digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::authkeys;

    const RANDOM: [u8; KEY_LEN_MIN] = *b"\x00\xff 30 bytes of randomness, or so";

    #[test]
    fn what_keygen_prints_is_read_back_and_both_formats_are_the_same_key() {
        let (native, found) = read(&Source::literal("keys", &key_file(3, &RANDOM)));
        assert_eq!(found, []);
        let (legacy, found) =
            authkeys::read(&Source::literal("authkeys", &authkeys_file(3, &RANDOM)));
        assert_eq!(found, []);
        assert_eq!(native, legacy);
        assert_eq!(native.keys[0].secret.as_slice(), RANDOM);
        assert_eq!(native.keys[0].id, 3);
        let (either, found) = read(&Source::literal("keys", &authkeys_file(3, &RANDOM)));
        assert_eq!(found, []);
        assert_eq!(native, either);
    }

    #[test]
    fn native_keys_that_are_weak_or_no_keys_are_faults() {
        let good = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        for (text, want) in [
            (format!("1 {good}\n2 {}", good.to_uppercase()), None),
            (format!("1 {good}\n2 sha256 {good}\nauth 2"), None),
            (format!("auth 2\n1 {good}"), Some("no usable key 2")),
            (String::new(), Some("no key")),
            (format!("256 {good}"), Some("a line begins with a key id of 0 to 255")),
            (format!("1 {good}\n1 {good}"), Some("key 1 is given twice")),
            (format!("1 {}", &good[2..]), Some("a key of 31 bytes, under 32")),
            (format!("1 {}x", &good[1..]), Some("a key is an even number of hexadecimal digits")),
            (format!("1 sha1 {good}"), Some("not an id and a key")),
            ("1".into(), Some("not an id and a key")),
            (
                format!("1 {}", "00".repeat(32)),
                Some("this key is a sample, or one byte again and again: everybody knows it"),
            ),
        ] {
            let (_, found) = read(&Source::literal("keys", &text));
            let messages: Vec<_> = found.iter().map(|d| d.message.as_str()).collect();
            assert_eq!(messages, Vec::from_iter(want), "{text:?}");
        }
    }

    #[test]
    fn a_key_file_that_others_may_touch_is_refused() {
        for (mode, bad) in [
            (0o600, false),
            (0o400, false),
            (0o640, true),
            (0o604, true),
            (0o620, true),
            (0o622, true),
        ] {
            let source = Source { mode, ..Source::literal("keys", &key_file(1, &RANDOM)) };
            assert_eq!(!read(&source).1.is_empty(), bad, "{mode:o}");
        }
    }
}
