//! What goes over the heartbeat links, as bytes: pure, documented in `docs/PROTOCOL.md`.
//!
//! [`auth`] signs and verifies, [`frame`] puts beats into datagrams and takes them out,
//! [`session`] decides which of them are fresh. No socket and no clock here, and no opinion on
//! what a beat means: that is `cluster`'s. `engine` joins the two.

pub mod auth;
pub mod body;
mod candidate;
pub mod frame;
pub mod line;
pub mod session;
mod window;

use serde::{Deserialize, Serialize};

/// Longest datagram, in bytes: fits an Ethernet frame through a tunnel or two unfragmented.
pub const DATAGRAM_MAX: usize = 1400;
/// Most datagrams that one beat is split into: [`crate::cluster::message::GROUPS_MAX`] claims
/// with the longest names need six.
pub const PIECES_MAX: u8 = 8;

/// One run of one node's daemon: drawn at random at each start, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// No session: what is echoed before anything was heard.
    pub const NONE: Self = Self([0; 16]);
}

/// Why a datagram changed nothing but a counter, in the order in which it is found out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Shorter than an empty frame or longer than [`DATAGRAM_MAX`].
    #[error("size out of range")]
    Size,
    /// Not our protocol.
    #[error("no heartbeat of ours")]
    Magic,
    /// A protocol version that we don't speak.
    #[error("unknown protocol version")]
    Version,
    /// The length field and the length differ.
    #[error("wrong length field")]
    Length,
    /// A flag that we must understand and don't.
    #[error("unknown critical flag")]
    Flags,
    /// Link or piece number out of range, or no session.
    #[error("header field out of range")]
    Header,
    /// Our own packet came back.
    #[error("our own packet")]
    Reflected,
    /// From a node that isn't our peer.
    #[error("from another node than the peer")]
    Stranger,
    /// From our peer, to somebody else.
    #[error("for another node")]
    Misaddressed,
    /// Signed with a key that we don't have.
    #[error("unknown key id")]
    Key,
    /// The signature is wrong: another secret, or a forgery.
    #[error("wrong signature")]
    Signature,
    /// Signed, but a field ends beyond the body.
    #[error("body cut short")]
    Body,
    /// Signed, with a field that we must understand and don't.
    #[error("unknown critical field")]
    Critical,
    /// Signed, with a value that we don't know or a field twice.
    #[error("field out of range")]
    Value,
    /// Signed, without a field that every beat has.
    #[error("field missing")]
    Missing,
    /// Signed, with too many groups, or one group twice.
    #[error("too many groups, or one twice")]
    Groups,
    /// Signed, and echoes a packet that we haven't sent yet.
    #[error("echoes what was never sent")]
    Future,
    /// Signed, without fresh proof that its sender is alive now.
    #[error("no proof of freshness")]
    Unproven,
    /// Of a session that a later one has replaced.
    #[error("of a session that is over")]
    Superseded,
    /// Of a session that has said its last word.
    #[error("after the sender's last word")]
    Ended,
    /// The same packet again.
    #[error("heard before")]
    Replayed,
    /// Too far behind to tell whether it was heard before.
    #[error("too old to judge")]
    Old,
}

impl Refusal {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 22] = [
        Self::Size,
        Self::Magic,
        Self::Version,
        Self::Length,
        Self::Flags,
        Self::Header,
        Self::Reflected,
        Self::Stranger,
        Self::Misaddressed,
        Self::Key,
        Self::Signature,
        Self::Body,
        Self::Critical,
        Self::Value,
        Self::Missing,
        Self::Groups,
        Self::Future,
        Self::Unproven,
        Self::Superseded,
        Self::Ended,
        Self::Replayed,
        Self::Old,
    ];
}
