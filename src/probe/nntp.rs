//! NNTP: the greeting (RFC 3977 section 5.1).

use super::lines::{Lines, REPLIES};
use super::stream::open;
use super::{Phase, Run};
use crate::lvs::check::CheckFailure;

/// Waits for 200, posting allowed, or 201, posting prohibited; ldirectord takes any 2xx.
pub(super) async fn check(run: &Run<'_>) -> Result<(), CheckFailure> {
    exchange(Lines::new(open(run, None, None).await?, REPLIES, run.deadline)).await
}

/// Judges the greeting.
pub(super) async fn exchange(mut lines: Lines) -> Result<(), CheckFailure> {
    let greeting = lines.reply(Phase::Greeting).await?;
    if !greeting.is_positive() {
        return Err(greeting.refusal());
    }
    lines.farewell("QUIT\r\n").await;
    Ok(())
}
