//! type = "sip" against kamailio.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, SipCheck, Transport};

use super::rig::{self, Daemon, Place};

fn options(transport: Transport) -> Exchange {
    Exchange::Sip(SipCheck { transport, user: Some("joe@example.org".to_owned()) })
}

/// A server that answers to OPTIONS with this, over both transports, and waits until it does.
fn kamailio(answer: &str, so: impl Fn(&Verdict) -> bool) -> Option<(Daemon, u16)> {
    let program = rig::program("kamailio")?;
    let port = rig::free_port();
    let place = Place::new();
    let text = format!(
        "#!KAMAILIO\nlog_stderror=yes\nchildren=1\ntcp_children=1\nauto_aliases=no\n\
         listen=udp:127.0.0.1:{port}\nlisten=tcp:127.0.0.1:{port}\nloadmodule \"sl.so\"\n\
         request_route {{\n  if (method==\"OPTIONS\") {{\n    sl_send_reply({answer});\n    exit;\n  }}\n\
         \x20 sl_send_reply(\"405\", \"Method Not Allowed\");\n}}\n"
    );
    let file = place.write("kamailio.cfg", &text);
    let directory = place.text().to_owned();
    let arguments = ["-f", &file, "-DD", "-E", "-m", "16", "-M", "4", "-Y", &directory];
    let server = Daemon::of(place, &program, &arguments);
    Some((server.until(&options(Transport::Tcp), port, so), port))
}

#[test]
fn a_server_that_answers_to_options_is_up_over_udp_and_tcp() {
    let up = |verdict: &Verdict| *verdict == Verdict::Up;
    let Some((_server, port)) = kamailio("\"200\", \"OK\"", up) else { return };
    assert_eq!(rig::verdict(&options(Transport::Udp), port), Verdict::Up);
}

#[test]
fn a_server_that_says_that_it_cannot_is_down_with_its_words() {
    let says = |verdict: &Verdict| {
        let Verdict::Down(CheckFailure::Answer(words)) = verdict else { return false };
        words.contains("503 Under maintenance")
    };
    let Some((_server, port)) = kamailio("\"503\", \"Under maintenance\"", says) else { return };
    let verdict = rig::verdict(&options(Transport::Udp), port);
    assert!(says(&verdict), "{verdict:?}");
}
