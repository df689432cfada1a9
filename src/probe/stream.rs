//! A connection to a server, with TLS or without: the same to those who talk over it.

use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::{self, Spoken};
use super::{Run, tcp};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::{Encryption, MailCheck, Tls};

/// Bytes to and from the server.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Connects, with TLS where it is wanted; `host` is the server name.
pub(super) async fn open(
    run: &Run<'_>,
    tls: Option<&Tls>,
    host: Option<&str>,
) -> Result<Box<dyn Stream>, CheckFailure> {
    open_for(Spoken::Other, run, tls, host).await
}

/// The same for a protocol that TLS may have to agree on.
pub(super) async fn open_for(
    spoken: Spoken,
    run: &Run<'_>,
    tls: Option<&Tls>,
    host: Option<&str>,
) -> Result<Box<dyn Stream>, CheckFailure> {
    let stream = tcp::connect(run.target, run).await?;
    match tls {
        Some(tls) => Ok(Box::new(tls::handshake_for(spoken, stream, (tls, host), run).await?)),
        None => Ok(Box::new(stream)),
    }
}

/// Connects to a mailbox server; what encrypts itself later is plain here.
pub(super) async fn open_mail(
    check: &MailCheck,
    run: &Run<'_>,
) -> Result<Box<dyn Stream>, CheckFailure> {
    let tls = match &check.encryption {
        Encryption::Tls(tls) => Some(tls),
        Encryption::Plain | Encryption::StartTls(_) => None,
    };
    open(run, tls, check.host.as_deref()).await
}
