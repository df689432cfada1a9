//! Freshness without clocks: which signed frames prove that the peer is alive now.
//!
//! Each start draws a session. A frame is proof only when it echoes *our* session; a new session
//! of the peer is adopted only when it echoes a packet that we sent after we had adopted the one
//! before, and sent within the last deadtime: no capture of an earlier run can do that, whoever
//! plays it back and however often. Inside a session, sequence numbers count once. The rules are
//! spelled out in `docs/PROTOCOL.md`; signatures were verified before ([`crate::wire::frame`]).

use std::collections::{BTreeMap, VecDeque};
use std::mem::take;
use std::time::Duration;

use crate::cluster::message::{
    Beat, GROUPS_MAX, GroupClaim, LINKS_MAX, NodeState, SECTIONS_MAX, SectionDigest, Verdicts,
    WORDS_MAX, Word, Words,
};
use crate::names::LinkId;
use crate::time::Instant;
use crate::wire::auth::KeyCheck;
use crate::wire::candidate::Candidates;
use crate::wire::frame::{Echo, FAREWELL_BIT, Frame};
use crate::wire::window::{Seen, Window};
use crate::wire::{Refusal, SessionId};

/// How many of our own packets we remember, for round-trip times and echoes: 12 s at the
/// shortest sensible keepalive of 50 ms. An echo of an older one proves nothing.
const SENT_MAX: usize = 256;

/// Where and when the kernel received a datagram.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Our link.
    pub link: LinkId,
    /// When.
    pub at: Instant,
}

/// What a signed frame is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The peer's whole state, newer than any before.
    Fresh {
        /// The state.
        beat: Beat,
        /// The moment up to which this proves the peer alive.
        at: Instant,
        /// Highest beat of ours that the peer's core had been told of; 0: none that we know.
        echo: u64,
        /// Whether this frame began a session.
        adopted: bool,
    },
    /// A copy, a late one or one piece of several: proof of life, no news.
    Alive {
        /// The moment up to which this proves the peer alive. Not the arrival, when a newer
        /// packet came before it.
        at: Instant,
        /// Whether no newer packet came before it.
        newest: bool,
        /// Whether this frame began a session.
        adopted: bool,
    },
    /// Signed, and that is all. A reason to wait, never to act.
    Presence {
        /// Whether its session was put on trial just now, and waits for our echo.
        newcomer: bool,
    },
    /// One piece of a farewell signed in advance.
    Piece,
}

/// What is known of one of our links, within the peer's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkTrace {
    /// Highest sequence number heard on it; 0: none.
    pub seq: u64,
    /// When that came in.
    pub at: Instant,
    /// The peer's number of the link.
    pub from: u8,
    /// Smoothed round-trip time (gain 1/8, as TCP's in RFC 6298), without the peer's hold time.
    pub rtt: Option<Duration>,
    rtt_seq: u64,
}

/// The peer as its proven session shows it.
#[derive(Debug)]
pub struct Peer {
    /// Its session.
    pub session: SessionId,
    /// Whether it has said its last word.
    pub ended: bool,
    /// Highest protocol version that it reads.
    pub speaks: u8,
    /// Id of the key that it signs with.
    pub key: u8,
    /// Its keys.
    pub keys: Vec<KeyCheck>,
    /// Highest complete beat, given to the core.
    delivered: u64,
    /// Highest packet, and when it came in first.
    newest: u64,
    newest_at: Instant,
    assembly: Option<Assembly>,
    /// By the sender's link, so that a copy played back on another link is known as one.
    windows: [Window; LINKS_MAX],
    /// By our link.
    traces: [LinkTrace; LINKS_MAX],
}

/// What a piece says beyond the node's fields.
type Part = (Vec<GroupClaim>, Vec<SectionDigest>, Vec<Word>, Option<Verdicts>);

/// The pieces of the latest beat.
#[derive(Debug)]
struct Assembly {
    seq: u64,
    pieces: u8,
    parts: BTreeMap<u8, Part>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    seq: u64,
    beat: u64,
    at: Instant,
}

/// Our session and the peer's.
#[derive(Debug)]
pub struct Sessions {
    mine: SessionId,
    deadtime: Duration,
    sent: VecDeque<Sent>,
    seq: u64,
    /// The last echo translated: the peer's may stay the same for longer than we remember.
    acked: (u64, u64),
    peer: Option<Peer>,
    /// What we had sent when the peer's session was adopted. Earlier sessions of the peer can't
    /// have heard more.
    floor: u64,
    candidates: Candidates,
}

impl Sessions {
    /// `mine` is random and never zero; `deadtime` is how old an echo may be that begins a
    /// session.
    pub fn new(mine: SessionId, deadtime: Duration) -> Self {
        Self {
            mine,
            deadtime,
            sent: VecDeque::new(),
            seq: 0,
            acked: (0, 0),
            peer: None,
            floor: 0,
            candidates: Candidates::new(deadtime),
        }
    }

    /// Another deadtime: how old an echo may be that begins a session.
    pub fn retime(&mut self, deadtime: Duration) {
        self.deadtime = deadtime;
        self.candidates.retime(deadtime);
    }

    /// Our session.
    pub fn mine(&self) -> SessionId {
        self.mine
    }

    /// The proven session, ended or not.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The proven peer, where it has been heard within a deadtime and has not left.
    pub fn present(&self, now: Instant) -> Option<&Peer> {
        let here = |peer: &&Peer| !peer.ended && now.since(peer.newest_at) < self.deadtime;
        self.peer().filter(here)
    }

    /// The sequence number of the next packets, which carry the core's beat number `beat`.
    pub fn next_seq(&mut self, now: Instant, beat: u64) -> u64 {
        self.seq = self.seq.saturating_add(1);
        if self.sent.len() >= SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { seq: self.seq, beat, at: now });
        self.seq
    }

    /// The echo for the header of what we send: of the proven session, and of nothing else.
    pub fn echo(&self) -> Echo {
        match &self.peer {
            Some(peer) if !peer.ended => Echo { session: peer.session, seq: peer.delivered },
            Some(_) | None => Echo::default(),
        }
    }

    /// The header's fields for the round-trip time on a link: highest sequence number heard
    /// there, and microseconds since.
    pub fn link_echo(&self, link: LinkId, now: Instant) -> (u64, u32) {
        let trace = self.trace(link);
        let hold = now.since(trace.at).as_micros();
        if trace.seq == 0 { (0, 0) } else { (trace.seq, u32::try_from(hold).unwrap_or(u32::MAX)) }
    }

    /// The sessions on trial, to be echoed in the body.
    pub fn candidates(&self, now: Instant) -> Vec<Echo> {
        self.candidates.echoes(now)
    }

    /// What the proven session shows of a link of ours.
    pub fn trace(&self, link: LinkId) -> LinkTrace {
        let traces = self.peer.as_ref().map(|peer| &peer.traces);
        traces.and_then(|traces| traces.get(usize::from(link.0))).copied().unwrap_or_default()
    }

    /// Packets lost on a link of ours and the number that is counted over, at most 64.
    pub fn loss(&self, link: LinkId) -> (u32, u32) {
        let from = usize::from(self.trace(link).from);
        match &self.peer {
            Some(peer) if self.trace(link).seq > 0 => {
                peer.windows.get(from).map_or((0, 0), |window| window.loss(peer.newest))
            }
            Some(_) | None => (0, 0),
        }
    }

    /// Judges a signed frame.
    ///
    /// # Errors
    /// A [`Refusal`] from [`Refusal::Future`] on, or [`Refusal::Value`] and [`Refusal::Groups`]
    /// for pieces that don't belong together: the frame changes nothing.
    pub fn judge(
        &mut self,
        now: Instant,
        arrival: Arrival,
        frame: Frame,
    ) -> Result<Verdict, Refusal> {
        let echoed = self.echoed(&frame);
        if echoed.is_some_and(|seq| seq > self.seq) {
            return Err(Refusal::Future);
        }
        let last_word = frame.body.beat.node == NodeState::Gone;
        if frame.is_farewell() && !last_word {
            return Err(Refusal::Value);
        }
        match (&self.peer, echoed) {
            (Some(peer), _) if peer.session == frame.header.session && peer.ended => {
                Err(Refusal::Ended)
            }
            (Some(peer), Some(_)) if peer.session == frame.header.session => {
                self.accept(arrival, frame, false)
            }
            // It has proven itself before, so this is from before that.
            (Some(peer), None) if peer.session == frame.header.session => Err(Refusal::Unproven),
            (Some(_), Some(seq)) if seq <= self.floor => Err(Refusal::Superseded),
            _ if last_word => Err(Refusal::Unproven),
            (_, Some(seq)) if self.sent_lately(now, seq) => {
                self.adopt(&frame);
                self.accept(arrival, frame, true)
            }
            _ => {
                let heard = Echo { session: frame.header.session, seq: frame.header.seq };
                Ok(Verdict::Presence { newcomer: self.candidates.note(now, heard) })
            }
        }
    }

    /// Highest sequence number of ours that the frame echoes, as proven or as a candidate.
    fn echoed(&self, frame: &Frame) -> Option<u64> {
        let all = std::iter::once(&frame.header.echo).chain(&frame.body.candidates);
        all.filter(|echo| echo.session == self.mine).map(|echo| echo.seq).max()
    }

    fn sent_lately(&self, now: Instant, seq: u64) -> bool {
        self.find_sent(seq).is_some_and(|sent| now.since(sent.at) <= self.deadtime)
    }

    fn find_sent(&self, seq: u64) -> Option<Sent> {
        let oldest = self.sent.front()?.seq;
        let place = usize::try_from(seq.checked_sub(oldest)?).ok()?;
        self.sent.get(place).copied()
    }

    /// The core's number of the beat that the peer's core was told of. A candidate's echo
    /// doesn't count: such beats are not told.
    fn beat_echoed(&mut self, echo: Echo) -> u64 {
        if echo.session != self.mine {
            return 0;
        }
        if echo.seq != self.acked.0 {
            self.acked = (echo.seq, self.find_sent(echo.seq).map_or(0, |sent| sent.beat));
        }
        self.acked.1
    }

    fn adopt(&mut self, frame: &Frame) {
        self.floor = self.seq;
        self.candidates.clear();
        self.peer = Some(Peer {
            session: frame.header.session,
            ended: false,
            speaks: frame.header.speaks,
            key: frame.header.key,
            keys: Vec::new(),
            delivered: 0,
            newest: 0,
            newest_at: Instant::BOOT,
            assembly: None,
            windows: Default::default(),
            traces: [LinkTrace::default(); LINKS_MAX],
        });
    }

    fn accept(
        &mut self,
        arrival: Arrival,
        mut frame: Frame,
        adopted: bool,
    ) -> Result<Verdict, Refusal> {
        let farewell = frame.is_farewell();
        let sent = self.find_sent(frame.header.link_seq).map(|sent| sent.at);
        let Some(peer) = &mut self.peer else { return Err(Refusal::Unproven) };
        let newest = frame.header.seq > peer.newest;
        let at = if farewell { arrival.at } else { peer.note(arrival, &mut frame, sent)? };
        let echo = frame.header.echo;
        match peer.assemble(frame)? {
            Some(beat) => {
                peer.ended = beat.node == NodeState::Gone;
                Ok(Verdict::Fresh { beat, at, echo: self.beat_echoed(echo), adopted })
            }
            None if farewell => Ok(Verdict::Piece),
            None => Ok(Verdict::Alive { at, newest, adopted }),
        }
    }
}

impl Peer {
    /// Counts a packet, and says up to which moment it proves the peer alive: one that was sent
    /// before another that we have, for all we know, no longer than that one does.
    fn note(
        &mut self,
        arrival: Arrival,
        frame: &mut Frame,
        sent: Option<Instant>,
    ) -> Result<Instant, Refusal> {
        let header = &frame.header;
        let window = self.windows.get_mut(usize::from(header.link)).ok_or(Refusal::Header)?;
        match window.note(header.seq, header.piece) {
            Seen::New => {}
            Seen::Before => return Err(Refusal::Replayed),
            Seen::TooOld => return Err(Refusal::Old),
        }
        if let Some(trace) = self.traces.get_mut(usize::from(arrival.link.0)) {
            trace.note(arrival.at, header.seq, header.link);
            if let Some(sent) = sent {
                let hold = Duration::from_micros(u64::from(header.link_hold));
                trace.round_trip(header.link_seq, arrival.at.since(sent).saturating_sub(hold));
            }
        }
        if header.seq <= self.newest {
            return Ok(arrival.at.min(self.newest_at));
        }
        self.newest = header.seq;
        self.newest_at = arrival.at;
        self.speaks = header.speaks;
        self.key = header.key;
        self.keys = take(&mut frame.body.keys);
        Ok(arrival.at)
    }

    /// The whole beat, when this piece completes the latest one.
    fn assemble(&mut self, frame: Frame) -> Result<Option<Beat>, Refusal> {
        let (header, mut beat) = (frame.header, frame.body.beat);
        if header.seq <= self.delivered {
            return Ok(None);
        }
        let mut assembly = match self.assembly.take() {
            Some(latest) if latest.seq > header.seq => {
                self.assembly = Some(latest);
                return Ok(None);
            }
            Some(latest) if latest.seq == header.seq => latest,
            Some(_) | None => {
                Assembly { seq: header.seq, pieces: header.pieces, parts: BTreeMap::new() }
            }
        };
        let fits = assembly.pieces == header.pieces;
        if fits {
            let Words { told, verdicts, .. } = &mut beat.words;
            let (told, verdicts) = (take(told), take(verdicts));
            let part = (take(&mut beat.groups), take(&mut beat.sections), told, verdicts);
            assembly.parts.insert(header.piece, part);
        }
        if !fits || assembly.parts.len() < usize::from(assembly.pieces) {
            self.assembly = Some(assembly);
            return if fits { Ok(None) } else { Err(Refusal::Value) };
        }
        for (groups, sections, told, verdicts) in assembly.parts.into_values() {
            beat.groups.extend(groups);
            beat.sections.extend(sections);
            beat.words.told.extend(told);
            beat.words.verdicts = beat.words.verdicts.or(verdicts);
        }
        beat.words.told.truncate(WORDS_MAX);
        beat.sections.truncate(SECTIONS_MAX);
        if beat.groups.len() > GROUPS_MAX || twice(&beat.groups) {
            return Err(Refusal::Groups);
        }
        self.delivered = header.seq;
        Ok(Some(beat))
    }
}

impl LinkTrace {
    fn note(&mut self, at: Instant, seq: u64, from: u8) {
        if seq > self.seq {
            self.seq = seq;
            self.at = at;
            self.from = from;
        }
    }

    fn round_trip(&mut self, seq: u64, took: Duration) {
        if seq <= self.rtt_seq {
            return;
        }
        self.rtt_seq = seq;
        self.rtt = Some(match self.rtt {
            None => took,
            Some(before) => (before.saturating_mul(7).saturating_add(took)) / 8,
        });
    }
}

fn twice(groups: &[GroupClaim]) -> bool {
    let names: std::collections::BTreeSet<_> = groups.iter().map(|claim| &claim.group).collect();
    names.len() < groups.len()
}

/// The sequence number of every farewell signed in advance: only one of a session is ever used.
pub const FAREWELL_SEQ: u64 = FAREWELL_BIT;

#[cfg(test)]
mod tests;
