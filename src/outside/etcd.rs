//! A lease in etcd, over its HTTP gateway (`/v3`, JSON).
//!
//! One key for each group; its value says which node has it, and in which of its lives. It is made
//! where it is absent and bound to a lease, so that it goes by itself when nobody renews it. Each
//! question is a conversation over one connection; what happens when it breaks off in the middle
//! is that a key stays until its lease runs out. Neighbours: `http` carries the requests,
//! `json` is their form.

mod http;
pub mod json;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use zeroize::Zeroizing;

use self::http::Link;
use self::json::{Found, Lease};
use crate::config::{Endpoint, Etcd};
use crate::names::GroupName;
use crate::outside::arbiter::Claimant;

/// So often a conversation begins anew because somebody else was faster, or a lease had just run
/// out.
const ROUNDS: u32 = 3;

/// Who has a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenure {
    /// This node, for the whole length of the lease from when it was asked.
    Ours,
    /// Another one: what the key says.
    Others(String),
}

/// Why etcd gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The time is over.
    #[error("no answer within {} ms", limit.as_millis())]
    Late {
        /// How long it was waited for.
        limit: Duration,
    },
    /// No connection.
    #[error("can't connect to {address}: {cause}")]
    Connect {
        /// Whereto.
        address: std::net::SocketAddr,
        /// The system's reason, or TLS's.
        cause: std::io::Error,
    },
    /// A file for TLS is of no use.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    /// The connection broke off.
    #[error("the conversation broke off: {0}")]
    Broken(String),
    /// Not what etcd says.
    #[error("an answer that can't be understood: {0}")]
    Nonsense(String),
    /// etcd refused.
    #[error("etcd refuses: {0}")]
    Refused(String),
    /// The token is not or no longer good.
    #[error("etcd wants a user, or knows this one no more")]
    Unauthenticated,
    /// The key changed under our hands each time.
    #[error("the key changed {ROUNDS} times while it was asked for")]
    Contested,
}

impl EtcdError {
    /// Whether another member may know better.
    fn is_of_one_member(&self) -> bool {
        match self {
            Self::Late { .. }
            | Self::Connect { .. }
            | Self::Broken(_)
            | Self::Nonsense(_)
            | Self::Refused(_) => true,
            Self::Tls(_) | Self::Unauthenticated | Self::Contested => false,
        }
    }
}

/// What is to be had of one etcd cluster.
#[derive(Debug)]
pub struct Client {
    etcd: Etcd,
    /// The member that answered last.
    good: Cell<usize>,
    token: RefCell<Option<Zeroizing<String>>>,
}

/// What is asked in one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Claim,
    Release,
}

impl Client {
    /// Nothing is asked yet.
    pub fn new(etcd: &Etcd) -> Self {
        Self { etcd: etcd.clone(), good: Cell::new(0), token: RefCell::new(None) }
    }

    /// Makes the group's key where there is none, renews it where it is ours. A key of an earlier
    /// life of this node is ours.
    ///
    /// # Errors
    /// [`EtcdError`], of the member that was asked last.
    pub async fn claim(
        &self,
        group: &GroupName,
        claimant: &Claimant,
        limit: Duration,
    ) -> Result<Tenure, EtcdError> {
        self.ask(Wish::Claim, group, claimant, limit).await
    }

    /// Removes the group's key where it is ours.
    ///
    /// # Errors
    /// [`EtcdError`], of the member that was asked last.
    pub async fn release(
        &self,
        group: &GroupName,
        claimant: &Claimant,
        limit: Duration,
    ) -> Result<(), EtcdError> {
        self.ask(Wish::Release, group, claimant, limit).await.map(drop)
    }

    /// Asks the members one after the other, the one that answered last first. Each gets an equal
    /// share of the time, for one that takes connections and says nothing would use up all of it.
    async fn ask(
        &self,
        wish: Wish,
        group: &GroupName,
        claimant: &Claimant,
        limit: Duration,
    ) -> Result<Tenure, EtcdError> {
        let members = self.etcd.endpoints.len();
        let share = limit / u32::try_from(members.max(1)).unwrap_or(u32::MAX);
        let order = (0..members).map(|step| (self.good.get() + step) % members);
        let mut last = Err(EtcdError::Refused("no member is configured".to_owned()));
        for place in order.collect::<Vec<_>>() {
            let Some(endpoint) = self.etcd.endpoints.get(place) else { continue };
            let asked = self.ask_member(wish, endpoint, (group, claimant));
            last = tokio::time::timeout(share, asked)
                .await
                .unwrap_or(Err(EtcdError::Late { limit: share }));
            match &last {
                Err(error) if error.is_of_one_member() => {}
                _ => {
                    self.good.set(place);
                    break;
                }
            }
        }
        last
    }

    async fn ask_member(
        &self,
        wish: Wish,
        endpoint: &Endpoint,
        (group, claimant): (&GroupName, &Claimant),
    ) -> Result<Tenure, EtcdError> {
        let stream = http::connect(endpoint, self.etcd.tls.as_ref()).await?;
        http::converse(stream, endpoint, async |mut link| {
            if self.etcd.user.is_some() && self.token.borrow().is_none() {
                self.authenticate(&mut link).await?;
            }
            let talk = Talk { etcd: &self.etcd, group, claimant };
            link.token = self.token.borrow().clone();
            match talk.hold(wish, &mut link).await {
                Err(EtcdError::Unauthenticated) if self.etcd.user.is_some() => {
                    self.authenticate(&mut link).await?;
                    link.token = self.token.borrow().clone();
                    talk.hold(wish, &mut link).await
                }
                other => other,
            }
        })
        .await
    }

    async fn authenticate(&self, link: &mut Link) -> Result<(), EtcdError> {
        let Some((name, password)) = &self.etcd.user else { return Ok(()) };
        link.token = None;
        let token = link.authenticate(name, password).await?;
        self.token.replace(Some(token));
        Ok(())
    }
}

/// One conversation about one group.
struct Talk<'a> {
    etcd: &'a Etcd,
    group: &'a GroupName,
    claimant: &'a Claimant,
}

impl Talk<'_> {
    async fn hold(&self, wish: Wish, link: &mut Link) -> Result<Tenure, EtcdError> {
        match wish {
            Wish::Claim => self.claim(link).await,
            Wish::Release => self.release(link).await,
        }
    }

    fn key(&self) -> String {
        format!("{}{}", self.etcd.prefix, self.group)
    }

    fn value(&self) -> String {
        format!("{} {}", self.claimant.node, self.claimant.session)
    }

    fn is_ours(&self, found: &Found) -> bool {
        found.value.split(' ').next() == Some(self.claimant.node.as_str())
    }

    async fn claim(&self, link: &mut Link) -> Result<Tenure, EtcdError> {
        for _ in 0..ROUNDS {
            let found = link.range(&self.key()).await?;
            let revision = match &found {
                Some(found) if !self.is_ours(found) => {
                    return Ok(Tenure::Others(found.value.clone()));
                }
                Some(found) => {
                    if found.value == self.value() && self.renew(found, link).await? {
                        return Ok(Tenure::Ours);
                    }
                    Some(found.mod_revision)
                }
                None => None,
            };
            if self.write(revision, link).await? {
                return Ok(Tenure::Ours);
            }
        }
        Err(EtcdError::Contested)
    }

    /// Whether the key is ours for the whole length from now on.
    async fn renew(&self, found: &Found, link: &mut Link) -> Result<bool, EtcdError> {
        let Some(lease) = found.lease else { return Ok(false) };
        Ok(link.keep_alive(lease).await? >= self.seconds())
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.etcd.lease.as_secs()).unwrap_or(i64::MAX)
    }

    /// Writes the key, bound to a new lease, if it is as it was seen: absent, or of that revision.
    async fn write(&self, seen: Option<i64>, link: &mut Link) -> Result<bool, EtcdError> {
        let Lease { id, seconds } = link.grant(self.seconds()).await?;
        if seconds < self.seconds() {
            return Err(EtcdError::Nonsense(format!("a lease of {seconds} s")));
        }
        let written = link.put_if(&self.key(), &self.value(), (seen, id)).await?;
        if !written {
            link.revoke(id).await?;
        }
        Ok(written)
    }

    /// With its lease goes the key; were it somebody else's by now, that would be another lease.
    async fn release(&self, link: &mut Link) -> Result<Tenure, EtcdError> {
        if let Some(found) = link.range(&self.key()).await?
            && self.is_ours(&found)
            && let Some(lease) = found.lease
        {
            link.revoke(lease).await?;
        }
        Ok(Tenure::Ours)
    }
}
