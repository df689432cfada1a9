//! The server's end of the control socket: accepts, reads one request, asks the daemon, replies.
//!
//! Decides nothing but who may write: root, and whoever runs the daemon (peer credentials).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::control::protocol::{Call, ErrorReply, REQUEST_LEN_MAX};
use crate::journal::Caller;

/// Most connections at a time: operators and their scripts, not crowds.
const CONNECTIONS_MAX: usize = 64;
/// Most calls that wait for the daemon's loop.
pub const CALLS_MAX: usize = CONNECTIONS_MAX;
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time a client may take to send its request.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// One call, to be answered with a JSON body.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub call: Call,
    /// Who asks, where the kernel says it.
    pub by: Option<Caller>,
    /// Where the reply goes; dropped when nobody waits any more.
    pub reply: oneshot::Sender<Vec<u8>>,
}

/// Replies with a value as JSON.
pub fn send<T: serde::Serialize>(reply: oneshot::Sender<Vec<u8>>, value: &T) {
    // Nobody waits any more: the operator pressed ctrl-c.
    let _gone = reply.send(serde_json::to_vec(value).unwrap_or_default());
}

/// Why the control socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("control socket {}: {source}", path.display())]
pub struct ListenError {
    path: PathBuf,
    source: std::io::Error,
}

/// Listens at `path`, replacing what a dead daemon left there (the caller holds the lock).
///
/// # Errors
/// The path and the system's reason.
pub fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let wrap = |source| ListenError { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(wrap(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(wrap)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(wrap)?;
    Ok(listener)
}

/// Which calls a daemon answers.
pub type Takes = fn(&Call) -> Result<(), &'static str>;

/// A running server.
pub struct Server {
    slots: Arc<Semaphore>,
}

impl Server {
    /// Serves on the current `LocalSet` until the receiver of `calls` is gone. `takes` says why a call
    /// is none for this daemon.
    pub fn start(listener: UnixListener, calls: mpsc::Sender<Asked>, takes: Takes) -> Self {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tokio::task::spawn_local(serve(listener, calls, takes, Arc::clone(&slots)));
        Self { slots }
    }

    /// Waits until the last reply has reached its caller.
    pub async fn drained(self) {
        // One slot belongs to the connection that is waited for next.
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX).saturating_sub(1);
        let _all = self.slots.acquire_many(all).await;
    }
}

async fn serve(
    listener: UnixListener,
    calls: mpsc::Sender<Asked>,
    takes: Takes,
    slots: Arc<Semaphore>,
) {
    while !calls.is_closed() {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: they come back.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let calls = calls.clone();
        tokio::task::spawn_local(async move {
            connection(stream, calls, takes).await;
            drop(slot);
        });
    }
}

async fn connection(stream: UnixStream, calls: mpsc::Sender<Asked>, takes: Takes) {
    let caller = caller(&stream);
    let service = service_fn(move |request| {
        let calls = calls.clone();
        async move { Ok::<_, std::convert::Infallible>(reply(request, (calls, takes), caller).await) }
    });
    // A client that went away is no event of ours.
    let _gone = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Root, or the user the daemon runs as.
fn trusted(caller: Option<Caller>) -> bool {
    let own = rustix::process::geteuid().as_raw();
    caller.is_some_and(|caller| caller.uid == 0 || caller.uid == own)
}

fn caller(stream: &UnixStream) -> Option<Caller> {
    let peer = stream.peer_cred().ok()?;
    Some(Caller { uid: peer.uid(), pid: peer.pid() })
}

async fn reply(
    request: Request<Incoming>,
    (calls, takes): (mpsc::Sender<Asked>, Takes),
    by: Option<Caller>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_LEN_MAX).collect();
    let body = match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) => return refuse(StatusCode::BAD_REQUEST, &format!("request body: {e}")),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the request did not arrive"),
    };
    let call = match Call::parse(head.method.as_str(), head.uri.path(), &body) {
        Ok(call) => call,
        Err(why) => return refuse(StatusCode::NOT_FOUND, &why),
    };
    if call.changes() && !trusted(by) {
        return refuse(StatusCode::FORBIDDEN, "only root may do this; try with sudo");
    }
    if let Err(why) = takes(&call) {
        return refuse(StatusCode::CONFLICT, why);
    }
    let (sender, receiver) = oneshot::channel();
    if calls.try_send(Asked { call, by, reply: sender }).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many calls wait already");
    }
    match receiver.await {
        Ok(body) => Response::new(Full::new(Bytes::from(body))),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending"),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(&ErrorReply { error: why.to_owned() }).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
