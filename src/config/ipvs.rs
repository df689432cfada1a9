//! `[ipvs]`: the settings of the kernel's IPVS by their names (Documentation/networking/
//! ipvs-sysctl.rst, and `ip_vs_ctl.c` for those that it leaves out), and all that a configuration
//! wants the kernel to be set to.

use std::collections::BTreeMap;

use crate::config::check::{Draft, DraftDirector, DraftGroup};
use crate::config::diag::Diagnostic;
use crate::config::{Config, ResourceKind};
use crate::lvs::model::{Director, VirtualService};
use crate::lvs::prerequisites;
use crate::lvs::settings::{Timeout, Values};
use crate::names::DirectorName;

/// Where IPVS has its settings under /proc/sys.
pub const IPVS_SETTINGS: &str = "net/ipv4/vs";
/// Longest text of a setting: the kernel's list of processors.
pub(super) const TEXT_MAX: usize = 256;

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// 0 or 1; true and false are taken as well.
    Switch,
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// Two whole numbers, of which the first is not over the second.
    Pair,
    /// A list of processors, as `0-3,6`.
    Processors,
}

use Range::{Number, Pair, Processors, Switch};

/// Highest value of an unsigned number of the kernel.
const UNSIGNED: i64 = u32::MAX as i64;
/// Highest value of one with a sign.
const SIGNED: i64 = i32::MAX as i64;

/// Every setting. Those that a kernel does not have are named in the log when the director starts.
pub(super) const SETTINGS: [(&str, Range); 32] = [
    ("am_droprate", Number(1, SIGNED)),
    ("amemthresh", Number(0, SIGNED)),
    ("backup_only", Switch),
    ("cache_bypass", Switch),
    ("conn_reuse_mode", Number(0, 3)),
    ("conntrack", Switch),
    ("debug_level", Number(0, SIGNED)),
    ("drop_entry", Number(0, 3)),
    ("drop_packet", Number(0, 3)),
    ("est_cpulist", Processors),
    ("est_nice", Number(-20, 19)),
    ("expire_nodest_conn", Switch),
    ("expire_quiescent_template", Switch),
    ("ignore_tunneled", Switch),
    ("nat_icmp_send", Switch),
    ("pmtu_disc", Switch),
    ("run_estimation", Switch),
    ("schedule_icmp", Switch),
    ("secure_tcp", Number(0, 3)),
    ("sloppy_sctp", Switch),
    ("sloppy_tcp", Switch),
    ("snat_reroute", Switch),
    ("sync_persist_mode", Number(0, 1)),
    ("sync_ports", Number(1, 64)),
    ("sync_qlen_max", Number(1, UNSIGNED)),
    ("sync_refresh_period", Number(0, UNSIGNED)),
    ("sync_retries", Number(0, 3)),
    ("sync_sock_size", Number(0, SIGNED)),
    ("sync_threshold", Pair),
    ("sync_version", Number(0, 1)),
    ("conn_lfactor", Number(-8, 8)),
    ("svc_lfactor", Number(-8, 8)),
];

/// With a director: connections of a server that has left the table end at once instead of running
/// into nothing, and a persistent client of a server with weight 0 is sent to another one.
const WITH_DIRECTOR: [(&str, &str); 2] =
    [("expire_nodest_conn", "1"), ("expire_quiescent_template", "1")];

/// With connection sync: a connection is told the first time when it is established, and once a
/// second while it is in use. By default it is told at its third packet and then at every fiftieth,
/// which a quiet connection may not reach for hours.
const WITH_SYNC: [(&str, &str); 2] = [("sync_threshold", "3 0"), ("sync_refresh_period", "1")];

/// With full NAT, from the start: what the sync tells of while it is 0 is not translated, ever
/// (`IP_VS_CONN_F_NFCT` is given to a connection when it is made).
const WITH_FULL_NAT: [(&str, &str); 1] = [("conntrack", "1")];

/// In the moments of a planned switch: TCP packets that are no SYN are scheduled (`kernel::handover`).
const IN_A_SWITCH: [(&str, &str); 1] = [("sloppy_tcp", "1")];

/// `[ipvs]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ipvs {
    /// `[ipvs.sysctl]`: what was written, by the names.
    pub sysctl: BTreeMap<&'static str, String>,
    /// `timeouts`: how long the kernel remembers connections, in seconds, from 1 to
    /// [`TIMEOUT_MAX`](crate::lvs::settings::TIMEOUT_MAX). One that is not written stays as it is found.
    pub timeouts: BTreeMap<Timeout, u32>,
    /// What the ways of forwarding need of this machine's settings is set. Default false.
    pub prepare: bool,
}

impl Config {
    /// The virtual services of all directors.
    pub fn services(&self) -> impl Iterator<Item = &VirtualService> {
        self.directors.values().flat_map(|director| &director.services)
    }

    /// What the kernel is to be set to as long as this node runs. What is written wins.
    pub fn kernel_settings(&self) -> Values {
        let mut wanted = Values::new();
        if !self.directors.is_empty() {
            wanted.extend(director_settings());
        }
        if self.sync().is_some() {
            wanted.extend(WITH_SYNC.map(named));
        }
        wanted.extend(self.directors.values().flat_map(stateless_settings));
        if self.services().any(has_full_nat) {
            wanted.extend(WITH_FULL_NAT.map(named));
        }
        if self.ipvs.prepare {
            wanted.extend(prerequisites::settings(&prerequisites::reached(self.services())));
        }
        wanted.extend(self.ipvs.sysctl.iter().map(|(name, value)| named((name, value))));
        let timeouts = self.ipvs.timeouts.iter();
        wanted.extend(timeouts.map(|(timeout, seconds)| (timeout.path(), seconds.to_string())));
        wanted
    }
}

/// With a stateless service: packets of connections that the kernel does not know are scheduled.
fn stateless_settings(director: &Director) -> impl Iterator<Item = (String, String)> + '_ {
    let stateless = director.services.iter().filter(|service| service.policy.stateless);
    stateless.flat_map(|service| {
        let sloppy: &[&str] = match service.key.protocol() {
            "tcp" => &["sloppy_tcp"],
            "sctp" => &["sloppy_sctp"],
            "fwm" => &["sloppy_tcp", "sloppy_sctp"],
            _ => &[],
        };
        sloppy.iter().map(|name| named((name, "1")))
    })
}

/// Whether what is written takes from stateless services what they need, and sync beside them.
pub(super) fn check_stateless(draft: &Draft, found: &mut Vec<Diagnostic>) {
    for DraftDirector { director, services } in &draft.directors {
        let mut stateless = director.services.iter().zip(services);
        let Some((service, at)) = stateless.find(|(it, _)| it.policy.stateless) else { continue };
        for (path, _) in stateless_settings(director) {
            let name = path.rsplit('/').next().unwrap_or_default();
            if draft.ipvs.sysctl.get(name).is_some_and(|value| value == "0") {
                let message = format!("{:#} is stateless, and `{name}` is 0", service.key);
                let help = format!("leave `{name}` out of `[ipvs.sysctl]`");
                found.push(at.fault(message).with_help(&help));
                break;
            }
        }
        if draft.groups.iter().any(|group| syncs(group, &director.name)) {
            let message = format!("{:#} is stateless, and its connections are synced", service.key);
            let help = "leave the sync out, unless other services of the group need it";
            found.push(at.warning(message).with_help(help));
        }
    }
}

fn has_full_nat(service: &VirtualService) -> bool {
    service.servers().any(|real| real.forwarding.is_full_nat())
}

/// Whether what is written takes from servers of full NAT what they need, which full NAT sets by itself.
pub(super) fn check_full_nat(draft: &Draft, found: &mut Vec<Diagnostic>) {
    if draft.ipvs.sysctl.get("conntrack").is_none_or(|value| value != "0") {
        return;
    }
    let services =
        draft.directors.iter().flat_map(|it| it.director.services.iter().zip(&it.services));
    for (service, at) in services.filter(|(service, _)| has_full_nat(service)) {
        let message = format!("{:#} has servers of full NAT, and `conntrack` is 0", service.key);
        let help =
            "leave `conntrack` out of `[ipvs.sysctl]`: full NAT sets it to 1 while it needs it";
        found.push(at.fault(message).with_help(help));
    }
}

/// Whether a group has both this director and the connection sync.
fn syncs(group: &DraftGroup, director: &DirectorName) -> bool {
    let resources = || group.group.resources.iter().map(|resource| &resource.kind);
    resources().any(|kind| matches!(kind, ResourceKind::Director(name) if name == director))
        && resources().any(|kind| matches!(kind, ResourceKind::Sync(_)))
}

/// What every director wants.
pub fn director_settings() -> Values {
    WITH_DIRECTOR.map(named).into()
}

/// What the moments of a planned switch want.
pub fn switch_settings() -> Values {
    IN_A_SWITCH.map(named).into()
}

fn named((name, value): (&str, &str)) -> (String, String) {
    (format!("{IPVS_SETTINGS}/{name}"), value.to_owned())
}
