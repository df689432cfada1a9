//! Keeps what is served: an address that somebody else has removed is put back within a second.
//!
//! Orders of one group follow each other, so that a repair never undoes a stop.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::cluster::event::{Manner, Operation, Outcome};
use crate::config::{Config, ResourceKind};
use crate::daemon::beat::Orders;
use crate::daemon::hands::Hands;
use crate::daemon::looks::{Look, Looks};
use crate::journal::Happening;
use crate::names::GroupId;

/// From one look at the addresses to the next: design invariant L5.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which groups are served here, and whose turn it is to work on each.
#[derive(Debug, Clone, Default)]
pub(super) struct Keeper {
    serving: Rc<RefCell<BTreeSet<GroupId>>>,
    looks: Looks,
    turns: Rc<RefCell<BTreeMap<GroupId, std::sync::Arc<Mutex<()>>>>>,
}

impl Keeper {
    /// The group is all up here.
    pub(super) fn serves(&self, group: GroupId) {
        self.serving.borrow_mut().insert(group);
    }

    /// The group is being started or stopped: nothing is repaired from now on.
    pub(super) fn works(&self, group: GroupId) {
        self.serving.borrow_mut().remove(&group);
        self.looks.end(group);
    }

    /// Nobody asks for the health of the group's resources any more: they are worked on.
    pub(super) fn looks_away(&self, group: GroupId) {
        self.looks.end(group);
    }

    /// Looks at a resource, unless somebody works on its group.
    pub(super) fn look_at(&self, look: Look, orders: Orders) {
        let turn = self.turn_of(look.group);
        self.looks.begin(look, turn, orders);
    }

    /// Waits until nobody else works on the group.
    pub(super) async fn turn(&self, group: GroupId) -> OwnedMutexGuard<()> {
        self.turn_of(group).lock_owned().await
    }

    /// Other groups under other numbers: these are up here. Call with every turn held.
    pub(super) fn starts_over(&self, serving: BTreeSet<GroupId>) {
        *self.serving.borrow_mut() = serving;
        self.turns.borrow_mut().clear();
    }

    fn turn_of(&self, group: GroupId) -> std::sync::Arc<Mutex<()>> {
        std::sync::Arc::clone(self.turns.borrow_mut().entry(group).or_default())
    }

    /// Looks after the addresses of every group that is served here, in a task of its own.
    pub(super) fn look(&self, config: &Rc<Config>, hands: &Rc<Hands>) {
        let serving: Vec<GroupId> = self.serving.borrow().iter().copied().collect();
        for group in serving {
            // Somebody works on it already.
            let Ok(turn) = self.turn_of(group).try_lock_owned() else { continue };
            let (keeper, config, hands) = (self.clone(), Rc::clone(config), Rc::clone(hands));
            tokio::task::spawn_local(async move {
                keeper.repair(group, &config, &hands).await;
                drop(turn);
            });
        }
    }

    async fn repair(&self, group: GroupId, config: &Config, hands: &Hands) {
        let resources = config.groups.get(usize::from(group.0)).map(|group| &group.resources);
        for resource in resources.into_iter().flatten() {
            let served = self.serving.borrow().contains(&group);
            if !served || !matches!(resource.kind, ResourceKind::Address(_)) {
                continue;
            }
            let done = hands.perform(resource, Operation::Start, Manner::Alone).await;
            if let Outcome::Failed(why) = done {
                let resource = resource.text.clone();
                hands.tell(Happening::AddressMissing { resource, why });
            }
        }
    }
}
