//! The connect check, and the connection that the other checks over TCP begin with.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};

use super::{Deadline, Phase};
use crate::lvs::check::CheckFailure;

/// Connects and closes.
pub(super) async fn check(target: SocketAddr, deadline: Deadline) -> Result<(), CheckFailure> {
    connect(target, deadline).await.map(drop)
}

/// A connection that ends with RST when it is dropped: nothing stays in TIME-WAIT, so a few hundred
/// checks a second of one server do not use up the local ports.
pub(super) async fn connect(
    target: SocketAddr,
    deadline: Deadline,
) -> Result<TcpStream, CheckFailure> {
    let socket = socket(target).map_err(|error| CheckFailure::Local(error.to_string()))?;
    let connected =
        async { socket.connect(target).await.map_err(|error| refusal(target, deadline, &error)) };
    let stream = deadline.bound(Phase::Connect, connected).await?;
    if is_own_echo(&stream) { Err(CheckFailure::Refused) } else { Ok(stream) }
}

fn socket(target: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if target.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    socket.set_zero_linger()?;
    Ok(socket)
}

/// EACCES is ICMPv6 "administratively prohibited" (RFC 4443 section 3.1, code 1) with IPv6; with
/// IPv4 it only ever comes from this machine.
fn refusal(target: SocketAddr, deadline: Deadline, error: &io::Error) -> CheckFailure {
    if target.is_ipv6() && Errno::from_io_error(error) == Some(Errno::ACCESS) {
        return CheckFailure::Unreachable;
    }
    deadline.failure(Phase::Connect, error)
}

/// Where this director is its own real server and nobody listens at a port of the local range, the
/// kernel may take that very port as our source, and the connection to ourselves succeeds (RFC 9293
/// section 3.5, simultaneous open).
fn is_own_echo(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(near), Ok(far)) if near == far)
}
