//! What a network says instead of a server: ICMP errors for what we send, and what comes in place of
//! an echo. Each test has a namespace of its own, in which nothing is sent to anybody else.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use pairbeat::lvs::check::{CheckFailure, CheckKind, CheckSpec, Verdict};
use pairbeat::lvs::exchange::{DnsCheck, DnsRecord, Exchange, Transport};
use pairbeat::lvs::model::Protocol;
use pairbeat::probe::tls::Trust;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::hostile::{Outcome, TIMEOUT, sound};
use crate::needs::met;
use crate::nets::{Net, possible, sh};
use crate::rig::{PATIENCE, outcome};

/// What a firewall or a router says, in the words of nft(8), and what a check makes of it.
const ERRORS: [(&str, CheckFailure); 7] = [
    ("port-unreachable", CheckFailure::Refused),
    ("host-unreachable", CheckFailure::Unreachable),
    ("net-unreachable", CheckFailure::Unreachable),
    ("prot-unreachable", CheckFailure::Unreachable),
    ("net-prohibited", CheckFailure::Unreachable),
    ("host-prohibited", CheckFailure::Unreachable),
    ("admin-prohibited", CheckFailure::Unreachable),
];
/// The same of ICMPv6.
const ERRORS_V6: [(&str, CheckFailure); 6] = [
    ("port-unreachable", CheckFailure::Refused),
    ("addr-unreachable", CheckFailure::Unreachable),
    ("no-route", CheckFailure::Unreachable),
    ("admin-prohibited", CheckFailure::Unreachable),
    ("policy-fail", CheckFailure::Unreachable),
    ("reject-route", CheckFailure::Unreachable),
];

/// A namespace, or `None` where that can't be and the test has said SKIP.
fn net() -> Option<Net> {
    let able = Command::new("nft").arg("--version").output().is_ok();
    (met(able, "nft") && possible()).then(Net::new)
}

/// Everything that is sent to these addresses is answered with an error.
fn rejecting(net: &Net) -> Vec<(IpAddr, &'static str, CheckFailure)> {
    let mut rules = String::new();
    let mut places = Vec::new();
    let mut add = |family: &str, address: IpAddr, error: &'static str, failure| {
        let icmp = if address.is_ipv6() { "icmpv6" } else { "icmp" };
        writeln!(rules, "add rule inet t in {family} daddr {address} reject with {icmp} {error}")
            .unwrap();
        places.push((address, error, failure));
    };
    for (number, (error, failure)) in (1..).zip(ERRORS) {
        add("ip", Ipv4Addr::new(127, 1, 0, number).into(), error, failure);
    }
    for (number, (error, failure)) in (1..).zip(ERRORS_V6) {
        net.ip(&format!("addr add fd00::{number}/128 dev lo nodad"));
        add("ip6", format!("fd00::{number}").parse().unwrap(), error, failure);
    }
    let file = std::env::temp_dir().join(format!("pairbeat-checks-{}.nft", net.name()));
    let chain = "add chain inet t in { type filter hook input priority 0; }";
    // What is sent back to us comes in here, too.
    let errors = "add rule inet t in icmp type destination-unreachable accept\n\
                  add rule inet t in icmpv6 type destination-unreachable accept";
    std::fs::write(&file, format!("add table inet t\n{chain}\n{errors}\n{rules}")).unwrap();
    sh(&format!("ip netns exec {} nft -f {}", net.name(), file.display()));
    std::fs::remove_file(file).unwrap();
    places
}

fn kinds() -> Vec<(&'static str, CheckKind)> {
    let name = "a.example".to_owned();
    let asks = |transport| {
        let (name, record) = (name.clone(), DnsRecord::A);
        Exchange::Dns(DnsCheck { transport, name, record, receive: None })
    };
    vec![
        ("ping", CheckKind::Ping),
        ("connect", CheckKind::Connect(Protocol::Tcp)),
        ("dns over UDP", CheckKind::Negotiate(asks(Transport::Udp))),
        ("dns over TCP", CheckKind::Negotiate(asks(Transport::Tcp))),
    ]
}

async fn tried(kind: CheckKind, address: IpAddr, timeout: Duration) -> (Verdict, Duration) {
    let spec = CheckSpec::once(kind, SocketAddr::new(address, 53), timeout);
    let begun = Instant::now();
    let verdict = outcome(&spec, Trust::none()).await;
    (verdict, begun.elapsed())
}

/// A ping socket where the kernel allows it, and a raw one.
fn allow_ping_sockets(net: &Net, allowed: bool) {
    let range = if allowed { "0 2147483647" } else { "1 0" };
    let file = "/proc/sys/net/ipv4/ping_group_range";
    let set = format!("echo {range} > {file}");
    let done = Command::new("ip").args(["netns", "exec", net.name(), "sh", "-c", &set]).status();
    assert!(done.unwrap().success(), "{set}");
}

/// Also by an error that the kernel calls transient and keeps from a socket that does not ask for
/// it: the operator is told what the network says, not that nothing came.
#[test]
fn what_the_network_says_is_the_cause_and_nothing_is_waited_for() {
    let Some(net) = net() else { return };
    let places = rejecting(&net);
    for ping_sockets in [true, false] {
        allow_ping_sockets(&net, ping_sockets);
        for (address, error, failure) in &places {
            for (name, kind) in kinds() {
                let (verdict, took) = net.run(|| tried(kind, *address, PATIENCE));
                let what = format!("{name} to {address}, {error}, ping sockets: {ping_sockets}");
                assert_eq!(verdict, Verdict::Down(failure.clone()), "{what}");
                assert!(took < PATIENCE, "{what}: {took:?}");
            }
        }
    }
}

/// What somebody does with an echo request, which comes with an IPv4 header.
type Reply = fn(&[u8]) -> Vec<u8>;

const REPLIES: [(&str, Reply); 8] = [
    ("another identifier", |asked| answered(asked, |reply| flip(reply, 4))),
    ("another sequence number", |asked| answered(asked, |reply| flip(reply, 6))),
    ("another payload", |asked| answered(asked, |reply| flip(reply, 63))),
    ("less than was sent", |asked| answered(asked, |reply| reply.truncate(63))),
    ("a header and nothing more", |asked| answered(asked, |reply| reply.truncate(8))),
    ("half a header", |asked| answered(asked, |reply| reply.truncate(4))),
    ("more than was sent", |asked| answered(asked, |reply| reply.resize(1400, 0))),
    ("the request", |asked| answered(asked, |reply| *reply.first_mut().unwrap() = 8)),
];

fn flip(reply: &mut [u8], at: usize) {
    *reply.get_mut(at).unwrap() ^= 0x40;
}

/// The reply to a request, changed before its sum is made.
fn answered(packet: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut reply = packet.get(20..).unwrap().to_vec();
    *reply.first_mut().unwrap() = 0;
    change(&mut reply);
    if let Some(place) = reply.get_mut(2..4) {
        place.fill(0);
    }
    let pairs = reply.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let sum: u32 = pairs.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    if let Some(place) = reply.get_mut(2..4) {
        place.copy_from_slice(&[high, low]);
    }
    reply
}

/// Sees the echo requests of the namespace and answers in the place of the kernel.
struct Responder(UdpSocket);

impl Responder {
    fn open() -> Self {
        let form = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV4, form, Some(socket2::Protocol::ICMPV4)).unwrap();
        Self(UdpSocket::from_std(OwnedFd::from(socket).into()).unwrap())
    }

    /// Answers each request `times` times.
    async fn answer(&self, reply: Reply, times: usize) -> (Verdict, Duration) {
        let mut buffer = vec![0; 2048];
        loop {
            let (len, from) = self.0.recv_from(&mut buffer).await.unwrap();
            let packet = buffer.get(..len).unwrap();
            // It hears its own words, too.
            if packet.get(20) != Some(&8) || len != 84 || packet.get(12) != packet.get(16) {
                continue;
            }
            for _ in 0..times {
                self.0.send_to(&reply(packet), from).await.unwrap();
            }
        }
    }
}

/// A namespace in which the kernel answers no echo.
fn without_echo() -> Option<Net> {
    let net = net()?;
    let set = "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all";
    let done = Command::new("ip").args(["netns", "exec", net.name(), "sh", "-c", set]).status();
    assert!(done.unwrap().success());
    Some(net)
}

async fn pinged(reply: Reply, times: usize, timeout: Duration) -> (Verdict, Duration) {
    let responder = Responder::open();
    tokio::select! {
        result = tried(CheckKind::Ping, Ipv4Addr::LOCALHOST.into(), timeout) => result,
        result = responder.answer(reply, times) => result,
    }
}

#[test]
fn only_the_echo_of_what_was_sent_is_an_answer_to_a_ping() {
    let Some(net) = without_echo() else { return };
    let mut outcomes = Vec::new();
    for ping_sockets in [true, false] {
        allow_ping_sockets(&net, ping_sockets);
        let good: Reply = |asked| answered(asked, |_| {});
        let (verdict, _) = net.run(|| pinged(good, 1, PATIENCE));
        assert_eq!(verdict, Verdict::Up, "ping sockets: {ping_sockets}");
        let mut add = |(name, reply): (&str, Reply), times| {
            let (verdict, took) = net.run(|| pinged(reply, times, TIMEOUT));
            let name = format!("{times} times {name}, ping sockets: {ping_sockets}");
            outcomes.push(Outcome { name, causes: &["timeout"], verdict, took });
        };
        add(("an answer", good), 0);
        for reply in REPLIES {
            add(reply, 1);
            add(reply, 2000);
        }
    }
    sound(&outcomes);
}
