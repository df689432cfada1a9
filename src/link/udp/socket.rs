//! One socket of the UDP links: opening, and opening again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config;
use crate::names::LinkId;
use crate::sys::clock::Clocks;
use crate::sys::datagram;
use crate::time::Instant;

use super::Buffer;

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

/// One socket, or the reason why there is none.
#[derive(Debug)]
pub(super) struct Wire {
    interface: Option<String>,
    port: u16,
    v6: bool,
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
    pub(super) fn new(link: &config::Link, ip: IpAddr) -> Self {
        Self {
            interface: link.interface.clone(),
            port: link.port,
            v6: ip.is_ipv6(),
            shares_port: false,
            members: Vec::new(),
            state: State::Closed { fault: None, next: Instant::BOOT, wait: RETRY_FIRST },
            drained: Instant::BOOT,
        }
    }

    /// Whether a target of this link goes through here.
    pub(super) fn carries(&self, link: &config::Link, ip: IpAddr) -> bool {
        self.interface == link.interface && self.port == link.port && self.v6 == ip.is_ipv6()
    }

    pub(super) fn add(&mut self, link: LinkId, target: IpAddr) {
        self.members.push((link, target));
    }

    pub(super) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
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
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
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
        let any: IpAddr = if self.v6 {
            socket.set_only_v6(true).map_err(other)?;
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        socket.bind(&SocketAddr::new(any, self.port).into()).map_err(|error| self.bound(error))?;
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

/// Sockets on different interfaces don't meet in the kernel; one on any interface meets them all.
pub(super) fn share_ports(wires: &mut [Wire]) {
    let places: Vec<(u16, bool, bool)> =
        wires.iter().map(|wire| (wire.port, wire.v6, wire.interface.is_none())).collect();
    for wire in wires {
        let mine = wire.interface.is_none();
        let meets = |(port, v6, any): &(u16, bool, bool)| {
            *port == wire.port && *v6 == wire.v6 && *any != mine
        };
        wire.shares_port = places.iter().any(meets);
    }
}
