//! This machine's interfaces, over rtnetlink: which there are, on and off, and the tunnel devices
//! of real servers. Nothing is remembered between calls.

use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, LinkFlags, LinkLayerType,
    LinkMessage,
};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};

use crate::kernel::addr::{AddressError, answered, collected, name_and_mac};
use crate::realserver::Tunnel;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Switched on.
    pub up: bool,
    /// Neighbours are looked for there: Ethernet, and not switched off with `arp off`.
    pub neighbours: bool,
    /// Hardware address; zero where the link is no Ethernet.
    pub mac: [u8; 6],
}

impl Link {
    fn read(message: &LinkMessage) -> Option<Self> {
        let (name, mac) = name_and_mac(message)?;
        let flags = message.header.flags;
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        Some(Self {
            index: message.header.index,
            name,
            up: flags.contains(LinkFlags::Up),
            neighbours: ethernet && !flags.contains(LinkFlags::Noarp),
            mac,
        })
    }
}

/// A handle over one rtnetlink connection.
#[derive(Debug, Clone)]
pub struct Links {
    handle: Handle,
}

impl Links {
    /// Connects to the network namespace of the calling thread. Call inside a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError::Open`].
    pub fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// All of them.
    ///
    /// # Errors
    /// [`AddressError::Refused`], [`AddressError::NoAnswer`].
    pub async fn all(&self) -> Result<Vec<Link>, AddressError> {
        let messages = collected("list interfaces", || self.handle.link().get().execute()).await?;
        Ok(messages.iter().filter_map(Link::read).collect())
    }

    /// Switches one on.
    ///
    /// # Errors
    /// As [`Links::all`].
    pub async fn raise(&self, name: &str) -> Result<(), AddressError> {
        let wanted = LinkUnspec::new_with_name(name).up().build();
        answered(&format!("switch {name} on"), self.handle.link().set(wanted).execute()).await
    }

    /// Switches one off.
    ///
    /// # Errors
    /// As [`Links::all`].
    pub async fn lower(&self, name: &str) -> Result<(), AddressError> {
        let wanted = LinkUnspec::new_with_name(name).down().build();
        answered(&format!("switch {name} off"), self.handle.link().set(wanted).execute()).await
    }

    /// Makes a tunnel device that takes packets from every sender. The kernel loads the module for
    /// it, which may make a device of that very name by itself: that is a success.
    ///
    /// # Errors
    /// As [`Links::all`]; [`AddressError::Refused`] where the kernel has no such tunnels.
    pub async fn create(&self, name: &str, tunnel: Tunnel) -> Result<(), AddressError> {
        let attempt = format!("make the tunnel device {name}");
        let (kind, data) = described(tunnel);
        let mut wanted = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind).name(name);
        if let Some(data) = data {
            wanted = wanted.set_info_data(data);
        }
        let wanted = wanted.build();
        let answer = answered(&attempt, self.handle.link().add(wanted).execute()).await;
        match answer {
            Err(AddressError::Refused { cause, .. })
                if cause.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Removes one. The kernel keeps, and says nothing about, the tunnel device that it has made by
    /// itself.
    ///
    /// # Errors
    /// As [`Links::all`].
    pub async fn delete(&self, index: u32, name: &str) -> Result<(), AddressError> {
        answered(&format!("remove {name}"), self.handle.link().del(index).execute()).await
    }
}

/// Its kind, and what is to be said of it. The kernel has one device of each kind for all senders,
/// which can't be changed; beside it may stand one that takes whatever no other device is for, and
/// tells of each packet where it was from (`collect metadata`, `external` with ip(8)).
fn described(tunnel: Tunnel) -> (InfoKind, Option<InfoData>) {
    let checksum = GreIOFlags::Checksum;
    match tunnel {
        Tunnel::Ipip => (InfoKind::IpIp, None),
        Tunnel::Ip6tnl => (InfoKind::Ip6Tnl, None),
        Tunnel::Sit => (InfoKind::SitTun, None),
        Tunnel::AnyInIp6 => {
            let data = InfoData::IpTunnel(vec![InfoIpTunnel::CollectMetadata]);
            (InfoKind::Ip6Tnl, Some(data))
        }
        Tunnel::Gre => (InfoKind::GreTun, None),
        Tunnel::Ip6gre => (InfoKind::GreTun6, None),
        Tunnel::GreChecksum => {
            let data = vec![InfoGre::CollectMetadata, InfoGre::IFlags(checksum)];
            (InfoKind::GreTun, Some(InfoData::GreTun(data)))
        }
        Tunnel::Ip6greChecksum => {
            let data = vec![InfoGre6::CollectMetadata, InfoGre6::IFlags(checksum)];
            (InfoKind::GreTun6, Some(InfoData::GreTun6(data)))
        }
    }
}
