//! Hands a mail to a relay by SMTP (RFC 5321), in the clear and without a login: the rest of the
//! conversation that the check of mail servers begins.
//!
//! Whatever the relay says, it is bounded in size and in time. What is sent in commands are values that
//! can hold no line break.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::lines::{Lines, REPLIES, Reply};
use super::{Deadline, Phase};
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::mail::{MailAddress, MailFailure, Relay};

/// Most addresses of a relay that are tried.
const ADDRESSES_MAX: usize = 4;

/// A mail, and who it is from and for as far as the relay is concerned.
#[derive(Debug)]
pub struct Submission<'m> {
    /// The name of this machine.
    pub host: &'m str,
    /// Gets what can't be delivered.
    pub from: &'m MailAddress,
    /// Each of them is named to the relay.
    pub to: &'m [MailAddress],
    /// Its lines, without their ends.
    pub lines: &'m [String],
}

/// Hands it over within `limit`.
///
/// # Errors
/// Why it was not taken. One that the relay refuses for some addressees only is taken for the others,
/// and the error says for whom it was not.
pub async fn submit(
    relay: &Relay,
    mail: &Submission<'_>,
    limit: Duration,
) -> Result<(), MailFailure> {
    let deadline = Deadline::after(limit);
    let lines = Lines::new(Box::new(connect(relay, deadline).await?), REPLIES, deadline);
    talk(lines, mail).await
}

async fn connect(relay: &Relay, deadline: Deadline) -> Result<TcpStream, MailFailure> {
    let found = async {
        let found = lookup_host((relay.host.as_str(), relay.port)).await;
        found.map_err(|error| CheckFailure::Local(format!("{relay}: {error}")))
    };
    let found = deadline.bound(Phase::Connect, found).await?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    let mut last = CheckFailure::Local(format!("{relay} has no address"));
    for (place, address) in addresses.iter().enumerate() {
        // One that swallows packets leaves time for the others.
        let left = deadline.at.duration_since(tokio::time::Instant::now());
        let share = left / u32::try_from(addresses.len() - place).unwrap_or(1);
        let own = Deadline::after(share);
        let connected = async {
            TcpStream::connect(address).await.map_err(|error| own.failure(Phase::Connect, &error))
        };
        match own.bound(Phase::Connect, connected).await {
            Ok(stream) => return Ok(stream),
            Err(why) => last = why,
        }
    }
    Err(MailFailure::passing(&format!("{relay}: {last}")))
}

/// The whole conversation.
pub(super) async fn talk(mut lines: Lines, mail: &Submission<'_>) -> Result<(), MailFailure> {
    let greeting = lines.reply(Phase::Greeting).await?;
    if greeting.code != 220 {
        return Err(MailFailure::passing(&said(&greeting)));
    }
    let hello = ask(&mut lines, &format!("EHLO {}", mail.host)).await?;
    if !hello.is_positive() {
        let hello = ask(&mut lines, &format!("HELO {}", mail.host)).await?;
        taken(&hello)?;
    }
    taken(&ask(&mut lines, &format!("MAIL FROM:<{}>", mail.from)).await?)?;
    let mut refused = Vec::new();
    for to in mail.to {
        let reply = ask(&mut lines, &format!("RCPT TO:<{to}>")).await?;
        if let Err(failure) = taken(&reply) {
            refused.push((to, failure));
        }
    }
    if refused.len() == mail.to.len() {
        lines.farewell("QUIT\r\n").await;
        let for_good = refused.iter().all(|(_, failure)| failure.for_good);
        let why = refused.into_iter().next().map_or_else(String::new, |(_, failure)| failure.why);
        return Err(MailFailure { why, for_good });
    }
    let data = ask(&mut lines, "DATA").await?;
    if data.code != 354 {
        return Err(failure(&data));
    }
    lines.say(&stuffed(mail.lines), Phase::Answer).await?;
    let end = lines.reply(Phase::Answer).await?;
    taken(&end)?;
    lines.farewell("QUIT\r\n").await;
    match refused.into_iter().next() {
        None => Ok(()),
        Some((to, MailFailure { why, .. })) => {
            // Again would be twice for the others.
            Err(MailFailure::for_good(&format!("not for {to}, the others have it: {why}")))
        }
    }
}

async fn ask(lines: &mut Lines, command: &str) -> Result<Reply, MailFailure> {
    lines.say(&format!("{command}\r\n"), Phase::Answer).await?;
    Ok(lines.reply(Phase::Answer).await?)
}

fn taken(reply: &Reply) -> Result<(), MailFailure> {
    if reply.is_positive() { Ok(()) } else { Err(failure(reply)) }
}

/// 5xx stays so (RFC 5321 section 4.2.1).
fn failure(reply: &Reply) -> MailFailure {
    MailFailure { why: said(reply), for_good: (500..600).contains(&reply.code) }
}

fn said(reply: &Reply) -> String {
    format!("the relay says: {}", shown(&reply.line))
}

/// The lines as they go over the wire, with the end: one that begins with a dot gets another one (RFC
/// 5321 section 4.5.2).
fn stuffed(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        // A lone CR or LF would be a line of its own for some relays.
        let line = line.replace(['\r', '\n'], "");
        if line.starts_with('.') {
            text.push('.');
        }
        text.push_str(&line);
        text.push_str("\r\n");
    }
    text.push_str(".\r\n");
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A relay that answers each command with the next of its replies, and what it has heard.
    async fn relay(replies: &'static [&'static str]) -> (Relay, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = String::new();
            let mut chunk = [0; 4096];
            for reply in replies {
                stream.write_all(reply.as_bytes()).await.unwrap();
                let data = reply.starts_with("354");
                let whole = |heard: &str| {
                    if data { heard.ends_with("\r\n.\r\n") } else { heard.ends_with("\r\n") }
                };
                loop {
                    let Ok(count) = stream.read(&mut chunk).await else { return heard };
                    if count == 0 {
                        return heard;
                    }
                    heard.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
                    if whole(&heard) {
                        break;
                    }
                }
            }
            heard
        });
        (Relay { host: "127.0.0.1".to_owned(), port }, heard)
    }

    async fn send(relay: &Relay, lines: &[&str], limit: u64) -> Result<(), MailFailure> {
        let address = |text| MailAddress::new(text).unwrap();
        let mail = Submission {
            host: "server101",
            from: &address("root@server101"),
            to: &[address("a@example.com"), address("b@example.com")],
            lines: &lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(),
        };
        submit(relay, &mail, Duration::from_millis(limit)).await
    }

    #[tokio::test]
    async fn a_mail_is_handed_over_whole_with_its_dots() {
        let replies = &[
            "220 hi\r\n",
            "250-x\r\n250 y\r\n",
            "250 a\r\n",
            "250 b\r\n",
            "250 c\r\n",
            "354 go\r\n",
            "250 ok\r\n",
        ];
        let (relay, heard) = relay(replies).await;
        send(&relay, &["Subject: x", "", ".", "..two", "end\nQUIT"], 20_000).await.unwrap();
        assert_eq!(
            heard.await.unwrap(),
            "EHLO server101\r\nMAIL FROM:<root@server101>\r\nRCPT TO:<a@example.com>\r\n\
             RCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n...two\r\nendQUIT\r\n.\r\nQUIT\r\n"
        );
    }

    #[tokio::test]
    async fn what_a_relay_refuses_for_good_is_not_what_it_refuses_for_now() {
        for (replies, for_good, why) in [
            (&["220 hi\r\n", "250 y\r\n", "451 later\r\n"][..], false, "the relay says: 451 later"),
            (&["220 hi\r\n", "250 y\r\n", "550 never\r\n"], true, "the relay says: 550 never"),
            (&["554 full\r\n"], false, "the relay says: 554 full"),
            (
                &["220 hi\r\n", "250 y\r\n", "250 a\r\n", "550 who\r\n", "550 who\r\n"],
                true,
                "the relay says: 550 who",
            ),
            (
                &[
                    "220 hi\r\n",
                    "500 what\r\n",
                    "250 y\r\n",
                    "250 a\r\n",
                    "250 b\r\n",
                    "550 who\r\n",
                    "354 go\r\n",
                    "250 ok\r\n",
                ],
                true,
                "not for b@example.com, the others have it: the relay says: 550 who",
            ),
        ] {
            let (relay, _heard) = relay(replies).await;
            let failure = send(&relay, &["Subject: x"], 20_000).await.unwrap_err();
            assert_eq!((failure.for_good, failure.why.as_str()), (for_good, why));
        }
    }

    #[tokio::test]
    async fn a_relay_that_is_silent_or_floods_is_given_up_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = Relay { host: "127.0.0.1".to_owned(), port };
        let failure = send(&silent, &["x"], 200).await.unwrap_err();
        assert!(
            !failure.for_good && failure.why.starts_with("no answer within 200 ms"),
            "{failure:?}"
        );
        tokio::spawn(async move {
            // The first one waits in the queue.
            let _silent = listener.accept().await;
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(b"220-x\r\n").await.is_ok() {}
        });
        let failure = send(&silent, &["x"], 20_000).await.unwrap_err();
        assert!(!failure.for_good && failure.why.starts_with("answer"), "{failure:?}");
    }
}
