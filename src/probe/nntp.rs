//! NNTP: the greeting (RFC 3977 section 5.1).

use std::net::SocketAddr;

use super::lines::{Lines, REPLIES};
use super::stream::open;
use super::{Context, Deadline, Phase};
use crate::lvs::check::CheckFailure;

/// Waits for 200, posting allowed, or 201, posting prohibited; ldirectord takes any 2xx.
pub(super) async fn check(
    target: SocketAddr,
    context: &Context,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut lines = Lines::new(open(target, None, context, deadline).await?, REPLIES, deadline);
    let greeting = lines.reply(Phase::Greeting).await?;
    if !greeting.is_positive() {
        return Err(greeting.refusal());
    }
    lines.farewell("QUIT\r\n").await;
    Ok(())
}
