//! SMTP: the greeting and EHLO, as far as a server goes before it has seen a mail (RFC 5321), and
//! STARTTLS where that is wanted (RFC 3207).

use super::lines::{Lines, REPLIES};
use super::stream::open;
use super::{Phase, Run, no_starttls};
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::SmtpCheck;

/// Who we say that we are; ldirectord's word, for which servers that are picky have a rule.
const NAME: &str = "localhost.localdomain";

/// Connects and asks.
pub(super) async fn check(check: &SmtpCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let stream = open(run, None, None).await?;
    exchange(Lines::new(stream, REPLIES, run.deadline), check, run).await
}

/// Waits for 220, and says hello, after STARTTLS once more.
pub(super) async fn exchange(
    mut lines: Lines,
    check: &SmtpCheck,
    run: &Run<'_>,
) -> Result<(), CheckFailure> {
    lines.reply(Phase::Greeting).await?.expect(220)?;
    hello(&mut lines).await?;
    if let Some(tls) = &check.starttls {
        lines.say("STARTTLS\r\n", Phase::Tls).await?;
        let reply = lines.reply(Phase::Tls).await?;
        if reply.code != 220 {
            return Err(no_starttls(&reply.line));
        }
        lines = lines.start_tls(tls, check.host.as_deref(), run).await?;
        hello(&mut lines).await?;
    }
    lines.farewell("QUIT\r\n").await;
    Ok(())
}

/// Says EHLO, and HELO where that is not known; 250 is well.
async fn hello(lines: &mut Lines) -> Result<(), CheckFailure> {
    lines.say(&format!("EHLO {NAME}\r\n"), Phase::Answer).await?;
    let reply = lines.reply(Phase::Answer).await?;
    if !(500..600).contains(&reply.code) {
        return reply.expect(250).map(drop);
    }
    lines.say(&format!("HELO {NAME}\r\n"), Phase::Answer).await?;
    lines.reply(Phase::Answer).await?.expect(250).map(drop)
}
