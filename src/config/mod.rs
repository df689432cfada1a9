//! The configuration that the daemon runs on: one model, whatever it was read from.
//!
//! Readers are pure: text in, values and *all* faults out. They reach the world only through
//! [`Environment`], which the daemon and the tests supply.

pub mod alone;
mod arbiter;
pub mod authkeys;
mod check;
mod damping;
pub mod diag;
mod digest;
mod exchange;
pub mod ha_cf;
pub mod haresources;
mod ipvs;
pub mod keys;
pub mod ldirectord;
mod legacy;
mod link;
mod ocf;
mod outside;
mod service;
mod source;
mod sync;
#[cfg(test)]
mod testing;
mod timing;
pub mod toml;
mod value;

pub(crate) use self::ldirectord::section::{PERSISTENT_MAX, SCHED_FLAGS, SCHEDULERS};
pub(crate) use self::toml::{
    CHECK_TIME_MAX, CHECK_TIME_MIN, COUNT_MAX, DEPENDENCIES_MAX, MAIL_REPEAT,
};
pub(crate) use self::value::{INTERFACE_LEN_MAX, is_interface, prefix, unfit_vip};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::{Damping, Monitor};
use crate::config::diag::{Diagnostic, Mark};
use crate::lvs::model::Director;
use crate::lvs::notify::Program;
use crate::names::{DirectorName, GroupName, NodeName};

pub use crate::keys::{Key, KeyRing, Secret};
pub use arbiter::{
    ARBITER_ADDRESSES_MAX, ARBITER_LEASE, ARBITER_TIMEOUT, ARBITERS_MAX, Arbiter, ArbiterKind,
    ETCD_PORT, Endpoint, Etcd, EtcdTls, Needed,
};
pub use check::{DraftDirector, DraftGroup, DraftResource};
pub use digest::digests;
pub use ipvs::{IPVS_SETTINGS, Ipvs, director_settings, switch_settings};
pub use link::{
    Baud, Cast, DraftLink, Link, Medium, Multicast, MulticastGroup, Serial, TARGETS_MAX, UDP_PORT,
    Udp,
};
pub use outside::{
    FENCE_ACTIONS, FENCE_DIRECTORY, FENCE_PARAMS_MAX, FENCE_TIMEOUT, FENCE_TIMEOUT_MAX, FENCES_MAX,
    FenceDevice, FenceKind, FenceParams, PING_MEMBERS_MAX, PING_NODES_MAX, PingNode,
};
pub use service::{ENV_MAX, Facility, Log, PRIORITY, PRIORITY_MAX, RESPAWNS_MAX, Respawn, Service};
pub use source::{FILE_LEN_MAX, Source};
pub use sync::{GROUP as SYNC_GROUP, PORT as SYNC_PORT, Sync};

/// Native configuration, tried first where no path is given.
pub const DEFAULT: &str = "/etc/pairbeat/pairbeat.toml";
/// Heartbeat's configuration, used as it is where [`DEFAULT`] is absent.
pub const DEFAULT_LEGACY: &str = "/etc/ha.d";
/// The TOML file of a directory.
const TOML: &str = "pairbeat.toml";

/// Reads the configuration of `node` from `path`: a TOML file, a directory in ha.d layout, or one
/// with a `pairbeat.toml` and no `ha.cf`.
///
/// All faults and warnings are returned, in the order of the files; there is a configuration
/// exactly when no fault is among them.
pub fn load(
    path: &Path,
    node: &NodeName,
    environment: &dyn Environment,
) -> (Option<Config>, Vec<Diagnostic>) {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let mut found = Vec::new();
    let draft = match environment.read(&path.join(legacy::HA_CF)) {
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => {
            match native(path, environment) {
                Ok(file) => toml::read(&file, node, environment, &mut found),
                Err(fault) => {
                    found.push(*fault);
                    None
                }
            }
        }
        _ => legacy::read(path, environment, &mut found),
    };
    let config = draft.and_then(|draft| check::finish(draft, node, environment, &mut found));
    in_file_order(&mut found);
    (config, found)
}

/// The TOML file that a path without an ha.cf below it means.
fn native(path: &Path, environment: &dyn Environment) -> Result<PathBuf, Box<Diagnostic>> {
    use std::io::ErrorKind::{IsADirectory, NotFound};
    let fault =
        |message: &str, help: &str| Err(Box::new(Mark::file(path).fault(message).with_help(help)));
    let is = |path: &Path, kind| environment.read(path).is_err_and(|error| error.kind() == kind);
    let is_directory = is(path, IsADirectory);
    let file = if is_directory { path.join(TOML) } else { path.to_owned() };
    if !is_directory && path.ends_with(legacy::HA_CF) {
        let directory = path.parent().unwrap_or(Path::new("."));
        let help = format!("give the directory: `--config {}`", directory.display());
        return fault("one file of several in ha.d layout", &help);
    }
    if !is(&file, NotFound) {
        return Ok(file);
    }
    if path == Path::new(DEFAULT_LEGACY) && is(Path::new(DEFAULT), NotFound) {
        let (ha_d, ha_cf) = (DEFAULT_LEGACY, legacy::HA_CF);
        let message = format!("neither {DEFAULT} nor {ha_d}/{ha_cf} is there");
        return fault(&message, "write one of them, or name another with `--config PATH`");
    }
    if is_directory {
        let message = format!("neither {} nor {TOML} in this directory", legacy::HA_CF);
        return fault(&message, "a directory in the layout of /etc/ha.d, or a TOML file");
    }
    Ok(file)
}

/// Files in the order in which they were read first, their diagnostics by line.
fn in_file_order(found: &mut [Diagnostic]) {
    let mut files: Vec<PathBuf> = Vec::new();
    for diagnostic in found.iter() {
        if !files.contains(&diagnostic.place.file) {
            files.push(diagnostic.place.file.clone());
        }
    }
    found.sort_by_key(|diagnostic| {
        let place = &diagnostic.place;
        let file = files.iter().position(|file| *file == place.file);
        (file, place.line, place.column)
    });
}

/// Everything a node runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: NodeName,
    /// The other one.
    pub peer: NodeName,
    /// Heartbeat timing.
    pub timing: Timing,
    /// Whether a returning preferred node takes its groups back by itself.
    pub auto_failback: AutoFailback,
    /// When automatic switches of a group are too many.
    pub damping: Damping,
    /// Heartbeat links; at least one, at most [`crate::cluster::message::LINKS_MAX`].
    pub links: Vec<Link>,
    /// Keys; at least one.
    pub keys: KeyRing,
    /// Resource groups in the order of the file; at most [`crate::cluster::message::GROUPS_MAX`].
    pub groups: Vec<Group>,
    /// The directors that groups name.
    pub directors: BTreeMap<DirectorName, Director>,
    /// Files of theirs whose changes on the disk count.
    pub watched: Vec<Watched>,
    /// What this node asks whether it reaches the world; at most [`PING_NODES_MAX`].
    pub ping_nodes: Vec<PingNode>,
    /// Silence after which a ping node counts as unreachable. Default: deadtime.
    pub deadping: Duration,
    /// Whether the node that reaches more ping nodes shall hold the groups (ipfail). Default: off
    /// in ha.cf, on in TOML where there are ping nodes.
    pub ipfail: bool,
    /// Who has a say before a group is taken from a silent peer; at most [`ARBITERS_MAX`].
    pub arbiters: Vec<Arbiter>,
    /// What can put the peer out of service before a takeover; at most [`FENCES_MAX`]. See
    /// [`Config::fences`].
    pub fence: Vec<FenceDevice>,
    /// Log, watchdog, priority, programs that are kept running.
    pub service: Service,
    /// Settings of the kernel's IPVS.
    pub ipvs: Ipvs,
}

/// What becomes of a director's file that has changed on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of what was read there.
    pub digest: [u8; 32],
    /// It is read again. `autoreload`; default false.
    pub auto_reload: bool,
    /// Told of it, with the file's path, after it has been read again. `callback`.
    pub callback: Option<Program>,
}

/// Heartbeat timing. Invariant: `keepalive * 3 <= deadtime <= initdead`, `warntime < deadtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one beat to the next. Default 1 s in ha.cf, 200 ms in TOML.
    pub keepalive: Duration,
    /// Silence that is worth a warning. Default half of deadtime.
    pub warntime: Duration,
    /// Silence after which a node is dead. Default 30 s in ha.cf, 2 s in TOML.
    pub deadtime: Duration,
    /// The same, for a peer not heard of since our own start.
    pub initdead: Duration,
}

/// `auto_failback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoFailback {
    /// A returning node takes its groups back.
    On,
    /// It stays standby. Our default, and the meaning given to `legacy`.
    Off,
}

/// A resource group: one line of haresources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// In haresources: the first resource as written.
    pub name: GroupName,
    /// The node that should have it when both can.
    pub preferred: NodeName,
    /// Started left to right, stopped right to left. Never empty.
    pub resources: Vec<Resource>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// As written, for messages: `IPaddr2::192.168.2.110/24/eth0`.
    pub text: String,
    /// Longest start. Default 60 s.
    pub start_timeout: Duration,
    /// Longest stop. Default 60 s.
    pub stop_timeout: Duration,
    /// How it is looked after while it is up; `None`: not in this way. Addresses are kept by the
    /// daemon, and directors look after themselves.
    pub monitor: Option<Monitor>,
    /// What it is.
    pub kind: ResourceKind,
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceKind {
    /// IPaddr, IPaddr2, or an address on its own.
    Address(Address),
    /// `ldirectord::FILE`: the built-in director.
    Director(DirectorName),
    /// `LVSSyncDaemonSwap`: connection sync.
    Sync(Sync),
    /// A program.
    Script(Script),
    /// SendArp: an address that is announced, and held by somebody else.
    Announce(Address),
    /// MailTo.
    Mail(Mail),
}

/// The interface of every mail system (sendmail(8)).
pub const MAIL_PROGRAM: &str = "/usr/sbin/sendmail";

/// A mail at the start and at the stop of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Whom; at least one. Neither blanks nor control characters.
    pub to: Vec<String>,
    /// What the mail is about; default `Resource Group`.
    pub subject: String,
}

/// A virtual IP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The VIP.
    pub ip: IpAddr,
    /// Prefix length; `None`: that of the route to it.
    pub prefix: Option<u8>,
    /// Interface; `None`: that of the route to it.
    pub interface: Option<String>,
    /// Label of at most 15 bytes (`eth0:0`); IPv4 only.
    pub label: Option<String>,
    /// Broadcast address; IPv4 only, `None`: the kernel's choice of none.
    pub broadcast: Option<Ipv4Addr>,
}

/// A resource script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The executable.
    pub path: PathBuf,
    /// Before the action word; empty for LSB and OCF, the unit for systemd.
    pub args: Vec<String>,
    /// How its status is to be read.
    pub style: ScriptStyle,
}

/// How a script's status is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptStyle {
    /// `resource.d`: arguments then the action; status is told by its text as well.
    Heartbeat,
    /// `/etc/init.d`: the action; status by exit code 0 and 3.
    Lsb,
    /// An agent: the action; everything else by its environment, all answers by exit code.
    Ocf(OcfAgent),
    /// systemctl: action and unit.
    Systemd,
}

/// A resource of an OCF agent (OCF Resource Agent API 1.0).
#[derive(Clone, PartialEq, Eq)]
pub struct OcfAgent {
    /// Whose agent it is: a directory of `/usr/lib/ocf/resource.d`.
    pub provider: String,
    /// The file in it.
    pub agent: String,
    /// `OCF_RESOURCE_INSTANCE`: tells it from others of the same agent, the same on both nodes.
    pub instance: String,
    /// Each in its environment as `OCF_RESKEY_NAME`; at most 100. Passwords may be among the values.
    pub parameters: BTreeMap<String, String>,
}

impl std::fmt::Debug for OcfAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.parameters.keys().collect();
        write!(f, "OcfAgent({}:{} {names:?})", self.provider, self.agent)
    }
}

/// The world as the readers may see it.
pub trait Environment {
    /// A text file and its permissions.
    ///
    /// # Errors
    /// The reason, as the system words it.
    fn read(&self, path: &Path) -> Result<SourceFile, std::io::Error>;
    /// Whether there is an executable regular file.
    fn executable(&self, path: &Path) -> bool;
    /// What an OCF agent says of itself (`meta-data`); `None` where it says nothing in time.
    fn metadata(&self, _agent: &Path) -> Option<String> {
        None
    }
    /// Address of a host name, IPv6 only when asked.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr>;
    /// Port of a service name (`http`), from /etc/services.
    fn service(&self, name: &str, protocol: crate::lvs::model::Protocol) -> Option<u16>;
    /// Whether /etc/passwd has a user of that name.
    fn user(&self, name: &str) -> bool;
}

/// An [`Environment`] that remembers which files were read: those that a change must be looked
/// for in.
pub struct Recording<'a> {
    environment: &'a dyn Environment,
    files: RefCell<Vec<PathBuf>>,
}

impl<'a> Recording<'a> {
    /// Nothing read yet.
    pub fn new(environment: &'a dyn Environment) -> Self {
        Self { environment, files: RefCell::new(Vec::new()) }
    }

    /// The files that were there, each once, in the order of reading.
    pub fn into_files(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }
}

impl Environment for Recording<'_> {
    fn read(&self, path: &Path) -> Result<SourceFile, std::io::Error> {
        let file = self.environment.read(path)?;
        let mut files = self.files.borrow_mut();
        if !files.iter().any(|known| known == path) {
            files.push(path.to_owned());
        }
        Ok(file)
    }

    fn executable(&self, path: &Path) -> bool {
        self.environment.executable(path)
    }

    fn metadata(&self, agent: &Path) -> Option<String> {
        self.environment.metadata(agent)
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.environment.host(name, family)
    }

    fn service(&self, name: &str, protocol: crate::lvs::model::Protocol) -> Option<u16> {
        self.environment.service(name, protocol)
    }

    fn user(&self, name: &str) -> bool {
        self.environment.user(name)
    }
}

/// Address family asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// A file as the readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its bytes; not always UTF-8.
    pub bytes: Vec<u8>,
    /// Permission bits (`st_mode & 0o7777`).
    pub mode: u32,
}
