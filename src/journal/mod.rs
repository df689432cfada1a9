//! The journal: one record for each thing that happened, with cause and evidence.
//!
//! Pure: what a record is, how it is written down and read, how a role change is joined with its
//! cause, and how all that is explained in words. Files are `store`'s business, stamping is the
//! daemon's. Log lines and journal records have the same sentence, made in one place.
//!
//! ```text
//!  happening   all that can be recorded       because   a role change and what led to it
//!  words       the cluster's events in words  explain   the last change, and what would happen now
//! ```

pub mod because;
pub mod explain;
pub mod happening;
pub mod words;

use serde::{Deserialize, Serialize};

use self::because::Because;
pub use self::happening::{Caller, Happening};
use crate::names::NodeName;
use crate::time::Instant;

/// Version of the records; fields and happenings are only added within a version.
pub const VERSION: u32 = 1;
/// Longest line that is read, in bytes. A record has one role change or the first few faults of a
/// reload; what is longer is damage.
pub const LINE_MAX: usize = 64 * 1024;
/// Longest text of a sentence or a reason, in bytes: scripts may say a lot.
const TEXT_MAX: usize = 2048;

/// How grave something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Worth a look by day.
    Warning,
    /// Service or redundancy is lost or in danger.
    Alarm,
}

impl Severity {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }
}

/// One record. (`session`, `seq`) names it; a gap in `seq` is a record that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub v: u32,
    /// The start of the core that wrote it, as the peer's status shows it.
    pub session: String,
    /// From 1 in each session.
    pub seq: u64,
    /// The wall clock, in milliseconds since 1970 (UTC).
    pub wall_ms: u64,
    /// The boot clock, in nanoseconds: decisions run on it.
    pub boot_ns: Instant,
    /// How grave.
    pub severity: Severity,
    /// The stable name of what happened.
    pub name: String,
    /// What happened, in words.
    pub text: String,
    /// What happened. `None` when another version wrote what this one does not know.
    #[serde(default, deserialize_with = "lenient")]
    pub what: Option<Happening>,
    /// With a role change: what led to it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub because: Option<Because>,
}

/// What can't be understood is left out, not the whole record.
fn lenient<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Option::<serde_json::Value>::deserialize(from)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// The first line of each file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`].
    pub pairbeat_journal: u32,
    /// Both nodes, in the order of their names: files of another cluster are left alone.
    pub cluster: [NodeName; 2],
    /// Whose journal it is.
    pub node: NodeName,
}

impl Head {
    /// For this node of this cluster.
    pub fn new(node: &NodeName, peer: &NodeName) -> Self {
        let mut cluster = [node.clone(), peer.clone()];
        cluster.sort();
        Self { pairbeat_journal: VERSION, cluster, node: node.clone() }
    }
}

/// As a line, with its line break.
pub fn line<T: Serialize>(value: &T) -> String {
    // Plain data with text keys always has a JSON form.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// A record from a line without its line break; `None` when it is none.
pub fn parse(line: &str) -> Option<Record> {
    (line.len() <= LINE_MAX).then(|| serde_json::from_str::<Record>(line).ok()).flatten()
}

/// Without what a terminal would obey, and not longer than a screen: texts come from scripts and
/// from files.
pub fn printable(text: &str) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = text.get(..end).unwrap_or_default();
    kept.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Milliseconds since 1970 as `2026-11-21T06:58:28.123Z` (RFC 3339, UTC).
pub fn wall(wall_ms: u64) -> String {
    let (days, rest) = (wall_ms / 86_400_000, wall_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Days since 1970 as a date of the Gregorian calendar, by whole 400-year cycles that begin on
/// 1 March.
fn date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 was 719468 days before 1970-01-01.
    let shifted = days.saturating_add(719_468);
    let (cycle, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + after, month, day)
}

/// One line for the terminal.
pub fn shown(record: &Record) -> String {
    let text = printable(&record.text);
    format!("{}  {:7}  {text}", wall(record.wall_ms), record.severity.word())
}

#[cfg(test)]
mod tests;
