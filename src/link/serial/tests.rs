//! Real terminals: the test has the other end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::*;
use crate::config::Baud;
use crate::sys::scratch::Scratch;
use crate::wire::DATAGRAM_MAX;

/// The other end of a line.
struct Far {
    file: File,
    device: PathBuf,
    decoder: Decoder,
}

impl Far {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end: OwnedFd = openpt(flags).unwrap();
        rustix::fs::fcntl_setfl(&end, rustix::fs::OFlags::NONBLOCK).unwrap();
        grantpt(&end).unwrap();
        unlockpt(&end).unwrap();
        let device = ptsname(&end, Vec::new()).unwrap().into_string().unwrap().into();
        Self { file: end.into(), device, decoder: Decoder::default() }
    }

    fn link(&self, baud: u32, now: Instant) -> SerialLink {
        let serial = Serial { device: self.device.clone(), baud: Baud::new(baud).unwrap() };
        SerialLink::open(LinkId(3), &serial, now)
    }

    /// What has come in.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(len) = self.file.read(&mut buffer) {
            let mut bytes = &buffer[..len];
            while let Some(datagram) = self.decoder.next(&mut bytes) {
                found.push(datagram.to_vec());
            }
        }
        found
    }

    /// The same, once there is something: the kernel passes it on in its own time.
    fn hears(&mut self) -> Vec<Vec<u8>> {
        let deadline = clock::now().plus(Duration::from_secs(10));
        loop {
            let found = self.heard();
            if !found.is_empty() {
                return found;
            }
            assert!(clock::now() < deadline, "nothing came");
        }
    }
}

fn received(link: &mut SerialLink) -> Vec<u8> {
    let mut buffer: Buffer = [0; DATAGRAM_MAX + 1];
    let deadline = clock::now().plus(Duration::from_secs(10));
    loop {
        if let Some((arrival, len)) = link.receive(&mut buffer) {
            assert_eq!(arrival.link, LinkId(3));
            return buffer[..len].to_vec();
        }
        assert!(clock::now() < deadline, "nothing came: {:?}", link.fault());
    }
}

fn beat(number: u8) -> Vec<Vec<u8>> {
    vec![vec![number; 200]]
}

#[test]
fn datagrams_go_both_ways_and_noise_is_counted() {
    let mut far = Far::new();
    let mut link = far.link(115_200, clock::now());
    assert!(link.fault().is_none());
    link.send(&beat(1), clock::now());
    assert_eq!(far.hears(), beat(1));
    for bytes in [&b"login: "[..], &line::encode(b"one"), b"\x07", &line::encode(b"two")] {
        far.file.write_all(bytes).unwrap();
    }
    assert_eq!(received(&mut link), b"one");
    assert_eq!(received(&mut link), b"two");
    let traffic = link.traffic();
    assert_eq!((traffic.sent, traffic.failed, traffic.broken), (1, 0, 2));
}

#[test]
fn a_line_takes_a_beat_when_the_one_before_is_out_and_the_newest_then() {
    let mut far = Far::new();
    let mut now = clock::now();
    let mut link = far.link(9600, now);
    assert_eq!(link.refresh_at(), Instant::NEVER);
    for number in 1..=5 {
        link.send(&beat(number), now);
    }
    assert_eq!(far.hears(), beat(1));
    let bits = u64::try_from(line::encode(&beat(1)[0]).len() * 10).unwrap();
    assert_eq!(link.refresh_at(), now.plus(Duration::from_nanos(bits * 1_000_000_000 / 9600)));
    for expected in [2, 5] {
        now = link.refresh_at();
        link.refresh(now);
        assert_eq!(far.hears(), beat(expected));
    }
    now = link.refresh_at();
    link.refresh(now);
    assert_eq!((far.heard(), link.refresh_at()), (vec![], Instant::NEVER));
    assert_eq!((link.traffic().sent, link.traffic().left_out), (3, 2));
}

#[test]
fn a_beat_in_pieces_is_sent_whole_before_the_next() {
    let mut far = Far::new();
    let mut now = clock::now();
    let mut link = far.link(19_200, now);
    let pieces: Vec<Vec<u8>> = (0..8).map(|number| vec![number; DATAGRAM_MAX]).collect();
    link.send(&pieces, now);
    link.send(&beat(9), now);
    let mut got = Vec::new();
    loop {
        got.extend(far.hears());
        now = link.refresh_at();
        if now == Instant::NEVER {
            break;
        }
        link.refresh(now);
    }
    assert_eq!(got, [pieces, beat(9)].concat());
}

#[test]
fn a_line_that_nobody_reads_blocks_nothing_and_breaks_no_frame() {
    let mut far = Far::new();
    let mut now = clock::now();
    let mut link = far.link(921_600, now);
    let mut sent = 0_u32;
    while link.traffic().failure.is_none() {
        sent += 1;
        link.send(&[sent.to_be_bytes().repeat(100)], now);
        now = now.plus(Duration::from_millis(100));
        link.refresh(now);
        assert!(sent < 10_000, "there is always room");
    }
    assert_eq!(link.traffic().failure.as_deref(), Some("the line takes no bytes"));
    assert!(link.traffic().left_out > 10);
    let (mut heard, mut before) = (Vec::new(), 0);
    let deadline = clock::now().plus(Duration::from_secs(10));
    while before < sent {
        assert!(clock::now() < deadline, "the newest never came");
        heard.extend(far.heard());
        now = now.plus(Duration::from_millis(100));
        link.refresh(now);
        for datagram in heard.drain(..) {
            let number = u32::from_be_bytes(datagram[..4].try_into().unwrap());
            assert!(number > before && datagram == number.to_be_bytes().repeat(100));
            before = number;
        }
    }
    assert_eq!(far.decoder.broken(), 0);
    assert_eq!(link.traffic().failure, None);
}

#[test]
fn the_last_beats_are_sent_when_the_line_is_closed() {
    let mut far = Far::new();
    let now = clock::now();
    let mut link = far.link(9600, now);
    for number in 1..=3 {
        link.send(&beat(number), now);
    }
    // The terminal must not end with its last user.
    let _open = File::open(&far.device).unwrap();
    drop(link);
    let mut got = Vec::new();
    while got.len() < 3 {
        got.extend(far.hears());
    }
    assert_eq!(got, [beat(1), beat(2), beat(3)].concat());
}

#[test]
fn a_line_that_goes_is_opened_again_when_it_is_back() {
    let directory = Scratch::new("tty");
    let path = directory.join("line");
    let mut now = clock::now();
    let serial = Serial { device: path.clone(), baud: Baud::default() };
    let mut link = SerialLink::open(LinkId(3), &serial, now);
    let said = |link: &SerialLink| super::super::Fault::Serial(link.fault().unwrap()).to_string();
    for _ in 0..2 {
        assert!(said(&link).starts_with(&path.display().to_string()), "{}", said(&link));
        link.send(&beat(0), now);
        let mut far = Far::new();
        let _old = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(&far.device, &path).unwrap();
        now = now.plus(Duration::from_secs(20));
        link.refresh(now);
        assert!(link.fault().is_none());
        link.send(&beat(1), now);
        assert_eq!(far.hears(), beat(1));
        drop(far);
        let mut buffer: Buffer = [0; DATAGRAM_MAX + 1];
        assert!(link.receive(&mut buffer).is_none());
        assert!(link.fd().is_none() && said(&link).contains("the line has gone"));
    }
}

#[test]
fn what_is_no_line_or_another_program_s_is_named() {
    let far = Far::new();
    let now = clock::now();
    let _first = far.link(9600, now);
    for (device, text, lasting) in [
        (far.device.to_str().unwrap(), "another program uses it", false),
        ("/dev/null", "this is no serial line", true),
        ("/dev", "this is no serial line", true),
        ("/proc/self/status", "this is no serial line", true),
        ("/dev/ttyNOT", "there is no such device", false),
    ] {
        let serial = Serial { device: device.into(), baud: Baud::default() };
        let link = SerialLink::open(LinkId(0), &serial, now);
        let fault = super::super::Fault::Serial(link.fault().unwrap());
        assert_eq!(fault.to_string(), format!("{device}: {text}"));
        assert_eq!(fault.is_lasting(), lasting, "{device}");
    }
}

#[test]
fn a_farewell_goes_over_a_line_that_nobody_has_open() {
    let mut far = Far::new();
    let link = far.link(115_200, clock::now());
    let word = link.farewell(b"gone");
    assert!(say(&word).is_err(), "somebody has it open");
    let _open = File::open(&far.device).unwrap();
    drop(link);
    say(&word).unwrap();
    assert_eq!(far.hears(), [b"gone"]);
}
