//! Keeps the VIP lease in force: for interfaces that come later or are made anew, and after others
//! have removed its rules.
//!
//! ```text
//!   start: rules in force, VIPs dark until the first tick ---> [watch]
//!   [watch] --an interface or the table has changed, or now and then--> look
//!   look: as it was left -> nothing;  otherwise -> put back, the living owner served all the while
//! ```
//!
//! It decides nothing about groups: what it says is for the status, and for the cluster, which
//! tells its peer whether a killed node goes on to answer here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::cluster::event::Input;
use crate::config::{Address, Config};
use crate::daemon::beat::{Order, Orders, Pulse};
use crate::daemon::hands::Hands;
use crate::daemon::work;
use crate::journal::Happening;
use crate::kernel::addr::AddressError;
use crate::kernel::changes::Changes;
use crate::kernel::lease::{self, Guarded, Lease, LeaseError};
use crate::kernel::nft::Seal;
use crate::status::GuardStatus;

/// From one look to the next where no change wakes us: what was missed is found then.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same where the kernel can't wake us, or something is missing.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// From a change to the look at it: changes come in bursts, and a look starts a program.
const SETTLE: Duration = Duration::from_millis(50);

/// The guard of this node's VIPs.
#[derive(Debug)]
pub(super) struct Guard {
    standing: Rc<RefCell<Standing>>,
    watch: JoinHandle<()>,
}

/// How it stands, for the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    guarded: Guarded,
    /// Why a VIP is not guarded.
    bare: BTreeMap<IpAddr, String>,
    length: Duration,
}

impl Standing {
    /// In a few words, and for each VIP.
    pub(crate) fn status(&self) -> (String, Vec<GuardStatus>) {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        let leased = self.guarded.iter().map(|(ip, interface)| GuardStatus {
            ip: *ip,
            kind: "lease".to_owned(),
            interface: Some(interface.clone()),
            limit_ms: Some(millis),
            why: None,
        });
        let bare = self.bare.iter().map(|(ip, why)| GuardStatus {
            ip: *ip,
            kind: "none".to_owned(),
            interface: None,
            limit_ms: None,
            why: Some(why.clone()),
        });
        let words = match (self.guarded.is_empty(), self.bare.iter().next()) {
            (false, None) => format!("lease of {millis} ms"),
            (false, Some((ip, why))) => format!("lease of {millis} ms, but not of {ip}: {why}"),
            (true, Some((_, why))) => format!("none: {why}"),
            (true, None) => "none: there is no virtual IP".to_owned(),
        };
        (words, leased.chain(bare).collect())
    }
}

/// Begins at the start: the VIPs are dark until the first tick, but for those that are `lit`, which an
/// earlier process has left in service. Spawn the watch with [`Watch::begin`] when the beat thread
/// runs.
pub(super) async fn prepare(
    config: &Rc<Config>,
    hands: &Rc<Hands>,
    lit: &BTreeSet<IpAddr>,
) -> (Watch, Option<Pulse>) {
    let mut watch = Watch::new(config, hands);
    let places = watch.places().await;
    watch.put(places, Manner::Start(lit)).await;
    (watch, pulse(config))
}

/// The same while VIPs may be held.
pub(super) fn replace(config: &Rc<Config>, hands: &Rc<Hands>) -> (Watch, Option<Pulse>) {
    (Watch::new(config, hands), pulse(config))
}

/// What says on the beat thread that we are alive.
fn pulse(config: &Config) -> Option<Pulse> {
    match Lease::open(Lease::length(config.timing.deadtime)) {
        Ok(lease) => {
            let (every, lease) = (lease.every(), Arc::new(lease));
            let last = Arc::clone(&lease);
            Some(Pulse {
                every,
                call: Box::new(move |_| lease.tick()),
                last: Box::new(move || last.hold()),
            })
        }
        Err(why) => {
            warn!("{why}");
            None
        }
    }
}

impl Guard {
    /// Ends the watch; what is in force stays.
    pub(super) fn rest(&self) {
        self.watch.abort();
    }

    /// Nothing is held any more.
    pub(super) async fn end(&self) {
        self.watch.abort();
        // Without nft there was no lease either.
        let _no_nft = lease::end().await;
    }

    /// How it stands now.
    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }
}

/// How rules come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner<'a> {
    /// Nothing is served but these.
    Start(&'a BTreeSet<IpAddr>),
    /// A living owner must not notice.
    Again,
}

/// Where the VIPs are.
#[derive(Debug, Default)]
struct Places {
    /// Those whose interface is there.
    guarded: Guarded,
    /// Why the others can't be guarded.
    bare: BTreeMap<IpAddr, String>,
}

/// What keeps the rules in force.
#[derive(Debug)]
pub(super) struct Watch {
    config: Rc<Config>,
    hands: Rc<Hands>,
    /// The interfaces of VIPs that were once known: a route that names none is gone when the
    /// interface is down.
    known: BTreeMap<IpAddr, String>,
    /// The rules as they were left.
    seal: Option<Seal>,
    standing: Rc<RefCell<Standing>>,
    /// The last thing that was told of it, so that it is told once.
    missing: Option<String>,
}

impl Watch {
    fn new(config: &Rc<Config>, hands: &Rc<Hands>) -> Self {
        let length = Lease::length(config.timing.deadtime);
        let standing = Standing { length, ..Standing::default() };
        Self {
            config: Rc::clone(config),
            hands: Rc::clone(hands),
            known: BTreeMap::new(),
            seal: None,
            standing: Rc::new(RefCell::new(standing)),
            missing: None,
        }
    }

    /// Whether every VIP is guarded.
    fn whole(&self) -> bool {
        let standing = self.standing.borrow();
        standing.bare.is_empty() && !standing.guarded.is_empty()
    }

    /// Watches from now on.
    pub(super) fn begin(self, orders: Orders) -> Guard {
        let standing = Rc::clone(&self.standing);
        Guard { standing, watch: tokio::task::spawn_local(self.run(orders)) }
    }

    async fn run(mut self, orders: Orders) {
        let changes = Changes::open(lease::TABLE_NAME).ok();
        let mut told = None;
        if self.seal.is_none() {
            self.look().await;
        }
        loop {
            let whole = self.whole();
            // Full: said after the next look.
            if told != Some(whole) && orders.push(Order::Core(Input::Guarded(whole))).is_ok() {
                told = Some(whole);
            }
            let pause = if whole && changes.is_some() { LOOK_EVERY } else { LOOK_SOON };
            match &changes {
                Some(changes) => drop(timeout(pause, changes.next()).await),
                None => sleep(pause).await,
            }
            sleep(SETTLE).await;
            self.look().await;
        }
    }

    /// Puts back what is not as it was left, and puts in force what has become possible.
    async fn look(&mut self) {
        let places = self.places().await;
        let same = self.standing.borrow().guarded == places.guarded;
        if same && let Some(seal) = &self.seal {
            // Nobody knows: what was in force is left alone.
            if lease::look().await.is_ok_and(|found| found != *seal) {
                self.put(places, Manner::Again).await;
                if self.seal.is_some() {
                    self.hands.tell(Happening::GuardRestored);
                }
            } else {
                self.standing.borrow_mut().bare = places.bare;
            }
            return;
        }
        self.put(places, Manner::Again).await;
    }

    async fn put(&mut self, places: Places, manner: Manner<'_>) {
        let guarded = &places.guarded;
        let length = Lease::length(self.config.timing.deadtime);
        let seal = match manner {
            _ if guarded.is_empty() => Ok(None),
            Manner::Start(lit) => lease::begin(guarded, (length, lit)).await.map(Some),
            Manner::Again => lease::renew(guarded, length).await.map(Some),
        };
        if !matches!(seal, Ok(Some(_))) {
            // One of an earlier life would keep the VIPs dark.
            let _no_nft = lease::end().await;
        }
        self.stands(places, seal);
    }

    fn stands(&mut self, places: Places, seal: Result<Option<Seal>, LeaseError>) {
        let Places { guarded, mut bare } = places;
        let mut standing = self.standing.borrow_mut();
        let why = seal.as_ref().err().map(ToString::to_string);
        let guarded = match &why {
            None => guarded,
            Some(why) => {
                bare.extend(guarded.into_keys().map(|ip| (ip, why.clone())));
                Guarded::new()
            }
        };
        if standing.guarded.is_empty() && !guarded.is_empty() {
            let millis = standing.length.as_millis();
            info!("the kernel takes the VIPs out of service {millis} ms after our end");
        }
        (standing.guarded, standing.bare) = (guarded, bare);
        self.seal = seal.ok().flatten();
        // Told once, however often it is tried.
        if why != self.missing {
            if let Some(why) = &why {
                self.hands.tell(Happening::GuardMissing { why: why.clone() });
            }
            self.missing = why;
        }
    }

    async fn places(&mut self) -> Places {
        let config = Rc::clone(&self.config);
        let mut places = Places::default();
        for address in work::ids(&config).flat_map(|group| work::addresses(&config, group)) {
            match self.place(address).await {
                Ok(interface) => drop(places.guarded.insert(address.ip, interface)),
                Err(why) => drop(places.bare.insert(address.ip, why.to_string())),
            }
        }
        places
    }

    async fn place(&mut self, address: &Address) -> Result<String, AddressError> {
        let addresses = self.hands.addresses();
        let why = match addresses.place(address).await {
            Ok(placement) => {
                self.known.insert(address.ip, placement.interface.clone());
                return Ok(placement.interface);
            }
            Err(why) => why,
        };
        let known = address.interface.clone().or_else(|| self.known.get(&address.ip).cloned());
        match known {
            // It may be down only for now.
            Some(interface) if addresses.exists(&interface).await? => Ok(interface),
            _ => Err(why),
        }
    }
}
