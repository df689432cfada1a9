//! The kernel's answers and our requests as values: pure translation, no IO.
//!
//! [`super::Addresses`] moves the messages; what they mean is here.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia,
};

use crate::config::Address;

/// A lifetime without end (`INFINITY_LIFE_TIME` of linux/if_addr.h users).
const FOREVER: u32 = u32::MAX;

/// One address on one interface, as the kernel has it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) flags: AddressFlags,
    /// As it came, to delete exactly this one or to put it back.
    pub(super) message: AddressMessage,
}

/// One interface.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) name: String,
    /// Zero where the link is no Ethernet.
    pub(super) mac: [u8; 6],
    pub(super) up: bool,
    /// Something is at the other end.
    pub(super) carrier: bool,
    pub(super) loopback: bool,
}

/// A directly connected network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnLink {
    pub(super) index: u32,
    pub(super) network: IpNet,
    pub(super) metric: u32,
}

impl Held {
    /// What an address dump says; `None` for anycast and the like.
    pub(super) fn read(message: AddressMessage) -> Option<Self> {
        let (mut local, mut address, mut flags) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = Some(*all),
                _ => {}
            }
        }
        Some(Self {
            index: message.header.index,
            ip: local.or(address)?,
            prefix: message.header.prefix_len,
            flags: flags.unwrap_or_else(|| widened(message.header.flags)),
            message,
        })
    }

    /// Whether the kernel would delete this one together with `primary`: `IFA_F_SECONDARY` of the
    /// same IPv4 subnet (net/ipv4/devinet.c, `__inet_del_ifa`).
    pub(super) fn falls_with(&self, primary: &Self) -> bool {
        self.ip.is_ipv4()
            && self.index == primary.index
            && self.prefix == primary.prefix
            && self.flags.contains(AddressFlags::Secondary)
            && !primary.flags.contains(AddressFlags::Secondary)
            && network(primary.ip, primary.prefix).is_some_and(|net| net.contains(&self.ip))
    }

    /// The same address at the same place.
    pub(super) fn same(&self, other: &Self) -> bool {
        (self.index, self.ip, self.prefix) == (other.index, other.ip, other.prefix)
    }

    /// Whether duplicate address detection has not passed it.
    pub(super) fn unusable(&self) -> bool {
        self.flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
            && !self.flags.contains(AddressFlags::Optimistic)
    }

    /// The request that puts this address back after it fell with its primary.
    pub(super) fn again(&self) -> AddressMessage {
        let mut message = self.message.clone();
        message.header.flags = AddressHeaderFlags::empty();
        message.attributes.retain(|attribute| {
            !matches!(attribute, AddressAttribute::Flags(_) | AddressAttribute::Other(_))
        });
        let kept = self.flags - AddressFlags::Secondary - AddressFlags::Permanent;
        message.attributes.push(AddressAttribute::Flags(kept));
        message
    }
}

fn widened(flags: AddressHeaderFlags) -> AddressFlags {
    AddressFlags::from_bits_retain(u32::from(flags.bits()))
}

/// An interface's name, and its hardware address: zero where the link is no Ethernet. `None` without a
/// name.
pub(in crate::kernel) fn name_and_mac(message: &LinkMessage) -> Option<(String, [u8; 6])> {
    let (mut name, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    Some((name?, mac.filter(|_| ethernet).unwrap_or_default()))
}

impl Port {
    /// What a link message says; `None` when it has no name.
    pub(super) fn read(message: &LinkMessage) -> Option<Self> {
        let header = &message.header;
        let (name, mac) = name_and_mac(message)?;
        Some(Self {
            index: header.index,
            name,
            mac,
            up: header.flags.contains(LinkFlags::Up),
            carrier: header.flags.contains(LinkFlags::LowerUp),
            loopback: header.flags.contains(LinkFlags::Loopback),
        })
    }
}

impl OnLink {
    /// A connected network of the main table; `None` for every other route.
    ///
    /// Host routes do not count: the kernel makes one for an IPv6 address by itself, and that
    /// says nothing about the prefix of the network.
    pub(super) fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let (mut index, mut metric, mut ip, mut table) = (None, 0, None, u32::from(header.table));
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(oif) => index = Some(*oif),
                RouteAttribute::Priority(priority) => metric = *priority,
                RouteAttribute::Destination(to) => ip = plain(to),
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
                _ => {}
            }
        }
        let network = IpNet::new(ip?, header.destination_prefix_length).ok()?;
        let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
        let host = network.prefix_len() == network.max_prefix_len();
        (main && header.kind == RouteType::Unicast && !host).then_some(())?;
        Some(Self { index: index?, network, metric })
    }
}

/// The narrowest connected network that has `ip`; the lowest metric among equals.
pub(super) fn best(routes: &[OnLink], ip: IpAddr) -> Option<&OnLink> {
    routes
        .iter()
        .filter(|route| route.network.contains(&ip))
        .max_by_key(|route| (route.network.prefix_len(), std::cmp::Reverse(route.metric)))
}

/// The next hops of a route over the interface `index`.
pub(super) fn next_hops(message: &RouteMessage, index: u32) -> Vec<IpAddr> {
    if message.header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let mut found = Vec::new();
    if oif(&message.attributes) == Some(index) {
        found.extend(hop(&message.attributes));
    }
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(paths) = attribute {
            let here = paths.iter().filter(|path| path.interface_index == index);
            found.extend(here.filter_map(|path| hop(&path.attributes)));
        }
    }
    found
}

fn oif(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn hop(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(to) => plain(to),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// The network of an address.
pub(super) fn network(ip: IpAddr, prefix: u8) -> Option<IpNet> {
    IpNet::new(ip, prefix).ok().map(|net| net.trunc())
}

/// Whether the interface reaches all of the VIP's network through another address, so that the
/// VIP needs no route of its own. A route of its own would make the VIP the source of what this
/// node sends there.
pub(super) fn covered(held: &[Held], index: u32, ip: IpAddr, prefix: u8) -> bool {
    held.iter()
        .filter(|other| other.index == index && other.ip != ip && other.prefix <= prefix)
        // An IPv4 address of the very same network is no cover: the VIP becomes its secondary,
        // gets no route either way, and must get one when it is promoted.
        .filter(|other| ip.is_ipv6() || other.prefix < prefix)
        .filter(|other| !other.flags.contains(AddressFlags::Noprefixroute))
        .any(|other| network(other.ip, other.prefix).is_some_and(|net| net.contains(&ip)))
}

/// An address of the interface that this node itself may send from: of the family of `ip`, not a
/// VIP (they are secondary or deprecated where that is possible), in the VIP's network if there is
/// one.
pub(super) fn source(held: &[Held], index: u32, ip: IpAddr) -> Option<IpAddr> {
    let other_kind = AddressFlags::Secondary | AddressFlags::Deprecated | AddressFlags::Tentative;
    held.iter()
        .filter(|other| other.index == index && other.ip != ip && other.prefix > 0)
        .filter(|other| other.ip.is_ipv4() == ip.is_ipv4())
        .filter(|other| !other.flags.intersects(other_kind))
        .max_by_key(|other| {
            let near = network(other.ip, other.prefix).is_some_and(|net| net.contains(&ip));
            (near, other.message.header.scope == AddressScope::Universe)
        })
        .map(|other| other.ip)
}

/// The request that adds a VIP (`RTM_NEWADDR`, linux/if_addr.h).
///
/// IPv6: no duplicate address detection (it costs 1.3 s and more, and fails for good while the
/// other node still answers), and deprecated from the start, so that the kernel does not choose the VIP as
/// source (RFC 6724 rule 3).
pub(super) fn wanted(address: &Address, index: u32, prefix: u8, covered: bool) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    let mut flags = AddressFlags::empty();
    if covered {
        flags |= AddressFlags::Noprefixroute;
    }
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(address.ip));
    attributes.push(AddressAttribute::Address(address.ip));
    if address.ip.is_ipv4() {
        attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
        attributes.extend(address.label.clone().map(AddressAttribute::Label));
    } else {
        flags |= AddressFlags::Nodad;
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = FOREVER;
        lifetimes.ifa_preferred = 0;
        attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    attributes.push(AddressAttribute::Flags(flags));
    message
}
