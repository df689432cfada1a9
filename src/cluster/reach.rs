//! Who reaches more of the world: both nodes count the ping nodes that answer them, and the one
//! with more of them holds the groups (Heartbeat's ipfail).
//!
//! Only a difference that lasts moves anything, a tie moves nothing, and a node that reaches none
//! of them takes nothing from a silent peer: it is the one that is cut off. Neighbours: `clearance`
//! hands over, `message` carries the count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::Core;
use crate::cluster::event::Event;
use crate::cluster::outside::ReachView;
use crate::time::Instant;

/// A difference must last for so long, and for a deadtime: both nodes lose a common ping node, and
/// find it again, at different moments.
const SETTLE_MIN: Duration = Duration::from_secs(2);

/// What is known of both nodes' connectivity.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Reach {
    mine: Option<u8>,
    /// Since when the peer has reached more.
    worse: Option<Instant>,
}

/// How this node stands beside its peer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// The peer reaches more.
    pub(super) worse: bool,
    /// It has for long enough.
    pub(super) settled: bool,
    /// This node reaches none of its ping nodes.
    pub(super) isolated: bool,
}

impl Core {
    /// The driver has counted.
    pub(super) fn reached(&mut self, mine: Option<u8>) {
        if let (Some(count), true) = (mine, mine != self.reach.mine) {
            let of = self.settings.outside.ping.nodes;
            // That all are reached at the first look is no news.
            if self.reach.mine.is_some() || count < of {
                self.outbox.report(Event::Reach { count, of });
            }
        }
        self.reach.mine = mine;
    }

    fn settle(&self) -> Duration {
        self.settings.deadtime.max(SETTLE_MIN)
    }

    pub(super) fn step_reach(&mut self, now: Instant) {
        let theirs = self.peer.notice().reach;
        let worse = self.settings.outside.ping.ipfail
            && matches!((self.reach.mine, theirs), (Some(mine), Some(theirs)) if mine < theirs);
        self.reach.worse = worse.then(|| self.reach.worse.unwrap_or(now));
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        let ping = self.settings.outside.ping;
        Standing {
            worse: self.reach.worse.is_some(),
            settled: self.reach.worse.is_some_and(|since| now >= since.plus(self.settle())),
            isolated: ping.ipfail && ping.nodes > 0 && self.reach.mine == Some(0),
        }
    }

    /// What the peer is told.
    pub(super) fn own_reach(&self) -> Option<u8> {
        self.reach.mine
    }

    pub(super) fn reach_deadline(&self) -> Option<(Instant, &'static str)> {
        self.reach.worse.map(|since| (since.plus(self.settle()), "connectivity"))
    }

    pub(super) fn reach_view(&self) -> ReachView {
        let theirs = self.peer.notice().reach;
        ReachView { mine: self.reach.mine, theirs, of: self.settings.outside.ping.nodes }
    }
}
