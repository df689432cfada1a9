//! Datagrams with the moment at which the kernel received them, and the ICMP errors for them.
//!
//! SO_TIMESTAMPNS (socket(7), `Documentation/networking/timestamping.rst`): each datagram comes
//! with the wall-clock time of its arrival, taken in the kernel before our own lateness.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// One datagram, whose bytes are at the start of the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes in the buffer; a longer datagram is cut.
    pub len: usize,
    /// Who sent it, as far as it says.
    pub from: Option<IpAddr>,
    /// When the kernel received it, on the wall clock.
    pub stamp: Option<Duration>,
}

/// Room for one timestamp, aligned for a cmsghdr: 16 bytes of header and 16 of timespec, and as
/// much again.
type Control = [u64; 8];

/// Has the kernel stamp what comes in on this socket from now on.
///
/// # Errors
/// As setsockopt(2).
pub fn stamp_arrivals(socket: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
}

/// Has the next call on this socket fail with whatever ICMP error comes for what it has sent, also
/// with those that ip(7) calls transient: host and network unreachable (`IP_RECVERR`).
///
/// # Errors
/// As setsockopt(2).
pub fn hear_errors(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        switch_on(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        switch_on(socket, libc::IPPROTO_IP, libc::IP_RECVERR)
    }
}

#[expect(unsafe_code, reason = "no safe wrapper of these options among our crates")]
fn switch_on(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open while borrowed; the option value is a valid c_int of the
    // length given, and is only read.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the next datagram, without waiting for one.
///
/// # Errors
/// As recvmsg(2); [`io::ErrorKind::WouldBlock`] when there is none.
#[expect(unsafe_code, reason = "no safe wrapper of recvmsg(2) that gives timestamps")]
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut from = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control: Control = [0; 8];
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: all zeroes is a valid msghdr and a valid sockaddr_storage. Every pointer put into
    // the header is to memory that lives, and is ours alone, until after recvmsg, with its
    // length; the kernel writes at most that much. The control buffer is aligned for cmsghdr.
    unsafe {
        let header = header.assume_init_mut();
        header.msg_name = from.as_mut_ptr().cast();
        header.msg_namelen =
            libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
        let len = libc::recvmsg(socket.as_raw_fd(), header, libc::MSG_DONTWAIT);
        let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };
        Ok(Received { len, from: address(&from.assume_init()), stamp: stamp(header) })
    }
}

/// # Safety
/// `header` must be as a successful recvmsg(2) left it, with its control buffer alive.
#[expect(unsafe_code, reason = "walks the control messages")]
unsafe fn stamp(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the CMSG macros stay within the control buffer, whose length the kernel has set;
    // the value is read unaligned, and only when the message is long enough for it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            // The two fields have other types in other C libraries.
            let whole = found.cmsg_len >= libc::CMSG_LEN(timespec_len()) as _;
            if found.cmsg_level == libc::SOL_SOCKET
                && found.cmsg_type == libc::SCM_TIMESTAMPNS
                && whole
            {
                let time = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                let secs = u64::try_from(time.tv_sec).ok()?;
                return Some(Duration::new(secs, u32::try_from(time.tv_nsec).ok()?));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

fn timespec_len() -> libc::c_uint {
    libc::c_uint::try_from(size_of::<libc::timespec>()).unwrap_or(libc::c_uint::MAX)
}

#[expect(unsafe_code, reason = "reads a sockaddr as its family says")]
fn address(storage: &libc::sockaddr_storage) -> Option<IpAddr> {
    let place = &raw const *storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage is large enough and aligned for any sockaddr, and all
            // bit patterns are valid.
            let v4 = unsafe { place.cast::<libc::sockaddr_in>().read() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { place.cast::<libc::sockaddr_in6>().read() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn datagrams_come_with_sender_and_time_and_without_waiting() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(to) = UdpSocket::bind((host, 0)) else {
                println!("SKIP {host}: no such address here");
                continue;
            };
            let mut buffer = [0; 4];
            let none = receive(to.as_fd(), &mut buffer).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            stamp_arrivals(to.as_fd()).unwrap();
            let before = clock::wall();
            let from = UdpSocket::bind((host, 0)).unwrap();
            from.send_to(b"longer than that", to.local_addr().unwrap()).unwrap();
            let got = receive(to.as_fd(), &mut buffer).unwrap();
            assert_eq!((got.len, &buffer), (4, b"long"));
            assert_eq!(got.from, Some(host.parse().unwrap()));
            let stamp = got.stamp.unwrap();
            // The kernel may read its coarse clock: allow it a tick.
            assert!(stamp + Duration::from_millis(10) >= before && stamp <= clock::wall());
        }
    }
}
