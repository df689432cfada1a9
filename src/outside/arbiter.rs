//! One question to one arbiter.
//!
//! Three answers: granted, held by the peer, unreachable. Ping nodes and TCP endpoints hold
//! nothing for anybody, so that they never say the second. Neighbours: [`super::etcd`] speaks with
//! etcd.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::config::{Arbiter, ArbiterKind, Needed};
use crate::lvs::check::{CheckKind, CheckSpec, Verdict};
use crate::lvs::model::Protocol;
use crate::names::{GroupName, NodeName};
use crate::outside::etcd::{self, EtcdError, Tenure};
use crate::probe::{Context, probe, tls::Trust};

/// What an arbiter says of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// This node may have it.
    Granted,
    /// Somebody else has it: who, as far as it is known.
    Held(String),
    /// No answer, or none that can be understood: why, in one line.
    Unreachable(String),
}

/// For whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// This node.
    pub node: NodeName,
    /// Differs from one life of this node to the next; no blanks.
    pub session: String,
}

/// An arbiter that can be asked again and again.
#[derive(Debug)]
pub struct Bench {
    arbiter: Arbiter,
    etcd: Option<etcd::Client>,
}

impl Bench {
    /// Nothing is asked yet.
    pub fn new(arbiter: &Arbiter) -> Self {
        let etcd = match &arbiter.kind {
            ArbiterKind::Etcd(etcd) => Some(etcd::Client::new(etcd)),
            ArbiterKind::Ping(..) | ArbiterKind::Tcp(..) => None,
        };
        Self { arbiter: arbiter.clone(), etcd }
    }

    /// As configured.
    pub fn arbiter(&self) -> &Arbiter {
        &self.arbiter
    }

    /// Asks for a group: grants it where nobody has it, renews it where this node has it. Takes at
    /// most the arbiter's time.
    pub async fn claim(&self, group: &GroupName, claimant: &Claimant) -> Said {
        let limit = self.arbiter.timeout;
        match (&self.arbiter.kind, &self.etcd) {
            (ArbiterKind::Ping(ips, needed), _) => {
                count(ips.iter().map(|ip| ping(*ip, limit)), *needed).await
            }
            (ArbiterKind::Tcp(targets, needed), _) => {
                count(targets.iter().map(|target| connect(*target, limit)), *needed).await
            }
            (ArbiterKind::Etcd(_), Some(client)) => {
                match within(limit, client.claim(group, claimant, limit)).await {
                    Ok(Tenure::Ours) => Said::Granted,
                    Ok(Tenure::Others(who)) => Said::Held(who),
                    Err(error) => Said::Unreachable(error.to_string()),
                }
            }
            (ArbiterKind::Etcd(_), None) => Said::Unreachable("not set up".to_owned()),
        }
    }

    /// Lets go of what this node was granted; nothing where it has nothing.
    ///
    /// # Errors
    /// [`EtcdError`]: it runs out by itself then.
    pub async fn release(&self, group: &GroupName, claimant: &Claimant) -> Result<(), EtcdError> {
        let limit = self.arbiter.timeout;
        match &self.etcd {
            Some(client) => within(limit, client.release(group, claimant, limit)).await,
            None => Ok(()),
        }
    }
}

async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, EtcdError>>,
) -> Result<T, EtcdError> {
    timeout(limit, asked).await.unwrap_or(Err(EtcdError::Late { limit }))
}

async fn ping(ip: IpAddr, limit: Duration) -> bool {
    reaches(CheckSpec::once(CheckKind::Ping, (ip, 0).into(), limit)).await
}

async fn connect(target: SocketAddr, limit: Duration) -> bool {
    let kind = CheckKind::Connect(Protocol::Tcp);
    reaches(CheckSpec::once(kind, target, limit)).await
}

/// Whether one address answers.
pub(super) async fn reaches(spec: CheckSpec) -> bool {
    let context = Context::new(Arc::new(Trust::none()), &[]);
    probe(&spec, &context).await.verdict == Verdict::Up
}

/// Asks all at the same time, and waits for no more of them than it takes.
async fn count(asked: impl Iterator<Item = impl Future<Output = bool>>, needed: Needed) -> Said {
    let mut waiting: FuturesUnordered<_> = asked.collect();
    let all = waiting.len();
    let needed = needed.of(all);
    let mut answered = 0;
    while let Some(reached) = waiting.next().await {
        answered += usize::from(reached);
        if answered >= needed {
            return Said::Granted;
        }
        if answered + waiting.len() < needed {
            break;
        }
    }
    Said::Unreachable(format!("{answered} of {all} answer, {needed} must"))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use futures_util::future::{LocalBoxFuture, ready};

    use super::*;

    fn said(answers: Vec<Option<bool>>, needed: Needed) -> Option<Said> {
        let futures = answers.into_iter().map(|answer| -> LocalBoxFuture<'static, bool> {
            match answer {
                Some(answer) => Box::pin(ready(answer)),
                None => Box::pin(pending()),
            }
        });
        count(futures, needed).now_or_never()
    }

    #[test]
    fn as_many_addresses_must_answer_as_are_needed_and_no_more_are_waited_for() {
        let lost = |text: &str| Some(Said::Unreachable(text.to_owned()));
        let (yes, no, never) = (Some(true), Some(false), None);
        assert_eq!(said(vec![never, yes, never], Needed::Any), Some(Said::Granted));
        assert_eq!(said(vec![never, yes, yes], Needed::Majority), Some(Said::Granted));
        assert_eq!(said(vec![never, yes, no], Needed::Majority), None, "the third one decides");
        assert_eq!(said(vec![never, no, no], Needed::Majority), lost("0 of 3 answer, 2 must"));
        assert_eq!(said(vec![yes, no], Needed::Majority), lost("1 of 2 answer, 2 must"));
        assert_eq!(said(vec![no, no], Needed::Any), lost("0 of 2 answer, 1 must"));
    }
}
