//! Faults and warnings that point: file, line, column, what is wrong and what to do.
//!
//! Every reader has one [`Faults`] for its file and never stops at the first fault. Rules that
//! hold across files use a [`Mark`], which outlives the text it was made from. This module knows
//! no format and no severity policy; it also never prints, it only renders.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most diagnostics kept for one file; a file that is something else altogether (a picture, a
/// log) would otherwise give one for every line.
pub const DIAGNOSTICS_MAX: usize = 500;

/// Longest excerpt, in characters; what is beyond does not fit on a screen.
const EXCERPT_MAX: usize = 160;

/// Longest message and longest advice, in characters; words of the file are quoted in them.
const SENTENCE_MAX: usize = 600;

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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One file names another, so a name may be anything too.
        write!(f, "{}", visible(&self.file.display().to_string()))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs with this.
    Fault,
    /// It runs; the operator should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
        })
    }
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

impl Diagnostic {
    /// A diagnostic at a mark.
    pub fn new(severity: Severity, mark: Mark, message: impl Into<String>) -> Self {
        let Mark { place, excerpt } = mark;
        Self { severity, place, message: visible(&message.into()), help: None, excerpt }
    }

    /// Says what to do about it.
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(visible(&help.into()));
    }

    /// Does not show the line: there is a secret in it.
    pub fn conceal(&mut self) {
        self.excerpt = None;
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help(help);
        self
    }
}

/// As the operator sees it, several lines without the last line feed:
///
/// ```text
/// ha.cf:2:10: fault: `ten` is not a time
///     2 | deadtime ten # sic
///       |          ^^^
///       = help: seconds, or milliseconds with `ms`: `2`, `500ms`
/// ```
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)?;
        if let Some((line, width)) = &self.excerpt {
            write!(f, "\n{:>5} | {line}", self.place.line)?;
            // A marker far beyond the excerpt helps nobody, and a width over 65,535 is a panic.
            if (1..=EXCERPT_MAX).contains(&self.place.column) {
                let blank = self.place.column - 1;
                write!(f, "\n      | {:blank$}{:^<width$}", "", "", width = (*width).max(1))?;
            }
        }
        if let Some(help) = &self.help {
            write!(f, "\n      = help: {help}")?;
        }
        Ok(())
    }
}

/// A place together with the line it is in, for diagnostics made when the text is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub place: Place,
    /// As in [`Diagnostic::excerpt`].
    pub excerpt: Option<(String, usize)>,
}

impl Mark {
    /// A file as a whole.
    pub fn file(file: &Path) -> Self {
        Self { place: Place { file: file.to_owned(), line: 0, column: 0 }, excerpt: None }
    }

    /// A fault here.
    pub fn fault(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Fault, self.clone(), message)
    }

    /// A warning here.
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Severity::Warning, self.clone(), message)
    }
}

/// A part of a text, in bytes. Empty: the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
}

impl Span {
    /// The file as a whole.
    pub const FILE: Self = Self { start: 0, end: 0 };
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A piece of text and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The text.
    pub text: &'a str,
    /// Its first byte in the file.
    pub start: usize,
}

impl<'a> Word<'a> {
    /// Its place.
    pub fn span(&self) -> Span {
        Span { start: self.start, end: self.start + self.text.len() }
    }

    /// The part `range` of it; empty when that is not within.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Word<'a> {
        let start = self.start + range.start;
        Word { text: self.text.get(range).unwrap_or_default(), start }
    }

    /// Without blanks at either end.
    #[must_use]
    pub fn trim(&self) -> Word<'a> {
        let start = self.text.len() - self.text.trim_start().len();
        self.part(start..start + self.text.trim().len())
    }

    /// What stands behind the prefix, if it begins so.
    pub fn strip_prefix(&self, prefix: &str) -> Option<Word<'a>> {
        self.text.starts_with(prefix).then(|| self.part(prefix.len()..self.text.len()))
    }

    /// Both sides of the first `separator`.
    pub fn split_once(&self, separator: &str) -> Option<(Word<'a>, Word<'a>)> {
        let at = self.text.find(separator)?;
        Some((self.part(0..at), self.part(at + separator.len()..self.text.len())))
    }

    /// The pieces around each `separator`, empty ones too: one more than there are of it.
    pub fn pieces(&self, separator: &str) -> Vec<Word<'a>> {
        let mut pieces = Vec::new();
        let mut rest = *self;
        while let Some((piece, more)) = rest.split_once(separator) {
            pieces.push(piece);
            rest = more;
        }
        pieces.push(rest);
        pieces
    }

    /// The pieces between the characters that `separator` is true for, without empty ones.
    pub fn split(&self, separator: fn(char) -> bool) -> Vec<Word<'a>> {
        let mut words = Vec::new();
        let mut rest = *self;
        loop {
            let skip = rest.text.len() - rest.text.trim_start_matches(separator).len();
            rest = rest.part(skip..rest.text.len());
            if rest.text.is_empty() {
                return words;
            }
            let end = rest.text.find(separator).unwrap_or(rest.text.len());
            words.push(rest.part(0..end));
            rest = rest.part(end..rest.text.len());
        }
    }
}

/// The lines of a text, without their ends (`\n` or `\r\n`).
pub fn lines(text: &str) -> impl Iterator<Item = Word<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let word = Word { text: line.trim_end_matches(['\n', '\r']), start };
        start += line.len();
        word
    })
}

/// Whether excerpts may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excerpts {
    /// The line is shown.
    Shown,
    /// The file holds secrets: places only.
    Hidden,
}

/// How far back the same at the same place is looked for.
const AGAIN_MAX: usize = 8;

/// Collects everything that is wrong with one file.
#[derive(Debug)]
pub struct Faults<'a> {
    file: &'a Path,
    text: &'a str,
    excerpts: Excerpts,
    found: Vec<(usize, Diagnostic)>,
    /// Takes the place of what is over the limit.
    spill: Diagnostic,
    spilled: usize,
    /// Lines that are never shown.
    hidden: Vec<Span>,
    /// What was said once: where in `found`, and how often it would have been said again.
    once: BTreeMap<&'static str, (usize, usize)>,
}

impl<'a> Faults<'a> {
    /// For a file that is shown as `file` and reads `text`.
    pub fn new(file: &'a Path, text: &'a str, excerpts: Excerpts) -> Self {
        let spill = Mark::file(file).warning("");
        let (found, hidden) = (Vec::new(), Vec::new());
        Self { file, text, excerpts, found, spill, spilled: 0, hidden, once: BTreeMap::new() }
    }

    /// Never shows the lines of `span` from now on: there is a secret in them.
    pub fn hide(&mut self, span: impl Into<Span>) {
        self.hidden.push(span.into());
    }

    /// A warning about something that may be there a thousand times: said where it is first, and
    /// how often it is there. The result is `None` from the second time on.
    pub fn warn_once(
        &mut self,
        span: impl Into<Span>,
        message: &'static str,
    ) -> Option<&mut Diagnostic> {
        if let Some((_, again)) = self.once.get_mut(message) {
            *again += 1;
            return None;
        }
        self.once.insert(message, (self.found.len(), 0));
        Some(self.warn(span, message))
    }

    /// Something that nothing runs with. The result takes advice ([`Diagnostic::help`]).
    pub fn fault(&mut self, span: impl Into<Span>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Fault, span.into(), message.into())
    }

    /// Something that the operator should know.
    pub fn warn(&mut self, span: impl Into<Span>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, span.into(), message.into())
    }

    fn add(&mut self, severity: Severity, span: Span, message: String) -> &mut Diagnostic {
        let diagnostic = Diagnostic::new(severity, self.mark(span), message);
        // The same at the same place is said once: each server of a service finds it again.
        let again = |(_, other): &(usize, Diagnostic)| {
            (other.severity, &other.place, &other.message)
                == (severity, &diagnostic.place, &diagnostic.message)
        };
        let recent = self.found.len().saturating_sub(AGAIN_MAX);
        let said = self.found.iter().skip(recent).position(again);
        let at = said.map_or(self.found.len(), |said| recent + said);
        // Warnings are dropped first: there must be a fault left where there was one.
        let limit = match severity {
            Severity::Warning => DIAGNOSTICS_MAX,
            Severity::Fault => 2 * DIAGNOSTICS_MAX,
        };
        if at >= limit {
            self.spilled += 1;
            return &mut self.spill;
        }
        if at == self.found.len() {
            self.found.push((span.start, diagnostic));
        }
        match self.found.get_mut(at) {
            Some((_, diagnostic)) => diagnostic,
            None => &mut self.spill,
        }
    }

    /// A mark for `span`, for later.
    pub fn mark(&self, span: impl Into<Span>) -> Mark {
        let span = span.into();
        if span == Span::FILE {
            return Mark::file(self.file);
        }
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end).max(start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let number = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let line = self.text.get(line_start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default().trim_end();
        let meant = self.text.get(start..end).unwrap_or_default();
        let meant = meant.split('\n').next().unwrap_or_default().trim_end();
        let line_end = line_start + line.len();
        let hidden = self.hidden.iter().any(|s| s.start <= line_end && line_start < s.end);
        let excerpt = match self.excerpts {
            Excerpts::Hidden => None,
            Excerpts::Shown if hidden => None,
            Excerpts::Shown => Some((shown(line), shown_width(column, meant))),
        };
        Mark { place: Place { file: self.file.to_owned(), line: number, column }, excerpt }
    }

    /// Takes over diagnostics that were made from marks of this file.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        self.found.extend(more.into_iter().map(|diagnostic| (usize::MAX, diagnostic)));
    }

    /// How many faults there are so far; warnings do not count.
    pub fn count(&self) -> usize {
        self.found.iter().filter(|(_, found)| found.severity == Severity::Fault).count()
    }

    /// Everything found, in the order of the file.
    pub fn into_list(mut self) -> Vec<Diagnostic> {
        for (at, again) in self.once.into_values().filter(|(_, again)| *again > 0) {
            if let Some((_, diagnostic)) = self.found.get_mut(at) {
                let times = if again == 1 { "once" } else { "times" };
                let count = if again == 1 { String::new() } else { format!("{again} ") };
                diagnostic.message = format!("{} ({count}{times} more below)", diagnostic.message);
            }
        }
        self.found.sort_by_key(|(start, _)| *start);
        // A value that several services take over is read several times.
        self.found.dedup();
        let mut list: Vec<_> = self.found.into_iter().map(|(_, found)| found).collect();
        if self.spilled > 0 {
            let message = format!("{} more warnings and faults are not shown", self.spilled);
            list.push(Mark::file(self.file).warning(message));
        }
        list
    }
}

/// A sentence as it may go to a terminal and into a log line: what it quotes may be anything.
fn visible(text: &str) -> String {
    let mut visible: String = text
        .chars()
        .take(SENTENCE_MAX)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if text.chars().nth(SENTENCE_MAX).is_some() {
        visible.push('…');
    }
    visible
}

/// A line as it may go to a terminal: tabs and control characters are one blank each, so that
/// the marker stands right and no escape sequence gets through.
fn shown(line: &str) -> String {
    line.chars().take(EXCERPT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shown_width(column: usize, meant: &str) -> usize {
    meant.chars().count().min((EXCERPT_MAX + 1).saturating_sub(column)).max(1)
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The known name that was probably meant: at most a third of it differs.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance * 3 <= name.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Optimal string alignment distance: insertions, deletions, changes, swapped neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&above, j) + usize::from(ca != cb);
            let mut best = changed.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0
                && j > 0
                && a.get(i.wrapping_sub(1)) == Some(cb)
                && b.get(j.wrapping_sub(1)) == Some(ca);
            if swapped {
                best = best.min(at(&before, j.wrapping_sub(1)) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, span: Range<usize>) -> String {
        let mut faults = Faults::new(Path::new("ha.cf"), text, Excerpts::Shown);
        faults.fault(span, "wrong").help("right");
        faults.into_list().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_fault_shows_line_column_and_marker() {
        assert_eq!(
            rendered("node a\n\tdeadtime ten # sic\r\n", 17..20),
            "ha.cf:2:11: fault: wrong\n    2 |  deadtime ten # sic\n      \
             |           ^^^\n      = help: right"
        );
    }

    #[test]
    fn columns_count_characters_and_escapes_do_not_reach_the_terminal() {
        assert_eq!(
            rendered("é\u{1b}[2Jx", 6..7),
            "ha.cf:1:6: fault: wrong\n    1 | é [2Jx\n      |      ^\n      = help: right"
        );
    }

    #[test]
    fn a_fault_far_to_the_right_has_no_marker_and_is_shown_all_the_same() {
        // Wider than what a width in a format string may be.
        let blanks = 1 << 16;
        let text = " ".repeat(blanks) + "x";
        let excerpt = " ".repeat(EXCERPT_MAX);
        assert_eq!(
            rendered(&text, blanks..blanks + 1),
            format!("ha.cf:1:65537: fault: wrong\n    1 | {excerpt}\n      = help: right")
        );
    }

    #[test]
    fn a_file_name_that_a_file_gave_is_shown_without_escapes() {
        let fault = Mark::file(Path::new("a\u{1b}[2J\n\u{2}")).fault("cannot read");
        assert_eq!(fault.to_string(), "a\u{fffd}[2J\u{fffd}\u{fffd}: fault: cannot read");
    }

    #[test]
    fn a_span_outside_of_the_text_is_harmless() {
        assert!(rendered("é", 1..99).starts_with("ha.cf:1:1: fault"));
        assert!(rendered("", 5..9).starts_with("ha.cf:1:1: fault"));
    }

    #[test]
    fn a_secret_file_is_never_quoted() {
        let mut faults = Faults::new(Path::new("authkeys"), "1 sha1 secret", Excerpts::Hidden);
        faults.warn(7..13, "short");
        let list = faults.into_list();
        assert_eq!(list[0].to_string(), "authkeys:1:8: warning: short");
    }

    #[test]
    fn a_hidden_line_is_never_quoted_and_the_others_are() {
        let text = "a=1\npasswd=x\nb=2\n";
        let mut faults = Faults::new(Path::new("f"), text, Excerpts::Shown);
        faults.hide(4..12);
        for at in [0, 4, 11, 13] {
            faults.fault(at..at + 1, "wrong");
        }
        let shown: Vec<_> = faults.into_list().iter().map(|d| d.excerpt.is_some()).collect();
        assert_eq!(shown, [true, false, false, true]);
    }

    #[test]
    fn what_is_said_once_says_how_often_it_is_so() {
        let mut faults = Faults::new(Path::new("f"), "a b c", Excerpts::Shown);
        let mut said = Vec::new();
        for at in [0, 2, 4] {
            said.push(faults.warn_once(at..at + 1, "odd").is_some());
        }
        faults.warn_once(0..1, "single");
        let list: Vec<_> = faults.into_list().into_iter().map(|d| d.message).collect();
        assert_eq!(list, ["odd (2 times more below)", "single"]);
        assert_eq!(said, [true, false, false]);
    }

    #[test]
    fn diagnostics_come_in_the_order_of_the_file() {
        let mut faults = Faults::new(Path::new("f"), "a b c", Excerpts::Shown);
        faults.warn(4..5, "third");
        faults.fault(Span::FILE, "first");
        faults.fault(2..3, "second");
        let order: Vec<_> = faults.into_list().into_iter().map(|d| d.message).collect();
        assert_eq!(order, ["first", "second", "third"]);
    }

    #[test]
    fn the_number_of_diagnostics_is_bounded_but_faults_come_before_warnings() {
        let mut faults = Faults::new(Path::new("f"), "a", Excerpts::Shown);
        for number in 0..DIAGNOSTICS_MAX * 3 {
            faults.warn(0..1, number.to_string());
        }
        faults.fault(0..1, "f");
        let list = faults.into_list();
        assert_eq!(list.len(), DIAGNOSTICS_MAX + 2);
        assert_eq!(list.last().unwrap().message, "1000 more warnings and faults are not shown");
        assert!(list.iter().any(|d| d.severity == Severity::Fault));
    }

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let known = ["node", "keepalive", "deadtime"];
        for (word, want) in [
            ("ndoe", Some("node")),
            ("nodes", Some("node")),
            ("Node", Some("node")),
            ("keep-alive", Some("keepalive")),
            ("dead_time", Some("deadtime")),
            ("xyz", None),
        ] {
            assert_eq!(nearest(word, known), want, "{word}");
        }
    }
}
