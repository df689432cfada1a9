//! Agents: what they say of their server is heard, not judged here.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Deadline, Phase, Run, program, tcp};
use crate::lvs::agent::{ANSWER_MAX, Advice, AgentCheck};
use crate::lvs::check::{CheckFailure, CheckSpec};

/// Asks an agent.
pub(super) async fn ask(
    agent: &AgentCheck,
    spec: &CheckSpec,
    run: &Run<'_>,
) -> Result<Advice, CheckFailure> {
    let said = match agent {
        AgentCheck::Tcp { send } => {
            let mut stream = tcp::connect(run.target, run).await?;
            let answer = answer(&mut stream, send.as_deref(), run.deadline);
            run.bound(Phase::Answer, answer).await?
        }
        AgentCheck::Program(check) => program::said(check, spec).await?.into_bytes(),
    };
    String::from_utf8_lossy(&said).parse()
}

/// The first line, or what came until the agent closed.
async fn answer(
    stream: &mut tokio::net::TcpStream,
    send: Option<&str>,
    deadline: Deadline,
) -> Result<Vec<u8>, CheckFailure> {
    let failure = |error: std::io::Error| deadline.failure(Phase::Answer, &error);
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(failure)?;
    }
    let mut said = vec![0; ANSWER_MAX];
    let mut length = 0;
    while length < ANSWER_MAX && !said.iter().take(length).any(|byte| *byte == b'\n') {
        let Some(room) = said.get_mut(length..) else { break };
        match stream.read(room).await.map_err(failure)? {
            0 => break,
            more => length += more,
        }
    }
    if length == ANSWER_MAX {
        return Err(CheckFailure::TooLarge(ANSWER_MAX));
    }
    said.truncate(length);
    Ok(said)
}

#[cfg(test)]
mod tests;
