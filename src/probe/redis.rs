//! The Redis check: PING and PONG, behind AUTH where there is a password (RESP2).
//!
//! A server that still loads its data or has lost its master says so instead of PONG.

use super::lines::{Limits, Lines};
use super::stream::open;
use super::{Phase, Run, garbage};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::RedisCheck;

/// One line answers each command; errors are a sentence.
pub(super) const ANSWERS: Limits = Limits { line: 512, lines: 4, total: 4096 };

/// Connects and asks.
pub(super) async fn check(check: &RedisCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let stream = open(run, None, None).await?;
    exchange(Lines::new(stream, ANSWERS, run.deadline), check).await
}

/// Says it all and judges the answers.
pub(super) async fn exchange(mut lines: Lines, check: &RedisCheck) -> Result<(), CheckFailure> {
    if let Some(password) = &check.password {
        let login = check.login.as_deref();
        let words = ["AUTH"].into_iter().chain(login).chain([password.reveal()]);
        lines.say(&command(words), Phase::Login).await?;
        match lines.line(Phase::Login).await?.as_slice() {
            b"+OK" => {}
            [b'-', words @ ..] => return Err(CheckFailure::Login(shown(words))),
            other => return Err(garbage(other)),
        }
    }
    lines.say(&command(["PING"].into_iter()), Phase::Answer).await?;
    match lines.line(Phase::Answer).await?.as_slice() {
        b"+PONG" => Ok(()),
        [b'-', words @ ..] if words.starts_with(b"NOAUTH") => {
            Err(CheckFailure::Login(shown(words)))
        }
        [b'-', words @ ..] => Err(CheckFailure::Answer(shown(words))),
        other => Err(garbage(other)),
    }
}

/// A command is an array of strings with their lengths, so nothing in them has a meaning.
fn command<'a>(words: impl Iterator<Item = &'a str> + Clone) -> zeroize::Zeroizing<String> {
    let mut command = zeroize::Zeroizing::new(format!("*{}\r\n", words.clone().count()));
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    command
}
