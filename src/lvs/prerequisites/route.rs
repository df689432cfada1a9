//! What the route to a real server must be for each way of forwarding: routes as the kernel has them in,
//! sentences out.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::{Lack, lack};
use crate::lvs::model::{Checksum, Forwarding};

/// Real servers and how packets are sent on to them.
pub type Reached = BTreeSet<(IpAddr, Forwarding)>;

/// Most real servers whose routes should be asked for: that takes some ten microseconds each, and a note is
/// to be there at once.
pub const LOOKED_AT_MAX: usize = 1024;

/// How the kernel would send a packet there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The interface that it would leave by.
    pub interface: String,
    /// The router that it would be handed to; `None`: the address is on that interface's network.
    pub gateway: Option<IpAddr>,
    /// Longest packet on that way, in bytes; `None`: unknown.
    pub mtu: Option<u32>,
}

/// What is wrong with the way to a real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteLack {
    /// None leads there.
    None(IpAddr),
    /// Direct routing through a router.
    Behind(IpAddr, IpAddr),
    /// A setting of the interface that NAT's answers come in by.
    Setting(Lack),
    /// A tunnel that carries less than the interface does.
    Tight {
        /// The interface.
        interface: String,
        /// Its longest packet, in bytes.
        mtu: u32,
        /// What the tunnel takes of each packet, in bytes.
        outer: u32,
    },
}

impl fmt::Display for RouteLack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None(server) => write!(f, "no route leads to real server {server}"),
            Self::Behind(server, gateway) => write!(
                f,
                "real server {server} is behind router {gateway}: direct routing (gate) hands frames to \
                 servers on the director's own LAN, and the router would send them back; use a tunnel \
                 or NAT"
            ),
            Self::Setting(lack) => lack.fmt(f),
            Self::Tight { interface, mtu, outer } => write!(
                f,
                "tunnels by {interface} (MTU {mtu}) carry packets of up to {} bytes: clients whose packets \
                 are longer are told so by ICMP, which must reach them; with an MTU of {} or more on the \
                 way to the real servers nobody need be told",
                mtu.saturating_sub(*outer),
                mtu.saturating_add(*outer)
            ),
        }
    }
}

/// What an outer packet adds, in bytes (RFC 2003, 2473, 2784, draft-ietf-intarea-gue).
fn outer(forwarding: Forwarding, server: IpAddr) -> Option<u32> {
    let ip = if server.is_ipv6() { 40 } else { 20 };
    let rest = match forwarding {
        Forwarding::Ipip => 0,
        Forwarding::Gue { checksum: Checksum::Remote, .. } => 20,
        Forwarding::Gue { .. } => 12,
        Forwarding::Gre { checksum } => {
            if checksum {
                8
            } else {
                4
            }
        }
        _ => return None,
    };
    Some(ip + rest)
}

/// What the routes lack, each once. `route` has the kernel's route to an address, `Ok(None)`: none leads there;
/// an error tells nothing. `read` has settings by their path under /proc/sys.
pub fn lacking<E>(
    reached: &Reached,
    route: impl Fn(IpAddr) -> Result<Option<Route>, E>,
    read: impl Fn(&str) -> Option<String>,
) -> BTreeSet<RouteLack> {
    let mut lacks = BTreeSet::new();
    for (server, forwarding) in reached {
        let Ok(route) = route(*server) else { continue };
        let Some(route) = route else {
            lacks.insert(RouteLack::None(*server));
            continue;
        };
        if let (Forwarding::Gate, Some(gateway)) = (forwarding, route.gateway) {
            lacks.insert(RouteLack::Behind(*server, gateway));
        }
        if forwarding.is_nat() && server.is_ipv4() {
            lacks.extend(settings(&route.interface, &read));
        }
        if let (Some(outer), Some(mtu)) = (outer(*forwarding, *server), route.mtu) {
            lacks.insert(RouteLack::Tight { interface: route.interface, mtu, outer });
        }
    }
    lacks
}

/// The interface's own, which count beside those of all.
fn settings(interface: &str, read: impl Fn(&str) -> Option<String>) -> Vec<RouteLack> {
    const NEEDS: [(&str, &str, &str); 2] = [
        (
            "forwarding",
            "1",
            "answers of real servers that come in there are not sent on to the clients",
        ),
        (
            "send_redirects",
            "0",
            "where answers of real servers leave by the interface they came in on, the servers are told \
             to send them past this machine, and connections break",
        ),
    ];
    // Setting that of all sets those of the interfaces: one is a fault of its own only beside it.
    let forwards = read("net/ipv4/ip_forward").is_some_and(|found| found == "1");
    let needed = NEEDS.into_iter().filter(|(name, ..)| forwards || *name != "forwarding");
    let unmet = needed.filter_map(|(name, wanted, otherwise)| {
        let setting = format!("net/ipv4/conf/{interface}/{name}");
        lack(setting, (wanted, otherwise), &read)
    });
    unmet.map(RouteLack::Setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(reached: &[(&str, Forwarding)], gateway: Option<&str>, setting: &str) -> Vec<String> {
        let reached =
            reached.iter().map(|(server, way)| (server.parse().expect("ip"), *way)).collect();
        let route = |_| {
            let gateway = gateway.map(|ip| ip.parse().expect("ip"));
            Ok::<_, ()>(Some(Route { interface: "eth1".into(), gateway, mtu: Some(1500) }))
        };
        let read = |path: &str| match path {
            "net/ipv4/ip_forward" => Some("1".to_owned()),
            _ => Some(setting.to_owned()),
        };
        let lacks = lacking(&reached, route, read);
        lacks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn direct_routing_reaches_its_own_lan_only() {
        let near = words(&[("10.0.0.7", Forwarding::Gate)], None, "1");
        assert_eq!(near, [""; 0]);
        let far = words(&[("10.0.0.7", Forwarding::Gate)], Some("10.9.0.1"), "1");
        assert_eq!(far.len(), 1);
        assert!(far[0].starts_with("real server 10.0.0.7 is behind router 10.9.0.1: "), "{far:?}");
        assert_eq!(words(&[("10.0.0.7", Forwarding::Masq)], Some("10.9.0.1"), "0").len(), 1);
    }

    #[test]
    fn the_interface_of_nat_has_settings_of_its_own() {
        let both =
            [("10.0.0.7", Forwarding::Masq), ("10.0.0.8", Forwarding::FullNat { source: None })];
        let said = words(&both, None, "1");
        assert_eq!(said.len(), 1, "once for an interface: {said:?}");
        assert!(said[0].starts_with("net.ipv4.conf.eth1.send_redirects is 1: "), "{said:?}");
        let said = words(&both, None, "0");
        assert!(said[0].starts_with("net.ipv4.conf.eth1.forwarding is 0: "), "{said:?}");
    }

    #[test]
    fn a_tunnel_carries_less_than_its_interface() {
        let gue = Forwarding::Gue { port: 6080, checksum: Checksum::Remote };
        for (server, way, carried, wanted) in [
            ("10.0.0.7", Forwarding::Ipip, 1480, 1520),
            ("fd00::7", Forwarding::Ipip, 1460, 1540),
            ("10.0.0.7", gue, 1460, 1540),
            ("10.0.0.7", Forwarding::Gre { checksum: false }, 1476, 1524),
        ] {
            let said = words(&[(server, way)], Some("10.9.0.1"), "1");
            let (up_to, more) = (format!("up to {carried} "), format!("MTU of {wanted} "));
            assert!(
                said.len() == 1 && said[0].contains(&up_to) && said[0].contains(&more),
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_missing_route_is_said_and_what_nobody_knows_is_not() {
        let reached = [("10.0.0.7".parse().expect("ip"), Forwarding::Ipip)].into();
        let none = lacking(&reached, |_| Ok::<_, ()>(None), |_| None);
        assert_eq!(none.into_iter().collect::<Vec<_>>(), [RouteLack::None([10, 0, 0, 7].into())]);
        assert_eq!(lacking(&reached, |_| Err(()), |_| None).len(), 0);
    }
}
