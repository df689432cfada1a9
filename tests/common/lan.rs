//! A LAN of namespaces: two nodes, a gateway and a client on one bridge. Used by the tests of
//! `netns` and `pair`.

use std::time::Duration;

use tokio::time::Instant;

use crate::nets::Net;

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One LAN; every station has eth0 with 192.168.2.N and fd00:2::N.
pub(crate) struct Lan {
    _bridge: Net,
    pub(crate) node: Net,
    pub(crate) other: Net,
    pub(crate) gateway: Net,
    pub(crate) client: Net,
}

impl Lan {
    pub(crate) fn new() -> Self {
        let bridge = Net::new();
        bridge.ip("link add lan type bridge");
        bridge.ip("link set lan up");
        let station = |number: u32| {
            let net = Net::new();
            let port = format!("port{number}");
            net.cable("eth0", &bridge, &port);
            bridge.ip(&format!("link set {port} master lan"));
            net.ip(&format!("addr add 192.168.2.{number}/24 dev eth0"));
            net.ip(&format!("addr add fd00:2::{number}/64 dev eth0 nodad"));
            net
        };
        let [node, other, gateway, client] = [101, 105, 1, 7].map(station);
        for node in [&node, &other] {
            node.ip("route add default via 192.168.2.1");
            node.ip("-6 route add default via fd00:2::1");
        }
        Self { _bridge: bridge, node, other, gateway, client }
    }
}

/// Waits until `net` believes that `ip` has this hardware address.
pub(crate) fn learned(net: &Net, ip: &str, mac: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = net.ip(&format!("neigh show {ip} dev eth0"));
        if shown.contains(mac) {
            return;
        }
        assert!(Instant::now() < deadline, "{ip} should be at {mac}, not {shown}");
    }
}

/// Sends something to `ip`, so that it is resolved.
pub(crate) fn resolve(net: &Net, ip: &str) {
    net.run(|| async {
        let from = if ip.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = tokio::net::UdpSocket::bind(from).await.unwrap();
        socket.send_to(b"hello", (ip, 9)).await.unwrap();
    });
}

pub(crate) fn mac(net: &Net) -> String {
    let shown = net.ip("-o link show eth0");
    let words: Vec<&str> = shown.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "link/ether").unwrap();
    words.get(at + 1).unwrap().to_string()
}
