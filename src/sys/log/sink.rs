//! Where lines of the log end up: files that are bounded and can be put aside, and syslog.
//!
//! Runs on the log thread alone. What can't be written is lost, for the log must not take anything
//! down with it; standard error has every line too.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::Level;

use crate::config;

/// A file of this length is put aside as FILE.1, in the place of the one before.
const FILE_LEN_MAX: u64 = 64 << 20;
/// Longest message to syslog; the daemons cut at 1 to 8 KiB.
const SYSLOG_LEN_MAX: usize = 1024;

/// Files and syslog, as configured.
pub(super) struct Sink {
    files: Vec<LogFile>,
    syslog: Option<Syslog>,
}

impl Sink {
    /// `syslog` is the socket of the log daemon, used when a facility is configured.
    pub(super) fn new(log: &config::Log, syslog: &Path) -> Self {
        let file = |path: &Option<PathBuf>, level| {
            let path = path.clone()?;
            Some(LogFile { file: open(&path), path, level })
        };
        let files = [file(&log.file, Level::INFO), file(&log.debug_file, Level::TRACE)];
        let syslog = log.facility.map(|facility| Syslog {
            path: syslog.to_owned(),
            facility: facility.number,
            socket: None,
        });
        Self { files: files.into_iter().flatten().collect(), syslog }
    }

    /// One line as on standard error: timestamp, level, text; or several.
    pub(super) fn line(&mut self, level: Level, line: &str) {
        for file in &mut self.files {
            if level <= file.level {
                file.write(line);
            }
        }
        if let Some(syslog) = &mut self.syslog {
            // The daemon puts its own time in front.
            let text = line.split_once(' ').map_or(line, |(_, text)| text.trim_start());
            text.lines().for_each(|text| syslog.send(level, text));
        }
    }

    pub(super) fn reopen(&mut self) {
        for file in &mut self.files {
            file.file = open(&file.path);
        }
    }
}

struct LogFile {
    path: PathBuf,
    level: Level,
    file: Option<File>,
}

fn open(path: &Path) -> Option<File> {
    File::options().create(true).append(true).mode(0o640).open(path).ok()
}

impl LogFile {
    fn write(&mut self, line: &str) {
        if self.file.as_ref().is_none_or(is_full) {
            self.file = open(&self.path);
        }
        // Somebody else may have put it aside meanwhile: all processes of the daemon write there.
        if self.file.as_ref().is_some_and(is_full) {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            let _may_not = std::fs::rename(&self.path, aside);
            self.file = open(&self.path);
        }
        if let Some(file) = self.file.as_mut().filter(|file| !is_full(file)) {
            // One call, so that lines of several processes do not mix (O_APPEND).
            let _full_disk = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn is_full(file: &File) -> bool {
    file.metadata().is_ok_and(|meta| meta.len() >= FILE_LEN_MAX)
}

struct Syslog {
    path: PathBuf,
    facility: u8,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// As syslog(3) does: `<PRIORITY>TAG[PID]: TEXT`. Tried twice, for the daemon may have started
    /// anew.
    fn send(&mut self, level: Level, text: &str) {
        let severity = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let priority = u32::from(self.facility) * 8 + severity;
        let message = format!("<{priority}>pairbeat[{}]: {text}", std::process::id());
        let message = message.as_bytes();
        let message = message.get(..SYSLOG_LEN_MAX).unwrap_or(message);
        for _ in 0..2 {
            let socket = self.socket.take().or_else(|| connected(&self.path));
            if let Some(socket) = socket
                && socket.send(message).is_ok()
            {
                self.socket = Some(socket);
                return;
            }
        }
    }
}

fn connected(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests;
