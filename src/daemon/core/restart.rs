//! A restart with everything held, from this process's side: what must be so before the cluster is
//! asked, what is written down, and the end that releases nothing.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::oneshot;

use super::Core;
use crate::cluster::event::{Answer, GroupState, Input, Outcome, Request};
use crate::cluster::{Carried, View};
use crate::config::{self, Config};
use crate::control::protocol::{Moved, Restarting, Successor};
use crate::control::server::send;
use crate::daemon::beat::Order;
use crate::daemon::messages::FromCore;
use crate::daemon::{Paths, successor, work};
use crate::journal::{Caller, Happening};
use crate::names::{ActionId, RequestId};
use crate::store::carried::{self, Leaving};
use crate::sys::files::Machine;

/// Questions to the files that may be under way: operators are few.
pub(super) const CHECKED_MAX: usize = 4;

/// Whether a successor could go on, and who waits to hear of it.
pub(super) struct Checked {
    result: Result<(), String>,
    asked: Restarting,
    by: Option<Caller>,
    reply: oneshot::Sender<Vec<u8>>,
}

/// A restart that the cluster has been asked for.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    id: RequestId,
    successor: Successor,
    /// Nothing may be left behind for the next process.
    cancelled: Rc<Cell<bool>>,
}

impl Core {
    /// Looks first whether another process could go on; on a thread and in a process of their own.
    pub(super) fn restart(
        &self,
        asked: Restarting,
        (by, reply): (Option<Caller>, oneshot::Sender<Vec<u8>>),
    ) {
        let (paths, config) = (self.paths.clone(), Rc::clone(&self.config));
        let view = self.view.as_ref().map(|view| view.engine.cluster.clone());
        let checked = self.checked.0.clone();
        tokio::task::spawn_local(async move {
            let result = match asked.successor {
                Successor::Exec => successor::check(&paths).await,
                Successor::Service => Ok(()),
            };
            let result = match result {
                Ok(()) => same_where_held(&paths, &config, view).await,
                refused => refused,
            };
            let _ending = checked.send(Checked { result, asked, by, reply }).await;
        });
    }

    /// Asks the cluster.
    pub(super) fn restart_checked(&mut self, checked: Checked) {
        let Checked { result, asked, by, reply } = checked;
        let obstacle = match result {
            _ if self.reloading.is_some() => Some("a reload is in progress".to_owned()),
            _ if self.restarting.is_some() => Some("this node is being restarted".to_owned()),
            _ if !self.supervised => Some("the supervisor is gone".to_owned()),
            result => result.err(),
        };
        if let Some(why) = obstacle {
            return send(reply, &Moved::Answer(Answer::Refused { why }));
        }
        let id = self.asked_for(Request::Restart, by);
        self.waiting.insert(id, reply);
        let cancelled = Rc::default();
        self.restarting = Some(UnderWay { id, successor: asked.successor, cancelled });
        self.order(Order::Request { id, request: Request::Restart });
    }

    /// Writes down what is held.
    pub(super) fn carry(&self, order: ActionId, what: Carried) {
        let Some(UnderWay { cancelled, .. }) = self.restarting.clone() else { return };
        let (path, config) = (self.paths.carried_file(), Rc::clone(&self.config));
        let orders = self.beat.orders();
        tokio::task::spawn_local(async move {
            let leaf = path.clone();
            let left = Leaving::new(&config, what);
            let written = tokio::task::spawn_blocking(move || carried::write(&leaf, &left?)).await;
            let outcome = match written {
                Ok(Ok(())) => Outcome::Done,
                Ok(Err(why)) => Outcome::Failed(format!("{}: {why}", path.display())),
                Err(why) => Outcome::Failed(why.to_string()),
            };
            // The disk was slower than the cluster's patience.
            if cancelled.get() {
                let _said_at_the_next_start = carried::remove(&path);
            }
            let _full = orders.push(Order::Core(Input::Written { order, outcome }));
        });
    }

    /// The cluster has answered a request; one for a restart that comes to nothing leaves nothing
    /// behind.
    pub(super) fn restart_answered(&mut self, id: RequestId, answer: &Answer) {
        let done = matches!(answer, Answer::Done { .. });
        if let Some(UnderWay { cancelled, .. }) = self.restarting.take_if(|it| it.id == id && !done)
        {
            cancelled.set(true);
            let _said_at_the_next_start = carried::remove(&self.paths.carried_file());
        }
    }

    /// This process ends; everything stays as it is.
    pub(super) async fn pause(&mut self) {
        let successor = self.restarting.as_ref().map_or(Successor::Exec, |it| it.successor);
        let _supervisor_gone = self.supervisor.send(&FromCore::Paused(successor)).await;
        self.chronicle.tell(Happening::CorePaused);
        self.chronicle.close();
    }
}

/// A successor goes by the files as they are now: what it could not go on with is refused here.
async fn same_where_held(
    paths: &Paths,
    running: &Config,
    view: Option<View>,
) -> Result<(), String> {
    let paths = paths.clone();
    let read = move || config::load(&paths.config, &paths.node, &Machine::default()).0;
    let read = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
    let found = read.ok_or("the configuration has faults; `pairbeat check` prints them")?;
    if let Some(part) = work::needs_stop(running, &found).first() {
        return Err(format!(
            "a restart can't change {part}; `pairbeat stop` hands over, then start again"
        ));
    }
    let active = |name| {
        let mut groups = view.iter().flat_map(|view| &view.groups);
        groups.any(|group| group.name == name && group.state == GroupState::Active)
    };
    for group in running.groups.iter().filter(|group| active(group.name.clone())) {
        let now = found.groups.iter().find(|now| now.name == group.name);
        if now.map(carried::texts) != Some(carried::texts(group)) {
            return Err(format!(
                "{}: the configuration has other resources for it now; `pairbeat reload` first",
                group.name
            ));
        }
    }
    Ok(())
}
