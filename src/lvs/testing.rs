//! Values for the tests of this floor: directors, services and servers in one line each.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lvs::check::{CheckFailure, CheckId, CheckKind, CheckResult, Verdict};
use crate::lvs::model::{
    Director, Forwarding, Policy, Protocol, RealKey, RealServer, SchedFlags, ServiceKey,
    Thresholds, VirtualService,
};
use crate::lvs::notify::Notify;
use crate::names::DirectorName;

/// TCP 10.0.0.`n`:80.
pub(super) fn key(n: u8) -> ServiceKey {
    let address = Ipv4Addr::new(10, 0, 0, n).into();
    ServiceKey::Address { protocol: Protocol::Tcp, address, port: 80 }
}

/// 10.0.1.`n`:80.
pub(super) fn at(n: u8) -> RealKey {
    RealKey { address: Ipv4Addr::new(10, 0, 1, n).into(), port: 80 }
}

/// A gate server of weight 1 with a connect check.
pub(super) fn real(n: u8) -> RealServer {
    RealServer {
        key: at(n),
        forwarding: Forwarding::Gate,
        weight: 1,
        thresholds: Thresholds::default(),
        check: CheckKind::Connect(Protocol::Tcp),
        check_address: at(n).address,
        check_port: 80,
        check_source: None,
        requires: Vec::new(),
        agent: None,
    }
}

/// Service `n` with these real servers; sorry server 10.0.1.99; checked every second.
pub(super) fn service(n: u8, reals: &[u8]) -> VirtualService {
    VirtualService {
        key: key(n),
        scheduler: "rr".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
        quiescent: false,
        clean_stop: true,
        reals: reals.iter().map(|n| real(*n)).collect(),
        backup: Vec::new(),
        fallback: Some(RealServer::sorry(at(99), Forwarding::Gate)),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        fall: 1,
        rise: 1,
        notify: Notify::default(),
        policy: Policy::default(),
    }
}

/// A director with these services.
pub(super) fn director(services: Vec<VirtualService>) -> Director {
    let name = DirectorName::new("test.cf").unwrap();
    Director { name, services, maintenance: None, follow: false, adopt: false }
}

/// A good answer.
pub(super) fn up(id: CheckId) -> CheckResult {
    CheckResult { id, verdict: Verdict::Up, warning: None, took_us: 100 }
}

/// A refused connection.
pub(super) fn down(id: CheckId) -> CheckResult {
    CheckResult { id, verdict: Verdict::Down(CheckFailure::Refused), warning: None, took_us: 100 }
}
