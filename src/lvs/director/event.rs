//! All that can happen to the director's control, and all that it can order.
//!
//! The driver stamps each [`Input`] with the instant it was seen, hands it to `Control::handle`,
//! and then drains `Control::poll` until it is empty, obeying each [`Output`] in order.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::hooks::RunId;
use super::letters::LetterId;
use crate::lvs::check::{CHECKS_MAX, CheckFailure, CheckResult, CheckSpec, CheckWarning};
use crate::lvs::fault::{KernelFault, OpError};
use crate::lvs::follow::Verdicts;
use crate::lvs::health::FLAP_WINDOW;
use crate::lvs::mail::{Letter, MailFailure};
use crate::lvs::model::{ConnectionCounts, Director, Quorum, RealKey, ServiceKey, Table};
use crate::lvs::notify::{Program, RunFailure};
use crate::lvs::overrides::{Command, Overrides, Target};
use crate::lvs::plan::Op;
use crate::names::DirectorName;

/// One order to the kernel's IPVS. Never used twice by one control, so that a late answer is
/// known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A configuration to work by from now on; the first one starts the work, and one after
    /// [`Input::Shutdown`] starts it again. Verdicts on unchanged checks are kept.
    Configure {
        /// All directors of this node.
        directors: Vec<Director>,
        /// Services that an earlier run put into the kernel (`Control::owned`, kept on disk by
        /// the daemon). Those that are no longer configured are taken out.
        owned: BTreeSet<ServiceKey>,
    },
    /// A check ended.
    Checked(CheckResult),
    /// The answer to [`Output::Dump`].
    Dumped {
        /// The order's.
        order: OrderId,
        /// The table and its connections, or why there is none.
        result: Result<(Table, ConnectionCounts), KernelFault>,
    },
    /// The answer to [`Output::Apply`].
    Applied {
        /// The order's.
        order: OrderId,
        /// One answer for each of the orders, in their places.
        result: Result<Vec<Result<(), OpError>>, KernelFault>,
    },
    /// What operators have ordered, all of it; replaces what was said before.
    Override(Overrides),
    /// A director's group has become active here, or is not any more.
    Lead {
        /// Which.
        director: DirectorName,
        /// It is active here.
        lead: bool,
    },
    /// What the active node's director says of its checks.
    Told(Verdicts),
    /// The answer to [`Output::Run`].
    Ran {
        /// The order's.
        id: RunId,
        /// Why it came to nothing.
        result: Result<(), RunFailure>,
    },
    /// The answer to [`Output::Mail`].
    Mailed {
        /// The order's.
        id: LetterId,
        /// Why it was not taken.
        result: Result<(), MailFailure>,
    },
    /// The checker runs and wants its list.
    CheckerReady,
    /// The checker died. The last verdicts stay in force until it is back.
    CheckerLost,
    /// The director is to stop: services with `clean_stop` leave the kernel, and when they have,
    /// [`Output::Stopped`] says so.
    Shutdown,
    /// Nothing but the passing of time.
    Tick,
}

/// An order to the driver. The control never waits for it; the answer comes back as an [`Input`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// All that the checker has to check from now on, in this order; at most [`CHECKS_MAX`].
    Check(Vec<CheckSpec>),
    /// Read the kernel's table. Answer with [`Input::Dumped`].
    Dump(OrderId),
    /// Change the kernel's table. Answer with [`Input::Applied`].
    Apply {
        /// To be repeated in the answer.
        order: OrderId,
        /// In this order.
        ops: Vec<Op>,
    },
    /// What a standby may go by; replaces what was said before.
    Tell(Verdicts),
    /// An operator has ordered all of this, by hand in the kernel's table. Answer with
    /// [`Input::Override`].
    Adopt(Vec<(Target, Command)>),
    /// Run a program, for at most [`RUN_LIMIT`](super::RUN_LIMIT). Answer with [`Input::Ran`].
    Run {
        /// To be repeated in the answer.
        id: RunId,
        /// With all its arguments.
        program: Program,
    },
    /// Send a letter, within [`MAIL_LIMIT`](super::MAIL_LIMIT). Answer with [`Input::Mailed`].
    Mail {
        /// To be repeated in the answer.
        id: LetterId,
        /// To whom, by which way, and what it says.
        letter: Letter,
    },
    /// A check has ended: append a line to a file. There is no answer.
    Monitor {
        /// The file.
        file: PathBuf,
        /// The line, but for when and by which process.
        line: String,
    },
    /// For the journal and the log.
    Report(DirectorEvent),
    /// The end of [`Input::Shutdown`].
    Stopped {
        /// Services that should have left the kernel and, as far as is known, have not.
        left: Vec<ServiceKey>,
    },
}

/// What is worth a line in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectorEvent {
    /// A real server answers (again).
    RealUp {
        /// In this service.
        service: ServiceKey,
        /// This server.
        real: RealKey,
    },
    /// A real server is out.
    RealDown {
        /// In this service.
        service: ServiceKey,
        /// This server.
        real: RealKey,
        /// Why.
        cause: CheckFailure,
    },
    /// A check warns of something at a real server, whatever its verdict.
    RealWarning {
        /// In this service.
        service: ServiceKey,
        /// This server.
        real: RealKey,
        /// Of what.
        warning: CheckWarning,
    },
    /// The primary pool has its quorum, or has lost it.
    Quorum {
        /// Of this service.
        service: ServiceKey,
        /// Whether it has it.
        met: bool,
        /// What there is of it, in its unit.
        strength: u64,
        /// What is needed.
        quorum: Quorum,
    },
    /// So much of the primary pool fails that those that fail stay in, or no longer.
    Panic {
        /// Of this service.
        service: ServiceKey,
        /// Whether they stay in.
        on: bool,
        /// More than so many percent fail.
        percent: u8,
    },
    /// A server goes up and down again and again.
    Flapping {
        /// In this service.
        service: ServiceKey,
        /// This server.
        real: RealKey,
        /// So often within [`FLAP_WINDOW`].
        changes: usize,
    },
    /// The kernel has the backup pool in service.
    BackupIn {
        /// Of this service.
        service: ServiceKey,
        /// Whether primary servers are left, but too few.
        left: bool,
    },
    /// The backup pool serves no longer.
    BackupOut {
        /// Of this service.
        service: ServiceKey,
    },
    /// The sorry server answers its check (again).
    SorryUp {
        /// Of this service.
        service: ServiceKey,
        /// The sorry server.
        fallback: RealKey,
    },
    /// The sorry server fails its check: it is not put in.
    SorryDown {
        /// Of this service.
        service: ServiceKey,
        /// The sorry server.
        fallback: RealKey,
        /// Why.
        cause: CheckFailure,
    },
    /// The kernel has the sorry server in service.
    SorryIn {
        /// Of this service.
        service: ServiceKey,
        /// The sorry server.
        fallback: RealKey,
        /// Whether real servers are left, but too few.
        left: bool,
    },
    /// The kernel has the sorry server no longer.
    SorryOut {
        /// Of this service.
        service: ServiceKey,
        /// The sorry server.
        fallback: RealKey,
    },
    /// Somebody else changed these services in the kernel.
    Touched {
        /// Which.
        services: Vec<ServiceKey>,
    },
    /// Somebody changed a server in the kernel by hand, which counts as an order.
    Adopted {
        /// `weight 0 192.168.2.106:80 of tcp 192.168.2.110:80`.
        what: String,
    },
    /// An operator ordered something of real servers.
    Ordered {
        /// `drain 192.168.2.106`.
        what: String,
        /// At the other node.
        by_peer: bool,
    },
    /// A program is run, to be told of a service.
    Told {
        /// Of this service.
        service: ServiceKey,
        /// The program and its arguments.
        command: String,
    },
    /// A program that was told of a service did not do its part.
    NotTold {
        /// Of this service.
        service: ServiceKey,
        /// Why.
        why: RunFailure,
    },
    /// A letter has been handed over.
    Mailed {
        /// Its addressees.
        to: String,
        /// Its subject.
        subject: String,
    },
    /// A letter could not be handed over.
    NotMailed {
        /// Its addressees.
        to: String,
        /// Its subject.
        subject: String,
        /// Why.
        why: String,
        /// In how many seconds that is tried again; `None`: it is dropped.
        again_s: Option<u64>,
    },
    /// More was to be mailed to more addressees than there is room for.
    MailsCrowded {
        /// So many events are in no letter.
        lost: usize,
    },
    /// Services that somebody else had changed are as they should be again.
    Healed {
        /// Which.
        services: Vec<ServiceKey>,
    },
    /// The kernel did not obey an order; it is repeated later.
    Refused {
        /// The order in words.
        order: String,
        /// Why.
        why: OpError,
    },
    /// IPVS can't be used at present.
    KernelFault(KernelFault),
    /// IPVS can be used again.
    KernelBack,
    /// Every check has had a verdict and the kernel's table is as it should be, for the first
    /// time since the last configuration.
    Converged,
    /// The checker died; the last verdicts stay in force.
    CheckerLost,
    /// The checker runs.
    CheckerReady,
    /// The configuration was not taken: more checks than [`CHECKS_MAX`]. The one before stays.
    TooManyChecks {
        /// As many.
        checks: usize,
    },
}

impl fmt::Display for DirectorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RealUp { service, real } => write!(f, "{service:#}: {real} is up"),
            Self::RealDown { service, real, cause } => {
                write!(f, "{service:#}: {real} is down: {cause}")
            }
            Self::RealWarning { service, real, warning } => {
                write!(f, "{service:#}: {real}: {warning}")
            }
            Self::Quorum { service, met, strength, quorum } => {
                let verb = if *met { "has" } else { "has lost" };
                write!(f, "{service:#}: the pool {verb} its quorum: {strength} of {quorum}")
            }
            Self::Panic { service, on: true, percent } => {
                write!(f, "{service:#}: more than {percent} % of the pool fail: those stay in")
            }
            Self::Panic { service, on: false, percent } => {
                write!(f, "{service:#}: no more than {percent} % of the pool fail: those go out")
            }
            Self::Flapping { service, real, changes } => {
                let minutes = FLAP_WINDOW.as_secs() / 60;
                write!(f, "{service:#}: {real} flaps: {changes} changes in {minutes} minutes")
            }
            Self::BackupIn { service, left } => {
                write!(f, "{service:#}: backup pool in, {}", why_not(*left))
            }
            Self::BackupOut { service } => write!(f, "{service:#}: backup pool out"),
            Self::SorryUp { service, fallback } => {
                write!(f, "{service:#}: sorry server {fallback} is up")
            }
            Self::SorryDown { service, fallback, cause } => {
                write!(
                    f,
                    "{service:#}: sorry server {fallback} is down, and is not put in: {cause}"
                )
            }
            Self::SorryIn { service, fallback, left } => {
                write!(f, "{service:#}: sorry server {fallback} in, {}", why_not(*left))
            }
            Self::SorryOut { service, fallback } => {
                write!(f, "{service:#}: sorry server {fallback} out")
            }
            Self::Touched { services } => {
                write!(f, "somebody else changed {} in the kernel", List(services))
            }
            Self::Adopted { what } => write!(f, "ordered by hand in the kernel: {what}"),
            Self::Ordered { what, by_peer: false } => write!(f, "an operator orders: {what}"),
            Self::Ordered { what, by_peer: true } => {
                write!(f, "an operator of the peer orders: {what}")
            }
            Self::Told { service, command } => write!(f, "{service:#}: runs {command}"),
            Self::NotTold { service, why } => {
                write!(f, "{service:#}: the program that was run failed: {why}")
            }
            Self::Mailed { .. } | Self::NotMailed { .. } | Self::MailsCrowded { .. } => {
                self.write_of_mail(f)
            }
            Self::Healed { services } => write!(f, "{} put back as configured", List(services)),
            Self::Refused { order, why } => write!(f, "the kernel refused to {order}: {why}"),
            Self::KernelFault(fault) => write!(f, "{fault}"),
            Self::KernelBack => write!(f, "the kernel's IPVS answers again"),
            Self::Converged => write!(f, "all checked, and the kernel's table is as configured"),
            Self::CheckerLost => write!(f, "the checker died; the last verdicts stay in force"),
            Self::CheckerReady => write!(f, "the checker runs"),
            Self::TooManyChecks { checks } => {
                write!(f, "configuration refused: {checks} checks, at most {CHECKS_MAX} are run")
            }
        }
    }
}

impl DirectorEvent {
    fn write_of_mail(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailed { to, subject } => write!(f, "mail to {to} is on its way: {subject}"),
            Self::NotMailed { to, subject, why, again_s: Some(seconds) } => {
                write!(f, "no mail to {to} yet, next try in {seconds} s: {why}: {subject}")
            }
            Self::NotMailed { to, subject, why, again_s: None } => {
                write!(f, "no mail to {to}, it is dropped: {why}: {subject}")
            }
            Self::MailsCrowded { lost } => {
                write!(f, "{lost} events are in no mail: too many addressees wait for theirs")
            }
            _ => Ok(()),
        }
    }
}

/// Why the primary pool does not serve.
fn why_not(left: bool) -> &'static str {
    if left { "too few real servers are up" } else { "no real server is up" }
}

/// The first few by name, the others by number: one line in the journal.
struct List<'a>(&'a [ServiceKey]);

/// As many services are named in one line.
const NAMED_MAX: usize = 5;

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, service) in self.0.iter().take(NAMED_MAX).enumerate() {
            write!(f, "{}{service:#}", if n == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
