use super::*;
use crate::realserver::{Mode, Port};

const VIP: &str = "192.168.2.110";

fn machine(arp_ignore: u32, places: &[(&str, &str, u8)]) -> Found {
    let mut found = Found::default();
    found.ports.insert("lo".to_owned(), Port { index: 1, up: true, ..Port::default() });
    found
        .ports
        .insert("eth0".to_owned(), Port { index: 2, up: true, lan: true, ..Port::default() });
    found.settings.insert(Setting::new(ALL, Key::ArpIgnore), arp_ignore);
    found.settings.insert(Setting::new(ALL, Key::ArpAnnounce), 2);
    found.settings.insert(Setting::new("lo", Key::DisableIpv6), 0);
    for (ip, at, prefix) in places {
        found.held.insert((ip.parse().unwrap(), (*at).to_owned(), *prefix));
    }
    found
}

fn look(vip: &str, found: &Found) -> (State, Vec<Answer>) {
    let vip = vip.parse().unwrap();
    let one = of(vip, &Place::usual(Mode::Gate, None, vip), found);
    (one.state(), one.answers.iter().map(|(_, answer)| *answer).collect())
}

#[test]
fn who_answers_follows_from_where_the_address_is_and_from_arp_ignore() {
    let lo = (VIP, "lo", 32);
    let card = (VIP, "eth0", 24);
    for (arp_ignore, places, want) in [
        (1, &[lo][..], (State::Ready, Answer::Silent)),
        (2, &[lo], (State::Ready, Answer::Silent)),
        (8, &[lo], (State::Ready, Answer::Silent)),
        (0, &[lo], (State::Half, Answer::Talks)),
        (3, &[lo], (State::Half, Answer::Talks)),
        (5, &[lo], (State::Half, Answer::Talks)),
        (1, &[lo, card], (State::Half, Answer::Holds)),
        (1, &[card], (State::Half, Answer::Holds)),
        (0, &[], (State::Absent, Answer::Silent)),
        (1, &[(VIP, "lo", 24)], (State::Half, Answer::Silent)),
    ] {
        let (state, answers) = look(VIP, &machine(arp_ignore, places));
        assert_eq!((state, answers.as_slice()), (want.0, &[want.1][..]), "{arp_ignore} {places:?}");
    }
}

#[test]
fn with_ipv6_only_addresses_of_the_interface_itself_are_answered_for() {
    let vip = "fd00:2::110";
    assert_eq!(look(vip, &machine(0, &[(vip, "lo", 128)])), (State::Ready, vec![Answer::Silent]));
    assert_eq!(look(vip, &machine(1, &[(vip, "eth0", 64)])), (State::Half, vec![Answer::Holds]));
}
