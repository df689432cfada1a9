//! Texts and SIP over UDP, with scripted servers.

use std::sync::atomic::{AtomicU32, Ordering};

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, SipCheck, TextCheck, Transport};

use crate::rig::{SHORT, answering, free_port, is_silence, verdict, verdict_within};

fn text(receive: Option<&str>) -> Exchange {
    Exchange::Text(TextCheck {
        transport: Transport::Udp,
        send: "ping".to_owned(),
        receive: receive.map(str::to_owned),
        half_close: true,
    })
}

fn sip() -> Exchange {
    let user = Some("joe@example.org".to_owned());
    Exchange::Sip(SipCheck { transport: Transport::Udp, user })
}

#[test]
fn a_datagram_is_answered_as_expected_or_the_server_is_down() {
    let echo = answering(|asked| Some([asked, b"\r\npong\r\n"].concat()));
    assert_eq!(verdict(&text(None), echo), Verdict::Up);
    assert_eq!(verdict(&text(Some("^pong$")), echo), Verdict::Up);
    let missing = Verdict::Down(CheckFailure::NoMatch("^pang$".to_owned()));
    assert_eq!(verdict(&text(Some("^pang$")), echo), missing);
    let empty = answering(|_| Some(Vec::new()));
    let missing = Verdict::Down(CheckFailure::NoMatch("pong".to_owned()));
    assert_eq!(verdict(&text(Some("pong")), empty), missing);
    let large = answering(|_| Some(vec![b'x'; 9000]));
    assert_eq!(verdict(&text(None), large), Verdict::Down(CheckFailure::TooLarge(4096)));
    assert!(is_silence(&verdict_within(&text(None), answering(|_| None), SHORT)));
    assert_eq!(verdict(&text(None), free_port()), Verdict::Down(CheckFailure::Refused));
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let heard = AtomicU32::new(0);
    let second = answering(move |_| {
        let before = heard.fetch_add(1, Ordering::Relaxed);
        (before > 0).then(|| b"pong".to_vec())
    });
    assert_eq!(verdict_within(&text(Some("pong")), second, SHORT * 10), Verdict::Up);
}

#[test]
fn a_sip_server_is_up_with_200_and_nothing_else() {
    let head = |asked: &[u8], status: &str| {
        let asked = String::from_utf8(asked.to_vec()).unwrap();
        assert!(asked.starts_with("OPTIONS sip:joe@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127."));
        Some(format!("SIP/2.0 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    };
    assert_eq!(verdict(&sip(), answering(move |asked| head(asked, "200 OK"))), Verdict::Up);
    let refused = verdict(&sip(), answering(move |asked| head(asked, "404 Not Found")));
    let words = "SIP/2.0 404 Not Found".to_owned();
    assert_eq!(refused, Verdict::Down(CheckFailure::Answer(words)));
    // It says that it tries, and nothing more.
    let trying = answering(move |asked| head(asked, "100 Trying"));
    assert!(is_silence(&verdict_within(&sip(), trying, SHORT)));
    let garbage = verdict(&sip(), answering(|_| Some(b"\0\0\0\0".to_vec())));
    assert!(matches!(garbage, Verdict::Down(CheckFailure::Protocol(_))), "{garbage:?}");
    assert_eq!(verdict(&sip(), free_port()), Verdict::Down(CheckFailure::Refused));
}
