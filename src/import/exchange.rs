//! A check of ldirectord's, as it is read from its file, in the words of pairbeat.toml.

use crate::config::COUNT_MAX;
use crate::import::document::Table;
use crate::import::model::Secrets;
use crate::import::remark::{At, Remarks};
use crate::lvs::check::CheckKind;
use crate::lvs::exchange::{Exchange, HttpMethod, Password, Transport};
use crate::lvs::model::{Protocol, RealServer, ServiceKey};
use crate::lvs::program::{ProgramCheck, Told};

/// perl(1), which runs what `external-perl` names.
const PERL: &str = "/usr/bin/perl";
/// Finds a program that is named without its path.
pub(super) const ENV: &str = "/usr/bin/env";

/// The check of a server.
pub(super) fn check(
    key: &ServiceKey,
    real: &RealServer,
    at: &At,
    secrets: &mut Secrets,
    remarks: &mut Remarks,
) -> Table {
    let mut table = match &real.check {
        CheckKind::On => typed("on"),
        CheckKind::Off => typed("off"),
        CheckKind::Ping | CheckKind::Connect(Protocol::Udp) => typed("ping"),
        CheckKind::Connect(Protocol::Tcp | Protocol::Sctp) => typed("connect"),
        CheckKind::External(program) => external(program, at, remarks),
        CheckKind::File(file) => {
            let mut table = typed("file").with("path", file.path.clone());
            table.put_some("receive", file.receive.clone());
            table
        }
        CheckKind::Negotiate(exchange) => spoken(exchange, at, secrets, remarks),
        CheckKind::Agent(_) => {
            remarks.changed(at, "an agent alone is no check here: `connect`");
            typed("connect")
        }
        CheckKind::Alternate { connects, negotiate } => {
            let connects = counted("checktype", *connects, at, remarks);
            spoken(negotiate, at, secrets, remarks).with("connects", connects)
        }
    };
    if real.check_address != real.key.address {
        table.put("address", real.check_address.to_string());
    }
    let default = if real.key.port > 0 { real.key.port } else { key.port() };
    if real.check_port > 0 && real.check_port != default {
        table.put("port", u32::from(real.check_port));
    }
    table
}

/// What pairbeat.toml takes of a count.
pub(super) fn counted(what: &str, count: u32, at: &At, remarks: &mut Remarks) -> u32 {
    if count > COUNT_MAX {
        remarks.changed(at, format!("a {what} of {count}: {COUNT_MAX}, the most there is"));
    }
    count.min(COUNT_MAX)
}

fn typed(kind: &str) -> Table {
    Table::default().with("type", kind)
}

fn external(program: &ProgramCheck, at: &At, remarks: &mut Remarks) -> Table {
    let mut command: Vec<String> = match program.program.as_str() {
        "perl" => vec![PERL.to_owned()],
        path if path.starts_with('/') => vec![path.to_owned()],
        name => {
            remarks.changed(at, format!("`{name}` has no path: it is looked for by {ENV}"));
            vec![ENV.to_owned(), name.to_owned()]
        }
    };
    command.extend(program.args.iter().cloned());
    let kind = match program.told {
        Told::Arguments { .. } => "external",
        Told::Environment { .. } => "script",
    };
    typed(kind).with("command", command)
}

/// `with` where the exchange goes to the port of that service over TLS, else `without`.
fn tls(exchange: &Exchange, with: (&str, u16), without: &str) -> Table {
    typed(if exchange.port() == Some(with.1) { with.0 } else { without })
}

/// The name of a file with a password that is not empty.
fn secret(key: &str, password: &Password, table: &mut Table, secrets: &mut Secrets) {
    if !password.reveal().is_empty() {
        table.put(key, secrets.file(password.reveal()));
    }
}

/// What is said to a service. Whether TLS is used shows in its port.
fn spoken(exchange: &Exchange, at: &At, secrets: &mut Secrets, remarks: &mut Remarks) -> Table {
    let head = |method: HttpMethod| (method == HttpMethod::Head).then_some("HEAD");
    let mut table = match exchange {
        Exchange::Dns(dns) => {
            let name = if dns.name.is_empty() { "." } else { &dns.name };
            typed("dns").with("request", name).with("record", dns.record.word())
        }
        Exchange::Http(http) => {
            let table = tls(exchange, ("https", 443), "http");
            let mut table = table.with("path", http.path.clone());
            table.put_some("host", http.host.clone());
            table.put_some("method", head(http.method));
            table
        }
        Exchange::Nntp => typed("nntp"),
        Exchange::Proxy(proxy) => {
            let mut table = typed("http_proxy").with("request", proxy.uri.clone());
            table.put_some("method", head(proxy.method));
            table
        }
        Exchange::Sip(sip) => {
            let mut table = typed("sip");
            table.put_some("login", sip.user.clone());
            table
        }
        Exchange::Smtp(_) => tls(exchange, ("submission", 587), "smtp"),
        Exchange::Text(text) => {
            let kind = if text.transport == Transport::Udp { "udp" } else { "simpletcp" };
            let mut table = typed(kind);
            table.put_some("request", Some(text.send.clone()).filter(|it| !it.is_empty()));
            table
        }
        other => match with_login(other, secrets) {
            Some(table) => table,
            None => {
                remarks.changed(at, "this check has no words in pairbeat.toml: `connect`");
                return typed("connect");
            }
        },
    };
    table.put_some("receive", exchange.receive().map(str::to_owned));
    table
}

/// Where somebody may log in.
fn with_login(exchange: &Exchange, secrets: &mut Secrets) -> Option<Table> {
    let mut table;
    match exchange {
        Exchange::Ftp(ftp) => {
            table = typed("ftp");
            table.put_some("request", ftp.path.clone());
            table.put("login", ftp.login.name.clone());
            secret("password_file", &ftp.login.password, &mut table, secrets);
        }
        Exchange::Imap(mail) | Exchange::Pop(mail) => {
            table = match exchange {
                Exchange::Imap(_) => tls(exchange, ("imaps", 993), "imap"),
                _ => tls(exchange, ("pops", 995), "pop"),
            };
            table.put_some("host", mail.host.clone());
            if let Some(login) = &mail.login {
                table.put("login", login.name.clone());
                secret("password_file", &login.password, &mut table, secrets);
            }
        }
        Exchange::Ldap(ldap) => {
            table = tls(exchange, ("ldaps", 636), "ldap");
            // ldirectord takes any certificate there.
            table.put_some("verify", (exchange.port() == Some(636)).then_some(false));
            table.put_some("request", Some(ldap.base.clone()).filter(|it| !it.is_empty()));
            if let (Some(login), Some(password)) = (&ldap.login, &ldap.password) {
                table.put("login", login.clone());
                secret("password_file", password, &mut table, secrets);
            }
        }
        Exchange::Mysql(sql) | Exchange::Pgsql(sql) => {
            table = typed(if matches!(exchange, Exchange::Mysql(_)) { "mysql" } else { "pgsql" });
            table.put("login", sql.login.clone());
            if let Some(password) = &sql.password {
                secret("password_file", password, &mut table, secrets);
            }
            table.put_some("database", sql.database.clone());
            table.put("request", sql.query.clone());
        }
        Exchange::Radius(radius) => {
            table = typed("radius").with("login", radius.login.clone());
            secret("password_file", &radius.password, &mut table, secrets);
            secret("secret_file", &radius.secret, &mut table, secrets);
        }
        Exchange::Redis(redis) => {
            table = typed("redis");
            table.put_some("login", redis.login.clone());
            if let Some(password) = &redis.password {
                secret("password_file", password, &mut table, secrets);
            }
        }
        _ => return None,
    }
    Some(table)
}
