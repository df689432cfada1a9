//! Mails about virtual services, as values: to whom, by which way, and what a letter says.
//!
//! When one is written is `lvs::director`'s; how it is handed over, the daemon's. Nothing here can hold
//! a line break where it would begin a header or a command of its own.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::lvs::check::{CheckFailure, shown};
use crate::time::Instant;

pub mod text;

/// Longest name, comment and subject, in characters: what a mail program shows of a line.
pub const LINE_MAX: usize = 200;

/// Longest address, in bytes (RFC 5321 section 4.5.3.1.3: a path of 256, two of them its brackets).
pub const ADDRESS_MAX: usize = 254;

/// Most addressees of one service's mails. More are a mailing list.
pub const TO_MAX: usize = 50;

/// A text of one line, without control characters; 1 to [`LINE_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Line(String);

impl Line {
    /// A text that is one.
    ///
    /// # Errors
    /// What it is not.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        match text.trim() {
            "" => Err("an empty text"),
            line if line.chars().any(char::is_control) => Err("a text of one line is wanted here"),
            line if line.chars().count() > LINE_MAX => Err("a text of over 200 characters"),
            line => Ok(Self(line.to_owned())),
        }
    }

    /// What can be shown of any text in one line.
    pub fn of(text: &str) -> Self {
        let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Some((end, _)) = line.char_indices().nth(LINE_MAX - 1) {
            line.truncate(end);
            line.push('…');
        }
        Self(line)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `root`, `admin@example.com`: fit for a header and for a command of SMTP as it stands. Printable
/// ASCII without blanks, quotes and what separates addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct MailAddress(String);

impl MailAddress {
    /// An address.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let fit = |c: char| c.is_ascii_graphic() && !r#""(),:;<>@[\]"#.contains(c);
        let mut parts = text.split('@');
        let good = parts.all(|part| !part.is_empty() && part.chars().all(fit));
        match text {
            _ if !text.is_ascii() => Err("an address is of ASCII characters"),
            // A program would take it for an option.
            _ if text.starts_with('-') => Err("an address does not begin with `-`"),
            _ if text.len() > ADDRESS_MAX => Err("an address of over 254 characters"),
            _ if !good || text.matches('@').count() > 1 => Err("that is no mail address"),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a mail is from: `NAME <ADDRESS>`, or an address alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// Shown before the address.
    pub name: Option<Line>,
    /// The address.
    pub address: MailAddress,
}

impl Sender {
    /// A sender as it stands in a header; the name may have quotes.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let Some((name, rest)) = text.rsplit_once('<') else {
            return Ok(Self { name: None, address: MailAddress::new(text)? });
        };
        let address = rest.strip_suffix('>').ok_or("the `>` behind the address is missing")?;
        let name = name.trim();
        let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let name = if bare.trim().is_empty() { None } else { Some(Line::new(bare)?) };
        Ok(Self { name, address: MailAddress::new(address.trim())? })
    }
}

/// A host that takes mails by SMTP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relay {
    /// A name or an address, without brackets.
    pub host: String,
    /// Default 25.
    pub port: u16,
}

/// The port of SMTP.
pub const SMTP_PORT: u16 = 25;

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A part of a director's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From the start, or from when it serves on this node, until every check has had a verdict and
    /// the kernel's table is as it should be.
    Starting,
    /// From then on.
    Running,
    /// From when it is told to stop.
    Stopping,
    /// From a new configuration until all is as it should be again.
    Reloading,
}

impl Stage {
    /// As ldirectord calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Reloading => "reloading",
        }
    }
}

/// The stages in which mails are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// [`Stage::Starting`].
    pub starting: bool,
    /// [`Stage::Running`].
    pub running: bool,
    /// [`Stage::Stopping`].
    pub stopping: bool,
    /// [`Stage::Reloading`].
    pub reloading: bool,
}

impl Stages {
    /// None of them.
    pub const NONE: Self =
        Self { starting: false, running: false, stopping: false, reloading: false };
    /// All of them.
    pub const ALL: Self = Self { starting: true, running: true, stopping: true, reloading: true };

    /// Adds one by its name, or all by `all`. False: there is no such stage.
    pub fn add(&mut self, word: &str) -> bool {
        match word {
            "all" => *self = Self::ALL,
            "starting" => self.starting = true,
            "running" => self.running = true,
            "stopping" => self.stopping = true,
            "reloading" => self.reloading = true,
            _ => return false,
        }
        true
    }

    /// Whether it is among them.
    pub fn has(self, stage: Stage) -> bool {
        match stage {
            Stage::Starting => self.starting,
            Stage::Running => self.running,
            Stage::Stopping => self.stopping,
            Stage::Reloading => self.reloading,
        }
    }
}

/// The mails of a virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// To whom and by which way.
    pub envelope: Envelope,
    /// From one mail about a server that is down to the next; `None`: one only.
    pub repeat: Option<Duration>,
    /// In which stages.
    pub stages: Stages,
}

/// To whom a letter goes, and by which way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Envelope {
    /// 1 to [`TO_MAX`].
    pub to: Vec<MailAddress>,
    /// `None`: the user that the daemon runs as, at this machine.
    pub from: Option<Sender>,
    /// `None`: the machine's own mail system.
    pub relay: Option<Relay>,
}

impl Envelope {
    /// The addressees, for logs.
    pub fn addressees(&self) -> String {
        let to: Vec<&str> = self.to.iter().map(MailAddress::as_str).collect();
        to.join(", ")
    }
}

/// What a letter says of a service besides what has happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct About {
    /// The service.
    pub service: String,
    /// `servicename`.
    pub name: Option<Line>,
    /// `comment`.
    pub comment: Option<Line>,
}

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// In which stage of the director.
    pub stage: Stage,
    /// What.
    pub what: Line,
}

/// A letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// To whom and by which way.
    pub envelope: Envelope,
    /// What has happened, in order; never empty.
    pub entries: Vec<Entry>,
    /// So much more has happened than there is room for.
    pub more: usize,
    /// The services that it is about, in the order in which something happened to them.
    pub about: Vec<About>,
}

impl Letter {
    /// The first thing that has happened, with the service's name where the letter is about one
    /// alone, and how much else.
    pub fn subject(&self) -> Line {
        let what = self.entries.first().map_or("", |entry| entry.what.as_str());
        let name = match self.about.as_slice() {
            [About { name: Some(name), .. }] => format!("[{name}] "),
            _ => String::new(),
        };
        let more = match (self.entries.len() + self.more).saturating_sub(1) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let room = LINE_MAX.saturating_sub(name.chars().count() + more.chars().count());
        let mut what = what.to_owned();
        if let Some((end, _)) = what.char_indices().nth(room.saturating_sub(1)) {
            what.truncate(end);
            what.push('…');
        }
        Line::of(&format!("{name}{what}{more}"))
    }
}

/// Why a letter was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFailure {
    /// For the operator.
    pub why: String,
    /// Whether it would be so the next time, too.
    pub for_good: bool,
}

impl MailFailure {
    /// One that may pass.
    pub fn passing(why: &str) -> Self {
        Self { why: shown(why.as_bytes()), for_good: false }
    }

    /// One that stays.
    pub fn for_good(why: &str) -> Self {
        Self { why: shown(why.as_bytes()), for_good: true }
    }
}

/// What goes wrong on the way may go well the next time.
impl From<CheckFailure> for MailFailure {
    fn from(why: CheckFailure) -> Self {
        Self::passing(&why.to_string())
    }
}

#[cfg(test)]
mod tests;
