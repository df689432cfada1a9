//! Whether what clients send gets past this machine's own filter: routes as the kernel has them in,
//! sentences out.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::Route;

/// Stands for clients from elsewhere: a root name server (a.root-servers.net), on nobody's LAN. Nothing is sent there.
pub const FAR_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4));

/// `rp_filter` of an interface drops what comes from where no route leads back by it (RFC 3704, strict).
const STRICT: &str = "1";

/// An interface with a virtual IP that drops what clients from elsewhere send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strict {
    interface: String,
    way_back: String,
}

impl fmt::Display for Strict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, way_back } = self;
        let name = format!("net.ipv4.conf.{interface}.rp_filter");
        write!(
            f,
            "{name} is strict, and the way back to clients from elsewhere is {way_back}: what they send to a virtual \
             IP on {interface} is dropped (sysctl -w {name}=2)"
        )
    }
}

/// Which of these interfaces do so. `to_far`: the route to [`FAR_CLIENT`]; without one there are only clients of
/// the LAN. `read` has the settings by their path under /proc/sys.
pub fn strict<'a>(
    interfaces: impl Iterator<Item = &'a str>,
    to_far: Option<&Route>,
    read: impl Fn(&str) -> Option<String>,
) -> BTreeSet<Strict> {
    let Some(far) = to_far else { return BTreeSet::new() };
    let away = interfaces.filter(|interface| *interface != far.interface);
    // The greater one of both is in force.
    let filter = |of: &str| read(&format!("net/ipv4/conf/{of}/rp_filter"));
    let strict = away.filter(|it| filter("all").max(filter(it)).as_deref() == Some(STRICT));
    let lack = |interface: &str| Strict {
        interface: interface.to_owned(),
        way_back: far.interface.clone(),
    };
    strict.map(lack).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strict_filter_is_named_where_the_way_back_is_another_one() {
        let route = Route { interface: "eth1".to_owned(), gateway: None, mtu: None };
        let said = |all: &str, own: &str, route: Option<&Route>| {
            let read = |path: &str| {
                let value = if path == "net/ipv4/conf/all/rp_filter" { all } else { own };
                Some(value.to_owned())
            };
            let lacks = strict(["eth0", "eth0", "eth1"].into_iter(), route, read);
            lacks.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for (all, own) in [("1", "0"), ("0", "1"), ("1", "1")] {
            let said = said(all, own, Some(&route));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with("net.ipv4.conf.eth0.rp_filter is strict, "), "{said:?}");
        }
        for (all, own) in [("0", "0"), ("2", "1"), ("1", "2")] {
            assert_eq!(said(all, own, Some(&route)), [""; 0]);
        }
        assert_eq!(said("1", "1", None), [""; 0], "there are clients of the LAN only");
    }
}
