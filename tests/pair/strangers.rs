//! Others on the LAN: packets that prove nothing, and stations that claim the virtual IP.

use std::io::Read;

use socket2::{Domain, Protocol, Socket, Type};

use crate::lan::{PATIENCE, mac, resolve};
use crate::nets::{Net, possible};
use crate::pair::{NAMES, Pair, Setup, VIP};

const OTHER_KEY: &str = "a0c1e2f3948576b7c8d9eafb0c1d2e3f405162738495a6b7c8d9eafb0c1d2e3f";
/// Datagrams of each kind.
const MANY: u64 = 50;

/// Sends payloads to the heartbeat port of server101 from somewhere on the LAN.
fn throw(from: &Net, payloads: &[Vec<u8>]) {
    from.run(|| async {
        let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
        for payload in payloads {
            socket.send_to(payload, ("192.168.2.101", 694)).await.unwrap();
        }
    });
}

/// What never passes: roles and epochs.
fn roles(pair: &Pair) -> Vec<serde_json::Value> {
    let statuses = [&pair.a, &pair.b].map(|node| node.status().unwrap());
    statuses
        .map(|status| status.0["groups"][0].clone())
        .map(|mut group| {
            // Notes tell of announcements, which go on.
            group.as_object_mut().unwrap().remove("notes");
            group
        })
        .to_vec()
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let before = roles(&pair);
    let garbage: Vec<Vec<u8>> = (0..MANY).map(|n| vec![u8::try_from(n).unwrap(); 200]).collect();
    throw(&pair.lan.client, &garbage);
    pair.a.wait("refusals", |status| {
        let all = status.0["refused"].as_object().unwrap().values();
        all.filter_map(serde_json::Value::as_u64).sum::<u64>() >= MANY
    });
    assert_eq!(roles(&pair), before);
}

#[test]
fn real_beats_that_are_sent_again_are_counted_and_change_nothing() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::default());
    let captured = capture(&pair.lan.node, 4);
    let before = roles(&pair);
    for _ in 0..10 {
        throw(&pair.lan.client, &captured);
    }
    pair.a.wait("refusals", |status| status.refused("heard before") >= 10);
    assert_eq!(roles(&pair), before);
    // They don't keep a dead peer alive either.
    pair.b.crash();
    pair.a.wait("a dead peer", |status| {
        throw(&pair.lan.client, &captured);
        status.peer() == "dead"
    });
    // Nor do they deceive a node that has just started.
    assert_eq!(pair.a.ask(&["stop"]).code, Some(0));
    pair.a.ended();
    pair.a.start();
    let status = pair.a.wait("its decision", |status| {
        throw(&pair.lan.client, &captured);
        status.state(0) == "active"
    });
    assert_eq!(status.peer(), "dead");
    assert!(status.refused("no proof of freshness") > 0, "{status:?}");
}

/// Beats that come in at this node.
fn capture(at: &Net, count: usize) -> Vec<Vec<u8>> {
    at.run(|| async move {
        // A raw socket has every UDP packet of the namespace, with its IPv4 header.
        let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut found: Vec<Vec<u8>> = Vec::new();
        while found.len() < count {
            let mut buffer = [0_u8; 2048];
            let got = socket.read(&mut buffer).unwrap();
            let packet = buffer.get(..got).unwrap();
            let from_peer = packet.get(12..16) == Some(&[192, 168, 2, 105]);
            if from_peer && packet.get(22..24) == Some(&694_u16.to_be_bytes()) {
                found.push(packet.get(28..).unwrap().to_vec());
            }
        }
        found
    })
}

#[test]
fn nodes_with_different_keys_are_deaf_to_each_other_and_say_why() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    Setup::default().write(&pair.b.config, OTHER_KEY);
    pair.a.start();
    pair.a.becomes("active");
    pair.b.start();
    // Deaf to its beats, but not to its answers on the LAN.
    let other = pair.b.wait("jeopardy", |status| status.peer() == "jeopardy");
    assert_eq!(other.state(0), "standby");
    for (node, state) in [(&pair.a, "active"), (&pair.b, "standby")] {
        let why = "refused beats";
        let status = node.wait(why, |status| status.refused("wrong signature") > 0);
        assert_eq!(status.state(0), state);
    }
}

#[test]
fn another_station_with_the_vip_is_noted() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    pair.lan.client.ip(&format!("address add {VIP}/24 dev eth0"));
    resolve(&pair.lan.gateway, VIP);
    pair.a.start();
    let claimed = format!("ALSO CLAIMED by {}", mac(&pair.lan.client));
    pair.a.wait("a rival", |status| status.notes(0).contains(&claimed));
    assert_eq!(pair.a.name, NAMES[0]);
}
