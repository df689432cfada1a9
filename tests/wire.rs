//! The wire format: pinned vectors, every reason of refusal, and frames nobody meant to send.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking"
)]

use std::fmt::Write as _;
use std::net::IpAddr;

use pairbeat::cluster::message::{
    Beat, Extent, Freeze, GROUPS_MAX, GroupClaim, Hold, NodeState, Notice, SECTIONS_MAX,
    SectionDigest, Unrest, Verdicts, Wish, Word, Words,
};
use pairbeat::names::{GroupName, NAME_LEN_MAX, NodeName};
use pairbeat::wire::auth::{Auth, KeyError, TAG_LEN};
use pairbeat::wire::frame::{self, Echo, Extras, HEADER_LEN, Header};
use pairbeat::wire::line;
use pairbeat::wire::{DATAGRAM_MAX, PIECES_MAX, Refusal, SessionId};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn auth(node: &str, peer: &str) -> Auth {
    Auth::new(&name(node), &name(peer), [(1, SECRET)]).unwrap()
}

fn header(session: u8) -> Header {
    Header {
        speaks: 1,
        key: 1,
        link: 0,
        piece: 0,
        pieces: 1,
        session: SessionId([session; 16]),
        seq: 7,
        echo: Echo { session: SessionId([0xbb; 16]), seq: 41 },
        link_seq: 40,
        link_hold: 1500,
    }
}

fn claim(group: &str) -> GroupClaim {
    let via = Some(IpAddr::from([192, 168, 2, 101]));
    let group = GroupName::new(group).unwrap();
    GroupClaim {
        group,
        epoch: 3,
        hold: Hold::Active,
        wish: Wish::Content,
        via,
        unrest: Unrest::default(),
    }
}

fn beat(groups: &[&str]) -> Beat {
    let groups = groups.iter().map(|group| claim(group)).collect();
    Beat {
        node: NodeState::Running,
        hears: 0b11,
        config: 0x0123_4567_89ab_cdef,
        notice: Notice::default(),
        groups,
        sections: Vec::new(),
        words: Words::default(),
    }
}

fn seal(beat: &Beat, auth: &Auth) -> Vec<Vec<u8>> {
    frame::seal(&header(0xaa), beat, Extras { candidates: &[], keys: &auth.checks() }, auth)
}

/// The one datagram of a small beat from server101 to server105.
fn good() -> Vec<u8> {
    seal(&beat(&["web"]), &auth("server101", "server105")).remove(0)
}

fn open(bytes: &[u8]) -> Result<frame::Frame, Refusal> {
    frame::open(bytes, &auth("server105", "server101"))
}

/// A frame of server101 with this body, correctly signed whatever it says.
fn signed(body: &[u8]) -> Vec<u8> {
    let mut bytes = good()[..HEADER_LEN].to_vec();
    bytes.extend_from_slice(body);
    resign(bytes)
}

fn resign(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = (bytes.len() + TAG_LEN) as u16;
    bytes[12..14].copy_from_slice(&len.to_be_bytes());
    let tag = auth("server101", "server105").sign(&bytes);
    bytes.extend_from_slice(&tag);
    bytes
}

fn with(place: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    bytes[place..place + value.len()].copy_from_slice(value);
    bytes
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], (value.len() as u16).to_be_bytes().as_slice(), value].concat()
}

const NODE: &[u8] = &[0x81, 0, 1, 2];
const HEARS: &[u8] = &[0x02, 0, 1, 3];
const CONFIG: &[u8] = &[0x03, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

fn needed() -> Vec<u8> {
    [NODE, HEARS, CONFIG].concat()
}

#[test]
fn a_beat_comes_out_as_it_went_in() {
    let sender = auth("server101", "server105");
    let mut sent = beat(&["web", "mail"]);
    sent.groups[0].via = None;
    sent.groups[1].via = Some("2001:db8::1".parse().unwrap());
    let candidates = [Echo { session: SessionId([0xcc; 16]), seq: 9 }];
    let extras = Extras { candidates: &candidates, keys: &sender.checks() };
    let bytes = frame::seal(&header(0xaa), &sent, extras, &sender).remove(0);
    let got = open(&bytes).unwrap();
    assert_eq!(got.header, header(0xaa));
    assert_eq!(got.body.beat, sent);
    assert_eq!(got.body.candidates, candidates);
    let receiver = auth("server105", "server101");
    assert!(got.body.keys.iter().all(|key| receiver.agrees(*key)));
}

#[test]
fn every_state_hold_and_wish_has_its_code() {
    use {Hold::*, NodeState::*, Wish::*};
    let sender = auth("server101", "server105");
    for node in [Booting, Running, Leaving, Gone] {
        for hold in [Nothing, Claiming, Starting, Active, Stopping, Stuck] {
            for wish in [Content, Take, Offer, Decline] {
                let groups = vec![GroupClaim { hold, wish, ..claim("web") }];
                let sent = Beat { node, groups, ..beat(&[]) };
                let bytes = seal(&sent, &sender).remove(0);
                assert_eq!(open(&bytes).unwrap().body.beat, sent);
            }
        }
    }
}

#[test]
fn the_largest_beat_fits_into_its_pieces() {
    let sender = auth("server101", "server105");
    let mut sent = beat(&[]);
    for n in 0..GROUPS_MAX {
        let mut group = claim(&format!("{n:0>NAME_LEN_MAX$}"));
        group.via = Some("2001:db8:1:2:3:4:5:6".parse().unwrap());
        sent.groups.push(group);
    }
    let section = |n| SectionDigest { kind: 6, key: n, digest: !n };
    sent.sections = (0..SECTIONS_MAX as u32).map(section).collect();
    let candidates = [Echo { session: SessionId([0xcc; 16]), seq: 9 }; 8];
    let keys = [sender.checks()[0]; 16];
    let extras = Extras { candidates: &candidates, keys: &keys };
    let datagrams = frame::seal(&header(0xaa), &sent, extras, &sender);
    assert!(datagrams.len() <= usize::from(PIECES_MAX), "{}", datagrams.len());
    let (mut groups, mut sections) = (Vec::new(), Vec::new());
    for (n, bytes) in datagrams.iter().enumerate() {
        assert!(bytes.len() <= DATAGRAM_MAX);
        let got = open(bytes).unwrap();
        assert_eq!(usize::from(got.header.piece), n);
        assert_eq!(usize::from(got.header.pieces), datagrams.len());
        assert_eq!(got.body.candidates.len(), 8);
        assert_eq!(got.body.keys.len(), 16);
        groups.extend(got.body.beat.groups);
        sections.extend(got.body.beat.sections);
    }
    assert_eq!(groups, sent.groups);
    assert_eq!(sections, sent.sections);
}

/// One packet for every reason that `frame` can have; the others are the session's.
#[test]
fn every_reason_of_refusal_has_a_packet_that_meets_it() {
    let twice = [needed(), HEARS.to_vec()].concat();
    let long_claim = field(0x84, &[&[0; 8][..], &[0, 0, 0], &[b'x'; NAME_LEN_MAX + 1]].concat());
    let claims: Vec<u8> = (0..=GROUPS_MAX as u8)
        .flat_map(|n| {
            field(0x84, &[&[0; 8][..], &[0, 0, 0], &[b'a' + n / 26, b'a' + n % 26]].concat())
        })
        .collect();
    let other = seal(&beat(&[]), &auth("server109", "server105")).remove(0);
    let elsewhere = seal(&beat(&[]), &auth("server101", "server109")).remove(0);
    let own = seal(&beat(&[]), &auth("server105", "server101")).remove(0);
    let table: Vec<(Refusal, Vec<u8>, &str)> = vec![
        (Refusal::Size, Vec::new(), "nothing"),
        (Refusal::Size, good()[..HEADER_LEN + TAG_LEN - 1].to_vec(), "one byte short of a frame"),
        (Refusal::Size, vec![0; DATAGRAM_MAX + 1], "one byte too long"),
        (Refusal::Magic, with(0, b"xbhb"), "another protocol"),
        (Refusal::Version, with(4, &[0]), "version 0"),
        (Refusal::Version, with(4, &[2]), "version 2"),
        (Refusal::Length, good()[..good().len() - 1].to_vec(), "cut"),
        (Refusal::Length, [good(), vec![0]].concat(), "appended"),
        (Refusal::Flags, with(6, &[0x10]), "unknown critical flag"),
        (Refusal::Header, with(8, &[8]), "ninth link"),
        (Refusal::Header, with(9, &[1]), "piece 1 of 1"),
        (Refusal::Header, with(10, &[0]), "no pieces"),
        (Refusal::Header, with(10, &[9]), "nine pieces"),
        (Refusal::Header, with(32, &[0; 16]), "no session"),
        (Refusal::Header, with(48, &[0; 8]), "sequence number 0"),
        (Refusal::Reflected, own, "our own"),
        (Refusal::Stranger, other, "a third node"),
        (Refusal::Misaddressed, elsewhere, "to a third node"),
        (Refusal::Key, with(7, &[2]), "unknown key"),
        (Refusal::Signature, with(50, &[1]), "another sequence number"),
        (Refusal::Body, signed(&[0x81]), "a type and no length"),
        (Refusal::Body, signed(&[0x81, 0, 2, 1]), "a value cut short"),
        (Refusal::Critical, signed(&[needed(), field(0xff, &[])].concat()), "unknown critical"),
        (Refusal::Value, signed(&twice), "a field twice"),
        (Refusal::Value, signed(&field(0x81, &[0])), "node state 0"),
        (Refusal::Value, signed(&field(0x81, &[1, 1])), "node state too long"),
        (Refusal::Value, signed(&field(0x03, &[0; 7])), "config too short"),
        (Refusal::Value, signed(&field(0x84, &[0; 11])), "a group without a name"),
        (Refusal::Value, signed(&long_claim), "a group with a long name"),
        (Refusal::Value, signed(&field(0x84, b"12345678\x06\0\0x")), "hold 6"),
        (Refusal::Value, signed(&field(0x84, b"12345678\0\x04\0x")), "wish 4"),
        (Refusal::Value, signed(&field(0x84, b"12345678\0\0\x05x")), "address family 5"),
        (Refusal::Value, signed(&field(0x84, b"12345678\0\0\0\xff")), "a name not in UTF-8"),
        (Refusal::Value, signed(&field(0x05, &[0; 9 * 24])), "nine candidates"),
        (Refusal::Value, signed(&field(0x05, &[0; 23])), "a candidate cut short"),
        (Refusal::Value, signed(&field(0x06, &[0; 17 * 5])), "seventeen keys"),
        (Refusal::Missing, signed(&[]), "no body"),
        (Refusal::Missing, signed(&[NODE, HEARS].concat()), "no config"),
        (Refusal::Missing, signed(&[NODE, CONFIG].concat()), "no hears"),
        (Refusal::Missing, signed(&[HEARS, CONFIG].concat()), "no node state"),
        (Refusal::Groups, signed(&[needed(), claims].concat()), "65 groups"),
    ];
    for (reason, bytes, what) in &table {
        assert_eq!(open(bytes), Err(*reason), "{what}");
    }
    for reason in Refusal::ALL.iter().filter(|reason| **reason < Refusal::Future) {
        assert!(table.iter().any(|(met, ..)| met == reason), "no packet meets {reason:?}");
    }
    assert!(open(&good()).is_ok());
}

#[test]
fn unknown_optional_flags_and_fields_are_skipped() {
    let mut bytes = signed(&[needed(), field(0x7f, b"from the future")].concat());
    bytes.truncate(bytes.len() - TAG_LEN);
    bytes[6] = 0x0f;
    bytes[11] = 1;
    bytes[14] = 1;
    let got = open(&resign(bytes)).unwrap();
    assert_eq!(
        got.body.beat,
        Beat { groups: Vec::new(), config: 0x0102_0304_0506_0708, ..beat(&[]) }
    );
}

#[test]
fn no_bit_of_a_frame_can_be_changed() {
    let good = good();
    for place in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << bit;
            assert!(open(&bytes).is_err(), "byte {place} bit {bit}");
        }
    }
}

#[test]
fn a_reflected_frame_is_nobodys_even_with_the_names_turned_round() {
    let mut bytes = good();
    assert_eq!(frame::open(&bytes, &auth("server101", "server105")), Err(Refusal::Reflected));
    let (sender, receiver) = (bytes[16..24].to_vec(), bytes[24..32].to_vec());
    bytes[16..24].copy_from_slice(&receiver);
    bytes[24..32].copy_from_slice(&sender);
    assert_eq!(frame::open(&bytes, &auth("server101", "server105")), Err(Refusal::Signature));
}

#[test]
fn a_key_is_changed_without_a_gap() {
    let keys: [&[(u8, &[u8])]; 4] =
        [&[(1, b"old")], &[(1, b"old"), (2, b"new")], &[(2, b"new"), (1, b"old")], &[(2, b"new")]];
    let ring = |node, peer, step: usize| {
        Auth::new(&name(node), &name(peer), keys[step].iter().copied()).unwrap()
    };
    // Each node is at most one step ahead of the other.
    for (a, b) in [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)] {
        let (a_auth, b_auth) = (ring("a", "b", a), ring("b", "a", b));
        assert!(frame::open(&seal(&beat(&[]), &a_auth)[0], &b_auth).is_ok(), "a {a} b {b}");
        assert!(frame::open(&seal(&beat(&[]), &b_auth)[0], &a_auth).is_ok(), "a {a} b {b}");
    }
    let other = Auth::new(&name("b"), &name("a"), [(1, b"other".as_slice())]).unwrap();
    assert!(!other.agrees(ring("a", "b", 0).checks()[0]));
}

#[test]
fn a_key_ring_that_protects_nothing_is_refused() {
    let ring = |keys: &[(u8, &[u8])]| {
        Auth::new(&name("a"), &name("b"), keys.iter().copied()).map(|auth| auth.signing())
    };
    assert_eq!(ring(&[]), Err(KeyError::None));
    assert_eq!(ring(&[(1, b"x"), (2, b"")]), Err(KeyError::Empty(2)));
    assert_eq!(ring(&[(1, b"x"), (1, b"y")]), Err(KeyError::Twice(1)));
    assert_eq!(ring(&[(7, b"x"), (1, b"y")]), Ok(7));
}

/// xorshift64*: the same frames in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

/// Half of the frames are signed after the damage, so that the body is read as well.
#[test]
fn a_hundred_thousand_damaged_frames_are_survived() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let big = seal(&beat(&["web", "mail", "db"]), &auth("server101", "server105")).remove(0);
    let receiver = auth("server105", "server101");
    let mut taken = 0;
    for _ in 0..100_000 {
        let mut bytes = if random.next(2) == 0 { good() } else { big.clone() };
        let unsigned = random.next(2) == 0;
        if !unsigned {
            bytes.truncate(bytes.len() - TAG_LEN);
        }
        let from = if unsigned { 0 } else { HEADER_LEN };
        for _ in 0..=random.next(4) {
            match random.next(4) {
                0 => bytes.truncate(from + random.next(bytes.len() - from + 1)),
                1 => {
                    bytes.insert(from + random.next(bytes.len() - from + 1), random.next(256) as u8)
                }
                _ if bytes.len() > from => {
                    let place = from + random.next(bytes.len() - from);
                    bytes[place] = random.next(256) as u8;
                }
                _ => {}
            }
        }
        let bytes = if unsigned { bytes } else { resign(bytes) };
        taken += usize::from(frame::open(&bytes, &receiver).is_ok());
    }
    assert!(taken > 1000, "damage that hits nothing but values is read: {taken}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// One block of `tests/wire/vectors.txt`.
#[derive(Default)]
struct Vector {
    title: String,
    words: Vec<(String, String)>,
}

impl Vector {
    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.words.iter().filter(move |(word, _)| word == key).map(|(_, value)| value.as_str())
    }

    fn one(&self, key: &str) -> &str {
        self.all(key).next().unwrap_or_else(|| panic!("{}: no `{key}`", self.title))
    }

    fn auth(&self, node: &str, peer: &str) -> Auth {
        let keys: Vec<(u8, Vec<u8>)> = self
            .all("key")
            .map(|key| key.split_once(' ').unwrap())
            .map(|(id, secret)| (id.parse().unwrap(), unhex(secret)))
            .collect();
        let keys = keys.iter().map(|(id, secret)| (*id, secret.as_slice()));
        Auth::new(&name(self.one(node)), &name(self.one(peer)), keys).unwrap()
    }

    fn echo(text: &str) -> Echo {
        let (session, seq) = text.split_once(' ').unwrap();
        let session = SessionId(unhex(session).try_into().unwrap());
        Echo { session, seq: seq.parse().unwrap() }
    }

    fn beat(&self) -> Beat {
        let node = match self.one("node") {
            "booting" => NodeState::Booting,
            "running" => NodeState::Running,
            "leaving" => NodeState::Leaving,
            "gone" => NodeState::Gone,
            other => panic!("{}: node `{other}`", self.title),
        };
        Beat {
            node,
            hears: self.one("hears").parse().unwrap(),
            config: u64::from_str_radix(self.one("config"), 16).unwrap(),
            notice: self.notice(),
            groups: self.all("group").map(Self::group).collect(),
            sections: self.all("section").map(Self::section).collect(),
            words: self.words(),
        }
    }

    fn words(&self) -> Words {
        let digest = self.all("words").next().map(|text| u64::from_str_radix(text, 16).unwrap());
        let told = self.all("word").map(|text| {
            let (stamp, text) = text.split_once(' ').unwrap();
            Word { stamp: stamp.parse().unwrap(), text: text.to_owned() }
        });
        let verdicts = self.all("verdicts").next().map(|text| {
            let words: Vec<&str> = text.split(' ').collect();
            let [list, first, states] = words[..] else { panic!("verdicts `{text}`") };
            let list = u32::from_str_radix(list, 16).unwrap();
            Verdicts { list, first: first.parse().unwrap(), states: unhex(states) }
        });
        Words { digest: digest.unwrap_or_default(), told: told.collect(), verdicts }
    }

    fn notice(&self) -> Notice {
        let guarded = self.all("guarded").next().is_some();
        let reach = self.all("reach").next().map(|text| text.parse().unwrap());
        let Some(text) = self.all("notice").next() else {
            return Notice { guarded, reach, ..Notice::default() };
        };
        let words: Vec<&str> = text.split(' ').collect();
        let [extent, numbers @ ..] = &words[..] else { panic!("notice `{text}`") };
        let extent = match *extent {
            "nothing" => Extent::Nothing,
            "except-dead" => Extent::ExceptDead,
            "all" => Extent::All,
            other => panic!("notice `{other}`"),
        };
        let numbers: Vec<u32> = numbers.iter().map(|it| it.parse().unwrap()).collect();
        let [generation, back_ms, deadtime_ms] = numbers[..] else { panic!("notice `{text}`") };
        let freeze = Freeze { generation, extent };
        Notice { freeze, back_ms, deadtime_ms, guarded, reach }
    }

    fn section(text: &str) -> SectionDigest {
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, key, digest] = words[..] else { panic!("section `{text}`") };
        let hex = |text| u32::from_str_radix(text, 16).unwrap();
        SectionDigest { kind: kind.parse().unwrap(), key: hex(key), digest: hex(digest) }
    }

    fn group(text: &str) -> GroupClaim {
        let words: Vec<&str> = text.split(' ').collect();
        let [group, epoch, hold, wish, via] = words[..] else { panic!("group `{text}`") };
        let holds = [
            ("nothing", Hold::Nothing),
            ("claiming", Hold::Claiming),
            ("starting", Hold::Starting),
            ("active", Hold::Active),
            ("stopping", Hold::Stopping),
            ("stuck", Hold::Stuck),
        ];
        let wishes = [
            ("content", Wish::Content),
            ("take", Wish::Take),
            ("offer", Wish::Offer),
            ("decline", Wish::Decline),
        ];
        GroupClaim {
            group: GroupName::new(group).unwrap(),
            epoch: epoch.parse().unwrap(),
            hold: holds.iter().find(|(word, _)| *word == hold).unwrap().1,
            wish: wishes.iter().find(|(word, _)| *word == wish).unwrap().1,
            via: (via != "-").then(|| via.parse().unwrap()),
            unrest: Unrest::default(),
        }
    }

    fn header(&self) -> Header {
        let session = SessionId(unhex(self.one("session")).try_into().unwrap());
        let (link_seq, link_hold) = self.one("heard-here").split_once(' ').unwrap();
        Header {
            speaks: 1,
            key: self.auth("from", "to").signing(),
            link: self.one("link").parse().unwrap(),
            piece: 0,
            pieces: self.all("frame").count() as u8,
            session,
            seq: self.one("seq").parse().unwrap(),
            echo: Self::echo(self.one("echo")),
            link_seq: link_seq.parse().unwrap(),
            link_hold: link_hold.parse().unwrap(),
        }
    }

    fn seal(&self) -> Vec<String> {
        let auth = self.auth("from", "to");
        let candidates: Vec<Echo> = self.all("candidate").map(Self::echo).collect();
        let extras = Extras { candidates: &candidates, keys: &auth.checks() };
        let datagrams = frame::seal(&self.header(), &self.beat(), extras, &auth);
        datagrams.iter().map(|bytes| hex(bytes)).collect()
    }
}

fn vectors(text: &str) -> Vec<Vector> {
    let mut all: Vec<Vector> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.split_once(' ').unwrap() {
            ("vector", title) => {
                all.push(Vector { title: title.to_owned(), ..Vector::default() });
            }
            (word, value) => {
                let vector = all.last_mut().unwrap();
                vector.words.push((word.to_owned(), value.to_owned()));
            }
        }
    }
    all
}

/// The same datagrams on a serial line.
#[test]
fn pinned_lines_are_written_and_read_as_they_always_were() {
    let all = vectors(include_str!("wire/vectors.txt"));
    let with_lines = all.iter().filter(|vector| vector.all("line").next().is_some());
    assert!(with_lines.clone().count() >= 2);
    for vector in with_lines {
        for (frame, on_line) in vector.all("frame").zip(vector.all("line")) {
            assert_eq!(hex(&line::encode(&unhex(frame))), on_line, "{}", vector.title);
            let bytes = unhex(on_line);
            let mut decoder = line::Decoder::default();
            assert_eq!(decoder.next(&mut bytes.as_slice()), Some(unhex(frame).as_slice()));
        }
    }
}

#[test]
fn the_lengths_of_a_beat_are_known_before_it_is_made() {
    let auth = auth("server101", "server105");
    let notice = Notice { guarded: true, deadtime_ms: 2000, ..Notice::default() };
    let via = Some("2001:db8::1".parse().unwrap());
    for count in [0, 1, 2, 20, GROUPS_MAX] {
        let names: Vec<String> = (0..count).map(|n| format!("{:0>1$}", n, 2 + n % 60)).collect();
        let mut groups: Vec<GroupClaim> = names.iter().map(|name| claim(name)).collect();
        groups.iter_mut().for_each(|claim| claim.via = via);
        let sent: Vec<usize> =
            seal(&Beat { notice, groups, ..beat(&[]) }, &auth).iter().map(Vec::len).collect();
        assert_eq!(frame::lengths(names.iter().map(String::len), 1), sent, "{count} groups");
    }
}

/// Frames that other versions have sent: never changed, only added to.
#[test]
fn pinned_vectors_are_written_and_read_as_they_always_were() {
    let all = vectors(include_str!("wire/vectors.txt"));
    assert!(all.len() >= 12, "{} vectors", all.len());
    for vector in &all {
        let frames: Vec<&str> = vector.all("frame").collect();
        let receiver = vector.auth("to", "from");
        let read: Vec<_> = frames.iter().map(|hex| frame::open(&unhex(hex), &receiver)).collect();
        if let Some(reason) = vector.all("refused").next() {
            let got = read[0].as_ref().unwrap_err();
            assert_eq!(serde_json::to_value(got).unwrap(), reason, "{}", vector.title);
            continue;
        }
        assert_eq!(vector.seal(), frames, "{}", vector.title);
        let mut groups = Vec::new();
        for (n, got) in read.into_iter().enumerate() {
            let got = got.unwrap();
            assert_eq!(
                got.header,
                Header { piece: n as u8, ..vector.header() },
                "{}",
                vector.title
            );
            groups.extend(got.body.beat.groups);
        }
        assert_eq!(groups, vector.beat().groups, "{}", vector.title);
    }
}
