//! The Redis check: PING and PONG, behind AUTH where there is a password (RESP2).
//!
//! A server that still loads its data or has lost its master says so instead of PONG.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Deadline, Phase, garbage, tcp};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::RedisCheck;

/// Longest line of an answer, in bytes; errors are a sentence.
const LINE_MAX: usize = 512;

/// Connects and asks.
pub(super) async fn check(
    check: &RedisCheck,
    target: SocketAddr,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let stream = tcp::connect(target, deadline).await?;
    deadline.bound(Phase::Answer, exchange(stream, check, deadline)).await
}

/// Says it all and judges the answers.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    check: &RedisCheck,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    if let Some(password) = &check.password {
        let login = check.login.as_deref();
        let words = ["AUTH"].into_iter().chain(login).chain([password.reveal()]);
        say(&mut stream, words, deadline).await?;
        match answer(&mut stream, deadline).await?.as_slice() {
            b"+OK" => {}
            [b'-', words @ ..] => return Err(CheckFailure::Login(shown(words))),
            other => return Err(garbage(other)),
        }
    }
    say(&mut stream, ["PING"].into_iter(), deadline).await?;
    match answer(&mut stream, deadline).await?.as_slice() {
        b"+PONG" => Ok(()),
        [b'-', words @ ..] if words.starts_with(b"NOAUTH") => {
            Err(CheckFailure::Login(shown(words)))
        }
        [b'-', words @ ..] => Err(CheckFailure::Answer(shown(words))),
        other => Err(garbage(other)),
    }
}

/// A command is an array of strings with their lengths, so nothing in them has a meaning.
async fn say<'a, S: AsyncWrite + Unpin>(
    stream: &mut S,
    words: impl Iterator<Item = &'a str> + Clone,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut command = zeroize::Zeroizing::new(format!("*{}\r\n", words.clone().count()));
    for word in words {
        command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    let written = stream.write_all(command.as_bytes()).await;
    written.map_err(|error| deadline.failure(Phase::Answer, &error))
}

/// One line, without its end.
async fn answer<S: AsyncRead + Unpin>(
    stream: &mut S,
    deadline: Deadline,
) -> Result<Vec<u8>, CheckFailure> {
    let mut line = Vec::new();
    loop {
        // Byte by byte: nothing behind the line is ours, and a line is short.
        let byte = stream.read_u8().await;
        line.push(byte.map_err(|error| deadline.failure(Phase::Answer, &error))?);
        if let Some(line) = line.strip_suffix(b"\r\n") {
            return Ok(line.to_vec());
        }
        if line.len() >= LINE_MAX {
            return Err(CheckFailure::TooLarge(LINE_MAX));
        }
    }
}
