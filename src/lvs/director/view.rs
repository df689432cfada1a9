//! The director as the operator sees it: what `status`, `status --json` and the status page
//! render. Values only; text of addresses is as in `ipvsadm -Ln`.

use serde::{Deserialize, Serialize};

use super::{Control, Phase};
use crate::lvs::check::CheckKind;
use crate::lvs::health::{FLAPPING, State};
use crate::lvs::model::{
    ConnectionCount, Director, Forwarding, Need, Protocol, Quorum, RealServer, ServiceEntry,
    ServiceKey, VirtualService,
};
use crate::lvs::overrides::Override;
use crate::lvs::pool::{Pools, Turn};
use crate::time::{Instant, millis};

/// All services of all directors, and the state of the kernel's IPVS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// In the order of the configuration.
    pub services: Vec<ServiceView>,
    /// Whether the table can be read and written.
    pub kernel: KernelView,
    /// Whether the checker runs; if not, the verdicts below are its last ones.
    pub checker: bool,
    /// Every check has had a verdict and the kernel's table is as it should be.
    pub converged: bool,
    /// Why a client would not be served from here as well as from the active node; `None`: warm.
    #[serde(default)]
    pub cold: Option<String>,
    /// How many checks the active node does for us.
    #[serde(default)]
    pub followed: usize,
    /// The digest of what operators have ordered, where somebody keeps a book of it.
    #[serde(default)]
    pub orders: u64,
}

/// The state of the kernel's IPVS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelView {
    /// `ready`, `unknown` (not asked yet), or a fault in one word, such as `no_module`.
    pub state: String,
    /// The fault in a sentence, with its remedy.
    pub message: Option<String>,
    /// Orders that the kernel refused and that wait for their repetition.
    pub refused: Vec<String>,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// The director that it belongs to.
    pub director: String,
    /// `192.168.2.110:80`, `[2001:db8::1]:80`, `fwm 7`, `fwm6 7`.
    pub service: String,
    /// `tcp`, `udp`, `sctp`; `fwm` with a firewall mark.
    pub protocol: String,
    /// As configured.
    pub scheduler: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// What there is to know of it.
    #[serde(default)]
    pub comment: Option<String>,
    /// Persistence in seconds.
    pub persistent: Option<u32>,
    /// Whether the kernel has the service.
    pub in_kernel: bool,
    /// The sorry server.
    pub fallback: Option<FallbackView>,
    /// The primary pool, in the order of the configuration.
    pub real: Vec<RealView>,
    /// The backup pool.
    #[serde(default)]
    pub backup: Vec<RealView>,
    /// Who should serve; `None` before the first look. An older daemon does not say.
    #[serde(default)]
    pub turn: Option<Turn>,
    /// So much of the primary pool fails that those that fail stay in.
    #[serde(default)]
    pub panic: bool,
    /// The quorum of the primary pool, where one is configured.
    #[serde(default)]
    pub quorum: Option<QuorumView>,
}

/// The quorum of a primary pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumView {
    /// `weight` or `servers`.
    pub of: String,
    /// Met from so much on.
    pub needed: u32,
    /// Once met, lost below so much.
    pub lost_below: u32,
    /// As much is there.
    pub present: u64,
    /// Whether it is met.
    pub met: bool,
}

/// A sorry server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackView {
    /// `127.0.0.1:80`.
    pub address: String,
    /// Whether the kernel has it in service.
    pub active: bool,
    /// `up`, `down`, `unknown`; `unchecked` where it has no check. Only one that is up or unchecked
    /// is put in.
    #[serde(default)]
    pub state: String,
    /// Why it is down.
    #[serde(default)]
    pub cause: Option<String>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealView {
    /// `192.168.2.106:80`.
    pub address: String,
    /// `gate`, `masq`, `fullnat`, `fullnat:10.0.0.9`, `ipip`, `gue:6080`, `gre`; behind the last two
    /// `,csum`, `,remcsum`.
    pub forwarding: Forwarding,
    /// In the kernel; 0 also where it is not there.
    pub weight: u32,
    /// As configured.
    pub configured_weight: u32,
    /// Whether the kernel has it.
    pub in_kernel: bool,
    /// Whether the checks say that it is up.
    pub up: bool,
    /// `up`, `down`, or `unknown` before the first verdict.
    pub state: String,
    /// Why it is down.
    pub cause: Option<String>,
    /// How long it has been so, in milliseconds.
    pub since_ms: u64,
    /// Failed checks in a row up to now.
    pub failures: u32,
    /// Why this node can't check it at present; its state is the last verdict. An older daemon
    /// does not say.
    #[serde(default)]
    pub hindered: Option<String>,
    /// What its last check warns of, though it may be up: a certificate that is near its end. An
    /// older daemon does not say.
    #[serde(default)]
    pub warning: Option<String>,
    /// Percent of its weight that its agent asks for; `None` without an agent.
    #[serde(default)]
    pub agent_percent: Option<u16>,
    /// Why its agent can't be asked at present; what it said last holds.
    #[serde(default)]
    pub agent_silent: Option<String>,
    /// What must be up, too, for it to be up.
    #[serde(default)]
    pub requires: Vec<String>,
    /// How often its state has changed within the last ten minutes; more than 64 are not counted.
    #[serde(default)]
    pub changes: usize,
    /// Whether it has changed so often that it is said to flap.
    #[serde(default)]
    pub flapping: bool,
    /// After how many milliseconds it has its whole weight, while that grows after its return.
    #[serde(default)]
    pub whole_in_ms: Option<u64>,
    /// What an operator has ordered: `drain`, `disable`, `weight 5`.
    #[serde(default)]
    pub ordered: Option<String>,
    /// When a drain ends in any case, in milliseconds from now.
    #[serde(default)]
    pub drain_ends_ms: Option<u64>,
    /// Its connections through this node, at the last reading of the kernel's table.
    #[serde(default)]
    pub connections: ConnectionCount,
    /// As many of them are open: with TCP and SCTP the established ones, with UDP all that the kernel has
    /// not forgotten.
    #[serde(default)]
    pub open: u32,
}

impl Control {
    /// How everything stands at this moment.
    pub fn view(&self, now: Instant) -> View {
        let services = self.directors.iter().flat_map(|director| {
            director.services.iter().map(move |service| self.service(now, director, service))
        });
        View {
            services: services.collect(),
            kernel: self.kernel_view(),
            checker: self.checker,
            converged: self.converged(),
            cold: self.cold(),
            followed: self.following.count(),
            orders: 0,
        }
    }

    /// Why this node is not ready to serve.
    fn cold(&self) -> Option<String> {
        if self.converged() {
            return None;
        }
        let (unknown, checks) = self.health.unknown();
        Some(match self.kernel.fault() {
            Some(fault) => fault.to_string(),
            None if self.phase != Phase::Running => "the director does not run".to_owned(),
            None if unknown > 0 => format!("{unknown} of {checks} checks have no verdict yet"),
            None => "the kernel's table is not as it should be yet".to_owned(),
        })
    }

    fn kernel_view(&self) -> KernelView {
        let state = match (self.kernel.fault(), self.kernel.have()) {
            (Some(fault), _) => fault.word(),
            (None, Some(_)) => "ready",
            (None, None) => "unknown",
        };
        KernelView {
            state: state.to_owned(),
            message: self.kernel.fault().map(ToString::to_string),
            refused: self.kernel.refused().map(|(op, why)| format!("{op}: {why}")).collect(),
        }
    }

    fn service(&self, now: Instant, director: &Director, service: &VirtualService) -> ServiceView {
        let entry = self.kernel.have().and_then(|have| have.0.get(&service.key));
        let view = |real| self.real(now, service, real, entry);
        let pools = self.pools.get(&service.key);
        ServiceView {
            director: director.name.to_string(),
            service: service.key.to_string(),
            protocol: service.key.protocol().to_owned(),
            scheduler: service.scheduler.clone(),
            name: service.notify.name.as_ref().map(ToString::to_string),
            comment: service.notify.comment.as_ref().map(ToString::to_string),
            persistent: service.persistent,
            in_kernel: entry.is_some(),
            fallback: service.fallback.as_ref().map(|sorry| self.fallback(service, sorry)),
            real: service.reals.iter().map(view).collect(),
            backup: service.backup.iter().map(view).collect(),
            turn: pools.map(|pools| pools.turn),
            panic: pools.is_some_and(|pools| pools.panic),
            quorum: quorum(&service.policy.quorum, pools),
        }
    }

    fn fallback(&self, service: &VirtualService, sorry: &RealServer) -> FallbackView {
        let standing = self.health.standing(service, sorry);
        let (state, cause) = match &standing.state {
            _ if sorry.check == CheckKind::On => ("unchecked", None),
            state => words(state),
        };
        FallbackView {
            address: sorry.key.to_string(),
            active: self.serving.get(&service.key).is_some_and(|serving| serving.sorry),
            state: state.to_owned(),
            cause,
        }
    }

    fn real(
        &self,
        now: Instant,
        service: &VirtualService,
        real: &RealServer,
        entry: Option<&ServiceEntry>,
    ) -> RealView {
        let dest = entry.and_then(|entry| entry.dests.get(&real.key));
        let standing = self.health.standing(service, real);
        let ordered = self.overrides.on(&service.key, &real.key);
        let connections = self.counts.get(&(service.key, real.key)).copied().unwrap_or_default();
        let (state, cause) = words(&standing.state);
        let changes = self.health.changes(now, service, real);
        RealView {
            address: real.key.to_string(),
            forwarding: real.forwarding,
            weight: dest.map_or(0, |dest| dest.weight),
            configured_weight: real.weight,
            in_kernel: dest.is_some(),
            up: standing.state.is_up(),
            state: state.to_owned(),
            cause,
            since_ms: millis(now.since(standing.since)),
            failures: standing.failures,
            hindered: standing.hindered,
            warning: standing.warning.map(|warning| warning.to_string()),
            agent_percent: real.agent.as_ref().map(|_| standing.percent),
            agent_silent: standing.silent,
            requires: real.requires.iter().map(|it| it.name.clone()).collect(),
            changes,
            flapping: standing.flapping.is_some() && changes >= FLAPPING / 2,
            whole_in_ms: self
                .pools
                .get(&service.key)
                .and_then(|pools| pools.whole_at(service, &real.key))
                .map(|at| millis(at.since(now))),
            ordered: ordered.map(|ordered| ordered.word()),
            drain_ends_ms: match ordered {
                Some(Override::Drain { until }) if until < Instant::NEVER => {
                    Some(millis(until.since(now)))
                }
                _ => None,
            },
            open: open(&service.key, connections),
            connections,
        }
    }
}

fn words(state: &State) -> (&'static str, Option<String>) {
    match state {
        State::Unknown => ("unknown", None),
        State::Up => ("up", None),
        State::Down(cause) => ("down", cause.as_ref().map(ToString::to_string)),
    }
}

fn quorum(quorum: &Quorum, pools: Option<&Pools>) -> Option<QuorumView> {
    if *quorum == Quorum::default() {
        return None;
    }
    let (of, needed) = match quorum.need {
        Need::Weight(needed) => ("weight", needed),
        Need::Servers(needed) => ("servers", needed),
    };
    Some(QuorumView {
        of: of.to_owned(),
        needed,
        lost_below: needed.saturating_sub(quorum.hysteresis),
        present: pools.map_or(0, |pools| pools.strength),
        met: pools.is_some_and(|pools| pools.quorate),
    })
}

/// IPVS counts every UDP flow as inactive; of a mark's connections we do not know which they are.
fn open(service: &ServiceKey, count: ConnectionCount) -> u32 {
    match service {
        ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. } => count.active,
        ServiceKey::Address { protocol: Protocol::Udp, .. } | ServiceKey::Mark { .. } => {
            count.active.saturating_add(count.inactive)
        }
    }
}
