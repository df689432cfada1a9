//! What the core needs before its first beat: links that open, and punctuality.
//!
//! Beside [`super::core`], which calls it once.

use std::time::Duration;

use tracing::warn;

use crate::config::Config;
use crate::daemon::Fatal;
use crate::daemon::beat::BeatHandle;
use crate::link::udp::{OpenError, UdpLinks};
use crate::sys::clock;

/// Shortest deadtime that is kept without real-time priority on a loaded machine.
const DEADTIME_PLAIN_MIN: Duration = Duration::from_secs(1);

pub(super) fn refuse_untimely(
    config: &Config,
    beat: &BeatHandle,
    force: bool,
) -> Result<(), Fatal> {
    let deadtime = config.timing.deadtime;
    match beat.realtime() {
        Err(why) if deadtime < DEADTIME_PLAIN_MIN && !force => Err(Fatal::System(format!(
            "deadtime {} ms needs real-time priority, which there is not: {why}; give the process \
             CAP_SYS_NICE, choose a deadtime of 1 s or more, or run with --force",
            deadtime.as_millis()
        ))),
        Err(why) => {
            warn!("beats run without real-time priority: {why}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Opens the links. One that can't be used now is tried again later, as long as there is another
/// and the fault may pass by itself.
pub(super) fn open_links(config: &Config) -> Result<UdpLinks, Fatal> {
    let links = UdpLinks::open(&config.links, clock::now());
    let mut faulty = std::collections::BTreeSet::new();
    for (link, fault) in links.faults() {
        faulty.insert(link);
        match fault {
            OpenError::NoInterface { .. } | OpenError::NoIpv6 | OpenError::Other { .. } => {
                warn!("{fault}; it is tried again");
            }
            OpenError::PortTaken { .. }
            | OpenError::PortForbidden { .. }
            | OpenError::InterfaceForbidden { .. } => return Err(Fatal::System(fault.to_string())),
        }
    }
    if faulty.len() < config.links.len() {
        return Ok(links);
    }
    let reasons: Vec<String> = links.faults().map(|(_, fault)| fault.to_string()).collect();
    let reasons = reasons.join("; ");
    Err(Fatal::System(format!(
        "no link can be used: {reasons}; correct the interfaces of the links"
    )))
}
