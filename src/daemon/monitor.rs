//! Writes a line for each check to the files that services want it in (`monitorfile`).
//!
//! A thread of its own waits for the disk; the director never does. A file is opened anew for each
//! batch of lines, so that one that was put aside (logrotate(8)) goes on under its name.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

use crate::sys::calendar::Moment;
use crate::sys::{clock, signal};

/// Lines that wait for the disk: of 10,000 checks a second's worth and more, two megabytes.
const QUEUE_MAX: usize = 16_384;
/// Lines that are written at once.
const BATCH_MAX: usize = 4096;
/// Longest wait for what is still in the queue when the director ends.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Lines for it, and its end.
type Thread = (SyncSender<(PathBuf, String)>, Receiver<()>);

/// The way to the thread, which begins with the first line.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    thread: Option<Thread>,
    /// Lines that had no room since that was said.
    lost: usize,
}

impl Monitor {
    /// Puts a line on its way; one for which there is no room is counted. Never waits.
    pub(super) fn put(&mut self, file: PathBuf, line: &str) {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => match begin() {
                Ok(thread) => self.thread.insert(thread),
                Err(e) => return warn!("{}: no thread to write it: {e}", file.display()),
            },
        };
        let line = stamped(clock::wall(), line);
        match thread.0.try_send((file, line)) {
            Ok(()) if self.lost > 0 => {
                warn!("the disk was slow: {} lines on checks are lost", self.lost);
                self.lost = 0;
            }
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Waits a moment for what is on its way.
    pub(super) fn close(&mut self) {
        self.close_within(CLOSE_MAX);
    }

    fn close_within(&mut self, limit: Duration) {
        if let Some((lines, done)) = self.thread.take() {
            drop(lines);
            let _bounded = done.recv_timeout(limit);
        }
    }
}

/// As ldirectord writes it: `[Sat Nov  7 23:55:29 2026] [1234] LINE`.
fn stamped(wall: Duration, line: &str) -> String {
    format!("[{}] [{}] {line}\n", Moment::local(wall).asctime(), std::process::id())
}

fn begin() -> io::Result<Thread> {
    let (lines, taken) = sync_channel(QUEUE_MAX);
    let (end, done) = sync_channel(1);
    thread::Builder::new().name("monitor".to_owned()).spawn(move || {
        signal::hold_back();
        work(&taken);
        // Nobody waits when the process ends without patience.
        let _gone = end.send(());
    })?;
    Ok((lines, done))
}

fn work(lines: &Receiver<(PathBuf, String)>) {
    let mut faulty: BTreeMap<PathBuf, String> = BTreeMap::new();
    while let Ok(first) = lines.recv() {
        let mut batch: BTreeMap<PathBuf, String> = BTreeMap::new();
        let more = std::iter::from_fn(|| lines.try_recv().ok());
        for (file, line) in std::iter::once(first).chain(more).take(BATCH_MAX) {
            batch.entry(file).or_default().push_str(&line);
        }
        for (file, text) in batch {
            let error = append(&file, &text).err().map(|e| e.to_string());
            say(&mut faulty, file, error);
        }
    }
}

/// A fault is said once, and its end.
fn say(faulty: &mut BTreeMap<PathBuf, String>, file: PathBuf, error: Option<String>) {
    match error {
        Some(why) if faulty.get(&file) != Some(&why) => {
            warn!("{}: {why}; checks are not written there", file.display());
            faulty.insert(file, why);
        }
        Some(_) => {}
        None => {
            if faulty.remove(&file).is_some() {
                info!("{}: checks are written there again", file.display());
            }
        }
    }
}

/// In one call, so that the lines of several processes do not mix (`O_APPEND`). A pipe without a
/// reader is a fault, not a wait.
fn append(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::scratch::Scratch;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn lines_are_appended_with_their_time_and_a_file_that_is_put_aside_is_made_anew() {
        let place = Scratch::new("append");
        let file = place.join("checks");
        for turn in ["first", "second"] {
            let mut monitor = Monitor::default();
            monitor.put(file.clone(), &format!("{turn} [up] -"));
            monitor.put(file.clone(), "connect [down] connection refused");
            monitor.close_within(PATIENCE);
            let text = std::fs::read_to_string(&file).unwrap();
            let own = format!("] [{}] ", std::process::id());
            let lines: Vec<&str> =
                text.lines().filter_map(|line| line.split_once(&own)).map(|it| it.1).collect();
            assert_eq!(lines, [&format!("{turn} [up] -"), "connect [down] connection refused"]);
            std::fs::rename(&file, place.join("aside")).unwrap();
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_once_and_keeps_no_other_from_being_written() {
        let place = Scratch::new("fault");
        let mut faulty = BTreeMap::new();
        for (error, known) in [(Some("full"), 1), (Some("full"), 1), (None, 0)] {
            say(&mut faulty, place.join("x"), error.map(str::to_owned));
            assert_eq!(faulty.len(), known);
        }
        let mut monitor = Monitor::default();
        // A directory can't be appended to.
        monitor.put(place.to_owned(), "lost");
        monitor.put(place.join("checks"), "kept");
        monitor.close_within(PATIENCE);
        let text = std::fs::read_to_string(place.join("checks")).unwrap();
        assert!(text.ends_with(" kept\n"), "{text}");
    }
}
