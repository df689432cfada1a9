//! The hands of `realserver up`, `down` and `status`: reads the machine, obeys the plan, remembers.
//!
//! What is about to be changed is on the disk before it is changed, so whoever comes next after a
//! kill finishes it or takes it back. One command at a time; no daemon is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Address;
use crate::daemon::Paths;
use crate::kernel::addr::{AddressError, Addresses};
use crate::kernel::fou::{self, Fou, FouError};
use crate::kernel::links::Links;
use crate::kernel::selftest::{self, Card};
use crate::kernel::sysctl::{self, SysctlError};
use crate::realserver::plan::{Missing, Plan, Remark, Step, impossible, missing, plan};
use crate::realserver::standing::{Proof, Standing, standing};
use crate::realserver::{Found, Kept, Port, Tunnel, VIPS_MAX, Vips, settings};
use crate::store::prepared::{Prepared, PreparedError};

/// Most times that the machine is read and steps are taken: a tunnel device that is made brings
/// settings, which need a second time, and the last one must find nothing to do.
const ROUNDS: usize = 4;
/// Most virtual IPs that `status` asks the machine for: each takes some 50 ms on each LAN.
const PROVED_MAX: usize = 64;
/// Longest wait for another command: a thousand addresses take some seconds.
const LOCK_MAX: Duration = Duration::from_secs(10);
/// From one try to the next.
const LOCK_TRY: Duration = Duration::from_millis(20);

/// Why it was not done, or only half.
#[derive(Debug, thiserror::Error)]
pub enum RealServerError {
    /// The directory, or the lock in it.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another one does not end.
    #[error("another `pairbeat realserver` has not ended within {} s", LOCK_MAX.as_secs())]
    Busy,
    /// What was here before is not known, or can't be remembered.
    #[error(transparent)]
    Prepared(#[from] PreparedError),
    /// An interface or an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No tunnel device.
    #[error("{source}: modprobe {}", module(*kind))]
    Tunnel {
        /// Which kind.
        kind: Tunnel,
        /// The kernel's reason.
        source: AddressError,
    },
    /// A port for GUE.
    #[error(transparent)]
    Fou(#[from] FouError),
    /// A setting.
    #[error("{0}; is this root, and /proc/sys writable?")]
    Setting(#[from] SysctlError),
    /// Too many.
    #[error("{0} virtual IPs, and a real server has at most {VIPS_MAX}")]
    TooMany(usize),
    /// No such interface.
    #[error("nothing was done: {}", list(.0))]
    Impossible(Vec<Missing>),
    /// Everything was done, and yet.
    #[error("done, and read back: {}", list(.0))]
    Unsettled(Vec<Missing>),
}

/// The one that makes such devices.
fn module(kind: Tunnel) -> &'static str {
    match kind {
        Tunnel::Ipip => "ipip",
        Tunnel::Ip6tnl | Tunnel::AnyInIp6 => "ip6_tunnel",
        Tunnel::Sit => "sit",
        Tunnel::Gre | Tunnel::GreChecksum => "ip_gre",
        Tunnel::Ip6gre | Tunnel::Ip6greChecksum => "ip6_gre",
    }
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a command has done.
#[derive(Debug, Default)]
pub struct Done {
    /// In this order.
    pub steps: Vec<Step>,
    /// To be told.
    pub remarks: Vec<Remark>,
    /// Every virtual IP that is prepared from now on.
    pub standing: Vec<Standing>,
}

/// What there is.
#[derive(Debug)]
pub struct Report {
    /// The virtual IPs in question.
    pub standing: Vec<Standing>,
    /// What an interrupted command has left: steps that the next one takes.
    pub unfinished: Vec<Step>,
}

/// Prepares this machine for these virtual IPs, beside those that it is prepared for.
///
/// # Errors
/// [`RealServerError`]; what it has changed is taken back as far as possible, and remembered as far
/// as it is not.
pub async fn up(paths: &Paths, vips: &Vips) -> Result<Done, RealServerError> {
    let desk = Desk::open(paths).await?;
    let before = desk.prepared.read()?.vips;
    let target = before.iter().chain(vips).map(|(k, v)| (*k, v.clone())).collect();
    let done = match desk.settle(&target).await {
        Ok(done) => done,
        Err(first) => {
            // The first reason is the one to be told.
            let _as_far_as_possible = desk.settle(&before).await;
            return Err(first);
        }
    };
    // One that was prepared before may lack what nobody can give it any more.
    let found = desk.machine.read(vips, &desk.prepared.read()?).await?;
    match missing(vips, &found) {
        lacking if lacking.is_empty() => Ok(done),
        lacking => Err(RealServerError::Unsettled(lacking)),
    }
}

/// Takes back what was done for these virtual IPs; for all of them where none is named.
///
/// # Errors
/// [`RealServerError`]; what is left is remembered.
pub async fn down(paths: &Paths, which: &BTreeSet<IpAddr>) -> Result<Done, RealServerError> {
    let desk = Desk::open(paths).await?;
    let mut target = desk.prepared.read()?.vips;
    target.retain(|vip, _| !which.is_empty() && !which.contains(vip));
    desk.settle(&target).await
}

/// Looks at these virtual IPs, and at all that this machine is prepared for.
///
/// # Errors
/// The file or the kernel can't be read.
pub async fn status(paths: &Paths, asked: &Vips) -> Result<Report, RealServerError> {
    let kept: Kept = Prepared::new(&paths.state_dir)?.read()?;
    let mut vips = kept.vips.clone();
    for (vip, place) in asked {
        vips.entry(*vip).or_insert_with(|| place.clone());
    }
    if !asked.is_empty() {
        vips.retain(|vip, _| asked.contains_key(vip));
    }
    let found = Machine::open()?.read(&vips, &kept).await?;
    let mut standing = standing(&vips, &found);
    for one in standing.iter_mut().take(PROVED_MAX) {
        prove(one, &found).await;
    }
    let Plan { steps, during, after, .. } = plan(&kept.vips, &found, &kept);
    let unfinished = if during == after { Vec::new() } else { steps };
    Ok(Report { standing, unfinished })
}

/// Everything that a command works with, and nobody else at the same time.
struct Desk {
    prepared: Prepared<Kept>,
    machine: Machine,
    _lock: File,
}

impl Desk {
    async fn open(paths: &Paths) -> Result<Self, RealServerError> {
        let lock = lock(paths).await?;
        let prepared = Prepared::new(&paths.state_dir)?;
        Ok(Self { prepared, machine: Machine::open()?, _lock: lock })
    }

    /// Until exactly these are here.
    async fn settle(&self, target: &Vips) -> Result<Done, RealServerError> {
        if target.len() > VIPS_MAX {
            return Err(RealServerError::TooMany(target.len()));
        }
        let mut kept = self.prepared.read()?;
        let mut done = Done::default();
        for _ in 0..ROUNDS {
            let found = self.machine.read(target, &kept).await?;
            let lacking = impossible(target, &found, &kept);
            if !lacking.is_empty() {
                return Err(RealServerError::Impossible(lacking));
            }
            let Plan { steps, during, after, remarks } = plan(target, &found, &kept);
            if !steps.is_empty() && during != kept {
                self.prepared.write(&during)?;
            }
            for step in &steps {
                self.machine.obey(step, &found).await?;
            }
            if after != kept {
                self.prepared.write(&after)?;
            }
            kept = after;
            done.remarks.extend(remarks);
            if steps.is_empty() {
                done.standing = standing(target, &found);
                return Ok(done);
            }
            done.steps.extend(steps);
        }
        let found = self.machine.read(target, &kept).await?;
        Err(RealServerError::Unsettled(missing(target, &found)))
    }
}

/// Asks the machine itself, on each LAN.
async fn prove(one: &mut Standing, found: &Found) {
    for (lan, _) in &one.answers {
        let Some(port) = found.ports.get(lan) else { continue };
        let is_own = |ip: &IpAddr, at: &String| {
            at == lan && *ip != one.vip && ip.is_ipv4() == one.vip.is_ipv4()
        };
        let own = found.held.iter().find(|(ip, at, _)| is_own(ip, at)).map(|(ip, _, _)| *ip);
        let card = Card { index: port.index, mac: port.mac, own };
        let proof = match selftest::answers(card, one.vip).await {
            Ok(true) => Proof::Answered,
            Ok(false) => Proof::Silent,
            Err(why) => Proof::Unknown(why.to_string()),
        };
        one.proofs.insert(lan.clone(), proof);
    }
}

async fn lock(paths: &Paths) -> Result<File, RealServerError> {
    let in_file = |path: PathBuf| move |source| RealServerError::File { path, source };
    let directory = &paths.state_dir;
    std::fs::create_dir_all(directory).map_err(in_file(directory.clone()))?;
    let path = directory.join("realserver.lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(in_file(path.clone()))?;
    let until = Instant::now() + LOCK_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_TRY).await,
            Err(TryLockError::WouldBlock) => return Err(RealServerError::Busy),
            Err(TryLockError::Error(source)) => return Err(in_file(path)(source)),
        }
    }
}

/// The kernel of this machine.
struct Machine {
    links: Links,
    addresses: Addresses,
}

impl Machine {
    fn open() -> Result<Self, RealServerError> {
        Ok(Self { links: Links::open()?, addresses: Addresses::open()? })
    }

    async fn read(&self, vips: &Vips, kept: &Kept) -> Result<Found, RealServerError> {
        let links = self.links.all().await?;
        let names: BTreeMap<u32, &String> =
            links.iter().map(|link| (link.index, &link.name)).collect();
        let held = self.addresses.all().await?.into_iter().filter_map(|(ip, index, prefix)| {
            names.get(&index).map(|name| (ip, (*name).clone(), prefix))
        });
        let held = held.collect();
        let ports: BTreeMap<String, Port> = links
            .iter()
            .map(|link| {
                let (index, up, lan, mac) = (link.index, link.up, link.neighbours, link.mac);
                (link.name.clone(), Port { index, up, lan, mac })
            })
            .collect();
        let all = vips.iter().chain(&kept.vips).map(|(k, v)| (*k, v.clone())).collect();
        let settings = settings(&all, ports.keys()).into_iter().filter_map(|setting| {
            // What can't be read is missing, which the plan says in words where it matters.
            let value = sysctl::read(&setting.path()).ok()?.parse().ok()?;
            Some((setting, value))
        });
        let settings = settings.collect();
        let receivers = match kept.concerns_gue(vips) {
            true => fou::ports()?,
            false => BTreeSet::new(),
        };
        Ok(Found { ports, held, settings, receivers })
    }

    async fn obey(&self, step: &Step, found: &Found) -> Result<(), RealServerError> {
        match step {
            Step::Write { setting, value } => sysctl::write(&setting.path(), &value.to_string())?,
            Step::Create(interface, kind) => {
                let made = self.links.create(interface, *kind).await;
                made.map_err(|source| RealServerError::Tunnel { kind: *kind, source })?;
            }
            Step::Open(receiver) => Fou::open().await?.add(*receiver)?,
            Step::Close(receiver) => Fou::open().await?.remove(*receiver)?,
            Step::Raise(interface) => self.links.raise(interface).await?,
            Step::Lower(interface) => self.links.lower(interface).await?,
            Step::Delete(interface) => {
                if let Some(port) = found.ports.get(interface) {
                    self.links.delete(port.index, interface).await?;
                }
            }
            Step::Add(ip, interface) => {
                let _placement = self.addresses.add(&host_address(*ip, interface)).await?;
            }
            Step::Remove(ip, interface) => {
                let _places = self.addresses.remove_at(*ip, interface).await?;
            }
        }
        Ok(())
    }
}

fn host_address(ip: IpAddr, interface: &str) -> Address {
    let prefix = Some(if ip.is_ipv4() { 32 } else { 128 });
    Address { ip, prefix, interface: Some(interface.to_owned()), label: None, broadcast: None }
}
