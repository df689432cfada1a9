//! The connect check, and the connection that the other checks over TCP begin with.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::{Phase, Run};
use crate::lvs::check::CheckFailure;

/// Connects and closes.
pub(super) async fn check(run: &Run<'_>) -> Result<(), CheckFailure> {
    connect(run.target, run).await.map(drop)
}

/// A connection that ends with RST when it is dropped: nothing stays in TIME-WAIT, so a few hundred
/// checks a second of one server do not use up the local ports.
pub(super) async fn connect(target: SocketAddr, run: &Run<'_>) -> Result<TcpStream, CheckFailure> {
    let socket = socket(target, run.source)?;
    let connected = async {
        let connected = socket.connect(target).await;
        connected.map_err(|error| run.deadline.icmp(target, Phase::Connect, &error))
    };
    let stream = run.bound(Phase::Connect, connected).await?;
    if is_own_echo(&stream) { Err(CheckFailure::Refused) } else { Ok(stream) }
}

fn socket(target: SocketAddr, source: Option<IpAddr>) -> Result<TcpSocket, CheckFailure> {
    let local = |error: io::Error| CheckFailure::Local(error.to_string());
    let socket = if target.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() };
    let socket = socket.map_err(local)?;
    socket.set_zero_linger().map_err(local)?;
    if let Some(source) = source {
        socket.bind((source, 0).into()).map_err(|error| unbound(source, &error))?;
    }
    Ok(socket)
}

/// A source that is no address of this machine is our own fault, whatever the server does.
pub(super) fn unbound(source: IpAddr, error: &io::Error) -> CheckFailure {
    CheckFailure::Local(format!("checks from {source}: {error}"))
}

/// Where this director is its own real server and nobody listens at a port of the local range, the
/// kernel may take that very port as our source, and the connection to ourselves succeeds (RFC 9293
/// section 3.5, simultaneous open).
fn is_own_echo(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(near), Ok(far)) if near == far)
}
