//! SMTP: the greeting and EHLO, as far as a server goes before it has seen a mail (RFC 5321).

use std::net::SocketAddr;

use super::lines::{Lines, REPLIES};
use super::stream::open;
use super::{Context, Deadline, Phase};
use crate::lvs::check::CheckFailure;

/// Who we say that we are; ldirectord's word, for which servers that are picky have a rule.
const NAME: &str = "localhost.localdomain";

/// Waits for 220, says EHLO, and HELO where that is not known; 250 is well.
pub(super) async fn check(
    target: SocketAddr,
    context: &Context,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let mut lines = Lines::new(open(target, None, context, deadline).await?, REPLIES, deadline);
    lines.reply(Phase::Greeting).await?.expect(220)?;
    lines.say(&format!("EHLO {NAME}\r\n"), Phase::Answer).await?;
    let reply = lines.reply(Phase::Answer).await?;
    if (500..600).contains(&reply.code) {
        lines.say(&format!("HELO {NAME}\r\n"), Phase::Answer).await?;
        lines.reply(Phase::Answer).await?.expect(250)?;
    } else {
        reply.expect(250)?;
    }
    lines.farewell("QUIT\r\n").await;
    Ok(())
}
