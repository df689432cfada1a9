//! Sessions heard of and not proven: whom to offer an echo, so that a live one can prove itself.
//!
//! A correctly signed packet of an unknown session comes from a peer that has just started, or
//! from somebody who plays back a capture. Only the answer to our echo tells them apart, so each
//! gets a place and a trial; whoever owns many captures must not be able to keep the places
//! taken for ever.

use std::time::Duration;

use crate::time::Instant;
use crate::wire::SessionId;
use crate::wire::frame::Echo;

/// Most sessions echoed at a time. In peace there is one; more only while captures are played
/// back at us.
pub(super) const CANDIDATES_MAX: usize = 4;
/// Most sessions remembered as having had their trial.
const TRIED_MAX: usize = 32;
/// A trial lasts a deadtime divided by this: our echo goes out within a sixteenth, and a live peer
/// answers it at once.
const TRIALS_PER_DEADTIME: u32 = 4;
/// How long a session that had its trial stands back when others want the places, in deadtimes.
const STAND_BACK: u32 = 8;

/// The sessions on trial.
#[derive(Debug)]
pub(super) struct Candidates {
    deadtime: Duration,
    on_trial: Vec<Candidate>,
    /// With the moment when each may come again.
    tried: Vec<(SessionId, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    echo: Echo,
    since: Instant,
    heard: Instant,
}

impl Candidates {
    pub(super) fn retime(&mut self, deadtime: Duration) {
        self.deadtime = deadtime;
    }

    pub(super) fn new(deadtime: Duration) -> Self {
        Self { deadtime, on_trial: Vec::new(), tried: Vec::new() }
    }

    /// Notes a signed, unproven packet; true when its session was given a place just now.
    pub(super) fn note(&mut self, now: Instant, heard: Echo) -> bool {
        self.forget(now);
        if let Some(known) = self.on_trial.iter_mut().find(|c| c.echo.session == heard.session) {
            known.echo.seq = known.echo.seq.max(heard.seq);
            known.heard = now;
            return false;
        }
        let tried = self.tried.iter().any(|(session, _)| *session == heard.session);
        let crowded = self.on_trial.len() + self.tried.len() > CANDIDATES_MAX;
        if (tried && crowded) || !self.room(now) {
            return false;
        }
        self.tried.retain(|(session, _)| *session != heard.session);
        self.on_trial.push(Candidate { echo: heard, since: now, heard: now });
        true
    }

    /// The sessions to echo now.
    pub(super) fn echoes(&self, now: Instant) -> Vec<Echo> {
        let live = self.on_trial.iter().filter(|c| now.since(c.heard) <= self.deadtime);
        live.map(|candidate| candidate.echo).collect()
    }

    /// A session was proven: the others were played back.
    pub(super) fn clear(&mut self) {
        self.on_trial.clear();
        self.tried.clear();
    }

    /// Whether there is a free place, after sending away the one whose trial has lasted longest
    /// past its end.
    fn room(&mut self, now: Instant) -> bool {
        if self.on_trial.len() < CANDIDATES_MAX {
            return true;
        }
        let over = |c: &Candidate| now.since(c.since) > self.deadtime / TRIALS_PER_DEADTIME;
        let longest = self.on_trial.iter().enumerate().filter(|(_, c)| over(c));
        let Some((place, _)) = longest.min_by_key(|(_, c)| c.since) else {
            return false;
        };
        let sent_away = self.on_trial.swap_remove(place);
        self.stand_back(now, sent_away);
        true
    }

    fn forget(&mut self, now: Instant) {
        self.tried.retain(|(_, until)| now < *until);
        let deadtime = self.deadtime;
        let silent = |c: &Candidate| now.since(c.heard) > deadtime;
        let gone: Vec<Candidate> = self.on_trial.iter().copied().filter(silent).collect();
        self.on_trial.retain(|c| !silent(c));
        for candidate in gone {
            self.stand_back(now, candidate);
        }
    }

    fn stand_back(&mut self, now: Instant, candidate: Candidate) {
        if self.tried.len() >= TRIED_MAX {
            self.tried.remove(0);
        }
        let until = now.plus(self.deadtime.saturating_mul(STAND_BACK));
        self.tried.push((candidate.echo.session, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADTIME: Duration = Duration::from_secs(1);

    fn echo(n: u8) -> Echo {
        Echo { session: SessionId([n; 16]), seq: 1 }
    }

    fn has(candidates: &Candidates, now: Instant, n: u8) -> bool {
        candidates.echoes(now).iter().any(|e| e.session == SessionId([n; 16]))
    }

    #[test]
    fn one_session_is_echoed_as_long_as_it_is_heard_and_may_come_back() {
        let mut candidates = Candidates::new(DEADTIME);
        for second in [0, 1, 2, 10, 11] {
            let now = Instant::from_millis(second * 900);
            candidates.note(now, Echo { seq: second + 1, ..echo(1) });
            assert_eq!(candidates.echoes(now), [Echo { seq: second + 1, ..echo(1) }]);
        }
        assert!(candidates.echoes(Instant::from_millis(60_000)).is_empty());
    }

    #[test]
    fn captures_of_many_sessions_cannot_keep_a_live_one_out() {
        let mut candidates = Candidates::new(DEADTIME);
        let mut had_a_place = 0;
        for millis in 0..60_000 {
            let now = Instant::from_millis(millis);
            // Thirty captured sessions, played back a thousand times a second, always first.
            for captured in 0..30 {
                candidates.note(now, echo(100 + captured));
            }
            if millis % 200 == 0 {
                candidates.note(now, echo(1));
            }
            had_a_place += u32::from(has(&candidates, now, 1));
        }
        assert!(had_a_place >= 1000, "the live session had a place for {had_a_place} ms of 60 s");
    }
}
