//! What stands between the two cores: a small model of the session layer of `wire`.
//!
//! Each start draws a session. A packet echoes the sessions that its sender hears; only one that
//! echoes *our* session is proof of life. Real bytes, keys and clocks are not modelled here: a
//! packet is a value, and one of a foreign key simply can't be made. [`Delivery`] is the seam at
//! which the real layer can be put in.

use std::collections::BTreeMap;
use std::rc::Rc;

use pairbeat::cluster::event::Input;
use pairbeat::cluster::message::{Beat, NodeState};
use pairbeat::names::LinkId;
use pairbeat::time::Instant;

/// One node's end of the session layer.
pub(crate) trait Delivery {
    /// What travels.
    type Packet: Clone;

    /// A fresh start; `session` was never used before.
    fn start(session: u64) -> Self;
    /// The next packet; the n-th has sequence number n.
    fn seal(&mut self, beat: &Beat) -> Self::Packet;
    /// What the core is told of a packet that came in, if anything.
    fn open(&mut self, link: LinkId, at: Instant, packet: &Self::Packet) -> Option<Input>;
}

/// A packet of the model.
#[derive(Clone)]
pub(crate) struct Packet {
    session: u64,
    sequence: u64,
    /// Sessions of the receiver that the sender hears, and the highest sequence number of each.
    echoes: [Option<(u64, u64)>; 2],
    beat: Rc<Beat>,
}

/// The model.
pub(crate) struct Session {
    mine: u64,
    sent: u64,
    /// The peer's session that has proved itself.
    current: Option<(u64, u64)>,
    /// One that has not, yet: it is echoed, so that it can.
    candidate: Option<(u64, u64)>,
    /// Sessions that have ended: nothing of theirs is believed.
    retired: Vec<u64>,
    /// Highest sequence number that came in on each link.
    links: BTreeMap<LinkId, u64>,
}

impl Delivery for Session {
    type Packet = Packet;

    fn start(session: u64) -> Self {
        Self {
            mine: session,
            sent: 0,
            current: None,
            candidate: None,
            retired: Vec::new(),
            links: BTreeMap::new(),
        }
    }

    fn seal(&mut self, beat: &Beat) -> Packet {
        self.sent += 1;
        Packet {
            session: self.mine,
            sequence: self.sent,
            echoes: [self.current, self.candidate],
            beat: Rc::new(beat.clone()),
        }
    }

    fn open(&mut self, link: LinkId, at: Instant, packet: &Packet) -> Option<Input> {
        let reflected = packet.session == self.mine;
        if reflected || self.retired.contains(&packet.session) {
            return None;
        }
        let echo = packet.echoes.iter().flatten().find(|(session, _)| *session == self.mine);
        let Some((_, echo)) = echo.copied() else {
            if self.current.is_none_or(|(session, _)| session != packet.session) {
                let same = self.candidate.filter(|(session, _)| *session == packet.session);
                let highest = same.map_or(0, |(_, sequence)| sequence);
                self.candidate = Some((packet.session, highest.max(packet.sequence)));
            }
            return Some(Input::Presence { at });
        };
        let known = self.current.filter(|(session, _)| *session == packet.session);
        if known.is_none() {
            self.retired.extend(self.current.map(|(session, _)| session));
            self.links.clear();
            self.candidate = None;
        }
        let highest = known.map_or(0, |(_, sequence)| sequence);
        let on_link = self.links.entry(link).or_default();
        let fresh_on_link = packet.sequence > *on_link;
        *on_link = packet.sequence.max(*on_link);
        if packet.sequence <= highest {
            return fresh_on_link.then_some(Input::Copy { link, at });
        }
        self.current = Some((packet.session, packet.sequence));
        if packet.beat.node == NodeState::Gone {
            self.retired.push(packet.session);
            self.current = None;
        }
        Some(Input::Heard { link, at, beat: Beat::clone(&packet.beat), echo })
    }
}
