//! Datagrams: as they are, and signed by the peer whatever they say.

use pairbeat::names::NodeName;
use pairbeat::wire::auth::{Auth, TAG_LEN};
use pairbeat::wire::frame::{self, Extras, Frame, HEADER_LEN, Header};
use pairbeat::wire::line::{self, Decoder};
use pairbeat::wire::{DATAGRAM_MAX, PIECES_MAX, Refusal};

/// Key 1 of `tests/wire/vectors.txt`.
pub(super) const SECRET: &[u8] =
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\
      \x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
/// Both nodes, the one that sends in `frame` first.
pub(super) const NODES: [&str; 2] = ["server101", "server105"];

/// The keys of one node.
pub(super) fn auth(me: usize) -> Auth {
    let name = |which: usize| NodeName::new(NODES[which]).unwrap();
    Auth::new(&name(me), &name(1 - me), [(1, SECRET)]).unwrap()
}

/// The same datagram as the owner of `auth` would have signed it: names, length, key and signature
/// are right, all else is as it was. `None` where it is too short for a frame.
pub(super) fn signed(bytes: &[u8], auth: &Auth) -> Option<Vec<u8>> {
    let len = bytes.len().min(DATAGRAM_MAX);
    let mut out = bytes.get(..len.checked_sub(TAG_LEN)?)?.to_vec();
    out.get(..HEADER_LEN)?;
    out[..4].copy_from_slice(b"pbhb");
    out[4] = frame::VERSION;
    out[7] = auth.signing();
    out[12..14].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    out[16..24].copy_from_slice(&auth.node().0);
    out[24..32].copy_from_slice(&auth.peer().0);
    let tag = auth.sign(&out);
    out.extend_from_slice(&tag);
    Some(out)
}

pub(super) fn frame(bytes: &[u8]) -> bool {
    let (sender, receiver) = (auth(0), auth(1));
    let as_it_is = frame::open(bytes, &receiver);
    let Some(good) = signed(bytes, &sender) else {
        assert_eq!(as_it_is, Err(Refusal::Size));
        return false;
    };
    let opened = frame::open(&good, &receiver);
    if as_it_is.is_ok() {
        assert_eq!(as_it_is, opened, "a right signature changes nothing");
    }
    assert!(!matches!(opened, Err(Refusal::Signature | Refusal::Key | Refusal::Stranger)));
    let Ok(frame) = opened else { return false };
    survives(&frame, &sender, &receiver);
    true
}

/// Written by us and read again it says the same, in as many pieces as our longer form needs.
fn survives(frame: &Frame, sender: &Auth, receiver: &Auth) {
    let body = &frame.body;
    let extras = Extras { candidates: &body.candidates, keys: &body.keys };
    let sealed = frame::seal(&frame.header, &body.beat, extras, sender);
    assert!(sealed.len() <= usize::from(PIECES_MAX));
    let mut groups = Vec::new();
    for (bytes, piece) in sealed.iter().zip(0..) {
        let again = frame::open(bytes, receiver).unwrap();
        let pieces = u8::try_from(sealed.len()).unwrap();
        let speaks = frame::VERSION;
        assert_eq!(again.header, Header { piece, pieces, speaks, ..frame.header.clone() });
        assert_eq!((&again.body.candidates, &again.body.keys), (&body.candidates, &body.keys));
        let (now, before) = (&again.body.beat, &body.beat);
        assert_eq!((now.node, now.hears, now.config), (before.node, before.hears, before.config));
        groups.extend(again.body.beat.groups);
    }
    assert_eq!(groups, body.beat.groups);
}

/// The bytes of a serial line. How they are cut changes nothing, what comes out can be sent again,
/// and whatever came before, the next frame is found.
pub(super) fn serial_line(bytes: &[u8]) -> bool {
    let mut whole = Decoder::default();
    let found = datagrams(&mut whole, bytes);
    let mut cut = Decoder::default();
    let pieces = bytes.chunks(1 + bytes.len() % 7);
    let again: Vec<Vec<u8>> = pieces.flat_map(|piece| datagrams(&mut cut, piece)).collect();
    assert_eq!(found, again);
    assert_eq!(whole.broken(), cut.broken());
    assert!(whole.broken() <= bytes.len() as u64);
    for datagram in &found {
        assert!(datagram.len() <= DATAGRAM_MAX);
        let sent = datagrams(&mut Decoder::default(), &line::encode(datagram));
        assert_eq!(sent, [datagram.as_slice()]);
    }
    let next = datagrams(&mut whole, &line::encode(b"next"));
    assert_eq!(next.last().map(Vec::as_slice), Some(b"next".as_slice()));
    !found.is_empty()
}

fn datagrams(decoder: &mut Decoder, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(datagram) = decoder.next(&mut bytes) {
        found.push(datagram.to_vec());
    }
    found
}
