//! What servers say, given to the checks as bytes: for fuzzing and tests. No network, no time.

use std::future::Future;
use std::io::Cursor;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, join, sink};

use super::{Deadline, dns, radius, redis};
use crate::lvs::check::{CheckFailure, Verdict, receive_pattern};
use crate::lvs::exchange::{DnsCheck, DnsRecord, Password, RadiusCheck, RedisCheck};
use crate::lvs::model::Protocol;

/// An answer to the question for the address of `www.example.com`, which must match `192.0.2`:
/// a datagram with id 0x7062. `None`: it answers no question of ours.
pub fn dns(message: &[u8]) -> Option<Verdict> {
    let check = DnsCheck {
        transport: Protocol::Udp,
        name: "www.example.com".to_owned(),
        record: record_of(message),
        receive: Some("192.0.2".to_owned()),
    };
    let pattern = receive_pattern("192.0.2").ok();
    dns::Asked { check: &check, pattern: pattern.as_ref(), id: 0x7062 }.judge(message).map(verdict)
}

/// The type that the message itself asks for, so that the text of each is made.
fn record_of(message: &[u8]) -> DnsRecord {
    let kind = message.get(30).copied().unwrap_or_default();
    match kind {
        2 => DnsRecord::Ns,
        5 => DnsRecord::Cname,
        6 => DnsRecord::Soa,
        12 => DnsRecord::Ptr,
        15 => DnsRecord::Mx,
        16 => DnsRecord::Txt,
        28 => DnsRecord::Aaaa,
        33 => DnsRecord::Srv,
        _ => DnsRecord::A,
    }
}

/// An answer to request 112, with authenticator `pairbeat-replay!` and secret `testing123`.
/// `None`: it answers no request of ours.
pub fn radius(datagram: &[u8]) -> Option<Verdict> {
    let check = RadiusCheck {
        login: "probe".to_owned(),
        password: Password::new("pw"),
        secret: Password::new("testing123"),
    };
    let authenticator = *b"pairbeat-replay!";
    radius::Asked { check: &check, identifier: 112, authenticator }.judge(datagram).map(verdict)
}

/// All that a Redis server says to AUTH and PING.
pub fn redis(said: &[u8]) -> Verdict {
    let check = RedisCheck { login: None, password: Some(Password::new("pw")) };
    over(said, |stream, deadline| async move { redis::exchange(stream, &check, deadline).await })
}

fn verdict(outcome: Result<(), CheckFailure>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Up,
        Err(failure) => Verdict::Down(failure),
    }
}

/// A stream that says this and takes everything never has to wait.
fn over<F>(said: &[u8], exchange: impl FnOnce(Box<dyn Stream>, Deadline) -> F) -> Verdict
where
    F: Future<Output = Result<(), CheckFailure>>,
{
    let stream = join(Cursor::new(said.to_vec()), sink());
    let deadline = Deadline::after(Duration::from_secs(1));
    match exchange(Box::new(stream), deadline).now_or_never() {
        Some(outcome) => verdict(outcome),
        None => Verdict::Down(CheckFailure::Local("it waits for something else".to_owned())),
    }
}

/// Both directions.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}
