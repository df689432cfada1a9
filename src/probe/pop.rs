//! POP3: the greeting, and a login where there is one (RFC 1939).

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
    match status(&greeting)? {
        Status::Well => (),
        Status::Wrong => return Err(CheckFailure::Answer(shown(&greeting))),
    }
    if let Encryption::StartTls(tls) = &check.encryption {
        lines.say("STLS\r\n", Phase::Tls).await?;
        let answer = lines.line(Phase::Tls).await?;
        match status(&answer)? {
            Status::Well => (),
            Status::Wrong => return Err(no_starttls(&answer)),
        }
        lines = lines.start_tls(tls, check.host.as_deref(), run).await?;
    }
    if let Some(login) = &check.login {
        log_in(login, &mut lines).await?;
    }
    lines.farewell("QUIT\r\n").await;
    Ok(())
}

/// A server may refuse the name already, and most wait for the password to do it.
async fn log_in(login: &Login, lines: &mut Lines) -> Result<(), CheckFailure> {
    let Login { name, password } = login;
    let mut words = [format!("USER {name}\r\n"), format!("PASS {}\r\n", password.reveal())];
    let mut outcome = Ok(());
    for command in &words {
        outcome = async {
            lines.say(command, Phase::Login).await?;
            let answer = lines.line(Phase::Login).await?;
            match status(&answer)? {
                Status::Well => Ok(()),
                Status::Wrong => Err(CheckFailure::Login(shown_without(&answer, password))),
            }
        }
        .await;
        if outcome.is_err() {
            break;
        }
    }
    words.iter_mut().for_each(zeroize::Zeroize::zeroize);
    outcome
}

enum Status {
    Well,
    Wrong,
}

fn status(line: &[u8]) -> Result<Status, CheckFailure> {
    let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    match word {
        b"+OK" => Ok(Status::Well),
        b"-ERR" => Ok(Status::Wrong),
        _ => Err(garbage(line)),
    }
}
