//! Health checks: one exchange with a real server, and what came of it.
//!
//! [`probe`] runs one check to its verdict within its timeout. When checks run is `schedule`'s,
//! how many at a time and in which process is `daemon::checker`'s, what a verdict means for the
//! pool is `lvs`'s. One file per protocol; each maps its errors to
//! [`CheckFailure`] itself, because only it knows them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use regex::bytes::Regex;
use rustix::io::Errno;

use crate::lvs::check::{
    CheckFailure, CheckKind, CheckSpec, CheckWarning, Verdict, receive_pattern, shown,
};
use crate::lvs::exchange::{Authority, Exchange, Tls};
use crate::lvs::model::Protocol;
use crate::time::millis;

mod agent;
#[cfg(test)]
pub(crate) mod black_hole;
mod datagram;
mod dns;
mod file;
mod ftp;
mod grpc;
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
mod sctp;
mod sip;
mod smtp;
mod stream;
pub mod submit;
mod tcp;
mod text;
pub mod tls;
mod wire;

/// What all checks of a list share: certificate authorities and compiled patterns.
#[derive(Debug)]
pub struct Context {
    system: Arc<tls::Trust>,
    anybody: tls::Trust,
    files: BTreeMap<PathBuf, tls::Trust>,
    patterns: BTreeMap<String, Result<Regex, regex::Error>>,
}

impl Context {
    /// The context of the given checks: each `receive` is compiled once, and each file of
    /// authorities read once. `system` are the system's.
    pub fn new(system: Arc<tls::Trust>, checks: &[CheckSpec]) -> Self {
        let (mut patterns, mut files) = (BTreeMap::new(), BTreeMap::new());
        for check in checks {
            if let Some(text) = check.kind.receive()
                && !patterns.contains_key(text)
            {
                patterns.insert(text.to_owned(), receive_pattern(text));
            }
            let tls = check.kind.exchange().and_then(Exchange::tls);
            if let Some(Tls { authority: Authority::File(path), .. }) = tls
                && !files.contains_key(path)
            {
                files.insert(path.clone(), tls::Trust::file(path));
            }
        }
        Self { system, anybody: tls::Trust::anybody(), files, patterns }
    }

    fn trust(&self, authority: &Authority) -> Result<&tls::Trust, CheckFailure> {
        match authority {
            Authority::Anybody => Ok(&self.anybody),
            Authority::System => Ok(&self.system),
            Authority::File(path) => self
                .files
                .get(path)
                .ok_or_else(|| CheckFailure::Local(format!("{} was not read", path.display()))),
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

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// Good, or bad and why.
    pub verdict: Verdict,
    /// What is not as it should be, whatever the verdict.
    pub warning: Option<CheckWarning>,
}

/// Runs one check to its end, which comes within the timeout of `spec`.
///
/// The context must have been made for a list with this check in it. An
/// [`Alternate`](CheckKind::Alternate) negotiates; the change between the two is `schedule`'s.
pub async fn probe(spec: &CheckSpec, context: &Context) -> Probed {
    let run = Run::new(spec, context);
    let verdict = checked(spec, &run).await.unwrap_or_else(Verdict::Down);
    Probed { verdict, warning: run.warning.into_inner() }
}

async fn checked(spec: &CheckSpec, run: &Run<'_>) -> Result<Verdict, CheckFailure> {
    match &spec.kind {
        // It says more than well or not.
        CheckKind::Agent(agent) => return agent::ask(agent, spec, run).await.map(Verdict::Said),
        CheckKind::External(check) => program::check(check, spec).await?,
        CheckKind::File(check) => file::check(check, run).await?,
        CheckKind::On => (),
        CheckKind::Off => return Err(CheckFailure::Local("switched off".to_owned())),
        CheckKind::Connect(Protocol::Tcp) => tcp::check(run).await?,
        CheckKind::Connect(Protocol::Sctp) => sctp::check(run).await?,
        CheckKind::Connect(Protocol::Udp) | CheckKind::Ping => icmp::check(run).await?,
        CheckKind::Negotiate(exchange) | CheckKind::Alternate { negotiate: exchange, .. } => {
            negotiate(exchange, run).await?;
        }
    }
    Ok(Verdict::Up)
}

async fn negotiate(exchange: &Exchange, run: &Run<'_>) -> Result<(), CheckFailure> {
    match exchange {
        Exchange::Dns(check) => dns::check(check, run).await,
        Exchange::Ftp(check) => ftp::check(check, run).await,
        Exchange::Grpc(check) => grpc::check(check, run).await,
        Exchange::Http(check) => http::check(check, run).await,
        Exchange::Ldap(check) => ldap::check(check, run).await,
        Exchange::Mysql(check) => mysql::check(check, run).await,
        Exchange::Imap(check) => imap::check(check, run).await,
        Exchange::Nntp => nntp::check(run).await,
        Exchange::Pop(check) => pop::check(check, run).await,
        Exchange::Sip(check) => sip::check(check, run).await,
        Exchange::Smtp(check) => smtp::check(check, run).await,
        Exchange::Text(check) => text::check(check, run).await,
        Exchange::Oracle(check) => oracle::check(check, run).await,
        Exchange::Pgsql(check) => pgsql::check(check, run).await,
        Exchange::Proxy(check) => http::through_proxy(check, run).await,
        Exchange::Radius(check) => radius::check(check, run).await,
        Exchange::Redis(check) => redis::check(check, run).await,
    }
}

/// One run of one check: with whom, from where, how long, and what is noticed on the way.
#[derive(Debug)]
struct Run<'c> {
    context: &'c Context,
    target: SocketAddr,
    /// The address of ours that connections are made from; `None`: the kernel's choice.
    source: Option<IpAddr>,
    deadline: Deadline,
    warning: OnceLock<CheckWarning>,
}

impl<'c> Run<'c> {
    fn new(spec: &CheckSpec, context: &'c Context) -> Self {
        Self {
            context,
            target: SocketAddr::new(spec.address, spec.port),
            source: spec.source.filter(|source| source.is_ipv4() == spec.address.is_ipv4()),
            deadline: Deadline::after(spec.timeout),
            warning: OnceLock::new(),
        }
    }

    /// Notes something that is not as it should be; the first one counts.
    fn warn(&self, warning: CheckWarning) {
        self.warning.get_or_init(|| warning);
    }

    /// Does `work` until the limit.
    async fn bound<T>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T, CheckFailure>>,
    ) -> Result<T, CheckFailure> {
        self.deadline.bound(phase, work).await
    }
}

/// An answer that is none in the server's protocol.
fn garbage(answer: &[u8]) -> CheckFailure {
    CheckFailure::Protocol(format!("`{}`", shown(answer)))
}

/// TLS is wanted of a server that does not offer it.
fn no_tls() -> CheckFailure {
    CheckFailure::Tls("the server does not offer it".to_owned())
}

/// A server that does not take the command for TLS, by its own words.
fn no_starttls(answer: &[u8]) -> CheckFailure {
    CheckFailure::Tls(format!("the server does not begin it: {}", shown(answer)))
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
            Some(
                Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::PROTO,
            ) => CheckFailure::Unreachable,
            Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => CheckFailure::Closed,
            Some(Errno::TIMEDOUT) => self.missed(phase),
            _ => CheckFailure::Local(error.to_string()),
        }
    }

    /// The same for a socket that hears ICMP errors. EACCES is ICMPv6 "administratively prohibited"
    /// (RFC 4443 section 3.1, code 1) with IPv6; with IPv4 it only ever comes from this machine.
    fn icmp(self, target: SocketAddr, phase: Phase, error: &io::Error) -> CheckFailure {
        if target.is_ipv6() && Errno::from_io_error(error) == Some(Errno::ACCESS) {
            return CheckFailure::Unreachable;
        }
        self.failure(phase, error)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_outside;
