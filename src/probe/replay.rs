//! What servers say, given to the checks as bytes: for fuzzing and tests. No network, no time.

use std::future::Future;
use std::io::Cursor;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{join, sink};

use super::lines::{Limits, Lines, REPLIES};
use super::stream::Stream;
use super::tls::Trust;
use super::{
    Context, Deadline, Run, dns, ftp, grpc, imap, ldap, mysql, nntp, pgsql, pop, radius, redis,
    sip, smtp, text,
};
use crate::lvs::check::{CheckFailure, CheckKind, CheckSpec, Verdict, receive_pattern};
use crate::lvs::exchange::{
    DnsCheck, DnsRecord, Encryption, LdapCheck, Login, MailCheck, Password, RadiusCheck,
    RedisCheck, SmtpCheck, SqlCheck, Transport,
};

/// An answer to the question for the address of `www.example.com`, which must match `192.0.2`:
/// a datagram with id 0x7062. `None`: it answers no question of ours.
pub fn dns(message: &[u8]) -> Option<Verdict> {
    let check = DnsCheck {
        transport: Transport::Udp,
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

/// All that an LDAP server says to a bind and a search, whose entry must match `dc=example`.
pub fn ldap(said: &[u8]) -> Verdict {
    let check = LdapCheck {
        tls: None,
        base: "dc=example,dc=com".to_owned(),
        receive: Some("dc=example".to_owned()),
        login: None,
        password: None,
    };
    let pattern = receive_pattern("dc=example").ok();
    over(said, |stream, deadline| async move {
        ldap::exchange(stream, &check, pattern.as_ref(), deadline).await
    })
}

/// All that a MySQL server says to a login by `pw` and a query.
pub fn mysql(said: &[u8]) -> Verdict {
    let check = sql();
    over(said, |stream, deadline| async move { mysql::plain(stream, &check, deadline).await })
}

/// All that a PostgreSQL server says to the same, without TLS.
pub fn pgsql(said: &[u8]) -> Verdict {
    let check = sql();
    over(said, |stream, deadline| async move { pgsql::exchange(stream, &check, deadline).await })
}

fn sql() -> SqlCheck {
    SqlCheck {
        login: "probe".to_owned(),
        password: Some(Password::new("pw")),
        database: Some("test".to_owned()),
        query: "SELECT 1".to_owned(),
        tls: None,
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
    in_lines(said, redis::ANSWERS, async |lines, _| redis::exchange(lines, &check).await)
}

/// All that an FTP server says to a login by `pw`, up to the port of the second connection.
pub fn ftp(said: &[u8]) -> Verdict {
    let login = login();
    in_lines(said, REPLIES, async |mut lines, _| {
        ftp::begin(&login, false, &mut lines).await.map(drop)
    })
}

/// What a gRPC server answers to a question for its health: the message with its prefix.
pub fn grpc(answer: &[u8]) -> Verdict {
    verdict(grpc::serving(answer))
}

/// All that an IMAP server says to a login by `pw`.
pub fn imap(said: &[u8]) -> Verdict {
    let check = mail();
    in_lines(said, REPLIES, async |lines, run| imap::exchange(lines, &check, run).await)
}

/// All that a news server says.
pub fn nntp(said: &[u8]) -> Verdict {
    in_lines(said, REPLIES, async |lines, _| nntp::exchange(lines).await)
}

/// All that a POP3 server says to a login by `pw`.
pub fn pop(said: &[u8]) -> Verdict {
    let check = mail();
    in_lines(said, REPLIES, async |lines, run| pop::exchange(lines, &check, run).await)
}

/// All that a SIP server says to OPTIONS over TCP.
pub fn sip(said: &[u8]) -> Verdict {
    in_lines(said, REPLIES, async |mut lines, _| sip::answered(&mut lines).await)
}

/// A datagram of a SIP server. `None`: more comes.
pub fn sip_datagram(datagram: &[u8]) -> Option<Verdict> {
    sip::judge(datagram).map(verdict)
}

/// All that a mail server says to EHLO, which does not begin TLS.
pub fn smtp(said: &[u8]) -> Verdict {
    let check = SmtpCheck { submission: false, starttls: None, host: None };
    in_lines(said, REPLIES, async |lines, run| smtp::exchange(lines, &check, run).await)
}

/// All that a server says of whose answer a line must match `^PONG$`.
pub fn text(said: &[u8]) -> Verdict {
    let pattern = receive_pattern("^PONG$").ok();
    in_lines(said, text::ANSWER, async |mut lines, _| {
        text::answered(&mut lines, pattern.as_ref()).await
    })
}

/// The same as one datagram.
pub fn text_datagram(datagram: &[u8]) -> Verdict {
    verdict(text::judge(datagram, receive_pattern("^PONG$").ok().as_ref()))
}

fn login() -> Login {
    Login { name: "probe".to_owned(), password: Password::new("pw") }
}

fn mail() -> MailCheck {
    MailCheck { encryption: Encryption::Plain, host: None, login: Some(login()) }
}

fn verdict(outcome: Result<(), CheckFailure>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Up,
        Err(failure) => Verdict::Down(failure),
    }
}

/// The limit of a replay, which never waits.
const LIMIT: Duration = Duration::from_secs(1);

/// A stream that says this and takes everything never has to wait.
fn over<F>(said: &[u8], exchange: impl FnOnce(Box<dyn Stream>, Deadline) -> F) -> Verdict
where
    F: Future<Output = Result<(), CheckFailure>>,
{
    let stream = join(Cursor::new(said.to_vec()), sink());
    match exchange(Box::new(stream), Deadline::after(LIMIT)).now_or_never() {
        Some(outcome) => verdict(outcome),
        None => Verdict::Down(CheckFailure::Local("it waits for something else".to_owned())),
    }
}

/// A conversation in lines, whose limits need a clock of the runtime's.
fn in_lines(
    said: &[u8],
    limits: Limits,
    exchange: impl AsyncFnOnce(Lines, &Run<'_>) -> Result<(), CheckFailure>,
) -> Verdict {
    let local = |error: std::io::Error| Verdict::Down(CheckFailure::Local(error.to_string()));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return local(error),
    };
    let _clock = runtime.enter();
    let context = Context::new(Arc::new(Trust::none()), &[]);
    let nowhere = (Ipv4Addr::LOCALHOST, 0).into();
    let spec = CheckSpec::once(CheckKind::On, nowhere, LIMIT);
    let run = Run::new(&spec, &context);
    over(said, |stream, deadline| exchange(Lines::new(stream, limits, deadline), &run))
}
