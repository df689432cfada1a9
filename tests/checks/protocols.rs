//! A good conversation of each protocol.

use pairbeat::lvs::exchange::{
    Encryption, Exchange, HttpCheck, HttpMethod, MailCheck, ProxyCheck, SipCheck, SmtpCheck,
    TextCheck, Transport, Wanted,
};

use crate::rig::{by_system, login};
use crate::script::Act::{self, Hear, HearHead, Say, Tls};

/// What is checked, and what a server that works does.
pub(crate) struct Dialog {
    pub(crate) name: &'static str,
    pub(crate) exchange: Exchange,
    pub(crate) script: Vec<Act>,
    /// The beginning of an answer that can go on like this for ever.
    pub(crate) more: &'static [u8],
    /// A refusal.
    pub(crate) no: &'static [u8],
}

fn say(text: &str) -> Act {
    Say(text.as_bytes().to_vec())
}

fn dialog(
    name: &'static str,
    exchange: Exchange,
    (more, no): (&'static str, &'static str),
    script: Vec<Act>,
) -> Dialog {
    Dialog { name, exchange, script, more: more.as_bytes(), no: no.as_bytes() }
}

fn mail(tls: bool) -> MailCheck {
    let encryption = if tls { Encryption::Tls(by_system()) } else { Encryption::Plain };
    MailCheck { encryption, host: None, login: Some(login("joe", "hush")) }
}

/// One for each protocol, with TLS and without.
pub(crate) fn dialogs() -> Vec<Dialog> {
    let mut all = Vec::new();
    for tls in [false, true] {
        let plain = |script: Vec<Act>| [if tls { vec![Tls] } else { vec![] }, script].concat();
        let names: [&'static str; 3] =
            if tls { ["https", "imaps", "pops"] } else { ["http", "imap", "pop"] };
        let http = HttpCheck {
            tls: tls.then(by_system),
            method: HttpMethod::Get,
            path: "/".to_owned(),
            host: None,
            headers: Vec::new(),
            login: None,
            want: Wanted { receive: Some("^OK".to_owned()), ..Wanted::default() },
        };
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
        let no = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
        let (more, script) = ("X-More: and more\r\n", vec![HearHead, say(page)]);
        all.push(dialog(names[0], Exchange::Http(http), (more, no), plain(script)));
        let script = vec![
            say("* OK [CAPABILITY IMAP4rev1] ready\r\n"),
            Hear,
            say("* CAPABILITY IMAP4rev1\r\na OK in\r\n"),
        ];
        let words = ("* more\r\n", "* BYE no\r\n");
        all.push(dialog(names[1], Exchange::Imap(mail(tls)), words, plain(script)));
        let script = vec![say("+OK ready\r\n"), Hear, say("+OK\r\n"), Hear, say("+OK in\r\n")];
        let words = ("+", "-ERR no\r\n");
        all.push(dialog(names[2], Exchange::Pop(mail(tls)), words, plain(script)));
    }
    let text = TextCheck {
        transport: Transport::Tcp,
        send: "ping\n".to_owned(),
        receive: Some("^pong$".to_owned()),
        half_close: true,
    };
    let script = vec![Hear, say("pong\r\n")];
    all.push(dialog("simpletcp", Exchange::Text(text), ("pon\r\n", "nothing\r\n"), script));
    let script = vec![say("200 news\r\n")];
    all.push(dialog("nntp", Exchange::Nntp, ("200-more\r\n", "400 no\r\n"), script));
    let uri = "http://www.example.org/".to_owned();
    let proxy = ProxyCheck {
        method: HttpMethod::Get,
        uri,
        want: Wanted { receive: Some("^OK".to_owned()), ..Wanted::default() },
    };
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
    let no = "HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n";
    let words = ("HTTP/1.1 100 Continue\r\n\r\n", no);
    all.push(dialog("http_proxy", Exchange::Proxy(proxy), words, vec![HearHead, say(page)]));
    let sip = SipCheck { transport: Transport::Tcp, user: None };
    let options = "SIP/2.0 100 Trying\r\n\r\nSIP/2.0 200 OK\r\n\r\n";
    let words = ("SIP/2.0 100 Trying\r\n\r\n", "SIP/2.0 404 Not Found\r\n\r\n");
    all.push(dialog("sip", Exchange::Sip(sip), words, vec![HearHead, say(options)]));
    let smtp = Exchange::Smtp(SmtpCheck { submission: false, starttls: None, host: None });
    let script = vec![say("220 mail ESMTP\r\n"), Hear, say("250-mail\r\n250 HELP\r\n")];
    all.push(dialog("smtp", smtp, ("220-more\r\n", "421 no\r\n"), script));
    all
}
