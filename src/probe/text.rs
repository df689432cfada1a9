//! A text is sent, and a line of the answer must match: ldirectord's simpletcp, and plain UDP.

use regex::bytes::Regex;

use super::datagram::Conversation;
use super::lines::{Limits, Lines};
use super::stream::open;
use super::{Phase, Run};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::{TextCheck, Transport};

/// For answers of which we know nothing: as much as of a page of HTTP.
pub(super) const ANSWER: Limits = Limits { line: 64 * 1024, lines: 10_000, total: 1024 * 1024 };

/// Sends the text and judges the answer.
pub(super) async fn check(check: &TextCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let pattern = run.context.receive(check.receive.as_deref())?;
    match check.transport {
        Transport::Tcp => over_tcp(check, run, pattern).await,
        Transport::Udp => {
            let judge = |answer: &[u8]| Some(judge(answer, pattern));
            Conversation::open(run).await?.ask(check.send.as_bytes(), judge).await
        }
    }
}

/// What a datagram says: one of its lines must match.
pub(super) fn judge(answer: &[u8], pattern: Option<&Regex>) -> Result<(), CheckFailure> {
    let mut lines = answer.split(|byte| *byte == b'\n');
    match pattern {
        Some(pattern) if !lines.any(|line| is_match(pattern, line)) => missing(pattern),
        _ => Ok(()),
    }
}

async fn over_tcp(
    check: &TextCheck,
    run: &Run<'_>,
    pattern: Option<&Regex>,
) -> Result<(), CheckFailure> {
    let mut lines = Lines::new(open(run, None, None).await?, ANSWER, run.deadline);
    lines.say(&check.send, Phase::Answer).await?;
    if check.half_close {
        lines.finish(Phase::Answer).await?;
    }
    answered(&mut lines, pattern).await
}

/// Reads lines until one matches.
pub(super) async fn answered(
    lines: &mut Lines,
    pattern: Option<&Regex>,
) -> Result<(), CheckFailure> {
    let mut is_silent = true;
    while let Some(line) = lines.text(Phase::Answer).await? {
        is_silent = false;
        if pattern.is_none_or(|pattern| is_match(pattern, &line)) {
            return Ok(());
        }
    }
    match pattern {
        Some(pattern) if !is_silent => missing(pattern),
        _ => Err(CheckFailure::Closed),
    }
}

fn is_match(pattern: &Regex, line: &[u8]) -> bool {
    pattern.is_match(line.strip_suffix(b"\r").unwrap_or(line))
}

fn missing(pattern: &Regex) -> Result<(), CheckFailure> {
    Err(CheckFailure::NoMatch(pattern.as_str().to_owned()))
}
