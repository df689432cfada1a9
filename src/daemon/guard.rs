//! Puts the VIP lease in force at the start and takes it back at the end.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tracing::{info, warn};

use crate::config::{Config, ResourceKind};
use crate::daemon::beat::Pulse;
use crate::daemon::hands::Hands;
use crate::kernel::addr::AddressError;
use crate::kernel::lease::{self, Guarded, Lease};

/// The guard as it was begun.
pub(super) struct Begun {
    /// For the status: what it is, or why there is none.
    pub(super) words: String,
    /// What keeps it up, on the beat thread.
    pub(super) pulse: Option<Pulse>,
    /// Whether it holds for every VIP.
    pub(super) whole: bool,
}

impl Begun {
    fn none(words: String) -> Self {
        Self { words, pulse: None, whole: false }
    }
}

/// Begins the lease of every VIP whose interface is known. What it says is for the status; where
/// nothing guards the VIPs, that is the reason. Those that are `lit` are in service all the time.
pub(super) async fn begin(config: &Config, hands: &Hands, lit: &BTreeSet<IpAddr>) -> Begun {
    let guarded = guarded(config, hands).await;
    if guarded.is_empty() {
        end().await;
        return Begun::none("none: no virtual IP with a known interface".to_owned());
    }
    let length = Lease::length(config.timing.deadtime);
    match Lease::begin(&guarded, (length, lit)).await {
        Ok(lease) => {
            info!(
                "the kernel takes the VIPs out of service {} ms after our end",
                length.as_millis()
            );
            let every = lease.every();
            let lease = Arc::new(lease);
            let last = Arc::clone(&lease);
            let pulse = Pulse {
                every,
                call: Box::new(move |_| lease.tick()),
                last: Box::new(move || last.hold()),
            };
            let whole = guarded.len() == config.addresses().count();
            let words = format!("lease of {} ms", length.as_millis());
            Begun { words, pulse: Some(pulse), whole }
        }
        Err(why) => {
            // One of an earlier life would keep the VIPs dark.
            end().await;
            warn!("no lease: a killed node goes on to answer for its VIPs: {why}");
            Begun::none(format!("none: {why}"))
        }
    }
}

/// Nothing is held any more.
pub(super) async fn end() {
    // Without nft there was no lease either.
    let _no_nft = lease::end().await;
}

async fn guarded(config: &Config, hands: &Hands) -> Guarded {
    let resources = config.groups.iter().flat_map(|group| &group.resources);
    let addresses = resources.filter_map(|resource| match &resource.kind {
        ResourceKind::Address(address) => Some(address),
        ResourceKind::Director(_)
        | ResourceKind::Script(_)
        | ResourceKind::Announce(_)
        | ResourceKind::Mail(_) => None,
    });
    let mut guarded = Guarded::new();
    for address in addresses {
        match hands.addresses().place(address).await {
            Ok(placement) => {
                guarded.insert(address.ip, placement.interface);
            }
            // As written: it may be down only for now.
            Err(e) => match &address.interface {
                Some(interface) if !matches!(e, AddressError::NoInterface { .. }) => {
                    guarded.insert(address.ip, interface.clone());
                }
                _ => warn!("{} is not guarded: {e}", address.ip),
            },
        }
    }
    guarded
}
