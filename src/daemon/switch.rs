//! An address in a planned switch: the director is warm first, and connections that are open at
//! that moment end where they began (see `kernel::handover`).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::cluster::event::{Manner, Operation, Outcome};
use crate::config::{Config, Resource};
use crate::daemon::director::DirectorHandle;
use crate::daemon::hands::Hands;
use crate::kernel::handover::{self, PassOn};

/// Longest wait for the director to have verdicts and a programmed table before it counts as
/// started: servers that have not answered by then are out, and the sorry server is in.
pub(super) const WARM_MAX: Duration = Duration::from_secs(5);
/// How long connections that were open at the switch may go on at the old holder.
const DRAIN: Duration = Duration::from_secs(1);
/// The same with connection sync: what was opened last is told within that time, and the new holder
/// goes on with it then.
const DRAIN_SYNC: Duration = Duration::from_secs(4);
/// How much longer than the drain the new holder passes packets on: time for the old one to begin.
const PASS_ON_MORE: Duration = Duration::from_secs(2);

/// One address of a group with a director, on its way from one node to the other.
pub(super) struct Switch<'a> {
    pub(super) hands: &'a Hands,
    pub(super) director: &'a DirectorHandle,
    pub(super) resource: &'a Resource,
    pub(super) ip: IpAddr,
    /// Every address of the group. They move together, and drain together.
    pub(super) group: Vec<IpAddr>,
    /// Whether the others learn of the connections here.
    pub(super) synced: bool,
}

/// How long the old holder keeps its addresses.
fn drain(synced: bool) -> Duration {
    if synced { DRAIN_SYNC } else { DRAIN }
}

/// How long after a switch the new holder passes packets on. The sync changes its direction then,
/// and not before: see `daemon::sync`.
pub(super) fn pass_on(synced: bool) -> Duration {
    drain(synced) + PASS_ON_MORE
}

impl Switch<'_> {
    /// Takes the address while the peer, at `peer` on the service LAN, still serves.
    pub(super) async fn take(&self, peer: Option<IpAddr>) -> Outcome {
        // The peer serves until the address moves: first know where to send the clients.
        if let cold @ Outcome::Failed(_) = self.director.warm(WARM_MAX).await {
            return cold;
        }
        let half = match peer {
            Some(peer) => self.pass_on(peer).await,
            None => None,
        };
        let manner = Manner::Overlap { peer };
        let outcome = self.hands.perform(self.resource, Operation::Start, manner).await;
        if let Some(half) = half {
            let (director, pause) = (
                self.director.clone(),
                match outcome {
                    Outcome::Done => pass_on(self.synced),
                    Outcome::Failed(_) => Duration::ZERO,
                },
            );
            tokio::task::spawn_local(async move {
                sleep(pause).await;
                half.end(director.ipvs()).await;
                director.settings().switched().await;
            });
        }
        outcome
    }

    /// Begins to pass packets on to the peer.
    async fn pass_on(&self, peer: IpAddr) -> Option<PassOn> {
        self.director.settings().switches().await;
        match PassOn::begin(self.ip, peer, self.director.ipvs()).await {
            Ok(half) => Some(half),
            Err(e) => {
                warn!("connections that are open now will be cut: {e}");
                self.director.settings().switched().await;
                None
            }
        }
    }

    /// Gives the address away; the peer serves already. The `first` one of a group waits for the
    /// connections of all. Who gives up half-way leaves silent what the next start and the next stop
    /// of that address hear of.
    pub(super) async fn give(&self, first: bool) -> Outcome {
        let silent = if first { self.fall_silent().await } else { self.hush(self.ip).await };
        if first && silent {
            sleep(drain(self.synced)).await;
        }
        let manner = Manner::Overlap { peer: None };
        self.hands.perform(self.resource, Operation::Stop, manner).await
    }

    /// Hushes every address of the group, each until its own turn; whether this one is.
    async fn fall_silent(&self) -> bool {
        for other in self.group.iter().filter(|other| **other != self.ip) {
            self.hush(*other).await;
        }
        self.hush(self.ip).await
    }

    async fn hush(&self, ip: IpAddr) -> bool {
        self.hands.hush(ip).await;
        let hushed = handover::hush(ip).await;
        hushed.inspect_err(|e| warn!("connections that are open now will be cut: {e}")).is_ok()
    }
}

/// Removes what switches have set up in the kernel; without a director there is nothing.
pub(super) async fn sweep(config: &Config, director: &DirectorHandle) {
    if config.directors.is_empty() {
        return;
    }
    for ip in config.addresses() {
        handover::sweep(ip, director.ipvs()).await;
    }
}
