use super::*;

#[test]
fn a_directors_word_says_which_device_takes_its_packets() {
    let (v4, v6): (IpAddr, IpAddr) =
        ("192.168.2.110".parse().unwrap(), "fd00:2::110".parse().unwrap());
    let (over4, over6) = (Some(Outer::Ipv4), Some(Outer::Ipv6));
    for (word, over, vip, device, port) in [
        ("gate", None, v4, "lo", None),
        ("gate", None, v6, "lo", None),
        ("ipip", None, v4, "tunl0", None),
        ("ipip", over4, v4, "tunl0", None),
        ("ipip", over6, v4, "pairbeat-ip6tnl", None),
        ("ipip", over4, v6, "sit0", None),
        ("ipip", None, v6, "ip6tnl0", None),
        ("gue", None, v4, "tunl0", Some((Outer::Ipv4, 6080))),
        ("gue:7000,remcsum", None, v6, "ip6tnl0", Some((Outer::Ipv6, 7000))),
        ("gue:7000,csum", over6, v4, "pairbeat-ip6tnl", Some((Outer::Ipv6, 7000))),
        ("gue", over4, v6, "sit0", Some((Outer::Ipv4, 6080))),
        ("gre", None, v4, "gre0", None),
        ("gre", over6, v4, "ip6gre0", None),
        ("gre,csum", over4, v6, "pairbeat-gre", None),
        ("gre,csum", None, v6, "pairbeat-ip6gre", None),
    ] {
        let mode = Mode::try_from(word.parse::<Forwarding>().unwrap()).unwrap();
        let place = Place::usual(mode, over, vip);
        let wanted = port.map(|(over, port)| Receiver { over, port });
        assert_eq!(
            (place.interface.as_str(), place.receiver(vip)),
            (device, wanted),
            "{word} {vip}"
        );
        assert!(place.interface.len() < 16, "the kernel takes no longer name");
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&text).unwrap(), place, "{text}");
    }
}

#[test]
fn a_way_that_sends_to_the_real_servers_own_address_needs_nothing() {
    for word in ["masq", "fullnat", "fullnat:10.0.0.9"] {
        let why = Mode::try_from(word.parse::<Forwarding>().unwrap()).unwrap_err().to_string();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn a_memory_of_before_there_were_other_families_can_be_read() {
    let place: Place = serde_json::from_str(r#"{"mode":"gre","interface":"gre0"}"#).unwrap();
    let vip = "192.168.2.110".parse().unwrap();
    assert_eq!(place, Place::usual(Mode::Gre { checksum: false }, None, vip));
}
