//! Real sockets, each test in a network namespace of its own.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::config::{Cast, Link, Multicast, MulticastGroup, Udp};
use crate::sys::clock;
use crate::sys::namespace::{in_namespace, ip};

const PORT: u16 = 694;

fn udp(name: &str, cast: Cast) -> Link {
    Link { name: LinkName::new(name).unwrap(), medium: Medium::Udp(Udp { port: PORT, cast }) }
}

fn link(name: &str, interface: Option<&str>, targets: &[&str]) -> Link {
    let targets = targets.iter().map(|ip| ip.parse().unwrap()).collect();
    udp(name, Cast::Unicast { interface: interface.map(str::to_owned), targets })
}

fn open(links: &[Link]) -> Links {
    Links::open(links, clock::now())
}

fn send(links: &mut Links, link: LinkId, bytes: &[u8]) {
    links.send(link, &[bytes.to_vec()], clock::now());
}

fn faults(links: &Links) -> Vec<(u8, String)> {
    links.faults().map(|(link, fault)| (link.0, fault.to_string())).collect()
}

/// Loopback delivers in the sender's system call: what was sent is there.
fn all(links: &mut Links) -> Vec<(u8, Vec<u8>)> {
    let mut buffer: Buffer = [0; DATAGRAM_MAX + 1];
    let mut got = Vec::new();
    while let Some((arrival, len)) = links.receive(&mut buffer) {
        assert!(arrival.at <= clock::now());
        got.push((arrival.link.0, buffer[..len].to_vec()));
    }
    got
}

fn send_from(source: &str, to: &str, bytes: &[u8]) {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    socket.send_to(bytes, (to, PORT)).unwrap();
}

#[test]
fn a_link_waits_for_its_interface_and_comes_back_with_it() {
    in_namespace(|| {
        let mut links = open(&[link("hb0", Some("hb0"), &["10.9.0.2"])]);
        assert_eq!(faults(&links), [(0, "there is no interface hb0".to_owned())]);
        let mut now = clock::now();
        let mut later = |links: &mut Links| {
            now = now.plus(Duration::from_secs(2));
            links.refresh(now);
        };
        for _ in 0..2 {
            ip("link add hb0 type veth peer name other");
            ip("addr add 10.9.0.1/24 dev hb0");
            ip("link set hb0 up");
            ip("link set other up");
            later(&mut links);
            assert_eq!(faults(&links), []);
            let sent = links.status()[0].traffic.sent;
            send(&mut links, LinkId(0), b"beat");
            assert_eq!(links.status()[0].traffic.sent, sent + 1);
            later(&mut links);
            assert_eq!(faults(&links), [], "a link that is well stays as it is");
            ip("link del hb0");
            later(&mut links);
            assert_eq!(faults(&links).len(), 1);
            send(&mut links, LinkId(0), b"beat");
            let status = links.status().remove(0);
            assert!(status.traffic.failed > 0 && status.traffic.failure.is_some());
            assert_eq!(status.fault.as_deref(), Some("there is no interface hb0"));
        }
    });
}

#[test]
fn a_renamed_or_replaced_interface_is_noticed() {
    in_namespace(|| {
        ip("link add hb0 type veth peer name far0");
        let mut links = open(&[link("hb0", Some("hb0"), &["10.9.0.2"])]);
        assert_eq!(faults(&links), []);
        ip("link set hb0 name was0");
        links.refresh(clock::now().plus(Duration::from_secs(2)));
        assert_eq!(faults(&links).len(), 1);
        ip("link add hb0 type veth peer name far1");
        links.refresh(clock::now().plus(Duration::from_secs(4)));
        assert_eq!(faults(&links), []);
    });
}

#[test]
fn a_port_that_is_taken_is_named_and_tried_again() {
    in_namespace(|| {
        let taken = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        let mut links = open(&[link("a", None, &["127.0.0.2"])]);
        let text = "UDP port 694 is taken; `ss -ulpn 'sport = :694'` shows by which program";
        assert_eq!(faults(&links), [(0, text.to_owned())]);
        drop(taken);
        links.refresh(clock::now().plus(Duration::from_secs(2)));
        assert_eq!(faults(&links), []);
    });
}

#[test]
fn links_without_interface_share_a_socket_and_are_told_apart_by_sender() {
    in_namespace(|| {
        let mut links = open(&[
            link("one", None, &["127.0.0.2"]),
            link("two", None, &["127.0.0.3", "::1"]),
            link("lo", Some("lo"), &["127.0.0.4"]),
        ]);
        assert_eq!(faults(&links), []);
        assert_eq!(links.sockets().count(), 3);
        // The socket of the interface has precedence over the one of any interface.
        send_from("127.0.0.3", "127.0.0.1", b"lo");
        assert_eq!(all(&mut links), [(2, b"lo".to_vec())]);
        send_from("::1", "::1", b"six");
        assert_eq!(all(&mut links), [(1, b"six".to_vec())]);
        let mut links = {
            drop(links);
            open(&[link("one", None, &["127.0.0.2"]), link("two", None, &["127.0.0.3"])])
        };
        for (source, expected) in [("127.0.0.2", 0), ("127.0.0.3", 1), ("127.0.0.9", 0)] {
            send_from(source, "127.0.0.1", b"beat");
            assert_eq!(all(&mut links), [(expected, b"beat".to_vec())], "from {source}");
        }
    });
}

#[test]
fn our_own_addresses_are_left_out() {
    in_namespace(|| {
        ip("link add hb0 type veth peer name far0");
        ip("link set far0 up");
        ip("addr add 10.9.0.1/24 dev hb0");
        ip("addr add fd09::1/64 dev hb0 nodad");
        ip("link set hb0 up");
        let targets = ["10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"];
        let mut links = open(&[link("hb0", Some("hb0"), &targets)]);
        send(&mut links, LinkId(0), b"beat");
        assert_eq!(links.status()[0].traffic.sent, 2);
        let to: Vec<String> =
            links.farewell(LinkId(0), b"x").iter().map(ToString::to_string).collect();
        assert_eq!(to, ["10.9.0.2:694", "[fd09::2]:694"]);
    });
}

#[test]
fn a_datagram_that_is_too_long_is_known_as_such() {
    in_namespace(|| {
        let mut links = open(&[link("a", None, &["127.0.0.2"])]);
        send_from("127.0.0.2", "127.0.0.1", &[1; 3000]);
        send_from("127.0.0.2", "127.0.0.1", b"");
        let lengths: Vec<usize> = all(&mut links).iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [DATAGRAM_MAX + 1, 0]);
    });
}

fn broadcast(name: &str, interface: &str) -> Link {
    udp(name, Cast::Broadcast { interface: interface.to_owned() })
}

fn multicast(name: &str, interface: &str, group: &str, looped: bool) -> Link {
    let group = MulticastGroup::new(group.parse().unwrap()).unwrap();
    let (interface, ttl) = (interface.to_owned(), std::num::NonZeroU8::MIN);
    udp(name, Cast::Multicast(Multicast { interface, group, ttl, looped }))
}

/// Both ends of a cable, `hb0` and `far0`, in one namespace.
fn cable() {
    ip("link add hb0 type veth peer name far0");
    for (number, interface) in [(1, "hb0"), (2, "far0")] {
        // A datagram from this machine's own address is no surprise here.
        for (setting, value) in [("accept_local", "1"), ("rp_filter", "0")] {
            let path = format!("/proc/sys/net/ipv4/conf/{interface}/{setting}");
            std::fs::write(path, value).unwrap();
        }
        ip(&format!("addr add 10.9.0.{number}/24 dev {interface}"));
        ip(&format!("addr add fd09::{number}/64 dev {interface} nodad"));
        ip(&format!("link set {interface} up"));
    }
    std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
    let deadline = clock::now().plus(Duration::from_secs(10));
    for interface in ["hb0", "far0"] {
        let shown = || {
            let shown = Command::new("ip").args(["link", "show", interface]).output().unwrap();
            String::from_utf8(shown.stdout).unwrap()
        };
        while !shown().contains("state UP") {
            assert!(clock::now() < deadline, "{interface} has no carrier");
        }
    }
}

/// What comes in until this much has come in on this link, in its order.
fn until(links: &mut Links, link: u8, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let deadline = clock::now().plus(Duration::from_secs(10));
    let mut got = Vec::new();
    while !got.contains(&(link, bytes.to_vec())) {
        assert!(clock::now() < deadline, "{bytes:?} never came, but {got:?}: {:?}", links.status());
        got.extend(all(links));
    }
    got
}

#[test]
fn a_broadcast_is_heard_at_the_other_end_and_on_no_other_link() {
    in_namespace(|| {
        cable();
        let mut links = open(&[
            broadcast("a", "hb0"),
            link("b", Some("hb0"), &["10.9.0.2"]),
            broadcast("c", "far0"),
            link("d", Some("far0"), &["10.9.0.1"]),
        ]);
        assert_eq!(faults(&links), []);
        send(&mut links, LinkId(0), b"one");
        send(&mut links, LinkId(0), b"two");
        let got = until(&mut links, 2, b"two");
        let expected = [(2, b"one".to_vec()), (2, b"two".to_vec())];
        assert_eq!(got, expected, "neither our own nor a copy");
        let words: Vec<String> =
            links.farewell(LinkId(0), b"bye").iter().map(ToString::to_string).collect();
        assert_eq!(words, ["255.255.255.255:694"]);
        for word in links.farewell(LinkId(0), b"bye") {
            say(&word).unwrap();
        }
        assert_eq!(until(&mut links, 2, b"bye"), [(2, b"bye".to_vec())]);
    });
}

#[test]
fn a_multicast_is_heard_by_its_group_at_the_other_end() {
    in_namespace(|| {
        cable();
        let mut links = open(&[
            multicast("a4", "hb0", "239.0.0.42", false),
            multicast("b4", "far0", "239.0.0.42", false),
            multicast("c4", "far0", "239.0.0.43", false),
            multicast("a6", "hb0", "ff02::42", true),
            multicast("b6", "far0", "ff02::42", true),
            link("d", Some("far0"), &["10.9.0.1"]),
        ]);
        assert_eq!(faults(&links), []);
        send(&mut links, LinkId(0), b"four");
        send(&mut links, LinkId(3), b"six");
        for word in links.farewell(LinkId(3), b"bye") {
            say(&word).unwrap();
        }
        let mut got = until(&mut links, 4, b"bye");
        // Our own comes back to us from another socket, never from that of the link.
        got.retain(|(link, bytes)| (*link, bytes.as_slice()) != (3, b"bye"));
        got.sort();
        let expected = [(1, b"four".to_vec()), (4, b"bye".to_vec()), (4, b"six".to_vec())];
        assert_eq!(got, expected);
    });
}

#[test]
fn broadcast_and_multicast_come_back_with_their_interface() {
    in_namespace(|| {
        let mut links = open(&[
            broadcast("a", "hb0"),
            multicast("b", "hb0", "239.0.0.42", false),
            broadcast("c", "far0"),
            multicast("d", "far0", "239.0.0.42", false),
        ]);
        let mut now = clock::now();
        for _ in 0..2 {
            assert_eq!(faults(&links).len(), 4);
            cable();
            now = now.plus(Duration::from_secs(2));
            links.refresh(now);
            assert_eq!(faults(&links), []);
            for (from, to) in [(0, 2), (1, 3), (2, 0), (3, 1)] {
                send(&mut links, LinkId(from), b"beat");
                assert_eq!(until(&mut links, to, b"beat").len(), 1, "from {from}");
            }
            // Another address, and none.
            ip("addr flush dev hb0");
            send(&mut links, LinkId(2), b"beat");
            until(&mut links, 0, b"beat");
            ip("addr add 10.9.7.1/24 dev hb0");
            send(&mut links, LinkId(1), b"beat");
            until(&mut links, 3, b"beat");
            ip("link del hb0");
            now = now.plus(Duration::from_secs(2));
            links.refresh(now);
        }
    });
}
