//! IMAP: the greeting, and a login where there is one (RFC 9051, RFC 3501).

use std::net::SocketAddr;

use super::lines::{Lines, REPLIES};
use super::stream::open;
use super::{Context, Deadline, Phase, garbage};
use crate::lvs::check::{CheckFailure, shown, shown_without};
use crate::lvs::exchange::{Login, MailCheck};

/// Waits for the greeting and logs in.
pub(super) async fn check(
    check: &MailCheck,
    target: SocketAddr,
    context: &Context,
    deadline: Deadline,
) -> Result<(), CheckFailure> {
    let tls = check.tls.then_some(check.host.as_deref());
    let mut lines = Lines::new(open(target, tls, context, deadline).await?, REPLIES, deadline);
    let greeting = lines.line(Phase::Greeting).await?;
    match status(&greeting, "*") {
        Some("OK" | "PREAUTH") => (),
        Some("BYE") => return Err(CheckFailure::Answer(shown(&greeting))),
        _ => return Err(garbage(&greeting)),
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
    loop {
        let answer = lines.line(Phase::Login).await?;
        let refused = || CheckFailure::Login(shown_without(&answer, password));
        match (status(&answer, "a"), status(&answer, "*")) {
            (Some("OK"), _) => return Ok(()),
            (Some("NO" | "BAD"), _) | (_, Some("BYE")) => return Err(refused()),
            // Capabilities and the like may come before it.
            (None, Some(_)) => (),
            _ => {
                let words = shown_without(&answer, password);
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
