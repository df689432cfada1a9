//! The directory: numbered files, the newest written at its end, the oldest removed.
//!
//! A crash may cut off the last line: the next writer ends it, and a reader leaves it out and says
//! so. A file whose head names another node or another cluster is neither read nor touched.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::journal::{self, Head, LINE_MAX, Record};

/// A file is ended when it is that long, in bytes: some three thousand records.
pub const FILE_LEN_MAX: u64 = 1024 * 1024;
/// So many files of records are kept: 8 MiB hold months of a quiet pair and days of a flapping one.
pub const FILES_MAX: usize = 8;
/// So many recordings are kept, of at most some 4 MiB each: one for each of the last role changes
/// that anybody will look into.
pub const RECORDINGS_MAX: usize = 8;

/// Where a node keeps its journal.
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("journal")
}

/// Files of one kind by their number.
fn numbered(directory: &Path, kind: &str) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(".jsonl"));
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            found.insert(number, path);
        }
    }
    Ok(found)
}

fn name(kind: &str, number: u64) -> String {
    format!("{kind}{number:08}.jsonl")
}

const EVENTS: &str = "events-";
const RECORDING: &str = "recording-";

/// The head of a file, where it has one that can be read.
fn head(path: &Path) -> io::Result<Option<Head>> {
    let mut line = Vec::new();
    let limited = File::open(path)?.take(LINE_MAX as u64);
    BufReader::new(limited).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line).ok())
}

/// What keeps a file from being ours, in words.
fn stranger(path: &Path, mine: &Head) -> Option<String> {
    let shown = path.display();
    match head(path) {
        Err(e) => Some(format!("{shown}: {e}")),
        Ok(None) => Some(format!("{shown}: it does not begin as a journal does")),
        Ok(Some(theirs)) if theirs.pairbeat_journal > journal::VERSION => {
            Some(format!("{shown}: written by a newer version"))
        }
        Ok(Some(theirs)) if theirs.cluster != mine.cluster || theirs.node != mine.node => {
            let [one, two] = &theirs.cluster;
            Some(format!("{shown}: journal of {} in the cluster of {one} and {two}", theirs.node))
        }
        Ok(Some(_)) => None,
    }
}

/// The file that is written now.
#[derive(Debug)]
struct Current {
    file: File,
    number: u64,
    len: u64,
}

/// The writing end of the directory. Blocks as long as the disk does.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    head: Head,
    current: Option<Current>,
    /// Files of strangers, in words.
    strangers: Vec<String>,
}

impl Files {
    /// Nothing is touched before the first line.
    pub fn new(directory: PathBuf, head: Head) -> Self {
        Self { directory, head, current: None, strangers: Vec::new() }
    }

    /// What lies there that is not ours, as it was found when a file was opened.
    pub fn strangers(&self) -> &[String] {
        &self.strangers
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The system's; then the line counts as lost, and the next one tries everything again.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let removed = |current: &Current| current.file.metadata().map_or(true, |m| m.nlink() == 0);
        if self.current.as_ref().is_some_and(removed) {
            self.current = None;
        }
        let current = match self.current.take() {
            Some(current) if current.len < FILE_LEN_MAX => current,
            Some(current) => self.begin(current.number + 1)?,
            None => self.open()?,
        };
        let current = self.current.insert(current);
        match current.file.write_all(line.as_bytes()) {
            Ok(()) => {
                current.len += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // What was written of it is cut off, here or by the next one who opens it.
                let _as_it_is = current.file.set_len(current.len);
                self.current = None;
                Err(error)
            }
        }
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&mut self) -> io::Result<()> {
        self.current.as_ref().map_or(Ok(()), |current| current.file.sync_data())
    }

    /// Goes on in the newest file of ours, or begins the first one.
    fn open(&mut self) -> io::Result<Current> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
        let mut present = numbered(&self.directory, EVENTS)?;
        let newest = present.keys().next_back().copied();
        self.strangers.clear();
        present.retain(|_, path| {
            let stranger = stranger(path, &self.head);
            let ours = stranger.is_none();
            self.strangers.extend(stranger);
            ours
        });
        let Some((number, path)) = present.pop_last().filter(|(n, _)| Some(*n) == newest) else {
            return self.begin(newest.unwrap_or(0) + 1);
        };
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut len = file.metadata()?.len();
        if !ends_a_line(&file, len)? {
            file.write_all(b"\n")?;
            len += 1;
        }
        Ok(Current { file, number, len })
    }

    /// A new file, and the oldest ones of ours go.
    fn begin(&self, number: u64) -> io::Result<Current> {
        let path = self.directory.join(name(EVENTS, number));
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create_new(true).mode(0o640).open(&path)?;
        let first = journal::line(&self.head);
        if let Err(error) = file.write_all(first.as_bytes()) {
            let _left_to_the_next = fs::remove_file(&path);
            return Err(error);
        }
        let mut ours: Vec<PathBuf> = numbered(&self.directory, EVENTS)?.into_values().collect();
        ours.retain(|path| stranger(path, &self.head).is_none());
        prune(&ours, FILES_MAX);
        Ok(Current { file, number, len: first.len() as u64 })
    }

    /// Writes a recording as a whole; a crash leaves all of it or nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn record(&self, text: &str) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
        let present = numbered(&self.directory, RECORDING)?;
        let number = present.keys().next_back().map_or(1, |newest| newest + 1);
        let path = self.directory.join(name(RECORDING, number));
        let new = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            let _left_to_the_next = fs::remove_file(&new);
        }
        written?;
        let all: Vec<PathBuf> = numbered(&self.directory, RECORDING)?.into_values().collect();
        prune(&all, RECORDINGS_MAX);
        Ok(path)
    }
}

fn prune(paths: &[PathBuf], kept: usize) {
    let surplus = paths.len().saturating_sub(kept);
    for path in paths.iter().take(surplus) {
        // It is tried again with the next file.
        let _stays = fs::remove_file(path);
    }
}

fn ends_a_line(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(place) = len.checked_sub(1) {
        file.read_exact_at(&mut last, place)?;
    }
    Ok(last == [b'\n'])
}

/// Everything that can be read of a journal.
#[derive(Debug, Default)]
pub struct Contents {
    /// Oldest first.
    pub records: Vec<Record>,
    /// What was left out and why, one sentence each.
    pub left_out: Vec<String>,
}

/// Reads every file of a directory. With a head, only files of that node and cluster.
///
/// # Errors
/// When the directory can't be listed.
pub fn read(directory: &Path, mine: Option<&Head>) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut paths: Vec<PathBuf> = numbered(directory, EVENTS)?.into_values().collect();
    if let Some(mine) = mine {
        paths.retain(|path| {
            let stranger = stranger(path, mine);
            let ours = stranger.is_none();
            contents.left_out.extend(stranger);
            ours
        });
    }
    for path in paths {
        if let Err(e) = read_file(&path, &mut contents) {
            contents.left_out.push(format!("{}: {e}", path.display()));
        }
    }
    Ok(contents)
}

fn read_file(path: &Path, contents: &mut Contents) -> io::Result<()> {
    let mut bytes = Vec::new();
    File::open(path)?.take(2 * FILE_LEN_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The head is no record and needs none to be read: a damaged one loses nothing more.
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let line = line.trim_end_matches('\n');
        match journal::parse(line) {
            Some(record) => contents.records.push(record),
            None if number == 1 || line.is_empty() => {}
            None => contents.left_out.push(format!("{}:{number}: damaged", path.display())),
        }
    }
    Ok(())
}

/// The oldest recording that was finished at or after a moment of the wall clock, in milliseconds
/// since 1970.
pub fn recording_of(directory: &Path, wall_ms: u64) -> Option<PathBuf> {
    let finished = |path: &PathBuf| {
        let modified = fs::metadata(path).and_then(|it| it.modified()).ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    };
    let present = numbered(directory, RECORDING).ok()?;
    present.into_values().find(|path| finished(path).is_some_and(|at| at >= wall_ms))
}

#[cfg(test)]
mod tests;
