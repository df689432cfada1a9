//! The core's loop and its journal: who is told what, who asks why, what is kept for a replay.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Core;
use super::begin::session;
use crate::cluster::Core as Cluster;
use crate::cluster::event::{Event, Request};
use crate::cluster::recording::Recording;
use crate::config::Config;
use crate::control::protocol::{EVENTS_WAIT, EventsAsked, ExplainAsked, Recorded};
use crate::control::server::send;
use crate::daemon::beat::Order;
use crate::daemon::chronicle::Chronicle;
use crate::daemon::{Fatal, Paths};
use crate::journal::explain::{Explanation, Present, explain};
use crate::journal::{Caller, Happening};
use crate::names::{GroupName, LinkName, RequestId};
use crate::sys::clock;
use crate::time::Instant;

/// After a role change, before what led to it is written to a file: what follows at once belongs
/// to it, and a series of changes makes one file.
const RECORD_AFTER: Duration = Duration::from_secs(2);
/// Longest wait for a recording to reach the disk, for an operator.
const RECORD_LIMIT: Duration = Duration::from_secs(4);

/// Those who want to know why.
#[derive(Default)]
pub(super) struct Curious {
    /// Who waits for a copy of the core; bounded by the control socket's connections.
    asked: Vec<(ExplainAsked, oneshot::Sender<Vec<u8>>)>,
    /// When what the core was told is to be written to a file.
    record_at: Option<Instant>,
    /// Who waits for that file, likewise.
    recorders: Vec<oneshot::Sender<Vec<u8>>>,
}

/// A core begins: its session on the wire, and the journal with its first record.
pub(super) fn begin(paths: &Paths, config: &Config) -> Result<([u8; 16], Chronicle), Fatal> {
    let session = session()?;
    let chronicle = Chronicle::begin(paths, config, &session)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    chronicle.tell(Happening::CoreStarted { version, pid: std::process::id() });
    Ok((session, chronicle))
}

/// It has left.
pub(super) fn ended() -> Happening {
    Happening::CoreStopped
}

/// Its supervisor is gone.
pub(super) fn orphaned() -> Happening {
    Happening::SupervisorLost
}

/// The one before died.
pub(super) fn died(how: String, released: bool, told: bool) -> Happening {
    Happening::CoreDied { how, released, told }
}

impl Core {
    /// A number for a request, which the journal knows from now on.
    pub(super) fn asked_for(&mut self, request: Request, by: Option<Caller>) -> RequestId {
        let id = self.new_request();
        self.chronicle.asked(id, request, by);
        id
    }

    /// Answers when there is something new, or when the wait is over, in a task of its own.
    pub(super) fn follow(&self, asked: EventsAsked, reply: oneshot::Sender<Vec<u8>>) {
        let chronicle = self.chronicle.clone();
        let mut newest = chronicle.newest();
        tokio::task::spawn_local(async move {
            let news = async {
                while chronicle.after(&asked).records.is_empty() {
                    let ending = newest.borrow_and_update().is_none();
                    if ending || newest.changed().await.is_err() {
                        return;
                    }
                }
            };
            if asked.wait {
                let _in_time = timeout(EVENTS_WAIT, news).await;
            }
            send(reply, &chronicle.after(&asked));
        });
    }

    /// A copy of the core is asked for, and answers.
    pub(super) fn ask_why(&mut self, asked: ExplainAsked, reply: oneshot::Sender<Vec<u8>>) {
        self.curious.asked.push((asked, reply));
        self.order(Order::Copy);
    }

    pub(super) fn explain(&mut self, now: Instant, core: &Cluster) {
        let links: Vec<LinkName> = self.config.links.iter().map(|link| link.name.clone()).collect();
        let present = Present { core, now, links: &links };
        for (asked, reply) in std::mem::take(&mut self.curious.asked) {
            let groups = self.config.groups.iter().map(|group| &group.name);
            let wanted = |name: &&GroupName| {
                asked.group.as_deref().is_none_or(|wanted| wanted == name.as_str())
            };
            let explained = groups.filter(wanted).map(|name| {
                let last = self.chronicle.last_change(name.as_str());
                explain(&present, name, last.as_ref())
            });
            let node = self.config.node.to_string();
            send(reply, &Explanation { node, groups: explained.collect() });
        }
    }

    /// A role change is kept with what led to it.
    pub(super) fn record_soon(&mut self, event: &Event) {
        if matches!(event, Event::Role { .. }) {
            self.curious.record_at.get_or_insert_with(|| clock::now().plus(RECORD_AFTER));
        }
    }

    pub(super) fn record_in_time(&mut self) {
        if self.curious.record_at.is_some_and(|at| clock::now() >= at) {
            self.record(None);
        }
    }

    /// Keeps what the core was told lately.
    pub(super) fn record(&mut self, reply: Option<oneshot::Sender<Vec<u8>>>) {
        self.curious.record_at = None;
        self.curious.recorders.extend(reply);
        self.order(Order::Record);
    }

    pub(super) fn recorded(&mut self, recording: Recording) {
        let written = self.chronicle.keep(recording);
        let waiting = std::mem::take(&mut self.curious.recorders);
        if waiting.is_empty() {
            return;
        }
        tokio::task::spawn_local(async move {
            let recorded = tokio::task::spawn_blocking(move || outcome(&written)).await;
            let failed = |e: tokio::task::JoinError| Recorded::Failed(e.to_string());
            let recorded = recorded.unwrap_or_else(failed);
            waiting.into_iter().for_each(|reply| send(reply, &recorded));
        });
    }
}

fn outcome(written: &Receiver<std::io::Result<std::path::PathBuf>>) -> Recorded {
    match written.recv_timeout(RECORD_LIMIT) {
        Ok(Ok(path)) => Recorded::File(path.display().to_string()),
        Ok(Err(e)) => Recorded::Failed(e.to_string()),
        Err(_) => Recorded::Failed("the disk does not take it in time".to_owned()),
    }
}
