//! What the peer is told, and when: the state at every keepalive, news at once, the farewell.

use std::time::Duration;

use super::Core;
use super::drift::Section;
use super::event::{Answer, Output};
use super::message::{Beat, NodeState, Notice, SECTIONS_MAX, SectionDigest, Words};
use super::phase::{Phase, farewell_spacing};
use crate::time::{Instant, millis};

/// Beats that must fit into the peer's deadtime; two lost packets in a row never look like death.
const BEATS_PER_DEADTIME: u32 = 3;
/// However short a deadtime the peer states: as the shortest keepalive of the configuration.
const KEEPALIVE_MIN: Duration = Duration::from_millis(10);

impl Core {
    /// Sends what is to be said: at every keepalive, and at once when it changed.
    pub(super) fn speak(&mut self, now: Instant) {
        match self.phase {
            Phase::Booting { .. }
            | Phase::Running { .. }
            | Phase::Restarting(_)
            | Phase::Leaving(_) => self.beat(now),
            Phase::Goodbye { .. } => self.say_goodbye(now),
            Phase::Ended => {}
        }
    }

    fn beat(&mut self, now: Instant) {
        let beat = self.compose();
        let news = self.said.as_ref().is_none_or(|said| {
            (said.node, said.config, said.notice.lasting(), &said.groups)
                != (beat.node, beat.config, beat.notice.lasting(), &beat.groups)
        });
        let due = now >= self.next_beat;
        let keepalive = self.keepalive();
        if due {
            // On an absolute schedule; beats that we were too late for are left out.
            let missed = now.since(self.next_beat).as_nanos() / keepalive.as_nanos().max(1);
            let skip = u32::try_from(missed).unwrap_or(u32::MAX - 1) + 1;
            self.next_beat = self.next_beat.plus(keepalive.saturating_mul(skip));
        }
        if due || news || self.reply {
            self.reply = false;
            self.said = Some(beat.clone());
            self.outbox.send(beat);
        }
    }

    fn say_goodbye(&mut self, now: Instant) {
        let farewell = self.farewell();
        let Phase::Goodbye { leave, left, next } = &mut self.phase else { return };
        if now < *next {
            return;
        }
        self.outbox.send(farewell);
        *left -= 1;
        *next = now.plus(farewell_spacing(&self.settings));
        if *left > 0 {
            return;
        }
        let moved = if self.peer.is_alive() { leave.held.clone() } else { Vec::new() };
        let took_ms = millis(now.since(leave.since));
        let done = Answer::Done { moved, took_ms, overlap_ms: None };
        self.outbox.push(Output::Answer { id: leave.id, answer: done });
        self.end();
    }

    pub(super) fn compose(&self) -> Beat {
        let node = match self.phase {
            Phase::Booting { .. } => NodeState::Booting,
            Phase::Running { .. } | Phase::Restarting(_) => NodeState::Running,
            Phase::Leaving(_) => NodeState::Leaving,
            Phase::Goodbye { .. } | Phase::Ended => NodeState::Gone,
        };
        let standing = (self.licence(), self.standing(self.ticked).settled);
        Beat {
            node,
            hears: self.peer.hears(),
            config: self.settings.config.whole,
            notice: self.notice(),
            groups: self.groups.iter().map(|group| group.claim(standing, self.ticked)).collect(),
            sections: self.sections(),
            words: Words::default(),
        }
    }

    /// The parts of our configuration, as long as the peer's is another one.
    fn sections(&self) -> Vec<SectionDigest> {
        if !self.peer.config_differs() {
            return Vec::new();
        }
        self.settings.config.sections.iter().take(SECTIONS_MAX).map(Section::told).collect()
    }

    /// From beat to beat: our own, or more often where the peer's deadtime asks for it, so that two
    /// files that differ, or are just being changed, make nobody look dead.
    pub(super) fn keepalive(&self) -> Duration {
        let theirs = Duration::from_millis(self.peer.notice().deadtime_ms.into());
        match theirs / BEATS_PER_DEADTIME {
            Duration::ZERO => self.settings.keepalive,
            most => self.settings.keepalive.min(most.max(KEEPALIVE_MIN)),
        }
    }

    fn notice(&self) -> Notice {
        let deadtime_ms = u32::try_from(self.settings.deadtime.as_millis()).unwrap_or(u32::MAX);
        Notice {
            freeze: self.freeze,
            back_ms: self.back_ms(),
            deadtime_ms,
            guarded: self.guarded,
            reach: self.own_reach(),
        }
    }
}
