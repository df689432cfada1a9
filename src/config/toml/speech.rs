//! What a check says to a service: the part of `check = ...` that depends on its protocol.

use crate::config::diag::Word;
use crate::config::ldirectord::http;
use crate::config::toml::arbiter;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::keys::Secret;
use crate::lvs::exchange::{
    Exchange, HttpCheck, HttpMethod, Login, MailCheck, Password, SmtpCheck, TextCheck,
};
use crate::lvs::model::Protocol;

/// The types of checks that speak to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http { tls: bool },
    Imap { tls: bool },
    Pop { tls: bool },
    SimpleTcp,
    Smtp { submission: bool },
}

/// What is said, and what is expected.
#[derive(Debug, Clone, Default)]
pub(super) struct Words<'d> {
    host: Option<&'d str>,
    login: Option<Word<'d>>,
    method: Option<HttpMethod>,
    password: Option<Secret>,
    path: Option<Word<'d>>,
    receive: Option<Word<'d>>,
    send: Option<Word<'d>>,
}

impl<'d> Words<'d> {
    /// Takes them from a check's table.
    pub(super) fn read(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Self {
        Self {
            path: fields.take("path").and_then(|item| path(item, walk)),
            receive: fields.take("receive").and_then(|item| receive(item, walk)),
            host: fields.take("host").and_then(|item| {
                let word = item.text(walk)?;
                http::host(word, &mut walk.faults)
            }),
            method: fields.take("method").and_then(|item| {
                let word = item.text(walk)?;
                http::method(word, &mut walk.faults)
            }),
            send: fields.take("send").and_then(|item| item.text(walk)),
            login: fields.take("login").and_then(|item| login(item, walk)),
            password: fields.take("password_file").and_then(|item| password(item, walk)),
        }
    }

    /// What these do not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        Self {
            host: self.host.or(farther.host),
            login: self.login.or(farther.login),
            method: self.method.or(farther.method),
            password: self.password.or_else(|| farther.password.clone()),
            path: self.path.or(farther.path),
            receive: self.receive.or(farther.receive),
            send: self.send.or(farther.send),
        }
    }

    /// The exchange of a type; `None` after a fault.
    pub(super) fn exchange(&self, speech: Speech, walk: &mut Walk<'_>) -> Option<Exchange> {
        Some(match speech {
            Speech::Http { tls } => Exchange::Http(self.http(tls, walk)?),
            Speech::Imap { tls } => Exchange::Imap(self.mail(tls)),
            Speech::Pop { tls } => Exchange::Pop(self.mail(tls)),
            Speech::SimpleTcp => Exchange::Text(TextCheck {
                transport: Protocol::Tcp,
                send: self.send.map_or("", |word| word.text).to_owned(),
                receive: self.receive(),
                half_close: true,
            }),
            Speech::Smtp { submission } => Exchange::Smtp(SmtpCheck { submission }),
        })
    }

    fn http(&self, tls: bool, walk: &mut Walk<'_>) -> Option<HttpCheck> {
        let path = match self.path {
            Some(word) => http::request(word, tls, &mut walk.director())?.path,
            None => "/".to_owned(),
        };
        let method = self.method.unwrap_or(HttpMethod::Get);
        Some(HttpCheck { tls, method, path, host: self.host(), receive: self.receive() })
    }

    fn mail(&self, tls: bool) -> MailCheck {
        let login = self.login.map(|name| Login {
            name: name.text.to_owned(),
            password: Password::new(self.password.as_ref().map_or("", Secret::reveal)),
        });
        MailCheck { tls, host: self.host(), login }
    }

    fn host(&self) -> Option<String> {
        self.host.map(str::to_owned)
    }

    fn receive(&self) -> Option<String> {
        self.receive.map(|word| word.text.to_owned())
    }
}

fn path<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = item.text(walk)?;
    if word.text.starts_with('/') {
        return Some(word);
    }
    let message = format!("`{}` is not a path", word.text);
    walk.faults.fault(item.span, message).help("a path begins with a slash: \"/alive.html\"");
    None
}

fn receive<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = item.text(walk)?;
    http::receive(word, &mut walk.faults).then_some(word)
}

fn login<'d>(item: Item<'d>, walk: &mut Walk<'_>) -> Option<Word<'d>> {
    let word = item.text(walk)?;
    if word.text.is_empty() || word.text.contains(char::is_control) {
        let message = "a login is not empty and without control characters";
        walk.faults.fault(item.span, message);
        return None;
    }
    Some(word)
}

/// The first line of a file.
fn password(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Secret> {
    let password = arbiter::password(item.text(walk)?, walk)?;
    if password.reveal().contains(char::is_control) {
        walk.faults.fault(item.span, "the password has a control character in it");
        return None;
    }
    Some(password)
}
