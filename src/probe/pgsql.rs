//! The PostgreSQL check: a login, one query, and a row of its answer.
//!
//! TLS where the server offers it, with anybody, as libpq does it by default; then whatever login
//! the server asks for: none, a password, MD5 or SCRAM-SHA-256. Messages are the crate's; how much
//! of them is read is bounded here. A row is known by its first byte, however long it is.

use std::io;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{self, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::Wire;
use super::{Deadline, Phase, Run, no_tls, tcp, tls};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::{Authority, SqlCheck, Tls};

/// Most messages that are read for one step: parameters and notices stand before the answer.
const MESSAGES_MAX: usize = 256;
/// Longest message, in bytes: the description of a wide table.
const MESSAGE_MAX: usize = 256 * 1024;
/// Most rounds of SCRAM that a server may demand of us; PostgreSQL's default is 4096. They are
/// counted while every other check waits.
const ROUNDS_MAX: u32 = 50_000;

/// Connects, encrypts where it can be done, and asks.
pub(super) async fn check(check: &SqlCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let deadline = run.deadline;
    let mut stream = tcp::connect(run.target, run).await?;
    let tls = match run.bound(Phase::Answer, offers_tls(&mut stream, deadline)).await? {
        true => check.tls.clone().unwrap_or_else(|| Tls::by(Authority::Anybody)),
        false if check.tls.is_some() => return Err(no_tls()),
        false => return run.bound(Phase::Answer, exchange(stream, check, deadline)).await,
    };
    let stream = tls::handshake(stream, &tls, None, run).await?;
    run.bound(Phase::Answer, exchange(stream, check, deadline)).await
}

/// One letter answers the request for TLS; nothing is read behind it before the handshake.
async fn offers_tls(stream: &mut TcpStream, deadline: Deadline) -> Result<bool, CheckFailure> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let failure = |error: io::Error| deadline.failure(Phase::Answer, &error);
    stream.write_all(&request).await.map_err(failure)?;
    match stream.read_u8().await.map_err(failure)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(invalid("no answer to a request for TLS")),
    }
}

/// Says it all and judges the answers.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    check: &SqlCheck,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut talk = Talk { wire: Wire::new(stream, deadline) };
    talk.log_in(check).await?;
    talk.say(|out| frontend::query(&check.query, out)).await?;
    talk.row().await
}

/// A connection to a server.
struct Talk<S> {
    wire: Wire<S>,
}

/// What the server says next.
enum Said {
    /// A row, unread.
    Row,
    /// Anything else.
    Message(Message),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn say(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), CheckFailure> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| CheckFailure::Local(error.to_string()))?;
        let said = self.wire.say(&out).await;
        zeroize::Zeroize::zeroize(&mut *out);
        said
    }

    async fn hear(&mut self) -> Result<Said, CheckFailure> {
        let head: [u8; 5] = self.wire.array().await?;
        let [tag, len @ ..] = head;
        if tag == backend::DATA_ROW_TAG {
            return Ok(Said::Row);
        }
        // The length counts itself (protocol 3.0).
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        let Some(len) = len.checked_sub(4) else {
            return Err(invalid("a message of no length"));
        };
        if !tag.is_ascii_alphanumeric() {
            return Err(invalid("not a PostgreSQL message"));
        }
        if len > MESSAGE_MAX {
            return Err(CheckFailure::TooLarge(MESSAGE_MAX));
        }
        let body = self.wire.exactly(len).await?;
        let mut bytes = BytesMut::from(head.as_slice());
        bytes.extend_from_slice(&body);
        match Message::parse(&mut bytes) {
            Ok(Some(message)) => Ok(Said::Message(message)),
            Ok(None) | Err(_) => Err(invalid("a PostgreSQL message that can't be read")),
        }
    }

    /// Until the server is ready for a query.
    async fn log_in(&mut self, check: &SqlCheck) -> Result<(), CheckFailure> {
        let user = check.login.as_str();
        let database = check.database.as_deref().unwrap_or(user);
        let parameters = [("user", user), ("database", database), ("client_encoding", "UTF8")];
        self.say(|out| frontend::startup_message(parameters, out)).await?;
        let password = check.password.as_ref().map_or("", |it| it.reveal()).as_bytes();
        let mut scram = None;
        for _ in 0..MESSAGES_MAX {
            let Said::Message(message) = self.hear().await? else {
                return Err(invalid("a row before a query"));
            };
            match message {
                Message::AuthenticationCleartextPassword => {
                    self.say(|out| frontend::password_message(password, out)).await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password, body.salt());
                    self.say(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let known = mechanisms.any(|name| Ok(name == SCRAM_SHA_256));
                    if !known.unwrap_or(false) {
                        return Err(unknown_login());
                    }
                    let begun = ScramSha256::new(password, ChannelBinding::unsupported());
                    let first = |out: &mut BytesMut| {
                        frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), out)
                    };
                    self.say(first).await?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let Some(scram) = &mut scram else { return Err(unknown_login()) };
                    bounded_rounds(body.data())?;
                    scram.update(body.data()).map_err(|error| invalid(&error.to_string()))?;
                    let next = |out: &mut BytesMut| frontend::sasl_response(scram.message(), out);
                    self.say(next).await?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let Some(scram) = &mut scram else { return Err(unknown_login()) };
                    // Here the server proves that it knows the password, too.
                    scram.finish(body.data()).map_err(|error| invalid(&error.to_string()))?;
                }
                Message::AuthenticationOk
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_) => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                _ => return Err(unknown_login()),
            }
        }
        Err(invalid("a login without an end"))
    }

    /// Until a row, or the end.
    async fn row(&mut self) -> Result<(), CheckFailure> {
        for _ in 0..MESSAGES_MAX {
            let Said::Message(message) = self.hear().await? else { return Ok(()) };
            match message {
                Message::RowDescription(_)
                | Message::NoticeResponse(_)
                | Message::ParameterStatus(_)
                | Message::NotificationResponse(_) => {}
                // `UPDATE 3`: what ldirectord takes for rows, too.
                Message::CommandComplete(body) => {
                    let count =
                        body.tag().ok().and_then(|tag| tag.rsplit(' ').next()?.parse().ok());
                    return match count {
                        Some(1u64..) => Ok(()),
                        _ => Err(CheckFailure::Answer("no row".to_owned())),
                    };
                }
                Message::EmptyQueryResponse => {
                    return Err(CheckFailure::Answer("no query".to_owned()));
                }
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                _ => return Err(invalid("no answer to a query")),
            }
        }
        Err(invalid("an answer without an end"))
    }
}

/// RFC 5802 section 5.1: `i=` in the server's first message.
fn bounded_rounds(data: &[u8]) -> Result<(), CheckFailure> {
    let text = String::from_utf8_lossy(data);
    let rounds = text.split(',').find_map(|part| part.strip_prefix("i="));
    match rounds.and_then(|rounds| rounds.parse::<u32>().ok()) {
        Some(1..=ROUNDS_MAX) => Ok(()),
        _ => Err(CheckFailure::Protocol(format!("SCRAM with more than {ROUNDS_MAX} rounds"))),
    }
}

/// Class 28 of the SQLSTATE is the login.
fn refusal(body: &ErrorResponseBody) -> CheckFailure {
    let mut fields = body.fields();
    let (mut code, mut text) = (Bytes::new(), Bytes::new());
    while let Ok(Some(field)) = fields.next() {
        match field.type_() {
            b'C' => code = Bytes::copy_from_slice(field.value_bytes()),
            b'M' => text = Bytes::copy_from_slice(field.value_bytes()),
            _ => {}
        }
    }
    let words = shown(&[&code[..], b" ", &text[..]].concat());
    if code.starts_with(b"28") { CheckFailure::Login(words) } else { CheckFailure::Answer(words) }
}

fn unknown_login() -> CheckFailure {
    CheckFailure::Answer("it wants a login that this check does not know".to_owned())
}

fn invalid(what: &str) -> CheckFailure {
    CheckFailure::Protocol(shown(what.as_bytes()))
}
