//! What happened: the journal's files, and the running daemon's memory of what is newer.

use std::path::Path;
use std::time::Duration;

use super::ask;
use super::exit::Code;
use super::out;
use crate::config;
use crate::control::client::CallError;
use crate::control::protocol::{Call, EventsAsked, EventsReply, RecordId, Recorded};
use crate::daemon::Paths;
use crate::journal::{self, Head, Record, printable};
use crate::store::files::{Contents, directory, read};
use crate::sys::clock;
use crate::sys::files::Machine;

/// Shown when nothing else is asked for.
const LAST_DEFAULT: usize = 100;
/// Between two tries to reach a daemon that is being started again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be shown.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) follow: bool,
    pub(super) json: bool,
    pub(super) since: Option<Since>,
    pub(super) last: Option<usize>,
}

/// `90s`, `10m`, `2h`, `7d`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    units.iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs(count.saturating_mul(*seconds)))
    })
}

/// The oldest record that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Since {
    /// So long ago.
    Ago(Duration),
    /// As a record's own time begins.
    Time(String),
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_time = text.len() >= 10
            && text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || "-:.TZ".contains(c));
        match span(text) {
            Some(ago) => Ok(Self::Ago(ago)),
            None if is_time => Ok(Self::Time(text.to_owned())),
            None => {
                Err("a span such as 90s, 10m, 2h, 7d, or a time such as 2026-11-21T06:58"
                    .to_owned())
            }
        }
    }
}

impl Since {
    fn takes(&self, record: &Record) -> bool {
        match self {
            Self::Ago(span) => {
                let begin = clock::wall().saturating_sub(*span);
                u128::from(record.wall_ms) >= begin.as_millis()
            }
            Self::Time(text) => journal::wall(record.wall_ms).as_str() >= text.as_str(),
        }
    }
}

pub(super) fn events(paths: &Paths, wanted: &Wanted) -> Code {
    let asked = EventsAsked::default();
    let memory = ask::quietly::<EventsReply>(paths, &Call::Events(asked));
    let files = on_disk(paths);
    let (Contents { records, left_out }, memory) = match (files, memory) {
        (Ok(contents), memory) => (contents, memory.ok()),
        (Err(_), Ok(memory)) => (Contents::default(), Some(memory)),
        (Err(why), Err(silent)) => {
            let dir = directory(&paths.state_dir);
            out::complain(&format!("pairbeat: no journal at {}: {why}", dir.display()));
            return out::fault(Code::NoDaemon, &silent.to_string());
        }
    };
    left_out.iter().for_each(|why| out::complain(&format!("left out: {}", printable(why))));
    let mut all = joined(records, memory.map(|reply| reply.records).unwrap_or_default());
    if let Some(since) = &wanted.since {
        all.retain(|record| since.takes(record));
    }
    let last = wanted.last.or(wanted.since.is_none().then_some(LAST_DEFAULT));
    let surplus = last.map_or(0, |last| all.len().saturating_sub(last));
    let newest = all.last().map(id);
    let read = all.iter().skip(surplus).all(|record| show(record, wanted.json));
    if wanted.follow && read { follow(paths, newest, wanted.json) } else { Code::Well }
}

/// The files of this node; without a readable configuration, of whatever cluster.
pub(super) fn on_disk(paths: &Paths) -> std::io::Result<Contents> {
    let (config, _) = config::load(&paths.config, &paths.node, &Machine::default());
    let head = config.map(|config| Head::new(&config.node, &config.peer));
    read(&directory(&paths.state_dir), head.as_ref())
}

/// The daemon's memory is the end of its own session, also where the disk took nothing.
fn joined(mut files: Vec<Record>, memory: Vec<Record>) -> Vec<Record> {
    if let Some(oldest) = memory.first() {
        files.retain(|record| record.session != oldest.session || record.seq < oldest.seq);
    }
    files.extend(memory);
    files
}

fn id(record: &Record) -> RecordId {
    RecordId { session: record.session.clone(), seq: record.seq }
}

/// Whether somebody still reads.
fn show(record: &Record, json: bool) -> bool {
    let line = if json { journal::line(record) } else { journal::shown(record) + "\n" };
    out::text(&line)
}

/// Until the terminal has enough of it; a daemon that is started again is found again.
fn follow(paths: &Paths, mut newest: Option<RecordId>, json: bool) -> Code {
    loop {
        let asked = EventsAsked { after: newest.clone(), wait: true };
        let Ok(reply) = ask::quietly::<EventsReply>(paths, &Call::Events(asked)) else {
            if out::abandoned(AGAIN) {
                return Code::Well;
            }
            continue;
        };
        if newest.is_some() && reply.missed > 0 {
            out::complain(&format!("{} records are in the files only", reply.missed));
        }
        if !reply.records.iter().all(|record| show(record, json)) {
            return Code::Well;
        }
        newest = reply.records.last().map(id).or(newest);
    }
}

/// Writes what the core was told lately to a file.
pub(super) fn dump(paths: &Paths, to: &Path) -> Code {
    let recorded = match ask::quietly::<Recorded>(paths, &Call::Record) {
        Ok(recorded) => recorded,
        Err(error) => return ask::fault(&error),
    };
    match recorded {
        Recorded::File(path) => match std::fs::copy(&path, to) {
            Ok(_) => Code::Well,
            Err(e) => out::fault(Code::Failed, &format!("{path} to {}: {e}", to.display())),
        },
        Recorded::Failed(why) => out::fault(Code::Failed, &why),
    }
}

/// Whether a call failed because nobody is there.
pub(super) fn absent(error: &CallError) -> bool {
    matches!(error, CallError::NoDaemon { .. } | CallError::NoAnswer { .. })
}
