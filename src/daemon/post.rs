//! Hands letters over: to the machine's own mail system, or to a relay by SMTP. Beside everything else,
//! bounded in time; what becomes of one that is not taken is the control's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::MAIL_PROGRAM;
use crate::exec::{Invocation, run};
use crate::keys::Secret;
use crate::lvs::mail::text::{self, Machine};
use crate::lvs::mail::{Letter, MailFailure, Relay};
use crate::lvs::program::ProgramEnd;
use crate::probe::submit::{Submission, submit};
use crate::sys::calendar::Moment;
use crate::sys::clock::Clocks;
use crate::time::Instant;

/// Who letters are from that do not say it: the user that a director usually runs as.
const USER: &str = "root";

/// How a mail program says that another try would not help: its words, its data, its addressees
/// (sysexits.h: `EX_USAGE`, `EX_DATAERR`, `EX_NOUSER`).
const FOR_GOOD: [i32; 3] = [64, 65, 67];

/// Sends a letter within `limit`.
///
/// # Errors
/// Why it was not taken.
pub(super) async fn send(letter: &Letter, limit: Duration) -> Result<(), MailFailure> {
    send_by(Path::new(MAIL_PROGRAM), letter, limit).await
}

async fn send_by(program: &Path, letter: &Letter, limit: Duration) -> Result<(), MailFailure> {
    let host = host();
    let mut id = [0; 12];
    getrandom::fill(&mut id).map_err(|error| MailFailure::passing(&error.to_string()))?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let clocks = Clocks::read();
    let date = Moment::local(clocks.wall).rfc5322();
    let wall =
        |at: Instant| Moment::local(clocks.wall.saturating_sub(clocks.boot.since(at))).asctime();
    let machine = Machine { host: &host, date: &date, id: &id, wall: &wall };
    match &letter.envelope.relay {
        Some(relay) => by_relay(relay, letter, &machine, limit).await,
        None => {
            let lines = text::lines(letter, letter.envelope.from.as_ref(), &machine);
            by_program(program, letter, &lines, limit).await
        }
    }
}

/// This machine as it stands in an address.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if !name.is_empty() && name.chars().all(fit) { name } else { "localhost".to_owned() }
}

async fn by_relay(
    relay: &Relay,
    letter: &Letter,
    machine: &Machine<'_>,
    limit: Duration,
) -> Result<(), MailFailure> {
    let from = letter.envelope.from.clone();
    let from = from.or_else(|| text::default_sender(USER, machine.host));
    let Some(from) = from else { return Err(MailFailure::for_good("there is no sender")) };
    let lines = text::lines(letter, Some(&from), machine);
    let mail = Submission {
        host: machine.host,
        from: &from.address,
        to: &letter.envelope.to,
        lines: &lines,
    };
    submit(relay, &mail, limit).await
}

/// The addressees are arguments, none of which begins with a `-`; a dot alone in a line is text (`-i`).
async fn by_program(
    program: &Path,
    letter: &Letter,
    lines: &[String],
    limit: Duration,
) -> Result<(), MailFailure> {
    let mut args = vec!["-i".to_owned(), "--".to_owned()];
    args.extend(letter.envelope.to.iter().map(ToString::to_string));
    let path = ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let invocation = Invocation {
        program: PathBuf::from(program),
        args,
        environment: BTreeMap::from([path]),
        input: Some(Secret::new(&(lines.join("\n") + "\n"))),
        limit,
    };
    let ran = run(&invocation).await.map_err(|error| MailFailure::passing(&error.to_string()))?;
    ran.well(limit).map_err(|end| {
        let why = match ran.last_line() {
            Some(said) => format!("{}: {end}: {said}", program.display()),
            None => format!("{}: {end}", program.display()),
        };
        let stays = matches!(end, ProgramEnd::Exited(code) if FOR_GOOD.contains(&code));
        if stays { MailFailure::for_good(&why) } else { MailFailure::passing(&why) }
    })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::lvs::mail::{Entry, Envelope, Line, MailAddress, Stage};
    use crate::sys::clock;
    use crate::sys::scratch::Scratch;

    fn letter() -> Letter {
        let to = ["root", "ops@example.com"].map(|it| MailAddress::new(it).unwrap());
        let envelope = Envelope { to: to.to_vec(), from: None, relay: None };
        let what = Line::of("10.0.1.2:80 is down");
        let entry = Entry { at: clock::now(), stage: Stage::Running, what };
        Letter { envelope, entries: vec![entry], more: 0, about: Vec::new() }
    }

    /// A mail program of our own, and what it has got.
    async fn sent(name: &str, script: &str, limit: u64) -> (Result<(), MailFailure>, String) {
        let place = Scratch::new(name);
        let got = place.join("got");
        let text = format!("#!/bin/sh\necho \"$*\" >{0}\ncat >>{0}\n{script}\n", got.display());
        let program = place.program("sendmail", &text);
        let result = send_by(&program, &letter(), Duration::from_millis(limit)).await;
        (result, place.read("got"))
    }

    #[tokio::test]
    async fn a_letter_is_handed_to_the_mail_system_with_its_addressees_and_what_it_says() {
        let (result, got) = sent("well", "", 30_000).await;
        result.unwrap();
        assert!(
            got.starts_with("-i -- root ops@example.com\nTo: root,\n ops@example.com\n"),
            "{got}"
        );
        assert!(got.contains("\nSubject: 10.0.1.2:80 is down\n"), "{got}");
        assert!(got.contains(" (running) 10.0.1.2:80 is down\n"), "{got}");
        assert!(!got.contains("\nFrom:"), "the mail system knows it better: {got}");
    }

    #[tokio::test]
    async fn a_mail_program_that_fails_or_hangs_is_a_failure_with_its_reason() {
        let (result, _) = sent("later", "echo queue full >&2; exit 75", 30_000).await;
        let later = result.unwrap_err();
        assert!(!later.for_good && later.why.ends_with("queue full"), "{later:?}");
        let (result, _) = sent("never", "exit 67", 30_000).await;
        assert!(result.unwrap_err().for_good);
        let (result, _) = sent("hangs", "sleep 600", 500).await;
        assert!(!result.unwrap_err().for_good);
        let letter = letter();
        let gone = send_by(Path::new("/nonexistent/sendmail"), &letter, Duration::from_secs(1));
        assert!(!gone.await.unwrap_err().for_good);
    }
}
