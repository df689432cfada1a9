//! Mails about a service, and what a service is called in them.
//!
//! ```toml
//! [director.web.mail]
//! to = ["ops@example.com"]
//! from = "Director <director@example.com>"
//! repeat = "1h"
//! when = ["running"]
//! smtp = "mail.example.com"
//! ```
//!
//! A service may have a `mail` of its own; what it does not say is taken from its director's.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::MAIL_PROGRAM;
use crate::config::diag::Span;
use crate::config::ldirectord::mail::parse_relay;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::mail::{Envelope, Line, Mail, MailAddress, Relay, Sender, Stages, TO_MAX};
use crate::lvs::notify::Notify;

/// From one mail about a server that is down to the next.
pub(crate) const REPEAT: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// What is said of mails, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    to: Option<Vec<MailAddress>>,
    to_at: Option<Span>,
    from: Option<Sender>,
    repeat: Option<Duration>,
    stages: Option<Stages>,
    relay: Option<Relay>,
}

/// A table.
pub(super) fn read(item: Item<'_>, walk: &mut Walk<'_>) -> Said {
    let Some(mut fields) = item.fields(walk) else { return Said::default() };
    let to = fields.take("to");
    let said = Said {
        to: to.and_then(|item| addresses(item, walk)),
        to_at: to.map(|item| item.span),
        from: fields.take("from").and_then(|item| {
            let word = item.text(walk)?;
            parsed(Sender::new(word.text), item, "`from = \"director@example.com\"`", walk)
        }),
        repeat: fields.take("repeat").and_then(|item| {
            let time = item.time(walk)?;
            if !REPEAT.contains(&time) {
                walk.faults.fault(item.span, "at least 1s and at most 30 days");
                return None;
            }
            Some(time)
        }),
        stages: fields.take("when").and_then(|item| stages(item, walk)),
        relay: fields.take("smtp").and_then(|item| {
            let word = item.text(walk)?;
            let relay = parse_relay(word).ok_or("that is no host");
            parsed(relay, item, "`smtp = \"mail.example.com:25\"`", walk)
        }),
    };
    fields.finish(walk);
    said
}

/// `name`, `comment` and `monitor_file` of a service.
pub(super) fn named(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Notify {
    let mut line = |key| {
        let item: Item<'_> = fields.take(key)?;
        let word = item.text(walk)?;
        parsed(Line::new(word.text), item, "up to 200 characters in one line", walk)
    };
    let (name, comment) = (line("name"), line("comment"));
    let monitor = fields.take("monitor_file").and_then(|item| {
        let word = item.text(walk)?;
        if !word.text.starts_with('/') {
            walk.faults.fault(item.span, format!("`{}` is not a whole path", word.text));
            return None;
        }
        Some(PathBuf::from(word.text))
    });
    Notify { name, comment, monitor, ..Notify::default() }
}

fn parsed<T>(
    result: Result<T, &'static str>,
    item: Item<'_>,
    help: &str,
    walk: &mut Walk<'_>,
) -> Option<T> {
    if let Err(why) = &result {
        walk.faults.fault(item.span, *why).help(help);
    }
    result.ok()
}

/// An address, or several.
fn addresses(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Vec<MailAddress>> {
    let items = if item.is_text() { vec![item] } else { item.items(walk) };
    if items.len() > TO_MAX {
        let message = format!("over {TO_MAX} addresses");
        walk.faults.fault(item.span, message).help("a mailing list has room for more");
        return None;
    }
    let address = |item: Item<'_>| {
        let word = item.text(walk)?;
        parsed(MailAddress::new(word.text), item, "`to = [\"ops@example.com\"]`", walk)
    };
    let list: Vec<_> = items.into_iter().filter_map(address).collect();
    Some(list)
}

/// Stages by their names; none of them: no mails.
fn stages(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Stages> {
    let items = if item.is_text() { vec![item] } else { item.items(walk) };
    let mut stages = Stages::NONE;
    for item in items {
        let word = item.text(walk)?;
        if !stages.add(word.text) {
            let message = format!("`{}` is not a stage of a director", word.text);
            let help = "all, starting, running, stopping, reloading";
            walk.faults.fault(item.span, message).help(help);
            return None;
        }
    }
    Some(stages)
}

impl Said {
    /// What this one does not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        let own = self.to.is_some();
        Self {
            to: self.to.or_else(|| farther.to.clone()),
            to_at: if own { self.to_at } else { farther.to_at },
            from: self.from.or_else(|| farther.from.clone()),
            repeat: self.repeat.or(farther.repeat),
            stages: self.stages.or(farther.stages),
            relay: self.relay.or_else(|| farther.relay.clone()),
        }
    }

    /// The mails of a service; a warning where there is nothing to send them with.
    pub(super) fn build(&self, walk: &mut Walk<'_>) -> Option<Mail> {
        let to = self.to.clone().filter(|to| !to.is_empty())?;
        let stages = self.stages.unwrap_or(Stages::ALL);
        if stages == Stages::NONE {
            return None;
        }
        if self.relay.is_none() && !walk.environment.executable(Path::new(MAIL_PROGRAM)) {
            let message = "there is no /usr/sbin/sendmail, so no mail can be sent";
            if let Some(warning) = walk.faults.warn_once(self.to_at.unwrap_or(Span::FILE), message)
            {
                warning
                    .help("`smtp = \"HOST\"`, or a mail system, for example postfix or msmtp-mta");
            }
        }
        let envelope = Envelope { to, from: self.from.clone(), relay: self.relay.clone() };
        Some(Mail { envelope, repeat: self.repeat, stages })
    }
}
