//! Agents: what they say of their server is heard, not judged here.

use super::lines::{Limits, Lines};
use super::stream::open;
use super::{Phase, Run, program};
use crate::lvs::agent::{ANSWER_MAX, Advice, AgentCheck};
use crate::lvs::check::{CheckFailure, CheckSpec};

/// Of one line: what comes behind it is not looked at.
const LIMITS: Limits = Limits { line: ANSWER_MAX, lines: 1, total: usize::MAX };

/// Asks an agent.
pub(super) async fn ask(
    agent: &AgentCheck,
    spec: &CheckSpec,
    run: &Run<'_>,
) -> Result<Advice, CheckFailure> {
    let said = match agent {
        AgentCheck::Tcp { send } => answer(send.as_deref(), run).await?,
        AgentCheck::Program(check) => program::said(check, spec).await?.into_bytes(),
    };
    String::from_utf8_lossy(&said).parse()
}

/// The first line, or what came until the agent closed.
async fn answer(send: Option<&str>, run: &Run<'_>) -> Result<Vec<u8>, CheckFailure> {
    let mut lines = Lines::new(open(run, None, None).await?, LIMITS, run.deadline);
    if let Some(send) = send {
        lines.say(send, Phase::Answer).await?;
    }
    Ok(lines.text(Phase::Answer).await?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
