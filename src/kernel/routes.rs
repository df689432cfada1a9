//! How the kernel would send a packet to an address: asked as `ip route get` asks it, over rtnetlink.
//! Nothing is sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric};
use netlink_packet_route::{AddressFamily, link::LinkAttribute};
use rtnetlink::Handle;

use crate::kernel::addr::{AddressError, collected};
use crate::lvs::prerequisites::Route;

/// A handle over one rtnetlink connection, with the interfaces that were there when it was opened.
#[derive(Debug)]
pub struct Routes {
    handle: Handle,
    /// Name and MTU by number.
    links: BTreeMap<u32, (String, Option<u32>)>,
}

impl Routes {
    /// Of the network namespace of the calling thread. Call inside a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError::Open`], [`AddressError::Refused`], [`AddressError::NoAnswer`].
    pub async fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Open)?;
        tokio::spawn(connection);
        let messages = collected("list interfaces", || handle.link().get().execute()).await?;
        let links = messages.into_iter().map(|message| {
            let (mut name, mut mtu) = (String::new(), None);
            for attribute in message.attributes {
                match attribute {
                    LinkAttribute::IfName(found) => name = found,
                    LinkAttribute::Mtu(found) => mtu = Some(found),
                    _ => {}
                }
            }
            (message.header.index, (name, mtu))
        });
        let links = links.collect();
        Ok(Self { handle, links })
    }

    /// The route to an address; `None`: no route leads there.
    ///
    /// # Errors
    /// [`AddressError::Refused`], [`AddressError::NoAnswer`].
    pub async fn to(&self, address: IpAddr) -> Result<Option<Route>, AddressError> {
        let attempt = format!("look up the route to {address}");
        let answer =
            collected(&attempt, || self.handle.route().get(question(address)).execute()).await;
        match answer {
            Ok(messages) => Ok(messages.first().and_then(|message| self.read(message))),
            Err(AddressError::Refused { cause, .. })
                if matches!(
                    cause.raw_os_error(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn read(&self, message: &RouteMessage) -> Option<Route> {
        let (mut port, mut gateway, mut mtu) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => port = self.links.get(index),
                RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(IpAddr::V4(*ip)),
                RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => gateway = Some(IpAddr::V6(*ip)),
                RouteAttribute::Metrics(metrics) => {
                    mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(bytes) => Some(*bytes),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        let (interface, of_link) = port?.clone();
        Some(Route { interface, gateway, mtu: mtu.or(of_link) })
    }
}

fn question(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    let (family, length, destination) = match address {
        IpAddr::V4(ip) => (AddressFamily::Inet, 32, RouteAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(ip)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(destination));
    message
}
