//! From the core's own types to the [`View`].

use crate::cluster::group::{Group, holds};
use crate::cluster::outside::FenceView;
use crate::cluster::peer::{Link, PeerState};
use crate::cluster::phase::Phase;
use crate::cluster::requests::Direction;
use crate::cluster::view::{GroupView, LinkState, LinkView, NodeView, PeerLife, PeerView, View};
use crate::cluster::{Core, Past, Side};
use crate::names::NodeName;
use crate::time::{Instant, millis};

impl Core {
    /// Everything that the core knows, at `now`.
    pub fn view(&self, now: Instant) -> View {
        let now = self.awake.inside(now).max(self.awake.last());
        let state = match self.phase {
            Phase::Booting { .. } => NodeView::Booting,
            Phase::Running { doubt: None, .. } => NodeView::Running,
            Phase::Running { doubt: Some(_), .. } => NodeView::Validating,
            Phase::Restarting(_) => NodeView::Restarting,
            Phase::Leaving(_) | Phase::Goodbye { .. } => NodeView::Leaving,
            Phase::Ended => NodeView::Left,
        };
        View {
            node: self.settings.node.clone(),
            state,
            peer: self.peer_view(now),
            links: self.peer.links().iter().map(|link| link_view(*link, now)).collect(),
            freeze: self.freeze,
            fence: self.fence_view(now),
            reach: self.reach_view(),
            groups: self.groups.iter().map(|group| self.group_view(group, now)).collect(),
        }
    }

    /// What a later life of this node should remember of this one.
    pub fn past(&self) -> Past {
        let here = self.groups.iter().filter(|group| group.was_here);
        let here = here.map(|group| group.settings.name.clone()).collect();
        Past { freeze: self.freeze, here }
    }

    /// Where nothing can fence, an operator's word is shown all the same.
    fn fence_view(&self, now: Instant) -> Option<FenceView> {
        let shown = self.settings.outside.fence.is_some() || self.fence.confirmed();
        shown.then(|| self.fence.view(now))
    }

    fn peer_view(&self, now: Instant) -> PeerView {
        let state = match self.peer.state() {
            PeerState::Unknown => PeerLife::Unknown,
            PeerState::Alive => PeerLife::Alive,
            PeerState::Dead => PeerLife::Dead,
            PeerState::Left => PeerLife::Left,
        };
        PeerView {
            node: self.settings.peer.clone(),
            state,
            restarts_ms: self.peer.back().map(|at| millis(at.since(now))),
            silent_ms: millis(self.peer.silent(now)),
            config_differs: self.peer.config_differs(),
            differences: self.peer.differences().to_vec(),
        }
    }

    fn group_view(&self, group: &Group, now: Instant) -> GroupView {
        let theirs = self.peer.claim(&group.settings.name);
        let peer = holds(theirs.hold).then_some((&self.settings.peer, theirs.epoch));
        let holder = group.held().map(|epoch| (&self.settings.node, epoch)).or(peer);
        GroupView {
            name: group.settings.name.clone(),
            state: group.state(),
            resources: group.resource_views(),
            holder: holder.map(|(node, _)| node.clone()),
            epoch: holder.map_or(group.seen, |(_, epoch)| epoch),
            preferred: self.node_of(group.settings.preferred),
            cause: group.cause,
            pending: self.requests.direction(group.id).map(|direction| match direction {
                Direction::Away => "standby",
                Direction::Here => "takeover",
            }),
            setback: group.setback.map(|setback| setback.to_string()),
            jeopardy: group.clearance.bar,
            service: group.clearance.link(),
            arbiters: group.arbitration.view(&self.settings.outside.arbiters, now),
            was_here: group.was_here,
            sync_wait_s: self.sync_wait_s(group, now),
            held_down_s: group.calm.left(now).map(|left| left.as_secs().saturating_add(1)),
        }
    }

    /// Only where it would take the group back by itself.
    fn sync_wait_s(&self, group: &Group, now: Instant) -> Option<u64> {
        let theirs = self.peer.claim(&group.settings.name);
        let would = self.settings.auto_failback
            && group.settings.preferred == Side::Me
            && group.held().is_none()
            && holds(theirs.hold);
        let wait = group.sync_wait(now, self.settled()).filter(|_| would)?;
        Some(wait.as_secs().saturating_add(1))
    }

    fn node_of(&self, side: Side) -> NodeName {
        match side {
            Side::Me => self.settings.node.clone(),
            Side::Peer => self.settings.peer.clone(),
        }
    }
}

fn link_view(link: Link, now: Instant) -> LinkView {
    let (state, heard) = match link {
        Link::Unknown => (LinkState::Unknown, None),
        Link::Up(at) => (LinkState::Up, Some(at)),
        Link::Down(at) => (LinkState::Down, at),
    };
    LinkView { state, heard_ms: heard.map(|at| millis(now.since(at))) }
}
