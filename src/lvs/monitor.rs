//! A line for each check of a service, for those who count or draw them (`monitorfile` of ldirectord(8)).
//!
//! The same words in the same order as ldirectord's, which puts blanks in the place of its colons.
//! When a line is written, and by which process, stands before it; that is the daemon's.

use std::fmt::Write as _;

use crate::lvs::check::{CheckKind, Verdict};
use crate::lvs::exchange::{Encryption, Exchange};
use crate::lvs::model::{RealServer, VirtualService};

/// What a check at a real server has come to: `CHECK PROTOCOL ADDRESS PORT [HOST] [CHECKPORT] WEIGHT
/// FORWARDING [REQUEST] [RECEIVE] [up|down] WHY`. `None`: nothing, for it was not about the server.
pub fn line(service: &VirtualService, real: &RealServer, verdict: &Verdict) -> Option<String> {
    let (state, why) = match verdict {
        Verdict::Up => ("up", "-".to_owned()),
        Verdict::Down(why) => ("down", escaped(&why.to_string())),
        Verdict::Said(_) => return None,
    };
    let exchange = real.check.exchange();
    let port = |port: u16| port.to_string();
    let check_port = Some(real.check_port).filter(|port| *port > 0 && *port != real.key.port);
    let words = [
        Some(check(&real.check)),
        Some(service.key.protocol().to_owned()),
        Some(real.key.address.to_string()),
        Some(port(real.key.port)),
        exchange.and_then(host).map(str::to_owned),
        check_port.map(port),
        Some(real.weight.to_string()),
        Some(real.forwarding.to_string()),
        exchange.and_then(request).map(str::to_owned),
        real.check.receive().map(str::to_owned),
    ];
    let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    let id: String =
        words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Some(format!("{id} [{state}] {why}"))
}

/// Without what separates lines and columns, as ldirectord does it.
fn escaped(why: &str) -> String {
    let mut text = String::with_capacity(why.len());
    for c in why.chars() {
        match c {
            '%' | '|' | '\r' | '\n' => {
                let _infallible = write!(text, "%{:02x}", u32::from(c));
            }
            _ => text.push(c),
        }
    }
    text
}

fn check(kind: &CheckKind) -> String {
    match kind {
        CheckKind::Agent(_) => "agent".to_owned(),
        CheckKind::External(check) => {
            let args = check.args.iter().map(|arg| format!(" {arg}")).collect::<String>();
            format!("external {}{args}", check.program)
        }
        CheckKind::File(file) => format!("file {}", file.path),
        CheckKind::On => "on".to_owned(),
        CheckKind::Off => "off".to_owned(),
        CheckKind::Connect(_) => "connect".to_owned(),
        CheckKind::Ping => "ping".to_owned(),
        CheckKind::Negotiate(exchange) => format!("negotiate {}", service_word(exchange)),
        CheckKind::Alternate { negotiate, .. } => format!("combined {}", service_word(negotiate)),
    }
}

/// As `service` of ldirectord.cf has it.
fn service_word(exchange: &Exchange) -> &'static str {
    let encrypted = exchange.tls().is_some();
    match exchange {
        Exchange::Dns(_) => "dns",
        Exchange::Ftp(_) => "ftp",
        Exchange::Grpc(_) if encrypted => "grpcs",
        Exchange::Grpc(_) => "grpc",
        Exchange::Http(_) if encrypted => "https",
        Exchange::Http(_) => "http",
        Exchange::Ldap(_) if encrypted => "ldaps",
        Exchange::Ldap(_) => "ldap",
        Exchange::Mysql(_) => "mysql",
        Exchange::Imap(mail) if matches!(mail.encryption, Encryption::Tls(_)) => "imaps",
        Exchange::Imap(_) => "imap",
        Exchange::Nntp => "nntp",
        Exchange::Pop(mail) if matches!(mail.encryption, Encryption::Tls(_)) => "pops",
        Exchange::Pop(_) => "pop",
        Exchange::Oracle(_) => "oracle",
        Exchange::Pgsql(_) => "pgsql",
        Exchange::Proxy(_) => "http_proxy",
        Exchange::Radius(_) => "radius",
        Exchange::Redis(_) => "redis",
        Exchange::Sip(_) => "sip",
        Exchange::Smtp(smtp) if smtp.submission => "submission",
        Exchange::Smtp(_) => "smtp",
        Exchange::Text(_) => "simpletcp",
    }
}

/// `virtualhost`.
fn host(exchange: &Exchange) -> Option<&str> {
    match exchange {
        Exchange::Http(http) => http.host.as_deref(),
        Exchange::Grpc(grpc) => grpc.host.as_deref(),
        Exchange::Imap(mail) | Exchange::Pop(mail) => mail.host.as_deref(),
        Exchange::Smtp(smtp) => smtp.host.as_deref(),
        _ => None,
    }
}

fn request(exchange: &Exchange) -> Option<&str> {
    match exchange {
        Exchange::Dns(dns) => Some(&dns.name),
        Exchange::Ftp(ftp) => ftp.path.as_deref(),
        Exchange::Grpc(grpc) => Some(&grpc.service),
        Exchange::Http(http) => Some(&http.path),
        Exchange::Ldap(ldap) => Some(&ldap.base),
        Exchange::Mysql(sql) | Exchange::Pgsql(sql) => Some(&sql.query),
        Exchange::Oracle(oracle) => Some(&oracle.query),
        Exchange::Proxy(proxy) => Some(&proxy.uri),
        Exchange::Text(text) => Some(&text.send),
        Exchange::Imap(_)
        | Exchange::Nntp
        | Exchange::Pop(_)
        | Exchange::Radius(_)
        | Exchange::Redis(_)
        | Exchange::Sip(_)
        | Exchange::Smtp(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::check::CheckFailure;
    use crate::lvs::exchange::{HttpCheck, HttpMethod, Wanted};
    use crate::lvs::testing::{real, service};

    #[test]
    fn a_line_names_the_check_and_its_server_as_ldirectord_does_and_says_why() {
        let mut server = real(6);
        let service = service(110, &[6]);
        assert_eq!(
            line(&service, &server, &Verdict::Up).unwrap(),
            "connect tcp 10.0.1.6 80 1 gate [up] -"
        );
        let want = Wanted { receive: Some("I am alive".to_owned()), ..Wanted::default() };
        server.check = CheckKind::Negotiate(Exchange::Http(HttpCheck {
            tls: None,
            method: HttpMethod::Get,
            path: "/alive.html".to_owned(),
            host: Some("www.example.com".to_owned()),
            headers: Vec::new(),
            login: None,
            want,
        }));
        (server.check_port, server.weight) = (8080, 5);
        let why = CheckFailure::Protocol("50% |\r\n".to_owned());
        assert_eq!(
            line(&service, &server, &Verdict::Down(why)).unwrap(),
            "negotiate http tcp 10.0.1.6 80 www.example.com 8080 5 gate /alive.html I am alive \
             [down] not a valid answer: 50%25 %7c%0d%0a"
        );
    }
}
