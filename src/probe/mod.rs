//! Health checks: one exchange with a real server, and what came of it.
//!
//! [`probe`] runs one check to its verdict within its timeout. When checks run is `schedule`'s,
//! how many at a time and in which process is `daemon::checker`'s, what a verdict means for the
//! pool is `lvs`'s. One file per protocol; each maps its errors to
//! [`CheckFailure`] itself, because only it knows them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use rustix::io::Errno;

use crate::lvs::check::{CheckFailure, CheckKind, CheckSpec, Verdict, receive_pattern, shown};
use crate::lvs::exchange::{Exchange, TlsUse};
use crate::lvs::model::Protocol;
use crate::time::millis;

mod agent;
#[cfg(test)]
pub(crate) mod black_hole;
mod datagram;
mod dns;
mod file;
mod ftp;
mod http;
mod icmp;
mod imap;
mod ldap;
mod lines;
mod mysql;
mod nntp;
mod oracle;
mod pgsql;
mod pop;
pub mod program;
mod radius;
mod redis;
pub mod replay;
pub mod schedule;
mod sip;
mod smtp;
mod stream;
mod tcp;
mod text;
pub mod tls;
mod wire;

/// What all checks of a list share: certificate authorities and compiled patterns.
#[derive(Debug)]
pub struct Context {
    trust: Arc<tls::Trust>,
    /// For what ldirectord does not verify either.
    anybody: tls::Trust,
    patterns: BTreeMap<String, Result<Regex, regex::Error>>,
}

impl Context {
    /// The context of the given checks: each `receive` is compiled once.
    pub fn new(trust: Arc<tls::Trust>, checks: &[CheckSpec]) -> Self {
        let texts = checks.iter().filter_map(|check| check.kind.receive());
        let mut patterns = BTreeMap::new();
        for text in texts {
            if !patterns.contains_key(text) {
                patterns.insert(text.to_owned(), receive_pattern(text));
            }
        }
        Self { trust, anybody: tls::Trust::anybody(), patterns }
    }

    /// Whom to believe; `None` where there is no TLS.
    fn trust(&self, tls: TlsUse) -> Option<&tls::Trust> {
        match tls {
            TlsUse::Plain => None,
            TlsUse::Unverified => Some(&self.anybody),
            TlsUse::Verified => Some(&self.trust),
        }
    }

    /// What an answer must match, where it must match anything.
    fn receive(&self, text: Option<&str>) -> Result<Option<&Regex>, CheckFailure> {
        text.map(|text| self.pattern(text)).transpose()
    }

    /// The compiled form of a pattern.
    fn pattern(&self, text: &str) -> Result<&Regex, CheckFailure> {
        match self.patterns.get(text) {
            Some(Ok(pattern)) => Ok(pattern),
            Some(Err(error)) => Err(CheckFailure::Local(format!("invalid `receive`: {error}"))),
            None => Err(CheckFailure::Local(format!("`receive` was not compiled: {text}"))),
        }
    }
}

/// Runs one check to its end, which comes within the timeout of `spec`.
///
/// The context must have been made for a list with this check in it. An
/// [`Alternate`](CheckKind::Alternate) negotiates; the change between the two is `schedule`'s.
pub async fn probe(spec: &CheckSpec, context: &Context) -> Verdict {
    let deadline = Deadline::after(spec.timeout);
    let target = SocketAddr::new(spec.address, spec.port);
    let outcome = match &spec.kind {
        CheckKind::Agent(agent) => {
            return agent::ask(agent, spec, deadline)
                .await
                .map_or_else(Verdict::Down, Verdict::Said);
        }
        CheckKind::External(check) => program::check(check, spec).await,
        CheckKind::File(check) => file::check(check, context, deadline).await,
        CheckKind::On => Ok(()),
        CheckKind::Off => return Verdict::Down(CheckFailure::Local("switched off".to_owned())),
        CheckKind::Connect(Protocol::Tcp) => tcp::check(target, deadline).await,
        CheckKind::Connect(Protocol::Udp) | CheckKind::Ping => {
            icmp::check(spec.address, deadline).await
        }
        CheckKind::Negotiate(exchange) | CheckKind::Alternate { negotiate: exchange, .. } => {
            negotiate(exchange, target, context, deadline).await
        }
    };
    match outcome {
        Ok(()) => Verdict::Up,
        Err(failure) => Verdict::Down(failure),
    }
}

async fn negotiate(
    exchange: &Exchange,
    target: SocketAddr,
    context: &Context,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    match exchange {
        Exchange::Dns(check) => dns::check(check, target, context, deadline).await,
        Exchange::Ftp(check) => ftp::check(check, target, context, deadline).await,
        Exchange::Http(check) => http::check(check, target, context, deadline).await,
        Exchange::Ldap(check) => ldap::check(check, target, context, deadline).await,
        Exchange::Mysql(check) => mysql::check(check, target, context, deadline).await,
        Exchange::Imap(check) => imap::check(check, target, context, deadline).await,
        Exchange::Nntp => nntp::check(target, context, deadline).await,
        Exchange::Pop(check) => pop::check(check, target, context, deadline).await,
        Exchange::Sip(check) => sip::check(check, target, deadline).await,
        Exchange::Smtp(_) => smtp::check(target, context, deadline).await,
        Exchange::Text(check) => text::check(check, target, context, deadline).await,
        Exchange::Oracle(check) => oracle::check(check, target, deadline.timeout).await,
        Exchange::Pgsql(check) => pgsql::check(check, target, context, deadline).await,
        Exchange::Proxy(check) => http::through_proxy(check, target, context, deadline).await,
        Exchange::Radius(check) => radius::check(check, target, deadline).await,
        Exchange::Redis(check) => redis::check(check, target, deadline).await,
    }
}

/// An answer that is none in the server's protocol.
fn garbage(answer: &[u8]) -> CheckFailure {
    CheckFailure::Protocol(format!("`{}`", shown(answer)))
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> Result<[u8; N], CheckFailure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| CheckFailure::Local(error.to_string()))?;
    Ok(bytes)
}

/// Who we say that we are where a server wants a person: as ldirectord does.
fn own_address() -> String {
    format!("ldirectord@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// What a check waits for; the word is shown to the operator.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Connect,
    Tls,
    Greeting,
    Login,
    Answer,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::Answer => "answer",
        }
    }
}

/// The one limit over all phases of a check.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: tokio::time::Instant,
    timeout: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self { at: tokio::time::Instant::now() + timeout, timeout }
    }

    /// Does `work` until the limit; what was not done by then is dropped.
    async fn bound<T>(
        self,
        phase: Phase,
        work: impl Future<Output = Result<T, CheckFailure>>,
    ) -> Result<T, CheckFailure> {
        tokio::time::timeout_at(self.at, work).await.unwrap_or_else(|_| Err(self.missed(phase)))
    }

    fn missed(self, phase: Phase) -> CheckFailure {
        CheckFailure::Timeout { timeout_ms: millis(self.timeout), phase: phase.word().to_owned() }
    }

    /// What a socket error says about the server. ETIMEDOUT is the kernel's own limit, which comes
    /// first only where the check's is longer (tcp(7), `tcp_syn_retries`: about two minutes).
    fn failure(self, phase: Phase, error: &io::Error) -> CheckFailure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return CheckFailure::Closed;
        }
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => CheckFailure::Refused,
            // icmp(7) errors as the kernel hands them on, and a missing route.
            Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NOPROTOOPT) => {
                CheckFailure::Unreachable
            }
            Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => CheckFailure::Closed,
            Some(Errno::TIMEDOUT) => self.missed(phase),
            _ => CheckFailure::Local(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_outside;
