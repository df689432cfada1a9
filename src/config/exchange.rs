//! What a check says to a server, made from the texts that a file gives it: the rules that
//! ldirectord.cf and pairbeat.toml have in common.
//!
//! Neighbours: `ldirectord::exchange` and `toml::exchange` find the texts, each in its own words.

use std::net::IpAddr;

use crate::config::diag::{Faults, Span, Word};
use crate::keys::Secret;
use crate::lvs::exchange::{
    DnsCheck, DnsRecord, Encryption, FtpCheck, HttpMethod, LdapCheck, Login, MailCheck, Password,
    ProxyCheck, RADIUS_LOGIN_MAX, RADIUS_PASSWORD_MAX, RadiusCheck, SipCheck, SqlCheck, TextCheck,
    Tls, Transport, Wanted,
};

/// Longest name, in bytes, without the dot at its end (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;
/// Longest part between two dots.
const LABEL_MAX: usize = 63;

/// What is said of one check.
#[derive(Debug)]
pub(super) struct Texts<'a> {
    /// Where something that is missing is missed.
    pub(super) at: Span,
    /// Never empty.
    pub(super) request: Option<Word<'a>>,
    /// A regular expression.
    pub(super) receive: Option<Word<'a>>,
    pub(super) login: Option<Word<'a>>,
    pub(super) password: Option<Secret>,
    pub(super) secret: Option<Secret>,
}

impl Texts<'_> {
    fn pattern(&self) -> Option<String> {
        self.receive.map(|word| word.text.to_owned())
    }
}

/// A question for a name, of type A where nothing is said; an address is asked for its name, as by
/// ldirectord. Nothing is a question for the root's name servers.
pub(super) fn dns(
    texts: &Texts<'_>,
    transport: Transport,
    record: Option<DnsRecord>,
    faults: &mut Faults<'_>,
) -> Option<DnsCheck> {
    let Some(word) = texts.request else {
        let (name, record) = (String::new(), record.unwrap_or(DnsRecord::Ns));
        return Some(DnsCheck { transport, name, record, receive: texts.pattern() });
    };
    let receive = texts.pattern();
    if let (Ok(address), None) = (word.text.parse::<IpAddr>(), record) {
        let (name, record) = (reverse(address), DnsRecord::Ptr);
        return Some(DnsCheck { transport, name, record, receive });
    }
    let name = word.text.strip_suffix('.').unwrap_or(word.text);
    let fit = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    if name.len() > NAME_MAX || (!name.is_empty() && !name.split('.').all(fit)) {
        let message = format!("`{}` is not a name that a name server could know", word.text);
        faults.fault(word.span(), message).help("`www.example.com`, or an address");
        return None;
    }
    let record = record.unwrap_or(DnsRecord::A);
    Some(DnsCheck { transport, name: name.to_owned(), record, receive })
}

/// Under which an address's name is kept (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(it) => {
            let [a, b, c, d] = it.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(it) => {
            let digits = format!("{:032x}", it.to_bits());
            let digits = digits.chars().rev().map(|digit| format!("{digit}."));
            format!("{}ip6.arpa", digits.collect::<String>())
        }
    }
}

/// A search for the entry that is asked for, with a login where there is one.
pub(super) fn ldap(texts: &Texts<'_>, tls: Option<Tls>, faults: &mut Faults<'_>) -> LdapCheck {
    let text = |word: Word<'_>| word.text.to_owned();
    if texts.login.is_some() != texts.password.is_some() {
        let message = "a login of ldap needs a name and a password: the bind is anonymous";
        faults.warn_once(texts.at, message);
    }
    LdapCheck {
        tls,
        base: texts.request.map(text).unwrap_or_default(),
        receive: texts.pattern(),
        login: texts.login.map(text),
        password: texts.password.as_ref().map(|secret| Password::new(secret.reveal())),
    }
}

/// A query that must return a row, behind a login; the password may be missing.
pub(super) fn sql(
    texts: &Texts<'_>,
    database: Option<Word<'_>>,
    tls: Option<Tls>,
    faults: &mut Faults<'_>,
) -> Option<SqlCheck> {
    let (Some(login), Some(query)) = (texts.login, texts.request) else {
        let message = "a check of a database needs a login and a request";
        let help = "`login` and `request=\"SELECT 1\"`, which must return a row; or \
                    `checktype=connect`";
        faults.fault(texts.at, message).help(help);
        return None;
    };
    if texts.receive.is_some() {
        faults.warn_once(texts.at, "`receive` says nothing to a database: one row is enough");
    }
    let passwords = texts.password.as_ref().map(Secret::reveal);
    let words = [Some(login.text), database.map(|word| word.text), passwords];
    if words.into_iter().flatten().any(|word| word.contains('\0')) {
        faults.fault(texts.at, "a login, a password or a database with a NUL");
        return None;
    }
    Some(SqlCheck {
        login: login.text.to_owned(),
        password: texts.password.as_ref().map(|secret| Password::new(secret.reveal())),
        database: database.map(|word| word.text.to_owned()),
        query: query.text.to_owned(),
        tls,
    })
}

/// A login with all that it needs.
pub(super) fn radius(texts: &Texts<'_>, faults: &mut Faults<'_>) -> Option<RadiusCheck> {
    let (Some(login), Some(password), Some(secret)) = (texts.login, &texts.password, &texts.secret)
    else {
        let message = "a check of radius needs a login, a password and a secret";
        faults.fault(texts.at, message).help("without them no server would ever be up");
        return None;
    };
    if login.text.len() > RADIUS_LOGIN_MAX || password.reveal().len() > RADIUS_PASSWORD_MAX {
        let message = format!(
            "radius has room for {RADIUS_LOGIN_MAX} bytes of login and {RADIUS_PASSWORD_MAX} of \
             password"
        );
        faults.fault(texts.at, message);
        return None;
    }
    Some(RadiusCheck {
        login: login.text.to_owned(),
        password: Password::new(password.reveal()),
        secret: Password::new(secret.reveal()),
    })
}

/// A mailbox server, with a login where there is one.
pub(super) fn mail(
    texts: &Texts<'_>,
    encryption: Encryption,
    host: Option<&str>,
    faults: &mut Faults<'_>,
) -> Option<MailCheck> {
    let login = match texts.login {
        Some(name) => Some(login(name.text, texts, faults)?),
        None => None,
    };
    Some(MailCheck { encryption, host: host.map(str::to_owned), login })
}

/// For a protocol of lines: neither part can have a control character in it.
pub(super) fn login(name: &str, texts: &Texts<'_>, faults: &mut Faults<'_>) -> Option<Login> {
    let password = texts.password.as_ref().map_or("", Secret::reveal);
    if name.contains(char::is_control) || password.contains(char::is_control) {
        let message = "a login and its password are without control characters";
        faults.fault(texts.at, message);
        return None;
    }
    Some(Login { name: name.to_owned(), password: Password::new(password) })
}

/// A file, or a listing where none is named; anonymous where nobody logs in.
pub(super) fn ftp(texts: &Texts<'_>, faults: &mut Faults<'_>) -> Option<FtpCheck> {
    let name = texts.login.map_or("anonymous", |word| word.text);
    let login = login(name, texts, faults)?;
    let path = match texts.request {
        Some(word) if word.text.contains(char::is_control) => {
            faults.fault(word.span(), "a path is without control characters");
            return None;
        }
        Some(word) if word.text.starts_with('/') => Some(word.text.to_owned()),
        Some(word) => Some(format!("/{}", word.text)),
        None => None,
    };
    Some(FtpCheck { login, path, receive: texts.pattern() })
}

/// A page that a proxy can be asked for: ldirectord sends `https://` past the proxy.
pub(super) fn proxy(
    texts: &Texts<'_>,
    method: HttpMethod,
    want: Wanted,
    faults: &mut Faults<'_>,
) -> Option<ProxyCheck> {
    const HELP: &str = "`request=\"http://www.example.com/\"`";
    let Some(word) = texts.request else {
        faults.fault(texts.at, "nothing that the proxy could be asked for").help(HELP);
        return None;
    };
    let host = word.text.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    let fit = |c: char| c.is_ascii_graphic() && !r#""<>\^`{|}#@"#.contains(c);
    if host.is_none_or(str::is_empty) || !word.text.chars().all(fit) {
        let message = format!("`{}` is no address that a proxy can be asked for", word.text);
        faults.fault(word.span(), message).help(HELP);
        return None;
    }
    Some(ProxyCheck { method, uri: word.text.to_owned(), want })
}

/// Who is asked for.
pub(super) fn sip(
    texts: &Texts<'_>,
    transport: Transport,
    faults: &mut Faults<'_>,
) -> Option<SipCheck> {
    let unfit = |c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>');
    if let Some(word) = texts.login.filter(|word| word.text.contains(unfit)) {
        faults.fault(word.span(), "the login is not a SIP address").help("`USER@HOST`");
        return None;
    }
    Some(SipCheck { transport, user: texts.login.map(|word| word.text.to_owned()) })
}

/// A text, and a line of the answer.
pub(super) fn text(texts: &Texts<'_>, transport: Transport, send: String) -> TextCheck {
    TextCheck { transport, send, receive: texts.pattern(), half_close: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_for_by_its_name_in_the_reverse_tree() {
        assert_eq!(reverse([192, 0, 2, 1].into()), "1.2.0.192.in-addr.arpa");
        let six = reverse("2001:db8::567:89ab".parse().unwrap());
        let want = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(six, want);
    }
}
