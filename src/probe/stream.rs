//! A connection to a server, with TLS or without: the same to those who talk over it.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Context, Deadline, tcp, tls};
use crate::lvs::check::CheckFailure;

/// Bytes to and from the server.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects. `tls`: with TLS, and the server name where there is one.
pub(super) async fn open(
    target: SocketAddr,
    tls: Option<Option<&str>>,
    context: &Context,
    deadline: Deadline,
) -> Result<Box<dyn Stream>, CheckFailure> {
    let stream = tcp::connect(target, deadline).await?;
    let Some(name) = tls else { return Ok(Box::new(stream)) };
    let server = (name, target.ip());
    Ok(Box::new(tls::handshake(stream, server, &context.trust, deadline).await?))
}
