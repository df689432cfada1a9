//! What a check of pairbeat.toml says to a service: its texts, and the exchange made from them.

use crate::config::diag::{Span, Word};
use crate::config::exchange::{self, Texts};
use crate::config::ldirectord::http::request;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::config::toml::{http, tls};
use crate::keys::Secret;
use crate::lvs::exchange::{
    DnsRecord, Exchange, GRPC_SERVICE_MAX, GrpcCheck, HttpCheck, HttpMethod, Login, MailCheck,
    Password, RedisCheck, SmtpCheck, SqlCheck, Transport,
};
use crate::lvs::model::{Protocol, ServiceKey};

/// The texts; what they mean depends on the type of the check.
#[derive(Debug, Clone, Default)]
pub(super) struct Said<'d> {
    request: Option<Word<'d>>,
    record: Option<DnsRecord>,
    login: Option<Word<'d>>,
    password: Option<Secret>,
    database: Option<Word<'d>>,
    secret: Option<Secret>,
    pub(super) tls: tls::Said,
    pub(super) http: http::Said,
}

impl<'d> Said<'d> {
    /// From the fields of a check.
    pub(super) fn read(fields: &mut Fields<'d>, walk: &mut Walk<'_>) -> Self {
        let mut text = |key| {
            let word = fields.take(key).and_then(|item| item.text(walk));
            word.filter(|word| !word.text.is_empty())
        };
        let (request, login) = (text("request"), text("login"));
        let database = text("database");
        let (password, secret) = (text("password_file"), text("secret_file"));
        Self {
            request,
            record: fields.take("record").and_then(|item| record(item, walk)),
            login,
            database,
            password: password.and_then(|file| walk.password(file)),
            secret: secret.and_then(|file| walk.password(file)),
            tls: tls::Said::read(fields, walk),
            http: http::Said::read(fields, walk),
        }
    }

    /// What this one does not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        Self {
            request: self.request.or(farther.request),
            record: self.record.or(farther.record),
            login: self.login.or(farther.login),
            database: self.database.or(farther.database),
            password: self.password.or_else(|| farther.password.clone()),
            secret: self.secret.or_else(|| farther.secret.clone()),
            tls: self.tls.or(&farther.tls),
            http: self.http.or(&farther.http),
        }
    }

    fn texts(&self, receive: Option<Word<'d>>, at: Span) -> Texts<'d> {
        Texts {
            at,
            request: self.request,
            receive,
            login: self.login,
            password: self.password.clone(),
            secret: self.secret.clone(),
        }
    }

    /// Over the protocol of the service; UDP for a mark.
    pub(super) fn dns(
        &self,
        receive: Option<Word<'d>>,
        key: &ServiceKey,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        let transport = transport("dns", key, at, walk)?;
        let texts = self.texts(receive, at);
        exchange::dns(&texts, transport, self.record, &mut walk.faults).map(Exchange::Dns)
    }

    /// A search for `request`.
    pub(super) fn ldap(
        &self,
        receive: Option<Word<'d>>,
        tls: bool,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Exchange {
        let tls = tls.then(|| self.tls.tls());
        Exchange::Ldap(exchange::ldap(&self.texts(receive, at), tls, &mut walk.faults))
    }

    /// A query, and a row of its answer.
    pub(super) fn sql(&self, at: Span, walk: &mut Walk<'_>) -> Option<SqlCheck> {
        let (texts, tls) = (self.texts(None, at), self.tls.demanded());
        exchange::sql(&texts, self.database, tls, &mut walk.faults)
    }

    /// A login.
    pub(super) fn radius(&self, at: Span, walk: &mut Walk<'_>) -> Option<Exchange> {
        exchange::radius(&self.texts(None, at), &mut walk.faults).map(Exchange::Radius)
    }

    /// The file of the request, or a listing.
    pub(super) fn ftp(
        &self,
        receive: Option<Word<'d>>,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        exchange::ftp(&self.texts(receive, at), &mut walk.faults).map(Exchange::Ftp)
    }

    /// The health of the service that `request` names, or of the server as a whole.
    pub(super) fn grpc(
        &self,
        tls: bool,
        host: Option<&str>,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        if let Some(word) = self.request.filter(|word| word.text.len() > GRPC_SERVICE_MAX) {
            let message = format!("a service of gRPC with over {GRPC_SERVICE_MAX} bytes of name");
            walk.faults.fault(word.span(), message);
            return None;
        }
        Some(Exchange::Grpc(GrpcCheck {
            tls: tls.then(|| self.tls.tls()),
            host: host.map(str::to_owned),
            service: self.request.map_or("", |word| word.text).to_owned(),
        }))
    }

    /// The page of the request.
    pub(super) fn proxy(
        &self,
        method: Option<HttpMethod>,
        receive: Option<Word<'d>>,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        let method = method.unwrap_or(HttpMethod::Get);
        let want = self.http.wanted(method, receive, at, walk);
        let texts = self.texts(receive, at);
        exchange::proxy(&texts, method, want, &mut walk.faults).map(Exchange::Proxy)
    }

    /// OPTIONS for the login, over the protocol of the service; UDP for a mark.
    pub(super) fn sip(&self, key: &ServiceKey, at: Span, walk: &mut Walk<'_>) -> Option<Exchange> {
        let texts = self.texts(None, at);
        let transport = transport("sip", key, at, walk)?;
        exchange::sip(&texts, transport, &mut walk.faults).map(Exchange::Sip)
    }

    /// A greeting, and a login where there is one.
    pub(super) fn mail(
        &self,
        tls: bool,
        host: Option<&str>,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Option<MailCheck> {
        let encryption = self.tls.encryption(tls);
        exchange::mail(&self.texts(None, at), encryption, host, &mut walk.faults)
    }

    /// A greeting and EHLO, in TLS where that is asked for.
    pub(super) fn smtp(&self, submission: bool, host: Option<&str>) -> Exchange {
        let starttls = (self.tls.starttls == Some(true)).then(|| self.tls.tls());
        Exchange::Smtp(SmtpCheck { submission, starttls, host: host.map(str::to_owned) })
    }

    /// A page.
    pub(super) fn http(
        &self,
        page: Page<'d>,
        receive: Option<Word<'d>>,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Option<Exchange> {
        let Page { tls, method, path, host } = page;
        let path = match path {
            Some(word) => request(word, tls, &mut walk.director())?.path,
            None => "/".to_owned(),
        };
        Some(Exchange::Http(HttpCheck {
            tls: tls.then(|| self.tls.tls()),
            method,
            path,
            host: host.map(str::to_owned),
            headers: self.http.headers(),
            login: self.basic(at, walk)?,
            want: self.http.wanted(method, receive, at, walk),
        }))
    }

    /// `Some(None)`: nobody logs in.
    fn basic(&self, at: Span, walk: &mut Walk<'_>) -> Option<Option<Login>> {
        let Some(name) = self.login else { return Some(None) };
        if name.text.contains(':') {
            walk.faults.fault(name.span(), "a login of HTTP has no colon in it");
            return None;
        }
        exchange::login(name.text, &self.texts(None, at), &mut walk.faults).map(Some)
    }

    /// The request as it is.
    pub(super) fn text(
        &self,
        transport: Transport,
        receive: Option<Word<'d>>,
        at: Span,
    ) -> Exchange {
        let send = self.request.map_or("", |word| word.text).to_owned();
        Exchange::Text(exchange::text(&self.texts(receive, at), transport, send))
    }

    /// PING, behind a login where there is one.
    pub(super) fn redis(&self, at: Span, walk: &mut Walk<'_>) -> Option<Exchange> {
        if let (Some(_), None) = (self.login, &self.password) {
            walk.faults.fault(at, "a login without a password").help("`password_file = \"FILE\"`");
            return None;
        }
        Some(Exchange::Redis(RedisCheck {
            login: self.login.map(|word| word.text.to_owned()),
            password: self.password.as_ref().map(|secret| Password::new(secret.reveal())),
        }))
    }
}

/// What is asked for over HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page<'d> {
    pub(super) tls: bool,
    pub(super) method: HttpMethod,
    pub(super) path: Option<Word<'d>>,
    pub(super) host: Option<&'d str>,
}

/// That of the service; UDP for a mark. A fault where the service's can't carry `what`.
fn transport(what: &str, key: &ServiceKey, at: Span, walk: &mut Walk<'_>) -> Option<Transport> {
    match key {
        ServiceKey::Address { protocol: Protocol::Tcp, .. } => Some(Transport::Tcp),
        ServiceKey::Address { protocol: Protocol::Udp, .. } | ServiceKey::Mark { .. } => {
            Some(Transport::Udp)
        }
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => {
            let message = format!("a check of {what} goes over the service's tcp or udp, not sctp");
            let help = "`check = \"connect\"` connects by SCTP; a program can say more";
            walk.faults.fault(at, message).help(help);
            None
        }
    }
}

fn record(item: Item<'_>, walk: &mut Walk<'_>) -> Option<DnsRecord> {
    let word = item.text(walk)?;
    let found = DnsRecord::ALL.into_iter().find(|it| it.word().eq_ignore_ascii_case(word.text));
    if found.is_none() {
        let message = format!("`{}` is not a type of DNS record that can be asked for", word.text);
        let help = DnsRecord::ALL.map(DnsRecord::word).join(", ");
        walk.faults.fault(item.span, message).help(help);
    }
    found
}
