//! How a service's pools are used: what ldirectord has no words for.
//!
//! In a director for all its services, or in a service.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::diag::Span;
use crate::config::toml::director::either;
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::model::{Need, Policy, Quorum, VirtualService};

/// The scheduler of a stateless service: a connection's server follows from its addresses, ports and the
/// servers' weights alone, and few connections move when a server comes or goes.
pub(super) const MAGLEV: &str = "mh";

/// What is said of it, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    quorum: Option<(Quorum, Span)>,
    slow_start: Option<(Duration, Span)>,
    panic: Option<u8>,
    stateless: Option<bool>,
}

/// Shortest and longest growth of a weight.
const SLOW_START: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

impl Said {
    pub(super) fn read(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Self {
        let quorum = fields.take("quorum").and_then(|item| Some((quorum(item, walk)?, item.span)));
        let slow_start = fields.take("slow_start").and_then(|item| {
            let time = item.time(walk)?;
            if !SLOW_START.contains(&time) {
                walk.faults.fault(item.span, "at least 1s and at most 24h");
                return None;
            }
            Some((time, item.span))
        });
        let panic = fields.take("panic").and_then(|item| item.number(1, 99, walk));
        let panic = panic.and_then(|percent| u8::try_from(percent).ok());
        let stateless = fields
            .take("profile")
            .map(|item| either(item, ["stateful", "stateless"], "no profile of a service", walk));
        Self { quorum, slow_start, panic, stateless }
    }

    /// What this one does not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        Self {
            quorum: self.quorum.or(farther.quorum),
            slow_start: self.slow_start.or(farther.slow_start),
            panic: self.panic.or(farther.panic),
            stateless: self.stateless.or(farther.stateless),
        }
    }

    /// Whether connections are to find their servers without a table of them.
    pub(super) fn is_stateless(&self) -> bool {
        self.stateless == Some(true)
    }

    /// The policy of a service; complains where its pool can't meet it.
    pub(super) fn build(&self, service: &VirtualService, walk: &mut Walk<'_>) -> Policy {
        let quorum = self.quorum.map(|(quorum, at)| {
            attainable(quorum, at, service, walk);
            quorum
        });
        let slow_start = self.slow_start.map(|(span, at)| {
            if !service.reals.is_empty() && service.reals.iter().all(|real| real.weight < 2) {
                let message = format!("{:#}: a weight of 1 has no part to begin with", service.key);
                let help = "give its real servers greater weights, 100 for example";
                walk.faults.warn(at, message).help(help);
            }
            if self.is_stateless() {
                warn_of_weights(at, "weights that grow", walk);
            }
            span
        });
        Policy {
            quorum: quorum.unwrap_or_default(),
            slow_start,
            panic: self.panic,
            pace: service.policy.pace,
            stateless: self.is_stateless(),
        }
    }
}

/// What can't be in a stateless service.
pub(super) fn refuse_state(
    (scheduler, persistent): (Option<Item<'_>>, Option<Item<'_>>),
    known: Option<&str>,
    walk: &mut Walk<'_>,
) {
    if let Some((item, other)) = scheduler.zip(known).filter(|(_, known)| *known != MAGLEV) {
        let message = format!("a stateless service is scheduled by `{MAGLEV}`, not by `{other}`");
        walk.faults.fault(item.span, message).help("leave one of both out");
    }
    if let Some(item) = persistent {
        let message =
            "a stateless service can't be persistent: it does not know who has come before";
        let help =
            "with `scheduler_flags = \"mh-fallback\"` a client's address alone chooses its server";
        walk.faults.fault(item.span, message).help(help);
    }
}

/// What makes the weights of one director other ones than the other's.
pub(super) fn warn_of_weights(at: Span, what: &str, walk: &mut Walk<'_>) {
    let message =
        format!("{what} may differ between the directors: they choose different servers then");
    let help = "a stateless service keeps its connections only where both directors have the same \
                weights";
    walk.faults.warn(at, message).help(help);
}

/// A total weight, or a table of `weight` or `servers`, and `hysteresis`.
fn quorum(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Quorum> {
    if !item.is_table() {
        let need = Need::Weight(item.number(1, u32::MAX, walk)?);
        return Some(Quorum { need, hysteresis: 0 });
    }
    let mut fields = item.fields(walk)?;
    let mut number = |key, low| fields.take(key).map(|item| item.number(low, u32::MAX, walk));
    let (weight, servers) = (number("weight", 1), number("servers", 1));
    let hysteresis = number("hysteresis", 0).unwrap_or(Some(0));
    fields.finish(walk);
    let (need, most) = match (weight, servers) {
        (Some(weight), None) => (Need::Weight(weight?), weight?),
        (None, Some(servers)) => (Need::Servers(servers?), servers?),
        _ => {
            let message = "a quorum is of `weight` or of `servers`";
            walk.missing(item.span, message, "`quorum = { servers = 2, hysteresis = 1 }`");
            return None;
        }
    };
    let hysteresis = hysteresis?;
    if hysteresis >= most {
        let message = format!("a hysteresis of {hysteresis} below {most}: it is never lost");
        walk.faults.fault(item.span, message).help("less than what is needed");
        return None;
    }
    Some(Quorum { need, hysteresis })
}

fn attainable(quorum: Quorum, at: Span, service: &VirtualService, walk: &mut Walk<'_>) {
    let reals = service.reals.iter().filter(|real| real.weight > 0);
    let (need, there): (u32, u64) = match quorum.need {
        Need::Weight(need) => (need, reals.map(|real| u64::from(real.weight)).sum()),
        Need::Servers(need) => (need, reals.map(|_| 1).sum()),
    };
    if u64::from(need) > there && !service.reals.is_empty() {
        let message = format!("{:#} has {there} in all: the quorum is never met", service.key);
        walk.faults.fault(at, message);
    }
}
