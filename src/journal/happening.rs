//! All that is worth a record, in one enum: the cluster's events, and what happens around the core.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Answer, Event, Request};
use crate::cluster::message::Extent;
use crate::journal::{Severity, words};
use crate::names::LinkName;

/// Something that happened on this node.
///
/// Written as `{"NAME": {...}}`; variants and fields are only added within a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// An event of the cluster core.
    Cluster(Event),
    /// A core process begins.
    CoreStarted {
        /// The program's version.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// A core process has given everything away and ends.
    CoreStopped,
    /// A core process ends with everything held.
    CorePaused,
    /// A core process goes on with what the one before held.
    CoreResumed {
        /// The groups that are up here.
        held: Vec<String>,
    },
    /// A core process could not go on with what the one before had left, and begins with nothing.
    CarriedRefused {
        /// Why.
        why: String,
    },
    /// A core process died; told by the supervisor to the next one.
    CoreDied {
        /// Exit code or signal.
        how: String,
        /// Whether its addresses were all removed.
        released: bool,
        /// Whether the peer was told so.
        told: bool,
    },
    /// The supervisor of this core is gone.
    SupervisorLost,
    /// The checker process answers.
    CheckerReady,
    /// The checker process has ended; verdicts stay as they are.
    CheckerLost {
        /// How.
        why: String,
    },
    /// An operator asked for something and was answered.
    Answered {
        /// What was asked.
        request: Request,
        /// Who asked; `None` for a signal.
        by: Option<Caller>,
        /// How it ended.
        answer: Answer,
    },
    /// A configuration was read again and is in force.
    ReloadApplied,
    /// A configuration was read again and not taken; all goes on as before.
    ReloadRefused {
        /// The first few faults; the log has all.
        faults: Vec<String>,
    },
    /// A virtual IP that somebody else had removed is back.
    AddressRestored {
        /// Which.
        ip: IpAddr,
        /// Where.
        interface: String,
    },
    /// A virtual IP is missing and can't be put back.
    AddressMissing {
        /// The resource as written.
        resource: String,
        /// Why.
        why: String,
    },
    /// The rules of the VIP lease were gone or changed, and are in force again.
    GuardRestored,
    /// The VIP lease can't be put in force: a killed node goes on to answer for its VIPs.
    GuardMissing {
        /// Why.
        why: String,
    },
    /// A virtual IP that an earlier life had left behind was removed at the start.
    StrayRemoved {
        /// Which.
        ip: IpAddr,
    },
    /// A gateway has learned a virtual IP.
    AddressConfirmed {
        /// Which.
        ip: IpAddr,
        /// Where.
        interface: String,
        /// The gateway.
        by: IpAddr,
        /// After the announcement, in microseconds.
        after_us: u64,
    },
    /// A virtual IP was announced, and no gateway has confirmed it in time.
    AddressUnconfirmed {
        /// Which.
        ip: IpAddr,
        /// Where.
        interface: String,
    },
    /// Another station on the LAN answers for a virtual IP that is served here.
    RivalSeen {
        /// Which.
        ip: IpAddr,
        /// Where.
        interface: String,
        /// Its hardware address.
        mac: String,
    },
    /// A real server answers (again).
    RealUp {
        /// The virtual service.
        service: String,
        /// The real server.
        real: String,
    },
    /// A real server is out.
    RealDown {
        /// The virtual service.
        service: String,
        /// The real server.
        real: String,
        /// Why.
        cause: String,
    },
    /// The sorry server serves.
    SorryIn {
        /// The virtual service.
        service: String,
        /// The sorry server.
        fallback: String,
        /// Whether real servers are left, but too few.
        #[serde(default)]
        left: bool,
    },
    /// The sorry server serves no longer.
    SorryOut {
        /// The virtual service.
        service: String,
        /// The sorry server.
        fallback: String,
    },
    /// Something else of the director: the kernel's table, its faults.
    Director {
        /// How grave.
        severity: Severity,
        /// In words.
        text: String,
    },
    /// Records before this one were dropped.
    JournalLost {
        /// How many.
        records: u64,
        /// Why.
        why: String,
    },
}

/// Who asked, by the kernel's word (`SO_PEERCRED`, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Process id, where the kernel names one.
    pub pid: Option<i32>,
}

impl std::fmt::Display for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {}", self.uid)?;
        self.pid.map_or(Ok(()), |pid| write!(f, ", pid {pid}"))
    }
}

impl Happening {
    /// The stable name, by which scripts know it, and how grave it is.
    pub fn kind(&self) -> (&'static str, Severity) {
        use Severity::{Alarm, Info, Warning};
        match self {
            Self::Cluster(event) => words::kind(event),
            Self::CoreStarted { .. } => ("core_started", Info),
            Self::CoreStopped => ("core_stopped", Info),
            Self::CorePaused => ("core_paused", Warning),
            Self::CoreResumed { .. } => ("core_resumed", Info),
            Self::CarriedRefused { .. } => ("carried_refused", Alarm),
            Self::CoreDied { .. } => ("core_died", Alarm),
            Self::SupervisorLost => ("supervisor_lost", Alarm),
            Self::CheckerReady => ("checker_ready", Info),
            Self::CheckerLost { .. } => ("checker_lost", Warning),
            Self::Answered { answer: Answer::Done { .. }, .. } => ("answered", Info),
            Self::Answered { .. } => ("answered", Warning),
            Self::ReloadApplied => ("reload_applied", Info),
            Self::ReloadRefused { .. } => ("reload_refused", Alarm),
            Self::AddressRestored { .. } => ("address_restored", Warning),
            Self::AddressMissing { .. } => ("address_missing", Alarm),
            Self::GuardRestored => ("guard_restored", Warning),
            Self::GuardMissing { .. } => ("guard_missing", Alarm),
            Self::StrayRemoved { .. } => ("stray_removed", Warning),
            Self::AddressConfirmed { .. } => ("address_confirmed", Info),
            Self::AddressUnconfirmed { .. } => ("address_unconfirmed", Warning),
            Self::RivalSeen { .. } => ("rival_seen", Alarm),
            Self::RealUp { .. } => ("real_up", Info),
            Self::RealDown { .. } => ("real_down", Warning),
            Self::SorryIn { .. } => ("sorry_in", Alarm),
            Self::SorryOut { .. } => ("sorry_out", Info),
            Self::Director { severity, .. } => ("director", *severity),
            Self::JournalLost { .. } => ("journal_lost", Alarm),
        }
    }

    /// What happened, for the operator: one line. `links` are this node's, in order.
    pub fn sentence(&self, links: &[LinkName]) -> String {
        match self {
            Self::Cluster(event) => words::sentence(links, event),
            Self::CoreStarted { version, pid } => {
                format!("core process {pid} of pairbeat {version} begins")
            }
            Self::CoreStopped => "everything is given away; this core ends".to_owned(),
            Self::CorePaused => "this core ends with everything held".to_owned(),
            Self::CoreResumed { held } if held.is_empty() => {
                "this core goes on for the one before, which held nothing".to_owned()
            }
            Self::CoreResumed { held } => {
                format!("this core goes on for the one before, and holds {}", held.join(", "))
            }
            Self::CarriedRefused { why } => {
                format!("what the process before has left is not used, all begins anew: {why}")
            }
            Self::CoreDied { how, released, told } => died(how, *released, *told),
            Self::SupervisorLost => "the supervisor is gone; leaving".to_owned(),
            Self::CheckerReady => "the checker runs".to_owned(),
            Self::CheckerLost { why } => {
                format!("the checker is lost, the last verdicts stay in force: {why}")
            }
            Self::Answered { request, by, answer } => answered(*request, *by, answer),
            Self::ReloadApplied => "configuration reloaded".to_owned(),
            Self::ReloadRefused { faults } => reload_refused(faults),
            Self::AddressRestored { ip, interface } => {
                format!("{ip} on {interface}: address was missing and is back")
            }
            Self::AddressMissing { resource, why } => {
                format!("{resource} is missing and can't be put back: {why}")
            }
            Self::GuardRestored => "the rules of the VIP lease were gone or changed by somebody \
                                    else; they are in force again"
                .to_owned(),
            Self::GuardMissing { why } => {
                format!("no VIP lease, a killed node goes on to answer for its VIPs: {why}")
            }
            Self::StrayRemoved { ip } => format!("{ip}: stray address removed"),
            Self::AddressConfirmed { ip, interface, by, after_us } => {
                let (ms, us) = (after_us / 1000, after_us % 1000);
                format!("{ip} on {interface}: address confirmed by {by} after {ms}.{us:03} ms")
            }
            Self::AddressUnconfirmed { ip, interface } => {
                format!("{ip} on {interface}: announced, no gateway has confirmed it yet")
            }
            Self::RivalSeen { ip, interface, mac } => {
                format!("{ip} on {interface}: another station answers for this address: {mac}")
            }
            Self::RealUp { service, real } => format!("{service}: {real} is up"),
            Self::RealDown { service, real, cause } => {
                format!("{service}: {real} is down: {cause}")
            }
            Self::SorryIn { service, fallback, left } => {
                let why = if *left { "too few real servers are" } else { "no real server is" };
                format!("{service}: sorry server {fallback} in, {why} up")
            }
            Self::SorryOut { service, fallback } => {
                format!("{service}: sorry server {fallback} out")
            }
            Self::Director { text, .. } => text.clone(),
            Self::JournalLost { records, why } => {
                format!("{records} records of the journal were lost: {why}")
            }
        }
    }
}

fn died(how: &str, released: bool, told: bool) -> String {
    let addresses = match (released, told) {
        (true, true) => "its addresses are removed and the peer is told",
        (true, false) => "its addresses are removed; the peer is not told",
        (false, _) => "its addresses are NOT all removed; the peer is not told",
    };
    format!("the core died ({how}); {addresses}")
}

fn answered(request: Request, by: Option<Caller>, answer: &Answer) -> String {
    let asked = match request {
        Request::Standby(_) => "standby",
        Request::Takeover(_) => "takeover",
        Request::Leave => "stop",
        Request::Freeze(Extent::Nothing) => "unfreeze",
        Request::Freeze(_) => "freeze",
        Request::Restart => "restart",
        Request::ConfirmDead => "confirm-dead",
    };
    let by = by.map_or_else(|| "a signal".to_owned(), |by| by.to_string());
    let end = match answer {
        Answer::Done { moved, .. } if moved.is_empty() => "done, nothing moved".to_owned(),
        Answer::Done { moved, took_ms, overlap_ms } => {
            let names: Vec<&str> = moved.iter().map(|name| name.as_str()).collect();
            let both = overlap_ms.map(|ms| format!(", {ms} ms of them served by both"));
            format!("{} moved in {took_ms} ms{}", names.join(", "), both.unwrap_or_default())
        }
        Answer::Refused { why } => format!("refused: {why}"),
        Answer::Failed { why } => format!("failed: {why}"),
    };
    format!("{asked}, asked for by {by}: {end}")
}

fn reload_refused(faults: &[String]) -> String {
    let first = faults.first().and_then(|fault| fault.lines().next()).unwrap_or("no reason");
    format!("configuration not reloaded; everything goes on as before: {first}")
}
