//! The engine as the operator sees it: the core's picture, the links' quality, who was refused.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{Engine, Heart};
use crate::names::LinkId;
use crate::wire::Refusal;

/// Everything, at one instant; `C` is the core's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View<C = crate::cluster::View> {
    /// The core's picture.
    pub cluster: C,
    /// Links in the order of the configuration.
    pub links: Vec<LinkView>,
    /// Keys, sessions, and what was refused.
    pub security: SecurityView,
    /// The digest of what operators have ordered of real servers, at the peer; `None` until it has
    /// said anything.
    pub peer_words: Option<u64>,
}

/// What the engine counts and measures on one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Datagrams of the peer's proven session.
    pub believed: u64,
    /// Datagrams that changed nothing.
    pub refused: u64,
    /// Packets lost of the last `of`.
    pub lost: u32,
    /// At most 64, fewer after the start of a session.
    pub of: u32,
    /// Smoothed round-trip time in microseconds, without the time the peer held it.
    pub rtt_us: Option<u64>,
    /// The peer's number of this link.
    pub peer_link: Option<u8>,
}

/// Keys, sessions, and what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecurityView {
    /// Datagrams that changed nothing, by reason; reasons never met are left out.
    pub refused: BTreeMap<Refusal, u64>,
    /// Id of the key we sign with.
    pub signing: u8,
    /// Ids of the keys we accept, the signing one first.
    pub accepted: Vec<u8>,
    /// The peer, once it has proven itself.
    pub peer: Option<PeerSession>,
}

/// The peer's proven session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerSession {
    /// Its first bytes, in hex.
    pub session: String,
    /// Whether it has said its last word.
    pub ended: bool,
    /// Highest protocol version that the peer reads.
    pub speaks: u8,
    /// Id of the key it signs with.
    pub signs_with: u8,
    /// The keys it has; a key is safe to sign with when the peer agrees on it.
    pub keys: Vec<PeerKey>,
}

/// A key of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PeerKey {
    /// Its id.
    pub id: u8,
    /// Whether ours of this id has the same secret.
    pub agrees: bool,
}

impl<H: Heart> Engine<H> {
    pub(super) fn link_view(&self, link: LinkId) -> LinkView {
        let counters = self.counters.links.get(usize::from(link.0)).copied().unwrap_or_default();
        let trace = self.sessions.trace(link);
        let (lost, of) = self.sessions.loss(link);
        LinkView {
            believed: counters.believed,
            refused: counters.refused,
            lost,
            of,
            rtt_us: trace.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            peer_link: (trace.seq > 0).then_some(trace.from),
        }
    }

    pub(super) fn security_view(&self) -> SecurityView {
        let peer = self.sessions.peer().map(|peer| PeerSession {
            session: peer.session.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
            ended: peer.ended,
            speaks: peer.speaks,
            signs_with: peer.key,
            keys: peer
                .keys
                .iter()
                .map(|key| PeerKey { id: key.id, agrees: self.auth.agrees(*key) })
                .collect(),
        });
        SecurityView {
            refused: self.counters.refused.clone(),
            signing: self.auth.signing(),
            accepted: self.auth.ids().collect(),
            peer,
        }
    }
}
