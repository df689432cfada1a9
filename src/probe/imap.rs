//! IMAP: the greeting, and a login where there is one (RFC 9051, RFC 3501).

use super::lines::{Lines, REPLIES};
use super::stream::open_mail;
use super::{Phase, Run, garbage, no_starttls};
use crate::lvs::check::{CheckFailure, shown, shown_without};
use crate::lvs::exchange::{Encryption, Login, MailCheck};

/// Waits for the greeting and logs in.
pub(super) async fn check(check: &MailCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let stream = open_mail(check, run).await?;
    exchange(Lines::new(stream, REPLIES, run.deadline), check, run).await
}

/// Says it all and judges the answers.
pub(super) async fn exchange(
    mut lines: Lines,
    check: &MailCheck,
    run: &Run<'_>,
) -> Result<(), CheckFailure> {
    let greeting = lines.line(Phase::Greeting).await?;
    match status(&greeting, "*") {
        Some("OK" | "PREAUTH") => (),
        Some("BYE") => return Err(CheckFailure::Answer(shown(&greeting))),
        _ => return Err(garbage(&greeting)),
    }
    if let Encryption::StartTls(tls) = &check.encryption {
        lines.say("s STARTTLS\r\n", Phase::Tls).await?;
        until_done(&mut lines, "s", Phase::Tls, no_starttls).await?;
        lines = lines.start_tls(tls, check.host.as_deref(), run).await?;
    }
    if let Some(login) = &check.login {
        log_in(login, &mut lines).await?;
    }
    lines.farewell("b LOGOUT\r\n").await;
    Ok(())
}

async fn log_in(login: &Login, lines: &mut Lines) -> Result<(), CheckFailure> {
    let Login { name, password } = login;
    let mut command = format!("a LOGIN {} {}\r\n", quoted(name), quoted(password.reveal()));
    let sent = lines.say(&command, Phase::Login).await;
    zeroize::Zeroize::zeroize(&mut command);
    sent?;
    let refused = |answer: &[u8]| CheckFailure::Login(shown_without(answer, password));
    until_done(lines, "a", Phase::Login, refused).await
}

/// Waits for the answer to the command with this tag.
async fn until_done(
    lines: &mut Lines,
    tag: &str,
    phase: Phase,
    refused: impl Fn(&[u8]) -> CheckFailure,
) -> Result<(), CheckFailure> {
    loop {
        let answer = lines.line(phase).await?;
        match (status(&answer, tag), status(&answer, "*")) {
            (Some("OK"), _) => return Ok(()),
            (Some("NO" | "BAD"), _) | (_, Some("BYE")) => return Err(refused(&answer)),
            // Capabilities and the like may come before it.
            (None, Some(_)) => (),
            _ => {
                // The words of a refusal are fit to be shown.
                let words = match refused(&answer) {
                    CheckFailure::Login(words) | CheckFailure::Tls(words) => words,
                    other => other.to_string(),
                };
                return Err(CheckFailure::Protocol(format!("`{words}`")));
            }
        }
    }
}

/// A quoted string: only these two characters need care.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The word behind the tag.
fn status<'a>(line: &'a [u8], tag: &str) -> Option<&'a str> {
    let mut words = line.split(|byte| *byte == b' ');
    let word = if words.next() == Some(tag.as_bytes()) { words.next()? } else { return None };
    std::str::from_utf8(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_quotes() {
        assert_eq!(quoted("joe"), "\"joe\"");
        assert_eq!(quoted(r#"a" b\"#), r#""a\" b\\""#);
    }
}
