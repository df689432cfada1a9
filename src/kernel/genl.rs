//! Generic netlink as bytes: messages written into one buffer, and read out of one.
//!
//! Knows no family and does no IO, but for [`socket`]. Our own and not neli's types, because a batch of a thousand
//! IPVS orders spends most of its time in a general encoder (measured: four times what the kernel
//! needs), and because nothing here can fail. Layout: `struct nlmsghdr`, `struct genlmsghdr`,
//! `struct nlattr` of linux/netlink.h and linux/genetlink.h; all in host byte order.

pub(super) mod socket;

/// `sizeof(struct nlmsghdr)`.
const MESSAGE_HEAD: usize = 16;
/// `sizeof(struct genlmsghdr)`.
const GENERIC_HEAD: usize = 4;
/// `sizeof(struct nlattr)`.
const ATTRIBUTE_HEAD: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`: without the nested and byte order flags.
const TYPE_MASK: u16 = 0x3fff;

/// Everything in a message before its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Message type: the family's number.
    pub(super) family: u16,
    /// `NLM_F_*`.
    pub(super) flags: u16,
    /// Repeated in every answer.
    pub(super) seq: u32,
    /// The family's command.
    pub(super) command: u8,
    /// The family's version.
    pub(super) version: u8,
}

/// Messages one after the other, ready to be sent at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// What is sent.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds one message.
    pub(super) fn message(&mut self, head: Head, attributes: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(head.family.to_ne_bytes());
        self.bytes.extend(head.flags.to_ne_bytes());
        self.bytes.extend(head.seq.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([head.command, head.version, 0, 0]);
        attributes(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    /// Adds one attribute with this payload, padded to four bytes.
    pub(super) fn put(&mut self, kind: u16, payload: &[u8]) {
        self.attribute(kind, |batch| batch.bytes.extend(payload));
    }

    /// Adds a number in host byte order.
    pub(super) fn put_u16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Adds a number in host byte order.
    pub(super) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Adds a text with the NUL that the kernel wants.
    pub(super) fn put_text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, |batch| {
            batch.bytes.extend(text.as_bytes());
            batch.bytes.push(0);
        });
    }

    /// Adds an attribute made of attributes.
    pub(super) fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, attributes);
    }

    fn attribute(&mut self, kind: u16, payload: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        payload(self);
        let length = self.bytes.len() - start;
        debug_assert!(u16::try_from(length).is_ok(), "an attribute has a 16-bit length");
        self.patch(start, &u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// One message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// Of the request.
    pub(super) seq: u32,
    /// What it carries.
    pub(super) body: Body<'a>,
}

/// What an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// Attributes, to be read with [`attributes`].
    Attributes(&'a [u8]),
    /// An acknowledgement (0) or an errno (over 0): `NLMSG_ERROR`.
    Status(i32),
    /// The end of a dump, with an errno or 0: `NLMSG_DONE`.
    Done(i32),
}

/// An answer that is cut short or contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The messages of one received buffer; ends after the first malformed one.
pub(super) fn answers(buffer: &[u8]) -> impl Iterator<Item = Result<Answer<'_>, Malformed>> {
    let mut rest = buffer;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((answer, after)) = answer(rest) else {
            rest = &[];
            return Some(Err(Malformed));
        };
        rest = after;
        Some(Ok(answer))
    })
}

fn answer(bytes: &[u8]) -> Option<(Answer<'_>, &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let payload = bytes.get(MESSAGE_HEAD..length)?;
    let body = match i32::from(u16_at(bytes, 4)?) {
        libc::NLMSG_ERROR => Body::Status(errno(payload)?),
        // Older kernels end a dump without a status.
        libc::NLMSG_DONE => Body::Done(errno(payload).unwrap_or(0)),
        _ => Body::Attributes(payload.get(GENERIC_HEAD..)?),
    };
    let answer = Answer { seq: u32_at(bytes, 8)?, body };
    Some((answer, bytes.get(length.next_multiple_of(4)..).unwrap_or(&[])))
}

fn errno(payload: &[u8]) -> Option<i32> {
    let bytes = payload.first_chunk()?;
    Some(i32::from_ne_bytes(*bytes).saturating_neg())
}

/// Attributes by type, without the nested and byte order flags; ends at the first malformed one.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let payload = rest.get(ATTRIBUTE_HEAD..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

/// The payload of the first attribute of this type.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload)
}

/// A number in host byte order at this offset.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A number in host byte order at this offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A text up to its NUL or its end; `None` where it is not UTF-8.
pub(super) fn text(payload: &[u8]) -> Option<&str> {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    payload.get(..end).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests;
