//! The ping check: ICMP and ICMPv6 echo.
//!
//! An unprivileged "ping socket" where the kernel allows it, which matches the answers itself;
//! else a raw socket, where every answer on the machine passes by and ours are known by identifier,
//! sequence number and random payload. One lost packet is no verdict: the echo is repeated within
//! the deadline.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::{Phase, Run, tcp};
use crate::lvs::check::CheckFailure;
use crate::sys::datagram::hear_errors;

/// Echo requests within one deadline, evenly spread.
const ECHOES: u16 = 3;

/// Header of an echo message (RFC 792, RFC 4443 section 4.1).
const HEADER: usize = 8;

/// Bytes of an echo message in all, as in ping(8).
const MESSAGE: usize = 64;

/// Room for the answer behind the longest IPv4 header.
const ANSWER_MAX: usize = 60 + MESSAGE;

/// Sends echo requests until one is answered.
pub(super) async fn check(run: &Run<'_>) -> Result<(), CheckFailure> {
    let address = run.target.ip();
    let socket = EchoSocket::open(address, run.source)?;
    let echo = Echo::random(address).map_err(|error| CheckFailure::Local(error.to_string()))?;
    run.bound(Phase::Answer, exchange(&socket, &echo, run)).await
}

async fn exchange(socket: &EchoSocket, echo: &Echo, run: &Run<'_>) -> Result<(), CheckFailure> {
    let pause = run.deadline.timeout / u32::from(ECHOES);
    let mut sequence = 0;
    loop {
        sequence += 1;
        let failure = |error: io::Error| run.deadline.icmp(run.target, Phase::Answer, &error);
        socket.send(&echo.request(sequence)).await.map_err(failure)?;
        match tokio::time::timeout(pause, socket.await_reply(echo, sequence)).await {
            Ok(answered) => return answered.map_err(failure),
            // The last one waits for the rest of the deadline, whatever rounding left of it.
            Err(_) if sequence < ECHOES => {}
            Err(_) => return socket.await_reply(echo, sequence).await.map_err(failure),
        }
    }
}

/// One conversation: who we are, and what marks our messages.
struct Echo {
    ipv6: bool,
    identifier: [u8; 2],
    payload: [u8; MESSAGE - HEADER],
}

impl Echo {
    fn random(address: IpAddr) -> Result<Self, getrandom::Error> {
        let mut echo =
            Self { ipv6: address.is_ipv6(), identifier: [0; 2], payload: [0; MESSAGE - HEADER] };
        getrandom::fill(&mut echo.identifier)?;
        getrandom::fill(&mut echo.payload)?;
        Ok(echo)
    }

    /// Type and code of request and reply.
    fn kinds(&self) -> ([u8; 2], [u8; 2]) {
        if self.ipv6 { ([128, 0], [129, 0]) } else { ([8, 0], [0, 0]) }
    }

    /// The checksum is ours to make only on a raw IPv4 socket; the kernel makes the others.
    fn request(&self, sequence: u16) -> Vec<u8> {
        let message = |checksum: u16| {
            let (request, _) = self.kinds();
            let header = [request, checksum.to_be_bytes(), self.identifier, sequence.to_be_bytes()];
            [header.as_flattened(), &self.payload].concat()
        };
        message(checksum(&message(0)))
    }

    /// Whether `message` answers one of the requests up to `sequence`. A ping socket has an
    /// identifier of its own and compares it itself.
    fn is_answered_by(&self, message: &[u8], sequence: u16, kind: Kind) -> bool {
        let Some((header, payload)) = message.split_first_chunk::<HEADER>() else {
            return false;
        };
        let [kind_byte, code, _, _, id_high, id_low, seq_high, seq_low] = *header;
        let (_, reply) = self.kinds();
        [kind_byte, code] == reply
            && (kind == Kind::Ping || [id_high, id_low] == self.identifier)
            && (1..=sequence).contains(&u16::from_be_bytes([seq_high, seq_low]))
            && payload == self.payload
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `SOCK_DGRAM`, icmp(7): no privilege, but a group in `net.ipv4.ping_group_range`.
    Ping,
    /// `SOCK_RAW`: CAP_NET_RAW.
    Raw,
}

struct EchoSocket {
    /// Not UDP at all, but tokio's only face for a socket on which send(2) and recv(2) are datagrams.
    socket: UdpSocket,
    kind: Kind,
}

impl EchoSocket {
    fn open(address: IpAddr, source: Option<IpAddr>) -> Result<Self, CheckFailure> {
        let (socket, kind) = match Self::open_as(address, Kind::Ping) {
            Err(error) if is_refused(&error) => (Self::open_as(address, Kind::Raw), Kind::Raw),
            opened => (opened, Kind::Ping),
        };
        let socket = socket.map_err(|error| no_socket(&error))?;
        let heard = hear_errors(socket.as_fd(), address.is_ipv6());
        heard.map_err(|error| CheckFailure::Local(error.to_string()))?;
        if let Some(source) = source {
            let bound = socket.bind(&SocketAddr::new(source, 0).into());
            bound.map_err(|error| tcp::unbound(source, &error))?;
        }
        match socket.connect(&SocketAddr::new(address, 0).into()) {
            Ok(()) => {}
            Err(error) if is_no_route(&error) => return Err(CheckFailure::Unreachable),
            Err(error) => return Err(CheckFailure::Local(error.to_string())),
        }
        let socket = UdpSocket::from_std(OwnedFd::from(socket).into());
        let socket = socket.map_err(|error| CheckFailure::Local(error.to_string()))?;
        Ok(Self { socket, kind })
    }

    fn open_as(address: IpAddr, kind: Kind) -> io::Result<Socket> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let form = match kind {
            Kind::Ping => Type::DGRAM,
            Kind::Raw => Type::RAW,
        };
        Socket::new(domain, form.nonblocking().cloexec(), Some(protocol))
    }

    async fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send(message).await.map(drop)
    }

    async fn await_reply(&self, echo: &Echo, sequence: u16) -> io::Result<()> {
        let mut buffer = [0; ANSWER_MAX];
        loop {
            let received = self.socket.recv(&mut buffer).await?;
            let packet = buffer.get(..received).unwrap_or_default();
            let message = if self.kind == Kind::Raw && !echo.ipv6 {
                without_ipv4_header(packet)
            } else {
                packet
            };
            if echo.is_answered_by(message, sequence, self.kind) {
                return Ok(());
            }
        }
    }
}

/// A kernel without ping sockets, or one that does not allow them to us.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ACCESS | Errno::PERM | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)
    )
}

fn is_no_route(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NETUNREACH | Errno::HOSTUNREACH))
}

fn no_socket(error: &io::Error) -> CheckFailure {
    CheckFailure::Local(if is_refused(error) {
        "ping needs this process's group in net.ipv4.ping_group_range, or CAP_NET_RAW".to_owned()
    } else {
        error.to_string()
    })
}

/// What is behind the header, whose length is in its first byte (RFC 791 section 3.1).
fn without_ipv4_header(packet: &[u8]) -> &[u8] {
    let words = usize::from(packet.first().copied().unwrap_or_default() & 0x0f);
    packet.get(words * 4..).unwrap_or_default()
}

/// The Internet checksum (RFC 1071).
fn checksum(message: &[u8]) -> u16 {
    let (pairs, _) = message.as_chunks::<2>();
    let sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(ipv6: bool) -> Echo {
        Echo { ipv6, identifier: [0x12, 0x34], payload: [b'x'; MESSAGE - HEADER] }
    }

    /// As the server would send it.
    fn reply(echo: &Echo, sequence: u16) -> Vec<u8> {
        let mut message = echo.request(sequence);
        message[0] = if echo.ipv6 { 129 } else { 0 };
        message
    }

    #[test]
    fn a_request_sums_to_zero() {
        let message = echo(false).request(1);
        assert_eq!(message.len(), 64);
        assert_eq!(message[..2], [8, 0]);
        assert_eq!(checksum(&message), 0);
    }

    #[test]
    fn only_the_answer_to_our_own_request_counts() {
        for ipv6 in [false, true] {
            let echo = echo(ipv6);
            let good = reply(&echo, 2);
            assert!(echo.is_answered_by(&good, 2, Kind::Raw));
            assert!(echo.is_answered_by(&good, 3, Kind::Raw), "a late answer is an answer");
            assert!(!echo.is_answered_by(&good, 1, Kind::Raw), "not asked yet");
            assert!(!echo.is_answered_by(&echo.request(2), 2, Kind::Raw), "our own request");
            for (place, what) in [(1, "code"), (4, "identifier"), (6, "sequence"), (63, "payload")]
            {
                let mut bad = good.clone();
                bad[place] ^= 0x80;
                assert!(!echo.is_answered_by(&bad, 2, Kind::Raw), "{what}");
            }
            assert!(!echo.is_answered_by(&good[..63], 2, Kind::Raw), "cut off");
            assert!(!echo.is_answered_by(&[], 2, Kind::Raw), "empty");
        }
    }

    #[test]
    fn a_ping_socket_has_its_own_identifier() {
        let echo = echo(false);
        let mut good = reply(&echo, 1);
        good[4] ^= 0xff;
        assert!(echo.is_answered_by(&good, 1, Kind::Ping));
    }

    #[test]
    fn an_ipv4_header_with_options_is_taken_off() {
        let mut packet = vec![0x46];
        packet.resize(24, 0);
        packet.push(7);
        assert_eq!(without_ipv4_header(&packet), [7]);
        assert!(without_ipv4_header(&[0x4f, 0]).is_empty());
        assert!(without_ipv4_header(&[]).is_empty());
    }
}
