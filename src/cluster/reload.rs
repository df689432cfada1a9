//! Other settings for a running core: all of them, or none.
//!
//! Groups are known by their names. One that stays goes on as it is, with its role, its epoch and
//! its history; one that is new begins as at the start of the node, and is decided with the peer;
//! one that is gone is not spoken of any more, which tells the peer that it is not here. The driver
//! has stopped what is gone and started what is new in a group that is active before it asks: the
//! core counts the resources anew and orders nothing. It refuses while anything that would change
//! is under way.

use crate::cluster::Core;
use crate::cluster::event::{Answer, Cause, Event, GroupState, Output};
use crate::cluster::group::{Group, Role};
use crate::cluster::outbox::Licence;
use crate::cluster::settings::{GroupSettings, Settings};
use crate::names::{GroupId, GroupName, RequestId};
use crate::time::Instant;

impl Core {
    /// Takes the settings, or says why not. `changed` are the groups whose resources are others.
    pub(super) fn reconfigure(
        &mut self,
        now: Instant,
        id: RequestId,
        (settings, changed): (Settings, &[GroupName]),
    ) {
        let answer = match self.obstacle(&settings, changed) {
            Some(why) => Answer::Refused { why },
            None => {
                self.adopt(now, settings, changed);
                Answer::Done { moved: Vec::new(), took_ms: 0 }
            }
        };
        self.outbox.push(Output::Answer { id, answer });
    }

    fn obstacle(&self, new: &Settings, changed: &[GroupName]) -> Option<String> {
        let old = &self.settings;
        if (&old.node, &old.peer, old.links) != (&new.node, &new.peer, new.links) {
            return Some("node names and the number of links need a restart".to_owned());
        }
        if old.outside != new.outside {
            return Some("arbiters, fencing and ping nodes need a restart".to_owned());
        }
        if self.licence() == Licence::Leave {
            return Some("this node is leaving".to_owned());
        }
        if self.back_ms() > 0 {
            return Some("this node is being restarted".to_owned());
        }
        let names = |settings: &Settings| -> Vec<GroupName> {
            settings.groups.iter().map(|group| group.name.clone()).collect()
        };
        let moved = names(old) != names(new);
        if moved && !self.requests.is_empty() {
            return Some("a standby or takeover is in progress".to_owned());
        }
        let mut concerned = self.groups.iter();
        let busy = concerned.find(|group| {
            (moved || changed.contains(&group.settings.name)) && !group.is_at_rest()
        })?;
        Some(format!("{}: it is not at rest here, see `pairbeat status`", busy.settings.name))
    }

    fn adopt(&mut self, now: Instant, mut settings: Settings, changed: &[GroupName]) {
        settings.past = self.settings.past.clone();
        let mut before = std::mem::take(&mut self.groups);
        for (wanted, place) in settings.groups.iter().zip(0..) {
            let found = before.iter().position(|group| group.settings.name == wanted.name);
            let group = match found.map(|place| before.remove(place)) {
                Some(group) => group.resettled(GroupId(place), wanted),
                None => Group::new(GroupId(place), &settings, wanted),
            };
            self.groups.push(group.watched(now, changed));
        }
        for gone in before.iter().filter(|group| group.held().is_some()) {
            self.outbox.report(Event::Role {
                group: gone.settings.name.clone(),
                state: GroupState::Standby,
                epoch: gone.seen,
                cause: Cause::Reload,
            });
        }
        self.peer.retime(&settings);
        self.peer.set_own_config(settings.config.clone(), &mut self.outbox);
        self.awake.retime(&settings);
        self.settings = settings;
        self.next_beat = self.next_beat.min(now.plus(self.keepalive()));
        self.stirred = true;
    }
}

impl Group {
    /// Nothing of it is under way, and nothing of it is in doubt.
    fn is_at_rest(&self) -> bool {
        matches!(self.role, Role::Idle { asking: None, .. } | Role::Active { offer: None, .. })
    }

    /// The same group under other settings.
    fn resettled(mut self, id: GroupId, wanted: &GroupSettings) -> Self {
        let via = self.settings.via;
        self.id = id;
        self.settings = GroupSettings { via, ..wanted.clone() };
        self
    }
}
