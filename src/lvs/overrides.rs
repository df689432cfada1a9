//! What operators have ordered of real servers: drain, disable, another weight. Kept over reload,
//! restart and failover.
//!
//! Each order is of a [`Target`]: a real server in one service, or wherever it stands. Of several
//! that fit a server, the one that says most about it counts. Both nodes of a pair keep the same
//! [`Book`]: an entry is replaced by a later one, whichever node it comes from, so that books that
//! have been told everything of each other are equal, in whatever order they were told.
//!
//! Pure. `daemon::director` keeps the book on disk, and the heartbeats carry it
//! (`cluster::message::Word`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lvs::model::{Protocol, RealKey, ServiceKey, WEIGHT_MAX};
use crate::time::Instant;

/// Most entries of a book, those included that an `enable` has ended: as many as an operator can
/// oversee, and told to a peer that knows none of them in a minute.
pub const OVERRIDES_MAX: usize = 512;

/// Whose traffic an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// In this service; `None`: in all that have the server.
    pub service: Option<ServiceKey>,
    /// The server's address.
    pub address: IpAddr,
    /// Its port; `None`: at every port.
    pub port: Option<u16>,
}

impl Target {
    /// Whether this real server of this service is meant.
    pub fn fits(&self, service: &ServiceKey, real: &RealKey) -> bool {
        self.address == real.address
            && self.port.is_none_or(|port| port == real.port)
            && self.service.is_none_or(|own| own == *service)
    }

    /// Whether everything that `other` means is meant.
    fn covers(&self, other: &Self) -> bool {
        self.address == other.address
            && (self.port.is_none() || self.port == other.port)
            && (self.service.is_none() || self.service == other.service)
    }

    /// The service says more than the port.
    fn precision(&self) -> u8 {
        u8::from(self.service.is_some()) * 2 + u8::from(self.port.is_some())
    }
}

/// `192.168.2.106`, `192.168.2.106:80`, and ` of tcp 192.168.2.110:80` behind it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port))?,
            None => write!(f, "{}", self.address)?,
        }
        match self.service {
            Some(service) => write!(f, " of {service:#}"),
            None => Ok(()),
        }
    }
}

/// Not a target, or not an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`ADDRESS` or `ADDRESS:PORT`; with a service `tcp`, `udp` or `sctp ADDRESS:PORT`, or `fwm NUMBER`"
)]
pub struct NotUnderstood;

impl FromStr for Target {
    type Err = NotUnderstood;

    /// As printed.
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let (server, service) = match text.split_once(" of ") {
            Some((server, service)) => (server, Some(self::service(service)?)),
            None => (text, None),
        };
        let (address, port) = server_of(server)?;
        Ok(Self { service, address, port })
    }
}

/// `192.168.2.106`, `192.168.2.106:80`, `2001:db8::6`, `[2001:db8::6]:80`.
///
/// # Errors
/// [`NotUnderstood`].
pub fn server_of(text: &str) -> Result<(IpAddr, Option<u16>), NotUnderstood> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse() {
        return Ok((address, None));
    }
    let both: SocketAddr = text.parse().map_err(|_| NotUnderstood)?;
    Ok((both.ip(), Some(both.port())))
}

/// `tcp 192.168.2.110:80`, `udp [2001:db8::1]:53`, `sctp 192.168.2.110:3868`, `fwm 7`, `fwm6 7`; TCP where only the address
/// and the port are given.
///
/// # Errors
/// [`NotUnderstood`].
pub fn service(text: &str) -> Result<ServiceKey, NotUnderstood> {
    let (word, rest) = text
        .split_once([' ', ':'])
        .filter(|(word, _)| Protocol::named(word).is_some() || matches!(*word, "fwm" | "fwm6"))
        .unwrap_or(("tcp", text));
    if let "fwm" | "fwm6" = word {
        let mark = rest.parse().ok().filter(|mark| *mark > 0).ok_or(NotUnderstood)?;
        return Ok(ServiceKey::Mark { ipv6: word == "fwm6", mark });
    }
    let both: SocketAddr = rest.parse().map_err(|_| NotUnderstood)?;
    let protocol = Protocol::named(word).unwrap_or(Protocol::Tcp);
    Ok(ServiceKey::Address { protocol, address: both.ip(), port: both.port() })
}

/// What an operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Command {
    /// No new connections; those that are open go on.
    Drain {
        /// When it leaves the table, open connections or not, in seconds since 1970; `None`: never.
        until: Option<u64>,
    },
    /// Out of the table at once, whatever the checks say.
    Disable,
    /// In with this weight while it is up, 0 to 65535.
    Weight(u32),
    /// As configured, where an order of more servers says otherwise.
    Enable,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain { until: None } => f.write_str("drain"),
            Self::Drain { until: Some(until) } => write!(f, "drain {until}"),
            Self::Disable => f.write_str("disable"),
            Self::Weight(weight) => write!(f, "weight {weight}"),
            Self::Enable => f.write_str("enable"),
        }
    }
}

impl FromStr for Command {
    type Err = NotUnderstood;

    /// As printed.
    fn from_str(text: &str) -> Result<Self, NotUnderstood> {
        let words: Vec<&str> = text.split(' ').collect();
        Ok(match words.as_slice() {
            ["drain"] => Self::Drain { until: None },
            ["drain", until] => {
                Self::Drain { until: Some(until.parse().map_err(|_| NotUnderstood)?) }
            }
            ["disable"] => Self::Disable,
            ["weight", weight] => {
                let weight = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
                Self::Weight(weight.ok_or(NotUnderstood)?)
            }
            ["enable"] => Self::Enable,
            _ => return Err(NotUnderstood),
        })
    }
}

impl Command {
    /// Without its times: `drain`, `disable`, `weight 5`, `enable`.
    pub fn word(&self) -> String {
        match self {
            Self::Drain { .. } => "drain".to_owned(),
            other => other.to_string(),
        }
    }
}

/// As text in JSON.
macro_rules! as_text {
    ($kind:ty) => {
        impl TryFrom<String> for $kind {
            type Error = NotUnderstood;

            fn try_from(text: String) -> Result<Self, NotUnderstood> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(Target);
as_text!(Command);

/// One entry as it is told to the other node, and written to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Later ones count: milliseconds since 1970 when it was ordered, or one more than anything
    /// known by then.
    pub stamp: u64,
    /// `TARGET = COMMAND`, at most [`ENTRY_MAX`] bytes.
    pub text: String,
}

/// Longest [`Entry::text`]: two IPv6 addresses with ports, and a time.
pub const ENTRY_MAX: usize = 160;

/// All orders, and those that have ended but must still be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book(BTreeMap<Target, (u64, Option<Command>)>);

/// [`OVERRIDES_MAX`] entries are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{OVERRIDES_MAX} orders are in force already; `pairbeat real enable` ends some")]
pub struct Full;

impl Book {
    /// Takes an order of an operator, at so many milliseconds since 1970. An `Enable` ends every
    /// order that is about these servers only.
    ///
    /// # Errors
    /// [`Full`]; then nothing has changed.
    pub fn order(&mut self, target: Target, command: Command, now_ms: u64) -> Result<(), Full> {
        let newest = self.0.values().map(|(stamp, _)| stamp.saturating_add(1)).max();
        let stamp = newest.unwrap_or(0).max(now_ms);
        if command != Command::Enable {
            return self.put(target, stamp, Some(command));
        }
        let broader = self
            .0
            .iter()
            .any(|(other, (_, said))| *other != target && other.covers(&target) && said.is_some());
        if broader {
            self.put(target, stamp, Some(command))?;
        }
        for (other, entry) in &mut self.0 {
            if target.covers(other) && entry.1.is_some() && !(broader && *other == target) {
                *entry = (stamp, None);
            }
        }
        Ok(())
    }

    fn put(&mut self, target: Target, stamp: u64, said: Option<Command>) -> Result<(), Full> {
        if !self.0.contains_key(&target) && self.0.len() >= OVERRIDES_MAX {
            // What has ended longest ago is known to the peer, or to nobody.
            let oldest = self.0.iter().filter(|(_, (_, said))| said.is_none());
            let oldest = oldest.min_by_key(|(_, (stamp, _))| *stamp).map(|(target, _)| *target);
            self.0.remove(&oldest.ok_or(Full)?);
        }
        self.0.insert(target, (stamp, said));
        Ok(())
    }

    /// Takes over what the other node knows later. True when something has changed. What is not
    /// understood is of a later version, and left alone.
    pub fn merge(&mut self, entries: &[Entry]) -> bool {
        let mut changed = false;
        for entry in entries {
            let Some((target, said)) = parse(&entry.text) else { continue };
            let theirs = (entry.stamp, said);
            if self.0.get(&target).is_none_or(|ours| *ours < theirs) {
                changed |= self.put(target, entry.stamp, said).is_ok();
            }
        }
        changed
    }

    /// Every entry, for the other node and for the disk.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.0.iter().map(|(target, (stamp, said))| {
            let said = said.map_or_else(|| "nothing".to_owned(), |said| said.to_string());
            Entry { stamp: *stamp, text: format!("{target} = {said}") }
        })
    }

    /// The orders in force.
    pub fn commands(&self) -> impl Iterator<Item = (Target, Command)> {
        self.0.iter().filter_map(|(target, (_, said))| said.map(|said| (*target, said)))
    }

    /// Equal for equal orders in force; 0 for none.
    pub fn digest(&self) -> u64 {
        let mut hash = Sha256::new();
        let mut none = true;
        for (target, command) in self.commands() {
            hash.update(format!("{target} = {command}\n"));
            none = false;
        }
        let bytes: [u8; 32] = hash.finalize().into();
        let first = bytes.first_chunk().copied().unwrap_or_default();
        if none { 0 } else { u64::from_be_bytes(first).max(1) }
    }
}

fn parse(text: &str) -> Option<(Target, Option<Command>)> {
    if text.len() > ENTRY_MAX {
        return None;
    }
    let (target, said) = text.split_once(" = ")?;
    let said = match said {
        "nothing" => None,
        said => Some(said.parse().ok()?),
    };
    Some((target.parse().ok()?, said))
}

/// The orders in force, with the times of this node's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(Target, Option<Override>)>);

/// What an order does to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// Weight 0, and out of the table from then on.
    Drain {
        /// [`Instant::NEVER`]: never.
        until: Instant,
    },
    /// Out of the table.
    Disable,
    /// Another weight.
    Weight(u32),
    /// As if its check had failed: somebody is working on it.
    Maintenance,
}

impl Override {
    /// For the status: `drain`, `disable`, `weight 5`.
    pub fn word(self) -> String {
        match self {
            Self::Drain { .. } => "drain".to_owned(),
            Self::Disable => "disable".to_owned(),
            Self::Weight(weight) => format!("weight {weight}"),
            Self::Maintenance => "maintenance".to_owned(),
        }
    }
}

impl Overrides {
    /// These, but for servers that are marked as being worked on: that counts before anything else.
    #[must_use]
    pub fn with_maintenance(self, marked: &[Target]) -> Self {
        let marked = marked.iter().map(|target| (*target, Some(Override::Maintenance)));
        Self(marked.chain(self.0).collect())
    }

    /// These and one more of one server, until the book has it: [`Command::Drain`] is none that can
    /// be told without a clock.
    #[must_use]
    pub fn with(self, target: Target, command: Command) -> Self {
        let does = match command {
            Command::Disable => Some(Override::Disable),
            Command::Weight(weight) => Some(Override::Weight(weight)),
            Command::Drain { .. } => return self,
            Command::Enable => None,
        };
        let marked = |(_, does): &&(Target, _)| *does == Some(Override::Maintenance);
        let first = self.0.iter().take_while(marked).count();
        let mut all = self.0;
        all.insert(first, (target, does));
        Self(all)
    }

    /// The orders of a book, at `now`, when the wall clock says so many seconds since 1970.
    pub fn of(book: &Book, now: Instant, unix: u64) -> Self {
        let at = |until: u64| now.plus(Duration::from_secs(until.saturating_sub(unix)));
        let mut all: Vec<_> = book.commands().collect();
        // The most precise first.
        all.sort_by_key(|(target, _)| std::cmp::Reverse(target.precision()));
        let all = all.into_iter().map(|(target, command)| {
            let does = match command {
                Command::Drain { until } => {
                    let until = until.map_or(Instant::NEVER, at);
                    Some(Override::Drain { until })
                }
                Command::Disable => Some(Override::Disable),
                Command::Weight(weight) => Some(Override::Weight(weight)),
                Command::Enable => None,
            };
            (target, does)
        });
        Self(all.collect())
    }

    /// What holds for a real server.
    pub fn on(&self, service: &ServiceKey, real: &RealKey) -> Option<Override> {
        let found = self.0.iter().find(|(target, _)| target.fits(service, real));
        found.and_then(|(_, does)| *does)
    }

    /// Whether servers are being drained.
    pub fn has_drains(&self) -> bool {
        self.0.iter().any(|(_, does)| matches!(does, Some(Override::Drain { .. })))
    }

    /// The first end of a drain after `now`.
    pub fn next_end(&self, now: Instant) -> Instant {
        let ends = self.0.iter().filter_map(|(_, does)| match does {
            Some(Override::Drain { until }) if *until > now => Some(*until),
            _ => None,
        });
        ends.min().unwrap_or(Instant::NEVER)
    }
}

#[cfg(test)]
mod tests;
