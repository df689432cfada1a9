//! The log: lines on standard error, where systemd and every other supervisor picks them up, and
//! in files and at syslog where the configuration asks for it.
//!
//! ```text
//!  any thread --> standard error
//!             +-> bounded queue --> log thread --> files, /dev/log       (`sink`)
//! ```
//!
//! Nobody ever waits for a disk or a log daemon: what does not fit into the queue is counted, and
//! the count is logged.

mod sink;

use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use self::sink::Sink;
use crate::config;
use crate::config::diag::{Diagnostic, Severity};
use crate::sys::signal;

/// Environment variable that sets what is logged (`debug`, `pairbeat::daemon=trace`).
pub const FILTER: &str = "PAIRBEAT_LOG";
/// Lines that wait for the log thread: several seconds of the worst day.
const QUEUE_MAX: usize = 1024;
/// Longest wait for what is in the queue when the process ends.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);
/// Where syslog daemons listen (syslog(3)).
const SYSLOG: &str = "/dev/log";

static FILTERS: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
static QUEUE: OnceLock<SyncSender<Word>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);

/// What the log thread is told.
enum Word {
    Line(Level, String),
    Configure(config::Log),
    Reopen,
    Flush(SyncSender<()>),
}

/// Starts logging; a second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let ansi = rustix::termios::isatty(io::stderr());
    let plain = fmt::layer().with_target(false).with_writer(io::stderr).with_ansi(ansi);
    let copy = fmt::layer().with_target(false).with_writer(Tee).with_ansi(false);
    let started = tracing_subscriber::registry().with(filter).with(plain).with(copy).try_init();
    // Only a second call can fail.
    if started.is_ok() {
        let _first = FILTERS.set(handle);
    }
}

/// Takes over where the log goes and how much of it there is; again after a reload.
pub fn configure(log: &config::Log) {
    if std::env::var_os(FILTER).is_none() {
        let words = match log.debug {
            0 => "info",
            1 => "info,pairbeat=debug",
            _ => "debug",
        };
        // The subscriber lives as long as the process.
        let _lives = FILTERS.get().map(|filters| filters.reload(EnvFilter::new(words)));
    }
    if *log == config::Log::default() && QUEUE.get().is_none() {
        return;
    }
    tell(Word::Configure(log.clone()));
}

/// Opens the files anew: somebody has put them aside (logrotate(8), SIGHUP).
pub fn reopen() {
    if QUEUE.get().is_some() {
        tell(Word::Reopen);
    }
}

/// Waits a moment for the lines that are on their way; for the end of a process.
pub fn flush() {
    if QUEUE.get().is_some() {
        let (done, wait) = sync_channel(1);
        tell(Word::Flush(done));
        let _bounded = wait.recv_timeout(FLUSH_LIMIT);
    }
}

/// A fault or warning of the configuration.
pub fn diagnostic(diagnostic: &Diagnostic) {
    let text = diagnostic.to_string();
    match diagnostic.severity {
        Severity::Fault => tracing::error!("{}", text.trim_end()),
        Severity::Warning => tracing::warn!("{}", text.trim_end()),
    }
}

fn tell(word: Word) {
    let queue = QUEUE.get_or_init(|| {
        let (queue, words) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("log".to_owned());
        // Without a thread the queue is closed, and lines go to standard error only.
        let _none = thread.spawn(move || write(&words));
        queue
    });
    if queue.try_send(word).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// The log thread.
fn write(words: &Receiver<Word>) {
    signal::hold_back();
    let mut sink = Sink::new(&config::Log::default(), Path::new(SYSLOG));
    for word in words {
        match word {
            Word::Configure(log) => sink = Sink::new(&log, Path::new(SYSLOG)),
            Word::Reopen => sink.reopen(),
            Word::Flush(done) => drop(done.try_send(())),
            Word::Line(level, line) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    sink.line(Level::WARN, &format!("- WARN {lost} lines of the log were lost"));
                }
                sink.line(level, &line);
            }
        }
    }
}

/// The way into the queue.
struct Tee;

/// One line on its way; sent when dropped.
struct Line {
    level: Level,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Tee {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { level: Level::INFO, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        Line { level: *meta.level(), text: Vec::new() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if QUEUE.get().is_some() {
            self.text.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let line = String::from_utf8_lossy(&self.text).trim_end().to_owned();
            tell(Word::Line(self.level, line));
        }
    }
}
