//! One socket of the UDP links: opening, and opening again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use crate::config::{Cast, Multicast, Udp};
use crate::link::Buffer;
use crate::names::LinkId;
use crate::sys::clock::Clocks;
use crate::sys::datagram;
use crate::time::Instant;

/// Asked of the kernel for received datagrams, in bytes: over a thousand beats, against bursts
/// while we can't run. The kernel may give less (net.core.rmem_max).
const RECEIVE_BUFFER: usize = 1 << 20;
/// IPTOS_LOWDELAY (netinet/ip.h): what Heartbeat sets, and the first band of pfifo_fast.
const TOS_LOW_DELAY: u32 = 0x10;
/// How long to wait before the next try to open a socket, at first and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Why a link can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another program has the port.
    #[error("UDP port {port} is taken; `ss -ulpn 'sport = :{port}'` shows by which program")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// No such interface now.
    #[error("there is no interface {interface}")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// May not bind to the port.
    #[error("no privilege to use UDP port {port} (needs CAP_NET_BIND_SERVICE)")]
    PortForbidden {
        /// The port.
        port: u16,
    },
    /// May not bind to the interface.
    #[error("no privilege to bind to interface {interface} (needs CAP_NET_RAW)")]
    InterfaceForbidden {
        /// Its name.
        interface: String,
    },
    /// The kernel runs without IPv6.
    #[error("the kernel has no IPv6")]
    NoIpv6,
    /// Anything else.
    #[error("can't open a UDP socket on port {port}")]
    Other {
        /// The port.
        port: u16,
        /// As the kernel words it.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it will not pass by itself.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::PortTaken { .. }
            | Self::PortForbidden { .. }
            | Self::InterfaceForbidden { .. } => true,
            Self::NoInterface { .. } | Self::NoIpv6 | Self::Other { .. } => false,
        }
    }
}

/// What a socket is bound to, beside its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Any address.
    Unicast,
    /// 255.255.255.255: the kernel then hands out broadcasts and nothing else.
    Broadcast,
    /// The group: the same.
    Multicast { group: IpAddr, ttl: NonZeroU8, looped: bool },
}

/// One socket, or the reason why there is none.
#[derive(Debug)]
pub(super) struct Wire {
    interface: Option<String>,
    port: u16,
    v6: bool,
    reach: Reach,
    /// Whether another wire of ours has the same port on another or on any interface.
    shares_port: bool,
    members: Vec<(LinkId, IpAddr)>,
    state: State,
    /// Up to here everything that had come in was read.
    drained: Instant,
}

#[derive(Debug)]
enum State {
    Open {
        socket: Socket,
        index: Option<u32>,
    },
    /// Not tried yet, when there is no fault.
    Closed {
        fault: Option<OpenError>,
        next: Instant,
        wait: Duration,
    },
}

impl Wire {
    /// For one destination of a link.
    pub(super) fn new(link: &Udp, to: IpAddr) -> Self {
        let reach = match &link.cast {
            Cast::Unicast { .. } => Reach::Unicast,
            Cast::Broadcast { .. } => Reach::Broadcast,
            Cast::Multicast(Multicast { group, ttl, looped, .. }) => {
                Reach::Multicast { group: group.ip(), ttl: *ttl, looped: *looped }
            }
        };
        Self {
            interface: link.cast.interface().map(str::to_owned),
            port: link.port,
            v6: to.is_ipv6(),
            reach,
            shares_port: false,
            members: Vec::new(),
            state: State::Closed { fault: None, next: Instant::BOOT, wait: RETRY_FIRST },
            drained: Instant::BOOT,
        }
    }

    /// Whether one socket does for both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.interface, self.port, self.v6, self.reach)
            == (&other.interface, other.port, other.v6, other.reach)
    }

    pub(super) fn add(&mut self, link: LinkId, target: IpAddr) {
        self.members.push((link, target));
    }

    pub(super) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Of multicast.
    pub(super) fn ttl(&self) -> Option<NonZeroU8> {
        match self.reach {
            Reach::Multicast { ttl, .. } => Some(ttl),
            Reach::Unicast | Reach::Broadcast => None,
        }
    }

    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        let mut links: Vec<LinkId> = self.members.iter().map(|(link, _)| *link).collect();
        links.dedup();
        links.into_iter()
    }

    pub(super) fn fault(&self) -> Option<&OpenError> {
        match &self.state {
            State::Open { .. } => None,
            State::Closed { fault, .. } => fault.as_ref(),
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Open { socket, .. } => Some(socket.as_fd()),
            State::Closed { .. } => None,
        }
    }

    /// Where a target is; link-local addresses are of our interface.
    pub(super) fn address(&self, ip: IpAddr) -> SocketAddr {
        let index = match &self.state {
            State::Open { index, .. } => index.unwrap_or(0),
            State::Closed { .. } => 0,
        };
        match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_multicast() => {
                SocketAddrV6::new(ip, self.port, 0, index).into()
            }
            ip => SocketAddr::new(ip, self.port),
        }
    }

    pub(super) fn send(&self, to: IpAddr, bytes: &[u8]) -> io::Result<()> {
        let State::Open { socket, .. } = &self.state else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        socket.send_to(bytes, &self.address(to).into()).map(|_| ())
    }

    /// The next datagram: its link, when it came in, how long it is.
    pub(super) fn receive(
        &mut self,
        buffer: &mut Buffer,
        clocks: Clocks,
    ) -> Option<(LinkId, Instant, usize)> {
        let got = match datagram::receive(self.fd()?, buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.drained = clocks.boot;
                return None;
            }
            // A pending error of the socket, told once: an interface that went down. The next
            // look sees to it.
            Err(_) => return None,
        };
        // It can't have come before we last found the socket empty: so a wall clock that is set
        // while a datagram waits is wrong by one turn at most.
        let stamp = got.stamp.map_or(clocks.boot, |stamp| clocks.boot_of(stamp));
        let at = stamp.max(self.drained).min(clocks.boot);
        let sender = self.members.iter().find(|(_, target)| Some(*target) == got.from);
        let (link, _) = sender.or(self.members.first())?;
        Some((*link, at, got.len))
    }

    /// Opens the socket where it is closed, and closes it where its interface is another now.
    pub(super) fn look(&mut self, now: Instant) {
        match &self.state {
            State::Open { socket, .. } => {
                // The kernel translates the index that the socket is bound to; not so an
                // interface that has gone, whatever has its name now. (The ioctl that goes by
                // name may wait for modprobe.)
                let bound = socket.device().ok().flatten();
                let lost = self.interface.is_some()
                    && bound.as_deref() != self.interface.as_deref().map(str::as_bytes);
                if lost {
                    self.try_open(now, RETRY_FIRST);
                }
            }
            State::Closed { next, .. } if now < *next => {}
            State::Closed { wait, .. } => {
                let wait = *wait;
                self.try_open(now, wait);
            }
        }
    }

    fn try_open(&mut self, now: Instant, wait: Duration) {
        self.state = match self.open() {
            Ok((socket, index)) => {
                self.drained = now;
                State::Open { socket, index }
            }
            // Waiting for an interface costs next to nothing; a port taken is a lasting fault.
            Err(fault @ OpenError::NoInterface { .. }) => {
                State::Closed { fault: Some(fault), next: now.plus(RETRY_FIRST), wait: RETRY_FIRST }
            }
            Err(fault) => {
                let longer = wait.saturating_mul(2).min(RETRY_MOST);
                State::Closed { fault: Some(fault), next: now.plus(wait), wait: longer }
            }
        };
    }

    fn open(&self) -> Result<(Socket, Option<u32>), OpenError> {
        let other = |source| OpenError::Other { port: self.port, source };
        let domain = if self.v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = match Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP)) {
            Err(error) if self.v6 && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                return Err(OpenError::NoIpv6);
            }
            result => result.map_err(other)?,
        };
        let index = self.bind_interface(&socket)?;
        // Only where our own links need it: otherwise it would hide that another program has
        // the port.
        socket.set_reuse_address(self.shares_port).map_err(other)?;
        if self.v6 {
            socket.set_only_v6(true).map_err(other)?;
        }
        self.set_reach(&socket, index).map_err(other)?;
        let to: SocketAddr = match self.local() {
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.port, 0, index.unwrap_or(0)).into(),
            ip => (ip, self.port).into(),
        };
        socket.bind(&to.into()).map_err(|error| self.bound(error))?;
        datagram::stamp_arrivals(socket.as_fd()).map_err(other)?;
        self.tune(&socket);
        Ok((socket, index))
    }

    fn bind_interface(&self, socket: &Socket) -> Result<Option<u32>, OpenError> {
        let Some(interface) = &self.interface else { return Ok(None) };
        match socket.bind_device(Some(interface.as_bytes())) {
            // It is there: only for one that is not would this look for a module.
            Ok(()) => Ok(name_to_index(socket.as_fd(), interface).ok()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(OpenError::InterfaceForbidden { interface: interface.clone() })
            }
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                Err(OpenError::NoInterface { interface: interface.clone() })
            }
            Err(source) => Err(OpenError::Other { port: self.port, source }),
        }
    }

    /// The address that the socket is bound to.
    fn local(&self) -> IpAddr {
        match self.reach {
            Reach::Unicast if self.v6 => Ipv6Addr::UNSPECIFIED.into(),
            Reach::Unicast => Ipv4Addr::UNSPECIFIED.into(),
            Reach::Broadcast => Ipv4Addr::BROADCAST.into(),
            Reach::Multicast { group, .. } => group,
        }
    }

    fn set_reach(&self, socket: &Socket, index: Option<u32>) -> io::Result<()> {
        let index = index.unwrap_or(0);
        match self.reach {
            Reach::Unicast if self.shares_port => socket.attach_filter(&ONLY_TO_US),
            Reach::Unicast => Ok(()),
            Reach::Broadcast => {
                socket.set_broadcast(true)?;
                socket.attach_filter(&NOT_OUR_OWN)
            }
            Reach::Multicast { group, ttl, looped } => {
                set_ttl(socket, self.v6, ttl)?;
                socket.attach_filter(&NOT_OUR_OWN)?;
                match group {
                    IpAddr::V4(group) => {
                        socket.set_multicast_loop_v4(looped)?;
                        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
                    }
                    IpAddr::V6(group) => {
                        socket.set_multicast_loop_v6(looped)?;
                        socket.join_multicast_v6(&group, index)
                    }
                }
            }
        }
    }

    fn bound(&self, error: io::Error) -> OpenError {
        match error.kind() {
            io::ErrorKind::AddrInUse => OpenError::PortTaken { port: self.port },
            io::ErrorKind::PermissionDenied => OpenError::PortForbidden { port: self.port },
            _ => OpenError::Other { port: self.port, source: error },
        }
    }

    /// What makes a link better and is no reason to do without it.
    fn tune(&self, socket: &Socket) {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = if self.v6 {
            socket.set_tclass_v6(TOS_LOW_DELAY)
        } else {
            socket.set_tos_v4(TOS_LOW_DELAY)
        };
    }
}

/// The TTL or hop limit of what is multicast.
pub(super) fn set_ttl(socket: &Socket, v6: bool, ttl: NonZeroU8) -> io::Result<()> {
    let ttl = u32::from(ttl.get());
    if v6 { socket.set_multicast_hops_v6(ttl) } else { socket.set_multicast_ttl_v4(ttl) }
}

/// `BPF_LD | BPF_W | BPF_ABS` of the packet's type (linux/filter.h: `SKF_AD_PKTTYPE`).
const LOAD_TYPE: SockFilter = SockFilter::new(0x20, 0, 0, 0xffff_f000 + 4);
/// `BPF_RET | BPF_K`: all of it, and nothing.
const TAKE: SockFilter = SockFilter::new(0x06, 0, 0, u32::MAX);
const LEAVE: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// `BPF_JMP | BPF_JEQ | BPF_K`: goes over the next instruction unless the type is `kind`.
const fn unless(kind: u32) -> SockFilter {
    SockFilter::new(0x15, 0, 1, kind)
}

/// The kernel gives us what we have broadcast ourselves; `PACKET_LOOPBACK` is 5 (linux/if_packet.h).
const NOT_OUR_OWN: [SockFilter; 4] = [LOAD_TYPE, unless(5), LEAVE, TAKE];
/// Bound to any address, a socket would get what is for the broadcast links, too; `PACKET_HOST` is 0.
const ONLY_TO_US: [SockFilter; 4] = [LOAD_TYPE, unless(0), TAKE, LEAVE];

/// Sockets on different interfaces don't meet in the kernel; one on any interface meets them all.
pub(super) fn share_ports(wires: &mut [Wire]) {
    let places: Vec<(Option<String>, u16, bool)> =
        wires.iter().map(|wire| (wire.interface.clone(), wire.port, wire.v6)).collect();
    for (own, wire) in wires.iter_mut().enumerate() {
        let meets = |(place, (interface, port, v6)): (usize, &(Option<String>, u16, bool))| {
            let near =
                interface.is_none() || wire.interface.is_none() || *interface == wire.interface;
            place != own && *port == wire.port && *v6 == wire.v6 && near
        };
        wire.shares_port = places.iter().enumerate().any(meets);
    }
}
