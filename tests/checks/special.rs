//! What only HTTP and TLS can be abused for.

use crate::hostile::Case;
use crate::protocols::dialogs;
use crate::script::Act::{self, Close, Drip, Endless, HearHead, Reset, Say, Stay, Tls};

fn say(text: &str) -> Act {
    Say(text.as_bytes().to_vec())
}

fn endless(text: &str) -> Act {
    Endless(text.repeat(200).into_bytes())
}

type Abuse = (&'static str, Vec<Act>, &'static [&'static str]);

/// After a request: what comes before the body, and how it is cut.
fn heads() -> Vec<Abuse> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head: &[&str] = &["too large", "protocol", "timeout"];
    vec![
        ("headers without end", vec![say(ok), endless("X: y\r\n")], head),
        ("a header without end", vec![say(ok), say("X: "), endless("y")], head),
        ("a folded header without end", vec![say(ok), say("X: y\r\n"), endless(" z\r\n")], head),
        ("1xx without end", vec![endless("HTTP/1.1 100 Continue\r\n\r\n")], head),
        ("a body without end", vec![say("HTTP/1.0 200 OK\r\n\r\n"), endless("x")], &["too large"]),
        (
            "chunks without end",
            vec![say(chunked), endless("1\r\nx\r\n")],
            &["too large", "timeout"],
        ),
        (
            "a chunk of 16 EiB",
            vec![say(chunked), say("ffffffffffffffff\r\n"), Stay],
            &["timeout", "protocol", "too large"],
        ),
        (
            "a chunk size that overflows",
            vec![say(chunked), say("fffffffffffffffff\r\nx"), Stay],
            &["protocol"],
        ),
        ("a chunk size that is none", vec![say(chunked), say("-1\r\nx\r\n"), Stay], &["protocol"]),
        ("a chunk extension without end", vec![say(chunked), say("1;"), endless("x")], head),
        ("trailers without end", vec![say(chunked), say("0\r\n"), endless("X: y\r\n")], head),
    ]
}

/// After a request: the body.
fn bodies() -> Vec<Abuse> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let with = |header: &str| say(&format!("{ok}{header}\r\n\r\n"));
    vec![
        ("chunks cut off", vec![say(chunked), say("9\r\nOK"), Close], &["closed"]),
        ("a body that is cut off", vec![with("Content-Length: 9"), say("OK"), Close], &["closed"]),
        ("a body that is reset", vec![with("Content-Length: 9"), say("OK"), Reset], &["closed"]),
        ("a body that stalls", vec![with("Content-Length: 9"), say("OK"), Stay], &["timeout"]),
        (
            "a body of one byte a second",
            vec![with("Content-Length: 9"), Drip(b"OK".to_vec())],
            &["timeout"],
        ),
        ("a body of no bytes", vec![with("Content-Length: 0"), Stay], &["no match"]),
        (
            "a body of 200 GB",
            vec![with("Content-Length: 200000000000"), endless("x")],
            &["too large"],
        ),
        ("a length below zero", vec![with("Content-Length: -1"), say("OK"), Stay], &["protocol"]),
        (
            "a length that overflows",
            vec![with("Content-Length: 99999999999999999999"), say("OK"), Stay],
            &["protocol"],
        ),
        (
            "two lengths",
            vec![with("Content-Length: 2\r\nContent-Length: 3"), say("OK"), Stay],
            &["protocol"],
        ),
        // A megabyte of zeros in a thousand bytes; nobody asked for it, and nobody unpacks it.
        (
            "a compressed bomb",
            vec![
                with("Content-Encoding: gzip\r\nContent-Length: 12"),
                Say(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c]),
                Stay,
            ],
            &["no match"],
        ),
        ("HTTP/0.9", vec![say("OK\r\n"), Close], &["protocol"]),
        ("HTTP/9.9", vec![say("HTTP/9.9 200 OK\r\n\r\nOK"), Close], &["protocol"]),
        (
            "a redirect to itself",
            vec![say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), Stay],
            &["status"],
        ),
        (
            "another protocol afterwards",
            vec![
                say(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                ),
                Stay,
            ],
            &["status", "protocol", "timeout", "closed", "another"],
        ),
    ]
}

/// Instead of a handshake.
fn tls() -> Vec<Abuse> {
    // A record of a handshake, then a ServerHello that would be 16 MB long.
    let hello = [22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff];
    let anything: &[&str] = &["tls", "timeout", "protocol"];
    vec![
        ("TLS silence", vec![Stay], &["timeout"]),
        ("plain text for TLS", vec![say("HTTP/1.1 400 Bad Request\r\n\r\n"), Stay], &["tls"]),
        ("half a record's head", vec![Say(vec![22, 3, 3]), Stay], &["timeout"]),
        ("a record that does not come", vec![Say(vec![22, 3, 3, 1, 0]), Stay], &["timeout"]),
        (
            "a record over the limit",
            vec![Say(vec![22, 3, 3, 255, 255]), Endless(vec![0; 4096])],
            anything,
        ),
        ("a handshake without end", vec![Say(hello.to_vec()), Endless(vec![0; 4096])], anything),
        ("empty records without end", vec![Endless([22, 3, 3, 0, 0].repeat(500))], anything),
        ("a TLS alert", vec![Say(vec![21, 3, 3, 0, 2, 2, 40]), Stay], &["tls"]),
        ("warnings without end", vec![Endless([21, 3, 3, 0, 2, 1, 90].repeat(500))], anything),
        ("TLS at one byte a second", vec![Drip(vec![22, 3, 3, 1, 0])], &["timeout"]),
        ("a closed handshake", vec![Say(vec![22, 3, 3]), Close], &["closed", "tls"]),
        ("a reset handshake", vec![Say(vec![22, 3, 3]), Reset], &["closed"]),
    ]
}

/// All of them, in every protocol that they are for.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dialog in dialogs() {
        let with_tls = matches!(dialog.script.first(), Some(Tls));
        let before = if with_tls { vec![Tls, HearHead] } else { vec![HearHead] };
        let mut add = |before: &[Act], abuses: Vec<Abuse>| {
            cases.extend(abuses.into_iter().map(|(name, acts, causes)| Case {
                name: format!("{}: {name}", dialog.name),
                exchange: dialog.exchange.clone(),
                script: [before.to_vec(), acts].concat(),
                causes,
            }));
        };
        if dialog.name.starts_with("http") {
            add(&before, heads());
            add(&before, bodies());
        }
        if with_tls {
            add(&[], tls());
        }
    }
    cases
}
