//! The world outside the pair: arbiters that some node can't reach, and a power switch.

use std::time::Duration;

use pairbeat::cluster::event::{Input, OutsideOrder};
use pairbeat::cluster::message::Wish;
use pairbeat::cluster::{ArbiterAnswer, OutsideSettings};
use pairbeat::names::GroupId;
use pairbeat::time::Instant;

use crate::session::Delivery;
use crate::world::{Crash, Happening, Machine, NAMES, World};

/// How long an arbiter takes to answer, and a power switch to switch.
const ARBITER_TAKES: Duration = Duration::from_millis(5);
const SWITCH_TAKES: Duration = Duration::from_millis(800);

/// How the power switch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Switch {
    #[default]
    Works,
    Fails,
    /// Until the driver's limit.
    Hangs,
    /// The driver never answers.
    Mute,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Outside {
    /// By arbiter and group: who was granted it, and until when.
    keys: std::collections::BTreeMap<(u8, GroupId), (usize, Instant)>,
    /// By node: no arbiter is reached from there.
    pub(crate) cut: [bool; 2],
    pub(crate) switch: Switch,
}

impl<D: Delivery> World<D> {
    /// A node's core orders something.
    pub(crate) fn order_outside(&mut self, node: usize, order: OutsideOrder) {
        let settings = self.nodes[node].settings.outside.clone();
        let start = self.nodes[node].starts;
        let cut = self.outside.cut[node];
        let (takes, text) = match order {
            OutsideOrder::Ask { arbiter, group, .. } => {
                let arbiter = &settings.arbiters[usize::from(arbiter)];
                let takes = if cut { arbiter.timeout } else { ARBITER_TAKES };
                (takes, format!("asks {} for {}", arbiter.name, group.0))
            }
            OutsideOrder::Release { arbiter, group } => {
                let arbiter = &settings.arbiters[usize::from(arbiter)];
                (ARBITER_TAKES, format!("lets go of {} for {}", arbiter.name, group.0))
            }
            OutsideOrder::Fence { .. } => {
                let takes = match self.outside.switch {
                    Switch::Hangs => settings.fence.unwrap(),
                    _ => SWITCH_TAKES,
                };
                (takes, "switches the other one off".to_owned())
            }
        };
        self.note(|| format!("{} {text}", NAMES[node]));
        self.push(self.now.plus(takes), Happening::Outside { node, start, order, cut });
    }

    pub(crate) fn outside(&mut self, (node, start): (usize, u64), order: OutsideOrder, cut: bool) {
        let settings = self.nodes[node].settings.outside.clone();
        let input = match order {
            OutsideOrder::Ask { order, arbiter, group } => {
                let answer = if cut {
                    ArbiterAnswer::Unreachable("no answer".to_owned())
                } else {
                    self.claim_key(node, &settings, (arbiter, group))
                };
                Some(Input::Arbiter { order, answer })
            }
            OutsideOrder::Release { arbiter, group } => {
                let owner = self.outside.keys.get(&(arbiter, group)).map(|(owner, _)| *owner);
                if !cut && owner == Some(node) {
                    self.outside.keys.remove(&(arbiter, group));
                }
                None
            }
            OutsideOrder::Fence { order } => match self.outside.switch {
                Switch::Works => {
                    self.crash(1 - node, Crash::Power);
                    Some(Input::Fenced { order, said: Ok("off".to_owned()) })
                }
                Switch::Fails => Some(Input::Fenced { order, said: Err("refused".to_owned()) }),
                Switch::Hangs => Some(Input::Fenced { order, said: Err("timed out".to_owned()) }),
                Switch::Mute => None,
            },
        };
        let machine = &mut self.nodes[node];
        let current = machine.starts == start;
        if let (Some(process), Some(input), true) = (&mut machine.process, input, current) {
            process.seen.push_back(input);
            self.turn(node);
        }
    }

    fn claim_key(
        &mut self,
        node: usize,
        settings: &OutsideSettings,
        key: (u8, GroupId),
    ) -> ArbiterAnswer {
        let Some(lease) = settings.arbiters[usize::from(key.0)].lease else {
            return ArbiterAnswer::Granted;
        };
        match self.outside.keys.get(&key) {
            Some((owner, until)) if *owner != node && self.now < *until => {
                ArbiterAnswer::Held(NAMES[*owner].to_owned())
            }
            _ => {
                self.outside.keys.insert(key, (node, self.now.plus(lease)));
                ArbiterAnswer::Granted
            }
        }
    }

    /// Whether nobody outside keeps a node from taking, for longer than they may.
    pub(crate) fn outside_agrees(&self, node: usize) -> bool {
        let settings = &self.nodes[node].settings.outside;
        let isolated = settings.ping.ipfail && self.reached[node] == 0;
        let cut = self.outside.cut[node] && !settings.arbiters.is_empty();
        let unfenced = settings.fence.is_some() && self.outside.switch != Switch::Works;
        !isolated && !cut && !unfenced
    }

    /// How long they may: a lease runs out, and the last try of a device that failed is followed by
    /// the longest pause.
    pub(crate) fn outside_may_take(&self, node: usize) -> Duration {
        let settings = &self.nodes[node].settings.outside;
        let asked = settings.arbiters.iter().map(|arbiter| {
            arbiter.timeout * 3 + arbiter.lease.unwrap_or_default() * 2 + Duration::from_secs(2)
        });
        let fenced = settings.fence.map(|limit| limit + Duration::from_secs(70));
        asked.sum::<Duration>() + fenced.unwrap_or_default()
    }

    /// S2: where a lease is required, or the peer is fenced before anything is taken from it, no two
    /// nodes serve without agreement for longer than a stop takes after they have noticed.
    pub(crate) fn check_one(&mut self, group: usize) {
        let settings = &self.nodes[0].settings;
        let lease = settings.outside.arbiters.iter().any(|it| it.required && it.lease.is_some());
        let in_force = lease || settings.outside.fence.is_some();
        // Fencing alone does not part two that were just handing over (docs/GAPS.md).
        let offers =
            |node: &Machine<D>| node.claim(group).is_some_and(|claim| claim.wish == Wish::Offer);
        let agreed = self.nodes.iter().any(offers);
        // A kernel without a lease serves on for a process that does not run; only fencing ends that.
        let fenced = settings.outside.fence.is_some() && !agreed;
        let blind = |node: &Machine<D>| {
            (node.process.is_none() || node.suspended.is_some()) && !node.guarded && !fenced
        };
        let blind = self.nodes.iter().any(blind);
        let both = self.answers(0, group) && self.answers(1, group);
        // Until one of them has nothing of it any more, also if one is not heard for a while.
        let up = self.nodes.iter().all(|node| node.up[group].contains(&true));
        if up && agreed && !lease {
            self.checks.groups[group].two = Some(Instant::NEVER);
        }
        if up && self.checks.groups[group].two == Some(Instant::NEVER) {
            return;
        }
        if !in_force || !both || blind || self.checks.troubled {
            self.checks.groups[group].two = None;
            return;
        }
        // A device that does nothing is tried again after a pause.
        if self.outside.switch != Switch::Works && !lease {
            let tried = self.now.plus(self.outside_may_take(0));
            self.checks.groups[group].two = Some(tried);
            return;
        }
        let agents = self.nodes[0].agent_max.max(self.nodes[1].agent_max);
        let actions = settings.groups[group].resources.len() as u32 * 3;
        // A hand-over that is cut in two is an overlap until the peer is dead.
        let noticed = settings.deadtime * 2 + settings.keepalive * 2;
        let limit = noticed + agents * actions + self.heal() + Duration::from_secs(1);
        let since = *self.checks.groups[group].two.get_or_insert(self.now);
        if self.now.since(since) > limit {
            self.fail(format!("S2: both nodes serve group {group} since {since}"));
        }
    }

    /// A node can reach the arbiters no more, or again.
    pub(crate) fn cut_arbiters(&mut self, node: usize, cut: bool) {
        if self.outside.cut[node] != cut {
            self.note(|| {
                format!("{} arbiters {}", NAMES[node], if cut { "cut" } else { "mended" })
            });
            self.outside.cut[node] = cut;
        }
    }

    /// So many ping nodes answer a node.
    pub(crate) fn reach(&mut self, node: usize, count: u8) {
        if self.reached[node] != count {
            self.note(|| format!("{} reaches {count} ping nodes", NAMES[node]));
            self.reached[node] = count;
            if let Some(process) = &mut self.nodes[node].process {
                process.seen.push_back(Input::Reached(Some(count)));
            }
            self.turn(node);
            self.check_step();
        }
    }
}
