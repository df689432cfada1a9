//! service=dns against dnsmasq.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{
    DnsCheck, DnsRecord, Exchange,
    Transport::{self, Tcp, Udp},
};

use super::rig::{self, Daemon, Place};

fn asking(transport: Transport, name: &str, record: DnsRecord, receive: Option<&str>) -> Exchange {
    let (name, receive) = (name.to_owned(), receive.map(str::to_owned));
    Exchange::Dns(DnsCheck { transport, name, record, receive })
}

fn www(transport: Transport) -> Exchange {
    asking(transport, "www.example.com", DnsRecord::A, Some("^192.0.2.80$"))
}

fn dnsmasq() -> Option<(Daemon, u16)> {
    let program = rig::program("dnsmasq")?;
    let port = rig::free_port();
    let port_arg = format!("--port={port}");
    let args = [
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--local=/example.com/",
        "--host-record=www.example.com,192.0.2.80,2001:db8::80",
        "--cname=web.example.com,www.example.com",
        "--mx-host=example.com,mail.example.com,10",
        "--srv-host=_ldap._tcp.example.com,www.example.com,389,5",
        "--txt-record=example.com,v=spf1 -all",
        "--ptr-record=8.2.0.192.in-addr.arpa,router.example.com",
        &port_arg,
    ];
    let server = Daemon::of(Place::new(), &program, &args);
    Some((server.until_up(&www(Udp), port), port))
}

#[test]
fn a_name_server_that_knows_the_record_is_up() {
    let Some((_server, port)) = dnsmasq() else { return };
    for transport in [Udp, Tcp] {
        for (name, record, receive) in [
            ("www.example.com", DnsRecord::A, Some("192.0.2.80")),
            ("www.example.com", DnsRecord::A, None),
            ("WWW.Example.com", DnsRecord::A, None),
            ("www.example.com", DnsRecord::Aaaa, Some("^2001:db8::80$")),
            ("web.example.com", DnsRecord::A, Some("192.0.2.80")),
            ("web.example.com", DnsRecord::Cname, Some("^www.example.com$")),
            ("example.com", DnsRecord::Mx, Some("^10 mail.example.com$")),
            ("_ldap._tcp.example.com", DnsRecord::Srv, Some("^5 0 389 www")),
            ("example.com", DnsRecord::Txt, Some("^v=spf1 -all$")),
            ("8.2.0.192.in-addr.arpa", DnsRecord::Ptr, Some("^router.example.com$")),
        ] {
            let verdict = rig::verdict(&asking(transport, name, record, receive), port);
            assert_eq!(verdict, Verdict::Up, "{transport} {name} {record:?} {receive:?}");
        }
    }
}

#[test]
fn a_name_server_with_another_answer_or_none_is_down() {
    let Some((_server, port)) = dnsmasq() else { return };
    for transport in [Udp, Tcp] {
        let other = asking(transport, "www.example.com", DnsRecord::A, Some("192.0.2.81"));
        let missed = CheckFailure::NoMatch("192.0.2.81".to_owned());
        assert_eq!(rig::verdict(&other, port), Verdict::Down(missed));
        for (name, record, says) in [
            ("nobody.example.com", DnsRecord::A, "NXDOMAIN"),
            ("www.example.com", DnsRecord::Mx, "no such record (MX)"),
            // It has nobody to ask.
            ("www.example.org", DnsRecord::A, "REFUSED"),
        ] {
            let verdict = rig::verdict(&asking(transport, name, record, None), port);
            let said = CheckFailure::Answer(says.to_owned());
            assert_eq!(verdict, Verdict::Down(said), "{transport} {name}");
        }
    }
}

#[test]
fn a_name_server_that_is_not_there_is_refused_at_once() {
    let port = rig::free_port();
    for transport in [Udp, Tcp] {
        let verdict = rig::verdict(&www(transport), port);
        assert_eq!(verdict, Verdict::Down(CheckFailure::Refused), "{transport}");
    }
}

#[test]
fn a_silent_name_server_is_down_at_the_limit() {
    for (transport, port) in [(Udp, rig::answering(|_| None)), (Tcp, rig::silent())] {
        let verdict = rig::verdict_within(&www(transport), port, rig::SHORT);
        assert!(rig::is_silence(&verdict), "{transport} {verdict:?}");
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_down() {
    let garbage = rig::answering(|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let echo = rig::answering(|question| Some(question.to_vec()));
    // Announces 65,535 answers.
    let boastful = rig::answering(|question| {
        let mut answer = question.to_vec();
        answer.splice(2..8, [0x81, 0x80, 0, 1, 0xff, 0xff]);
        Some(answer)
    });
    let tcp = rig::saying(b"\x00\x20HTTP/1.1 400 Bad Request\r\n\r\n......");
    for (transport, port) in [(Udp, garbage), (Udp, echo), (Udp, boastful), (Tcp, tcp)] {
        let verdict = rig::verdict(&www(transport), port);
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
    }
}

#[test]
fn an_answer_with_another_number_is_not_ours() {
    let port = rig::answering(|question| {
        let mut answer = question.to_vec();
        answer.splice(0..1, [question.first().unwrap() ^ 1]);
        Some(answer)
    });
    let verdict = rig::verdict_within(&www(Udp), port, rig::SHORT);
    assert!(rig::is_silence(&verdict), "{verdict:?}");
}

#[test]
fn one_lost_datagram_is_no_verdict() {
    let Some((_server, port)) = dnsmasq() else { return };
    let lost = std::sync::atomic::AtomicU32::new(0);
    let behind = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    behind.connect(("127.0.0.1", port)).unwrap();
    let lossy = rig::answering(move |question| {
        if lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            return None;
        }
        let mut answer = [0; 512];
        behind.send(question).unwrap();
        let len = behind.recv(&mut answer).unwrap();
        Some(answer.get(..len).unwrap().to_vec())
    });
    let limit = std::time::Duration::from_secs(9);
    assert_eq!(rig::verdict_within(&www(Udp), lossy, limit), Verdict::Up);
}
