//! IPVS orders and answers as generic netlink attributes.
//!
//! Layout: linux/ip_vs.h (`IPVS_CMD_*`, `IPVS_SVC_ATTR_*`, `IPVS_DEST_ATTR_*`). Ports are in
//! network order, everything else in host order but the IPv4 netmask. The kernel takes complete
//! entries only: a changed weight is sent with the whole destination.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ConnectionCount;
use crate::kernel::genl::{Batch, attribute, text, u16_at, u32_at};
use crate::lvs::fault::OpError;
use crate::lvs::model::{
    Checksum, DestEntry, Forwarding, Protocol, RealKey, SchedFlags, ServiceEntry, ServiceKey,
    Thresholds,
};
use crate::lvs::plan::{Op, ServiceSettings};

/// Name of the generic netlink family.
pub(super) const FAMILY: &str = "IPVS";
/// Its version.
pub(super) const VERSION: u8 = 1;
/// `IPVS_CMD_GET_SERVICE`.
pub(super) const GET_SERVICE: u8 = 4;
/// `IPVS_CMD_GET_DEST`.
pub(super) const GET_DEST: u8 = 8;

/// `IPVS_CMD_ATTR_SERVICE` and `IPVS_CMD_ATTR_DEST`.
mod top {
    pub(super) const SERVICE: u16 = 1;
    pub(super) const DEST: u16 = 2;
}

/// `IPVS_SVC_ATTR_*`.
mod svc {
    pub(super) const AF: u16 = 1;
    pub(super) const PROTOCOL: u16 = 2;
    pub(super) const ADDR: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const FWMARK: u16 = 5;
    pub(super) const SCHED_NAME: u16 = 6;
    pub(super) const FLAGS: u16 = 7;
    pub(super) const TIMEOUT: u16 = 8;
    pub(super) const NETMASK: u16 = 9;
}

/// `IPVS_DEST_ATTR_*`.
mod dst {
    pub(super) const ADDR: u16 = 1;
    pub(super) const PORT: u16 = 2;
    pub(super) const FWD_METHOD: u16 = 3;
    pub(super) const WEIGHT: u16 = 4;
    pub(super) const U_THRESH: u16 = 5;
    pub(super) const L_THRESH: u16 = 6;
    pub(super) const ACTIVE_CONNS: u16 = 7;
    pub(super) const INACT_CONNS: u16 = 8;
    pub(super) const PERSIST_CONNS: u16 = 9;
    pub(super) const ADDR_FAMILY: u16 = 11;
    pub(super) const TUN_TYPE: u16 = 13;
    pub(super) const TUN_PORT: u16 = 14;
    pub(super) const TUN_FLAGS: u16 = 15;
}

/// `IP_VS_CONN_F_TUNNEL_TYPE_*` and `IP_VS_TUNNEL_ENCAP_FLAG_*`.
mod tunnel {
    pub(super) const IPIP: u8 = 0;
    pub(super) const GUE: u8 = 1;
    pub(super) const GRE: u8 = 2;
    pub(super) const CHECKSUM: u16 = 1;
    pub(super) const REMOTE_CHECKSUM: u16 = 2;
}

/// `IP_VS_SVC_F_PERSISTENT`. The kernel adds `IP_VS_SVC_F_HASHED` (2), which is its own business.
const PERSISTENT: u32 = 1;
/// `IP_VS_SVC_F_ONEPACKET`.
const ONE_PACKET: u32 = 4;

/// `IP_VS_SVC_F_SCHED1` to `IP_VS_SVC_F_SCHED3`: three bits from here.
const SCHED_SHIFT: u32 = 3;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The kernel's command for an order.
pub(super) fn command(op: &Op) -> u8 {
    match op {
        Op::AddService(..) => 1,
        Op::EditService(..) => 2,
        Op::RemoveService(_) => 3,
        Op::AddDest(..) => 5,
        Op::EditDest(..) => 6,
        Op::RemoveDest(..) => 7,
    }
}

/// Writes the attributes of an order.
pub(super) fn put_op(batch: &mut Batch, op: &Op) {
    match op {
        Op::AddService(key, new) | Op::EditService(key, new) => {
            batch.nest(top::SERVICE, |batch| {
                put_identity(batch, key);
                put_settings(batch, key, new);
            });
        }
        Op::RemoveService(key) => put_service(batch, key),
        Op::AddDest(key, real, dest) | Op::EditDest(key, real, dest) => {
            put_service(batch, key);
            batch.nest(top::DEST, |batch| {
                put_real(batch, real);
                put_dest(batch, dest);
            });
        }
        Op::RemoveDest(key, real) => {
            put_service(batch, key);
            batch.nest(top::DEST, |batch| put_real(batch, real));
        }
    }
}

/// Writes which service is meant.
pub(super) fn put_service(batch: &mut Batch, key: &ServiceKey) {
    batch.nest(top::SERVICE, |batch| put_identity(batch, key));
}

fn put_identity(batch: &mut Batch, key: &ServiceKey) {
    batch.put_u16(svc::AF, if key.is_ipv6() { AF_INET6 } else { AF_INET });
    match key {
        ServiceKey::Mark { mark, .. } => batch.put_u32(svc::FWMARK, *mark),
        ServiceKey::Address { protocol, address, port } => {
            batch.put_u16(svc::PROTOCOL, protocol_number(*protocol));
            batch.put(svc::ADDR, &address_bytes(*address));
            batch.put(svc::PORT, &port.to_be_bytes());
        }
    }
}

fn put_settings(batch: &mut Batch, key: &ServiceKey, new: &ServiceSettings) {
    let persistent = if new.persistent.is_some() { PERSISTENT } else { 0 };
    let one_packet = if new.one_packet { ONE_PACKET } else { 0 };
    let flags = persistent | one_packet | (u32::from(new.flags.0) << SCHED_SHIFT);
    let mut flags_and_mask = [0; 8];
    let (value, mask) = flags_and_mask.split_at_mut(4);
    value.copy_from_slice(&flags.to_ne_bytes());
    mask.copy_from_slice(&u32::MAX.to_ne_bytes());
    batch.put_text(svc::SCHED_NAME, &new.scheduler);
    batch.put(svc::FLAGS, &flags_and_mask);
    batch.put_u32(svc::TIMEOUT, new.persistent.unwrap_or(0));
    batch.put(svc::NETMASK, &netmask_bytes(key, new.netmask));
}

/// IPv4: the mask in network order. IPv6: the prefix length as a number in host order.
fn netmask_bytes(key: &ServiceKey, prefix: Option<u8>) -> [u8; 4] {
    if key.is_ipv6() {
        return u32::from(prefix.unwrap_or(128)).to_ne_bytes();
    }
    let host_bits = 32u32.saturating_sub(u32::from(prefix.unwrap_or(32)));
    u32::MAX.checked_shl(host_bits).unwrap_or(0).to_be_bytes()
}

fn put_real(batch: &mut Batch, real: &RealKey) {
    batch.put(dst::ADDR, &address_bytes(real.address));
    batch.put(dst::PORT, &real.port.to_be_bytes());
    // Without it the kernel assumes the service's family, which a tunnel need not have.
    batch.put_u16(dst::ADDR_FAMILY, if real.address.is_ipv6() { AF_INET6 } else { AF_INET });
}

fn put_dest(batch: &mut Batch, dest: &DestEntry) {
    batch.put_u32(dst::FWD_METHOD, method_number(dest.forwarding));
    put_tunnel(batch, dest.forwarding);
    batch.put_u32(dst::WEIGHT, dest.weight);
    batch.put_u32(dst::U_THRESH, dest.thresholds.upper);
    batch.put_u32(dst::L_THRESH, dest.thresholds.lower);
}

/// `union nf_inet_addr`: sixteen bytes, IPv4 in the first four.
fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn protocol_number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// `IP_VS_CONN_F_*`.
fn method_number(forwarding: Forwarding) -> u32 {
    match forwarding {
        Forwarding::Masq | Forwarding::FullNat { .. } => 0,
        Forwarding::Local => 1,
        Forwarding::Ipip | Forwarding::Gue { .. } | Forwarding::Gre { .. } => 2,
        Forwarding::Gate => 3,
    }
}

/// Kernels before 5.2 (GUE) and 5.3 (GRE) know IP in IP only.
fn put_tunnel(batch: &mut Batch, forwarding: Forwarding) {
    let (kind, flags) = match forwarding {
        Forwarding::Gue { port, checksum } => {
            batch.put(dst::TUN_PORT, &port.to_be_bytes());
            let flags = match checksum {
                Checksum::None => 0,
                Checksum::Whole => tunnel::CHECKSUM,
                Checksum::Remote => tunnel::REMOTE_CHECKSUM,
            };
            (tunnel::GUE, flags)
        }
        Forwarding::Gre { checksum } => (tunnel::GRE, if checksum { tunnel::CHECKSUM } else { 0 }),
        Forwarding::Gate
        | Forwarding::Masq
        | Forwarding::FullNat { .. }
        | Forwarding::Ipip
        | Forwarding::Local => return,
    };
    batch.put(dst::TUN_TYPE, &[kind]);
    batch.put_u16(dst::TUN_FLAGS, flags);
}

/// A kind that we never make reads as GUE with port 0, which nobody can ask for.
fn read_tunnel(attrs: &[u8]) -> Forwarding {
    let kind = attribute(attrs, dst::TUN_TYPE).and_then(|payload| payload.first().copied());
    let flags = attribute(attrs, dst::TUN_FLAGS).and_then(|payload| u16_at(payload, 0));
    let flags = flags.unwrap_or(0);
    match kind.unwrap_or(tunnel::IPIP) {
        tunnel::IPIP => Forwarding::Ipip,
        tunnel::GRE => Forwarding::Gre { checksum: flags & tunnel::CHECKSUM != 0 },
        kind => {
            let port = attribute(attrs, dst::TUN_PORT).and_then(read_port);
            let port = port.filter(|_| kind == tunnel::GUE).unwrap_or(0);
            let checksum = match flags {
                flags if flags & tunnel::REMOTE_CHECKSUM != 0 => Checksum::Remote,
                flags if flags & tunnel::CHECKSUM != 0 => Checksum::Whole,
                _ => Checksum::None,
            };
            Forwarding::Gue { port, checksum }
        }
    }
}

/// A service from a dump, without its destinations. `Some(None)` where it is of a kind that we
/// never make, and so can't be ours.
pub(super) fn read_service(message: &[u8]) -> Option<Option<(ServiceKey, ServiceEntry)>> {
    let attrs = attribute(message, top::SERVICE)?;
    let Some(key) = read_key(attrs)? else { return Some(None) };
    let flags = u32_at(attribute(attrs, svc::FLAGS)?, 0)?;
    let timeout = u32_at(attribute(attrs, svc::TIMEOUT)?, 0)?;
    let entry = ServiceEntry {
        scheduler: text(attribute(attrs, svc::SCHED_NAME)?)?.to_owned(),
        persistent: (flags & PERSISTENT != 0).then_some(timeout),
        netmask: read_netmask(&key, attribute(attrs, svc::NETMASK)?)?,
        one_packet: flags & ONE_PACKET != 0,
        flags: SchedFlags(u8::try_from((flags >> SCHED_SHIFT) & 7).ok()?),
        dests: BTreeMap::new(),
    };
    Some(Some((key, entry)))
}

fn read_key(attrs: &[u8]) -> Option<Option<ServiceKey>> {
    let family = u16_at(attribute(attrs, svc::AF)?, 0)?;
    if let Some(mark) = attribute(attrs, svc::FWMARK) {
        return Some(Some(ServiceKey::Mark { ipv6: family == AF_INET6, mark: u32_at(mark, 0)? }));
    }
    let protocol = match u16_at(attribute(attrs, svc::PROTOCOL)?, 0)? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return Some(None),
    };
    let address = read_address(family, attribute(attrs, svc::ADDR)?)?;
    let port = read_port(attribute(attrs, svc::PORT)?)?;
    Some(Some(ServiceKey::Address { protocol, address, port }))
}

/// `None` inside: the whole address. A mask with holes, which we never make, reads as 0.
fn read_netmask(key: &ServiceKey, payload: &[u8]) -> Option<Option<u8>> {
    let (bits, whole) = if key.is_ipv6() {
        (u32_at(payload, 0)?, 128)
    } else {
        let mask = u32::from_be_bytes(*payload.first_chunk()?);
        let contiguous = mask.leading_ones() == mask.count_ones();
        (if contiguous { mask.count_ones() } else { 0 }, 32)
    };
    Some(u8::try_from(bits).ok().filter(|prefix| *prefix != whole))
}

/// A destination from a dump, with its connections.
pub(super) fn read_dest(
    message: &[u8],
    service: &ServiceKey,
) -> Option<(RealKey, DestEntry, ConnectionCount)> {
    let attrs = attribute(message, top::DEST)?;
    let number = |kind| u32_at(attribute(attrs, kind)?, 0);
    // Kernels before 3.18 have no such attribute and no mixed families.
    let family = attribute(attrs, dst::ADDR_FAMILY).and_then(|payload| u16_at(payload, 0));
    let family = family.unwrap_or(if service.is_ipv6() { AF_INET6 } else { AF_INET });
    let key = RealKey {
        address: read_address(family, attribute(attrs, dst::ADDR)?)?,
        port: read_port(attribute(attrs, dst::PORT)?)?,
    };
    let forwarding = match number(dst::FWD_METHOD)? {
        0 => Forwarding::Masq,
        1 => Forwarding::Local,
        2 => read_tunnel(attrs),
        _ => Forwarding::Gate,
    };
    let count = ConnectionCount {
        active: number(dst::ACTIVE_CONNS).unwrap_or(0),
        inactive: number(dst::INACT_CONNS).unwrap_or(0),
        persistent: number(dst::PERSIST_CONNS).unwrap_or(0),
    };
    let thresholds = Thresholds {
        upper: number(dst::U_THRESH).unwrap_or(0),
        lower: number(dst::L_THRESH).unwrap_or(0),
    };
    Some((key, DestEntry { forwarding, weight: number(dst::WEIGHT)?, thresholds }, count))
}

fn read_address(family: u16, payload: &[u8]) -> Option<IpAddr> {
    if family == AF_INET6 {
        Some(Ipv6Addr::from(*payload.first_chunk::<16>()?).into())
    } else {
        Some(Ipv4Addr::from(*payload.first_chunk::<4>()?).into())
    }
}

fn read_port(payload: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*payload.first_chunk()?))
}

/// What an errno means as the answer to this order.
pub(super) fn op_error(op: &Op, errno: i32) -> OpError {
    match (errno, op) {
        (libc::EEXIST, _) => OpError::Exists,
        (libc::ESRCH, _) => OpError::NoService,
        (libc::ENOENT, Op::AddService(_, new) | Op::EditService(_, new)) => {
            OpError::NoScheduler(new.scheduler.clone())
        }
        (libc::ENOENT, _) => OpError::NoDest,
        (libc::EPERM | libc::EACCES, _) => OpError::NotPermitted,
        (libc::EINVAL, _) => OpError::Invalid,
        (libc::ERANGE, _) => OpError::Range,
        (libc::ENOMEM | libc::ENOBUFS, _) => OpError::Memory,
        _ => OpError::Errno(errno),
    }
}
