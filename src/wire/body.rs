//! The body of a frame: typed fields, each with its length.
//!
//! ```text
//! +--------+-----------------+=============+
//! | type 1 | length 2        | value       |      type & 0x80: critical
//! +--------+-----------------+=============+
//! ```
//!
//! A receiver skips a type that it doesn't know, and refuses the whole frame when it is critical.
//! Only signed bodies are read here; still nothing in them is believed to be in range.

use std::net::IpAddr;

use crate::cluster::message::{
    Beat, Extent, Freeze, GROUPS_MAX, GroupClaim, Hold, NodeState, Notice, SECTIONS_MAX,
    SectionDigest, Unrest, VERDICT_BYTES_MAX, Verdicts, WORD_LEN_MAX, WORDS_MAX, Wish, Word, Words,
};
use crate::names::{GroupName, NAME_LEN_MAX};
use crate::wire::auth::{KEYS_ANNOUNCED_MAX, KeyCheck};
use crate::wire::frame::Echo;
use crate::wire::{Refusal, SessionId};

const NODE: u8 = 0x81;
const HEARS: u8 = 0x02;
const CONFIG: u8 = 0x03;
const GROUP: u8 = 0x84;
const CANDIDATES: u8 = 0x05;
const KEYS: u8 = 0x06;
const GUARDED: u8 = 0x08;
const NOTICE: u8 = 0x09;
const UNREST: u8 = 0x0a;
const SECTIONS: u8 = 0x10;
const REACH: u8 = 0x11;
const WORDS: u8 = 0x12;
const WORD: u8 = 0x13;
const VERDICTS: u8 = 0x14;
const CRITICAL: u8 = 0x80;

/// Most sessions echoed in a body: those on trial, and the proven one in a copy of a beat.
/// Readers take more than we write.
pub(super) const ECHOES_MAX: usize = 8;
const ECHO_LEN: usize = 24;
const CHECK_LEN: usize = 5;
const SECTION_LEN: usize = 9;
/// Sections in one field: about as long as the longest claim.
const SECTIONS_PER_FIELD: usize = 10;

/// What one frame says: the node's fields, and all or some of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What the node is doing, which links it hears us on, and the groups of this piece.
    pub beat: Beat,
    /// Sessions of ours that the sender has heard: those that it can't tell from captures yet,
    /// and the proven one where the header's echo lags behind.
    pub candidates: Vec<Echo>,
    /// The sender's keys.
    pub keys: Vec<KeyCheck>,
}

/// Bytes taken from the front, in network order.
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u8, &'a [u8])> {
        let kind = self.byte()?;
        let len = self.bytes().map(u16::from_be_bytes)?;
        Some((kind, self.slice(usize::from(len))?))
    }
}

#[derive(Default)]
struct Fields {
    node: Option<NodeState>,
    hears: Option<u8>,
    config: Option<u64>,
    notice: Option<Notice>,
    guarded: Option<bool>,
    reach: Option<u8>,
    groups: Vec<GroupClaim>,
    sections: Vec<SectionDigest>,
    words: Option<u64>,
    told: Vec<Word>,
    verdicts: Option<Verdicts>,
    candidates: Option<Vec<Echo>>,
    keys: Option<Vec<KeyCheck>>,
}

/// Reads the fields of a signed body.
pub(super) fn read(bytes: &[u8]) -> Result<Body, Refusal> {
    let mut fields = Fields::default();
    let mut cursor = Cursor(bytes);
    while !cursor.0.is_empty() {
        let (kind, value) = cursor.field().ok_or(Refusal::Body)?;
        fields.add(kind, value)?;
    }
    let beat = Beat {
        node: fields.node.ok_or(Refusal::Missing)?,
        hears: fields.hears.ok_or(Refusal::Missing)?,
        config: fields.config.ok_or(Refusal::Missing)?,
        notice: Notice {
            guarded: fields.guarded.unwrap_or_default(),
            reach: fields.reach,
            ..fields.notice.unwrap_or_default()
        },
        groups: fields.groups,
        sections: fields.sections,
        words: Words {
            digest: fields.words.unwrap_or_default(),
            told: fields.told,
            verdicts: fields.verdicts,
        },
    };
    let candidates = fields.candidates.unwrap_or_default();
    Ok(Body { beat, candidates, keys: fields.keys.unwrap_or_default() })
}

impl Fields {
    fn add(&mut self, kind: u8, value: &[u8]) -> Result<(), Refusal> {
        match kind {
            NODE => once(&mut self.node, node_state(value)),
            HEARS => once(&mut self.hears, whole(value, Cursor::byte)),
            CONFIG => once(&mut self.config, whole(value, Cursor::u64)),
            GUARDED => once(&mut self.guarded, whole(value, |cursor| flag(cursor.byte()?))),
            REACH => once(&mut self.reach, whole(value, Cursor::byte)),
            NOTICE => once(&mut self.notice, whole(value, |cursor| notice(cursor))),
            CANDIDATES => once(&mut self.candidates, list(value, ECHOES_MAX, echo)),
            KEYS => once(&mut self.keys, list(value, KEYS_ANNOUNCED_MAX, key_check)),
            GROUP if self.groups.len() >= GROUPS_MAX => Err(Refusal::Groups),
            GROUP => {
                self.groups.push(claim(value).ok_or(Refusal::Value)?);
                Ok(())
            }
            SECTIONS => {
                self.sections
                    .extend(list(value, SECTIONS_PER_FIELD, section).ok_or(Refusal::Value)?);
                // A later version may have more of them; that is no reason not to hear it.
                self.sections.truncate(SECTIONS_MAX);
                Ok(())
            }
            WORDS => once(&mut self.words, whole(value, Cursor::u64)),
            WORD => {
                self.told.push(word(value).ok_or(Refusal::Value)?);
                // A later version may tell more of them at a time.
                self.told.truncate(WORDS_MAX);
                Ok(())
            }
            VERDICTS => once(&mut self.verdicts, verdicts(value)),
            // Of the group before it.
            UNREST => {
                let group = self.groups.last_mut().ok_or(Refusal::Value)?;
                group.unrest = whole(value, |cursor| unrest(cursor)).ok_or(Refusal::Value)?;
                Ok(())
            }
            unknown if unknown & CRITICAL != 0 => Err(Refusal::Critical),
            _ => Ok(()),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Refusal> {
    let value = value.ok_or(Refusal::Value)?;
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::Value),
    }
}

/// A value that fills its field to the last byte.
fn whole<'a, T>(value: &'a [u8], read: impl FnOnce(&mut Cursor<'a>) -> Option<T>) -> Option<T> {
    let mut cursor = Cursor(value);
    let read = read(&mut cursor)?;
    cursor.0.is_empty().then_some(read)
}

fn list<'a, T>(
    value: &'a [u8],
    most: usize,
    read: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut cursor = Cursor(value);
    let mut items = Vec::new();
    while !cursor.0.is_empty() {
        if items.len() >= most {
            return None;
        }
        items.push(read(&mut cursor)?);
    }
    Some(items)
}

pub(super) fn echo(cursor: &mut Cursor<'_>) -> Option<Echo> {
    Some(Echo { session: SessionId(cursor.bytes()?), seq: cursor.u64()? })
}

fn key_check(cursor: &mut Cursor<'_>) -> Option<KeyCheck> {
    Some(KeyCheck { id: cursor.byte()?, check: cursor.bytes()? })
}

fn section(cursor: &mut Cursor<'_>) -> Option<SectionDigest> {
    let (kind, key) = (cursor.byte()?, cursor.bytes().map(u32::from_be_bytes)?);
    Some(SectionDigest { kind, key, digest: cursor.bytes().map(u32::from_be_bytes)? })
}

/// A later version may tell more of them at a time.
fn verdicts(value: &[u8]) -> Option<Verdicts> {
    let mut cursor = Cursor(value);
    let (list, first) = (cursor.u32()?, u16::from_be_bytes(cursor.bytes()?));
    let states = cursor.0.get(..VERDICT_BYTES_MAX).unwrap_or(cursor.0);
    Some(Verdicts { list, first, states: states.to_vec() })
}

fn word(value: &[u8]) -> Option<Word> {
    let mut cursor = Cursor(value);
    let stamp = cursor.u64()?;
    let text = std::str::from_utf8(cursor.0).ok().filter(|text| text.len() <= WORD_LEN_MAX)?;
    Some(Word { stamp, text: text.to_owned() })
}

fn node_state(value: &[u8]) -> Option<NodeState> {
    Some(match whole(value, Cursor::byte)? {
        1 => NodeState::Booting,
        2 => NodeState::Running,
        3 => NodeState::Leaving,
        4 => NodeState::Gone,
        _ => return None,
    })
}

fn claim(value: &[u8]) -> Option<GroupClaim> {
    let mut cursor = Cursor(value);
    let epoch = cursor.u64()?;
    let hold = hold(cursor.byte()?)?;
    let wish = wish(cursor.byte()?)?;
    let via = match cursor.byte()? {
        0 => None,
        4 => Some(IpAddr::from(cursor.bytes::<4>()?)),
        6 => Some(IpAddr::from(cursor.bytes::<16>()?)),
        _ => return None,
    };
    let name = std::str::from_utf8(cursor.0).ok()?;
    let group = GroupName::new(name).ok()?;
    Some(GroupClaim { group, epoch, hold, wish, via, unrest: Unrest::default() })
}

fn notice(cursor: &mut Cursor<'_>) -> Option<Notice> {
    let extent = match cursor.byte()? {
        0 => Extent::Nothing,
        1 => Extent::ExceptDead,
        2 => Extent::All,
        _ => return None,
    };
    let generation = cursor.u32()?;
    let (back_ms, deadtime_ms) = (cursor.u32()?, cursor.u32()?);
    let freeze = Freeze { generation, extent };
    Some(Notice { freeze, back_ms, deadtime_ms, ..Notice::default() })
}

fn flag(code: u8) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn unrest(cursor: &mut Cursor<'_>) -> Option<Unrest> {
    Some(Unrest { taken: cursor.byte()?, hold_s: cursor.bytes().map(u16::from_be_bytes)? })
}

fn hold(code: u8) -> Option<Hold> {
    Some(match code {
        0 => Hold::Nothing,
        1 => Hold::Claiming,
        2 => Hold::Starting,
        3 => Hold::Active,
        4 => Hold::Stopping,
        5 => Hold::Stuck,
        _ => return None,
    })
}

fn wish(code: u8) -> Option<Wish> {
    Some(match code {
        0 => Wish::Content,
        1 => Wish::Take,
        2 => Wish::Offer,
        3 => Wish::Decline,
        _ => return None,
    })
}

/// The fields that every piece of a beat repeats.
pub(super) fn write_node(beat: &Beat, candidates: &[Echo], keys: &[KeyCheck]) -> Vec<u8> {
    let state = match beat.node {
        NodeState::Booting => 1,
        NodeState::Running => 2,
        NodeState::Leaving => 3,
        NodeState::Gone => 4,
    };
    let mut out = Vec::new();
    write(&mut out, NODE, &[&[state]]);
    write(&mut out, HEARS, &[&[beat.hears]]);
    write(&mut out, CONFIG, &[&beat.config.to_be_bytes()]);
    if let Some(count) = beat.notice.reach {
        write(&mut out, REACH, &[&[count]]);
    }
    if beat.words.digest != 0 {
        write(&mut out, WORDS, &[&beat.words.digest.to_be_bytes()]);
    }
    if beat.notice.guarded {
        write(&mut out, GUARDED, &[&[1]]);
    }
    let rest = Notice { guarded: false, reach: None, ..beat.notice };
    if rest != Notice::default() {
        write_notice(&mut out, &rest);
    }
    if !candidates.is_empty() {
        let mut value = Vec::with_capacity(ECHOES_MAX * ECHO_LEN);
        for echo in candidates.iter().take(ECHOES_MAX) {
            value.extend_from_slice(&echo.session.0);
            value.extend_from_slice(&echo.seq.to_be_bytes());
        }
        write(&mut out, CANDIDATES, &[&value]);
    }
    let mut value = Vec::with_capacity(KEYS_ANNOUNCED_MAX * CHECK_LEN);
    for key in keys.iter().take(KEYS_ANNOUNCED_MAX) {
        value.push(key.id);
        value.extend_from_slice(&key.check);
    }
    write(&mut out, KEYS, &[&value]);
    out
}

fn write_notice(out: &mut Vec<u8>, notice: &Notice) {
    let extent = match notice.freeze.extent {
        Extent::Nothing => 0,
        Extent::ExceptDead => 1,
        Extent::All => 2,
    };
    let numbers = [notice.freeze.generation, notice.back_ms, notice.deadtime_ms];
    write(out, NOTICE, &[&[extent], &numbers.map(u32::to_be_bytes).concat()]);
}

/// The sections of the configuration, in fields that fit where one claim does.
pub(super) fn write_sections(sections: &[SectionDigest]) -> Vec<Vec<u8>> {
    let field = |sections: &[SectionDigest]| {
        let mut value = Vec::with_capacity(SECTIONS_PER_FIELD * SECTION_LEN);
        for section in sections {
            value.push(section.kind);
            value.extend_from_slice(&section.key.to_be_bytes());
            value.extend_from_slice(&section.digest.to_be_bytes());
        }
        let mut out = Vec::new();
        write(&mut out, SECTIONS, &[&value]);
        out
    };
    let told = sections.get(..SECTIONS_MAX).unwrap_or(sections);
    told.chunks(SECTIONS_PER_FIELD).map(field).collect()
}

/// What operators have ordered, one field each, and the director's verdicts.
pub(super) fn write_words(words: &Words) -> impl Iterator<Item = Vec<u8>> {
    let told = words.told.iter().take(WORDS_MAX).map(|word| {
        let mut out = Vec::new();
        write(&mut out, WORD, &[&word.stamp.to_be_bytes(), word.text.as_bytes()]);
        out
    });
    let verdicts = words.verdicts.as_ref().map(|it| {
        let states = it.states.get(..VERDICT_BYTES_MAX).unwrap_or(&it.states);
        let mut out = Vec::new();
        write(&mut out, VERDICTS, &[&it.list.to_be_bytes(), &it.first.to_be_bytes(), states]);
        out
    });
    told.chain(verdicts)
}

/// One group's field, and what follows it.
pub(super) fn write_claim(claim: &GroupClaim) -> Vec<u8> {
    let hold = match claim.hold {
        Hold::Nothing => 0,
        Hold::Claiming => 1,
        Hold::Starting => 2,
        Hold::Active => 3,
        Hold::Stopping => 4,
        Hold::Stuck => 5,
    };
    let wish = match claim.wish {
        Wish::Content => 0,
        Wish::Take => 1,
        Wish::Offer => 2,
        Wish::Decline => 3,
    };
    let name = claim.group.as_str().as_bytes();
    debug_assert!(name.len() <= NAME_LEN_MAX, "names are checked when made");
    let mut out = Vec::new();
    let head = [claim.epoch.to_be_bytes().as_slice(), &[hold, wish]].concat();
    match claim.via {
        None => write(&mut out, GROUP, &[&head, &[0], name]),
        Some(IpAddr::V4(ip)) => write(&mut out, GROUP, &[&head, &[4], &ip.octets(), name]),
        Some(IpAddr::V6(ip)) => write(&mut out, GROUP, &[&head, &[6], &ip.octets(), name]),
    }
    if claim.unrest != Unrest::default() {
        write(&mut out, UNREST, &[&[claim.unrest.taken], &claim.unrest.hold_s.to_be_bytes()]);
    }
    out
}

/// Bytes of the node's fields, with a notice and without anything on trial.
pub(super) fn node_len(keys: usize) -> usize {
    const FIELD: usize = 3;
    let fixed = [1, 1, 8, 1, 13].map(|value| FIELD + value);
    fixed.iter().sum::<usize>() + FIELD + 5 * keys
}

/// Bytes of a claim for a group whose name has so many, with an IPv6 address.
pub(super) fn claim_len(name: usize) -> usize {
    3 + 8 + 1 + 1 + 1 + 16 + name
}

fn write(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    // No field of ours comes near 64 KiB: see the limits of names and lists.
    out.push(kind);
    out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}
