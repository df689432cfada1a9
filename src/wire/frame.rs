//! One datagram: header, body, signature.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+---------------+---------------+
//! | 'p'             'b'             'h'             'b'           |   0
//! +---------------+---------------+---------------+---------------+
//! | version       | speaks up to  | flags         | key id        |   4
//! +---------------+---------------+---------------+---------------+
//! | sender's link | piece         | pieces        | zero          |   8
//! +---------------+---------------+---------------+---------------+
//! | length of the datagram        | zero                          |  12
//! +---------------+---------------+---------------+---------------+
//! | sender, 8 bytes                                               |  16
//! | receiver, 8 bytes                                             |  24
//! | session of the sender, 16 bytes                               |  32
//! | sequence number, 8 bytes                                      |  48
//! | echo: session of the receiver, 16 bytes                       |  56
//! | echo: highest sequence number heard of it, 8 bytes            |  72
//! | highest sequence number heard of it on this link, 8 bytes     |  80
//! | microseconds since that was heard, 4 bytes                    |  88
//! +===============================================================+
//! | body: typed fields                                            |  92
//! +===============================================================+
//! | HMAC-SHA256 over all of the above, 32 bytes                   |
//! +---------------------------------------------------------------+
//! ```
//!
//! All numbers in network order. Every piece of a beat stands for itself: it repeats the header
//! and the node's fields. Whether a frame is *fresh* is [`crate::wire::session`]'s question.

use crate::cluster::message::{Beat, LINKS_MAX};
use crate::wire::auth::{Auth, KeyCheck, NodeId, TAG_LEN};
use crate::wire::body::{self, Body, Cursor};
use crate::wire::{DATAGRAM_MAX, PIECES_MAX, Refusal, SessionId};

/// The version that we write, and the highest that we read.
pub const VERSION: u8 = 1;
/// The lowest version that we read.
pub const VERSION_MIN: u8 = 1;
/// Bytes of a header.
pub const HEADER_LEN: usize = 92;
/// Set in the sequence number of a farewell that was signed in advance: above all others.
pub const FAREWELL_BIT: u64 = 1 << 63;

const MAGIC: [u8; 4] = *b"pbhb";
/// Flags that a receiver must understand. None is defined yet.
const FLAGS_CRITICAL: u8 = 0xf0;

/// A session and the highest sequence number heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Echo {
    /// Whose.
    pub session: SessionId,
    /// From 1; 0: none heard.
    pub seq: u64,
}

/// What stands before the body, and isn't the same in every frame between two nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Highest protocol version that the sender reads.
    pub speaks: u8,
    /// Key that signed.
    pub key: u8,
    /// The sender's number of the link that it sent this on, below
    /// [`LINKS_MAX`].
    pub link: u8,
    /// Which piece of the beat this is, from 0.
    pub piece: u8,
    /// Into how many pieces the beat was split, 1 to [`PIECES_MAX`].
    pub pieces: u8,
    /// The sender's session.
    pub session: SessionId,
    /// Grows with every beat sent; the pieces of one beat, and its copies on several links, have
    /// the same. From 1.
    pub seq: u64,
    /// The receiver's proven session, or none.
    pub echo: Echo,
    /// Highest sequence number of that session heard on this link; 0: none.
    pub link_seq: u64,
    /// How long ago that was, in microseconds.
    pub link_hold: u32,
}

/// A signed datagram from the peer to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What stands in front.
    pub header: Header,
    /// What it says.
    pub body: Body,
}

impl Frame {
    /// Whether this is a farewell signed in advance, the "dying gasp".
    pub fn is_farewell(&self) -> bool {
        self.header.seq & FAREWELL_BIT != 0
    }
}

/// What the node's fields say beyond the beat.
#[derive(Debug, Clone, Copy)]
pub struct Extras<'a> {
    /// Sessions heard, beside that of the header; at most eight.
    pub candidates: &'a [Echo],
    /// Checks of our keys.
    pub keys: &'a [KeyCheck],
}

/// Signs a beat, split into as many datagrams as it needs, at most [`PIECES_MAX`]. `piece`,
/// `pieces`, `key` and `speaks` of the header are filled in here.
///
/// Groups beyond [`crate::cluster::message::GROUPS_MAX`] may not fit and are left out; the
/// configuration doesn't allow so many.
pub fn seal(header: &Header, beat: &Beat, extras: Extras<'_>, auth: &Auth) -> Vec<Vec<u8>> {
    let node = body::write_node(beat, extras.candidates, extras.keys);
    let room = DATAGRAM_MAX - HEADER_LEN - TAG_LEN;
    let mut bodies = vec![node.clone()];
    let claims = beat.groups.iter().map(body::write_claim);
    // Last, for they may be left out.
    let rest = body::write_words(&beat.words).chain(body::write_sections(&beat.sections));
    for part in claims.chain(rest) {
        match bodies.last_mut() {
            Some(last) if last.len() + part.len() <= room => last.extend_from_slice(&part),
            _ => bodies.push([node.as_slice(), &part].concat()),
        }
    }
    bodies.truncate(usize::from(PIECES_MAX));
    let pieces = u8::try_from(bodies.len()).unwrap_or(PIECES_MAX);
    let piece = |(body, piece): (Vec<u8>, u8)| {
        sign(&Header { piece, pieces, ..header.clone() }, &body, auth)
    };
    bodies.into_iter().zip(0..).map(piece).collect()
}

/// Lengths of the datagrams of a beat between two nodes that know each other, with groups whose
/// names have these lengths and so many keys. Addresses count as those of IPv6.
pub fn lengths(names: impl Iterator<Item = usize>, keys: usize) -> Vec<usize> {
    let node = HEADER_LEN + TAG_LEN + body::node_len(keys);
    let mut all = vec![node];
    for name in names {
        let claim = body::claim_len(name);
        match all.last_mut() {
            Some(last) if *last + claim <= DATAGRAM_MAX => *last += claim,
            _ => all.push(node + claim),
        }
    }
    all
}

fn sign(header: &Header, body: &[u8], auth: &Auth) -> Vec<u8> {
    let len = HEADER_LEN + body.len() + TAG_LEN;
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, VERSION, 0, auth.signing()]);
    out.extend_from_slice(&[header.link, header.piece, header.pieces, 0]);
    out.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&auth.node().0);
    out.extend_from_slice(&auth.peer().0);
    out.extend_from_slice(&header.session.0);
    out.extend_from_slice(&header.seq.to_be_bytes());
    out.extend_from_slice(&header.echo.session.0);
    out.extend_from_slice(&header.echo.seq.to_be_bytes());
    out.extend_from_slice(&header.link_seq.to_be_bytes());
    out.extend_from_slice(&header.link_hold.to_be_bytes());
    out.extend_from_slice(body);
    let tag = auth.sign(&out);
    out.extend_from_slice(&tag);
    out
}

/// Takes a datagram apart, the cheap checks first. Nothing is allocated before the signature has
/// been verified.
///
/// # Errors
/// The first [`Refusal`] that applies, in the order in which they are listed there.
pub fn open(bytes: &[u8], auth: &Auth) -> Result<Frame, Refusal> {
    if bytes.len() > DATAGRAM_MAX {
        return Err(Refusal::Size);
    }
    let (signed, tag) = bytes.split_last_chunk::<TAG_LEN>().ok_or(Refusal::Size)?;
    let (head, body) = signed.split_first_chunk::<HEADER_LEN>().ok_or(Refusal::Size)?;
    let header = header(head, bytes.len(), auth)?;
    if !auth.verify(header.key, signed, tag) {
        return Err(Refusal::Signature);
    }
    Ok(Frame { header, body: body::read(body)? })
}

fn header(head: &[u8; HEADER_LEN], len: usize, auth: &Auth) -> Result<Header, Refusal> {
    let mut cursor = Cursor(head);
    let cut = Refusal::Size;
    if cursor.bytes::<4>().ok_or(cut)? != MAGIC {
        return Err(Refusal::Magic);
    }
    let [version, speaks, flags, key] = cursor.bytes().ok_or(cut)?;
    if !(VERSION_MIN..=VERSION).contains(&version) {
        return Err(Refusal::Version);
    }
    let [link, piece, pieces, _] = cursor.bytes().ok_or(cut)?;
    let [length_high, length_low, _, _] = cursor.bytes().ok_or(cut)?;
    if usize::from(u16::from_be_bytes([length_high, length_low])) != len {
        return Err(Refusal::Length);
    }
    if flags & FLAGS_CRITICAL != 0 {
        return Err(Refusal::Flags);
    }
    let sender = NodeId(cursor.bytes().ok_or(cut)?);
    let receiver = NodeId(cursor.bytes().ok_or(cut)?);
    let session = SessionId(cursor.bytes().ok_or(cut)?);
    let seq = cursor.u64().ok_or(cut)?;
    let echo = body::echo(&mut cursor).ok_or(cut)?;
    let link_seq = cursor.u64().ok_or(cut)?;
    let link_hold = cursor.bytes().map(u32::from_be_bytes).ok_or(cut)?;
    let in_range = usize::from(link) < LINKS_MAX && pieces <= PIECES_MAX && piece < pieces;
    if !in_range || session == SessionId::NONE || seq == 0 {
        return Err(Refusal::Header);
    }
    addressed(sender, receiver, auth)?;
    if !auth.knows(key) {
        return Err(Refusal::Key);
    }
    Ok(Header { speaks, key, link, piece, pieces, session, seq, echo, link_seq, link_hold })
}

fn addressed(sender: NodeId, receiver: NodeId, auth: &Auth) -> Result<(), Refusal> {
    if sender == auth.node() {
        return Err(Refusal::Reflected);
    }
    if sender != auth.peer() {
        return Err(Refusal::Stranger);
    }
    if receiver != auth.node() {
        return Err(Refusal::Misaddressed);
    }
    Ok(())
}
