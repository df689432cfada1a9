//! The director as the operator sees it: what `status`, `status --json` and the status page
//! render. Values only; text of addresses is as in `ipvsadm -Ln`.

use serde::{Deserialize, Serialize};

use super::Control;
use crate::lvs::health::State;
use crate::lvs::model::{
    ConnectionCount, Director, Forwarding, Protocol, RealServer, ServiceEntry, ServiceKey,
    VirtualService,
};
use crate::lvs::overrides::Override;
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
    /// `tcp`, `udp`; `fwm` with a firewall mark.
    pub protocol: String,
    /// As configured.
    pub scheduler: String,
    /// Persistence in seconds.
    pub persistent: Option<u32>,
    /// Whether the kernel has the service.
    pub in_kernel: bool,
    /// The sorry server.
    pub fallback: Option<FallbackView>,
    /// The pool, in the order of the configuration.
    pub real: Vec<RealView>,
}

/// A sorry server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackView {
    /// `127.0.0.1:80`.
    pub address: String,
    /// Whether the kernel has it in service.
    pub active: bool,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealView {
    /// `192.168.2.106:80`.
    pub address: String,
    /// `gate`, `masq` or `ipip`.
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
    /// What an operator has ordered: `drain`, `disable`, `weight 5`.
    #[serde(default)]
    pub ordered: Option<String>,
    /// When a drain ends in any case, in milliseconds from now.
    #[serde(default)]
    pub drain_ends_ms: Option<u64>,
    /// Its connections through this node, at the last reading of the kernel's table.
    #[serde(default)]
    pub connections: ConnectionCount,
    /// As many of them are open: with TCP the established ones, with UDP all that the kernel has
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
            orders: 0,
        }
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
        let fallback = service.fallback.as_ref().map(|fallback| FallbackView {
            address: fallback.key.to_string(),
            active: self.sorry.contains(&service.key),
        });
        let reals = service.reals.iter().map(|real| self.real(now, service, real, entry));
        ServiceView {
            director: director.name.to_string(),
            service: service.key.to_string(),
            protocol: match service.key {
                ServiceKey::Address { protocol, .. } => protocol.to_string(),
                ServiceKey::Mark { .. } => "fwm".to_owned(),
            },
            scheduler: service.scheduler.clone(),
            persistent: service.persistent,
            in_kernel: entry.is_some(),
            fallback,
            real: reals.collect(),
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
        let (state, cause) = match &standing.state {
            State::Unknown => ("unknown", None),
            State::Up => ("up", None),
            State::Down(cause) => ("down", cause.as_ref().map(ToString::to_string)),
        };
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

/// IPVS counts every UDP flow as inactive; of a mark's connections we do not know which they are.
fn open(service: &ServiceKey, count: ConnectionCount) -> u32 {
    match service {
        ServiceKey::Address { protocol: Protocol::Tcp, .. } => count.active,
        ServiceKey::Address { protocol: Protocol::Udp, .. } | ServiceKey::Mark { .. } => {
            count.active.saturating_add(count.inactive)
        }
    }
}
