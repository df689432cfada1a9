//! Heartbeat links: bytes to and from the peer.
//!
//! What the bytes mean is `wire`'s, when to send them the core's. A link that can't be used now is
//! tried again, and is back within a second or so of the interface or device that it needs.

pub mod serial;
pub mod udp;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use crate::config::{self, Medium};
use crate::link::serial::SerialLink;
use crate::link::udp::UdpLinks;
use crate::names::{LinkId, LinkName};
use crate::time::Instant;
use crate::wire::DATAGRAM_MAX;
use crate::wire::session::Arrival;

/// One byte more than the longest datagram, so that a longer one is known as such.
pub type Buffer = [u8; DATAGRAM_MAX + 1];

/// All links of this node. Nothing here waits.
#[derive(Debug)]
pub struct Links {
    names: Vec<LinkName>,
    udp: UdpLinks,
    serial: Vec<SerialLink>,
    /// Whether the networks are asked first; turn about, so that a flood on one link starves no other.
    udp_first: bool,
}

/// A link as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LinkStatus {
    /// Its name.
    pub name: LinkName,
    /// Why it can't be used now; `None`: it can.
    pub fault: Option<String>,
    /// What has gone through it.
    pub traffic: Traffic,
}

/// What has gone through a link since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Traffic {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the kernel would not send.
    pub failed: u64,
    /// Why, the last time; forgotten with the next success.
    pub failure: Option<String>,
    /// Beats that were not sent because a slow line had others to send.
    pub left_out: u64,
    /// What came in on a serial line and was no datagram.
    pub broken: u64,
}

/// Why a link can't be used, with the cause.
#[derive(Debug, Clone, Copy)]
pub enum Fault<'a> {
    /// One over UDP.
    Udp(&'a udp::OpenError),
    /// A serial one.
    Serial(&'a serial::OpenError),
}

impl Fault<'_> {
    /// Whether it will not pass by itself: somebody has to change something.
    pub fn is_lasting(self) -> bool {
        match self {
            Self::Udp(fault) => fault.is_lasting(),
            Self::Serial(fault) => fault.is_lasting(),
        }
    }
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault: &dyn std::error::Error = match self {
            Self::Udp(fault) => fault,
            Self::Serial(fault) => fault,
        };
        write!(f, "{fault}")?;
        let mut cause = fault.source();
        while let Some(below) = cause {
            write!(f, ": {below}")?;
            cause = below.source();
        }
        Ok(())
    }
}

/// One datagram of a farewell, for a process that opens its own socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Farewell {
    /// To a network.
    Udp(udp::Farewell),
    /// To a serial line.
    Serial(serial::Farewell),
}

impl Farewell {
    /// Whether sending it takes so long that others go first.
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::Serial(_))
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(word) => word.to.fmt(f),
            Self::Serial(word) => word.device.display().fmt(f),
        }
    }
}

/// Sends a farewell: whoever held the links is dead.
///
/// # Errors
/// As the kernel words it.
pub fn say(word: &Farewell) -> io::Result<()> {
    match word {
        Farewell::Udp(word) => udp::say(word),
        Farewell::Serial(word) => serial::say(word),
    }
}

impl Links {
    /// Opens all links, in the order of the configuration. What can't be opened now is tried
    /// again in [`Links::refresh`]; until then [`Links::faults`] has the reason.
    pub fn open(configured: &[config::Link], now: Instant) -> Self {
        let (mut udp, mut serial) = (Vec::new(), Vec::new());
        for (id, link) in (0..).map(LinkId).zip(configured) {
            match &link.medium {
                Medium::Udp(link) => udp.push((id, link)),
                Medium::Serial(link) => serial.push(SerialLink::open(id, link, now)),
            }
        }
        let names = configured.iter().map(|link| link.name.clone()).collect();
        Self { names, udp: UdpLinks::open(udp.into_iter(), now), serial, udp_first: true }
    }

    /// Which links can't be used, and why. A link of two address families may appear twice.
    pub fn faults(&self) -> impl Iterator<Item = (LinkId, Fault<'_>)> {
        let serial = self.serial.iter();
        let serial = serial.filter_map(|link| Some((link.id(), Fault::Serial(link.fault()?))));
        self.udp.faults().map(|(link, fault)| (link, Fault::Udp(fault))).chain(serial)
    }

    /// The open sockets, for poll(2).
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.udp.sockets().chain(self.serial.iter().filter_map(SerialLink::fd))
    }

    /// Takes the next datagram that waits on any link; `None` when all are empty. Its bytes are
    /// the first of the buffer, as many as returned.
    pub fn receive(&mut self, buffer: &mut Buffer) -> Option<(Arrival, usize)> {
        self.udp_first = !self.udp_first;
        if self.udp_first {
            self.udp.receive(buffer).or_else(|| self.receive_serial(buffer))
        } else {
            self.receive_serial(buffer).or_else(|| self.udp.receive(buffer))
        }
    }

    fn receive_serial(&mut self, buffer: &mut Buffer) -> Option<(Arrival, usize)> {
        self.serial.iter_mut().find_map(|link| link.receive(buffer))
    }

    /// Sends a beat, in its pieces, to the peer; to all its addresses where it has several. A
    /// failure is counted, and nothing else: the next beat is the repetition.
    pub fn send(&mut self, link: LinkId, pieces: &[Vec<u8>], now: Instant) {
        if let Some(serial) = self.serial.iter_mut().find(|one| one.id() == link) {
            return serial.send(pieces, now);
        }
        for piece in pieces {
            self.udp.send(link, piece);
        }
    }

    /// The same datagram as something that another process can send.
    pub fn farewell(&self, link: LinkId, bytes: &[u8]) -> Vec<Farewell> {
        let serial = self.serial.iter().filter(|one| one.id() == link);
        let serial = serial.map(|one| Farewell::Serial(one.farewell(bytes)));
        self.udp.farewell(link, bytes).into_iter().map(Farewell::Udp).chain(serial).collect()
    }

    /// When [`Links::refresh`] is to be called.
    pub fn refresh_at(&self) -> Instant {
        let serial = self.serial.iter().map(SerialLink::refresh_at);
        serial.fold(self.udp.refresh_at(), Instant::min)
    }

    /// Reopens what has been lost, where the time has come.
    pub fn refresh(&mut self, now: Instant) {
        self.udp.refresh(now);
        for link in &mut self.serial {
            link.refresh(now);
        }
    }

    /// Every link, in the order of the configuration.
    pub fn status(&self) -> Vec<LinkStatus> {
        let status = |(id, name): (LinkId, &LinkName)| {
            let fault = self.faults().find(|(faulty, _)| *faulty == id);
            LinkStatus {
                name: name.clone(),
                fault: fault.map(|(_, fault)| fault.to_string()),
                traffic: self.traffic(id),
            }
        };
        (0..).map(LinkId).zip(&self.names).map(status).collect()
    }

    fn traffic(&self, link: LinkId) -> Traffic {
        let serial = self.serial.iter().find(|one| one.id() == link).map(SerialLink::traffic);
        serial.or_else(|| self.udp.traffic(link)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
