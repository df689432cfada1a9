//! Real sockets, each test in a network namespace of its own.

use super::*;
use crate::sys::clock;
use crate::sys::namespace::{in_namespace, ip};

const PORT: u16 = 694;

fn link(name: &str, interface: Option<&str>, targets: &[&str]) -> config::Link {
    config::Link {
        name: LinkName::new(name).unwrap(),
        interface: interface.map(str::to_owned),
        targets: targets.iter().map(|ip| ip.parse().unwrap()).collect(),
        port: PORT,
    }
}

fn open(links: &[config::Link]) -> UdpLinks {
    UdpLinks::open(links, clock::now())
}

fn faults(links: &UdpLinks) -> Vec<(u8, String)> {
    links.faults().map(|(link, fault)| (link.0, fault.to_string())).collect()
}

/// Loopback delivers in the sender's system call: what was sent is there.
fn all(links: &mut UdpLinks) -> Vec<(u8, Vec<u8>)> {
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
        let mut later = |links: &mut UdpLinks| {
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
            let sent = links.status()[0].sent;
            links.send(LinkId(0), b"beat");
            assert_eq!(links.status()[0].sent, sent + 1);
            later(&mut links);
            assert_eq!(faults(&links), [], "a link that is well stays as it is");
            ip("link del hb0");
            later(&mut links);
            assert_eq!(faults(&links).len(), 1);
            links.send(LinkId(0), b"beat");
            let status = links.status().remove(0);
            assert!(status.failed > 0 && status.failure.is_some());
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
        links.send(LinkId(0), b"beat");
        assert_eq!(links.status()[0].sent, 2);
        let to: Vec<String> =
            links.farewell(LinkId(0), b"x").iter().map(|one| one.to.to_string()).collect();
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
