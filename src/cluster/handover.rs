//! Giving a group to a peer that is alive.
//!
//! Where every resource may be up on both nodes for a moment, the giver serves on and offers:
//!
//! ```text
//!   giver   Active ---- Active+Offer ------------------------------- Stopping - Nothing+Offer
//!   taker   Nothing[+Take] ---- Claiming - Starting ------ Active -------------------------
//! ```
//!
//! Everywhere else the giver stops first, and the taker claims what is free. Either way the giver
//! yields afterwards: it takes the group back only when it is asked to, or when the taker can't.

use crate::cluster::event::{Cause, Manner};
use crate::cluster::group::{Group, Offer, Role, Setback, Stance, can_take};
use crate::cluster::message::{Hold, Wish};
use crate::cluster::outbox::{Licence, Turn};
use crate::cluster::peer::PeerState;

/// What becomes of an offer.
enum Progress {
    Wait,
    /// The peer serves: our turn to stop.
    Taken(Manner),
    Withdraw(Setback),
}

impl Group {
    pub(super) fn step_active(&mut self, turn: &mut Turn<'_>) {
        let Role::Active { offer, .. } = self.role else { return };
        if let Some(offer) = offer {
            self.follow(turn, offer);
            return;
        }
        let theirs = turn.peer.claim(&self.settings.name);
        let able = can_take(turn.peer.state(), theirs);
        match turn.licence {
            Licence::Leave if able && self.settings.overlaps() && self.setback.is_none() => {
                self.hand_over(turn, Cause::Leave);
            }
            Licence::Leave => self.stop(turn, Cause::Leave, Manner::Alone, Stance::Willing),
            Licence::Take if able && theirs.wish == Wish::Take => {
                self.hand_over(turn, Cause::Takeover)
            }
            Licence::Take | Licence::Keep => {
                if !self.yields_for_its_link(turn, able) {
                    self.mend(turn, able);
                }
            }
        }
    }

    /// Begins to give an active group to the peer.
    pub(super) fn hand_over(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        let Role::Active { epoch, from, .. } = self.role else { return };
        self.setback = None;
        if self.settings.overlaps() {
            let limit = self.settings.start_total().saturating_add(turn.settings.deadtime);
            let offer = Some(Offer { cause, until: turn.now.plus(limit) });
            self.role = Role::Active { epoch, from, offer };
        } else {
            self.stop(turn, cause, Manner::Alone, Stance::after(cause));
        }
    }

    fn follow(&mut self, turn: &mut Turn<'_>, offer: Offer) {
        match self.progress(turn, offer) {
            Progress::Wait => {}
            Progress::Taken(manner) => {
                self.stop(turn, offer.cause, manner, Stance::after(offer.cause));
            }
            Progress::Withdraw(why) => {
                self.setback = Some(why);
                // The peer may be starting under an epoch that we have not heard of.
                let epoch = self.new_epoch(1);
                self.role = Role::Active { epoch, from: None, offer: None };
                self.announce = true;
                self.report_role(turn, Cause::HandoverFailed);
            }
        }
    }

    fn progress(&self, turn: &Turn<'_>, offer: Offer) -> Progress {
        if turn.peer.state() != PeerState::Alive {
            return Progress::Withdraw(Setback::PeerGone);
        }
        let theirs = turn.peer.claim(&self.settings.name);
        match theirs.hold {
            Hold::Active if Some(theirs.epoch) > self.held() => {
                Progress::Taken(Manner::Overlap { peer: theirs.via })
            }
            Hold::Stuck => Progress::Withdraw(Setback::PeerStuck),
            Hold::Nothing if theirs.wish == Wish::Decline => {
                Progress::Withdraw(Setback::PeerDeclined)
            }
            _ if turn.now >= offer.until => Progress::Withdraw(Setback::TimedOut),
            Hold::Nothing | Hold::Claiming | Hold::Starting | Hold::Active | Hold::Stopping => {
                Progress::Wait
            }
        }
    }
}
