//! What is checked and what came of it: the typed messages between the core and the checker.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lvs::agent::{Advice, AgentCheck};
use crate::lvs::exchange::{Exchange, Md5, Password, Sha256};
use crate::lvs::model::{Pace, Protocol};
use crate::lvs::program::{FileCheck, ProgramCheck, ProgramEnd};

/// Most checks one checker runs; over that the configuration is refused.
pub const CHECKS_MAX: usize = 10_000;

/// One check by number; given by the core, never used for two different checks of one core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CheckId(pub u32);

/// One check to run again and again until it is no longer in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Its number.
    pub id: CheckId,
    /// What is done.
    pub kind: CheckKind,
    /// With whom.
    pub address: IpAddr,
    /// At which port; 0 where the check has none.
    pub port: u16,
    /// From which of our addresses, of the same family; `None`: the kernel's choice. Programs make
    /// their own.
    pub source: Option<IpAddr>,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// For one check in all: connect, TLS, answer.
    pub timeout: Duration,
    /// When it is made beside its interval.
    pub pace: Pace,
}

impl CheckSpec {
    /// A check that is made once and has no number: at the kernel's choice of address, with `limit`
    /// for interval and timeout.
    pub fn once(kind: CheckKind, at: SocketAddr, limit: Duration) -> Self {
        Self {
            id: CheckId(0),
            kind,
            address: at.ip(),
            port: at.port(),
            source: None,
            interval: limit,
            timeout: limit,
            pace: Pace::default(),
        }
    }
}

/// How a server is checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// An agent says what weight the server should have.
    Agent(AgentCheck),
    /// A program says it.
    External(ProgramCheck),
    /// A file on this machine says it.
    File(FileCheck),
    /// Not checked, always up.
    On,
    /// Not checked, always down.
    Off,
    /// A connection is made and closed, by TCP or SCTP; UDP has none and is pinged instead, as ldirectord does.
    Connect(Protocol),
    /// ICMP echo.
    Ping,
    /// The service is spoken to.
    Negotiate(Exchange),
    /// One negotiate check, then `connects` connect checks, and so on (`checktype=N`). After a
    /// failure the next one negotiates.
    Alternate {
        /// How many connect checks between two negotiate checks; 1 or more.
        connects: u32,
        /// The negotiate check.
        negotiate: Exchange,
    },
}

impl CheckKind {
    /// What is said to the service, where it is spoken to.
    pub fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Negotiate(exchange) | Self::Alternate { negotiate: exchange, .. } => {
                Some(exchange)
            }
            Self::Agent(_) | Self::External(_) | Self::File(_) => None,
            Self::On | Self::Off | Self::Connect(_) | Self::Ping => None,
        }
    }

    /// The regular expression that the answer must match.
    pub fn receive(&self) -> Option<&str> {
        match self {
            Self::File(file) => file.receive.as_deref(),
            other => other.exchange()?.receive(),
        }
    }
}

/// The compiled form of a `receive`.
///
/// Matches bytes, as Perl does on a body that nobody decoded; a pattern that needs Unicode classes
/// falls back to them. A brace that begins no repetition stands for itself, as in Perl. Look-around
/// and back-references do not exist here.
///
/// # Errors
/// What is wrong with the pattern, with a mark at the place.
pub fn receive_pattern(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
    let text = &literal_braces(text);
    let build = |unicode| {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        builder.unicode(unicode).size_limit(PATTERN_SIZE_MAX).build()
    };
    build(false).or_else(|_| build(true))
}

/// Largest compiled pattern, in bytes; a larger one is a mistake or an attack on the checker.
pub const PATTERN_SIZE_MAX: usize = 1 << 20;

/// The pattern with a backslash before each brace that begins no repetition: `{"up":true}`.
fn literal_braces(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                literal.push(c);
                let Some(escaped) = rest.next() else { break };
                literal.push(escaped);
                // `\x{e9}`, `\p{Greek}`: the brace belongs to it.
                if "xuUpP".contains(escaped) && rest.as_str().starts_with('{') {
                    literal.extend(rest.next());
                }
                continue;
            }
            '[' => class = true,
            ']' => class = false,
            '{' if !class && (literal.is_empty() || !is_repetition(rest.as_str())) => {
                literal.push('\\');
            }
            _ => (),
        }
        literal.push(c);
    }
    literal
}

/// Whether what follows a brace makes it one: `3}`, `3,}` or `3,5}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// The end of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Which.
    pub id: CheckId,
    /// Good, or bad and why.
    pub verdict: Verdict,
    /// What is not as it should be, whatever the verdict.
    pub warning: Option<CheckWarning>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// Something that an operator should see to while the server still works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CheckWarning {
    /// The server's certificate, or one that it leans on, is near its end.
    #[error("its certificate ends in {days} days")]
    CertificateEnds {
        /// Whole days.
        days: u16,
    },
}

/// Good, or bad and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Up,
    /// Not so.
    Down(CheckFailure),
    /// What an agent says. Nothing else says that.
    Said(Advice),
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CheckFailure {
    /// RST or ICMP port unreachable.
    #[error("connection refused")]
    Refused,
    /// No route, or ICMP host or network unreachable.
    #[error("unreachable")]
    Unreachable,
    /// Not done in time.
    #[error("no answer within {timeout_ms} ms ({phase})")]
    Timeout {
        /// The limit, in milliseconds.
        timeout_ms: u64,
        /// What it was waiting for: `connect`, `tls`, `greeting`, `login`, `answer`.
        phase: String,
    },
    /// The server closed or reset the connection before it had answered.
    #[error("connection closed early")]
    Closed,
    /// Not what the protocol allows.
    #[error("not a valid answer: {0}")]
    Protocol(String),
    /// An HTTP status that is not wanted.
    #[error("status {0}")]
    Status(u16),
    /// The body is another one than it should be.
    #[error("the body's SHA-256 is {0}")]
    Sum(Sha256),
    /// The same, where an MD5 is wanted.
    #[error("the body's MD5 is {0}")]
    Md5(Md5),
    /// The body does not match `receive`.
    #[error("`{0}` is not in the answer")]
    NoMatch(String),
    /// The answer is larger than we read.
    #[error("answer larger than {0} bytes")]
    TooLarge(usize),
    /// The answer has more lines than we read.
    #[error("answer of more than {0} lines")]
    TooManyLines(usize),
    /// The file that is looked at is not there, or can't be read.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// The system's reason.
        why: String,
    },
    /// The program that checks did not say that the server is up.
    #[error("{end}{}{said}", if said.is_empty() { "" } else { ": " })]
    Program {
        /// How it ended.
        end: ProgramEnd,
        /// The last line of what it said, shortened.
        said: String,
    },
    /// TLS handshake or certificate.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server does not take the login: its reason.
    #[error("login refused: {0}")]
    Login(String),
    /// The server answers that it can't: its code and its words.
    #[error("the server says: {0}")]
    Answer(String),
    /// Its agent wants it out of service.
    #[error("its agent says: {0}")]
    Agent(String),
    /// Something that the server can't do without is not up.
    #[error("it needs {name}: {why}")]
    Needs {
        /// What it needs.
        name: String,
        /// Why that is not up.
        why: String,
    },
    /// The active node's check says so, and it knows why.
    #[error("the active node says so")]
    Told,
    /// Our own side: no descriptor, no permission, no source address.
    #[error("cannot check: {0}")]
    Local(String),
}

/// Most characters of a server's own words that are shown.
const WORDS_MAX: usize = 80;

/// A server's own words as an operator may see them: short, and without what moves a terminal.
pub fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut words: String = text.trim().chars().map(visible).take(WORDS_MAX + 1).collect();
    if words.chars().count() > WORDS_MAX {
        words = words.chars().take(WORDS_MAX - 1).chain(['…']).collect();
    }
    words
}

/// The same without `secret`, which some servers repeat when they do not understand it.
pub fn shown_without(text: &[u8], secret: &Password) -> String {
    let secret = secret.reveal();
    if secret.is_empty() {
        return shown(text);
    }
    shown(String::from_utf8_lossy(text).replace(secret, "(secret)").as_bytes())
}

fn visible(c: char) -> char {
    // The last ones turn the direction of a line around.
    let hidden = c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if hidden { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brace_is_a_repetition_where_it_can_be_one_and_stands_for_itself_otherwise() {
        for (pattern, body, want) in [
            ("{\"up\": ?true}", "{\"up\":true}", true),
            ("{up}", "up", false),
            ("^a{2}$", "aa", true),
            ("^a{2,}$", "aaa", true),
            ("^a{1,2}$", "aaa", false),
            ("a{b", "a{b", true),
            ("^[{}]+$", "{}", true),
            (r"\x{41}", "A", true),
            (r"\{x\}", "{x}", true),
            ("{2}", "{2}", true),
        ] {
            let matches = receive_pattern(pattern).unwrap().is_match(body.as_bytes());
            assert_eq!(matches, want, "{pattern} {body}");
        }
        assert!(receive_pattern("(?=a)b").is_err());
    }

    #[test]
    fn what_a_server_says_is_shown_short_and_without_control_characters() {
        assert_eq!(shown(b" -ERR \x1b[2Jno\r\n"), "-ERR \u{fffd}[2Jno");
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\u{fffd}b");
        assert_eq!(shown(&[b'x'; 80]), "x".repeat(80));
        assert_eq!(shown(&[b'x'; 81]), "x".repeat(79) + "…");
        assert_eq!(shown(b"caf\xe9"), "caf\u{fffd}");
        let echoed = shown_without(b"500 'PASS hush': what?", &Password::new("hush"));
        assert_eq!(echoed, "500 'PASS (secret)': what?");
    }
}
