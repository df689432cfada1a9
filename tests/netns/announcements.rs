//! `kernel::announce`, on a LAN of namespaces: two nodes, a gateway and a client on one bridge.

use std::net::IpAddr;
use std::time::Duration;

use pairbeat::kernel::addr::Addresses;
use pairbeat::kernel::announce::{Announcement, Confirmation, rival};
use pairbeat::sys::packet::PacketSocket;

use crate::addresses::{on, vip};
use crate::lan::{Lan, PATIENCE, learned, mac, resolve};
use crate::nets::{Net, possible};

const VIP: &str = "192.168.2.110";
const VIP6: &str = "fd00:2::110";

pub(crate) fn written(mac: Option<[u8; 6]>) -> String {
    let bytes = mac.unwrap().map(|byte| format!("{byte:02x}"));
    bytes.join(":")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Takes the VIP on this node and announces it until the gateway has confirmed.
fn take_over(node: &Net, vip_text: &str) -> Confirmation {
    node.run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&vip(vip_text)).await.unwrap().placement;
        let targets = addresses.gateways(placement.ifindex).await.unwrap();
        let announcement = Announcement::begin(ip(vip_text), &placement, &targets).unwrap();
        let confirmation = announcement.confirmed(PATIENCE).await.unwrap();
        // So the first round must do it, for neighbours that learned just before too.
        announcement.stop().await;
        confirmation
    })
}

#[test]
fn neighbours_that_knew_the_other_node_are_told_at_once_and_the_gateway_confirms() {
    if !possible() {
        return;
    }
    for (address, width, gateway) in [(VIP, 24, "192.168.2.1"), (VIP6, 64, "fd00:2::1")] {
        let lan = Lan::new();
        lan.other.ip(&format!("addr add {address}/{width} dev eth0 nodad"));
        for neighbour in [&lan.client, &lan.gateway] {
            resolve(neighbour, address);
            learned(neighbour, address, &mac(&lan.other));
        }
        let confirmation = take_over(&lan.node, address);
        assert_eq!(confirmation.by, ip(gateway));
        assert!(confirmation.after < PATIENCE);
        learned(&lan.client, address, &mac(&lan.node));
        learned(&lan.gateway, address, &mac(&lan.node));
    }
}

#[test]
fn a_gateway_that_never_heard_of_the_vip_learns_it_too() {
    if !possible() {
        return;
    }
    for address in [VIP, VIP6] {
        let lan = Lan::new();
        take_over(&lan.node, address);
        learned(&lan.gateway, address, &mac(&lan.node));
    }
}

#[test]
fn without_an_answer_nothing_is_confirmed() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.gateway.ip("link set eth0 down");
    lan.node.run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&vip(VIP)).await.unwrap().placement;
        let targets = [ip("192.168.2.1"), ip("fd00:2::1"), ip(VIP)];
        let announcement = Announcement::begin(ip(VIP), &placement, &targets).unwrap();
        assert_eq!(announcement.confirmed(Duration::from_millis(200)).await, None);
        assert_eq!(announcement.news().borrow().fault, None);
    });
}

#[test]
fn a_rival_is_found_by_its_hardware_address_and_nobody_is_disturbed() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    let look = |address: &'static str, within: Duration| {
        lan.node.run(|| async move {
            let placement = Addresses::open().unwrap().place(&vip(address)).await.unwrap();
            rival(&placement, ip(address), within).await.unwrap()
        })
    };
    let brief = Duration::from_millis(200);
    assert_eq!((look(VIP, brief), look(VIP6, brief)), (None, None));
    lan.other.ip(&format!("addr add {VIP}/24 dev eth0"));
    lan.other.ip(&format!("addr add {VIP6}/64 dev eth0 nodad"));
    for address in [VIP, VIP6] {
        resolve(&lan.client, address);
        learned(&lan.client, address, &mac(&lan.other));
        assert_eq!(written(look(address, PATIENCE)), mac(&lan.other));
        learned(&lan.client, address, &mac(&lan.other));
    }
}

#[test]
fn an_announcement_hears_a_rivals() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    for address in [VIP, VIP6] {
        let heard = lan.node.run(|| async {
            let placement = Addresses::open().unwrap().place(&vip(address)).await.unwrap();
            let ours = Announcement::begin(ip(address), &placement, &[]).unwrap();
            let mut news = ours.news();
            let (other, address) = (&lan.other, address);
            tokio::task::spawn_blocking({
                let name = other.name().to_owned();
                move || take_over(&Net::borrowed(&name), address)
            });
            let heard = news.wait_for(|news| news.rival.is_some());
            tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap().rival
        });
        assert_eq!(written(heard), mac(&lan.other));
    }
}

#[test]
fn gratuitous_frames_go_on_when_the_gateway_has_confirmed_and_questions_do_not() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&vip(VIP)).await.unwrap().placement;
        let name = lan.client.name().to_owned();
        let (ready, listening) = std::sync::mpsc::channel();
        let capture = tokio::task::spawn_blocking(move || {
            Net::borrowed(&name).run(|| async {
                let index = Addresses::open().unwrap().place(&vip("192.168.2.9")).await.unwrap();
                let socket = PacketSocket::open(index.ifindex, ip(VIP)).unwrap();
                ready.send(()).unwrap();
                let (mut gratuitous, mut questions) = (0, 0);
                while gratuitous < 5 {
                    let frame = socket.receive().await.unwrap();
                    match frame.get(28..32) == frame.get(38..42) {
                        true => gratuitous += 1,
                        false => questions += 1,
                    }
                }
                questions
            })
        });
        tokio::task::spawn_blocking(move || listening.recv().unwrap()).await.unwrap();
        let targets = [ip("192.168.2.1")];
        let announcement = Announcement::begin(ip(VIP), &placement, &targets).unwrap();
        let questions = tokio::time::timeout(PATIENCE, capture).await.unwrap().unwrap();
        assert!((1..4).contains(&questions), "{questions}");
        announcement.stop().await;
    });
}

#[test]
fn a_restarted_announcement_is_confirmed_anew() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&vip(VIP)).await.unwrap().placement;
        let targets = [ip("192.168.2.1")];
        let announcement = Announcement::begin(ip(VIP), &placement, &targets).unwrap();
        announcement.confirmed(PATIENCE).await.unwrap();
        for _ in 0..50 {
            announcement.again();
            tokio::task::yield_now().await;
        }
        announcement.again();
        assert_eq!(announcement.news().borrow().confirmed, None);
        // Fifty beginnings in one moment are one; else this would take five seconds.
        announcement.confirmed(Duration::from_secs(3)).await.unwrap();
    });
}

#[test]
fn after_an_interface_was_down_everything_is_announced_again() {
    if !possible() {
        return;
    }
    let lan = Lan::new();
    lan.node.run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&vip(VIP)).await.unwrap().placement;
        let targets = [ip("192.168.2.1")];
        let announcement = Announcement::begin(ip(VIP), &placement, &targets).unwrap();
        announcement.confirmed(PATIENCE).await.unwrap();
        let mut news = announcement.news();
        lan.node.ip("link set eth0 down");
        let down = news.wait_for(|news| news.fault.is_some());
        drop(tokio::time::timeout(PATIENCE, down).await.unwrap().unwrap());
        lan.gateway.ip("neigh flush dev eth0");
        lan.node.ip("link set eth0 up");
        let up = news.wait_for(|news| news.fault.is_none());
        drop(tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap());
        let (name, here) = (lan.gateway.name().to_owned(), mac(&lan.node));
        tokio::task::spawn_blocking(move || learned(&Net::borrowed(&name), VIP, &here))
            .await
            .unwrap();
    });
}

#[test]
fn a_link_that_is_no_ethernet_is_nobody_to_tell() {
    if !possible() {
        return;
    }
    Net::new().run(|| async {
        let addresses = Addresses::open().unwrap();
        let placement = addresses.add(&on("lo", vip("10.0.0.1/32"))).await.unwrap().placement;
        let announcement = Announcement::begin(ip("10.0.0.1"), &placement, &[]).unwrap();
        announcement.again();
        assert_eq!(announcement.confirmed(Duration::from_millis(50)).await, None);
        assert_eq!(rival(&placement, ip("10.0.0.1"), PATIENCE).await.unwrap(), None);
    });
}
