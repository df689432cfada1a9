//! What is said to a service to see whether it works, and what it must answer: one type for each
//! protocol. Who says it is `probe`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lvs::model::Protocol;

mod http;
mod text;
mod tls;

pub use http::{
    GRPC_SERVICE_MAX, GrpcCheck, HEADERS_MAX, HttpCheck, HttpMethod, Md5, ProxyCheck, Sha256,
    StatusSet, Wanted,
};
pub use text::{FtpCheck, Login, MailCheck, SipCheck, SmtpCheck, TextCheck};
pub use tls::{Authority, Encryption, Tls, WARN_DAYS};

/// One exchange with a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// A question to a name server.
    Dns(DnsCheck),
    /// A file of an FTP server.
    Ftp(FtpCheck),
    /// The health of a gRPC server.
    Grpc(GrpcCheck),
    /// An HTTP or HTTPS request.
    Http(HttpCheck),
    /// Bind and search at an LDAP server.
    Ldap(LdapCheck),
    /// A query to MySQL or MariaDB.
    Mysql(SqlCheck),
    /// The greeting of an IMAP server, and a login.
    Imap(MailCheck),
    /// The greeting of a news server, which must be 2xx.
    Nntp,
    /// The greeting of a POP3 server, and a login.
    Pop(MailCheck),
    /// An SQL query through Oracle's own client.
    Oracle(OracleCheck),
    /// A query to PostgreSQL.
    Pgsql(SqlCheck),
    /// An HTTP request through a proxy.
    Proxy(ProxyCheck),
    /// A login at a RADIUS server.
    Radius(RadiusCheck),
    /// PING, behind AUTH where there is a password.
    Redis(RedisCheck),
    /// OPTIONS of a SIP server.
    Sip(SipCheck),
    /// The greeting of a mail server, and what it says to ours.
    Smtp(SmtpCheck),
    /// A text, and a line of the answer.
    Text(TextCheck),
}

/// What carries an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A connection.
    Tcp,
    /// Datagrams.
    Udp,
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

/// `tcp`, `udp`.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Protocol::from(*self).word())
    }
}

impl Exchange {
    /// The regular expression that the answer must match; checked when it was read.
    pub fn receive(&self) -> Option<&str> {
        match self {
            Self::Dns(dns) => dns.receive.as_deref(),
            Self::Ftp(ftp) => ftp.receive.as_deref(),
            Self::Http(http) => http.want.receive.as_deref(),
            Self::Ldap(ldap) => ldap.receive.as_deref(),
            Self::Proxy(proxy) => proxy.want.receive.as_deref(),
            Self::Text(text) => text.receive.as_deref(),
            Self::Grpc(_)
            | Self::Imap(_)
            | Self::Mysql(_)
            | Self::Nntp
            | Self::Oracle(_)
            | Self::Pgsql(_)
            | Self::Pop(_)
            | Self::Radius(_)
            | Self::Redis(_)
            | Self::Sip(_)
            | Self::Smtp(_) => None,
        }
    }

    /// The TLS that is wanted, where any is; what a server of SQL is met with unasked is not.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Grpc(grpc) => grpc.tls.as_ref(),
            Self::Http(http) => http.tls.as_ref(),
            Self::Imap(mail) | Self::Pop(mail) => mail.encryption.tls(),
            Self::Ldap(ldap) => ldap.tls.as_ref(),
            Self::Mysql(sql) | Self::Pgsql(sql) => sql.tls.as_ref(),
            Self::Smtp(smtp) => smtp.starttls.as_ref(),
            Self::Dns(_)
            | Self::Ftp(_)
            | Self::Nntp
            | Self::Oracle(_)
            | Self::Proxy(_)
            | Self::Radius(_)
            | Self::Redis(_)
            | Self::Sip(_)
            | Self::Text(_) => None,
        }
    }

    /// The port of the service where nothing else is said; `None`: it has none of its own.
    pub fn port(&self) -> Option<u16> {
        Some(match self {
            Self::Dns(_) => 53,
            Self::Ftp(_) => 21,
            Self::Http(HttpCheck { tls: Some(_), .. }) => 443,
            Self::Http(_) => 80,
            Self::Ldap(LdapCheck { tls: None, .. }) => 389,
            Self::Ldap(_) => 636,
            Self::Mysql(_) => 3306,
            Self::Imap(MailCheck { encryption: Encryption::Tls(_), .. }) => 993,
            Self::Imap(_) => 143,
            Self::Nntp => 119,
            Self::Pop(MailCheck { encryption: Encryption::Tls(_), .. }) => 995,
            Self::Pop(_) => 110,
            Self::Oracle(_) => 1521,
            Self::Pgsql(_) => 5432,
            Self::Proxy(_) => 3128,
            Self::Radius(_) => 1812,
            Self::Redis(_) => 6379,
            Self::Sip(_) => 5060,
            Self::Smtp(SmtpCheck { submission: true, .. }) => 587,
            Self::Smtp(_) => 25,
            Self::Grpc(_) | Self::Text(_) => return None,
        })
    }

    /// What carries it; with UDP the connect checks between two exchanges are pings.
    pub fn transport(&self) -> Transport {
        match self {
            Self::Dns(dns) => dns.transport,
            Self::Ftp(_)
            | Self::Grpc(_)
            | Self::Http(_)
            | Self::Imap(_)
            | Self::Ldap(_)
            | Self::Mysql(_)
            | Self::Nntp
            | Self::Oracle(_)
            | Self::Pgsql(_)
            | Self::Pop(_)
            | Self::Proxy(_)
            | Self::Redis(_)
            | Self::Smtp(_) => Transport::Tcp,
            Self::Radius(_) => Transport::Udp,
            Self::Sip(sip) => sip.transport,
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

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A question to a name server and what its answer must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsCheck {
    /// UDP, or TCP where the service is one.
    pub transport: Transport,
    /// The name that is asked for, without a dot at its end; empty for the root.
    pub name: String,
    /// Which of its records.
    pub record: DnsRecord,
    /// Regular expression that must match one of these records as text; without it, one of them
    /// must be there. Checked when it was read.
    pub receive: Option<String>,
}

/// A type of DNS record, in the words of zone files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsRecord {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// Preference and mail server.
    Mx,
    /// A name server.
    Ns,
    /// The name of an address.
    Ptr,
    /// Where a zone begins: server, person, serial number and times.
    Soa,
    /// Priority, weight, port and server.
    Srv,
    /// Any text; its strings with a blank between them.
    Txt,
}

impl DnsRecord {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::A,
        Self::Aaaa,
        Self::Cname,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
    ];

    /// As in a zone file.
    pub fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}

/// Bind and a search for one entry (RFC 4511).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LdapCheck {
    /// From the first byte on: ldaps.
    pub tls: Option<Tls>,
    /// Name of the entry that is looked for; empty for the one that describes the server.
    pub base: String,
    /// Regular expression that the entry's name must match; checked when it was read.
    pub receive: Option<String>,
    /// Distinguished name; with a password only, otherwise the bind is anonymous.
    pub login: Option<String>,
    /// Of a simple bind.
    pub password: Option<Password>,
}

/// A login to an Oracle database and a query that must return a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OracleCheck {
    /// User; without double quotes.
    pub login: String,
    /// Without double quotes.
    pub password: Option<Password>,
    /// System identifier (SID) of the database: letters, digits, `_`, `$`, `#` and `.`.
    pub sid: String,
    /// One statement, in one line.
    pub query: String,
}

/// Longest login of a [`RadiusCheck`], in bytes: one attribute (RFC 2865 section 5).
pub const RADIUS_LOGIN_MAX: usize = 253;
/// Longest password of a [`RadiusCheck`], in bytes (RFC 2865 section 5.2).
pub const RADIUS_PASSWORD_MAX: usize = 128;

/// A login at a RADIUS server, which must accept it (RFC 2865, PAP).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RadiusCheck {
    /// User name, at most [`RADIUS_LOGIN_MAX`] bytes.
    pub login: String,
    /// At most [`RADIUS_PASSWORD_MAX`] bytes.
    pub password: Password,
    /// What the server shares with us.
    pub secret: Password,
}

/// PING, which a Redis server that can serve answers with PONG.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RedisCheck {
    /// User name, since Redis 6; only with a password.
    pub login: Option<String>,
    /// Sent by AUTH before anything else.
    pub password: Option<Password>,
}

/// A login at a database and a query, which must return a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SqlCheck {
    /// User name; no NUL in it, as in all the others.
    pub login: String,
    /// `None`: the server lets the user in without one.
    pub password: Option<Password>,
    /// Default: PostgreSQL's is named like the user, MySQL needs none.
    pub database: Option<String>,
    /// One statement.
    pub query: String,
    /// What TLS must be; without TLS the server is down. `None`: with anybody where the server
    /// offers it, as the clients of these databases do by default.
    pub tls: Option<Tls>,
}
