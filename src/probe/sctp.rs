//! The connect check over SCTP.
//!
//! A one-to-one socket (RFC 6458 section 4) is connected as one of TCP is, and is one to tokio: it becomes
//! writable when the four-way handshake is done, or has an error then.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

use super::{Phase, Run, tcp};
use crate::lvs::check::CheckFailure;

/// Makes an association, and ends it with an ABORT.
pub(super) async fn check(run: &Run<'_>) -> Result<(), CheckFailure> {
    let socket = socket(run)?;
    let connected = async {
        let connected = socket.connect(run.target).await;
        connected.map_err(|error| run.deadline.icmp(run.target, Phase::Connect, &error))
    };
    run.bound(Phase::Connect, connected).await.map(drop)
}

fn socket(run: &Run<'_>) -> Result<TcpSocket, CheckFailure> {
    let local = |error: io::Error| CheckFailure::Local(error.to_string());
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(run.target), kind, Some(Protocol::SCTP));
    let socket = socket.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::PROTONOSUPPORT) => {
            CheckFailure::Local("the kernel here has no SCTP: `modprobe sctp`".to_owned())
        }
        _ => local(error),
    })?;
    socket.set_linger(Some(Duration::ZERO)).map_err(local)?;
    if let Some(source) = run.source {
        let bound = socket.bind(&SocketAddr::new(source, 0).into());
        bound.map_err(|error| tcp::unbound(source, &error))?;
    }
    Ok(TcpSocket::from_std_stream(TcpStream::from(OwnedFd::from(socket))))
}
