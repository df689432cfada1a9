//! Signatures: HMAC-SHA256, one working key per secret and direction.
//!
//! A working key is derived from the secret, a label and the names of sender and receiver, so
//! that a packet played back to its sender, or to another pair with the same secret, is nobody's.
//! Which key is active is the configuration's order; which secrets are good enough is decided by
//! its readers. Freshness is not this module's: see [`crate::wire::session`].

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::names::NodeName;

/// Bytes of a signature: HMAC-SHA256, not truncated.
pub const TAG_LEN: usize = 32;
/// Most keys whose checks a node announces; more may be configured.
pub const KEYS_ANNOUNCED_MAX: usize = 16;

const DIRECTION_LABEL: &[u8] = b"pairbeat beat 1\0";
const NODE_LABEL: &[u8] = b"pairbeat node 1\0";
const CHECK_LABEL: &[u8] = b"pairbeat key check 1\0";

/// Why a key ring can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing to sign with.
    #[error("no key to sign heartbeats with")]
    None,
    /// HMAC would take it, and protect nothing.
    #[error("key {0} is empty")]
    Empty(u8),
    /// Two secrets under one id.
    #[error("key id {0} is used twice")]
    Twice(u8),
}

/// A node on the wire: the first eight bytes of a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(pub [u8; 8]);

impl NodeId {
    /// The id of the node of this name.
    pub fn of(name: &NodeName) -> Self {
        let digest: [u8; 32] =
            Sha256::new().chain_update(NODE_LABEL).chain_update(name.as_str()).finalize().into();
        let (id, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        Self(*id)
    }
}

/// Four bytes that show whether two nodes have the same secret under a key id, and in the same
/// direction; sent inside signed beats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCheck {
    /// The key's id.
    pub id: u8,
    /// Derived from the working key of the sender's direction.
    pub check: [u8; 4],
}

/// The working keys of a pair of nodes, seen from one of them.
pub struct Auth {
    node: NodeId,
    peer: NodeId,
    signing: Working,
    others: Vec<Working>,
}

struct Working {
    id: u8,
    /// For what we send.
    send: Zeroizing<[u8; 32]>,
    /// For what the peer sends.
    hear: Zeroizing<[u8; 32]>,
}

impl Auth {
    /// Derives the working keys; the first of `keys` signs, all are accepted.
    ///
    /// # Errors
    /// [`KeyError`] when there is no key, an empty one, or one id twice.
    pub fn new<'a>(
        node: &NodeName,
        peer: &NodeName,
        keys: impl IntoIterator<Item = (u8, &'a [u8])>,
    ) -> Result<Self, KeyError> {
        let mut working: Vec<Working> = Vec::new();
        for (id, secret) in keys {
            if secret.is_empty() {
                return Err(KeyError::Empty(id));
            }
            if working.iter().any(|known| known.id == id) {
                return Err(KeyError::Twice(id));
            }
            let (send, hear) = (derive(secret, node, peer), derive(secret, peer, node));
            working.push(Working { id, send, hear });
        }
        let mut working = working.into_iter();
        let signing = working.next().ok_or(KeyError::None)?;
        let (node, peer) = (NodeId::of(node), NodeId::of(peer));
        Ok(Self { node, peer, signing, others: working.collect() })
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The other one.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Id of the key that we sign with.
    pub fn signing(&self) -> u8 {
        self.signing.id
    }

    /// Ids of all keys, the signing one first.
    pub fn ids(&self) -> impl Iterator<Item = u8> {
        self.all().map(|key| key.id)
    }

    /// Whether there is a key of this id.
    pub fn knows(&self, id: u8) -> bool {
        self.find(id).is_some()
    }

    /// The signature of what we send.
    pub fn sign(&self, message: &[u8]) -> [u8; TAG_LEN] {
        mac(&self.signing.send[..], &[message]).finalize().into_bytes().into()
    }

    /// Whether the peer signed this with the key of this id. Takes the same time wherever a
    /// wrong tag differs.
    pub fn verify(&self, id: u8, message: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.find(id).is_some_and(|key| mac(&key.hear[..], &[message]).verify_slice(tag).is_ok())
    }

    /// The checks of our keys, for the peer.
    pub fn checks(&self) -> Vec<KeyCheck> {
        let announced = self.all().take(KEYS_ANNOUNCED_MAX);
        announced.map(|key| KeyCheck { id: key.id, check: check(&key.send) }).collect()
    }

    /// Whether the peer's secret of this id is ours too.
    pub fn agrees(&self, theirs: KeyCheck) -> bool {
        self.find(theirs.id).is_some_and(|key| check(&key.hear) == theirs.check)
    }

    fn all(&self) -> impl Iterator<Item = &Working> {
        std::iter::once(&self.signing).chain(&self.others)
    }

    fn find(&self, id: u8) -> Option<&Working> {
        self.all().find(|key| key.id == id)
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// Each name is preceded by its length, so that no two pairs of names give the same bytes.
fn derive(secret: &[u8], sender: &NodeName, receiver: &NodeName) -> Zeroizing<[u8; 32]> {
    let (sender, receiver) = (sender.as_str().as_bytes(), receiver.as_str().as_bytes());
    let (sender_len, receiver_len) = (short_len(sender), short_len(receiver));
    let parts = [DIRECTION_LABEL, &sender_len, sender, &receiver_len, receiver];
    Zeroizing::new(mac(secret, &parts).finalize().into_bytes().into())
}

/// Names have at most 64 bytes, see [`crate::names::NAME_LEN_MAX`].
fn short_len(name: &[u8]) -> [u8; 1] {
    [u8::try_from(name.len()).unwrap_or(u8::MAX)]
}

fn check(working: &[u8; 32]) -> [u8; 4] {
    let full: [u8; 32] = mac(working, &[CHECK_LABEL]).finalize().into_bytes().into();
    let (check, _) = full.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    *check
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(never) => unreachable!("HMAC takes keys of any length: {never}"),
    };
    for part in parts {
        mac.update(part);
    }
    mac
}
