//! Ping nodes: echo requests at an interval, and who answers.
//!
//! A node counts as reached as long as its last answer is younger than deadping; a group when one
//! of its members does. Neighbours: [`crate::probe`] knows ICMP.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::config::PingNode;
use crate::lvs::check::{CheckKind, CheckSpec};
use crate::outside::arbiter::reaches;
use crate::time::Instant;

/// Shortest time for one answer, whatever the interval: a router answers for others first.
const ANSWER_MIN: Duration = Duration::from_millis(200);

/// Whether a ping node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// It has not answered yet, and has not been silent for a deadping.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It has been silent for a deadping.
    Down,
}

/// What is known of one ping node. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinged {
    since: Instant,
    answered: Option<Instant>,
}

impl Pinged {
    /// Nothing is known at `now`.
    pub fn new(now: Instant) -> Self {
        Self { since: now, answered: None }
    }

    /// An answer came.
    pub fn answers(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// Whether it is reached.
    pub fn reach(&self, now: Instant, deadping: Duration) -> Reach {
        match self.answered {
            _ if now.since(self.answered.unwrap_or(self.since)) >= deadping => Reach::Down,
            Some(_) => Reach::Up,
            None => Reach::Unknown,
        }
    }

    /// Since the last answer.
    pub fn silent(&self, now: Instant) -> Option<Duration> {
        self.answered.map(|at| now.since(at))
    }
}

/// Asks every member of a ping node; whether one of them answers within the interval.
pub async fn ask(node: &PingNode, interval: Duration) -> bool {
    let timeout = interval.max(ANSWER_MIN);
    let members = node.members.iter().map(|ip| CheckSpec {
        interval,
        ..CheckSpec::once(CheckKind::Ping, (*ip, 0).into(), timeout)
    });
    let mut asked: FuturesUnordered<_> = members.map(reaches).collect();
    while let Some(answers) = asked.next().await {
        if answers {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_node_is_down_after_a_deadping_of_silence_and_unknown_before_its_first_answer() {
        let start = Instant::from_millis(1000);
        let after = |millis| start.plus(Duration::from_millis(millis));
        let deadping = Duration::from_millis(500);
        let mut node = Pinged::new(start);
        assert_eq!(node.reach(after(499), deadping), Reach::Unknown);
        assert_eq!(node.reach(after(500), deadping), Reach::Down);
        node.answers(after(600));
        assert_eq!(node.reach(after(1099), deadping), Reach::Up);
        assert_eq!(node.reach(after(1100), deadping), Reach::Down);
        assert_eq!(node.silent(after(700)), Some(Duration::from_millis(100)));
    }
}
