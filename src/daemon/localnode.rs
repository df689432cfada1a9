//! Keeps the rules of a director that is a real server itself in force: learns the hardware addresses
//! of the other real servers, and looks now and then whether everything is as it was left. What the
//! rules are for stands in `lvs::localnode`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use crate::config::{Config, ResourceKind};
use crate::daemon::hands::Hands;
use crate::kernel::addr::AddressError;
use crate::kernel::localnode::{self, Fellows};
use crate::kernel::nft::Seal;
use crate::kernel::{announce, lease};
use crate::lvs::localnode as lvs;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while a fellow's hardware address is not known, or something has failed.
const LOOK_SOON: Duration = Duration::from_secs(1);
/// Longest wait for a fellow's answer to ARP; it comes within a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// Most fellows that are asked for.
const FELLOWS_MAX: usize = 64;

/// Looks after the rules of a configuration until it is dropped.
pub(super) async fn watch(config: Rc<Config>, hands: Rc<Hands>) {
    let mut state = State::default();
    loop {
        let whole = state.look(&config, &hands).await.unwrap_or(false);
        sleep(if whole { LOOK_EVERY } else { LOOK_SOON }).await;
    }
}

/// Nothing of a director is left in the kernel.
pub(super) async fn end() {
    // Without nft there were no rules either.
    let _no_nft = localnode::end().await;
}

#[derive(Default)]
struct State {
    known: Fellows,
    /// The rules as they were left; `None`: nobody knows.
    left: Option<Seal>,
    /// Nothing of an earlier process is in force.
    swept: bool,
    told: Option<String>,
}

impl State {
    /// Whether every fellow is known, and the rules are in force.
    async fn look(&mut self, config: &Config, hands: &Hands) -> Result<bool, AddressError> {
        let own: BTreeSet<IpAddr> =
            hands.addresses().all().await?.into_iter().map(|(ip, ..)| ip).collect();
        let wanted = lvs::fellows(config.directors.values(), &own);
        if wanted.is_empty() && !self.swept {
            end().await;
        }
        let mut all_known = true;
        let mut found = Fellows::new();
        for (vip, fellows) in &wanted {
            let macs = self.learn(config, hands, (*vip, fellows)).await;
            all_known &= macs.len() >= fellows.others.len().min(FELLOWS_MAX);
            found.insert(*vip, (fellows.own, macs));
        }
        Ok(self.put(found).await && all_known)
    }

    /// The hardware addresses of the fellows; one that does not answer now is where it was.
    async fn learn(
        &self,
        config: &Config,
        hands: &Hands,
        (vip, fellows): (IpAddr, &lvs::Fellows),
    ) -> BTreeSet<[u8; 6]> {
        let mut macs = self.known.get(&vip).map(|(_, macs)| macs.clone()).unwrap_or_default();
        let resources = config.groups.iter().flat_map(|group| &group.resources);
        let address = resources.into_iter().find_map(|resource| match &resource.kind {
            ResourceKind::Address(address) if address.ip == vip => Some(address),
            _ => None,
        });
        let Some(address) = address else { return macs };
        let Ok(placement) = hands.addresses().place(address).await else { return macs };
        for other in fellows.others.iter().take(FELLOWS_MAX) {
            let question = (fellows.own, *other);
            if let Ok(Some(mac)) = announce::neighbour(&placement, question, ANSWER_LIMIT).await {
                macs.insert(mac);
            }
        }
        macs
    }

    /// Puts the rules in force where they are not as they were left.
    async fn put(&mut self, found: Fellows) -> bool {
        if found.is_empty() && self.known.is_empty() {
            self.swept = true;
            return true;
        }
        let same = found == self.known
            && matches!((&self.left, localnode::look().await), (Some(left), Ok(now)) if *left == now);
        // A new table of the lease knows none.
        lease::admit(found.values().flat_map(|(_, macs)| macs)).await;
        if same {
            return true;
        }
        match localnode::put(&found).await {
            Ok(()) => {
                self.left = localnode::look().await.ok();
                self.swept = self.left.is_some();
                for (vip, (_, macs)) in &found {
                    info!(
                        "{vip}: what comes from {} other real servers is for this one",
                        macs.len()
                    );
                }
                self.known = found;
                self.told = None;
                true
            }
            Err(why) => {
                let why = why.to_string();
                if self.told.as_ref() != Some(&why) {
                    warn!(
                        "packets may be balanced twice, this director being a real server: {why}"
                    );
                }
                self.told = Some(why);
                false
            }
        }
    }
}
