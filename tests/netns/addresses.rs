//! `kernel::addr`.

use std::net::IpAddr;

use pairbeat::config::Address;
use pairbeat::kernel::addr::{AddressError, Addresses};

use crate::nets::{Net, possible};

pub(crate) fn vip(ip: &str) -> Address {
    let (ip, prefix) = match ip.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix.parse().unwrap())),
        None => (ip, None),
    };
    Address { ip: ip.parse().unwrap(), prefix, interface: None, label: None, broadcast: None }
}

pub(crate) fn on(interface: &str, address: Address) -> Address {
    Address { interface: Some(interface.to_owned()), ..address }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One node with a base address of each family on eth0.
fn node() -> Net {
    let net = Net::new();
    net.port("eth0");
    net.ip("addr add 192.168.2.101/24 dev eth0");
    net.ip("addr add fd00:2::101/64 dev eth0 nodad");
    net.ip("route add default via 192.168.2.1");
    net
}

#[test]
fn interface_and_prefix_come_from_the_connected_network() {
    if !possible() {
        return;
    }
    let net = node();
    net.port("eth1");
    net.ip("addr add 192.168.0.9/16 dev eth1");
    let added = net.run(|| async {
        let addresses = Addresses::open().unwrap();
        addresses.add(&vip("192.168.2.110")).await.unwrap()
    });
    assert!(added.new);
    assert_eq!((added.placement.interface.as_str(), added.placement.prefix), ("eth0", 24));
    assert_eq!(added.placement.source, Some(ip("192.168.2.101")));
    assert_ne!(added.placement.mac, [0; 6]);
    let shown = net.ip("-4 addr show dev eth0");
    assert!(shown.contains("inet 192.168.2.110/24 scope global secondary eth0"), "{shown}");
    // The node itself goes on sending from its base address.
    assert!(net.ip("route get 192.168.2.7").contains("src 192.168.2.101"));
    assert!(net.ip("route get 8.8.8.8").contains("src 192.168.2.101"));
}

#[test]
fn label_and_broadcast_are_set_as_configured() {
    if !possible() {
        return;
    }
    let net = node();
    let address = Address {
        label: Some("eth0:0".to_owned()),
        broadcast: Some("192.168.2.255".parse().unwrap()),
        ..on("eth0", vip("192.168.2.110/32"))
    };
    net.run(|| async { Addresses::open().unwrap().add(&address).await.unwrap() });
    let shown = net.ip("-4 addr show dev eth0");
    assert!(shown.contains("inet 192.168.2.110/32 brd 192.168.2.255"), "{shown}");
    assert!(shown.contains("eth0:0"), "{shown}");
}

#[test]
fn a_narrower_vip_brings_no_route_that_would_make_it_a_source() {
    if !possible() {
        return;
    }
    let net = node();
    net.run(|| async { Addresses::open().unwrap().add(&vip("192.168.2.110/25")).await.unwrap() });
    assert!(net.ip("-4 addr show").contains("192.168.2.110/25"));
    assert!(net.ip("route get 192.168.2.7").contains("src 192.168.2.101"));
}

#[test]
fn a_vip_in_a_network_of_its_own_brings_the_route_to_it() {
    if !possible() {
        return;
    }
    let net = node();
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        addresses.add(&on("eth0", vip("10.9.9.9/24"))).await.unwrap();
    });
    assert!(net.ip("route").contains("10.9.9.0/24 dev eth0"));
    let alone = net.run(|| async {
        Addresses::open().unwrap().place(&on("eth0", vip("172.16.0.1"))).await.unwrap()
    });
    assert_eq!(alone.prefix, 32);
}

#[test]
fn an_ipv6_vip_is_usable_at_once_and_never_a_source() {
    if !possible() {
        return;
    }
    let net = node();
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        assert!(addresses.add(&vip("fd00:2::110")).await.unwrap().new);
        assert!(!addresses.add(&vip("fd00:2::110")).await.unwrap().new);
        // Found by the network again, not by the host route that the address itself brings.
        assert!(addresses.add(&vip("fd00:2::111/128")).await.unwrap().new);
        assert_eq!(addresses.place(&vip("fd00:2::111")).await.unwrap().prefix, 64);
        addresses.remove(ip("fd00:2::111")).await.unwrap();
    });
    let shown = net.ip("-6 addr show dev eth0");
    let line = shown.lines().find(|line| line.contains("fd00:2::110/64")).expect("it is there");
    assert!(line.contains("nodad") && line.contains("deprecated"), "{line}");
    assert!(!line.contains("tentative"), "{line}");
    assert!(net.ip("route get fd00:2::7").contains("src fd00:2::101"));
    net.run(|| async { Addresses::open().unwrap().remove(ip("fd00:2::110")).await.unwrap() });
    assert!(net.ip("-6 route").contains("fd00:2::/64"), "the network's route must stay");
    assert!(net.ip("-6 addr").contains("fd00:2::101/64"));
}

#[test]
fn an_ipv6_vip_that_failed_duplicate_detection_elsewhere_is_made_usable() {
    if !possible() {
        return;
    }
    let net = node();
    // Without carrier detection stays pending: tentative for ever.
    net.ip("link add v0 type veth peer name v1");
    net.ip("link set v0 up");
    net.ip("addr add fd00:3::110/64 dev v0");
    assert!(net.ip("-6 addr show dev v0").contains("tentative"));
    let added = net.run(|| async {
        Addresses::open().unwrap().add(&on("v0", vip("fd00:3::110/64"))).await.unwrap()
    });
    assert!(added.new);
    assert!(
        !net.ip("-6 addr show dev v0")
            .lines()
            .any(|l| l.contains("fd00:3::110") && l.contains("tentative"))
    );
}

#[test]
fn adding_twice_and_removing_twice_succeed() {
    if !possible() {
        return;
    }
    let net = node();
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        let there = vip("192.168.2.110");
        assert!(addresses.add(&there).await.unwrap().new);
        assert!(!addresses.add(&there).await.unwrap().new);
        assert_eq!(addresses.holders(there.ip).await.unwrap(), [("eth0".to_owned(), 24)]);
        assert_eq!(addresses.remove(there.ip).await.unwrap(), 1);
        assert_eq!(addresses.remove(there.ip).await.unwrap(), 0);
        assert!(addresses.holders(there.ip).await.unwrap().is_empty());
    });
}

#[test]
fn a_stray_vip_goes_from_every_interface_and_prefix_but_the_loopback() {
    if !possible() {
        return;
    }
    let net = node();
    net.port("eth1");
    net.ip("addr add 192.168.2.110/24 dev eth0");
    net.ip("addr add 192.168.2.110/32 dev eth0");
    net.ip("addr add 192.168.2.110/25 dev eth1");
    net.ip("addr add 192.168.2.110/32 dev lo");
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        assert_eq!(addresses.remove(ip("192.168.2.110")).await.unwrap(), 3);
        assert_eq!(addresses.holders(ip("192.168.2.110")).await.unwrap(), [("lo".to_owned(), 32)]);
        assert_eq!(addresses.remove_at(ip("192.168.2.110"), "lo").await.unwrap(), 1);
    });
}

/// Removes the first address of a subnet and says what is left.
fn remove_the_primary(net: &Net) -> (String, String) {
    net.port("eth1");
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        for last in ["10.7.0.1/24", "10.7.0.2/24", "10.7.0.3/24"] {
            addresses.add(&on("eth1", vip(last))).await.unwrap();
        }
        net.ip("route add 10.99.0.0/16 via 10.7.0.254");
        assert_eq!(addresses.remove(ip("10.7.0.1")).await.unwrap(), 1);
    });
    (net.ip("-4 addr show dev eth1"), net.ip("-4 route"))
}

#[test]
fn removing_the_primary_of_a_subnet_keeps_the_others_and_their_routes() {
    if !possible() {
        return;
    }
    let net = node();
    net.sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0");
    net.sh("sysctl -qw net.ipv4.conf.default.promote_secondaries=0");
    let (addresses, routes) = remove_the_primary(&net);
    assert!(!addresses.contains("10.7.0.1/24"), "{addresses}");
    assert!(addresses.contains("10.7.0.2/24") && addresses.contains("10.7.0.3/24"), "{addresses}");
    assert!(routes.contains("10.99.0.0/16 via 10.7.0.254"), "{routes}");
    let left = net.sh("sysctl -n net.ipv4.conf.eth1.promote_secondaries");
    assert_eq!(left.trim(), "0", "the sysctl is put back");
}

#[test]
fn many_changes_at_once_do_not_disturb_each_other() {
    if !possible() {
        return;
    }
    let net = node();
    net.port("eth1");
    net.sh("sysctl -qw net.ipv4.conf.all.promote_secondaries=0");
    net.sh("sysctl -qw net.ipv4.conf.eth1.promote_secondaries=0");
    let vips: Vec<Address> =
        (1..200).map(|last| on("eth1", vip(&format!("10.7.0.{last}/24")))).collect();
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        let mut orders = tokio::task::JoinSet::new();
        for vip in vips.clone() {
            let addresses = addresses.clone();
            orders.spawn(async move { assert!(addresses.add(&vip).await.unwrap().new) });
        }
        while let Some(order) = orders.join_next().await {
            order.unwrap();
        }
        for vip in vips.iter().take(150) {
            let (addresses, ip) = (addresses.clone(), vip.ip);
            orders.spawn(async move { assert_eq!(addresses.remove(ip).await.unwrap(), 1) });
        }
        while let Some(order) = orders.join_next().await {
            order.unwrap();
        }
    });
    assert_eq!(net.ip("-4 -o addr show dev eth1").lines().count(), 49);
}

#[test]
fn a_call_that_is_given_up_does_not_spoil_the_next() {
    if !possible() {
        return;
    }
    let net = node();
    let batch: String = (0..600u32)
        .map(|n| format!("addr add 10.{}.{}.1/24 dev eth0\n", 7 + n / 200, n % 200))
        .collect();
    net.batch(&batch);
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        for round in 0..100 {
            // Given up between question and answer, a little later each time.
            let patience = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                _ = addresses.holders(ip("10.7.1.1")) => {}
                () = patience => {}
            }
            assert_eq!(addresses.holders(ip("10.7.1.1")).await.unwrap().len(), 1, "{round}");
        }
    });
}

#[test]
fn what_is_impossible_is_said_with_its_remedy() {
    if !possible() {
        return;
    }
    let net = node();
    net.port("eth1");
    net.ip("link set eth1 down");
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        let error = addresses.add(&vip("10.1.2.3")).await.unwrap_err();
        assert!(matches!(error, AddressError::NoRoute { .. }), "{error}");
        assert!(error.to_string().contains("IPaddr2::10.1.2.3/24/eth0"), "{error}");
        let error = addresses.add(&on("eth7", vip("10.1.2.3"))).await.unwrap_err();
        assert!(matches!(error, AddressError::NoInterface { .. }), "{error}");
        let long = addresses.add(&on("a-name-of-no-interface", vip("10.1.2.3"))).await.unwrap_err();
        assert!(matches!(long, AddressError::NoInterface { .. }), "{long}");
        let error = addresses.add(&on("eth1", vip("10.1.2.3/24"))).await.unwrap_err();
        assert!(matches!(error, AddressError::Down { .. }), "{error}");
    });
}

#[test]
fn gateways_are_the_next_hops_of_that_interface() {
    if !possible() {
        return;
    }
    let net = node();
    net.port("eth1");
    net.ip("addr add 10.0.0.9/24 dev eth1");
    net.ip("route add 10.5.0.0/16 via 10.0.0.1");
    net.ip("route add 10.6.0.0/16 nexthop via 10.0.0.2 nexthop via 192.168.2.2");
    net.ip("-6 route add default via fd00:2::1");
    net.run(|| async {
        let addresses = Addresses::open().unwrap();
        let first = addresses.place(&vip("192.168.2.110")).await.unwrap().ifindex;
        let second = addresses.place(&vip("10.0.0.110")).await.unwrap().ifindex;
        let mut hops = addresses.gateways(first).await.unwrap();
        assert!(hops.first().is_some_and(|hop| *hop == ip("192.168.2.1")), "{hops:?}");
        hops.sort();
        assert_eq!(hops, [ip("192.168.2.1"), ip("192.168.2.2"), ip("fd00:2::1")]);
        assert_eq!(addresses.gateways(second).await.unwrap(), [ip("10.0.0.1"), ip("10.0.0.2")]);
    });
}
