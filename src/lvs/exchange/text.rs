//! The exchanges of protocols that talk in lines of text.

use serde::{Deserialize, Serialize};

use super::Transport;

use crate::lvs::exchange::{Encryption, Password, Tls};

/// Who logs in, and with what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Login {
    /// The user's name; no control characters.
    pub name: String,
    /// The password; no control characters, and empty where none was given.
    pub password: Password,
}

/// A mailbox server, IMAP or POP3.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MailCheck {
    /// TLS, with the same rules as for HTTPS.
    pub encryption: Encryption,
    /// TLS server name.
    pub host: Option<String>,
    /// Without one the greeting is enough.
    pub login: Option<Login>,
}

/// A mail server: its greeting must be 220, its answer to EHLO (or, where it does not know that,
/// HELO) 250.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SmtpCheck {
    /// The port for mail programs instead of that for servers.
    pub submission: bool,
    /// STARTTLS must be taken, and then EHLO again.
    pub starttls: Option<Tls>,
    /// TLS server name.
    pub host: Option<String>,
}

/// A text that is sent as it is, and what must come back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TextCheck {
    /// What carries it.
    pub transport: Transport,
    /// The text; may be empty with TCP, for a server that speaks first.
    pub send: String,
    /// Regular expression that must match in one line of the answer; checked when it was read.
    /// Without one any answer will do.
    pub receive: Option<String>,
    /// Tell the server that nothing more comes, by closing our half of the connection.
    pub half_close: bool,
}

/// An FTP server: a login, and a file or a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FtpCheck {
    /// An empty password is `ldirectord@HOST`, as an anonymous login wants an address there.
    pub login: Login,
    /// The file, with its leading slash and without control characters; `None`: a listing.
    pub path: Option<String>,
    /// Regular expression that must match somewhere in what is fetched; checked when it was read.
    pub receive: Option<String>,
}

/// A SIP server: OPTIONS, which must be answered by 200.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SipCheck {
    /// What carries it.
    pub transport: Transport,
    /// Who is asked for and who asks, `USER@HOST`, without blanks, control characters and angle
    /// brackets; `None`: `ldirectord@` and the name of this machine.
    pub user: Option<String>,
}
