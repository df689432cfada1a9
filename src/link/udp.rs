//! UDP links (unicast, broadcast, multicast): sockets that come back when their interface does.
//!
//! Unicast links with the same interface, port and address family share a socket; a datagram then
//! belongs to the link that has its sender among its targets. Nothing here waits, reads beats or
//! knows whether a link is needed: faults are kept for the status and tried again.

mod socket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::socket::OpenError;
use self::socket::Wire;
use crate::config::{Cast, Multicast, Udp};
use crate::link::{Buffer, Traffic};
use crate::names::LinkId;
use crate::sys::clock::Clocks;
use crate::time::Instant;
use crate::wire::session::Arrival;

/// How often interfaces and our own addresses are looked at: a link is back within a second of
/// its interface, and a look costs one ioctl.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    id: LinkId,
    targets: Vec<Target>,
    traffic: Traffic,
}

#[derive(Debug)]
struct Target {
    ip: IpAddr,
    /// Place in [`UdpLinks::wires`].
    wire: usize,
    /// An address of this machine: files that are the same on both nodes list both.
    own: bool,
}

/// One datagram of a farewell, for a process that opens its own socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Farewell {
    /// To be bound to, where there is one.
    pub interface: Option<String>,
    /// Where the peer is, or who is to hear it.
    pub to: SocketAddr,
    /// Of a multicast link.
    pub ttl: Option<NonZeroU8>,
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
    if let Some(ttl) = word.ttl {
        socket::set_ttl(&socket, word.to.is_ipv6(), ttl)?;
    }
    socket.set_broadcast(true)?;
    socket.send_to(&word.bytes, &word.to.into()).map(|_| ())
}

impl UdpLinks {
    /// Opens all links. What can't be opened now is tried again in [`UdpLinks::refresh`]; until
    /// then [`UdpLinks::faults`] has the reason.
    pub fn open<'a>(configured: impl Iterator<Item = (LinkId, &'a Udp)>, now: Instant) -> Self {
        let mut wires: Vec<Wire> = Vec::new();
        let mut links = Vec::new();
        for (id, link) in configured {
            let mut targets = Vec::new();
            for ip in destinations(&link.cast) {
                let wanted = Wire::new(link, ip);
                let same = |wire: &Wire| wire.is_same(&wanted);
                let wire = wires.iter().position(same).unwrap_or(wires.len());
                if wire == wires.len() {
                    wires.push(wanted);
                }
                if let Some(wire) = wires.get_mut(wire) {
                    wire.add(id, ip);
                }
                targets.push(Target { ip, wire, own: false });
            }
            links.push(UdpLink { id, targets, traffic: Traffic::default() });
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
        let Some(link) = self.links.iter_mut().find(|one| one.id == link) else { return };
        for target in link.targets.iter().filter(|target| !target.own) {
            let Some(wire) = self.wires.get_mut(target.wire) else { continue };
            match wire.send(target.ip, bytes) {
                Ok(()) => {
                    link.traffic.sent += 1;
                    link.traffic.failure = None;
                }
                Err(failure) => {
                    link.traffic.failed += 1;
                    link.traffic.failure = Some(failure.to_string());
                }
            }
        }
    }

    /// The same datagram as something that another process can send.
    pub fn farewell(&self, link: LinkId, bytes: &[u8]) -> Vec<Farewell> {
        let link = self.links.iter().find(|one| one.id == link);
        let targets = link.map(|link| link.targets.as_slice());
        let others = targets.unwrap_or_default().iter().filter(|target| !target.own);
        let to = others.filter_map(|target| {
            let wire = self.wires.get(target.wire)?;
            let interface = wire.interface().map(str::to_owned);
            let (to, ttl) = (wire.address(target.ip), wire.ttl());
            Some(Farewell { interface, to, ttl, bytes: bytes.to_vec() })
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

    /// What has gone through a link; `None` when it is none of these.
    pub fn traffic(&self, link: LinkId) -> Option<Traffic> {
        self.links.iter().find(|one| one.id == link).map(|one| one.traffic.clone())
    }

    fn look(&mut self, now: Instant) {
        self.looked = now;
        for wire in &mut self.wires {
            wire.look(now);
        }
        for target in self.links.iter_mut().flat_map(|link| &mut link.targets) {
            let wire = self.wires.get(target.wire);
            target.own = wire.is_some_and(|wire| is_own(wire.address(target.ip)));
        }
    }
}

/// Where the beats of a link go.
fn destinations(cast: &Cast) -> Vec<IpAddr> {
    match cast {
        Cast::Unicast { targets, .. } => targets.clone(),
        // Not the broadcast address of a network: the interface may have none yet, or another.
        Cast::Broadcast { .. } => vec![Ipv4Addr::BROADCAST.into()],
        Cast::Multicast(Multicast { group, .. }) => vec![group.ip()],
    }
}

/// Whether an address is one of this machine's: the kernel then routes to it from itself.
/// Binding to it would tell nothing where `ip_nonlocal_bind` is set.
fn is_own(to: SocketAddr) -> bool {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        // Nothing is sent by this.
        socket.connect(to)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == to.ip())
}
