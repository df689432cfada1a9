//! What a file says of mails: its words, and the mails of a service.
//!
//! An address that is none costs its mails, with a warning, and nothing else: ldirectord finds out
//! when it has something to say, and goes on.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use crate::config::MAIL_PROGRAM;
use crate::config::diag::{Faults, Word};
use crate::config::ldirectord::file::{Globals, Settings, Virtual};
use crate::config::ldirectord::{Context, address};
use crate::lvs::mail::{Envelope, Mail, MailAddress, Relay, SMTP_PORT, Sender, Stages, TO_MAX};

/// Addresses with commas between them; a warning for each that gets no mail.
pub(super) fn addresses<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Vec<Word<'a>>> {
    let list = address::quotable(word, faults)?.split(|c| c == ',' || c.is_whitespace());
    if list.is_empty() {
        faults.fault(word.span(), "no address").help("`emailalert=\"admin@example.com\"`");
        return None;
    }
    for (place, word) in list.iter().enumerate() {
        if let Err(why) = MailAddress::new(word.text) {
            faults.warn(word.span(), format!("{why}; no mail is sent to `{}`", word.text));
        } else if place >= TO_MAX {
            let message = format!("over {TO_MAX} addresses; no mail is sent to this one");
            faults.warn(word.span(), message).help("a mailing list has room for more");
        }
    }
    Some(list)
}

/// `emailalertfrom`.
pub(super) fn sender<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Word<'a>> {
    let word = address::literal(word, faults)?;
    if let Err(why) = Sender::new(word.text) {
        let message = format!("{why}; mails come from the user and the machine");
        faults.warn(word.span(), message).help("`emailalertfrom=director@example.com`");
    }
    Some(word)
}

/// `all`, `none`, or a list.
pub(super) fn stages(word: Word<'_>, faults: &mut Faults<'_>) -> Option<Stages> {
    let list = address::quotable(word, faults)?.split(|c| c == ',' || c.is_whitespace());
    let mut stages = Stages::NONE;
    for word in &list {
        if word.text == "none" {
            if list.len() > 1 {
                faults.fault(word.span(), "`none` stands alone");
                return None;
            }
        } else if !stages.add(word.text) {
            let message = format!("`{}` is not a phase of ldirectord", word.text);
            let help = "all, none, or starting, running, stopping, reloading with commas";
            faults.fault(word.span(), message).help(help);
            return None;
        }
    }
    Some(stages)
}

/// A host, with a port or without; ldirectord refuses quotes here.
pub(super) fn relay<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<Word<'a>> {
    let bare = address::unquoted(word);
    if let Some(bare) = bare {
        let message = format!("read as `{}`; ldirectord takes no quotes here", bare.text);
        faults.warn(word.span(), message);
    }
    let host = bare.unwrap_or(word);
    if parse_relay(host).is_none() {
        faults.fault(word.span(), format!("`{}` is not a host", host.text));
        return None;
    }
    Some(host)
}

/// `HOST`, `HOST:PORT`, an IPv6 address with brackets or without.
pub(in crate::config) fn parse_relay(word: Word<'_>) -> Option<Relay> {
    if word.text.parse::<Ipv6Addr>().is_ok() {
        return Some(Relay { host: word.text.to_owned(), port: SMTP_PORT });
    }
    let endpoint = address::endpoint(word);
    let port = match endpoint.port {
        None => SMTP_PORT,
        Some(port) => port.text.parse().ok().filter(|port| *port > 0)?,
    };
    let host = endpoint.host.text;
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let good = !host.is_empty() && host.chars().all(fit);
    (good || host.parse::<Ipv6Addr>().is_ok()).then(|| Relay { host: host.to_owned(), port })
}

/// The mails of a service; `None`: nobody gets any.
pub(super) fn of(settings: &Settings<'_>, from: Option<Word<'_>>) -> Option<Mail> {
    let to = settings.mail_to.iter().flatten().take(TO_MAX);
    let to: Vec<_> = to.filter_map(|word| MailAddress::new(word.text).ok()).collect();
    let stages = settings.mail_stages.unwrap_or(Stages::ALL);
    let seconds = settings.mail_frequency.filter(|seconds| *seconds > 0);
    let repeat = seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let from = from.and_then(|word| Sender::new(word.text).ok());
    let envelope = Envelope { to, from, relay: settings.smtp.and_then(parse_relay) };
    let wanted = stages != Stages::NONE && !envelope.to.is_empty();
    wanted.then_some(Mail { envelope, repeat, stages })
}

/// A warning where mails are wanted and there is nothing to send them with.
pub(super) fn check(
    globals: &Globals<'_>,
    virtuals: &[Virtual<'_>],
    context: &mut Context<'_, '_>,
) {
    let here = |section: &&Virtual<'_>| of(&section.settings, None).is_some();
    let local = |section: &&Virtual<'_>| section.settings.smtp.is_none();
    let Some(section) = virtuals.iter().filter(here).find(local) else { return };
    if context.environment.executable(Path::new(MAIL_PROGRAM)) {
        return;
    }
    let written = section.written.iter().chain(&globals.written);
    let at = written.filter(|it| it.directive == "emailalert").map(|it| it.key).next();
    let message = format!("there is no {MAIL_PROGRAM}, so no mail can be sent");
    let help =
        "`smtp=HOST`, or a mail system: every one brings it, for example postfix or msmtp-mta";
    context.faults.warn(at.unwrap_or(section.head), message).help(help);
}
