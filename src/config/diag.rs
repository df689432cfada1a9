//! Faults and warnings that point: file, line, column, what is wrong and what to do.

use std::path::PathBuf;

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As it is to be shown.
    pub file: PathBuf,
    /// 0: the file as a whole.
    pub line: usize,
    /// 0: the line as a whole.
    pub column: usize,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs with this.
    Fault,
    /// It runs; the operator should know.
    Warning,
}

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong, one line, lower case, no full stop.
    pub message: String,
    /// What to do, where there is something to do.
    pub help: Option<String>,
    /// The line itself and how many characters of it are meant, for the marker below it.
    pub excerpt: Option<(String, usize)>,
}
