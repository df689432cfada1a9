//! `pairbeat realserver`: a real server made ready, put back, looked at. Exit codes of `status` as a
//! service's (LSB): 0 ready, 3 nothing there, 1 half.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::exit::Code;
use super::out;
use crate::config::{is_interface, unfit_vip};
use crate::daemon::Paths;
use crate::daemon::realserver::{self as hands, Done, RealServerError, Report};
use crate::lvs::model::{Forwarding, NotForwarding};
use crate::realserver::standing::{Answer, Proof, State};
use crate::realserver::{Mode, Outer, Place, VIPS_MAX, Vips};

/// Of `status --json`.
const VERSION: u32 = 1;
/// Longest file of virtual IPs: a line for each.
const FILE_LEN_MAX: u64 = 64 * VIPS_MAX as u64;

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Order {
    /// Take packets for the virtual IPs without answering for them on the LAN
    Up {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Placed,
    },
    /// Put back what was there before `up`: for these virtual IPs, or for all
    Down {
        #[command(flatten)]
        which: Which,
    },
    /// Show what is there and what is missing, and whether this machine answers on the LAN. Exit
    /// code 0: ready; 3: nothing there; 1: half
    Status {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        place: Placed,
        /// As JSON (docs/REALSERVER.md)
        #[arg(long)]
        json: bool,
    },
}

/// Which virtual IPs.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// Their addresses, IPv4 and IPv6
    #[arg(value_name = "VIP", value_parser = vip)]
    vips: Vec<IpAddr>,
    /// A file with one in each line; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// How packets come, and where the virtual IPs go.
#[derive(Debug, Clone, Args)]
pub(super) struct Placed {
    /// How the director forwards, in its own word: gate, ipip, gue, gue:PORT, gre or gre,csum
    #[arg(long, value_name = "MODE", default_value = "gate", value_parser = mode)]
    mode: Mode,
    /// What a tunnel's outer packets are, where they are not of the virtual IP's family
    #[arg(long, value_name = "FAMILY")]
    over: Option<FamilyWord>,
    /// The interface that gets the virtual IPs [default: lo for gate, else the tunnel device of the
    /// mode: docs/REALSERVER.md]
    #[arg(long, value_name = "NAME", value_parser = interface)]
    interface: Option<String>,
}

/// An address family, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FamilyWord {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

fn mode(text: &str) -> Result<Mode, String> {
    let forwarding: Forwarding = text.parse().map_err(|why: NotForwarding| why.to_string())?;
    Mode::try_from(forwarding).map_err(|why| why.to_string())
}

fn vip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| "an IPv4 or IPv6 address".to_owned())?;
    if unfit_vip(ip).is_some() {
        return Err("no address that a service can have".to_owned());
    }
    Ok(ip)
}

/// As the kernel takes names (`dev_valid_name` of net/core/dev.c).
fn interface(text: &str) -> Result<String, String> {
    if !is_interface(text) || matches!(text, "all" | "default") {
        return Err("no name of an interface".to_owned());
    }
    Ok(text.to_owned())
}

impl Which {
    /// All of them, or every fault of the file.
    fn all(&self) -> Result<BTreeSet<IpAddr>, Vec<String>> {
        let mut all: BTreeSet<IpAddr> = self.vips.iter().copied().collect();
        if let Some(file) = &self.file {
            all.extend(listed(file)?);
        }
        Ok(all)
    }

    fn placed(&self, place: &Placed) -> Result<Vips, Vec<String>> {
        let over = place.over.map(|word| match word {
            FamilyWord::Ipv4 => Outer::Ipv4,
            FamilyWord::Ipv6 => Outer::Ipv6,
        });
        if place.mode == Mode::Gate && over.is_some() {
            return Err(vec![
                "--over is for tunnels: `--mode gate` has no outer packet".to_owned(),
            ]);
        }
        let at = |vip: IpAddr| {
            let usual = Place::usual(place.mode, over, vip);
            match &place.interface {
                Some(interface) => Place { interface: interface.clone(), ..usual },
                None => usual,
            }
        };
        Ok(self.all()?.into_iter().map(|vip| (vip, at(vip))).collect())
    }
}

fn listed(file: &Path) -> Result<BTreeSet<IpAddr>, Vec<String>> {
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_string(&mut text))
        .map_err(|error| vec![format!("{shown}: {error}")])?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(vec![format!("{shown}: longer than {FILE_LEN_MAX} bytes")]);
    }
    let (mut found, mut faults) = (BTreeSet::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split('#').next().unwrap_or_default();
        let column = content.len() - content.trim_start().len() + 1;
        match content.trim() {
            "" => {}
            word => match vip(word) {
                Ok(vip) => drop(found.insert(vip)),
                Err(why) => faults.push(format!("{shown}:{number}:{column}: `{word}`: {why}")),
            },
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// Does it.
pub(super) fn realserver(paths: &Paths, order: &Order) -> Code {
    match order {
        Order::Up { which, place } => match which.placed(place) {
            Ok(vips) if vips.is_empty() => out::fault(Code::Usage, "name the virtual IPs"),
            Ok(vips) => changed(run(hands::up(paths, &vips)), "already so"),
            Err(faults) => faulty(&faults),
        },
        Order::Down { which } => match which.all() {
            Ok(vips) if vips.is_empty() && which.file.is_some() => out::fault(
                Code::Usage,
                "the file names no virtual IP; without it all are taken back",
            ),
            Ok(vips) => changed(run(hands::down(paths, &vips)), "nothing to take back"),
            Err(faults) => faulty(&faults),
        },
        Order::Status { which, place, json } => match which.placed(place) {
            Ok(vips) => shown(run(hands::status(paths, &vips)), *json),
            Err(faults) => faulty(&faults),
        },
    }
}

fn faulty(faults: &[String]) -> Code {
    faults.iter().for_each(|fault| out::complain(fault));
    Code::Failed
}

fn run<T>(work: impl Future<Output = Result<T, RealServerError>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("runtime: {error}"))?;
    runtime.block_on(work).map_err(|error| error.to_string())
}

fn changed(done: Result<Done, String>, nothing: &str) -> Code {
    let done = match done {
        Ok(done) => done,
        Err(why) => return out::fault(Code::Failed, &why),
    };
    done.remarks.iter().for_each(|remark| out::complain(&format!("pairbeat: {remark}")));
    done.steps.iter().for_each(|step| out::line(&step.to_string()));
    if done.steps.is_empty() {
        out::line(nothing);
    }
    for one in &done.standing {
        for (interface, _) in one.answers.iter().filter(|(_, answer)| answer.is_heard()) {
            let vip = one.vip;
            out::complain(&format!(
                "pairbeat: {vip} is on {interface} too: there this machine answers for it"
            ));
        }
    }
    Code::Well
}

fn shown(report: Result<Report, String>, as_json: bool) -> Code {
    let report = match report {
        Ok(report) => report,
        Err(why) => return out::fault(Code::Failed, &why),
    };
    let state = overall(&report);
    if as_json {
        out::line(&in_json(&report, state).to_string());
    } else {
        in_words(&report);
    }
    match state {
        State::Ready => Code::Well,
        State::Half => Code::Failed,
        // LSB: not running; the same number as no daemon.
        State::Absent => Code::NoDaemon,
    }
}

fn overall(report: &Report) -> State {
    let is = |state| report.standing.iter().all(|one| one.state() == state);
    if !report.unfinished.is_empty() {
        State::Half
    } else if is(State::Absent) {
        State::Absent
    } else if is(State::Ready) {
        State::Ready
    } else {
        State::Half
    }
}

fn in_words(report: &Report) {
    if report.standing.is_empty() {
        out::line("no virtual IP is prepared here");
    }
    for one in &report.standing {
        out::line(&format!("{}  {}, {}", one.vip, one.state(), one.place));
        one.missing.iter().for_each(|missing| out::line(&format!("  missing: {missing}")));
        if let Some(prefix) = one.wide {
            out::line(&format!(
                "  wrong: it has the prefix /{prefix}: this machine takes that whole network for its \
                 own"
            ));
        }
        for (interface, answer) in &one.answers {
            let words = answered(*answer, one.proofs.get(interface));
            out::line(&format!("  {interface}: {words}"));
        }
    }
    if !report.unfinished.is_empty() {
        out::line("an earlier command was interrupted; the next `up` or `down` does the rest:");
        report.unfinished.iter().for_each(|step| out::line(&format!("  {step}")));
    }
}

fn answered(by_settings: Answer, proof: Option<&Proof>) -> String {
    let because = match by_settings {
        Answer::Silent => "its settings are quiet",
        Answer::Holds => "the address is on this interface",
        Answer::Talks => "arp_ignore lets it answer for all its addresses",
    };
    match proof {
        Some(Proof::Silent) => "asked, and it does not answer".to_owned(),
        Some(Proof::Answered) => format!("asked, and it ANSWERS: {because}"),
        Some(Proof::Unknown(why)) if by_settings.is_heard() => {
            format!("ANSWERS: {because} (not asked: {why})")
        }
        Some(Proof::Unknown(why)) => format!("does not answer: {because} (not asked: {why})"),
        None if by_settings.is_heard() => format!("ANSWERS: {because}"),
        None => format!("does not answer: {because}"),
    }
}

fn in_json(report: &Report, state: State) -> Value {
    let texts = |all: &[crate::realserver::plan::Missing]| -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    };
    let vips: Vec<Value> = report
        .standing
        .iter()
        .map(|one| {
            let lans = one.answers.iter().map(|(interface, answer)| {
                let (asked, why) = match one.proofs.get(interface) {
                    Some(Proof::Silent) => (Some(false), None),
                    Some(Proof::Answered) => (Some(true), None),
                    Some(Proof::Unknown(why)) => (None, Some(why)),
                    None => (None, None),
                };
                json!({
                    "interface": interface,
                    "answers_by_settings": answer.is_heard(),
                    "answered_when_asked": asked,
                    "not_asked": why,
                })
            });
            json!({
                "vip": one.vip,
                "mode": one.place.mode,
                "interface": one.place.interface,
                "over": one.place.over,
                "state": one.state().to_string(),
                "held": one.held,
                "missing": texts(&one.missing),
                "prefix": one.wide,
                "lans": lans.collect::<Vec<_>>(),
            })
        })
        .collect();
    let unfinished: Vec<String> = report.unfinished.iter().map(ToString::to_string).collect();
    json!({ "version": VERSION, "state": state.to_string(), "vips": vips, "unfinished": unfinished })
}
