//! What the records of a run amount to. Pure: no clock, no network.
//!
//! The words, beyond those of `prober.rs`:
//!
//! * `longest_gap_ms.by_answer`: the longest time in which no answer arrived, between two answers.
//!   `by_sending`: the longest time between the sendings of two successively sent requests that
//!   both were answered; what lies between failed. At rate r both are at least 1/r.
//! * A *mark* is an event at a known time. Its window ends at the next mark or with the run. A
//!   request belongs to it that ended after the mark and was sent before the window's end.
//! * `first_answer_ms`: mark to the answer of the first request, sent after the mark, that was answered.
//! * `restored_ms`: mark to the first answer of a request sent after the mark *and after every failed
//!   request of the window*; from there on all are answered. Null when there is none. This is
//!   the stricter of the two: after a crash the dead node's kernel may go on answering for some
//!   milliseconds, which is a first answer, but no recovery.
//! * `gap_ms`: the longest time without an answer that reaches into the window, the time before
//!   the window's first answer (from the last before it) and after its last included.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// One request: when it was sent, when it ended, and who answered or how it failed.
pub(crate) struct Record {
    pub(crate) sent: u64,
    pub(crate) ended: u64,
    pub(crate) outcome: Result<String, String>,
}

/// An event: when, and its name.
pub(crate) type Mark = (u64, String);

/// `NANOSECONDS NAME` a line, in any order; sorted by time.
pub(crate) fn read_marks(file: &Path) -> io::Result<Vec<Mark>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let mut marks = text
        .lines()
        .map(|line| {
            let (at, name) = line.split_once(' ')?;
            Some((at.parse().ok()?, name.to_owned()))
        })
        .collect::<Option<Vec<Mark>>>()
        .ok_or_else(|| io::Error::other("a line of the marks is not `NANOSECONDS NAME`"))?;
    marks.sort();
    Ok(marks)
}

#[derive(Serialize)]
pub(crate) struct Summary {
    count: usize,
    answered: usize,
    failed: usize,
    faults: BTreeMap<String, usize>,
    servers: BTreeMap<String, usize>,
    slowest_ms: f64,
    longest_gap_ms: Gaps,
    marks: Vec<AfterMark>,
}

#[derive(Serialize)]
struct Gaps {
    by_answer: f64,
    by_sending: f64,
}

#[derive(Serialize)]
pub(crate) struct AfterMark {
    name: String,
    at: u64,
    answered: usize,
    failed: usize,
    servers: BTreeMap<String, usize>,
    first_answer_ms: Option<f64>,
    restored_ms: Option<f64>,
    gap_ms: f64,
}

impl Summary {
    /// `records` in the order of sending, `marks` in that of time.
    pub(crate) fn of(records: &[Record], marks: &[Mark]) -> Self {
        let (answered, failed) = split(records);
        let mut answers: Vec<u64> = answered.iter().map(|record| record.ended).collect();
        answers.sort_unstable();
        let sendings: Vec<u64> = answered.iter().map(|record| record.sent).collect();
        let ends = marks.iter().skip(1).map(|mark| mark.0).chain([u64::MAX]);
        Self {
            count: records.len(),
            answered: answered.len(),
            failed: failed.len(),
            faults: tally(failed.iter().filter_map(|record| record.outcome.as_ref().err())),
            servers: tally(answered.iter().filter_map(|record| record.outcome.as_ref().ok())),
            slowest_ms: ms(answered.iter().map(|r| r.ended - r.sent).max().unwrap_or_default()),
            longest_gap_ms: Gaps {
                by_answer: ms(longest_step(&answers)),
                by_sending: ms(longest_step(&sendings)),
            },
            marks: marks.iter().zip(ends).map(|(mark, end)| after(mark, end, records)).collect(),
        }
    }
}

fn after(mark: &Mark, end: u64, records: &[Record]) -> AfterMark {
    let at = mark.0;
    let window = records.iter().filter(|record| record.ended >= at && record.sent < end);
    let (answered, failed): (Vec<&Record>, Vec<&Record>) =
        window.partition(|record| record.outcome.is_ok());
    let last_failed = failed.iter().map(|record| record.sent).max().unwrap_or_default();
    AfterMark {
        name: mark.1.clone(),
        at,
        answered: answered.len(),
        failed: failed.len(),
        servers: tally(answered.iter().filter_map(|record| record.outcome.as_ref().ok())),
        first_answer_ms: answer_after(at, at, &answered),
        restored_ms: answer_after(at, last_failed.saturating_add(1).max(at), &answered),
        gap_ms: ms(longest_silence(at, end, records)),
    }
}

/// Milliseconds from `at` to the first answer among the requests sent at `sent` or later.
fn answer_after(at: u64, sent: u64, answered: &[&Record]) -> Option<f64> {
    answered.iter().filter(|r| r.sent >= sent).map(|r| r.ended - at).min().map(ms)
}

/// The longest time without an answer that overlaps the time from `at` to `end`.
fn longest_silence(at: u64, end: u64, records: &[Record]) -> u64 {
    let Some(over) = records.iter().map(|record| record.ended).max() else { return 0 };
    let mut answers: Vec<u64> =
        records.iter().filter(|r| r.outcome.is_ok()).map(|r| r.ended).collect();
    answers.sort_unstable();
    let before = answers.iter().copied().filter(|&answer| answer < at).max().unwrap_or(at);
    let next = answers.iter().copied().find(|&answer| answer >= end).unwrap_or(over);
    let within = answers.into_iter().filter(|&answer| answer >= at && answer < end);
    let steps: Vec<u64> = [before].into_iter().chain(within).chain([next.max(before)]).collect();
    longest_step(&steps)
}

fn longest_step(times: &[u64]) -> u64 {
    times.iter().zip(times.iter().skip(1)).map(|(a, b)| b.saturating_sub(*a)).max().unwrap_or(0)
}

fn split(records: &[Record]) -> (Vec<&Record>, Vec<&Record>) {
    records.iter().partition(|record| record.outcome.is_ok())
}

fn tally<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

/// Rounded to microseconds, so that the text has three decimals at most.
fn ms(nanos: u64) -> f64 {
    (Duration::from_nanos(nanos).as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Record, Summary};

    const MS: u64 = 1_000_000;

    /// Times in milliseconds.
    fn ok(sent: u64, ended: u64) -> Record {
        Record { sent: sent * MS, ended: ended * MS, outcome: Ok("server106".to_owned()) }
    }

    fn failed(sent: u64, ended: u64) -> Record {
        Record { sent: sent * MS, ended: ended * MS, outcome: Err("timeout".to_owned()) }
    }

    fn near(value: f64, milliseconds: u32) -> bool {
        (value - f64::from(milliseconds)).abs() < 0.01
    }

    #[test]
    fn an_outage_is_measured_from_the_event_to_the_answer_after_the_last_failure() {
        let records = [
            ok(0, 1),
            ok(10, 11),
            ok(20, 21), // sent after the crash at 15, answered by the dead node's kernel
            failed(30, 930),
            failed(40, 940),
            ok(50, 53),
            ok(60, 61),
        ];
        let summary = Summary::of(&records, &[(15 * MS, "crash".to_owned())]);
        assert_eq!((summary.count, summary.answered, summary.failed), (7, 5, 2));
        assert!(near(summary.longest_gap_ms.by_answer, 32), "21 to 53");
        assert!(near(summary.longest_gap_ms.by_sending, 30), "20 to 50");
        let crash = &summary.marks[0];
        assert!(near(crash.first_answer_ms.unwrap(), 6), "15 to 21");
        assert!(near(crash.restored_ms.unwrap(), 38), "15 to 53");
        assert_eq!((crash.answered, crash.failed), (3, 2));
    }

    #[test]
    fn a_service_that_never_comes_back_is_never_restored() {
        let records = [ok(0, 1), failed(10, 910), failed(20, 920)];
        let summary = Summary::of(&records, &[(5 * MS, "crash".to_owned())]);
        assert!(summary.marks[0].restored_ms.is_none());
        assert!(near(summary.marks[0].gap_ms, 919), "the last answer to the end of the run");
    }

    #[test]
    fn a_mark_ends_the_window_of_the_one_before() {
        let records = [ok(0, 1), failed(10, 910), ok(20, 21), ok(30, 31), ok(990, 991)];
        let marks = [(5 * MS, "one".to_owned()), (950 * MS, "two".to_owned())];
        let summary = Summary::of(&records, &marks);
        assert_eq!(summary.marks[0].failed, 1);
        assert_eq!(summary.marks[1].failed, 0);
        assert!(near(summary.marks[1].restored_ms.unwrap(), 41));
    }
}
