//! Packets of strangers: many, forged with skill, from the peer's own address.

use std::io::Read;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::client::{self, lasts};
use crate::lan::PATIENCE;
use crate::nets::{Net, possible};
use crate::pair::{Pair, Setup};

/// Datagrams in ten milliseconds: ten thousand a second.
const BATCH: usize = 100;
/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(3);

/// Beats that come in at a node from this address, as they are.
fn capture(at: &Net, from: [u8; 4], count: usize) -> Vec<Vec<u8>> {
    at.run(|| async move {
        // A raw socket has every UDP packet of the namespace, with its IPv4 header.
        let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut found: Vec<Vec<u8>> = Vec::new();
        while found.len() < count {
            let mut buffer = [0_u8; 2048];
            let got = socket.read(&mut buffer).unwrap();
            let packet = &buffer[..got];
            if packet.get(12..16) == Some(&from) && packet[22..24] == 694_u16.to_be_bytes() {
                found.push(packet[28..].to_vec());
            }
        }
        found
    })
}

/// What an attacker makes of real beats without the key: replayed, with one bit turned in every
/// place, cut off, drawn out, and nonsense of every length.
fn forged(real: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = real.to_vec();
    for beat in real {
        let turned = (0..beat.len() * 8).map(|bit| {
            let mut beat = beat.clone();
            beat[bit / 8] ^= 1 << (bit % 8);
            beat
        });
        all.extend(turned);
        all.extend((0..beat.len()).map(|length| beat[..length].to_vec()));
        all.extend([1400, 1401, 9000].map(|length| {
            let mut beat = beat.clone();
            beat.resize(length, 0);
            beat
        }));
    }
    all.extend((0..1401_usize).step_by(7).map(|length| vec![length.to_le_bytes()[0]; length]));
    all
}

/// Sends them from here to a node's heartbeat port, over and over, ten thousand a second.
fn rages(from: &Net, to: &str, payloads: &[Vec<u8>], end: &AtomicBool) -> u64 {
    from.run(|| async {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let mut turn = tokio::time::interval(Duration::from_millis(10));
        let mut sent = 0;
        let mut endless = payloads.iter().cycle();
        while !end.load(Ordering::Relaxed) {
            turn.tick().await;
            for payload in endless.by_ref().take(BATCH) {
                // A full queue on the way is the storm's loss.
                sent += u64::from(socket.send_to(payload, (to, 694)).is_ok());
            }
        }
        sent
    })
}

/// A storm on the owner from this station; its beats and those of the peer go on beneath.
fn endures(pair: &Pair, from: &Net, payloads: &[Vec<u8>]) {
    let end = AtomicBool::new(false);
    let before = [&pair.a, &pair.b].map(|node| node.status().unwrap());
    let epochs = |statuses: &[crate::node::Status; 2]| {
        statuses.each_ref().map(|status| status.groups()[0]["epoch"].clone())
    };
    client::alone(pair, &pair.a, || {
        let sent = std::thread::scope(|scope| {
            let storm = scope.spawn(|| rages(from, "192.168.2.101", payloads, &end));
            lasts(STORM);
            let status = pair.a.status().unwrap();
            end.store(true, Ordering::Relaxed);
            assert_eq!(status.peer(), "up", "in the middle of it");
            storm.join().unwrap()
        });
        assert!(sent > 1000, "{sent} datagrams are no storm");
        pair.a.wait("refusals", |status| {
            let all = status.0["refused"].as_object().unwrap().values();
            all.filter_map(serde_json::Value::as_u64).sum::<u64>() > 1000
        });
    });
    let after = [&pair.a, &pair.b].map(|node| node.status().unwrap());
    assert_eq!(epochs(&before), epochs(&after));
    for (node, state) in [(&pair.a, "active"), (&pair.b, "standby")] {
        let status = node.status().unwrap();
        assert_eq!((status.state(0), status.peer()), (state, "up"));
        assert!(!node.log().contains("is dead"), "{}", node.log());
    }
    // Both still listen to each other.
    let said = pair.a.ask(&["standby"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    pair.b.becomes("active");
}

fn setup() -> Setup {
    Setup { deadtime: 1500, initdead: 3000, ..Setup::default() }
}

#[test]
fn ten_thousand_forged_packets_a_second_from_the_peers_own_address_are_only_counted() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&setup());
    let real = capture(&pair.lan.node, [192, 168, 2, 105], 2);
    endures(&pair, &pair.lan.other, &forged(&real));
}

#[test]
fn a_storm_of_a_nodes_own_beats_sent_back_to_it_is_only_counted() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&setup());
    let own = capture(&pair.lan.other, [192, 168, 2, 101], 20);
    endures(&pair, &pair.lan.client, &own);
}
