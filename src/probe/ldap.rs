//! The LDAP check: bind, and a search for the base itself (RFC 4511).
//!
//! No attribute is asked for, so the answer is short whatever the entry holds. The connection ends
//! without an unbind, as it would by one.

mod ber;

use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::open;
use super::wire::Wire;
use super::{Deadline, Phase, Run};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::LdapCheck;
use ber::{Element, element, integer, tlv};

/// Longest message, in bytes: a name and a diagnostic text.
const MESSAGE_MAX: usize = 64 * 1024;
/// Most messages that are read for the end of a search; one entry and the end are wanted.
const MESSAGES_MAX: usize = 64;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
/// `[APPLICATION n]` of the operations, and context tags of their parts.
const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_RESPONSE: u8 = 0x78;
const SIMPLE: u8 = 0x80;
const PRESENT: u8 = 0x87;

/// Connects and asks.
pub(super) async fn check(check: &LdapCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let pattern = run.context.receive(check.receive.as_deref())?;
    let stream = open(run, check.tls.as_ref(), None).await?;
    run.bound(Phase::Answer, exchange(stream, check, pattern, run.deadline)).await
}

/// Says it all and judges the answers.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    check: &LdapCheck,
    pattern: Option<&Regex>,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut wire = Wire::new(stream, deadline);
    wire.say(&zeroize::Zeroizing::new(bind(check))).await?;
    let (operation, content) = answer(&mut wire, 1).await?;
    match (operation, code(&content)) {
        (BIND_RESPONSE, Some((0, _))) => {}
        (BIND_RESPONSE | EXTENDED_RESPONSE, Some((number, text))) => {
            let words = in_words(number, text);
            let refused = matches!(number, 7 | 8 | 13 | 48 | 49 | 50);
            return Err(if refused && operation == BIND_RESPONSE {
                CheckFailure::Login(words)
            } else {
                CheckFailure::Answer(words)
            });
        }
        _ => return Err(invalid("no answer to a bind")),
    }
    wire.say(&search(&check.base)).await?;
    let name = found(&mut wire).await?;
    match (pattern, &check.receive) {
        (Some(pattern), Some(text)) if !pattern.is_match(&name) => {
            Err(CheckFailure::NoMatch(text.clone()))
        }
        _ => Ok(()),
    }
}

/// The name of the one entry that a search has found.
async fn found<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
) -> Result<Vec<u8>, CheckFailure> {
    let mut name = None;
    for _ in 0..MESSAGES_MAX {
        let (operation, content) = answer(wire, 2).await?;
        match operation {
            SEARCH_ENTRY if name.is_none() => {
                let first = element(&content).filter(|first| first.tag == OCTET_STRING);
                let first = first.ok_or_else(|| invalid("an entry without a name"))?;
                name = Some(first.content.to_vec());
            }
            SEARCH_ENTRY => return Err(CheckFailure::Answer("more than one entry".to_owned())),
            SEARCH_REFERENCE => {}
            SEARCH_DONE => {
                return match (code(&content), name) {
                    (Some((0, _)), Some(name)) => Ok(name),
                    (Some((0, _)), None) => Err(CheckFailure::Answer("no entry".to_owned())),
                    (Some((number, text)), _) => Err(CheckFailure::Answer(in_words(number, text))),
                    (None, _) => Err(invalid("an end of a search without a result")),
                };
            }
            EXTENDED_RESPONSE => {
                let (number, text) = code(&content).unwrap_or((52, &[]));
                return Err(CheckFailure::Answer(in_words(number, text)));
            }
            _ => return Err(invalid("no answer to a search")),
        }
    }
    Err(invalid("a search without an end"))
}

/// Operation and its content of the next message, which must answer message `id`, or be the
/// server's last (RFC 4511 section 4.4.1: id 0).
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    id: u8,
) -> Result<(u8, Vec<u8>), CheckFailure> {
    let [tag, first] = wire.array().await?;
    if tag != SEQUENCE {
        return Err(invalid("not an LDAP message"));
    }
    let len = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let bytes = wire.exactly(usize::from(first & 0x7f)).await?;
            bytes.iter().fold(0, |len: usize, byte| len << 8 | usize::from(*byte))
        }
        _ => return Err(invalid("an LDAP message of no length")),
    };
    if len > MESSAGE_MAX {
        return Err(CheckFailure::TooLarge(MESSAGE_MAX));
    }
    let message = wire.exactly(len).await?;
    let parts = element(&message).and_then(|number| Some((number, element(number.rest)?)));
    let Some((Element { tag: INTEGER, content: number, .. }, operation)) = parts else {
        return Err(invalid("an LDAP message that can't be read"));
    };
    match integer(number) {
        Some(0) if operation.tag == EXTENDED_RESPONSE => {}
        Some(number) if number == u32::from(id) => {}
        _ => return Err(invalid("the answer to another message")),
    }
    Ok((operation.tag, operation.content.to_vec()))
}

/// Result code and text of an LDAPResult.
fn code(content: &[u8]) -> Option<(u32, &[u8])> {
    let code = element(content).filter(|code| code.tag == ENUMERATED)?;
    let matched = element(code.rest).filter(|name| name.tag == OCTET_STRING)?;
    let text = element(matched.rest).filter(|text| text.tag == OCTET_STRING)?;
    Some((integer(code.content)?, text.content))
}

/// Anonymous without a login and a password, as by ldirectord: a name alone would be no login
/// (RFC 4513 section 5.1.2).
fn bind(check: &LdapCheck) -> Vec<u8> {
    let (name, password) = match (&check.login, &check.password) {
        (Some(login), Some(password)) => (login.as_str(), password.reveal()),
        _ => ("", ""),
    };
    let parts =
        [tlv(INTEGER, &[3]), tlv(OCTET_STRING, name.as_bytes()), tlv(SIMPLE, password.as_bytes())];
    message(1, BIND_REQUEST, &parts)
}

/// Scope base, no alias followed, `(objectClass=*)`, and of the entry its name only (RFC 4511
/// section 4.5.1.8: `1.1`).
fn search(base: &str) -> Vec<u8> {
    let parts = [
        tlv(OCTET_STRING, base.as_bytes()),
        tlv(ENUMERATED, &[0]),
        tlv(ENUMERATED, &[0]),
        tlv(INTEGER, &[0]),
        tlv(INTEGER, &[0]),
        tlv(BOOLEAN, &[0]),
        tlv(PRESENT, b"objectClass"),
        tlv(SEQUENCE, &tlv(OCTET_STRING, b"1.1")),
    ];
    message(2, SEARCH_REQUEST, &parts)
}

fn message(id: u8, operation: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = [tlv(INTEGER, &[id]), tlv(operation, &parts.concat())];
    tlv(SEQUENCE, &body.concat())
}

fn invalid(what: &str) -> CheckFailure {
    CheckFailure::Protocol(what.to_owned())
}

/// The names of RFC 4511 section 4.1.9, for those that a check meets, and the server's words.
fn in_words(code: u32, text: &[u8]) -> String {
    let name = match code {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        8 => "strongerAuthRequired",
        10 => "referral",
        13 => "confidentialityRequired",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        _ => "result",
    };
    let text = shown(text);
    let text = if text.is_empty() { text } else { format!(": {text}") };
    format!("{name} ({code}){text}")
}
