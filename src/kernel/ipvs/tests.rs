use std::net::IpAddr;

use super::message::{put_op, put_service, read_dest, read_service};
use super::*;
use crate::kernel::genl::answers;
use crate::lvs::model::{DestEntry, Forwarding, Protocol, SchedFlags, Thresholds};
use crate::lvs::plan::ServiceSettings;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn keys() -> [ServiceKey; 4] {
    let service =
        |protocol, text, port| ServiceKey::Address { protocol, address: address(text), port };
    [
        service(Protocol::Tcp, "192.168.2.110", 80),
        service(Protocol::Udp, "2001:db8::1", 53),
        ServiceKey::Mark { ipv6: false, mark: 7 },
        ServiceKey::Mark { ipv6: true, mark: 7 },
    ]
}

fn body(write: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let mut batch = Batch::default();
    let head = Head { family: 0x21, flags: 0, seq: 1, command: 1, version: 1 };
    batch.message(head, write);
    match answers(batch.as_bytes()).next() {
        Some(Ok(Answer { body: Body::Attributes(attrs), .. })) => attrs.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_reads_as_it_was_written() {
    for key in keys() {
        let prefixes: &[_] = if key.is_ipv6() {
            &[None, Some(1), Some(64), Some(127)]
        } else {
            &[None, Some(1), Some(24), Some(31)]
        };
        for (netmask, persistent) in prefixes.iter().zip([None, Some(1), Some(300), Some(9)]) {
            let settings = ServiceSettings {
                scheduler: "wlc".to_owned(),
                persistent,
                netmask: *netmask,
                one_packet: persistent == Some(9),
                flags: SchedFlags(if persistent == Some(300) { 5 } else { 0 }),
            };
            let attrs = body(|batch| put_op(batch, &Op::AddService(key, settings.clone())));
            let (read, entry) = read_service(&attrs).unwrap().unwrap();
            assert_eq!((read, ServiceSettings::from(&entry)), (key, settings));
        }
    }
}

#[test]
fn a_destination_reads_as_it_was_written() {
    use Forwarding::{Gate, Ipip, Local, Masq};
    for (text, forwarding) in
        [("10.0.0.1", Gate), ("10.0.0.1", Masq), ("2001:db8::9", Ipip), ("10.0.0.1", Local)]
    {
        let real = RealKey { address: address(text), port: 8080 };
        let thresholds = Thresholds { upper: 20, lower: 10 };
        let dest = DestEntry { forwarding, weight: 65_535, thresholds };
        for key in keys() {
            let attrs = body(|batch| put_op(batch, &Op::AddDest(key, real, dest)));
            let read = read_dest(&attrs, &key);
            assert_eq!(read, Some((real, dest, ConnectionCount::default())));
        }
    }
}

#[test]
#[cfg(target_endian = "little")]
fn a_service_has_the_kernels_layout() {
    let [tcp, _, mark, _] = keys();
    let want = [
        &[48, 0, 1, 0x80][..],
        &[6, 0, 1, 0, 2, 0, 0, 0], // AF_INET
        &[6, 0, 2, 0, 6, 0, 0, 0], // TCP
        &[20, 0, 3, 0, 192, 168, 2, 110, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // address
        &[6, 0, 4, 0, 0, 80, 0, 0], // port, network order
    ]
    .concat();
    assert_eq!(body(|batch| put_service(batch, &tcp)), want);
    let want = [&[20, 0, 1, 0x80][..], &[6, 0, 1, 0, 2, 0, 0, 0], &[8, 0, 5, 0, 7, 0, 0, 0]];
    assert_eq!(body(|batch| put_service(batch, &mark)), want.concat());
}

#[test]
fn cut_answers_are_refused_and_never_a_panic() {
    let [key, ..] = keys();
    let real = RealKey { address: address("10.0.0.1"), port: 80 };
    let dest = DestEntry::new(Forwarding::Gate, 1);
    let attrs = body(|batch| put_op(batch, &Op::AddDest(key, real, dest)));
    for end in 0..attrs.len() {
        assert_eq!(read_dest(&attrs[..end], &key), None);
        assert_eq!(read_service(&attrs[..end]), None, "no scheduler in it");
    }
}

#[test]
fn a_service_of_another_protocol_is_nobodys_business() {
    let [key, ..] = keys();
    let mut attrs = body(|batch| put_service(batch, &key));
    attrs[16] = 33;
    assert_eq!(read_service(&attrs), Some(None));
}

#[test]
fn errno_values_become_words() {
    let [key, ..] = keys();
    let settings = ServiceSettings {
        scheduler: "zzz".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
    };
    let real = RealKey { address: address("10.0.0.1"), port: 80 };
    let cases = [
        (Op::AddService(key, settings), libc::ENOENT, OpError::NoScheduler("zzz".to_owned())),
        (Op::RemoveDest(key, real), libc::ENOENT, OpError::NoDest),
        (Op::RemoveService(key), libc::ESRCH, OpError::NoService),
        (Op::RemoveService(key), libc::EPERM, OpError::NotPermitted),
        (Op::RemoveService(key), libc::EIO, OpError::Errno(libc::EIO)),
    ];
    for (op, errno, want) in cases {
        assert_eq!(message::op_error(&op, errno), want);
    }
}

#[test]
fn a_sync_daemon_reads_as_it_was_written() {
    use super::sync::{put, read};
    let plain = crate::config::Sync::new("eth1");
    let full = crate::config::Sync {
        id: 255,
        group: Some(address("225.1.2.3")),
        port: Some(8849),
        ttl: Some(2),
        maxlen: Some(1400),
        ..plain.clone()
    };
    let six = crate::config::Sync { group: Some(address("ff02::81")), ..plain.clone() };
    for wanted in [plain, full, six] {
        for role in [SyncRole::Master, SyncRole::Backup] {
            let attrs = body(|batch| put(batch, role, &wanted));
            let seen = read(&attrs).unwrap();
            assert_eq!((seen.role, seen.serves(&wanted)), (role, true));
            let told = (seen.group, seen.port, seen.ttl, seen.maxlen);
            assert_eq!(told, (wanted.group, wanted.port, wanted.ttl, wanted.maxlen));
            assert!(!seen.serves(&crate::config::Sync { id: 7, ..wanted.clone() }));
            let other = crate::config::Sync { interface: "eth2".to_owned(), ..wanted.clone() };
            assert!(!seen.serves(&other));
        }
    }
}

#[test]
fn a_timeout_reads_as_it_was_written_and_one_that_is_cut_not_at_all() {
    use crate::lvs::settings::Timeout;
    let attrs = body(|batch| {
        timeouts::put(batch, Timeout::Udp, 300);
        timeouts::put(batch, Timeout::Tcp, 900);
    });
    assert_eq!(timeouts::read(&attrs), [(Timeout::Tcp, 900), (Timeout::Udp, 300)].into());
    let cut = attrs.get(..attrs.len() - 2).unwrap();
    assert_eq!(timeouts::read(cut), [(Timeout::Udp, 300)].into());
    assert_eq!(timeouts::read(&[]), [].into());
}
