//! An address in a planned switch: the director is warm first, and connections that are open at
//! that moment end where they began (see `kernel::handover`).

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
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
        let passing = match peer {
            Some(peer) => Some(self.pass_on(peer).await),
            None => None,
        };
        let manner = Manner::Overlap { peer };
        let outcome = self.hands.perform(self.resource, Operation::Start, manner).await;
        if let (Some(passing), Outcome::Done) = (passing, &outcome) {
            passing.end_after(pass_on(self.synced));
        }
        outcome
    }

    /// Begins to pass packets on to the peer.
    async fn pass_on(&self, peer: IpAddr) -> Passing {
        let (director, ending, ip) = (self.director.clone(), self.director.clone(), self.ip);
        let begin = async move {
            director.settings().switches().await;
            match PassOn::begin(ip, peer, director.ipvs()).await {
                Ok(half) => Some(half),
                Err(e) => {
                    warn!("connections that are open now will be cut: {e}");
                    director.settings().switched().await;
                    None
                }
            }
        };
        Passing::begin(begin, async move |half: Option<PassOn>| {
            if let Some(half) = half {
                half.end(ending.ipvs()).await;
                ending.settings().switched().await;
            }
        })
        .await
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

/// What is set up in the kernel for a switch. It is a task of its own, which is not given up with the switch
/// when that runs into its time limit: what has begun, even half-way, is ended.
struct Passing(oneshot::Sender<Duration>);

impl Passing {
    /// Comes back when it has begun.
    async fn begin<H: 'static>(
        begin: impl Future<Output = H> + 'static,
        end: impl AsyncFnOnce(H) + 'static,
    ) -> Self {
        let (told, pause) = oneshot::channel();
        let (began, begun) = oneshot::channel();
        tokio::task::spawn_local(async move {
            let half = begin.await;
            // Who has given up waiting has dropped the other end of `pause` as well.
            let _given_up = began.send(());
            if let Ok(pause) = pause.await {
                sleep(pause).await;
            }
            end(half).await;
        });
        let passing = Self(told);
        let _never_ends_without = begun.await;
        passing
    }

    /// Ends it then. Without that it ends at once when this is dropped.
    fn end_after(self, pause: Duration) {
        let _task_ended = self.0.send(pause);
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;
    use tokio::time::timeout;

    use super::*;

    /// Longest wait for what is to happen; for what is to be given up, the shortest.
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(20);

    type Seen = Rc<RefCell<Vec<&'static str>>>;

    /// Begins within `begin`.
    async fn passing(seen: &Seen, begin: Duration) -> Passing {
        let (began, ended) = (Rc::clone(seen), Rc::clone(seen));
        let begin = async move {
            sleep(begin).await;
            began.borrow_mut().push("begun");
        };
        Passing::begin(begin, async move |()| ended.borrow_mut().push("ended")).await
    }

    async fn until_ended(seen: &Seen) {
        let ended = async {
            while !seen.borrow().ends_with(&["begun", "ended"]) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, ended).await.expect("it has never ended");
    }

    #[tokio::test]
    async fn what_a_switch_has_begun_ends_when_the_switch_runs_into_its_time_limit() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                let switch = async {
                    let passing = passing(&seen, Duration::ZERO).await;
                    std::future::pending::<()>().await;
                    passing.end_after(Duration::ZERO);
                };
                assert!(timeout(SHORT, switch).await.is_err());
                until_ended(&seen).await;
            })
            .await;
    }

    #[tokio::test]
    async fn what_has_begun_half_way_at_the_time_limit_ends_too() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                assert!(timeout(SHORT, passing(&seen, SHORT * 10)).await.is_err());
                until_ended(&seen).await;
            })
            .await;
    }

    #[tokio::test]
    async fn after_a_switch_packets_are_passed_on_for_as_long_as_it_says() {
        LocalSet::new()
            .run_until(async {
                let seen = Seen::default();
                passing(&seen, Duration::ZERO).await.end_after(LONG * 100);
                sleep(SHORT).await;
                assert_eq!(*seen.borrow(), ["begun"]);
                passing(&seen, Duration::ZERO).await.end_after(Duration::ZERO);
                until_ended(&seen).await;
            })
            .await;
    }
}
