//! The client's end of the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::control::protocol::{Call, EVENTS_WAIT, ErrorReply, REPLY_LEN_MAX};

/// Longest wait for the connection and for replies that need no switch.
const QUICK: Duration = Duration::from_secs(5);
/// Longest wait for a switch or a stop: the daemon's own limits end it well before.
const SLOW: Duration = Duration::from_secs(3600);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no daemon answers at {}; is `pairbeat run` running?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The socket is there and not for us.
    #[error("{} can't be opened: permission denied; try with sudo", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// Connected, and no (whole) answer in time.
    #[error("the daemon at {} does not answer", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon will not do it.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon behind `socket` and returns the reply's JSON.
///
/// # Errors
/// [`CallError`] tells an absent daemon from a silent and a refusing one.
pub async fn call(socket: &Path, call: &Call) -> Result<Vec<u8>, CallError> {
    let limit = match call {
        Call::Status
        | Call::Freeze(_)
        | Call::ConfirmDead
        | Call::Explain(_)
        | Call::Record
        | Call::Real(_) => QUICK,
        Call::Events(_) => EVENTS_WAIT + QUICK,
        Call::Standby(_) | Call::Takeover(_) | Call::Stop | Call::Reload | Call::Restart(_) => SLOW,
    };
    let silent = || CallError::NoAnswer { path: socket.to_owned() };
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => CallError::Permission { path: socket.to_owned() },
        _ => CallError::NoDaemon { path: socket.to_owned(), source },
    })?;
    let (status, body) = tokio::time::timeout(limit, exchange(stream, call))
        .await
        .map_err(|_| silent())?
        .ok_or_else(silent)?;
    if status == StatusCode::OK {
        return Ok(body.to_vec());
    }
    let why = serde_json::from_slice::<ErrorReply>(&body).map(|reply| reply.error);
    Err(CallError::Refused(why.unwrap_or_else(|_| status.to_string())))
}

async fn exchange(stream: UnixStream, call: &Call) -> Option<(StatusCode, Bytes)> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let (method, path) = call.route();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "pairbeat")
        .body(Full::new(Bytes::from(call.body())))
        .ok()?;
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status();
        let body = Limited::new(response.into_body(), REPLY_LEN_MAX).collect().await.ok()?;
        Some((status, body.to_bytes()))
    };
    let (answer, _connection) = tokio::join!(answer, connection);
    answer
}
