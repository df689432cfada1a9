//! Looks at resources that are up, as the cluster orders them.
//!
//! A look waits for nobody and nobody waits for it: a start or stop of its group ends it, with all
//! processes that it has begun. Below: `exec::script` asks the program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};
use tokio::task::AbortHandle;

use crate::cluster::event::{Input, Verdict};
use crate::config::{Config, ResourceKind};
use crate::daemon::beat::{Order, Orders};
use crate::daemon::hands::Hands;
use crate::names::{ActionId, GroupId};

/// Programs that are asked at the same time: many groups become active together, and the machine
/// has other things to do then.
const LOOKS_MAX: usize = 16;

/// The looks that are under way, by group.
#[derive(Debug, Clone)]
pub(super) struct Looks {
    under_way: Rc<RefCell<BTreeMap<GroupId, Vec<AbortHandle>>>>,
    places: Rc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { under_way: Rc::default(), places: Rc::new(Semaphore::new(LOOKS_MAX)) }
    }
}

/// What a look is about, and who is to look.
pub(super) struct Look {
    pub(super) order: ActionId,
    pub(super) group: GroupId,
    pub(super) resource: usize,
    pub(super) config: Rc<Config>,
    pub(super) hands: Rc<Hands>,
}

impl Looks {
    /// Begins a look; its answer goes to the beat thread. Whoever has the `turn` works on the
    /// group.
    pub(super) fn begin(&self, look: Look, turn: Arc<Mutex<()>>, orders: Orders) {
        let (group, places) = (look.group, Rc::clone(&self.places));
        let task = tokio::task::spawn_local(async move {
            let order = look.order;
            let verdict = match places.acquire().await {
                Ok(_) if turn.try_lock().is_err() => Verdict::Busy,
                Ok(_place) => look.see().await,
                Err(closed) => Verdict::Unclear(closed.to_string()),
            };
            // The core does not wait for ever.
            let _full = orders.push(Order::Core(Input::Monitored { order, verdict }));
        });
        let mut under_way = self.under_way.borrow_mut();
        let tasks = under_way.entry(group).or_default();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
    }

    /// The group is being started or stopped: nobody asks for its health any more.
    pub(super) fn end(&self, group: GroupId) {
        let tasks = self.under_way.borrow_mut().remove(&group);
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }
}

impl Look {
    async fn see(&self) -> Verdict {
        let group = self.config.groups.get(usize::from(self.group.0));
        let resource = group.and_then(|group| group.resources.get(self.resource));
        let program = resource.and_then(|resource| match &resource.kind {
            ResourceKind::Script(program) => Some((program, resource.monitor?)),
            _ => None,
        });
        let Some((program, monitor)) = program else {
            return Verdict::Unclear("the configuration has no such resource".to_owned());
        };
        self.hands.monitor(program, &monitor).await
    }
}
