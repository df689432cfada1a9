//! Other keys while beats go on: a rotation without a gap.
//!
//! New keys come with new settings and hold from the core's yes on. Keys that would cut off a peer
//! that is there are refused: the way to rotate is to add the new key on both nodes, then to let each
//! of them sign with it, then to remove the old one.

use std::time::Duration;

use crate::cluster::event::Answer;
use crate::engine::{Engine, Heart};
use crate::keys::KeyRing;
use crate::names::{NodeName, RequestId};
use crate::time::Instant;
use crate::wire::auth::{Auth, KeyError};

/// What holds as soon as the core goes by settings that it has not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) deadtime: Duration,
    pub(super) auth: Auth,
}

/// Why keys are not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RekeyError {
    /// They can't be used at all.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// We would be deaf to the peer.
    #[error(
        "the peer signs with key {0}, which would not be accepted here any more: let it sign with \
         another key first"
    )]
    PeerSigns(u8),
    /// The peer would be deaf to us.
    #[error(
        "the peer does not have the same key {0} yet: add it on both nodes before one signs with it"
    )]
    PeerLacks(u8),
}

/// The working keys of a pair.
pub(super) fn auth((node, peer): (&NodeName, &NodeName), keys: &KeyRing) -> Result<Auth, KeyError> {
    Auth::new(node, peer, keys.keys.iter().map(|key| (key.id, key.secret.as_slice())))
}

impl<H: Heart> Engine<H> {
    /// The working keys that these would be, where they cut nobody off.
    pub(super) fn rekeyed(&self, now: Instant, keys: &KeyRing) -> Result<Auth, RekeyError> {
        let (node, peer) = &self.names;
        let next = auth((node, peer), keys)?;
        let Some(peer) = self.sessions.present(now) else { return Ok(next) };
        let agreed = |id: u8| peer.keys.iter().any(|key| key.id == id && next.agrees(*key));
        if !agreed(peer.key) {
            return Err(RekeyError::PeerSigns(peer.key));
        }
        if !agreed(next.signing()) {
            return Err(RekeyError::PeerLacks(next.signing()));
        }
        Ok(next)
    }

    /// The core goes by other settings now, or does not.
    pub(super) fn settled(&mut self, answered: RequestId, answer: &Answer) {
        let Some(pending) = self.pending.take_if(|pending| pending.id == answered) else { return };
        if matches!(answer, Answer::Done { .. }) {
            self.deadtime = pending.deadtime;
            self.sessions.retime(pending.deadtime);
            self.checks = pending.auth.checks();
            self.auth = pending.auth;
            // Signed with the old key.
            self.farewell = None;
        }
    }
}
