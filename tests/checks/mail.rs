//! dovecot and postfix.

use std::fs;
use std::path::Path;

use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{Authority, Encryption, Exchange, Login, MailCheck, SmtpCheck, Tls};
use pairbeat::lvs::mail::text::{Machine, lines};
use pairbeat::lvs::mail::{Entry, Envelope, Letter, Line, MailAddress, Relay, Sender, Stage};
use pairbeat::probe::submit::{Submission, submit};
use pairbeat::probe::tls::Trust;

use crate::needs::met;
use crate::rig::{Daemon, PATIENCE, Place, by_system, judged, login, reason, until_refused};

const DOVECOT: &str = "/usr/sbin/dovecot";
const POSTFIX: &str = "/usr/lib/postfix/sbin/master";

/// Knows any user with the password `hush-hush`.
fn dovecot(place: &Place) -> Daemon {
    let (root, address) = (place.path.display(), place.address);
    place.open_directory("mail");
    place.certificate();
    let config = format!(
        "base_dir = {root}/run
         state_dir = {root}/state
         log_path = {root}/log
         protocols = imap pop3
         listen = {address}
         ssl = yes
         ssl_cert = <{root}/cert.pem
         ssl_key = <{root}/key.pem
         disable_plaintext_auth = no
         auth_mechanisms = plain
         passdb {{
           driver = static
           args = password=hush-hush
         }}
         userdb {{
           driver = static
           args = uid=nobody gid=nogroup home={root}/mail/%u
         }}
         mail_location = maildir:~/mail
         first_valid_uid = 1
         first_valid_gid = 1
         "
    );
    let config = place.file("dovecot.conf", &config);
    let ports = [143, 993, 110, 995].map(|port| place.at(port));
    let args = ["-F", "-c", config.to_str().unwrap()];
    Daemon::start(Path::new(DOVECOT), &args, &place.path.join("out"), &ports)
}

fn mail(tls: bool, login: Option<Login>) -> MailCheck {
    let encryption = if tls { Encryption::Tls(by_system()) } else { Encryption::Plain };
    MailCheck { encryption, host: None, login }
}

/// Begun in plain text, with the authority of this place.
fn later(place: &Place, login: Option<Login>) -> MailCheck {
    MailCheck { encryption: Encryption::StartTls(own(place)), host: None, login }
}

fn own(place: &Place) -> Tls {
    Tls::by(Authority::File(place.path.join("cert.pem")))
}

#[test]
fn a_mailbox_server_is_up_with_its_password_and_down_with_another_or_when_it_is_gone() {
    if !met(Path::new(DOVECOT).exists() && is_root(), "root and dovecot") {
        return;
    }
    let place = Place::new();
    let server = dovecot(&place);
    let trust = || Trust::file(&place.path.join("cert.pem"));
    type Protocol = (fn(MailCheck) -> Exchange, bool, u16);
    let protocols: [Protocol; 4] = [
        (Exchange::Imap, false, 143),
        (Exchange::Imap, true, 993),
        (Exchange::Pop, false, 110),
        (Exchange::Pop, true, 995),
    ];
    for (exchange, tls, port) in protocols {
        let judge = |login, trust| judged(exchange(mail(tls, login)), place.at(port), trust);
        assert_eq!(judge(None, trust()), Verdict::Up, "{port}");
        assert_eq!(judge(Some(login("joe", "hush-hush")), trust()), Verdict::Up, "{port}");
        let refused = reason(judge(Some(login("joe", "wrong")), trust()));
        assert!(refused.starts_with("login refused: "), "{port}: {refused}");
        assert!(refused.contains("Authentication failed"), "{port}: {refused}");
        if tls {
            let stranger = Place::new();
            let trust = Trust::file(&stranger.certificate());
            let refused = reason(judge(None, trust));
            assert!(refused.contains("certificate"), "{port}: {refused}");
        }
    }
    // The protocols of each other's ports.
    let crossed = judged(Exchange::Imap(mail(false, None)), place.at(110), Trust::none());
    assert!(reason(crossed).starts_with("not a valid answer: `+OK Dovecot"));
    let crossed = judged(Exchange::Pop(mail(false, None)), place.at(143), Trust::none());
    assert!(reason(crossed).starts_with("not a valid answer: `* OK ["));
    for (exchange, _, port) in protocols.into_iter().filter(|(_, tls, _)| !tls) {
        let judge = |check| judged(exchange(check), place.at(port), Trust::none());
        let hush = || Some(login("joe", "hush-hush"));
        assert_eq!(judge(later(&place, hush())), Verdict::Up, "{port}");
        let refused = reason(judge(later(&place, Some(login("joe", "wrong")))));
        assert!(refused.starts_with("login refused: "), "{port}: {refused}");
        let stranger = Place::new();
        stranger.certificate();
        let refused = reason(judge(MailCheck { login: hush(), ..later(&stranger, None) }));
        assert!(refused.starts_with("TLS: certificate "), "{port}: {refused}");
    }
    server.stop();
    for (exchange, tls, port) in protocols {
        until_refused(&exchange(mail(tls, None)), place.at(port));
    }
}

fn postfix(place: &Place, port: u16, tls: &str) -> Daemon {
    let (root, at) = (place.path.display(), place.at(port));
    for directory in ["pid", "active", "maildrop"] {
        fs::create_dir_all(place.path.join("queue").join(directory)).unwrap();
    }
    // Its programs meet in there, as their own user.
    place.open_directory("queue/private");
    place.open_directory("queue/public");
    place.open_directory("queue/incoming");
    place.open_directory("data");
    let settings = format!(
        "compatibility_level = 3.6\nqueue_directory = {root}/queue\ndata_directory = {root}/data\n\
         mail_owner = postfix\nmyhostname = mail.example.org\nmynetworks = 127.0.0.0/8\n\
         alias_maps =\nlocal_recipient_maps =\nsmtpd_client_connection_count_limit = 0\n\
         smtpd_client_connection_rate_limit = 0\nmaillog_file =\n{tls}\n"
    );
    place.file("etc/main.cf", &settings);
    place.file(
        "etc/master.cf",
        &format!(
            "{at} inet n - n - - smtpd\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             cleanup unix n - n - 0 cleanup\nrewrite unix - - n - - trivial-rewrite\n"
        ),
    );
    let config = place.path.join("etc");
    let args = ["-c", config.to_str().unwrap(), "-d"];
    Daemon::start(Path::new(POSTFIX), &args, &place.path.join("out"), &[at])
}

#[test]
fn a_mail_server_is_up_when_it_greets_and_down_when_it_does_not() {
    if !met(Path::new(POSTFIX).exists() && is_root(), "root and postfix") {
        return;
    }
    let place = Place::new();
    let server = postfix(&place, 2525, "");
    let smtp = || smtp(None);
    assert_eq!(judged(smtp(), place.at(2525), Trust::none()), Verdict::Up);
    // An answer of another protocol.
    let crossed = judged(Exchange::Pop(mail(false, None)), place.at(2525), Trust::none());
    assert!(reason(crossed).starts_with("not a valid answer: `220 mail.example.org ESMTP"));
    server.stop();
    until_refused(&smtp(), place.at(2525));
}

fn smtp(starttls: Option<Tls>) -> Exchange {
    Exchange::Smtp(SmtpCheck { submission: false, starttls, host: None })
}

#[test]
fn a_mail_server_that_must_begin_tls_is_down_when_it_does_not_or_nobody_vouches_for_it() {
    if !met(Path::new(POSTFIX).exists() && is_root(), "root and postfix") {
        return;
    }
    let (place, stranger) = (Place::new(), Place::new());
    place.certificate();
    stranger.certificate();
    let root = place.path.display();
    let tls = format!(
        "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {root}/cert.pem\n\
         smtpd_tls_key_file = {root}/key.pem"
    );
    let server = postfix(&place, 2525, &tls);
    let judge = |tls| judged(smtp(Some(tls)), place.at(2525), Trust::none());
    assert_eq!(judge(own(&place)), Verdict::Up);
    let refused = reason(judge(own(&stranger)));
    assert!(refused.starts_with("TLS: certificate "), "{refused}");
    server.stop();
    let place = Place::new();
    let server = postfix(&place, 2525, "");
    let refused = reason(judged(smtp(Some(own(&stranger))), place.at(2525), Trust::none()));
    assert!(refused.starts_with("TLS: the server does not begin it: 502 "), "{refused}");
    server.stop();
}

#[test]
fn a_mail_server_takes_a_letter_of_ours_as_one_message_with_all_its_lines() {
    if !met(Path::new(POSTFIX).exists() && is_root(), "root and postfix") {
        return;
    }
    let place = Place::new();
    let server = postfix(&place, 2525, "");
    let address = |text| MailAddress::new(text).unwrap();
    let to = vec![address("ops@mail.example.org"), address("root")];
    let relay = Relay { host: place.address.to_string(), port: 2525 };
    let envelope = Envelope { to, from: None, relay: Some(relay.clone()) };
    let what =
        Line::of("10.0.1.2:80 is down: x\r\n.\r\nMAIL FROM:<evil>\r\nBcc: victim@example.com");
    let entry = Entry { at: pairbeat::time::Instant::BOOT, stage: Stage::Running, what };
    let letter = Letter { envelope, entries: vec![entry], more: 0, about: Vec::new() };
    let from = Sender::new("Director <director@mail.example.org>").unwrap();
    let wall = |_| ".".to_owned();
    let date = "Sat, 7 Nov 2026 23:05:09 +0100";
    let machine = Machine { host: "server101", date, id: "1f", wall: &wall };
    let lines = lines(&letter, Some(&from), &machine);
    let to = &letter.envelope.to;
    let mail = Submission { host: "server101", from: &from.address, to, lines: &lines };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(submit(&relay, &mail, PATIENCE)).unwrap();
    let queue = place.path.join("queue/incoming");
    let files: Vec<_> = fs::read_dir(queue).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "one message");
    let message = String::from_utf8_lossy(&fs::read(&files[0]).unwrap()).into_owned();
    let line = "10.0.1.2:80 is down: x  .  MAIL FROM:<evil>  Bcc: victim@example.com";
    for want in [
        &format!("Subject: {line}"),
        &format!(". (running) {line}"),
        "From: \"Director\"",
        "To: ops@mail.example.org,",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(message.contains(want), "{want}: {message:?}");
    }
    server.stop();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
