//! Is the peer alive, on which links, and what did it say last?
//!
//! Knows times and beats, decides nothing about groups. All instants here are on the core's own
//! awake clock ([`super::awake`]), so that a stall of ours never counts as the peer's silence.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::drift::{self, Difference, Digests};
use crate::cluster::event::Event;
use crate::cluster::message::{Beat, Hold, NodeState, Notice, Unrest, Wish};
use crate::cluster::outbox::Outbox;
use crate::cluster::restart::RESTART_MAX;
use crate::cluster::settings::Settings;
use crate::names::{GroupName, LinkId, NodeName};
use crate::time::{Instant, millis};

/// What we believe about the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PeerState {
    /// Not heard of since our start.
    Unknown,
    /// It answers us.
    Alive,
    /// Silent for a deadtime, or for initdead at the start.
    Dead,
    /// It said good-bye, or its supervisor did.
    Left,
}

/// One link, as the peer's beats show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Link {
    /// Nothing has come in yet.
    Unknown,
    /// The last copy came in then.
    Up(Instant),
    /// Silent for a deadtime; the last copy came in then, if ever.
    Down(Option<Instant>),
}

/// What the peer says of one group. A group that it does not speak of is one that it does not
/// hold and can't take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerClaim {
    pub(super) epoch: u64,
    pub(super) hold: Hold,
    pub(super) wish: Wish,
    pub(super) via: Option<IpAddr>,
    pub(super) unrest: Unrest,
}

impl PeerClaim {
    pub(super) const ABSENT: Self = Self {
        epoch: 0,
        hold: Hold::Nothing,
        wish: Wish::Decline,
        via: None,
        unrest: Unrest { taken: 0, hold_s: 0 },
    };
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Peer {
    node: NodeName,
    deadtime: Duration,
    warntime: Duration,
    state: PeerState,
    links: Vec<Link>,
    /// The newest proof of life on any link, our own start before the first.
    heard: Instant,
    presence: Option<Instant>,
    /// The last beat; only while alive.
    beat: Option<Beat>,
    echo: u64,
    /// It restarts with all that it holds: until then its silence means nothing.
    back: Option<Instant>,
    /// Since when it has been alive and in service.
    running: Option<Instant>,
    ever_alive: bool,
    /// Whether its kernel enforces the lease, as it told last; unknown before the first beat.
    guarded: Option<bool>,
    /// The last one heard of; ours before the first.
    config: u64,
    own: Digests,
    /// Where its configuration differs, as far as it has told.
    differences: Vec<Difference>,
}

impl Peer {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            node: settings.peer.clone(),
            deadtime: settings.deadtime,
            warntime: settings.warntime,
            state: PeerState::Unknown,
            links: vec![Link::Unknown; usize::from(settings.links)],
            heard: now,
            presence: None,
            beat: None,
            echo: 0,
            back: None,
            running: None,
            ever_alive: false,
            guarded: None,
            config: settings.config.whole,
            own: settings.config.clone(),
            differences: Vec::new(),
        }
    }

    /// Other settings: how its silence is judged from now on.
    pub(super) fn retime(&mut self, settings: &Settings) {
        (self.deadtime, self.warntime) = (settings.deadtime, settings.warntime);
    }

    pub(super) fn state(&self) -> PeerState {
        self.state
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state == PeerState::Alive
    }

    pub(super) fn ever_alive(&self) -> bool {
        self.ever_alive
    }

    /// Whether its silence would also be silence on the service LAN, as far as it ever told.
    pub(super) fn guarded(&self) -> Option<bool> {
        self.guarded
    }

    /// Whether what is known of it is old: it is dead, or left so long ago that it may be back
    /// without our hearing it.
    pub(super) fn long_gone(&self, now: Instant) -> bool {
        match self.state {
            PeerState::Dead => true,
            PeerState::Left => self.silent(now) >= self.deadtime,
            PeerState::Unknown | PeerState::Alive => false,
        }
    }

    /// When it will be dead in `ahead`, if nothing more is heard.
    pub(super) fn fading(&self, ahead: Duration) -> Instant {
        self.verdict(self.heard).minus(ahead)
    }

    /// When silence since then becomes a verdict.
    fn verdict(&self, heard: Instant) -> Instant {
        heard.plus(self.deadtime).max(self.back.unwrap_or(Instant::BOOT))
    }

    /// When it will be back, if it restarts.
    pub(super) fn back(&self) -> Option<Instant> {
        self.back
    }

    /// Whether it says that it hears us on no link: to itself it is alone.
    pub(super) fn is_deaf(&self) -> bool {
        let beat = self.beat.as_ref();
        beat.is_some_and(|beat| beat.node == NodeState::Running && beat.hears == 0)
    }

    pub(super) fn running_since(&self) -> Option<Instant> {
        self.running
    }

    pub(super) fn presence(&self) -> Option<Instant> {
        self.presence
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    pub(super) fn set_own_config(&mut self, digests: Digests, outbox: &mut Outbox) {
        let differed = self.config_differs();
        self.own = digests;
        self.compare(differed, outbox);
    }

    /// Reports what is new in the comparison of the two configurations.
    fn compare(&mut self, differed: bool, outbox: &mut Outbox) {
        let differences = match &self.beat {
            Some(beat) if self.config_differs() => {
                drift::differences(&self.own.sections, &beat.sections, &beat.groups)
            }
            _ => Vec::new(),
        };
        if differed && !self.config_differs() {
            outbox.report(Event::ConfigAgrees);
        }
        if !differences.is_empty() && differences != self.differences {
            outbox.report(Event::SectionsDiffer { sections: differences.clone() });
        }
        // A beat that was sent before the sender knew of a difference names none.
        if !differences.is_empty() || !self.config_differs() {
            self.differences = differences;
        }
    }

    pub(super) fn differences(&self) -> &[Difference] {
        &self.differences
    }

    pub(super) fn config_differs(&self) -> bool {
        self.config != self.own.whole
    }

    /// Highest sequence number of ours that it is known to have heard; 0 unless it is alive.
    pub(super) fn echo(&self) -> u64 {
        self.echo
    }

    pub(super) fn silent(&self, now: Instant) -> Duration {
        now.since(self.heard)
    }

    /// What its node as a whole is doing; `None` unless it is alive.
    pub(super) fn node_state(&self) -> Option<NodeState> {
        self.beat.as_ref().map(|beat| beat.node)
    }

    /// What it says of its silence and of a freeze; nothing unless it is alive.
    pub(super) fn notice(&self) -> Notice {
        self.beat.as_ref().map(|beat| beat.notice).unwrap_or_default()
    }

    /// What it says of a group now. A dead peer, and one that left, say nothing.
    pub(super) fn claim(&self, group: &GroupName) -> PeerClaim {
        let claims = self.beat.iter().flat_map(|beat| &beat.groups);
        let Some(claim) = claims.into_iter().find(|claim| claim.group == *group) else {
            return PeerClaim::ABSENT;
        };
        let leaving = self.node_state() == Some(NodeState::Leaving);
        let wish = match claim.wish {
            // On its way out it takes nothing, whatever else it may say.
            Wish::Content | Wish::Take if leaving || self.back.is_some() => Wish::Decline,
            Wish::Offer if leaving && claim.hold == Hold::Nothing => Wish::Decline,
            wish => wish,
        };
        PeerClaim {
            epoch: claim.epoch,
            hold: claim.hold,
            wish,
            via: claim.via,
            unrest: claim.unrest,
        }
    }

    /// One bit per link: we hear it there.
    pub(super) fn hears(&self) -> u8 {
        let mut bits = 0;
        for (place, link) in self.links.iter().enumerate() {
            if matches!(link, Link::Up(_)) {
                bits |= 1u8.checked_shl(u32::try_from(place).unwrap_or(u32::MAX)).unwrap_or(0);
            }
        }
        bits
    }

    /// A proven beat. True when it needs an answer at once: the peer begins to claim a group, or to
    /// restart, and waits until we have heard.
    pub(super) fn hear(
        &mut self,
        at: Instant,
        (link, beat, echo): (LinkId, Beat, u64),
        outbox: &mut Outbox,
    ) -> bool {
        self.carry(at, link, outbox);
        if beat.node == NodeState::Gone {
            self.leave(outbox);
            return false;
        }
        let silent = at.since(self.heard);
        let (asked, excused) = (self.back, self.back.is_some());
        self.note_restart(at, beat.notice.back_ms, outbox);
        if self.is_alive() && !excused && silent > self.warntime {
            outbox.report(Event::LateBeat { node: self.node.clone(), silent_ms: millis(silent) });
        }
        if !self.is_alive() {
            outbox.report(Event::PeerAlive { node: self.node.clone() });
        }
        let differed = self.config_differs();
        if beat.config != self.config && beat.config != self.own.whole {
            outbox.report(Event::ConfigDiffers);
        }
        let claims = beat.groups.iter().any(|claim| {
            claim.hold == Hold::Claiming && self.claim(&claim.group).hold != Hold::Claiming
        });
        self.running = match beat.node {
            NodeState::Running => self.running.or(Some(at)),
            NodeState::Booting | NodeState::Leaving | NodeState::Gone => None,
        };
        self.state = PeerState::Alive;
        self.ever_alive = true;
        self.heard = self.heard.max(at);
        self.echo = echo;
        self.config = beat.config;
        self.guarded = Some(beat.notice.guarded);
        self.beat = Some(beat);
        self.compare(differed, outbox);
        claims || (self.back.is_some() && asked.is_none())
    }

    /// It says when it will be back. Once said, it can't be put off.
    fn note_restart(&mut self, at: Instant, back_ms: u32, outbox: &mut Outbox) {
        let node = self.node.clone();
        if back_ms == 0 {
            if self.back.take().is_some() {
                let silent_ms = millis(at.since(self.heard));
                outbox.report(Event::PeerBack { node, silent_ms });
            }
            return;
        }
        let within = Duration::from_millis(back_ms.into()).min(RESTART_MAX);
        let until = at.plus(within);
        if self.back.is_none() {
            outbox.report(Event::PeerRestarts { node, within_ms: millis(within) });
        }
        self.back = Some(self.back.map_or(until, |back| back.min(until)));
    }

    /// A copy of a beat that was heard before: proof that the link carries, and of life.
    pub(super) fn copy(&mut self, at: Instant, link: LinkId, outbox: &mut Outbox) {
        if self.is_alive() {
            self.carry(at, link, outbox);
        }
    }

    pub(super) fn sense(&mut self, at: Instant) {
        self.presence = self.presence.max(Some(at));
    }

    fn carry(&mut self, at: Instant, id: LinkId, outbox: &mut Outbox) {
        let Some(link) = self.links.get_mut(usize::from(id.0)) else { return };
        match *link {
            Link::Up(before) => *link = Link::Up(before.max(at)),
            Link::Unknown | Link::Down(_) => {
                *link = Link::Up(at);
                outbox.report(Event::LinkUp { link: id });
            }
        }
    }

    /// Verdicts of silence on links and on the peer. Only for a tick, when all that waits in the
    /// sockets has been read.
    pub(super) fn judge(&mut self, now: Instant, outbox: &mut Outbox) {
        let excused = self.back.unwrap_or(Instant::BOOT);
        for (place, link) in self.links.iter_mut().enumerate() {
            let Link::Up(at) = *link else { continue };
            if now >= at.plus(self.deadtime).max(excused) {
                *link = Link::Down(Some(at));
                let id = LinkId(u8::try_from(place).unwrap_or(u8::MAX));
                outbox.report(Event::LinkDown { link: id });
            }
        }
        if self.is_alive() && now >= self.verdict(self.heard) {
            self.die(now, outbox);
        }
    }

    /// Not heard of in all the time that the boot may wait.
    pub(super) fn give_up(&mut self, now: Instant, outbox: &mut Outbox) {
        for link in &mut self.links {
            if *link == Link::Unknown {
                *link = Link::Down(None);
            }
        }
        self.die(now, outbox);
    }

    fn die(&mut self, now: Instant, outbox: &mut Outbox) {
        self.forget(PeerState::Dead);
        let silent_ms = millis(self.silent(now));
        outbox.report(Event::PeerDead { node: self.node.clone(), silent_ms });
    }

    fn leave(&mut self, outbox: &mut Outbox) {
        if self.state != PeerState::Left {
            outbox.report(Event::PeerLeft { node: self.node.clone() });
        }
        self.forget(PeerState::Left);
        // It will be silent from now on; that is no fault of the links.
        self.links.fill(Link::Unknown);
    }

    fn forget(&mut self, state: PeerState) {
        self.state = state;
        self.beat = None;
        self.echo = 0;
        self.back = None;
        self.running = None;
    }

    /// When silence becomes a verdict, and which.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, &'static str)> {
        let dead = self.is_alive().then(|| (self.verdict(self.heard), "deadtime"));
        let links = self.links.iter().filter_map(|link| match link {
            Link::Up(at) => Some((self.verdict(*at), "link")),
            Link::Unknown | Link::Down(_) => None,
        });
        dead.into_iter().chain(links)
    }
}
