//! Virtual addresses on this node's interfaces, over rtnetlink.
//!
//! Every change is idempotent, runs under a time limit and is verified by reading the kernel's
//! table back: an acknowledgement can be lost, and a request whose connection died may look done.
//! Nothing is remembered between calls. Which addresses belong here is decided above; telling the
//! LAN is [`super::announce`]'s work.

mod table;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;
use rtnetlink::{Handle, LinkGetRequest};
use tokio::sync::Mutex;

use crate::config::Address;
pub(super) use table::name_and_mac;
use table::{Held, OnLink, Port};

/// Longest wait for one answer of the kernel. A dump of a thousand addresses takes some
/// milliseconds; beyond this an answer was lost, and the caller must know before its own limit.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(2);

/// From one try to the next while a dump that nobody waits for any more runs out.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// How often the table is read when a reading contradicts an earlier one, or the kernel.
const PASSES: usize = 4;

/// Most next hops that [`Addresses::gateways`] names: each one gets directed announcements.
pub const GATEWAYS_MAX: usize = 16;

/// Where a virtual address is, or would be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Interface number.
    pub ifindex: u32,
    /// Interface name.
    pub interface: String,
    /// Prefix length that shows in `ip addr`.
    pub prefix: u8,
    /// Hardware address; zero where the link is no Ethernet, and nothing is announced.
    pub mac: [u8; 6],
    /// Another address of the interface, of the same family, that is not a VIP as far as the
    /// kernel's flags tell (secondary, deprecated).
    pub source: Option<IpAddr>,
}

/// The result of [`Addresses::add`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Where it is.
    pub placement: Placement,
    /// Whether it was not there before.
    pub new: bool,
}

/// Why an address could not be placed, added or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No rtnetlink socket.
    #[error("can't open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel refused.
    #[error("the kernel refused to {attempt}: {cause}")]
    Refused {
        /// What was asked.
        attempt: String,
        /// Its error.
        cause: io::Error,
    },
    /// No answer within [`REQUEST_LIMIT`].
    #[error("the kernel did not answer within {} s when asked to {attempt}", REQUEST_LIMIT.as_secs())]
    NoAnswer {
        /// What was asked.
        attempt: String,
    },
    /// The interface named in the configuration is not there.
    #[error("there is no interface {interface} for {ip}")]
    NoInterface {
        /// The VIP.
        ip: IpAddr,
        /// As configured.
        interface: String,
    },
    /// No interface named, and none has a network with the VIP.
    #[error(
        "no interface has a network with {ip}: name prefix and interface, as in \
         IPaddr2::{ip}/{}/eth0", if ip.is_ipv4() { "24" } else { "64" }
    )]
    NoRoute {
        /// The VIP.
        ip: IpAddr,
    },
    /// The interface is administratively down.
    #[error(
        "interface {interface} is down: {ip} can't be reached there (ip link set {interface} up)"
    )]
    Down {
        /// The VIP.
        ip: IpAddr,
        /// Its interface.
        interface: String,
    },
    /// The kernel said yes, and the address is not there or not usable.
    #[error("{ip} is not usable on {interface} though the kernel took it")]
    NotAdded {
        /// The VIP.
        ip: IpAddr,
        /// Where it should be.
        interface: String,
    },
    /// It is still there.
    #[error("{ip} is still held here though the kernel said it was removed")]
    NotRemoved {
        /// The VIP.
        ip: IpAddr,
    },
    /// Other addresses fell with the VIP and could not be put back.
    #[error("{ip} was removed and took {lost:?} with it")]
    Neighbours {
        /// The VIP, which is gone.
        ip: IpAddr,
        /// What should still be there.
        lost: Vec<IpAddr>,
    },
}

/// This node's addresses: a cheap handle over one rtnetlink connection. Clones take turns.
#[derive(Debug, Clone)]
pub struct Addresses {
    handle: Handle,
    /// One call at a time: a socket gives one dump at a time (EBUSY), a table that changes while
    /// it is read may come with gaps, and the promotion of secondaries is a state of the
    /// interface.
    turn: Arc<Mutex<()>>,
}

impl Addresses {
    /// Connects to the network namespace of the calling thread. Call inside a tokio runtime: the
    /// connection runs as a task of it and ends with the last handle.
    ///
    /// # Errors
    /// [`AddressError::Open`].
    pub fn open() -> Result<Self, AddressError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(AddressError::Open)?;
        tokio::spawn(connection);
        Ok(Self { handle, turn: Arc::default() })
    }

    /// Where the address belongs: the interface and prefix as configured, and for what is not
    /// configured those of the narrowest connected network that has it. An interface without such
    /// a network gives the full length (/32, /128).
    ///
    /// # Errors
    /// [`AddressError::NoInterface`], [`AddressError::NoRoute`], [`AddressError::Down`], or none
    /// of the kernel's answers.
    pub async fn place(&self, address: &Address) -> Result<Placement, AddressError> {
        let _turn = self.turn.lock().await;
        let held = self.held().await?;
        self.place_among(address, &held).await
    }

    /// Whether an interface is up and has a carrier (`IFF_LOWER_UP`, netdevice(7)); `None` when
    /// there is none with that number.
    ///
    /// # Errors
    /// [`AddressError::Refused`], [`AddressError::NoAnswer`].
    pub async fn carrier(&self, ifindex: u32) -> Result<Option<bool>, AddressError> {
        let _turn = self.turn.lock().await;
        let port = self.port_numbered(ifindex).await?;
        Ok(port.map(|port| port.up && port.carrier))
    }

    /// Whether there is an interface of this name.
    ///
    /// # Errors
    /// [`AddressError::Refused`], [`AddressError::NoAnswer`].
    pub async fn exists(&self, interface: &str) -> Result<bool, AddressError> {
        let _turn = self.turn.lock().await;
        let attempt = format!("look up interface {interface}");
        let found = self.port(&attempt, |links| links.match_name(interface.to_owned())).await?;
        Ok(found.is_some())
    }

    /// Puts the address where it belongs; success also when it is there already.
    ///
    /// # Errors
    /// Those of [`Addresses::place`], [`AddressError::Refused`], [`AddressError::NotAdded`].
    pub async fn add(&self, address: &Address) -> Result<Added, AddressError> {
        let _turn = self.turn.lock().await;
        let held = self.held().await?;
        let placement = self.place_among(address, &held).await?;
        let (ip, index, prefix) = (address.ip, placement.ifindex, placement.prefix);
        let here = |one: &&Held| one.ip == ip && one.index == index && one.prefix == prefix;
        if let Some(old) = held.iter().find(here) {
            if !old.unusable() {
                return Ok(Added { placement, new: false });
            }
            self.delete(old).await?;
        }
        let covered = table::covered(&held, index, ip, prefix);
        let attempt = format!("add {ip}/{prefix} to {}", placement.interface);
        let mut request = self.handle.address().add(index, ip, prefix);
        *request.message_mut() = table::wanted(address, index, prefix, covered);
        let answer = answered(&attempt, request.execute()).await;
        // The table decides: the answer may be lost, or say that somebody else was faster. And as
        // one reading may have a gap, a yes of the kernel is worth some more.
        let readings = if answer.is_ok() { PASSES } else { 1 };
        for _ in 0..readings {
            if self.held().await?.iter().find(here).is_some_and(|one| !one.unusable()) {
                return Ok(Added { placement, new: true });
            }
        }
        answer.and(Err(AddressError::NotAdded { ip, interface: placement.interface }))
    }

    /// Takes the address away from every interface but the loopback, whatever its prefix, and says
    /// from how many places. Success also when it was not held.
    ///
    /// The loopback is spared because a director that is its own real server keeps the VIP there
    /// while it is standby; a VIP that is configured on the loopback goes by
    /// [`Addresses::remove_at`].
    ///
    /// # Errors
    /// [`AddressError::NotRemoved`] or what the kernel said; [`AddressError::Neighbours`].
    pub async fn remove(&self, ip: IpAddr) -> Result<usize, AddressError> {
        self.take_away(ip, |port| !port.loopback).await
    }

    /// Takes the address away from one interface.
    ///
    /// # Errors
    /// As [`Addresses::remove`].
    pub async fn remove_at(&self, ip: IpAddr, interface: &str) -> Result<usize, AddressError> {
        self.take_away(ip, |port| port.name == interface).await
    }

    /// The interfaces that have the address, with the prefix length; the loopback too.
    ///
    /// # Errors
    /// None of the kernel's answers.
    pub async fn holders(&self, ip: IpAddr) -> Result<Vec<(String, u8)>, AddressError> {
        let _turn = self.turn.lock().await;
        let mut holders = Vec::new();
        for one in self.held().await?.iter().filter(|one| one.ip == ip) {
            if let Some(port) = self.port_numbered(one.index).await? {
                holders.push((port.name, one.prefix));
            }
        }
        Ok(holders)
    }

    /// The next hops over an interface, those of default routes first; at most [`GATEWAYS_MAX`].
    ///
    /// # Errors
    /// None of the kernel's answers.
    pub async fn gateways(&self, ifindex: u32) -> Result<Vec<IpAddr>, AddressError> {
        let _turn = self.turn.lock().await;
        let mut routes = self.routes(AddressFamily::Inet).await?;
        routes.extend(self.routes(AddressFamily::Inet6).await?);
        routes.sort_by_key(|route| route.header.destination_prefix_length);
        let mut seen = BTreeSet::new();
        let hops = routes.iter().flat_map(|route| table::next_hops(route, ifindex));
        Ok(hops.filter(|hop| seen.insert(*hop)).take(GATEWAYS_MAX).collect())
    }

    async fn place_among(
        &self,
        address: &Address,
        held: &[Held],
    ) -> Result<Placement, AddressError> {
        let ip = address.ip;
        let named = match &address.interface {
            Some(interface) => Some(self.port_named(ip, interface).await?),
            None => None,
        };
        let (port, prefix) = match (named, address.prefix) {
            (Some(port), Some(prefix)) => (port, prefix),
            (named, prefix) => self.place_by_route(ip, named, prefix).await?,
        };
        if !port.up {
            return Err(AddressError::Down { ip, interface: port.name });
        }
        let source = table::source(held, port.index, ip);
        let (ifindex, interface, mac) = (port.index, port.name, port.mac);
        Ok(Placement { ifindex, interface, prefix, mac, source })
    }

    async fn place_by_route(
        &self,
        ip: IpAddr,
        named: Option<Port>,
        prefix: Option<u8>,
    ) -> Result<(Port, u8), AddressError> {
        let family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let mut routes: Vec<OnLink> =
            self.routes(family).await?.iter().filter_map(OnLink::read).collect();
        if let Some(port) = &named {
            routes.retain(|route| route.index == port.index);
        }
        let best = table::best(&routes, ip);
        let full = if ip.is_ipv4() { 32 } else { 128 };
        let width = prefix.or(best.map(|route| route.network.prefix_len())).unwrap_or(full);
        let port = match (named, best) {
            (Some(port), _) => Some(port),
            (None, Some(route)) => self.port_numbered(route.index).await?,
            (None, None) => None,
        };
        Ok((port.ok_or(AddressError::NoRoute { ip })?, width))
    }

    async fn take_away(
        &self,
        ip: IpAddr,
        from: impl Fn(&Port) -> bool,
    ) -> Result<usize, AddressError> {
        let _turn = self.turn.lock().await;
        let mut before = self.held().await?;
        let mut removed = 0;
        // Somebody else's change may hide an address from one reading, never from all.
        for _ in 0..PASSES {
            let gone = self.pass(ip, &before, &from).await?;
            let after = self.held().await?;
            let fallen: Vec<&Held> = before
                .iter()
                .filter(|other| gone.held.iter().any(|one| other.falls_with(one)))
                .filter(|other| other.ip != ip && !after.iter().any(|left| left.same(other)))
                .collect();
            self.put_back(ip, &fallen).await?;
            removed += gone.held.len();
            let left = self.placed(ip, &after, &from).await?;
            if left.is_empty() {
                return Ok(removed);
            }
            if left.iter().any(|(one, _)| gone.held.iter().any(|tried| tried.same(one))) {
                return Err(gone.refusal.unwrap_or(AddressError::NotRemoved { ip }));
            }
            before = after;
        }
        Err(AddressError::NotRemoved { ip })
    }

    /// Deletes what one reading of the table shows.
    async fn pass<'a>(
        &self,
        ip: IpAddr,
        before: &'a [Held],
        from: &impl Fn(&Port) -> bool,
    ) -> Result<Gone<'a>, AddressError> {
        let mut gone = Gone { held: Vec::new(), refusal: None };
        for (one, port) in self.placed(ip, before, from).await? {
            let _promotion = before
                .iter()
                .any(|other| other.falls_with(one))
                .then(|| Promotion::begin(&port.name));
            gone.refusal = self.delete(one).await.err().or(gone.refusal);
            gone.held.push(one);
        }
        Ok(gone)
    }

    /// Where the address is, of the interfaces that count.
    async fn placed<'a>(
        &self,
        ip: IpAddr,
        held: &'a [Held],
        from: &impl Fn(&Port) -> bool,
    ) -> Result<Vec<(&'a Held, Port)>, AddressError> {
        let mut placed = Vec::new();
        for one in held.iter().filter(|one| one.ip == ip) {
            placed
                .extend(self.port_numbered(one.index).await?.filter(from).map(|port| (one, port)));
        }
        Ok(placed)
    }

    /// For kernels where promotion could not be switched on (a read-only /proc).
    async fn put_back(&self, ip: IpAddr, fallen: &[&Held]) -> Result<(), AddressError> {
        if fallen.is_empty() {
            return Ok(());
        }
        for one in fallen {
            let mut request = self.handle.address().add(one.index, one.ip, one.prefix);
            *request.message_mut() = one.again();
            // The table read below tells; one refusal must not keep the others away.
            let _ = answered("put an address back", request.execute()).await;
        }
        let after = self.held().await?;
        let lost: Vec<IpAddr> = fallen
            .iter()
            .filter(|one| !after.iter().any(|there| there.same(one)))
            .map(|one| one.ip)
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(AddressError::Neighbours { ip, lost }) }
    }

    async fn delete(&self, one: &Held) -> Result<(), AddressError> {
        let attempt = format!("remove {}/{}", one.ip, one.prefix);
        answered(&attempt, self.handle.address().del(one.message.clone()).execute()).await
    }

    /// Every address with the number of its interface and its prefix length.
    ///
    /// # Errors
    /// None of the kernel's answers.
    pub async fn all(&self) -> Result<Vec<(IpAddr, u32, u8)>, AddressError> {
        let _turn = self.turn.lock().await;
        Ok(self.held().await?.iter().map(|one| (one.ip, one.index, one.prefix)).collect())
    }

    async fn held(&self) -> Result<Vec<Held>, AddressError> {
        let messages =
            collected("list addresses", || self.handle.address().get().execute()).await?;
        Ok(messages.into_iter().filter_map(Held::read).collect())
    }

    async fn routes(&self, family: AddressFamily) -> Result<Vec<RouteMessage>, AddressError> {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        collected("list routes", || self.handle.route().get(all.clone()).execute()).await
    }

    async fn port_named(&self, ip: IpAddr, interface: &str) -> Result<Port, AddressError> {
        let attempt = format!("look up interface {interface}");
        let found = self.port(&attempt, |links| links.match_name(interface.to_owned())).await?;
        found.ok_or_else(|| AddressError::NoInterface { ip, interface: interface.to_owned() })
    }

    async fn port_numbered(&self, index: u32) -> Result<Option<Port>, AddressError> {
        let attempt = format!("look up interface number {index}");
        self.port(&attempt, |links| links.match_index(index)).await
    }

    async fn port(
        &self,
        attempt: &str,
        which: impl Fn(LinkGetRequest) -> LinkGetRequest,
    ) -> Result<Option<Port>, AddressError> {
        match collected(attempt, || which(self.handle.link().get()).execute()).await {
            Ok(messages) => Ok(messages.iter().find_map(Port::read)),
            Err(AddressError::Refused { cause, .. }) if no_device(&cause) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// What one pass of a removal has tried.
struct Gone<'a> {
    held: Vec<&'a Held>,
    /// The kernel's last objection; of no account when the address is gone.
    refusal: Option<AddressError>,
}

fn no_device(cause: &io::Error) -> bool {
    // ERANGE: a name too long to be one.
    matches!(cause.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ERANGE))
}

pub(super) async fn answered(
    attempt: &str,
    request: impl Future<Output = Result<(), rtnetlink::Error>>,
) -> Result<(), AddressError> {
    match tokio::time::timeout(REQUEST_LIMIT, request).await {
        Err(_) => Err(AddressError::NoAnswer { attempt: attempt.to_owned() }),
        Ok(answer) => answer.map_err(|error| refused(attempt, error)),
    }
}

/// Asks again while the socket is busy with the answer to somebody who no longer waits for it.
pub(super) async fn collected<T, S: Stream<Item = Result<T, rtnetlink::Error>>>(
    attempt: &str,
    request: impl Fn() -> S,
) -> Result<Vec<T>, AddressError> {
    let asking = async {
        loop {
            match request().try_collect().await.map_err(|error| refused(attempt, error)) {
                Err(AddressError::Refused { cause, .. })
                    if cause.raw_os_error() == Some(libc::EBUSY) =>
                {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    };
    let answer = tokio::time::timeout(REQUEST_LIMIT, asking).await;
    answer.unwrap_or_else(|_| Err(AddressError::NoAnswer { attempt: attempt.to_owned() }))
}

fn refused(attempt: &str, error: rtnetlink::Error) -> AddressError {
    let cause = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    };
    AddressError::Refused { attempt: attempt.to_owned(), cause }
}

/// `promote_secondaries` switched on for one interface, and back when dropped: while it is on, the
/// kernel keeps the other addresses of a subnet, and the routes over them, when the first one is
/// deleted. Where the sysctl can't be written, they are put back afterwards instead.
struct Promotion {
    restore: Option<(PathBuf, String)>,
}

impl Promotion {
    fn begin(interface: &str) -> Self {
        let path: PathBuf =
            ["/proc/sys/net/ipv4/conf", interface, "promote_secondaries"].iter().collect();
        let old = std::fs::read_to_string(&path).ok().filter(|value| value.trim() == "0");
        let switched = old.filter(|_| std::fs::write(&path, "1").is_ok());
        Self { restore: switched.map(|value| (path, value)) }
    }
}

impl Drop for Promotion {
    fn drop(&mut self) {
        if let Some((path, value)) = &self.restore {
            // Left on, it does no harm: systemd's own default is on.
            let _ = std::fs::write(path, value);
        }
    }
}
