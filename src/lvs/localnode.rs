//! Directors that are real servers of their own services.
//!
//! The active director sends a part of the packets to the other one by direct routing. That one has
//! the same table, and would balance them once more, perhaps back. Whoever is a real server itself
//! takes what comes from another real server of the service as its own: real servers have the virtual
//! IP themselves, and so send nothing to it but what they pass on as directors. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::lvs::model::{Director, Forwarding, ServiceKey};

/// The real servers of a virtual IP that this machine is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fellows {
    /// Its own address as that.
    pub own: IpAddr,
    /// Those of the others.
    pub others: BTreeSet<IpAddr>,
}

/// For each virtual IP that this machine, with these addresses, is a real server of by direct routing:
/// the other real servers.
pub fn fellows<'a>(
    directors: impl Iterator<Item = &'a Director>,
    own: &BTreeSet<IpAddr>,
) -> BTreeMap<IpAddr, Fellows> {
    let mut found: BTreeMap<IpAddr, Fellows> = BTreeMap::new();
    // What is sent to the loopback from outside the kernel drops, whoever sends it.
    let own: BTreeSet<IpAddr> = own.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    for service in directors.flat_map(|director| &director.services) {
        let ServiceKey::Address { address: vip, .. } = service.key else { continue };
        let gate = service.pools().filter(|real| real.forwarding == Forwarding::Gate);
        let reals: BTreeSet<IpAddr> = gate.map(|real| real.key.address).collect();
        let Some(first) = reals.intersection(&own).next() else { continue };
        let new = Fellows { own: *first, others: BTreeSet::new() };
        let others = reals.difference(&own).copied().filter(|ip| !ip.is_loopback());
        found.entry(vip).or_insert(new).others.extend(others);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::model::{RealKey, RealServer};
    use crate::lvs::testing;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fellows_of(own: &str, forwarding: Forwarding) -> Vec<String> {
        let mut director = testing::director(vec![testing::service(1, &[])]);
        let servers = ["192.168.2.101", "192.168.2.105", "192.168.2.107"];
        for service in &mut director.services {
            service.reals = servers
                .map(|text| RealServer::sorry(RealKey { address: ip(text), port: 80 }, forwarding))
                .into();
        }
        let own = [ip(own)].into();
        let found = fellows([&director].into_iter(), &own);
        found.values().flat_map(|it| &it.others).map(ToString::to_string).collect()
    }

    #[test]
    fn only_a_director_that_is_a_real_server_itself_has_fellows() {
        let gate = Forwarding::Gate;
        assert_eq!(fellows_of("192.168.2.101", gate), ["192.168.2.105", "192.168.2.107"]);
        assert_eq!(fellows_of("192.168.2.99", gate), [""; 0]);
        assert_eq!(fellows_of("192.168.2.101", Forwarding::Masq), [""; 0]);
    }
}
