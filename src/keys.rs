//! The shared secrets of a pair. They print as `(secret)` and are wiped when dropped.

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
