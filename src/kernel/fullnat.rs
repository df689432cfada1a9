//! Full NAT: IPVS by NAT, and rules of nftables that give what it sends on another source.
//!
//! ```text
//!   client > VIP:80 --IPVS--> client > real:8080 --postrouting: snat--> DIP > real:8080
//!   client < VIP:80 <--IPVS-- client < real:8080 <--conntrack---------- DIP < real:8080
//! ```
//!
//! A facade before [`IpvsHandle`]: whoever reads the table through it finds a destination of full NAT
//! only where IPVS has it and its rules are in force; whoever orders one gets the rules first and loses
//! them last. So what somebody else does to the rules is repaired as what they do to IPVS's table. The
//! rules are one table of family inet, replaced as a whole; connections that are open do not notice.
//! What the two settings were that full NAT needs stands in the table's comment: it is known for as long as
//! the kernel has the rules, whatever becomes of this process.

mod rules;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};

use self::rules::{Found, comment, text};
use crate::kernel::changes::Changes;
use crate::kernel::ipvs::IpvsHandle;
use crate::kernel::nft::{self, NftError, removal};
use crate::kernel::sysctl::SysctlError;
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::model::{ConnectionCounts, Table};
use crate::lvs::plan::Op;
use crate::lvs::translation::Translated;
use crate::sys::clock;
use crate::time::Instant;

/// The table of a node of a cluster.
pub const OF_NODE: &str = "inet pairbeat_fullnat";
/// That of a director without a cluster: such ones may run beside a node.
pub const OF_ALONE: &str = "inet pairbeat_fullnat_alone";
/// What both have in their names.
const NAME: &str = "pairbeat_fullnat";
/// From one look at the rules to the next where the kernel tells of no change.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Longest look: IPVS's own answer, which waits for it, has 5 s.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// Why the source can't be translated.
#[derive(Debug, thiserror::Error)]
enum RulesError {
    #[error(transparent)]
    Rules(#[from] NftError),
    #[error("{0}: is this kernel's IPVS built with CONFIG_IP_VS_NFCT?")]
    Setting(#[from] SysctlError),
}

/// The kernel's IPVS with full NAT.
#[derive(Debug, Clone)]
pub struct FullNat {
    ipvs: IpvsHandle,
    /// One order at a time: rules and table change together.
    state: Arc<Mutex<State>>,
}

impl FullNat {
    /// In the network namespace of the caller; `table` is [`OF_NODE`] or [`OF_ALONE`]. Needs a tokio
    /// runtime. Nothing is changed yet.
    pub fn new(ipvs: IpvsHandle, table: &'static str) -> Self {
        // Without the kernel's word the rules are looked at with each reading.
        let changes = Changes::open(NAME).ok();
        let state = State {
            table,
            translated: Translated::default(),
            seal: None,
            stray: false,
            found: None,
            changes,
            looked: None,
        };
        Self { ipvs, state: Arc::new(Mutex::new(state)) }
    }

    /// The whole table and the connections of each destination.
    ///
    /// # Errors
    /// As [`IpvsHandle::dump`].
    pub async fn dump_with_counts(&self) -> Result<(Table, ConnectionCounts), KernelFault> {
        let mut state = self.state.lock().await;
        let (mut table, counts) = self.ipvs.dump_with_counts().await?;
        state.look().await;
        let there = state.translated.within(&table);
        if there != state.translated {
            state.reduce(there).await;
        }
        state.translated.mark(&mut table, state.stray);
        Ok((table, counts))
    }

    /// Obeys orders as [`IpvsHandle::apply`]. Where the rules can't be put in force, destinations of full
    /// NAT are refused with [`OpError::Untranslated`]: none is added, and one that is there already
    /// takes no new connections.
    ///
    /// # Errors
    /// As [`IpvsHandle::apply`].
    pub async fn apply(&self, ops: Vec<Op>) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let mut state = self.state.lock().await;
        let lacking = ops.iter().any(|op| state.translated.lacks(op));
        let needed = state.translated.before(&ops);
        let ready = if lacking { state.put(needed).await } else { Ok(()) };
        let answers = match ready {
            Ok(()) => self.ipvs.apply(ops.clone()).await?,
            Err(why) => self.apply_without(&ops, &state.translated, &why).await?,
        };
        let left = state.translated.after(&ops, &answers);
        let over = left.is_empty() && state.is_in_force() && answers.iter().all(Result::is_ok);
        if over || left != state.translated {
            state.reduce(left).await;
        }
        Ok(answers)
    }

    async fn apply_without(
        &self,
        ops: &[Op],
        in_force: &Translated,
        why: &RulesError,
    ) -> Result<Vec<Result<(), OpError>>, KernelFault> {
        let instead: Vec<_> = ops.iter().map(|op| in_force.instead(op)).collect();
        let mut answers =
            self.ipvs.apply(instead.iter().flatten().cloned().collect()).await?.into_iter();
        let each = ops.iter().zip(&instead).map(|(op, instead)| {
            let answer = instead.as_ref().and_then(|_| answers.next()).unwrap_or(Ok(()));
            if in_force.lacks(op) { Err(OpError::Untranslated(why.to_string())) } else { answer }
        });
        Ok(each.collect())
    }
}

#[derive(Debug)]
struct State {
    table: &'static str,
    /// Whose rules are in force, as far as is known.
    translated: Translated,
    /// The rules as nft wrote them then.
    seal: Option<String>,
    /// There are rules that are not as we left them, or of an earlier life.
    stray: bool,
    /// What the settings were before ours.
    found: Option<Found>,
    changes: Option<Changes>,
    looked: Option<Instant>,
}

impl State {
    /// Finds out whether what is in force is what we left.
    async fn look(&mut self) {
        if !self.is_look_due() {
            return;
        }
        // Without an answer nobody knows: what was in force is left alone, and whoever reads the table is not kept.
        let found = timeout(LOOK_LIMIT, nft::table(self.table)).await;
        self.looked = Some(clock::now());
        let Ok(Ok(found)) = found else { return };
        if self.found.is_none() {
            self.found = found.as_deref().and_then(comment);
        }
        let whole = found == self.seal && (found.is_none() || Found::is_set());
        if !whole {
            self.seal = None;
            self.translated = Translated::default();
            self.stray = found.is_some();
        }
    }

    fn is_look_due(&mut self) -> bool {
        let changed = self.changes.as_ref().map(|changes| changes.next().now_or_never().is_some());
        let Some(looked) = self.looked else { return true };
        let bare = self.translated.is_empty() && !self.stray;
        let due =
            changed.unwrap_or(true) || clock::now().since(looked) >= LOOK_EVERY || !Found::is_set();
        !bare && due
    }

    /// Whether there is anything to take back.
    fn is_in_force(&self) -> bool {
        self.stray || self.found.is_some()
    }

    /// Takes out of force what nobody needs any more. It matches nothing, and what can't be taken out now is so
    /// with the next reading.
    async fn reduce(&mut self, left: Translated) {
        if let Err(why) = self.put(left).await {
            warn!("rules of full NAT that nobody needs any more are still in force: {why}");
        }
    }

    /// Makes these rules those that are in force.
    async fn put(&mut self, needed: Translated) -> Result<(), RulesError> {
        if needed.is_empty() {
            return self.remove().await;
        }
        if needed == self.translated && self.seal.is_some() {
            return Ok(());
        }
        let found = match &self.found {
            Some(found) => found.clone(),
            None => Found::read()?,
        };
        let applied = nft::apply(&text(self.table, &needed, &found)).await;
        if applied.is_ok() || matches!(applied, Err(NftError::Silent)) {
            self.seal = None;
        }
        applied?;
        self.found = Some(found.clone());
        // Before that the kernel may not even know both: the rules make it load conntrack.
        if !Found::is_set() {
            Found::set()?;
            info!(
                "full NAT: conntrack of IPVS is on, and takes what is out of its window (were: {found})"
            );
        }
        // What could not be read back is in force all the same; the next look finds out.
        self.seal = nft::table(self.table).await.ok().flatten();
        (self.translated, self.stray) = (needed, false);
        self.looked = Some(clock::now());
        Ok(())
    }

    async fn remove(&mut self) -> Result<(), RulesError> {
        nft::apply(&removal(self.table)).await?;
        if let Some(found) = self.found.take() {
            found.restore()?;
        }
        (self.translated, self.stray, self.seal) = (Translated::default(), false, None);
        Ok(())
    }
}
