//! TLS of an exchange: who may be at the other end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Days before the end of a certificate from which on it is warned of, where nothing else is said:
/// two weekends.
pub const WARN_DAYS: u16 = 14;

/// Who may be at the other end, and when the end of its certificate is worth a warning. That the
/// server has the key of its certificate is looked at in any case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tls {
    /// Who must have signed the certificate.
    pub authority: Authority,
    /// Compare the name that is asked for, or the address, with those in the certificate.
    pub name: bool,
    /// Days before the end of a certificate from which on it is warned of; 0: never. Default
    /// [`WARN_DAYS`].
    pub warn_days: u16,
}

impl Tls {
    /// With this authority; the name is not compared.
    pub fn by(authority: Authority) -> Self {
        Self { authority, name: false, warn_days: WARN_DAYS }
    }
}

/// Who must have signed a certificate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// Whoever it is.
    Anybody,
    /// One of the system's authorities.
    System,
    /// One of those in this file (PEM), and no other.
    File(PathBuf),
}

/// When a connection is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Never.
    Plain,
    /// From the first byte on.
    Tls(Tls),
    /// After a few words, by a command of the protocol: STARTTLS, or STLS of POP3. A server that
    /// does not take it is down.
    StartTls(Tls),
}

impl Encryption {
    /// TLS, where there is any.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) | Self::StartTls(tls) => Some(tls),
        }
    }
}
