//! Carries out the core's orders about addresses and scripts.
//!
//! One call is one order: it comes back with the outcome within the resource's time limit, and an
//! order that is already fulfilled succeeds without touching anything. It decides nothing: what a
//! failure means, and what follows, is the core's. Directors are not run here.
//!
//! Below: [`crate::kernel::addr`], [`crate::kernel::announce`], [`crate::exec::script`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tracing::{error, warn};

use crate::cluster::Monitor;
use crate::cluster::event::{Manner, Operation, Outcome, Verdict};
use crate::config::{Address, Resource, ResourceKind, Script};
use crate::daemon::chronicle::{self, Tell};
use crate::daemon::notices::{self, Notices};
use crate::exec::script::{self, Surroundings};
use crate::journal::Happening;
use crate::kernel::addr::{AddressError, Addresses, Placement};
use crate::kernel::announce::{self, Announcement, Confirmation};
use crate::kernel::handover;
use crate::net::frames::{Mac, mac_text};

/// How long a start waits for the gateway to confirm. It answers within a millisecond, or not at
/// all; unconfirmed is a note, not a failure.
pub const CONFIRM_LIMIT: Duration = Duration::from_millis(100);

/// How long a rival may take to answer two probes. Nobody waits for it.
const RIVAL_LIMIT: Duration = Duration::from_millis(200);

/// A virtual IP that was started here, as status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAddress {
    /// The VIP.
    pub ip: IpAddr,
    /// Its interface.
    pub interface: String,
    /// Its prefix length.
    pub prefix: u8,
    /// Which announce target has learned it, since the last beginning of the announcement.
    pub confirmed: Option<Confirmation>,
    /// Another station that claims it: after a takeover usually the peer, whose kernel outlived
    /// its core. The newest one wins over the one that was found at the start.
    pub rival: Option<Mac>,
    /// Why it can't be announced at present.
    pub fault: Option<String>,
}

/// What is kept for a held address; the address itself is the kernel's.
#[derive(Debug)]
struct Holding {
    placement: Placement,
    announcement: Announcement,
    rival: Arc<OnceLock<Mac>>,
}

/// Starts and stops addresses and scripts on this node.
#[derive(Debug)]
pub struct Hands {
    addresses: Addresses,
    surroundings: Surroundings,
    notices: Notices,
    holdings: Mutex<BTreeMap<IpAddr, Holding>>,
    tell: Told,
}

/// Whom to tell what happens.
struct Told(Tell);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Hands {
    /// Hands for the network namespace of the calling thread; call inside a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError::Open`].
    pub fn new(surroundings: Surroundings) -> Result<Self, AddressError> {
        Self::telling(surroundings, chronicle::log_only())
    }

    /// The same; what happens to the addresses is told there, and not only to the log.
    pub(crate) fn telling(surroundings: Surroundings, tell: Tell) -> Result<Self, AddressError> {
        let addresses = Addresses::open()?;
        let notices = Notices::default();
        Ok(Self { addresses, surroundings, notices, holdings: Mutex::default(), tell: Told(tell) })
    }

    /// Something happened to an address.
    pub(crate) fn tell(&self, what: Happening) {
        (self.tell.0)(what);
    }

    /// The addresses of this node, to look at.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Carries out one order. `Done` means that the resource is as ordered, whoever made it so.
    ///
    /// Starting an address that is held and announced already only puts it back if it is missing,
    /// so that the same order repairs.
    pub async fn perform(
        &self,
        resource: &Resource,
        operation: Operation,
        manner: Manner,
    ) -> Outcome {
        let limit = match operation {
            Operation::Start => resource.start_timeout,
            Operation::Stop => resource.stop_timeout,
        };
        match (&resource.kind, operation) {
            (ResourceKind::Address(address), Operation::Start) => {
                speak(address.ip).await;
                in_time(resource, limit, self.start_address(address, manner)).await
            }
            (ResourceKind::Address(address), Operation::Stop) => {
                let outcome = in_time(resource, limit, self.stop_address(address)).await;
                speak(address.ip).await;
                outcome
            }
            // These keep the limit by themselves: their children must be ended in order.
            (ResourceKind::Script(program), Operation::Start) => {
                script::start(program, &self.surroundings, limit).await
            }
            (ResourceKind::Script(program), Operation::Stop) => {
                script::stop(program, &self.surroundings, limit).await
            }
            (ResourceKind::Announce(address), operation) => {
                let order = self.notices.announce(&self.addresses, (address, operation));
                in_time(resource, limit, order).await
            }
            (ResourceKind::Mail(mail), operation) => {
                notices::mail(mail, &self.surroundings.node, operation)
            }
            (ResourceKind::Director(name), _) => {
                Outcome::Failed(format!("director {name} is not run by these hands"))
            }
            (ResourceKind::Sync(_), _) => {
                Outcome::Failed("connection sync is not run by these hands".to_owned())
            }
        }
    }

    /// Looks whether a program's resource is still up.
    pub async fn monitor(&self, program: &Script, monitor: &Monitor) -> Verdict {
        let times = (monitor.timeout, monitor.interval);
        script::monitor(program, &self.surroundings, times).await
    }

    /// Removes virtual IPs that an earlier life left behind; what remains held is in the errors.
    /// Call before the first beat: a node that is not owner has none.
    pub async fn sweep(&self, addresses: &[IpAddr]) -> Vec<AddressError> {
        let mut errors = Vec::new();
        for ip in addresses {
            match self.addresses.remove(*ip).await {
                Ok(0) => {}
                Ok(_) => self.tell(Happening::StrayRemoved { ip: *ip }),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Announces a held address again, from the beginning of the schedule; nothing if it is not
    /// held.
    pub fn announce_again(&self, ip: IpAddr) {
        if let Some(holding) = self.holdings().get(&ip) {
            holding.announcement.again();
        }
    }

    /// The addresses that were started here.
    pub fn held(&self) -> Vec<HeldAddress> {
        let shown = |(ip, holding): (&IpAddr, &Holding)| {
            let news = holding.announcement.news().borrow().clone();
            HeldAddress {
                ip: *ip,
                interface: holding.placement.interface.clone(),
                prefix: holding.placement.prefix,
                confirmed: news.confirmed,
                rival: news.rival.or_else(|| holding.rival.get().copied()),
                fault: news.fault,
            }
        };
        self.holdings().iter().map(shown).collect()
    }

    async fn start_address(&self, address: &Address, manner: Manner) -> Outcome {
        let ip = address.ip;
        let added = match self.addresses.add(address).await {
            Ok(added) => added,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        if self.still_announced(ip, &added.placement, added.new) {
            return Outcome::Done;
        }
        let targets = self.targets(&added.placement).await;
        let rival = Arc::new(OnceLock::new());
        let announcement = match Announcement::begin(ip, &added.placement, &targets) {
            Ok(announcement) => announcement,
            Err(error) => return self.unannounced(address, &error.to_string()).await,
        };
        let news = announcement.news();
        let looking = Arc::downgrade(&rival);
        let holding = Holding { placement: added.placement.clone(), announcement, rival };
        self.holdings().insert(ip, holding);
        if manner == Manner::Alone {
            let tell = Arc::clone(&self.tell.0);
            tokio::spawn(look_for_rival(added.placement.clone(), ip, (looking, tell)));
        }
        if targets.iter().any(|target| target.is_ipv4() == ip.is_ipv4()) {
            self.tell(confirmation(ip, &added.placement, news).await);
        }
        Outcome::Done
    }

    /// Whether the address only had to be looked at; when it had to be put back, it is announced
    /// again.
    fn still_announced(&self, ip: IpAddr, placement: &Placement, new: bool) -> bool {
        let mut holdings = self.holdings();
        let Some(holding) = holdings.get(&ip) else { return false };
        let same = (holding.placement.ifindex, holding.placement.mac)
            == (placement.ifindex, placement.mac);
        if !same {
            // The interface was made anew or changed its hardware address.
            holdings.remove(&ip);
            return false;
        }
        if new {
            let interface = placement.interface.clone();
            self.tell(Happening::AddressRestored { ip, interface });
            holding.announcement.again();
        }
        true
    }

    /// An address that nobody hears of is no use: it is not left behind.
    async fn unannounced(&self, address: &Address, why: &str) -> Outcome {
        match self.withdraw(address).await {
            Ok(_) => Outcome::Failed(why.to_owned()),
            Err(error) => Outcome::Failed(format!("{why}; {error}")),
        }
    }

    async fn stop_address(&self, address: &Address) -> Outcome {
        self.hush(address.ip).await;
        match self.withdraw(address).await {
            Ok(_) => Outcome::Done,
            // The VIP itself is gone, and the peer may have it.
            Err(error @ AddressError::Neighbours { .. }) => {
                error!(ip = %address.ip, %error, "other addresses were lost");
                Outcome::Done
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }

    /// Ends the announcement of an address that stays for a moment: the peer announces it now.
    pub async fn hush(&self, ip: IpAddr) {
        // The lock must not be held while waiting.
        let holding = self.holdings().remove(&ip);
        if let Some(holding) = holding {
            holding.announcement.stop().await;
        }
    }

    async fn withdraw(&self, address: &Address) -> Result<usize, AddressError> {
        let removed = self.addresses.remove(address.ip).await?;
        match address.interface.as_deref() {
            // Otherwise what is on the loopback is not ours.
            Some("lo") => Ok(removed + self.addresses.remove_at(address.ip, "lo").await?),
            _ => Ok(removed),
        }
    }

    async fn targets(&self, placement: &Placement) -> Vec<IpAddr> {
        self.addresses.gateways(placement.ifindex).await.unwrap_or_else(|error| {
            // The gratuitous announcement needs none.
            warn!(interface = %placement.interface, %error, "gateways are not known");
            Vec::new()
        })
    }

    fn holdings(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Holding>> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what a planned switch has left, however it ended: who holds the address next answers for it.
async fn speak(ip: IpAddr) {
    if let Err(error) = handover::speak(ip).await {
        error!(%ip, %error, "nobody may be told where it is");
    }
}

/// Dropping the order half-way is safe: all requests go through one netlink socket in their order,
/// so that a later order also comes later to the kernel.
async fn in_time(
    resource: &Resource,
    limit: Duration,
    order: impl Future<Output = Outcome>,
) -> Outcome {
    tokio::time::timeout(limit, order).await.unwrap_or_else(|_| {
        Outcome::Failed(format!("{} took longer than {} s", resource.text, limit.as_secs_f32()))
    })
}

async fn confirmation(
    ip: IpAddr,
    placement: &Placement,
    mut news: tokio::sync::watch::Receiver<announce::News>,
) -> Happening {
    let confirmed = news.wait_for(|news| news.confirmed.is_some());
    let confirmed = tokio::time::timeout(CONFIRM_LIMIT, confirmed).await;
    let interface = placement.interface.clone();
    match confirmed.ok().and_then(|seen| seen.ok()?.confirmed) {
        Some(Confirmation { by, after }) => {
            let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            Happening::AddressConfirmed { ip, interface, by, after_us }
        }
        None => Happening::AddressUnconfirmed { ip, interface },
    }
}

/// A rival does not prevent the start: a peer whose core is dead may have a kernel that still
/// answers, and that is when we are needed.
async fn look_for_rival(
    placement: Placement,
    ip: IpAddr,
    (found, tell): (Weak<OnceLock<Mac>>, Tell),
) {
    let interface = &placement.interface;
    let rival = announce::rival(&placement, ip, RIVAL_LIMIT).await;
    // The address is no longer held: the answer was that of its new holder.
    let Some(found) = found.upgrade() else { return };
    match rival {
        Ok(None) => {}
        Ok(Some(mac)) => {
            let interface = interface.clone();
            tell(Happening::RivalSeen { ip, interface, mac: mac_text(mac) });
            // Set once, here.
            let _ = found.set(mac);
        }
        Err(error) => warn!(%ip, interface, %error, "can't look for a rival"),
    }
}
