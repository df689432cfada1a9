//! An address in a planned switch: the director is warm first, and connections that are open at
//! that moment end where they began (see `kernel::handover`).

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::cluster::event::{Manner, Operation, Outcome};
use crate::config::Resource;
use crate::daemon::director::DirectorHandle;
use crate::daemon::hands::Hands;
use crate::kernel::handover::{Hush, PassOn};

/// Longest wait for the director to have verdicts and a programmed table before it counts as
/// started: servers that have not answered by then are out, and the sorry server is in.
pub(super) const WARM_MAX: Duration = Duration::from_secs(5);
/// How long connections that were open at the switch may go on at the old holder.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the new holder passes packets on: the drain, and time for the old one to begin it.
const PASS_ON: Duration = Duration::from_secs(3);

/// One address of a group with a director, on its way from one node to the other.
pub(super) struct Switch<'a> {
    pub(super) hands: &'a Hands,
    pub(super) director: &'a DirectorHandle,
    pub(super) resource: &'a Resource,
    pub(super) ip: IpAddr,
}

impl Switch<'_> {
    /// Takes the address while the peer, at `peer` on the service LAN, still serves.
    pub(super) async fn take(&self, peer: Option<IpAddr>) -> Outcome {
        // The peer serves until the address moves: first know where to send the clients.
        if let cold @ Outcome::Failed(_) = self.director.warm(WARM_MAX).await {
            return cold;
        }
        let half = match peer {
            Some(peer) => PassOn::begin(self.ip, peer, self.director.ipvs()).await.map(Some),
            None => Ok(None),
        };
        let half = half.unwrap_or_else(|e| {
            warn!("connections that are open now will be cut: {e}");
            None
        });
        let manner = Manner::Overlap { peer };
        let outcome = self.hands.perform(self.resource, Operation::Start, manner).await;
        if let Some(half) = half {
            let (ipvs, pause) = (
                self.director.ipvs().clone(),
                match outcome {
                    Outcome::Done => PASS_ON,
                    Outcome::Failed(_) => Duration::ZERO,
                },
            );
            tokio::task::spawn_local(async move {
                sleep(pause).await;
                half.end(&ipvs).await;
            });
        }
        outcome
    }

    /// Gives the address away; the peer serves already.
    pub(super) async fn give(&self) -> Outcome {
        self.hands.hush(self.ip).await;
        let hush = match Hush::begin(self.ip).await {
            Ok(hush) => Some(hush),
            Err(e) => {
                warn!("connections that are open now will be cut: {e}");
                None
            }
        };
        if hush.is_some() {
            sleep(DRAIN).await;
        }
        let manner = Manner::Overlap { peer: None };
        let outcome = self.hands.perform(self.resource, Operation::Stop, manner).await;
        if let Some(hush) = hush {
            hush.end().await;
        }
        outcome
    }
}
