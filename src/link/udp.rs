//! UDP links: sockets that come back when their interface does.
//!
//! Links with the same interface, port and address family share a socket; a datagram then belongs
//! to the link that has its sender among its targets. Nothing here waits, reads beats or knows
//! whether a link is needed: faults are kept for the status and tried again.

mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::socket::OpenError;
use self::socket::Wire;
use crate::config;
use crate::names::{LinkId, LinkName};
use crate::sys::clock::Clocks;
use crate::time::Instant;
use crate::wire::DATAGRAM_MAX;
use crate::wire::session::Arrival;

/// How often interfaces and our own addresses are looked at: a link is back within a second of
/// its interface, and a look costs one ioctl.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One byte more than the longest datagram, so that a longer one is known as such.
pub type Buffer = [u8; DATAGRAM_MAX + 1];

/// All UDP links of this node.
#[derive(Debug)]
pub struct UdpLinks {
    links: Vec<UdpLink>,
    wires: Vec<Wire>,
    /// The wire that is asked next, so that none is starved.
    turn: usize,
    looked: Instant,
}

#[derive(Debug)]
struct UdpLink {
    name: LinkName,
    targets: Vec<Target>,
    sent: u64,
    failed: u64,
    failure: Option<io::Error>,
}

#[derive(Debug)]
struct Target {
    ip: IpAddr,
    /// Place in [`UdpLinks::wires`].
    wire: usize,
    /// An address of this machine: files that are the same on both nodes list both.
    own: bool,
}

/// A link as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LinkStatus {
    /// Its name.
    pub name: LinkName,
    /// Why it can't be used now; `None`: it can.
    pub fault: Option<String>,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that the kernel would not send.
    pub failed: u64,
    /// Why, the last time; forgotten with the next success.
    pub failure: Option<String>,
}

/// One datagram of a farewell, for a process that opens its own socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Farewell {
    /// To be bound to, where there is one.
    pub interface: Option<String>,
    /// Where the peer is.
    pub to: SocketAddr,
    /// Signed.
    pub bytes: Vec<u8>,
}

/// Sends a farewell from a socket of its own: whoever held the links is dead.
///
/// # Errors
/// As the kernel words it.
pub fn say(word: &Farewell) -> io::Result<()> {
    let domain = socket2::Domain::for_address(word.to);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
    if let Some(interface) = &word.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.send_to(&word.bytes, &word.to.into()).map(|_| ())
}

impl UdpLinks {
    /// Opens all links, in the order of the configuration. What can't be opened now is tried
    /// again in [`UdpLinks::refresh`]; until then [`UdpLinks::faults`] has the reason.
    pub fn open(configured: &[config::Link], now: Instant) -> Self {
        let mut wires: Vec<Wire> = Vec::new();
        let mut links = Vec::new();
        for (id, link) in (0..).map(LinkId).zip(configured) {
            let mut targets = Vec::new();
            for ip in &link.targets {
                let same = |wire: &Wire| wire.carries(link, *ip);
                let wire = wires.iter().position(same).unwrap_or(wires.len());
                if wire == wires.len() {
                    wires.push(Wire::new(link, *ip));
                }
                if let Some(wire) = wires.get_mut(wire) {
                    wire.add(id, *ip);
                }
                targets.push(Target { ip: *ip, wire, own: false });
            }
            let name = link.name.clone();
            links.push(UdpLink { name, targets, sent: 0, failed: 0, failure: None });
        }
        socket::share_ports(&mut wires);
        let mut all = Self { links, wires, turn: 0, looked: now };
        all.look(now);
        all
    }

    /// Which links can't be used, and why. A link of two address families may appear twice.
    pub fn faults(&self) -> impl Iterator<Item = (LinkId, &OpenError)> {
        let faulty = self.wires.iter().filter_map(|wire| Some((wire, wire.fault()?)));
        faulty.flat_map(|(wire, fault)| wire.links().map(move |link| (link, fault)))
    }

    /// The open sockets, for poll(2).
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.wires.iter().filter_map(Wire::fd)
    }

    /// Takes the next datagram that waits on any link; `None` when all are empty. Its bytes are
    /// the first of the buffer, as many as returned.
    pub fn receive(&mut self, buffer: &mut Buffer) -> Option<(Arrival, usize)> {
        for _ in 0..self.wires.len() {
            let place = self.turn % self.wires.len();
            self.turn = self.turn.wrapping_add(1);
            let wire = self.wires.get_mut(place)?;
            if let Some((link, at, len)) = wire.receive(buffer, Clocks::read()) {
                return Some((Arrival { link, at }, len));
            }
        }
        None
    }

    /// Sends a datagram to the peer; to all its addresses where it has several. A failure is
    /// counted, and nothing else: the next beat is the repetition.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(usize::from(link.0)) else { return };
        for target in link.targets.iter().filter(|target| !target.own) {
            let Some(wire) = self.wires.get_mut(target.wire) else { continue };
            match wire.send(target.ip, bytes) {
                Ok(()) => {
                    link.sent += 1;
                    link.failure = None;
                }
                Err(failure) => {
                    link.failed += 1;
                    link.failure = Some(failure);
                }
            }
        }
    }

    /// The same datagram as something that another process can send.
    pub fn farewell(&self, link: LinkId, bytes: &[u8]) -> Vec<Farewell> {
        let targets = self.links.get(usize::from(link.0)).map(|link| link.targets.as_slice());
        let others = targets.unwrap_or_default().iter().filter(|target| !target.own);
        let to = others.filter_map(|target| {
            let wire = self.wires.get(target.wire)?;
            let interface = wire.interface().map(str::to_owned);
            Some(Farewell { interface, to: wire.address(target.ip), bytes: bytes.to_vec() })
        });
        to.collect()
    }

    /// When [`UdpLinks::refresh`] is to be called.
    pub fn refresh_at(&self) -> Instant {
        self.looked.plus(LOOK_EVERY)
    }

    /// Reopens what has been lost, where the time has come.
    pub fn refresh(&mut self, now: Instant) {
        if now >= self.refresh_at() {
            self.look(now);
        }
    }

    /// Every link, in the order of the configuration.
    pub fn status(&self) -> Vec<LinkStatus> {
        let status = |(id, link): (LinkId, &UdpLink)| {
            let fault = self.faults().find(|(faulty, _)| *faulty == id);
            LinkStatus {
                name: link.name.clone(),
                fault: fault.map(|(_, fault)| in_full(fault)),
                sent: link.sent,
                failed: link.failed,
                failure: link.failure.as_ref().map(ToString::to_string),
            }
        };
        (0..).map(LinkId).zip(&self.links).map(status).collect()
    }

    fn look(&mut self, now: Instant) {
        self.looked = now;
        for wire in &mut self.wires {
            wire.look(now);
        }
        for target in self.links.iter_mut().flat_map(|link| &mut link.targets) {
            target.own = is_own(target.ip);
        }
    }
}

/// A fault with its cause.
fn in_full(fault: &OpenError) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

/// Whether an address is one of this machine's: the kernel then routes to it from itself.
/// Binding to it would tell nothing where `ip_nonlocal_bind` is set.
fn is_own(ip: IpAddr) -> bool {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Nothing is sent by this; the port is that of the discard protocol.
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests;
