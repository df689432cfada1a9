//! Ethernet frames of ARP (RFC 826) and neighbour discovery (RFC 4861): built and read, no IO.
//!
//! Only what the announcement of a virtual IP needs. Sending is
//! [`crate::kernel::announce`]'s work.
//!
//! ```text
//! ARP      0 to   6 from  12 0806  14 hw,proto,lengths  20 op  22 sha  28 spa  32 tha  38 tpa
//! ND       0 to   6 from  12 86dd  14 IPv6 header  54 ICMPv6: type, code, sum, flags
//!          62 target  78 option: type, length, hardware address
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub type Mac = [u8; 6];

/// As people and nft write it: `02:00:c0:a8:02:65`.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// `ETH_P_ARP` (linux/if_ether.h).
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `ETH_P_IPV6` (linux/if_ether.h).
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// ICMPv6 neighbour solicitation (RFC 4861, 4.3).
pub const SOLICITATION: u8 = 135;
/// ICMPv6 neighbour advertisement (RFC 4861, 4.4).
pub const ADVERTISEMENT: u8 = 136;

const BROADCAST: Mac = [0xff; 6];
const NOBODY: Mac = [0; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const ICMPV6: u8 = 58;
/// Neighbour discovery is only heard with this, so that it can't come over a router.
const HOPS: u8 = 255;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;

/// Tells the LAN that `ip` is at `mac`.
///
/// IPv4: a gratuitous ARP in request form, to everybody (RFC 5227, 3): Linux obeys it at once,
/// where a broadcast reply is ignored for a second after the last change. IPv6: an unsolicited
/// neighbour advertisement with Override, to all nodes; without Override caches keep what they
/// have.
pub fn announcement(ip: IpAddr, mac: Mac) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp_request((mac, ip), ip),
        IpAddr::V6(ip) => {
            let body = discovery(ADVERTISEMENT, OVERRIDE, ip, Some((TARGET_ADDRESS, mac)));
            ipv6(mac, (ip, ALL_NODES), &body)
        }
    }
}

/// Asks `target` for its hardware address in the name of `ip`: its answer proves that it has
/// learned where `ip` is. `None` when the families differ.
pub fn question(ip: IpAddr, mac: Mac, target: IpAddr) -> Option<Vec<u8>> {
    match (ip, target) {
        (IpAddr::V4(ip), IpAddr::V4(target)) => Some(arp_request((mac, ip), target)),
        (IpAddr::V6(ip), IpAddr::V6(target)) => {
            let body = discovery(SOLICITATION, 0, target, Some((SOURCE_ADDRESS, mac)));
            Some(ipv6(mac, (ip, solicited(target)), &body))
        }
        _ => None,
    }
}

/// Asks whether anybody has `ip`, without claiming it: an ARP probe (RFC 5227, 2.1.1), or the
/// solicitation of duplicate address detection (RFC 4862, 5.4.2).
pub fn probe(ip: IpAddr, mac: Mac) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp_request((mac, Ipv4Addr::UNSPECIFIED), ip),
        IpAddr::V6(ip) => {
            let body = discovery(SOLICITATION, 0, ip, None);
            ipv6(mac, (Ipv6Addr::UNSPECIFIED, solicited(ip)), &body)
        }
    }
}

/// That `ip` is claimed to be at `mac`, by a frame somebody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub ip: IpAddr,
    /// Where it is said to be.
    pub mac: Mac,
}

/// What a frame claims: the sender of an ARP packet that has an address, or the target of a
/// neighbour advertisement. `None` for everything else, also for a wrong checksum or hop limit.
pub fn claim(frame: &[u8]) -> Option<Claim> {
    match u16::from_be_bytes(array(frame, 12)?) {
        ETHERTYPE_ARP => arp_claim(frame),
        ETHERTYPE_IPV6 => discovery_claim(frame),
        _ => None,
    }
}

/// Who answers [`question`]: a reply to the hardware address that asked, in the name of `ip`.
/// A mere request for `ip` is none: it shows that its sender does not know yet.
pub fn answer(frame: &[u8], ip: IpAddr, mac: Mac) -> Option<IpAddr> {
    let by = claim(frame)?.ip;
    let to_us = array(frame, 0) == Some(mac);
    let in_reply = match ip {
        IpAddr::V4(ip) => {
            let asked = (array(frame, 20)?, array(frame, 32)?, array(frame, 38)?);
            asked == (ARP_REPLY.to_be_bytes(), mac, ip.octets())
        }
        IpAddr::V6(ip) => {
            let flags = u32::from_be_bytes(array(frame, 58)?);
            flags & SOLICITED != 0 && array(frame, 38)? == ip.octets()
        }
    };
    (to_us && in_reply).then_some(by)
}

fn arp_claim(frame: &[u8]) -> Option<Claim> {
    // Ethernet, IPv4, and the lengths of their addresses.
    let kind: [u8; 6] = array(frame, 14)?;
    let ip = Ipv4Addr::from(array::<4>(frame, 28)?);
    let known = kind == [0, 1, 8, 0, 6, 4] && !ip.is_unspecified() && frame.len() >= 42;
    known.then_some(Claim { ip: IpAddr::V4(ip), mac: array(frame, 22)? })
}

fn discovery_claim(frame: &[u8]) -> Option<Claim> {
    let [next, hops] = array(frame, 20)?;
    let length = usize::from(u16::from_be_bytes(array(frame, 18)?));
    let body = frame.get(54..54 + length)?;
    let from = Ipv6Addr::from(array::<16>(frame, 22)?);
    let to = Ipv6Addr::from(array::<16>(frame, 38)?);
    let [kind, code] = array(body, 0)?;
    let genuine = (next, hops, kind, code) == (ICMPV6, HOPS, ADVERTISEMENT, 0)
        && checksum((from, to), body) == 0;
    if !genuine {
        return None;
    }
    let target = Ipv6Addr::from(array::<16>(body, 8)?);
    // Without the option (which a solicited answer may lack) the sender is the one meant.
    let mac = option(body.get(24..)?, TARGET_ADDRESS).or_else(|| array(frame, 6))?;
    Some(Claim { ip: IpAddr::V6(target), mac })
}

/// The hardware address in the options of a discovery message (RFC 4861, 4.6).
fn option(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while let Some([kind, units]) = array(options, 0) {
        if kind == wanted {
            return array(options, 2);
        }
        // A length of zero is malformed, and would never end.
        options = options.get(8 * usize::from(units).max(1)..)?;
    }
    None
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn arp_request((mac, sender): (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    ethernet(&mut frame, BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(ARP_REQUEST.to_be_bytes());
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend(NOBODY);
    frame.extend(target.octets());
    frame
}

fn ethernet(frame: &mut Vec<u8>, to: Mac, from: Mac, ethertype: u16) {
    frame.extend(to);
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
}

/// A discovery message, its checksum still zero.
fn discovery(kind: u8, flags: u32, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0];
    body.extend(flags.to_be_bytes());
    body.extend(target.octets());
    if let Some((kind, mac)) = option {
        body.extend([kind, 1]);
        body.extend(mac);
    }
    body
}

/// A whole frame to a multicast group.
fn ipv6(mac: Mac, ends: (Ipv6Addr, Ipv6Addr), body: &[u8]) -> Vec<u8> {
    let (from, to) = ends;
    let [.., a, b, c, d] = to.octets();
    let mut frame = Vec::with_capacity(54 + body.len());
    ethernet(&mut frame, [0x33, 0x33, a, b, c, d], mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length(body).to_be_bytes());
    frame.extend([ICMPV6, HOPS]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    let sum = checksum(ends, body).to_be_bytes();
    let (head, rest) = body.split_at(2.min(body.len()));
    frame.extend(head);
    frame.extend(sum);
    frame.extend(rest.get(2..).unwrap_or_default());
    frame
}

/// Neighbour discovery bodies are far below 64 KiB.
fn length(body: &[u8]) -> u16 {
    u16::try_from(body.len()).unwrap_or(u16::MAX)
}

/// The solicited-node multicast group (RFC 4291, 2.7.1).
fn solicited(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    let [low, high] = [u16::from(b) << 8 | u16::from(c), 0xff00 | u16::from(a)];
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The ICMPv6 checksum over pseudo-header and body (RFC 8200, 8.1). Zero for a body that carries
/// the right one.
fn checksum((from, to): (Ipv6Addr, Ipv6Addr), body: &[u8]) -> u16 {
    let ends = from.segments().into_iter().chain(to.segments()).map(u32::from);
    let words = body.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(high) << 8 | u32::from(low),
        [last] => u32::from(last) << 8,
        _ => 0,
    });
    let head = u32::from(length(body)) + u32::from(ICMPV6);
    let mut sum = ends.chain(words).fold(head, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded: it fits.
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 0x0a];
    const VIP: &str = "192.168.2.110";
    const VIP6: &str = "fd00:2::1:110";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn gratuitous_arp_is_a_request_for_its_own_address() {
        #[rustfmt::skip]
        let wanted = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  2, 0, 0, 0, 0, 0x0a,  8, 6,
            0, 1,  8, 0,  6,  4,  0, 1,
            2, 0, 0, 0, 0, 0x0a,  192, 168, 2, 110,
            0, 0, 0, 0, 0, 0,     192, 168, 2, 110,
        ];
        assert_eq!(announcement(ip(VIP), OURS), wanted);
    }

    #[test]
    fn a_question_claims_the_vip_and_a_probe_does_not() {
        let question = question(ip(VIP), OURS, ip("192.168.2.1")).unwrap();
        assert_eq!(
            question.get(28..),
            Some(&[192, 168, 2, 110, 0, 0, 0, 0, 0, 0, 192, 168, 2, 1][..])
        );
        assert_eq!(claim(&question), Some(Claim { ip: ip(VIP), mac: OURS }));
        let probe = probe(ip(VIP), OURS);
        assert_eq!(probe.get(28..), Some(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 168, 2, 110][..]));
        assert_eq!(claim(&probe), None);
        assert_eq!(super::question(ip(VIP), OURS, ip(VIP6)), None);
    }

    #[test]
    fn unsolicited_advertisement_overrides_and_goes_to_all_nodes() {
        #[rustfmt::skip]
        let wanted = [
            0x33, 0x33, 0, 0, 0, 1,  2, 0, 0, 0, 0, 0x0a,  0x86, 0xdd,
            0x60, 0, 0, 0,  0, 32,  58,  255,
            0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x10,
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
            // By hand: 2 * fe13 + ff03 + 20 + 3a + 8800 + 2000 + 40b = 3a78e, folded a791.
            136, 0,  0x58, 0x6e,  0x20, 0, 0, 0,
            0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x10,
            2, 1,  2, 0, 0, 0, 0, 0x0a,
        ];
        assert_eq!(announcement(ip(VIP6), OURS), wanted);
        assert_eq!(claim(&wanted), Some(Claim { ip: ip(VIP6), mac: OURS }));
    }

    #[test]
    fn solicitations_go_to_the_group_of_their_target() {
        let question = question(ip(VIP6), OURS, ip("fe80::1")).unwrap();
        assert_eq!(question.get(..6), Some(&[0x33, 0x33, 0xff, 0, 0, 1][..]));
        assert_eq!(question.get(38..54), Some(&ip16("ff02::1:ff00:1")[..]));
        assert_eq!(question.get(78..), Some(&[1, 1, 2, 0, 0, 0, 0, 0x0a][..]));
        let probe = probe(ip(VIP6), OURS);
        assert_eq!(probe.get(38..54), Some(&ip16("ff02::1:ff01:110")[..]));
        assert_eq!((probe.len(), probe.get(22..38)), (78, Some(&[0; 16][..])));
        for frame in [question, probe] {
            let ends = (v6(&frame, 22), v6(&frame, 38));
            assert_eq!(checksum(ends, frame.get(54..).unwrap()), 0);
            assert_eq!(claim(&frame), None, "a solicitation claims nothing");
        }
    }

    /// The gateway's reply to our question.
    fn reply() -> Vec<u8> {
        let gateway = [2, 0, 0, 0, 0, 1];
        let mut frame = question(ip("192.168.2.1"), gateway, ip(VIP)).unwrap();
        frame.splice(0..6, OURS);
        frame.splice(21..22, [2]);
        frame.splice(32..38, OURS);
        frame
    }

    #[test]
    fn only_a_reply_to_us_for_the_vip_is_an_answer() {
        assert_eq!(answer(&reply(), ip(VIP), OURS), Some(ip("192.168.2.1")));
        assert_eq!(answer(&reply(), ip("192.168.2.111"), OURS), None);
        assert_eq!(answer(&reply(), ip(VIP), [2, 0, 0, 0, 0, 9]), None);
        let request = question(ip("192.168.2.1"), [2, 0, 0, 0, 0, 1], ip(VIP)).unwrap();
        assert_eq!(answer(&request, ip(VIP), OURS), None);
        assert_eq!(answer(&announcement(ip(VIP6), OURS), ip(VIP6), OURS), None);
    }

    #[test]
    fn a_solicited_advertisement_is_an_answer() {
        let (gateway, vip) = (v6_of("fd00:2::1"), v6_of(VIP6));
        let mac = [2, 0, 0, 0, 0, 1];
        let body = discovery(ADVERTISEMENT, SOLICITED | OVERRIDE, gateway, None);
        let mut frame = ipv6(mac, (gateway, vip), &body);
        assert_eq!(answer(&frame, ip(VIP6), OURS), None, "it is to another station");
        frame.splice(0..6, OURS);
        assert_eq!(answer(&frame, ip(VIP6), OURS), Some(IpAddr::V6(gateway)));
        assert_eq!(claim(&frame), Some(Claim { ip: IpAddr::V6(gateway), mac }));
        let unasked = discovery(ADVERTISEMENT, OVERRIDE, gateway, None);
        let mut frame = ipv6(mac, (gateway, vip), &unasked);
        frame.splice(0..6, OURS);
        assert_eq!(answer(&frame, ip(VIP6), OURS), None);
    }

    fn v6_of(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn v6(frame: &[u8], at: usize) -> Ipv6Addr {
        Ipv6Addr::from(array::<16>(frame, at).unwrap())
    }

    fn ip16(text: &str) -> [u8; 16] {
        text.parse::<Ipv6Addr>().unwrap().octets()
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        // RFC 1071's sum of 0001 f203 f4f5 f6f7 is ddf2; the pseudo-header adds 8 and 58.
        let nowhere = (Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let body = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(nowhere, &body), !(0xddf2 + 8 + 58));
        // An odd byte counts as if a zero followed.
        assert_eq!(checksum(nowhere, &[1]), !(0x0100 + 1 + 58));
    }

    #[test]
    fn a_broken_frame_claims_nothing() {
        let arp = announcement(ip(VIP), OURS);
        let advertisement = announcement(ip(VIP6), OURS);
        for good in [arp, advertisement] {
            for cut in 0..good.len() {
                assert_eq!(claim(good.get(..cut).unwrap()), None, "cut at {cut}");
            }
            // Padding, as short Ethernet frames have it, is none.
            let mut padded = good.clone();
            padded.extend([0; 18]);
            assert_eq!(claim(&padded), claim(&good));
        }
        let mut bent = announcement(ip(VIP6), OURS);
        for at in 54..bent.len() {
            if let Some(byte) = bent.get_mut(at) {
                *byte ^= 4;
            }
            assert_eq!(claim(&bent), None, "byte {at}");
            if let Some(byte) = bent.get_mut(at) {
                *byte ^= 4;
            }
        }
    }
}
