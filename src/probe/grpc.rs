//! gRPC health (`grpc.health.v1.Health/Check`): whether a server, or one service of it, says that it
//! is serving.
//!
//! HTTP/2 is the crate's. The two messages have one field each and are made here by hand: as bytes of
//! protobuf (an unknown field is skipped, as that demands) behind gRPC's prefix of five bytes.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::open_for;
use super::tls::{self, Spoken};
use super::{Phase, Run};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::GrpcCheck;
use crate::time::millis;

/// Most bytes of all headers of an answer, and of its trailers.
const HEAD_MAX: u32 = 16 * 1024;
/// Longest answer, in bytes: a message of one small number, and fields that we do not know.
const ANSWER_MAX: usize = 1024;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The field of the request, a text, and that of the answer, a number (protobuf: field 1, wire
/// types 2 and 0).
const SERVICE: u8 = 0x0a;
const STATUS: u64 = 0x08;

/// Connects and asks.
pub(super) async fn check(check: &GrpcCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let stream = open_for(Spoken::Http2, run, check.tls.as_ref(), check.host.as_deref()).await?;
    run.bound(Phase::Answer, exchange(stream, check, run)).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    check: &GrpcCheck,
    run: &Run<'_>,
) -> Result<(), CheckFailure> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD_MAX).max_concurrent_reset_streams(1);
    let handshake = builder.handshake(stream).await;
    let (sender, connection) = handshake.map_err(|error| failure(&error, run))?;
    let mut answer = pin!(asked(sender, check, run));
    tokio::select! {
        biased;
        verdict = &mut answer => verdict,
        ended = connection => {
            // What had come by then is still to be read.
            let closed = ended.map_or_else(|error| failure(&error, run), |()| CheckFailure::Closed);
            answer.await.map_err(|own| if own == CheckFailure::Closed { closed } else { own })
        }
    }
}

async fn asked(
    sender: SendRequest<Bytes>,
    check: &GrpcCheck,
    run: &Run<'_>,
) -> Result<(), CheckFailure> {
    let failed = |error: h2::Error| failure(&error, run);
    let mut sender = sender.ready().await.map_err(failed)?;
    let request = request(check, run.target, millis(run.deadline.timeout))?;
    let (response, mut body) = sender.send_request(request, false).map_err(failed)?;
    body.send_data(question(&check.service), true).map_err(failed)?;
    judge(response.await.map_err(failed)?, run).await
}

fn request(
    check: &GrpcCheck,
    target: SocketAddr,
    timeout_ms: u64,
) -> Result<Request<()>, CheckFailure> {
    let scheme = if check.tls.is_some() { "https" } else { "http" };
    let authority = check.host.clone().unwrap_or_else(|| target.to_string());
    Request::post(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-timeout", format!("{}m", timeout_ms.clamp(1, 99_999_999)))
        .header(USER_AGENT, concat!("pairbeat/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| CheckFailure::Local(error.to_string()))
}

/// The request for this service; empty for the server as a whole.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(SERVICE);
        put_number(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Bytes::from([&[0][..], &len.to_be_bytes(), &message].concat())
}

/// Seven bits a byte, the lowest first.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// A refusal may come without a body, in the headers.
async fn judge(response: Response<RecvStream>, run: &Run<'_>) -> Result<(), CheckFailure> {
    if response.status() != StatusCode::OK {
        return Err(CheckFailure::Status(response.status().as_u16()));
    }
    let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        return Err(CheckFailure::Protocol("not gRPC".to_owned()));
    }
    well(response.headers())?;
    let mut body = response.into_body();
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| failure(&error, run))?;
        answer.extend_from_slice(&data);
        if answer.len() > ANSWER_MAX {
            return Err(CheckFailure::TooLarge(ANSWER_MAX));
        }
        // More of it could not come otherwise; a stream that has ended needs no more.
        let _ended = body.flow_control().release_capacity(data.len());
    }
    let trailers = body.trailers().await.map_err(|error| failure(&error, run))?;
    well(&trailers.unwrap_or_default())?;
    serving(&answer)
}

/// Whether `grpc-status` is 0, or is not said here.
fn well(headers: &HeaderMap) -> Result<(), CheckFailure> {
    let Some(status) = headers.get("grpc-status").filter(|status| status.as_bytes() != b"0") else {
        return Ok(());
    };
    let words = match headers.get("grpc-message") {
        Some(message) => [b": ", message.as_bytes()].concat(),
        None => Vec::new(),
    };
    let status = shown(status.as_bytes());
    Err(CheckFailure::Answer(format!("gRPC status {status}{}", in_words(&status, &words))))
}

fn in_words(status: &str, words: &[u8]) -> String {
    let known = match status {
        "5" => " (no such service)",
        "12" => " (it has no health service)",
        "16" | "7" => " (not allowed)",
        _ => "",
    };
    let said = shown(words);
    if said.is_empty() { known.to_owned() } else { format!("{known}{said}") }
}

/// What a message, with its prefix, says; without the field it is 0, unknown.
pub(super) fn serving(answer: &[u8]) -> Result<(), CheckFailure> {
    let invalid = || CheckFailure::Protocol("a gRPC message that can't be read".to_owned());
    let Some(([compressed, len @ ..], message)) = answer.split_first_chunk::<PREFIX>() else {
        return Err(invalid());
    };
    let is_whole = u32::try_from(message.len()).is_ok_and(|it| it == u32::from_be_bytes(*len));
    if *compressed != 0 || !is_whole {
        return Err(invalid());
    }
    match status(message).ok_or_else(invalid)? {
        1 => Ok(()),
        0 => Err(CheckFailure::Answer("UNKNOWN".to_owned())),
        2 => Err(CheckFailure::Answer("NOT_SERVING".to_owned())),
        3 => Err(CheckFailure::Answer("SERVICE_UNKNOWN".to_owned())),
        other => Err(CheckFailure::Answer(format!("status {other}"))),
    }
}

/// The last field 1 of a protobuf message; `None`: it is none.
fn status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = number(&mut message)?;
        match key & 7 {
            0 => {
                let value = number(&mut message)?;
                if key == STATUS {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let len = usize::try_from(number(&mut message)?).ok()?;
                message = message.get(len..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn number(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn failure(error: &h2::Error, run: &Run<'_>) -> CheckFailure {
    if let Some(io) = error.get_io() {
        return tls::stream_failure(io, Phase::Answer, run.deadline);
    }
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL | Reason::REFUSED_STREAM) => CheckFailure::Closed,
        _ => CheckFailure::Protocol(shown(error.to_string().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_the_name_of_the_service_behind_five_bytes() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = question(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_serving_is_well_and_unknown_fields_are_skipped() {
        let framed = |message: &[u8]| {
            let len = u32::try_from(message.len()).unwrap().to_be_bytes();
            serving(&[&[0][..], &len, message].concat())
        };
        assert_eq!(framed(&[8, 1]), Ok(()));
        // A text, four and eight bytes, and a number of a later version.
        let later = [0x12, 2, 8, 2, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x28, 7, 8, 1];
        assert_eq!(framed(&later), Ok(()));
        for (message, says) in [
            (&[][..], "UNKNOWN"),
            (&[8, 2], "NOT_SERVING"),
            (&[8, 1, 8, 2], "NOT_SERVING"),
            (&[8, 3], "SERVICE_UNKNOWN"),
            (&[8, 0x81, 1], "status 129"),
        ] {
            assert_eq!(framed(message), Err(CheckFailure::Answer(says.to_owned())), "{message:?}");
        }
        let many = [&[8][..], &[0xff; 10]].concat();
        for broken in [&[8][..], &many, &[0x0b], &[0x12, 9], &[0x1d, 1]] {
            assert!(matches!(framed(broken), Err(CheckFailure::Protocol(_))), "{broken:?}");
        }
        for broken in [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 3, 8, 1]] {
            assert!(matches!(serving(broken), Err(CheckFailure::Protocol(_))), "{broken:?}");
        }
    }
}
