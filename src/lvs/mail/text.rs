//! A letter as the lines of a mail (RFC 5322, with RFC 2045 and 2047 where a text is not ASCII).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::lvs::mail::{Letter, Line, Sender};
use crate::time::Instant;

/// Longest line of a plain body (RFC 5322 section 2.1.1 allows 998 bytes).
const PLAIN_LINE_MAX: usize = 900;

/// Bytes of text in one encoded word: 75 characters with what is around it (RFC 2047 section 2).
const WORD_BYTES: usize = 45;

/// Bytes in a line of base64: 76 characters (RFC 2045 section 6.8).
const BASE64_BYTES: usize = 57;

/// What only the machine knows.
pub struct Machine<'m> {
    /// Its name.
    pub host: &'m str,
    /// Now, as in a `Date` header.
    pub date: &'m str,
    /// Unique, without `@` and what is behind it.
    pub id: &'m str,
    /// A moment as people read it.
    pub wall: &'m dyn Fn(Instant) -> String,
}

/// Who a letter is from that does not say it.
pub fn default_sender(user: &str, host: &str) -> Option<Sender> {
    Sender::new(&format!("{user}@{host}")).or_else(|_| Sender::new(user)).ok()
}

/// All lines of the mail, without their ends: headers, an empty one, the body. No line begins a
/// header that is not written here.
pub fn lines(letter: &Letter, from: Option<&Sender>, machine: &Machine<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(Sender { name, address }) = from {
        lines.push(match name {
            None => format!("From: {address}"),
            Some(name) => format!("From: {}\n <{address}>", phrase(name)),
        });
    }
    // One on each line: fifty would be too long for one.
    let to: Vec<&str> = letter.envelope.to.iter().map(|to| to.as_str()).collect();
    lines.push(format!("To: {}", to.join(",\n ")));
    lines.push(format!("Subject: {}", unstructured(&letter.subject())));
    lines.push(format!("Date: {}", Line::of(machine.date)));
    lines.push(format!("Message-ID: <{}@{}>", machine.id, machine.host));
    lines.push("Auto-Submitted: auto-generated".to_owned());
    lines.push("MIME-Version: 1.0".to_owned());
    lines.push("Content-Type: text/plain; charset=utf-8".to_owned());
    let body = body(letter, machine);
    let plain = body.is_ascii() && body.lines().all(|line| line.len() <= PLAIN_LINE_MAX);
    if plain {
        lines.push("Content-Transfer-Encoding: 7bit\n".to_owned());
        lines.push(body);
    } else {
        lines.push("Content-Transfer-Encoding: base64\n".to_owned());
        // Text is encoded with the line ends that it has on the wire.
        let bytes = body.replace('\n', "\r\n").into_bytes();
        lines.extend(bytes.chunks(BASE64_BYTES).map(|chunk| STANDARD.encode(chunk)));
    }
    lines.iter().flat_map(|line| line.split('\n')).map(str::to_owned).collect()
}

fn body(letter: &Letter, machine: &Machine<'_>) -> String {
    let mut body = format!("Director host: {}\n\n", machine.host);
    for entry in &letter.entries {
        let (at, stage) = ((machine.wall)(entry.at), entry.stage.word());
        let _infallible = writeln!(body, "{at} ({stage}) {}", entry.what);
    }
    if letter.more > 0 {
        let _infallible = writeln!(body, "and {} more; the log has them all", letter.more);
    }
    for about in letter.about.iter().filter(|it| it.name.is_some() || it.comment.is_some()) {
        let _infallible = writeln!(body, "\nService: {}", about.service);
        if let Some(name) = &about.name {
            let _infallible = writeln!(body, "Service name: {name}");
        }
        if let Some(comment) = &about.comment {
            let _infallible = writeln!(body, "Comment: {comment}");
        }
    }
    body
}

/// A text in a header where any text may stand.
fn unstructured(line: &Line) -> String {
    let text = line.as_str();
    if text.is_ascii() && !text.contains("=?") { text.to_owned() } else { encoded(text) }
}

/// A name before an address.
fn phrase(line: &Line) -> String {
    let text = line.as_str();
    if !text.is_ascii() || text.contains("=?") {
        return encoded(text);
    }
    let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Encoded words with folds between them; no character is cut in two.
fn encoded(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut piece = String::new();
    for c in text.chars() {
        if piece.len() + c.len_utf8() > WORD_BYTES {
            words.push(std::mem::take(&mut piece));
        }
        piece.push(c);
    }
    words.push(piece);
    let words = words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\n ")
}
