//! The shared secrets of a pair, and passwords. They print as `(secret)` and are wiped when dropped.

use zeroize::Zeroizing;

/// The shared secrets, by id; the first is the one we sign with, all are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// At least one; ids are 0..=255 and differ.
    pub keys: Vec<Key>,
}

/// One secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Sent in clear with each beat.
    pub id: u8,
    /// Key material, any length above zero; `wire::auth` derives the working keys from it.
    pub secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key {} (secret)", self.id)
    }
}

/// One word or line that nobody else may see: a password of a fencing device.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over; the original is the caller's to wipe.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The text itself: for a pipe to the program that needs it, never for an argument, a log or
    /// a status.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
