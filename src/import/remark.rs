//! What became of a line that is not taken over as it is.

use std::fmt;
use std::path::{Path, PathBuf};

/// Most remarks: more than anybody reads. How many more there are is said.
const REMARKS_MAX: usize = 5_000;
/// Longest text of a remark, in bytes: what is quoted may be any nonsense.
const TEXT_MAX: usize = 400;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Done {
    /// Taken over with another meaning, or as the old program takes it.
    Changed,
    /// Has no equivalent.
    LeftOut,
    /// No word of that language.
    Unknown,
    /// Not in what was read; the value that stands there must be looked at.
    FillIn,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::LeftOut => "left out",
            Self::Unknown => "unknown",
            Self::FillIn => "fill in",
        })
    }
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where it was read.
    pub file: PathBuf,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    /// What was done.
    pub done: Done,
    /// A sentence.
    pub text: String,
}

/// `keepalived.conf:7: left out: ...`
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}: {}", self.done, self.text)
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

impl At {
    pub(super) fn new(file: &Path, line: usize) -> Self {
        Self { file: file.to_owned(), line }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        if self.line == 0 { write!(f, "{name}") } else { write!(f, "{name}:{}", self.line) }
    }
}

/// All of them, in the order in which they were made; none is there twice.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    list: Vec<Remark>,
    seen: std::collections::BTreeSet<(PathBuf, usize, String)>,
    more: usize,
}

impl Remarks {
    pub(super) fn add(&mut self, at: &At, done: Done, text: impl Into<String>) {
        let text: String = text.into();
        let mut text: String =
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if text.len() > TEXT_MAX {
            let end = (0..=TEXT_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push_str("...");
        }
        if !self.seen.insert((at.file.clone(), at.line, text.clone())) {
            return;
        }
        if self.list.len() >= REMARKS_MAX {
            self.more += 1;
            return;
        }
        self.list.push(Remark { file: at.file.clone(), line: at.line, done, text });
    }

    pub(super) fn changed(&mut self, at: &At, text: impl Into<String>) {
        self.add(at, Done::Changed, text);
    }

    pub(super) fn left_out(&mut self, at: &At, text: impl Into<String>) {
        self.add(at, Done::LeftOut, text);
    }

    pub(super) fn unknown(&mut self, at: &At, text: impl Into<String>) {
        self.add(at, Done::Unknown, text);
    }

    pub(super) fn fill_in(&mut self, at: &At, text: impl Into<String>) {
        self.add(at, Done::FillIn, text);
    }

    /// By file and line; what has to be filled in is last.
    pub(super) fn into_list(mut self) -> Vec<Remark> {
        let mut files: Vec<PathBuf> = Vec::new();
        for remark in &self.list {
            if !files.contains(&remark.file) {
                files.push(remark.file.clone());
            }
        }
        self.list.sort_by_key(|remark| {
            let file = files.iter().position(|file| *file == remark.file);
            (remark.done == Done::FillIn, file, remark.line)
        });
        if let (Some(file), more @ 1..) = (files.first(), self.more) {
            let text = format!("{more} more lines, beyond the first {REMARKS_MAX}");
            let file = file.clone();
            self.list.push(Remark { file, line: 0, done: Done::LeftOut, text });
        }
        self.list
    }
}
