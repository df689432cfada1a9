//! What comes from the LAN and from the kernel.

use std::net::IpAddr;

use pairbeat::kernel::ipvs::recorded::{dests, orders, services, timeouts};
use pairbeat::lvs::model::ServiceKey;
use pairbeat::lvs::plan::{Op, ServiceSettings};
use pairbeat::net::frames::{self, Claim, Mac};

const OURS: Mac = [2, 0, 0, 0, 0, 0x0a];
/// A scheduler's name in the kernel, with its NUL (`IP_VS_SCHEDNAME_MAXLEN`).
const SCHEDULER_MAX: usize = 16;

/// The frame as it is, and with the checksum that its discovery message should have.
pub(super) fn lan_frame(bytes: &[u8]) -> bool {
    let as_it_is = claimed(bytes);
    let mut bytes = bytes.to_vec();
    fix_checksum(&mut bytes);
    claimed(&bytes) || as_it_is
}

fn claimed(frame: &[u8]) -> bool {
    let claim = frames::claim(frame);
    for vip in ["192.168.2.110", "fd00:2::1:110"] {
        let vip: IpAddr = vip.parse().unwrap();
        let by = frames::answer(frame, vip, OURS);
        assert!(by.is_none() || by == claim.map(|claim| claim.ip));
    }
    let Some(claim) = claim else { return false };
    let Claim { ip, mac } = claim;
    assert_eq!(frames::claim(&frames::announcement(ip, mac)), Some(claim));
    assert_eq!(frames::answer(&frames::announcement(ip, mac), ip, mac), None, "no answer to us");
    assert!(frames::claim(&frames::probe(ip, mac)).is_none(), "a probe claims nothing");
    true
}

/// RFC 8200, 8.1, over the body that the IPv6 header says.
fn fix_checksum(frame: &mut [u8]) {
    let Some(length) = frame.get(18..20).map(|at| usize::from(at[0]) << 8 | usize::from(at[1]))
    else {
        return;
    };
    let Some(sum) = frame.get_mut(56..58) else { return };
    sum.fill(0);
    let (Some(ends), Some(body)) = (frame.get(22..54), frame.get(54..54 + length)) else { return };
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        bytes.chunks(2).map(word).sum()
    };
    let mut sum = words(ends) + words(body) + u32::try_from(length).unwrap() + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
}

/// The bytes as a piece of a dump of services, and of the real servers of services of each kind, and as the answer
/// about timeouts.
/// Whatever is read would be read the same if we ordered it.
pub(super) fn ipvs_dump(bytes: &[u8]) -> bool {
    let mut taken = timeouts(bytes).is_ok_and(|timeouts| !timeouts.is_empty());
    for (key, entry) in services(bytes).unwrap_or_default() {
        taken = true;
        let settings = ServiceSettings::from(&entry);
        if settings.scheduler.len() >= SCHEDULER_MAX {
            continue;
        }
        let order = orders(&[Op::AddService(key, settings.clone())]);
        let again = services(&order).unwrap();
        let again: Vec<_> =
            again.iter().map(|(key, entry)| (*key, ServiceSettings::from(entry))).collect();
        assert_eq!(again, [(key, settings)]);
    }
    for ipv6 in [false, true] {
        let service = ServiceKey::Mark { ipv6, mark: 7 };
        for (real, dest, _) in dests(bytes, &service).unwrap_or_default() {
            taken = true;
            let again = dests(&orders(&[Op::AddDest(service, real, dest)]), &service).unwrap();
            assert_eq!(again.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), [(real, dest)]);
        }
    }
    taken
}
