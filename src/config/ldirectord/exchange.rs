//! What a negotiate check says to a server: `service`, `request`, `receive` and what else the file
//! gives it, as the exchange that is made.

use std::net::IpAddr;

use crate::config::exchange::{self, Texts};
use crate::config::ldirectord::file::{Real, Service, Virtual};
use crate::config::ldirectord::{Context, http};
use crate::keys::Secret;
use crate::lvs::exchange::{
    Authority, DnsCheck, Encryption, Exchange, HttpCheck, HttpMethod, MailCheck, OracleCheck,
    Password, SmtpCheck, SqlCheck, TextCheck, Tls, Transport, Wanted,
};
use crate::lvs::model::{Protocol, ServiceKey};

/// The exchange with the first server of a line, and where it goes when not to the server itself.
/// `None` after a fault.
pub(super) fn of(
    from: &Virtual<'_>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    let to_itself = |exchange: Option<Exchange>| Some((exchange?, None));
    match from.check.service {
        Service::Dns => to_itself(dns(from, line, context).map(Exchange::Dns)),
        Service::Ftp => {
            to_itself(exchange::ftp(&texts(from, line), context.faults).map(Exchange::Ftp))
        }
        Service::HttpProxy => {
            let (method, want) = (from.check.method, wanted(from, line, context));
            let check = exchange::proxy(&texts(from, line), method, want, context.faults);
            to_itself(check.map(Exchange::Proxy))
        }
        Service::Http => http(from, line, false, context),
        Service::Https => http(from, line, true, context),
        Service::Ldap => to_itself(Some(ldap(from, line, None, context))),
        // ldirectord does not look at the certificate.
        Service::Ldaps => {
            to_itself(Some(ldap(from, line, Some(Tls::by(Authority::Anybody)), context)))
        }
        Service::Mysql => to_itself(sql(from, line, context).map(Exchange::Mysql)),
        Service::Imap => to_itself(mail(from, line, false, context).map(Exchange::Imap)),
        Service::Imaps => to_itself(mail(from, line, true, context).map(Exchange::Imap)),
        Service::Nntp => to_itself(Some(Exchange::Nntp)),
        Service::Pop => to_itself(mail(from, line, false, context).map(Exchange::Pop)),
        Service::Pops => to_itself(mail(from, line, true, context).map(Exchange::Pop)),
        Service::Oracle => oracle(from, line, context),
        Service::Pgsql => to_itself(sql(from, line, context).map(Exchange::Pgsql)),
        Service::Radius => {
            let check = exchange::radius(&texts(from, line), context.faults);
            to_itself(check.map(Exchange::Radius))
        }
        Service::Simpletcp => to_itself(Some(Exchange::Text(text(from, line)))),
        Service::Sip => {
            let check = exchange::sip(&texts(from, line), transport(from), context.faults);
            to_itself(check.map(Exchange::Sip))
        }
        Service::Smtp => to_itself(Some(smtp(false))),
        Service::Submission => to_itself(Some(smtp(true))),
        Service::None | Service::Unusable => None,
    }
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
        // The name is not compared, as with ldirectord on Debian 12.
        tls: tls.then(|| Tls::by(Authority::System)),
        method: from.check.method,
        path: request.path,
        host: from.check.host.map(str::to_owned),
        headers: Vec::new(),
        login: None,
        want: wanted(from, line, context),
    };
    Some((Exchange::Http(http), request.elsewhere))
}

/// 2xx, and what the body must match.
fn wanted(from: &Virtual<'_>, line: &Real<'_>, context: &mut Context<'_, '_>) -> Wanted {
    let receive = line.receive(&from.check);
    if let (Some(word), HttpMethod::Head) = (receive, from.check.method) {
        let message = "an answer to HEAD has no body: nothing in it can ever match `receive`";
        if let Some(warning) = context.faults.warn_once(word.span(), message) {
            warning.help("`httpmethod=GET`; such servers are always down, with ldirectord too");
        }
    }
    Wanted { receive: receive.map(|word| word.text.to_owned()), ..Wanted::default() }
}

fn smtp(submission: bool) -> Exchange {
    Exchange::Smtp(SmtpCheck { submission, starttls: None, host: None })
}

/// The check runs Oracle's own client, whose input knows no escape for a quote.
fn oracle(
    from: &Virtual<'_>,
    line: &Real<'_>,
    context: &mut Context<'_, '_>,
) -> Option<(Exchange, Option<(IpAddr, u16)>)> {
    let check = &from.check;
    let query = line.request(check).map(|word| word.text.trim_start_matches('/'));
    let (login, query) = (check.login.map(|word| word.text), query.unwrap_or_default());
    let at = check.service_at.unwrap_or(from.head);
    if login.is_none() || query.is_empty() {
        let message = "service=oracle without `login` and `request`: its servers are always down";
        context.faults.warn_once(at, message);
    }
    let (login, sid) = (login.unwrap_or_default(), check.database.map_or("", |word| word.text));
    let password = check.password.as_ref().map(Secret::reveal);
    if login.contains('"') || password.is_some_and(|text| text.contains('"')) {
        context.faults.fault(at, "a login and a password for Oracle have no double quotes");
        return None;
    }
    let in_sid = |c: char| c.is_ascii_alphanumeric() || "_$#.".contains(c);
    if !sid.chars().all(in_sid) {
        let span = check.database.map_or(at, |word| word.span());
        context.faults.fault(span, "not the name (SID) of an Oracle database");
        return None;
    }
    let check = OracleCheck {
        login: login.to_owned(),
        password: password.map(Password::new),
        sid: sid.to_owned(),
        query: query.to_owned(),
    };
    Some((Exchange::Oracle(check), None))
}

/// A slash before the request is HTTP's, whoever has put it there.
fn texts<'a>(from: &Virtual<'a>, line: &Real<'a>) -> Texts<'a> {
    let request = line.request(&from.check);
    let request = request.map(|word| match word.text.strip_prefix('/') {
        Some(rest) => word.part(1..1 + rest.len()),
        None => word,
    });
    Texts {
        at: from.check.service_at.unwrap_or(from.head),
        request: request.filter(|word| !word.text.is_empty()),
        receive: line.receive(&from.check),
        login: from.check.login,
        password: from.check.password.clone(),
        secret: from.check.secret.clone(),
    }
}

fn ldap(
    from: &Virtual<'_>,
    line: &Real<'_>,
    tls: Option<Tls>,
    context: &mut Context<'_, '_>,
) -> Exchange {
    Exchange::Ldap(exchange::ldap(&texts(from, line), tls, context.faults))
}

fn sql(from: &Virtual<'_>, line: &Real<'_>, context: &mut Context<'_, '_>) -> Option<SqlCheck> {
    exchange::sql(&texts(from, line), from.check.database, None, context.faults)
}

/// ldirectord wants an answer, and asks for addresses only.
fn dns(from: &Virtual<'_>, line: &Real<'_>, context: &mut Context<'_, '_>) -> Option<DnsCheck> {
    let texts = texts(from, line);
    if texts.request.is_none() {
        let message = "nothing to ask for: the name servers of the root are asked for";
        if let Some(warning) = context.faults.warn_once(texts.at, message) {
            let help = "`request=\"www.example.com\"` and `receive=\"192.0.2.1\"`; \
                        ldirectord takes such servers as always down";
            warning.help(help);
        }
    } else if texts.receive.is_none() {
        let message = "any address will do for an answer";
        if let Some(warning) = context.faults.warn_once(texts.at, message) {
            let help = "`receive=\"192.0.2.1\"`; ldirectord takes such servers as always down";
            warning.help(help);
        }
    }
    let transport = match from.key {
        ServiceKey::Address { protocol: Protocol::Tcp, .. } => Transport::Tcp,
        ServiceKey::Address { .. } | ServiceKey::Mark { .. } => Transport::Udp,
    };
    exchange::dns(&texts, transport, None, context.faults)
}

fn mail(
    from: &Virtual<'_>,
    line: &Real<'_>,
    tls: bool,
    context: &mut Context<'_, '_>,
) -> Option<MailCheck> {
    let encryption =
        if tls { Encryption::Tls(Tls::by(Authority::System)) } else { Encryption::Plain };
    exchange::mail(&texts(from, line), encryption, from.check.host, context.faults)
}

/// `\n` is a line feed, and nothing else is an escape.
fn text(from: &Virtual<'_>, line: &Real<'_>) -> TextCheck {
    let texts = texts(from, line);
    let send = texts.request.map_or(String::new(), |word| word.text.replace("\\n", "\n"));
    exchange::text(&texts, transport(from), send)
}

/// That of the service; TCP for a mark, as with ldirectord.
fn transport(from: &Virtual<'_>) -> Transport {
    match from.key {
        ServiceKey::Address { protocol: Protocol::Udp, .. } => Transport::Udp,
        ServiceKey::Address { .. } | ServiceKey::Mark { .. } => Transport::Tcp,
    }
}
