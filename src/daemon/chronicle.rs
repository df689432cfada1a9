//! Tells what happened: one call makes the log line and the journal's record, with one sentence.
//!
//! Never waits: the files are written by a thread of their own, and the last records are kept here
//! for those who follow. Not for the beat thread, which reports to the daemon's loop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::cluster::Evidence;
use crate::cluster::event::{Answer, Event, Request};
use crate::cluster::recording::Recording;
use crate::config::Config;
use crate::control::protocol::{EventsAsked, EventsReply, RecordId};
use crate::daemon::{Fatal, Paths};
use crate::journal::because::{Because, Chains};
use crate::journal::explain::last_change;
use crate::journal::{self, Caller, Happening, Head, Record, Severity};
use crate::lvs::director::DirectorEvent;
use crate::names::{LinkName, RequestId};
use crate::status::JournalStatus;
use crate::store::files::{Files, directory};
use crate::store::writer::Writer;
use crate::sys::clock;
use crate::time::Instant;

/// Records kept for those who follow: half a megabyte, more than a bad minute makes.
const RECENT_MAX: usize = 1024;
/// Faults of a refused configuration in its record; the log has all.
const FAULTS_MAX: usize = 5;

/// The journal of this core; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Chronicle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    session: String,
    book: Mutex<Book>,
    /// The newest number, for those who wait for the next; `None` at the end.
    newest: watch::Sender<Option<u64>>,
}

#[derive(Debug)]
struct Book {
    seq: u64,
    links: Vec<LinkName>,
    chains: Chains,
    recent: VecDeque<Record>,
    writer: Writer,
    /// Dropped records that a record has told of.
    told: u64,
}

impl Chronicle {
    /// Begins the journal of a core whose session on the wire is this one.
    pub(crate) fn begin(paths: &Paths, config: &Config, session: &[u8; 16]) -> Result<Self, Fatal> {
        let head = Head::new(&config.node, &config.peer);
        let writer = Writer::spawn(Files::new(directory(&paths.state_dir), head));
        let writer = writer.map_err(|e| Fatal::System(format!("the journal's thread: {e}")))?;
        let session = session.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let book = Book {
            seq: 0,
            links: link_names(config),
            chains: Chains::default(),
            recent: VecDeque::new(),
            writer,
            told: 0,
        };
        let newest = watch::Sender::new(Some(0));
        Ok(Self(Arc::new(Shared { session, book: Mutex::new(book), newest })))
    }

    /// Something happened just now.
    pub(crate) fn tell(&self, what: Happening) {
        self.tell_at(clock::now(), what);
    }

    /// Something happened at that moment of the boot clock.
    pub(crate) fn tell_at(&self, at: Instant, what: Happening) {
        self.write(&mut self.book(), at, (what, None));
    }

    /// Something that the core reported, with what it knew then.
    pub(crate) fn event(&self, at: Instant, event: Event, evidence: Option<Evidence>) {
        let mut book = self.book();
        let because = book.chains.event(at, &event, evidence);
        self.write(&mut book, at, (Happening::Cluster(event), because));
    }

    /// An operator has asked for something.
    pub(crate) fn asked(&self, id: RequestId, request: Request, by: Option<Caller>) {
        self.book().chains.asked(id, request, by);
    }

    /// And was answered.
    pub(crate) fn answered(&self, id: RequestId, answer: &Answer) {
        let mut book = self.book();
        if let Some((request, by)) = book.chains.answered(id) {
            let what = Happening::Answered { request, by, answer: answer.clone() };
            self.write(&mut book, clock::now(), (what, None));
        }
    }

    /// A configuration was taken, or not.
    pub(crate) fn reloaded(&self, applied: bool, diagnostics: &[String]) {
        let faults = diagnostics.iter().take(FAULTS_MAX).map(|it| it.trim_end().to_owned());
        self.tell(if applied {
            Happening::ReloadApplied
        } else {
            Happening::ReloadRefused { faults: faults.collect() }
        });
    }

    /// The links have other names from now on.
    pub(crate) fn links(&self, config: &Config) {
        self.book().links = link_names(config);
    }

    /// Keeps a recording in a file of its own. The file's name comes when it is written.
    pub(crate) fn keep(
        &self,
        recording: Recording,
    ) -> std::sync::mpsc::Receiver<std::io::Result<std::path::PathBuf>> {
        self.book().writer.record(recording)
    }

    /// Follows the records: those after the one that is named, or the oldest that are kept.
    pub(crate) fn after(&self, asked: &EventsAsked) -> EventsReply {
        let book = self.book();
        let from = match &asked.after {
            Some(RecordId { session, seq }) if *session == self.0.session => *seq,
            _ => 0,
        };
        let records = book.recent.iter().filter(|record| record.seq > from).cloned().collect();
        let oldest = book.recent.front().map_or(1, |record| record.seq);
        EventsReply { records, missed: oldest.saturating_sub(from.saturating_add(1)) }
    }

    /// Wakes those who follow.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<u64>> {
        self.0.newest.subscribe()
    }

    /// The last role change of a group that is remembered here.
    pub(crate) fn last_change(&self, group: &str) -> Option<Record> {
        last_change(self.book().recent.iter().rev(), group).cloned()
    }

    /// How the journal stands, for the status.
    pub(crate) fn status(&self) -> JournalStatus {
        let standing = self.book().writer.standing();
        JournalStatus {
            written: standing.written,
            dropped: standing.dropped,
            error: standing.error,
            last_error: standing.last_error,
            refused: standing.strangers,
        }
    }

    /// The end: those who follow are sent home, and what is on its way is written, for a moment.
    pub(crate) fn close(&self) {
        self.0.newest.send_replace(None);
        self.book().writer.close();
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, book: &mut Book, at: Instant, (what, because): (Happening, Option<Because>)) {
        let standing = book.writer.standing();
        let lost = standing.dropped.saturating_sub(book.told);
        if lost > 0 && standing.error.is_none() {
            book.told = standing.dropped;
            let why = standing.last_error.unwrap_or_default();
            self.put(book, clock::now(), (Happening::JournalLost { records: lost, why }, None));
        }
        self.put(book, at, (what, because));
    }

    fn put(&self, book: &mut Book, at: Instant, (what, because): (Happening, Option<Because>)) {
        let (name, severity) = what.kind();
        let text = journal::printable(&what.sentence(&book.links));
        log(severity, at, &text);
        book.seq += 1;
        let sync = because.is_some() || severity > Severity::Info;
        let record = Record {
            v: journal::VERSION,
            session: self.0.session.clone(),
            seq: book.seq,
            wall_ms: wall_of(at),
            boot_ns: at,
            severity,
            name: name.to_owned(),
            text,
            what: Some(what),
            because,
        };
        book.writer.put(journal::line(&record), sync);
        book.recent.push_back(record);
        if book.recent.len() > RECENT_MAX {
            book.recent.pop_front();
        }
        self.0.newest.send_modify(|newest| *newest = newest.map(|_| book.seq));
    }
}

fn link_names(config: &Config) -> Vec<LinkName> {
    config.links.iter().map(|link| link.name.clone()).collect()
}

/// A moment of the boot clock on the wall clock, in milliseconds since 1970.
fn wall_of(at: Instant) -> u64 {
    let ago: Duration = clock::now().since(at);
    u64::try_from(clock::wall().saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
}

/// The log line.
pub(crate) fn log(severity: Severity, at: Instant, text: &str) {
    match severity {
        Severity::Info => info!(at = %at, "{text}"),
        Severity::Warning => warn!(at = %at, "{text}"),
        Severity::Alarm => error!(at = %at, "{text}"),
    }
}

/// How others tell of what happens to them.
pub(crate) type Tell = Arc<dyn Fn(Happening) + Send + Sync>;

impl Chronicle {
    /// For those who need not know of journals.
    pub(crate) fn teller(&self) -> Tell {
        let chronicle = self.clone();
        Arc::new(move |what| chronicle.tell(what))
    }
}

/// Tells the log alone: for tests and for what runs without a journal.
pub(crate) fn log_only() -> Tell {
    Arc::new(|what: Happening| {
        log(what.kind().1, clock::now(), &journal::printable(&what.sentence(&[])));
    })
}

/// An event of the director.
pub(crate) fn of_director(event: &DirectorEvent) -> Happening {
    let other = |severity| Happening::Director { severity, text: event.to_string() };
    match event {
        DirectorEvent::RealUp { service, real } => {
            Happening::RealUp { service: format!("{service:#}"), real: real.to_string() }
        }
        DirectorEvent::RealDown { service, real, cause } => Happening::RealDown {
            service: format!("{service:#}"),
            real: real.to_string(),
            cause: cause.to_string(),
        },
        DirectorEvent::SorryIn { service, fallback, left } => Happening::SorryIn {
            service: format!("{service:#}"),
            fallback: fallback.to_string(),
            left: *left,
        },
        DirectorEvent::SorryOut { service, fallback } => {
            Happening::SorryOut { service: format!("{service:#}"), fallback: fallback.to_string() }
        }
        DirectorEvent::CheckerReady => Happening::CheckerReady,
        DirectorEvent::CheckerLost => {
            Happening::CheckerLost { why: "it is no longer connected".to_owned() }
        }
        DirectorEvent::Panic { on: true, .. } => other(Severity::Alarm),
        DirectorEvent::NotTold { .. }
        | DirectorEvent::NotMailed { .. }
        | DirectorEvent::MailsCrowded { .. }
        | DirectorEvent::Quorum { met: false, .. }
        | DirectorEvent::Flapping { .. }
        | DirectorEvent::BackupIn { .. }
        | DirectorEvent::RealWarning { .. }
        | DirectorEvent::SorryDown { .. }
        | DirectorEvent::Adopted { .. }
        | DirectorEvent::Touched { .. } => other(Severity::Warning),
        DirectorEvent::Refused { .. }
        | DirectorEvent::KernelFault(_)
        | DirectorEvent::TooManyChecks { .. } => other(Severity::Alarm),
        DirectorEvent::Healed { .. }
        | DirectorEvent::Quorum { .. }
        | DirectorEvent::Panic { .. }
        | DirectorEvent::BackupOut { .. }
        | DirectorEvent::SorryUp { .. }
        | DirectorEvent::KernelBack
        | DirectorEvent::Converged
        | DirectorEvent::Told { .. }
        | DirectorEvent::Mailed { .. }
        | DirectorEvent::Ordered { .. } => other(Severity::Info),
    }
}
