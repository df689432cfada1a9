//! The thread that writes. Others only put lines into a bounded queue and never wait.
//!
//! Synced to the disk (`fdatasync`) after each batch that has a role change or something graver than
//! information in it; the rest is the kernel's to write back in its time.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use crate::cluster::recording::Recording;
use crate::store::files::Files;

/// Lines that wait for the disk: some minutes of a pair in trouble, half a megabyte.
pub const QUEUE_MAX: usize = 1024;
/// Lines written between two looks at whether to sync.
const BATCH_MAX: usize = 64;
/// Longest wait for what is still in the queue when the process ends.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// What the thread needs of a disk; [`Files`] is the real one.
pub trait Disk: Send + 'static {
    /// Appends a line.
    ///
    /// # Errors
    /// The line is lost.
    fn append(&mut self, line: &str) -> io::Result<()>;
    /// Waits for the disk.
    ///
    /// # Errors
    /// What was appended may not survive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes a recording as a file of its own.
    ///
    /// # Errors
    /// It is lost.
    fn record(&mut self, text: &str) -> io::Result<PathBuf>;
    /// Files that are not ours.
    fn strangers(&self) -> Vec<String>;
}

impl Disk for Files {
    fn append(&mut self, line: &str) -> io::Result<()> {
        Self::append(self, line)
    }

    fn sync(&mut self) -> io::Result<()> {
        Self::sync(self)
    }

    fn record(&mut self, text: &str) -> io::Result<PathBuf> {
        Self::record(self, text)
    }

    fn strangers(&self) -> Vec<String> {
        Self::strangers(self).to_vec()
    }
}

enum Job {
    Line(String, bool),
    Recording(Recording, Option<SyncSender<io::Result<PathBuf>>>),
}

/// How the journal stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Records in the files since the start.
    pub written: u64,
    /// Records that are not, since the start.
    pub dropped: u64,
    /// Why not, the last time; gone when a record was written again.
    pub error: Option<String>,
    /// Why records were dropped, the last time; stays.
    pub last_error: Option<String>,
    /// Files that are not ours, in words.
    pub strangers: Vec<String>,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Writer {
    jobs: Option<SyncSender<Job>>,
    standing: Arc<Mutex<Standing>>,
    done: Receiver<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn spawn(disk: impl Disk) -> io::Result<Self> {
        let (jobs, taken) = mpsc::sync_channel(QUEUE_MAX);
        let (end, done) = mpsc::sync_channel(1);
        let standing = Arc::new(Mutex::new(Standing::default()));
        let seen = Arc::clone(&standing);
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            work(disk, &taken, &seen);
            // Nobody waits when the process is ending without patience.
            let _gone = end.send(());
        })?;
        Ok(Self { jobs: Some(jobs), standing, done })
    }

    /// Puts a line on its way; dropped and counted when too many wait. Never waits.
    pub fn put(&self, line: String, sync: bool) {
        let Some(jobs) = &self.jobs else { return };
        match jobs.try_send(Job::Line(line, sync)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                lost(&self.standing, &format!("the disk is slow: {QUEUE_MAX} records wait for it"));
            }
            Err(TrySendError::Disconnected(_)) => {
                lost(&self.standing, "the journal's thread has ended");
            }
        }
    }

    /// Puts a recording on its way. Its end can be waited for; nobody must.
    pub fn record(&self, recording: Recording) -> Receiver<io::Result<PathBuf>> {
        let (tell, told) = mpsc::sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // A dropped one is seen as a closed channel.
            let _dropped = jobs.try_send(Job::Recording(recording, Some(tell)));
        }
        told
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        locked(&self.standing).clone()
    }

    /// Waits a moment for what is still on its way.
    pub fn close(&mut self) {
        self.jobs = None;
        match self.done.recv_timeout(CLOSE_MAX) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

fn locked(standing: &Mutex<Standing>) -> MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(standing: &Mutex<Standing>, why: &str) {
    let mut standing = locked(standing);
    standing.dropped += 1;
    standing.error = Some(why.to_owned());
    standing.last_error = Some(why.to_owned());
}

fn work(mut disk: impl Disk, jobs: &Receiver<Job>, standing: &Mutex<Standing>) {
    while let Ok(first) = jobs.recv() {
        let batch = std::iter::once(first).chain(jobs.try_iter().take(BATCH_MAX - 1));
        let mut sync = false;
        for job in batch {
            match job {
                Job::Line(line, grave) => {
                    sync |= grave;
                    note(standing, disk.append(&line));
                }
                Job::Recording(recording, tell) => {
                    let written = disk.record(&recording.to_text());
                    if let Some(tell) = tell {
                        let _nobody_waits = tell.send(written);
                    }
                }
            }
        }
        locked(standing).strangers = disk.strangers();
        if let (true, Err(e)) = (sync, disk.sync()) {
            let mut standing = locked(standing);
            standing.error = Some(format!("fdatasync: {e}"));
            standing.last_error = Some(format!("fdatasync: {e}"));
        }
    }
}

fn note(standing: &Mutex<Standing>, written: io::Result<()>) {
    match written {
        Ok(()) => {
            let mut standing = locked(standing);
            standing.written += 1;
            standing.error = None;
        }
        Err(e) => lost(standing, &e.to_string()),
    }
}

#[cfg(test)]
mod tests;
