//! A socket for whole Ethernet frames of one interface (packet(7)).
//!
//! Neighbour: [`crate::kernel::announce`]. What the frames mean is [`crate::net::frames`]'.

use std::io;
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::frames::{ADVERTISEMENT, ETHERTYPE_ARP, ETHERTYPE_IPV6};
use crate::sys::ready::watched;

/// Longest frame we read: one of ordinary size. What is longer is cut, and then means nothing.
const FRAME_MAX: usize = 1518;

/// `ETH_P_ALL` (linux/if_ether.h): sent frames are shown to sockets of this protocol only.
const ETHERTYPE_ALL: u16 = 3;

/// Sends any frame, and hears those of ARP or neighbour discovery that concern one address.
#[derive(Debug)]
pub struct PacketSocket {
    /// There until the drop.
    socket: Option<AsyncFd<OwnedFd>>,
}

impl PacketSocket {
    /// Opens one on an interface, in the network namespace of the calling thread. Needs
    /// CAP_NET_RAW and a tokio runtime.
    ///
    /// # Errors
    /// What the system says: EPERM, ENODEV.
    pub fn open(ifindex: u32, ip: IpAddr) -> io::Result<Self> {
        let protocol = if ip.is_ipv4() { ETHERTYPE_ARP } else { ETHERTYPE_IPV6 };
        Self::open_for(ifindex, ip, protocol)
    }

    /// As [`PacketSocket::open`], and hears what this machine itself sends, too.
    ///
    /// # Errors
    /// What the system says: EPERM, ENODEV.
    pub fn open_both_ways(ifindex: u32, ip: IpAddr) -> io::Result<Self> {
        Self::open_for(ifindex, ip, ETHERTYPE_ALL)
    }

    fn open_for(ifindex: u32, ip: IpAddr, protocol: u16) -> io::Result<Self> {
        // Protocol zero hears nothing until `bind`, so nothing passes by the filter.
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::from(libc::AF_PACKET), kind, None)?;
        match ip {
            IpAddr::V4(ip) => socket.attach_filter(&arp_filter(u32::from(ip)))?,
            IpAddr::V6(ip) => {
                let [.., a, b, c, d] = ip.octets();
                socket.attach_filter(&discovery_filter(u32::from_be_bytes([a, b, c, d])))?;
            }
        }
        bind(&socket, ifindex, protocol)?;
        Ok(Self { socket: Some(watched(OwnedFd::from(socket))?) })
    }

    /// Sends one frame; it is gone when the interface's queue is full, as any frame may be.
    ///
    /// # Errors
    /// What the system says: ENETDOWN, ENXIO.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(self.socket()?.get_ref(), frame, SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// The next frame. Dropping the future loses none.
    ///
    /// # Errors
    /// What the system says; ENETDOWN once each time the interface goes down.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; FRAME_MAX];
        let read = |socket: &OwnedFd| {
            Ok(rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT)
                .map(|(count, _)| count)?)
        };
        let count = self.socket()?.async_io(Interest::READABLE, read).await?;
        Ok(buffer.get(..count).unwrap_or_default().to_vec())
    }

    fn socket(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for PacketSocket {
    /// Closing waits until no processor is in the socket's hook any more (5 to 45 ms measured), and
    /// hundreds of addresses may be stopped in a row: that is not for the runtime's own thread.
    fn drop(&mut self) {
        let descriptor = self.socket.take().map(AsyncFd::into_inner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(descriptor));
        }
    }
}

#[expect(unsafe_code, reason = "no crate here has sockaddr_ll")]
fn bind(socket: &Socket, ifindex: u32, protocol: u16) -> io::Result<()> {
    let number = i32::try_from(ifindex).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: sockaddr_ll is plain integers, for which zero is a value; the pointer is to a live
    // local of just that size, which bind(2) only reads.
    let result = unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = family;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = number;
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const WHOLE: u32 = u32::MAX;

const fn load(at: u32) -> SockFilter {
    SockFilter::new(LOAD_WORD, 0, 0, at)
}

const fn when(equal: u32, forward: u8, otherwise: u8) -> SockFilter {
    SockFilter::new(JUMP_EQUAL, forward, otherwise, equal)
}

const fn end(keep: u32) -> SockFilter {
    SockFilter::new(RETURN, 0, 0, keep)
}

/// ARP whose sender or target is the address: a busy LAN must not wake us.
fn arp_filter(ip: u32) -> [SockFilter; 6] {
    [load(28), when(ip, 2, 0), load(38), when(ip, 0, 1), end(WHOLE), end(0)]
}

/// Advertisements that are sent to, or about, an address with this last word. A director
/// receives all its IPv6 traffic on this interface.
fn discovery_filter(last: u32) -> [SockFilter; 10] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 20),
        when(58, 0, 7),
        SockFilter::new(LOAD_BYTE, 0, 0, 54),
        when(ADVERTISEMENT as u32, 0, 5),
        load(74),
        when(last, 2, 0),
        load(50),
        when(last, 0, 1),
        end(WHOLE),
        end(0),
    ]
}
