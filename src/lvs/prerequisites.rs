//! What the ways of forwarding need of the director's own machine, beside IPVS: its settings and routes
//! in, sentences out, and what is to be set where that is asked for. No IO: whoever asks reads them.

mod route;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::director::ServiceView;
use super::model::{Forwarding, VirtualService};
use super::overrides::server_of;
use super::settings::Values;

pub use self::route::{LOOKED_AT_MAX, Reached, Route, RouteLack, lacking as lacking_routes};

/// One way that packets are sent on: the method, and the real server's family.
pub type Way = (Forwarding, Family);

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A setting that a way needs. Direct routing and tunnels need none on the director: what they send
/// does not come back through it.
#[derive(Debug)]
struct Need {
    way: Way,
    /// Its path under /proc/sys.
    setting: &'static str,
    wanted: &'static str,
    /// What happens otherwise.
    otherwise: &'static str,
}

const NEEDS: [Need; 3] = [
    Need {
        way: (Forwarding::Masq, Family::V4),
        setting: "net/ipv4/ip_forward",
        wanted: "1",
        otherwise: "answers of real servers behind NAT (masq) are not sent on to the clients",
    },
    Need {
        way: (Forwarding::Masq, Family::V6),
        setting: "net/ipv6/conf/all/forwarding",
        wanted: "1",
        otherwise: "answers of real servers behind NAT (masq) are not sent on to the clients",
    },
    Need {
        way: (Forwarding::Masq, Family::V4),
        setting: "net/ipv4/conf/all/send_redirects",
        wanted: "0",
        otherwise: "where answers of real servers behind NAT (masq) leave by the interface they came \
                    in on, the servers are told to send them past this machine, and connections break",
    },
];

/// A setting that is not as a way needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    setting: &'static str,
    found: String,
    wanted: &'static str,
    otherwise: &'static str,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, found, wanted, otherwise } = self;
        let name = setting.replace('/', ".");
        write!(f, "{name} is {found}: {otherwise} (sysctl -w {name}={wanted})")
    }
}

/// The way to one server.
fn way(forwarding: Forwarding, server: IpAddr) -> Way {
    // Full NAT needs what NAT needs; what it needs beside is set when its rules are put in force.
    let forwarding = if forwarding.is_nat() { Forwarding::Masq } else { forwarding };
    (forwarding, Family::from(server))
}

/// The ways that these services use.
pub fn ways<'a>(services: impl Iterator<Item = &'a VirtualService>) -> BTreeSet<Way> {
    ways_of(&reached(services))
}

/// The same of the services of a running director.
pub fn ways_of_views(services: &[ServiceView]) -> BTreeSet<Way> {
    ways_of(&reached_of_views(services))
}

fn ways_of(reached: &Reached) -> BTreeSet<Way> {
    reached.iter().map(|(server, forwarding)| way(*forwarding, *server)).collect()
}

/// The real servers of these services that are not on this machine.
pub fn reached<'a>(services: impl Iterator<Item = &'a VirtualService>) -> Reached {
    let reals = services
        .flat_map(|service| service.reals.iter().chain(&service.backup).chain(&service.fallback));
    elsewhere(reals.map(|real| (real.key.address, real.forwarding)))
}

/// The same of the services of a running director.
pub fn reached_of_views(services: &[ServiceView]) -> Reached {
    let reals = services.iter().flat_map(|service| service.real.iter().chain(&service.backup));
    elsewhere(reals.filter_map(|real| Some((server_of(&real.address).ok()?.0, real.forwarding))))
}

fn elsewhere(servers: impl Iterator<Item = (IpAddr, Forwarding)>) -> Reached {
    servers.filter(|(address, _)| !address.is_loopback()).collect()
}

/// The settings that they need.
pub fn settings(ways: &BTreeSet<Way>) -> Values {
    let needed = NEEDS.iter().filter(|need| ways.contains(&need.way));
    needed.map(|need| (need.setting.to_owned(), need.wanted.to_owned())).collect()
}

/// What they lack. `read` has the settings by their path under /proc/sys; one that can't be read
/// tells nothing.
pub fn lacking(ways: &BTreeSet<Way>, read: impl Fn(&str) -> Option<String>) -> Vec<Lack> {
    let needed = NEEDS.iter().filter(|need| ways.contains(&need.way));
    let unmet = needed.filter_map(|need| {
        let found = read(need.setting).filter(|found| found != need.wanted)?;
        let Need { setting, wanted, otherwise, .. } = need;
        Some(Lack { setting, found, wanted, otherwise })
    });
    unmet.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(ways: &[Way], forwards: &str) -> Vec<String> {
        let read = |path: &str| match path {
            "net/ipv4/conf/all/send_redirects" => Some("0".to_owned()),
            _ => Some(forwards.to_owned()),
        };
        let lacks = lacking(&ways.iter().copied().collect(), read);
        lacks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nat_needs_a_machine_that_forwards_and_the_other_ways_do_not() {
        let (v4, v6) = (Family::V4, Family::V6);
        let nat = words(&[(Forwarding::Masq, v4)], "0");
        assert_eq!(
            nat,
            [
                "net.ipv4.ip_forward is 0: answers of real servers behind NAT (masq) are not sent on to \
              the clients (sysctl -w net.ipv4.ip_forward=1)"
            ]
        );
        let nat6 = words(&[(Forwarding::Masq, v6)], "0");
        assert!(nat6.iter().all(|line| line.starts_with("net.ipv6.conf.all.forwarding is 0")));
        assert_eq!((nat.len(), nat6.len()), (1, 1));
        for forwarding in [Forwarding::Gate, Forwarding::Ipip, Forwarding::Local] {
            assert_eq!(words(&[(forwarding, v4), (forwarding, v6)], "0"), [""; 0]);
        }
        assert_eq!(words(&[(Forwarding::Masq, v4), (Forwarding::Masq, v6)], "1"), [""; 0]);
    }

    #[test]
    fn what_cant_be_read_tells_nothing() {
        let ways = [(Forwarding::Masq, Family::V4)].into();
        assert_eq!(lacking(&ways, |_| None), []);
    }
}
