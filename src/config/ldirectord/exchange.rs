//! What a negotiate check says to a server: `service`, `request`, `receive` and what else the file
//! gives it, as the exchange that is made.

use std::net::IpAddr;

use crate::config::diag::{Faults, Word};
use crate::config::ldirectord::file::{Check, Real, Service, Virtual};
use crate::config::ldirectord::{Context, http};
use crate::lvs::exchange::{Exchange, HttpCheck, Login, MailCheck, Password, SmtpCheck, TextCheck};
use crate::lvs::model::{Protocol, ServiceKey};

/// Whether servers of this kind can be spoken to.
pub(super) fn is_spoken(service: Service) -> bool {
    matches!(
        service,
        Service::Http
            | Service::Https
            | Service::Imap
            | Service::Imaps
            | Service::Pop
            | Service::Pops
            | Service::Simpletcp
            | Service::Smtp
            | Service::Submission
    )
}

/// The exchange with the first server of a line, and where it goes when not to the server itself.
/// `None` after a fault.
pub(super) fn of(
    from: &Virtual<'_>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    let exchange = match from.check.service {
        Service::Http => return http(from, line, false, context),
        Service::Https => return http(from, line, true, context),
        Service::Imap => Exchange::Imap(mail(&from.check, false, context.faults)?),
        Service::Imaps => Exchange::Imap(mail(&from.check, true, context.faults)?),
        Service::Pop => Exchange::Pop(mail(&from.check, false, context.faults)?),
        Service::Pops => Exchange::Pop(mail(&from.check, true, context.faults)?),
        Service::Simpletcp => Exchange::Text(text(from, line)),
        Service::Smtp => Exchange::Smtp(SmtpCheck { submission: false }),
        Service::Submission => Exchange::Smtp(SmtpCheck { submission: true }),
        _ => return None,
    };
    Some((exchange, None))
}

fn http(
    from: &Virtual<'_>,
    line: &Real<'_>,
    tls: bool,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    let request = match line.request(&from.check) {
        Some(word) => http::request(word, tls, context)?,
        None => http::Request { path: "/".to_owned(), elsewhere: None },
    };
    let http = HttpCheck {
        tls,
        method: from.check.method,
        path: request.path,
        host: from.check.host.map(str::to_owned),
        receive: receive(from, line),
    };
    Some((Exchange::Http(http), request.elsewhere))
}

fn receive(from: &Virtual<'_>, line: &Real<'_>) -> Option<String> {
    line.receive(&from.check).map(|word| word.text.to_owned())
}

fn mail(check: &Check<'_>, tls: bool, faults: &mut Faults<'_>) -> Option<MailCheck> {
    let login = match check.login {
        Some(name) => Some(login(name, check, faults)?),
        None => None,
    };
    Some(MailCheck { tls, host: check.host.map(str::to_owned), login })
}

/// Of lines, neither part can have a control character in it.
fn login(name: Word<'_>, check: &Check<'_>, faults: &mut Faults<'_>) -> Option<Login> {
    let password = check.password.as_ref().map_or("", |password| password.reveal());
    if name.text.contains(char::is_control) || password.contains(char::is_control) {
        faults.fault(name.span(), "a login and its password are without control characters");
        return None;
    }
    Some(Login { name: name.text.to_owned(), password: Password::new(password) })
}

/// The slash is ldirectord's, which puts one before each request that has none; `\n` is a line feed,
/// and nothing else is an escape.
fn text(from: &Virtual<'_>, line: &Real<'_>) -> TextCheck {
    let request = line.request(&from.check).map_or("", |word| word.text);
    let transport = match from.key {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => Protocol::Tcp,
    };
    TextCheck {
        transport,
        send: request.strip_prefix('/').unwrap_or(request).replace("\\n", "\n"),
        receive: receive(from, line),
        half_close: true,
    }
}
