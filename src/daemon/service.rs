//! Looks at the service LAN for the cluster: is our own way there open, and who answers there for a
//! group's addresses.
//!
//! It decides nothing: what it sees goes to the beat thread. Below: [`crate::kernel::addr`] knows the
//! interfaces, [`crate::kernel::announce`] asks the LAN.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use ipnet::IpNet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::cluster::event::{Input, LanAnswer, ServiceLink};
use crate::config::{Address, Config};
use crate::daemon::beat::{Order, Orders};
use crate::daemon::hands::Hands;
use crate::daemon::work;
use crate::kernel::addr::{AddressError, Placement};
use crate::kernel::announce;
use crate::names::{ActionId, GroupId};
use crate::net::frames::Mac;

/// From one look at the interfaces to the next: a peer with a good link is to have the group within
/// a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the LAN may take to answer: two probes 20 ms apart, and the time of a loaded peer.
const ANSWER_LIMIT: Duration = Duration::from_millis(50);
/// Most addresses of a group that the LAN is asked for: they move together, and one of them that is
/// served tells as much as all.
const PROBED_MAX: usize = 8;

/// What is known of the interface that an address belongs on.
#[derive(Debug, Default)]
struct Known {
    /// Looked up once: a route that names no interface is gone when the interface is down.
    ifindex: Option<u32>,
    /// What was seen last.
    link: Option<ServiceLink>,
    /// Whether the kernel did not answer the last look.
    silent: bool,
}

impl Known {
    /// What counts now; a kernel that does not answer says nothing about the link. `None`: it has
    /// never been seen.
    fn see(&mut self, ip: IpAddr, seen: Result<ServiceLink, AddressError>) -> Option<ServiceLink> {
        match seen {
            Ok(link) => (self.silent, self.link) = (false, Some(link)),
            Err(error) => {
                if !std::mem::replace(&mut self.silent, true) {
                    warn!("{ip}: its link is taken to be as it was: {error}");
                }
            }
        }
        self.link
    }
}

/// Tells the cluster whenever a group's service link comes or goes. Runs until it is dropped.
pub(super) async fn watch(config: Rc<Config>, hands: Rc<Hands>, orders: Orders) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: BTreeMap<IpAddr, Known> = BTreeMap::new();
    let mut told: BTreeMap<GroupId, ServiceLink> = BTreeMap::new();
    loop {
        look.tick().await;
        for group in work::ids(&config) {
            let mut links = Vec::new();
            for address in work::addresses(&config, group) {
                let known = known.entry(address.ip).or_default();
                let seen = state(address, &hands, &mut known.ifindex).await;
                links.push(known.see(address.ip, seen));
            }
            let Some(link) = together(&links) else { continue };
            let news = told.get(&group).is_none_or(|before| *before != link);
            // Full: said at the next look.
            if news && orders.push(Order::Core(Input::Service { group, link })).is_ok() {
                told.insert(group, link);
            }
        }
    }
}

/// The link of a group, by those of its addresses. `None`: nobody knows, and what the cluster has
/// been told before goes on to count.
fn together(links: &[Option<ServiceLink>]) -> Option<ServiceLink> {
    let seen = links.iter().flatten().copied().fold(ServiceLink::Unknown, worse);
    let all_seen = links.iter().all(Option::is_some);
    (all_seen || seen == ServiceLink::Down).then_some(seen)
}

fn worse(one: ServiceLink, other: ServiceLink) -> ServiceLink {
    match (one, other) {
        (ServiceLink::Down, _) | (_, ServiceLink::Down) => ServiceLink::Down,
        (ServiceLink::Up, _) | (_, ServiceLink::Up) => ServiceLink::Up,
        (ServiceLink::Unknown, ServiceLink::Unknown) => ServiceLink::Unknown,
    }
}

/// One address's interface.
///
/// # Errors
/// The kernel does not say.
async fn state(
    address: &Address,
    hands: &Hands,
    ifindex: &mut Option<u32>,
) -> Result<ServiceLink, AddressError> {
    let link = |carrier| if carrier { ServiceLink::Up } else { ServiceLink::Down };
    if let Some(index) = *ifindex
        && let Some(carrier) = hands.addresses().carrier(index).await?
    {
        return Ok(link(carrier));
    }
    match hands.addresses().place(address).await {
        Ok(placement) => {
            *ifindex = Some(placement.ifindex);
            let carrier = hands.addresses().carrier(placement.ifindex).await?;
            // Gone in between.
            Ok(carrier.map_or(ServiceLink::Down, link))
        }
        Err(AddressError::NoInterface { .. } | AddressError::Down { .. }) => Ok(ServiceLink::Down),
        // Made anew without its networks, or never there.
        Err(AddressError::NoRoute { .. }) if ifindex.is_some() => Ok(ServiceLink::Down),
        Err(error @ (AddressError::Refused { .. } | AddressError::NoAnswer { .. })) => Err(error),
        Err(_) => Ok(ServiceLink::Unknown),
    }
}

/// Asks the LAN who answers for a group's addresses.
pub(super) async fn probe(
    config: &Config,
    hands: &Hands,
    (order, group, peer): (ActionId, GroupId, Option<IpAddr>),
) -> Input {
    let addresses: Vec<&Address> = work::addresses(config, group).take(PROBED_MAX).collect();
    // What it has told us, and where its heartbeats are to come from; our own there do not answer.
    let configured = config.links.iter().flat_map(|link| link.targets().iter().copied());
    let peers: Vec<IpAddr> = peer.into_iter().chain(configured).collect();
    let answers = join_all(addresses.iter().map(|address| ask(address, hands, &peers))).await;
    let answer = answers.into_iter().fold(LanAnswer::Unknown, stronger);
    Input::Probed { order, answer }
}

/// What counts of two answers.
fn stronger(one: LanAnswer, other: LanAnswer) -> LanAnswer {
    let weight = |answer| match answer {
        LanAnswer::Unknown => 0,
        LanAnswer::Free => 1,
        LanAnswer::Stranger => 2,
        LanAnswer::Served => 3,
    };
    if weight(other) > weight(one) { other } else { one }
}

async fn ask(address: &Address, hands: &Hands, peers: &[IpAddr]) -> LanAnswer {
    let Ok(placement) = hands.addresses().place(address).await else { return LanAnswer::Unknown };
    let near = peers.iter().filter(|peer| on_link(**peer, &placement));
    let near: Vec<&IpAddr> = near.take(PROBED_MAX).collect();
    let own = near.iter().map(|peer| announce::rival(&placement, **peer, ANSWER_LIMIT));
    let (holder, own) =
        tokio::join!(announce::rival(&placement, address.ip, ANSWER_LIMIT), join_all(own));
    let own: Vec<Mac> = own.into_iter().filter_map(|found| found.ok().flatten()).collect();
    holder.map_or(LanAnswer::Unknown, |holder| judge(holder, !near.is_empty(), &own))
}

/// Whether an address is one of the LAN that the VIP is on, so that its silence says something.
fn on_link(ip: IpAddr, placement: &Placement) -> bool {
    let lan = placement.source.and_then(|own| IpNet::new(own, placement.prefix).ok());
    lan.is_some_and(|lan| lan.contains(&ip))
}

/// Whose the answer is. Where the peer's own address is not known, whoever answers may be the peer.
fn judge(holder: Option<Mac>, known: bool, peer: &[Mac]) -> LanAnswer {
    match holder {
        None => LanAnswer::Free,
        Some(mac) if !known || peer.contains(&mac) => LanAnswer::Served,
        Some(_) => LanAnswer::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Mac = [2, 0, 0, 0, 0, 1];
    const TWO: Mac = [2, 0, 0, 0, 0, 2];

    #[test]
    fn an_answer_is_the_peers_when_it_comes_from_where_the_peers_own_address_is() {
        assert_eq!(judge(None, true, &[ONE]), LanAnswer::Free);
        assert_eq!(judge(Some(ONE), true, &[TWO, ONE]), LanAnswer::Served);
        assert_eq!(judge(Some(ONE), true, &[TWO]), LanAnswer::Stranger);
        assert_eq!(judge(Some(ONE), true, &[]), LanAnswer::Stranger);
        assert_eq!(judge(Some(ONE), false, &[]), LanAnswer::Served);
    }

    #[test]
    fn one_address_that_is_served_or_cut_off_speaks_for_its_group() {
        assert_eq!(stronger(LanAnswer::Free, LanAnswer::Served), LanAnswer::Served);
        assert_eq!(stronger(LanAnswer::Stranger, LanAnswer::Free), LanAnswer::Stranger);
        assert_eq!(stronger(LanAnswer::Unknown, LanAnswer::Free), LanAnswer::Free);
        assert_eq!(worse(ServiceLink::Up, ServiceLink::Down), ServiceLink::Down);
        assert_eq!(worse(ServiceLink::Unknown, ServiceLink::Up), ServiceLink::Up);
    }

    #[test]
    fn a_kernel_that_does_not_answer_changes_nothing_of_what_is_known_of_a_link() {
        let ip: IpAddr = "192.168.2.110".parse().unwrap();
        let silence = || Err(AddressError::NoAnswer { attempt: "look".to_owned() });
        let mut known = Known::default();
        assert_eq!(known.see(ip, silence()), None, "never seen");
        for link in [ServiceLink::Down, ServiceLink::Up] {
            assert_eq!(known.see(ip, Ok(link)), Some(link));
            assert_eq!(known.see(ip, silence()), Some(link));
            assert_eq!(known.see(ip, silence()), Some(link));
        }
    }

    #[test]
    fn a_group_is_cut_off_by_one_address_whatever_is_not_known_of_the_others() {
        let (up, down) = (Some(ServiceLink::Up), Some(ServiceLink::Down));
        assert_eq!(together(&[None, down]), down);
        assert_eq!(together(&[up, up]), up);
        assert_eq!(together(&[up, None]), None, "the other one may have been down");
        assert_eq!(together(&[]), Some(ServiceLink::Unknown), "a group without addresses");
    }
}
