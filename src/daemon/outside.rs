//! Carries the cluster's orders outside the pair: questions to arbiters, the fencing of the peer,
//! and the count of the ping nodes that answer.
//!
//! It decides nothing: every answer goes to the beat thread, which ignores what comes late. Below:
//! [`crate::outside`] asks, one question a call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use crate::cluster::ArbiterAnswer;
use crate::cluster::event::{Input, OutsideOrder};
use crate::config::{Config, FenceDevice};
use crate::daemon::Paths;
use crate::daemon::beat::{Order, Orders};
use crate::names::{ActionId, GroupId, GroupName};
use crate::outside::arbiter::{Bench, Claimant, Said};
use crate::outside::fence::{self, Places};
use crate::outside::ping::{self, Pinged, Reach};
use crate::sys::clock;

/// Longest wait for what is let go of before the process ends: a key that stays runs out by itself.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Shortest time from one round of echo requests to the next: routers answer for others first.
const PING_EVERY_MIN: Duration = Duration::from_millis(200);

/// One conversation at a time about one group with one arbiter, in the order of the cluster's
/// orders: a key that is let go of stays so.
type Turns = RefCell<BTreeMap<(u8, GroupName), Rc<Mutex<()>>>>;

/// The world outside the pair.
pub(crate) struct Outside {
    benches: Vec<Bench>,
    turns: Turns,
    claimant: Claimant,
    places: Places,
}

impl Outside {
    /// Nothing is asked yet; `session` is that of this core.
    pub(crate) fn new(config: &Config, paths: &Paths, session: &[u8; 16]) -> Rc<Self> {
        let session = session.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = match paths.config.is_dir() {
            true => Some(paths.config.as_path()),
            false => paths.config.parent(),
        };
        Rc::new(Self {
            benches: config.arbiters.iter().map(Bench::new).collect(),
            turns: RefCell::default(),
            claimant: Claimant { node: config.node.clone(), session },
            places: Places { config: directory.map(Into::into).unwrap_or_default() },
        })
    }

    /// Obeys one order in a task of its own.
    pub(crate) fn obey(self: &Rc<Self>, config: &Rc<Config>, order: OutsideOrder, orders: Orders) {
        let name = |group: GroupId| {
            config.groups.get(usize::from(group.0)).map(|group| group.name.clone())
        };
        let this = Rc::clone(self);
        match order {
            OutsideOrder::Ask { order, arbiter, group } => {
                let Some(group) = name(group) else { return };
                let turn = self.turn(arbiter, &group);
                tokio::task::spawn_local(async move {
                    let _mine = turn.lock().await;
                    this.ask((order, arbiter, &group), &orders).await;
                });
            }
            OutsideOrder::Release { arbiter, group } => {
                let Some(group) = name(group) else { return };
                let turn = self.turn(arbiter, &group);
                tokio::task::spawn_local(async move {
                    let _mine = turn.lock().await;
                    this.release(arbiter, &group).await;
                });
            }
            OutsideOrder::Fence { order } => {
                let config = Rc::clone(config);
                tokio::task::spawn_local(async move {
                    let said = this.fence(&config).await;
                    // The core tries again when it does not hear.
                    let _full = orders.push(Order::Core(Input::Fenced { order, said }));
                });
            }
        }
    }

    fn turn(&self, arbiter: u8, group: &GroupName) -> Rc<Mutex<()>> {
        Rc::clone(self.turns.borrow_mut().entry((arbiter, group.clone())).or_default())
    }

    async fn ask(&self, (order, arbiter, group): (ActionId, u8, &GroupName), orders: &Orders) {
        let Some(bench) = self.benches.get(usize::from(arbiter)) else { return };
        let answer = match bench.claim(group, &self.claimant).await {
            Said::Granted => ArbiterAnswer::Granted,
            // Its key says which life of the node, too.
            Said::Held(who) => {
                ArbiterAnswer::Held(who.split(' ').next().unwrap_or_default().to_owned())
            }
            Said::Unreachable(why) => ArbiterAnswer::Unreachable(why),
        };
        // The core does not wait for ever.
        let _full = orders.push(Order::Core(Input::Arbiter { order, answer }));
    }

    async fn release(&self, arbiter: u8, group: &GroupName) {
        let Some(bench) = self.benches.get(usize::from(arbiter)) else { return };
        if let Err(error) = bench.release(group, &self.claimant).await {
            warn!(
                "{}: {group} is not let go of, and runs out by itself: {error}",
                bench.arbiter().name
            );
        }
    }

    async fn fence(&self, config: &Config) -> Result<String, String> {
        let devices: Vec<FenceDevice> = config.fences().cloned().collect();
        fence::fence(&devices, &config.peer, &self.places).await.map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })
    }

    /// Waits until all that was ordered so far of keys is done; bounded.
    pub(crate) async fn settle(&self) {
        let turns: Vec<_> = self.turns.borrow().values().cloned().collect();
        let all = join_all(turns.iter().map(|turn| turn.lock()));
        // What stays runs out by itself.
        let _late = timeout(SETTLE_MAX, all).await;
    }
}

/// Tells the cluster how many ping nodes answer, whenever that changes. Runs until it is dropped.
pub(crate) async fn watch(config: Rc<Config>, orders: Orders) {
    let every = config.timing.keepalive.max(PING_EVERY_MIN);
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = clock::now();
    let mut known: Vec<Pinged> = config.ping_nodes.iter().map(|_| Pinged::new(start)).collect();
    let mut told = None;
    while !known.is_empty() {
        rounds.tick().await;
        let answers = join_all(config.ping_nodes.iter().map(|node| ping::ask(node, every))).await;
        let now = clock::now();
        for (node, _) in known.iter_mut().zip(answers).filter(|(_, answers)| *answers) {
            node.answers(now);
        }
        let count = count(known.iter().map(|node| node.reach(now, config.deadping)));
        // Full: said at the next round.
        if count != told && orders.push(Order::Core(Input::Reached(count))).is_ok() {
            told = count;
        }
    }
}

/// How many are reached, once every one of them is known.
fn count(reaches: impl Iterator<Item = Reach>) -> Option<u8> {
    let mut count = 0_u8;
    for reach in reaches {
        match reach {
            Reach::Unknown => return None,
            Reach::Up => count = count.saturating_add(1),
            Reach::Down => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ping_nodes_are_counted_once_every_one_of_them_is_known() {
        let count = |all: &[Reach]| count(all.iter().copied());
        assert_eq!(count(&[Reach::Up, Reach::Unknown]), None);
        assert_eq!(count(&[Reach::Up, Reach::Down, Reach::Up]), Some(2));
        assert_eq!(count(&[Reach::Down]), Some(0));
    }
}
