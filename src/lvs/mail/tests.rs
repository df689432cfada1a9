use base64::Engine as _;

use super::text::{Machine, default_sender, lines};
use super::*;

fn letter(what: &str, about: Vec<About>) -> Letter {
    let to = ["ops", "a@example.com"].map(|to| MailAddress::new(to).unwrap());
    let envelope = Envelope { to: to.to_vec(), from: None, relay: None };
    let entry = Entry { at: Instant::BOOT, stage: Stage::Running, what: Line::of(what) };
    Letter { envelope, entries: vec![entry], more: 0, about }
}

fn about(name: &str, comment: &str) -> About {
    let line = |text| Some(Line::new(text).unwrap());
    About { service: "tcp 10.0.0.1:80".to_owned(), name: line(name), comment: line(comment) }
}

fn text(letter: &Letter, from: &str) -> Vec<String> {
    let wall = |_| "Sat Nov  7 23:05:09 2026".to_owned();
    let date = "Sat, 7 Nov 2026 23:05:09 +0100";
    let machine = Machine { host: "server101", date, id: "1f", wall: &wall };
    lines(letter, Some(&Sender::new(from).unwrap()), &machine)
}

#[test]
fn no_address_name_or_sender_can_begin_a_header_or_a_command_of_its_own() {
    for text in [
        "",
        "a b",
        "a@b@c",
        "@b",
        "a@",
        "-oQ/tmp",
        "a\nBcc: b",
        "a\r\nRCPT TO:<b>",
        "a>",
        "<a>",
        "a,b",
        "ä@example.com",
        "a\0b",
        "\"a\"@b",
        "a:b",
        "(c)a",
    ] {
        assert!(MailAddress::new(text).is_err(), "{text:?}");
    }
    assert!(MailAddress::new(&"x".repeat(255)).is_err());
    for text in ["root", "admin@example.com", "a+b.c-d_e@h", "x/y=z@h"] {
        assert_eq!(MailAddress::new(text).unwrap().as_str(), text);
    }
    for text in ["a\nb", "a\rb", "\u{1b}[2J", "", "  "] {
        assert!(Line::new(text).is_err(), "{text:?}");
        assert!(!Line::of(text).as_str().contains(['\r', '\n', '\u{1b}']), "{text:?}");
    }
    for text in ["x <a@b", "<a@b> <", "a\nb <c@d>", "x <a@b\r\nBcc: c>", "two words"] {
        assert!(Sender::new(text).is_err(), "{text:?}");
    }
    let sender = Sender::new("\"The director\" <d@example.com>").unwrap();
    assert_eq!(sender.name.unwrap().as_str(), "The director");
    assert_eq!(default_sender("root", "server 1").unwrap().address.as_str(), "root");
}

#[test]
fn what_a_hostile_server_says_stays_in_its_line() {
    let what =
        "10.0.1.2:80 is down: the server says: x\r\nBcc: victim@example.com\r\n\r\n.\r\nQUIT";
    let lines = text(&letter(what, vec![about("Shop", "ask the shop team")]), "d@example.com");
    let clean = "10.0.1.2:80 is down: the server says: x  Bcc: victim@example.com    .  QUIT";
    assert_eq!(
        lines,
        [
            "From: d@example.com",
            "To: ops,",
            " a@example.com",
            &format!("Subject: [Shop] {clean}"),
            "Date: Sat, 7 Nov 2026 23:05:09 +0100",
            "Message-ID: <1f@server101>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "Director host: server101",
            "",
            &format!("Sat Nov  7 23:05:09 2026 (running) {clean}"),
            "",
            "Service: tcp 10.0.0.1:80",
            "Service name: Shop",
            "Comment: ask the shop team",
            "",
        ]
    );
}

#[test]
fn a_text_that_is_not_ascii_is_encoded_and_no_line_is_longer_than_a_mail_may_have() {
    let decode = |text: &str| {
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
    };
    let name = "Größe ".repeat(30);
    let lines = text(&letter("down", vec![about(&name, "ü")]), "Zoë <d@example.com>");
    assert!(lines.iter().all(|line| line.is_ascii() && line.len() <= 100), "{lines:?}");
    assert_eq!(lines[..2], ["From: =?UTF-8?B?Wm/Dqw==?=", " <d@example.com>"]);
    let subject: Vec<&String> = lines
        .iter()
        .skip_while(|line| !line.starts_with("Subject: "))
        .take_while(|line| line.starts_with("Subject: ") || line.starts_with(' '))
        .collect();
    let words: String = subject
        .iter()
        .map(|line| line.trim_start_matches("Subject:").trim())
        .map(|word| decode(word.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap()))
        .collect();
    assert!(words.starts_with("[Größe Größe "), "{words}");
    let body: String = lines.iter().skip_while(|line| !line.is_empty()).cloned().collect();
    assert!(decode(&body).ends_with("Comment: ü\r\n"), "{}", decode(&body));
    // What looks encoded is not decoded to something else.
    let lines = text(&letter("=?UTF-8?B?eA==?=", vec![]), "\"=?x?=\" <d@example.com>");
    assert!(lines[0].starts_with("From: =?UTF-8?B?"));
    assert!(
        lines.iter().any(|line| line == "Subject: =?UTF-8?B?PT9VVEYtOD9CP2VBPT0/PQ==?="),
        "{lines:?}"
    );
}
