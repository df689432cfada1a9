//! What is said to a service to see whether it works, and what it must answer: one type for each
//! protocol. Who says it is `probe`.

use serde::{Deserialize, Serialize};

use crate::lvs::model::Protocol;

mod text;

pub use text::{Login, MailCheck, SmtpCheck, TextCheck};

/// One exchange with a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// An HTTP or HTTPS request.
    Http(HttpCheck),
    /// The greeting of an IMAP server, and a login.
    Imap(MailCheck),
    /// The greeting of a POP3 server, and a login.
    Pop(MailCheck),
    /// The greeting of a mail server, and what it says to ours.
    Smtp(SmtpCheck),
    /// A text, and a line of the answer.
    Text(TextCheck),
}

impl Exchange {
    /// The regular expression that the answer must match; checked when it was read.
    pub fn receive(&self) -> Option<&str> {
        match self {
            Self::Http(http) => http.receive.as_deref(),
            Self::Text(text) => text.receive.as_deref(),
            Self::Imap(_) | Self::Pop(_) | Self::Smtp(_) => None,
        }
    }

    /// The port of the service where nothing else is said; `None`: it has none of its own.
    pub fn port(&self) -> Option<u16> {
        let (plain, tls, is_tls) = match self {
            Self::Http(http) => (80, 443, http.tls),
            Self::Imap(imap) => (143, 993, imap.tls),
            Self::Pop(pop) => (110, 995, pop.tls),
            Self::Smtp(smtp) => (25, 587, smtp.submission),
            Self::Text(_) => return None,
        };
        Some(if is_tls { tls } else { plain })
    }

    /// What carries it; with UDP the connect checks between two exchanges are pings.
    pub fn transport(&self) -> Protocol {
        match self {
            Self::Http(_) | Self::Imap(_) | Self::Pop(_) | Self::Smtp(_) => Protocol::Tcp,
            Self::Text(text) => text.transport,
        }
    }
}

/// A login or another secret that a check sends. Written out only to the checker, through a pipe
/// that nobody else reads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Takes the text over.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself: for the server that asks for it, never for an argument, a log or a status.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// An HTTP or HTTPS request and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpCheck {
    /// TLS first. The certificate must be signed by one of the system's authorities, as with
    /// ldirectord on Debian 12; the name is not compared.
    pub tls: bool,
    /// Request method.
    pub method: HttpMethod,
    /// Request target, with its leading `/`.
    pub path: String,
    /// `Host` header and TLS server name; the real server's address when absent.
    pub host: Option<String>,
    /// Regular expression that must match somewhere in the body; checked when it was read.
    pub receive: Option<String>,
}

/// HTTP request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// With a body to match.
    Get,
    /// Status only.
    Head,
}
