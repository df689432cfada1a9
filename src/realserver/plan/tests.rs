use super::*;
use crate::realserver::{Outer, Place, Port};

const VIP: &str = "192.168.2.110";
const VIP6: &str = "fd00:2::110";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vips(mode: Mode, all: &[&str]) -> Vips {
    over(mode, None, all)
}

fn over(mode: Mode, over: Option<Outer>, all: &[&str]) -> Vips {
    all.iter().map(|vip| (ip(vip), Place::usual(mode, over, ip(vip)))).collect()
}

const GRE: Mode = Mode::Gre { checksum: false };
const GUE: Mode = Mode::Gue { port: 6080 };

/// A machine as distributions leave it, with one card.
fn fresh() -> Found {
    let mut found = Found::default();
    found.ports.insert("lo".to_owned(), Port { index: 1, up: true, ..Port::default() });
    found
        .ports
        .insert("eth0".to_owned(), Port { index: 2, up: true, lan: true, ..Port::default() });
    for name in [ALL, "lo", "eth0"] {
        set(&mut found, name, Key::ArpIgnore, 0);
        set(&mut found, name, Key::ArpAnnounce, 0);
        set(&mut found, name, Key::RpFilter, 2);
        set(&mut found, name, Key::DisableIpv6, 0);
    }
    set(&mut found, ALL, Key::RpFilter, 1);
    found
}

fn set(found: &mut Found, name: &str, key: Key, value: u32) {
    found.settings.insert(Setting::new(name, key), value);
}

/// The kernel: does a step as the real one does.
fn obey(found: &mut Found, step: &Step) {
    match step.clone() {
        Step::Write { setting, value } => drop(found.settings.insert(setting, value)),
        Step::Create(name, _) => {
            for (key, value) in [(Key::ArpIgnore, 0), (Key::ArpAnnounce, 0), (Key::RpFilter, 0)] {
                set(found, &name, key, value);
            }
            set(found, &name, Key::DisableIpv6, 0);
            found.ports.insert(name, Port { index: 9, ..Port::default() });
        }
        Step::Raise(name) => found.ports.get_mut(&name).unwrap().up = true,
        Step::Lower(name) => found.ports.get_mut(&name).unwrap().up = false,
        Step::Add(ip, name) => {
            assert!(found.ports.get(&name).unwrap().up, "{ip} on {name}, which is off");
            found.held.insert((ip, name, if ip.is_ipv4() { 32 } else { 128 }));
        }
        Step::Open(receiver) => assert!(found.receivers.insert(receiver), "{receiver} twice"),
        Step::Close(receiver) => assert!(found.receivers.remove(&receiver), "{receiver} is shut"),
        Step::Remove(ip, name) => found.held.retain(|(one, at, _)| *one != ip || *at != name),
        Step::Delete(name) => {
            found.ports.remove(&name);
            found.settings.retain(|setting, _| setting.interface != name);
        }
    }
    quiet(found);
}

/// Whether nobody on the LAN hears of an address that is not on the card.
fn quiet(found: &Found) {
    let value = |name: &str, key| found.settings.get(&Setting::new(name, key)).unwrap();
    let ignore = value(ALL, Key::ArpIgnore).max(value("eth0", Key::ArpIgnore));
    let talks = !QUIET_IGNORE.contains(ignore);
    assert!(found.held.iter().all(|(ip, _, _)| ip.is_ipv6() || !talks), "it talks: {found:?}");
}

/// As the hands go about it: until nothing is left to do.
fn reach(target: &Vips, found: &mut Found, kept: &mut Kept) -> (Vec<String>, Vec<Remark>) {
    let (mut steps, mut remarks) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let plan = plan(target, found, kept);
        plan.steps.iter().for_each(|step| obey(found, step));
        steps.extend(plan.steps.iter().map(ToString::to_string));
        remarks.extend(plan.remarks);
        *kept = plan.after;
        if plan.steps.is_empty() {
            break;
        }
    }
    assert_eq!(plan(target, found, kept).steps, [], "nothing is left to do");
    assert_eq!(missing(target, found), []);
    (steps, remarks)
}

#[test]
fn the_machine_is_quiet_before_it_has_the_address_and_until_it_is_gone() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    assert_eq!(
        steps,
        [
            "net/ipv4/conf/all/arp_ignore = 1",
            "net/ipv4/conf/all/arp_announce = 2",
            "192.168.2.110 added to lo"
        ]
    );
    let (steps, _) = reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!(
        steps,
        [
            "192.168.2.110 removed from lo",
            "net/ipv4/conf/all/arp_ignore = 0",
            "net/ipv4/conf/all/arp_announce = 0"
        ]
    );
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn a_second_up_does_nothing_and_forgets_nothing() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(Mode::Gate, &[VIP, VIP6]), &mut found, &mut kept);
    let before = kept.clone();
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP, VIP6]), &mut found, &mut kept);
    assert_eq!(steps, [""; 0]);
    assert_eq!(kept, before);
}

#[test]
fn what_others_still_need_stays_until_the_last_one_goes() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(Mode::Gate, &[VIP, "192.168.2.111"]), &mut found, &mut kept);
    let (steps, _) = reach(&vips(Mode::Gate, &["192.168.2.111"]), &mut found, &mut kept);
    assert_eq!(steps, ["192.168.2.110 removed from lo"]);
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn what_was_there_before_stays() {
    let mut before = fresh();
    before.held.insert((ip(VIP), "lo".to_owned(), 32));
    set(&mut before, ALL, Key::ArpIgnore, 2);
    let (mut found, mut kept) = (before.clone(), Kept::default());
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    assert_eq!(steps, ["net/ipv4/conf/all/arp_announce = 2"]);
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (before, Kept::default()));
}

#[test]
fn a_card_with_a_value_that_outdoes_that_of_all_is_set_too() {
    let mut before = fresh();
    set(&mut before, "eth0", Key::ArpIgnore, 3);
    let (mut found, mut kept) = (before.clone(), Kept::default());
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    assert!(steps.contains(&"net/ipv4/conf/eth0/arp_ignore = 1".to_owned()), "{steps:?}");
    let (steps, _) = reach(&Vips::new(), &mut found, &mut kept);
    assert!(steps.contains(&"net/ipv4/conf/eth0/arp_ignore = 3".to_owned()), "{steps:?}");
    assert_eq!((found, kept), (before, Kept::default()));
}

#[test]
fn what_somebody_else_has_set_meanwhile_stays_and_is_said() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    set(&mut found, ALL, Key::ArpIgnore, 8);
    let (steps, remarks) = reach(&Vips::new(), &mut found, &mut kept);
    assert!(!steps.iter().any(|step| step.contains("arp_ignore")), "{steps:?}");
    assert!(
        matches!(remarks.as_slice(), [Remark::Foreign { before: 0, set: 1, found: 8, .. }]),
        "{remarks:?}"
    );
    assert!(kept.is_empty());
}

#[test]
fn what_somebody_else_has_spoilt_is_put_right_by_the_next_up() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    found.held.clear();
    set(&mut found, ALL, Key::ArpAnnounce, 1);
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    assert_eq!(steps, ["net/ipv4/conf/all/arp_announce = 2", "192.168.2.110 added to lo"]);
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!(found, fresh(), "as it was before the first one");
}

#[test]
fn a_tunnel_brings_its_device_and_goes_with_it() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (steps, _) = reach(&vips(Mode::Ipip, &[VIP]), &mut found, &mut kept);
    assert_eq!(
        steps,
        [
            "net/ipv4/conf/all/arp_ignore = 1",
            "net/ipv4/conf/all/arp_announce = 2",
            "tunl0 created",
            "net/ipv4/conf/tunl0/rp_filter = 2",
            "tunl0 switched on",
            "192.168.2.110 added to tunl0"
        ]
    );
    let (steps, _) = reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!(steps.first().unwrap(), "192.168.2.110 removed from tunl0");
    assert_eq!(steps.last().unwrap(), "tunl0 removed");
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn a_gre_tunnel_is_a_device_of_its_own_for_each_address_family() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (steps, _) = reach(&vips(GRE, &[VIP, VIP6]), &mut found, &mut kept);
    for step in [
        "gre0 created",
        "net/ipv4/conf/gre0/rp_filter = 2",
        "192.168.2.110 added to gre0",
        "ip6gre0 created",
        "fd00:2::110 added to ip6gre0",
    ] {
        assert!(steps.iter().any(|it| it == step), "{step}: {steps:?}");
    }
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn gue_is_ipip_behind_a_port_that_closes_with_the_last_virtual_ip() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (steps, _) = reach(&vips(GUE, &[VIP, "192.168.2.111", VIP6]), &mut found, &mut kept);
    let opened: Vec<&String> = steps.iter().filter(|step| step.contains("opened")).collect();
    assert_eq!(
        opened,
        ["UDP port 6080 over IPv4 opened for GUE", "UDP port 6080 over IPv6 opened for GUE"]
    );
    assert!(steps.contains(&"192.168.2.110 added to tunl0".to_owned()), "{steps:?}");
    let (steps, _) = reach(&vips(GUE, &[VIP6]), &mut found, &mut kept);
    assert!(steps.contains(&"UDP port 6080 over IPv4 closed".to_owned()), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("over IPv6")), "{steps:?}");
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn a_port_that_was_open_before_stays_open() {
    let mut before = fresh();
    before.receivers.insert(Receiver { over: Outer::Ipv4, port: 6080 });
    let (mut found, mut kept) = (before.clone(), Kept::default());
    let (steps, _) = reach(&vips(GUE, &[VIP]), &mut found, &mut kept);
    assert!(!steps.iter().any(|step| step.contains("port")), "{steps:?}");
    found.receivers.clear();
    let lacks = missing(&vips(GUE, &[VIP]), &found);
    assert_eq!(lacks, [Missing::Port(Receiver { over: Outer::Ipv4, port: 6080 })]);
    found.receivers.clone_from(&before.receivers);
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (before, Kept::default()));
}

#[test]
fn another_port_is_opened_before_the_old_one_closes() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(GUE, &[VIP]), &mut found, &mut kept);
    let (steps, _) = reach(&vips(Mode::Gue { port: 7000 }, &[VIP]), &mut found, &mut kept);
    assert_eq!(
        steps,
        ["UDP port 7000 over IPv4 opened for GUE", "UDP port 6080 over IPv4 closed"],
        "and the address stays where it is"
    );
}

#[test]
fn one_family_in_the_other_has_a_device_of_its_own() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (in_ipv6, in_ipv4) = (Some(Outer::Ipv6), Some(Outer::Ipv4));
    let mut target = over(Mode::Ipip, in_ipv6, &[VIP]);
    target.extend(over(GUE, in_ipv4, &[VIP6]));
    let (steps, _) = reach(&target, &mut found, &mut kept);
    for step in [
        "pairbeat-ip6tnl created",
        "net/ipv4/conf/pairbeat-ip6tnl/rp_filter = 2",
        "192.168.2.110 added to pairbeat-ip6tnl",
        "UDP port 6080 over IPv4 opened for GUE",
        "fd00:2::110 added to sit0",
    ] {
        assert!(steps.iter().any(|it| it == step), "{step}: {steps:?}");
    }
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

#[test]
fn an_ipv6_address_needs_no_setting_of_arp() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    let (steps, _) = reach(&vips(Mode::Gate, &[VIP6]), &mut found, &mut kept);
    assert_eq!(steps, ["fd00:2::110 added to lo"]);
    set(&mut found, "lo", Key::DisableIpv6, 1);
    let lacks = missing(&vips(Mode::Gate, &[VIP6]), &found);
    assert_eq!(lacks.len(), 1, "{lacks:?}");
}

#[test]
fn another_mode_moves_the_address_without_a_moment_of_noise() {
    let (mut found, mut kept) = (fresh(), Kept::default());
    reach(&vips(Mode::Gate, &[VIP]), &mut found, &mut kept);
    reach(&vips(Mode::Ipip, &[VIP]), &mut found, &mut kept);
    let held: Vec<&str> = found.held.iter().map(|(_, at, _)| at.as_str()).collect();
    assert_eq!(held, ["tunl0"]);
    reach(&Vips::new(), &mut found, &mut kept);
    assert_eq!((found, kept), (fresh(), Kept::default()));
}

/// A kill after each step, of each command: what is on the disk then is what was written before the
/// first one.
#[test]
fn a_command_that_was_killed_anywhere_is_finished_or_taken_back_by_the_next() {
    let modes = [Mode::Gate, Mode::Ipip, GRE, GUE].map(|mode| vips(mode, &[VIP, VIP6]));
    for (target, next) in
        modes.iter().flat_map(|one| [(one, one.clone()), (one, Vips::new())].into_iter())
    {
        for down_first in [false, true] {
            for killed_after in 0..14 {
                let (mut found, mut kept) = (fresh(), Kept::default());
                if down_first {
                    reach(target, &mut found, &mut kept);
                }
                let aim = if down_first { &Vips::new() } else { target };
                let plan = plan(aim, &found, &kept);
                plan.steps.iter().take(killed_after).for_each(|step| obey(&mut found, step));
                kept = plan.during;
                reach(&next, &mut found, &mut kept);
                reach(&Vips::new(), &mut found, &mut kept);
                assert_eq!((found, kept), (fresh(), Kept::default()), "{killed_after}");
            }
        }
    }
}

#[test]
fn a_place_that_is_not_there_is_no_tunnel_to_be_made() {
    let nowhere = Place { mode: Mode::Gate, interface: "eth7".to_owned(), over: None };
    let target = Vips::from([(ip(VIP), nowhere)]);
    assert_eq!(
        impossible(&target, &fresh(), &Kept::default()),
        [Missing::Interface("eth7".to_owned())]
    );
    // One that has gone keeps nobody from the rest.
    let kept = Kept { vips: target.clone(), changes: Vec::new() };
    assert_eq!(impossible(&target, &fresh(), &kept), []);
}
