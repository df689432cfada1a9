//! The HTTP and HTTPS check: one request on a connection of its own, and its answer.
//!
//! Honest verdicts: no redirect is followed, HTTP/0.9 is no answer, and a body that is to be looked
//! at must end within the timeout. Where nothing is wanted of it the status line is enough and it is
//! not read. The protocol itself is hyper's.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;
use sha2::Digest;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::stream::open;
use super::{Deadline, Phase, Run, tls};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::{HttpCheck, HttpMethod, Login, Md5, ProxyCheck, Sha256, Wanted};

/// Most bytes of a body that we read to look for `receive`: a status page has a few thousand, and
/// with every check in flight at once the checker still stays a process one can afford.
const BODY_MAX: usize = 1024 * 1024;

/// Most bytes of status line and headers, as much as common servers and proxies let through.
const HEAD_MAX: usize = 64 * 1024;

/// Sends the request and judges the answer.
pub(super) async fn check(check: &HttpCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let want = Judge::new(&check.want, run)?;
    let request = request(check, run.target)?;
    let stream = open(run, check.tls.as_ref(), check.host.as_deref()).await?;
    run.bound(Phase::Answer, exchange(stream, request, want, run.deadline)).await
}

/// The same with a proxy, which gets the whole address of the page (RFC 9112 section 3.2.2).
pub(super) async fn through_proxy(check: &ProxyCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let want = Judge::new(&check.want, run)?;
    let invalid = || CheckFailure::Local(format!("`{}` cannot be asked for", check.uri));
    let uri: Uri = check.uri.parse().map_err(|_| invalid())?;
    let host = uri.authority().ok_or_else(invalid)?.to_string();
    let request = build(check.method, uri, &host)?;
    let stream = open(run, None, None).await?;
    run.bound(Phase::Answer, exchange(stream, request, want, run.deadline)).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<Empty<Bytes>>,
    want: Judge<'_>,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failure(&error, deadline))?;
    let answer = async move {
        let response = sender.send_request(request).await;
        want.judge(response.map_err(|error| failure(&error, deadline))?, deadline).await
    };
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        verdict = &mut answer => verdict,
        // What had come by then is still to be read; an error reaches the answer as well.
        _ = connection => answer.await,
    }
}

/// What the answer is compared with.
#[derive(Debug, Clone, Copy)]
struct Judge<'c> {
    want: &'c Wanted,
    pattern: Option<&'c Regex>,
}

impl<'c> Judge<'c> {
    fn new(want: &'c Wanted, run: &Run<'c>) -> Result<Self, CheckFailure> {
        Ok(Self { want, pattern: run.context.receive(want.receive.as_deref())? })
    }

    async fn judge(
        self,
        response: Response<Incoming>,
        deadline: Deadline,
    ) -> Result<(), CheckFailure> {
        let status = response.status().as_u16();
        if !self.want.status.has(status) {
            return Err(CheckFailure::Status(status));
        }
        let (sha256, md5) = (self.want.sha256, self.want.md5);
        if self.pattern.is_none() && sha256.is_none() && md5.is_none() {
            return Ok(());
        }
        let body = read_body(response.into_body(), deadline).await?;
        if let Some(pattern) = self.pattern.filter(|pattern| !is_match(pattern, &body)) {
            return Err(CheckFailure::NoMatch(pattern.as_str().to_owned()));
        }
        if let Some(wanted) = sha256 {
            let sum = Sha256(sha2::Sha256::digest(&body).into());
            if sum != wanted {
                return Err(CheckFailure::Sum(sum));
            }
        }
        let Some(wanted) = md5 else { return Ok(()) };
        let sum = Md5(md5::Md5::digest(&body).into());
        if sum == wanted { Ok(()) } else { Err(CheckFailure::Md5(sum)) }
    }
}

async fn read_body(mut body: Incoming, deadline: Deadline) -> Result<Vec<u8>, CheckFailure> {
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length <= BODY_MAX) {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failure(&error, deadline))?;
            bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            if bytes.len() > BODY_MAX {
                return Err(CheckFailure::TooLarge(BODY_MAX));
            }
        }
        return Ok(bytes);
    }
    Err(CheckFailure::TooLarge(BODY_MAX))
}

/// In Perl, for which these patterns were written, `$` also matches before a last line feed.
pub(super) fn is_match(pattern: &Regex, body: &[u8]) -> bool {
    pattern.is_match(body) || body.strip_suffix(b"\n").is_some_and(|body| pattern.is_match(body))
}

fn request(check: &HttpCheck, target: SocketAddr) -> Result<Request<Empty<Bytes>>, CheckFailure> {
    let host = check.host.clone().unwrap_or_else(|| authority(target, check.tls.is_some()));
    let invalid = |_| CheckFailure::Local(format!("path `{}` cannot be sent", check.path));
    let mut request = build(check.method, escaped(&check.path).parse().map_err(invalid)?, &host)?;
    for (name, value) in &check.headers {
        let unfit = || CheckFailure::Local(format!("header `{name}` cannot be sent"));
        let value = HeaderValue::try_from(value).map_err(|_| unfit())?;
        let name = HeaderName::try_from(name).map_err(|_| unfit())?;
        request.headers_mut().insert(name, value);
    }
    if let Some(Login { name, password }) = &check.login {
        let both = Zeroizing::new(format!("{name}:{}", password.reveal()));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
        let mut value = HeaderValue::try_from(basic.as_str())
            .map_err(|error| CheckFailure::Local(error.to_string()))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

fn build(method: HttpMethod, uri: Uri, host: &str) -> Result<Request<Empty<Bytes>>, CheckFailure> {
    let method = match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
    };
    let invalid = |_| CheckFailure::Local(format!("host `{host}` cannot be sent"));
    let host = HeaderValue::try_from(host).map_err(invalid)?;
    Request::builder()
        .method(method)
        .uri(uri)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("pairbeat/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|error| CheckFailure::Local(error.to_string()))
}

/// `Host` of a server without a name: the port only where it is not the scheme's (RFC 9110
/// section 7.2), IPv6 in brackets.
fn authority(target: SocketAddr, tls: bool) -> String {
    let usual = if tls { 443 } else { 80 };
    match (target.port() == usual, target) {
        (false, target) => target.to_string(),
        (true, SocketAddr::V4(target)) => target.ip().to_string(),
        (true, SocketAddr::V6(target)) => format!("[{}]", target.ip()),
    }
}

/// The path with its first slash and without bytes that RFC 3986 does not know, as LWP sends it
/// for ldirectord. What is escaped already stays as it is.
fn escaped(path: &str) -> String {
    let mut escaped = String::from(if path.starts_with('/') { "" } else { "/" });
    for byte in path.bytes() {
        let plain = byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
        if plain {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn failure(error: &hyper::Error, deadline: Deadline) -> CheckFailure {
    if error.is_parse_too_large() {
        return CheckFailure::TooLarge(HEAD_MAX);
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return CheckFailure::Closed;
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(io) => tls::stream_failure(io, Phase::Answer, deadline),
        None => CheckFailure::Protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_in_the_host_only_where_it_is_not_the_usual_one() {
        for (target, tls, host) in [
            ("192.0.2.1:80", false, "192.0.2.1"),
            ("192.0.2.1:443", true, "192.0.2.1"),
            ("192.0.2.1:443", false, "192.0.2.1:443"),
            ("[2001:db8::1]:80", false, "[2001:db8::1]"),
            ("[2001:db8::1]:8080", false, "[2001:db8::1]:8080"),
        ] {
            assert_eq!(authority(target.parse().unwrap(), tls), host);
        }
    }

    #[test]
    fn paths_are_sent_as_lwp_sends_them() {
        for (path, sent) in [
            ("/", "/"),
            ("", "/"),
            ("index.html", "/index.html"),
            ("/a b?c=\"d\"|e", "/a%20b?c=%22d%22%7Ce"),
            ("/a%20b", "/a%20b"),
            ("/caf\u{e9}", "/caf%C3%A9"),
        ] {
            assert_eq!(escaped(path), sent);
        }
    }

    #[test]
    fn a_dollar_matches_before_the_last_line_feed() {
        let pattern = crate::lvs::check::receive_pattern("OK$").unwrap();
        assert!(is_match(&pattern, b"OK\n"));
        assert!(is_match(&pattern, b"OK"));
        assert!(!is_match(&pattern, b"OK\nmore\n"));
    }
}
