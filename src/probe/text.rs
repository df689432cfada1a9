//! A text is sent, and a line of the answer must match: ldirectord's simpletcp, and plain UDP.

use std::net::SocketAddr;

use regex::bytes::Regex;

use super::datagram::Conversation;
use super::lines::{Limits, Lines};
use super::stream::open;
use super::{Context, Deadline, Phase};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::TextCheck;
use crate::lvs::model::Protocol;

/// For answers of which we know nothing: as much as of a page of HTTP.
const ANSWER: Limits = Limits { line: 64 * 1024, lines: 10_000, total: 1024 * 1024 };

/// Sends the text and judges the answer.
pub(super) async fn check(
    check: &TextCheck,
    target: SocketAddr,
    context: &Context,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let pattern = context.receive(check.receive.as_deref())?;
    match check.transport {
        Protocol::Tcp => over_tcp(check, target, context, pattern, deadline).await,
        Protocol::Udp => {
            let judge = |answer: &[u8]| {
                let mut lines = answer.split(|byte| *byte == b'\n');
                Some(match pattern {
                    Some(pattern) if !lines.any(|line| is_match(pattern, line)) => missing(pattern),
                    _ => Ok(()),
                })
            };
            Conversation::open(target, deadline).await?.ask(check.send.as_bytes(), judge).await
        }
    }
}

async fn over_tcp(
    check: &TextCheck,
    target: SocketAddr,
    context: &Context,
    pattern: Option<&Regex>,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut lines = Lines::new(open(target, None, context, deadline).await?, ANSWER, deadline);
    lines.say(&check.send, Phase::Answer).await?;
    if check.half_close {
        lines.finish(Phase::Answer).await?;
    }
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
