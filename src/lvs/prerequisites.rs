//! What the ways of forwarding need of the director's own machine: its settings, routes and modules
//! in, sentences out, and what is to be set where that is asked for. No IO: whoever asks reads them.

mod clients;
mod modules;
mod route;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::director::ServiceView;
use super::model::{Forwarding, VirtualService};
use super::overrides::server_of;
use super::settings::Values;

pub use self::clients::{FAR_CLIENT, Strict, strict};
pub use self::modules::{Module, ModuleLack, Presence, lacking_modules, modules, modules_of_views};
pub use self::route::{LOOKED_AT_MAX, Reached, Route, RouteLack, lacking as lacking_routes};

/// A setting that NAT needs. Direct routing and tunnels need none on the director: what they send
/// does not come back through it. Full NAT needs what NAT needs; what it needs beside is set when its rules
/// are put in force.
#[derive(Debug)]
struct Need {
    /// Of real servers with IPv6.
    ipv6: bool,
    /// Its path under /proc/sys.
    setting: &'static str,
    wanted: &'static str,
    /// What happens otherwise.
    otherwise: &'static str,
}

const NEEDS: [Need; 3] = [
    Need {
        ipv6: false,
        setting: "net/ipv4/ip_forward",
        wanted: "1",
        otherwise: "answers of real servers behind NAT (masq) are not sent on to the clients",
    },
    Need {
        ipv6: true,
        setting: "net/ipv6/conf/all/forwarding",
        wanted: "1",
        otherwise: "answers of real servers behind NAT (masq) are not sent on to the clients",
    },
    Need {
        ipv6: false,
        setting: "net/ipv4/conf/all/send_redirects",
        wanted: "0",
        otherwise: "where answers of real servers behind NAT (masq) leave by the interface they came \
                    in on, the servers are told to send them past this machine, and connections break",
    },
];

/// A setting that is not as it is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lack {
    /// Its path under /proc/sys.
    setting: String,
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

/// The real servers of these services that are not on this machine.
pub fn reached<'a>(services: impl Iterator<Item = &'a VirtualService>) -> Reached {
    let reals = services.flat_map(VirtualService::servers);
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

/// What the ways to these servers need.
fn needs(reached: &Reached) -> impl Iterator<Item = &'static Need> {
    let nat = reached.iter().filter(|(_, forwarding)| forwarding.is_nat());
    let families: BTreeSet<bool> = nat.map(|(server, _)| server.is_ipv6()).collect();
    NEEDS.iter().filter(move |need| families.contains(&need.ipv6))
}

/// The settings that the ways to these servers need.
pub fn settings(reached: &Reached) -> Values {
    needs(reached).map(|need| (need.setting.to_owned(), need.wanted.to_owned())).collect()
}

/// What they lack. `read` has the settings by their path under /proc/sys; one that can't be read
/// tells nothing.
pub fn lacking(reached: &Reached, read: impl Fn(&str) -> Option<String>) -> Vec<Lack> {
    let lack = |need: &Need| lack(need.setting.to_owned(), (need.wanted, need.otherwise), &read);
    needs(reached).filter_map(lack).collect()
}

/// What is to be said of a setting, if anything.
fn lack(
    setting: String,
    (wanted, otherwise): (&'static str, &'static str),
    read: impl Fn(&str) -> Option<String>,
) -> Option<Lack> {
    let found = read(&setting).filter(|found| found != wanted)?;
    Some(Lack { setting, found, wanted, otherwise })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(reached: &[(Forwarding, &str)], forwards: &str) -> Vec<String> {
        let read = |path: &str| match path {
            "net/ipv4/conf/all/send_redirects" => Some("0".to_owned()),
            _ => Some(forwards.to_owned()),
        };
        let reached = reached.iter().map(|(way, ip)| (ip.parse().expect("ip"), *way)).collect();
        let lacks = lacking(&reached, read);
        lacks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nat_needs_a_machine_that_forwards_and_the_other_ways_do_not() {
        let (v4, v6) = ("10.0.0.7", "fd00::7");
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
        let reached = [([10, 0, 0, 7].into(), Forwarding::Masq)].into();
        assert_eq!(lacking(&reached, |_| None), []);
    }
}
