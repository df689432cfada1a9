//! What one process leaves to the next: a small file in the runtime directory.
//!
//! It is good for one start, within seconds, on this boot of this machine, for this node of this
//! cluster; whatever else it is, it is named and not used, and the start is an ordinary one. It
//! decides nothing: `cluster::restart` says what is in it, the daemon looks whether it is so.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cluster::Carried;
use crate::config::{Config, Group};
use crate::names::{GroupName, NodeName};
use crate::sys::clock;

/// Of the file's form. Another one is not read: the next process then starts with nothing held, and
/// the peer takes over.
const VERSION: u32 = 1;
/// Longest file that is read: 64 groups of a hundred resources are under 1 MiB.
const FILE_LEN_MAX: u64 = 4 * 1024 * 1024;
/// Named by the kernel anew at each boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is in the file: one line of JSON, and its SHA-256 in a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaving {
    pairbeat_carried: u32,
    /// The version of the program that wrote it, for the operator.
    pub program: String,
    node: NodeName,
    peer: NodeName,
    boot: String,
    /// For the cluster core.
    pub carried: Carried,
    /// Of each held group, as written in the configuration of then.
    pub resources: BTreeMap<GroupName, Vec<String>>,
    /// Every address that may be up.
    pub addresses: Vec<IpAddr>,
}

/// Why a file can't be gone by.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read, or not be removed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Somebody else may have written it.
    #[error("it is not of this user alone")]
    Foreign,
    /// Longer than any that we write.
    #[error("it is longer than {FILE_LEN_MAX} bytes")]
    TooLong,
    /// Cut off, or changed.
    #[error("it is damaged")]
    Damaged,
    /// Of another form.
    #[error("it is of another version of pairbeat: {0}")]
    Version(String),
    /// Of another node, cluster or machine, or of before the last boot.
    #[error("it is of {0}")]
    Stranger(String),
    /// The peer may have taken everything meanwhile.
    #[error("it is too old")]
    Late,
}

impl Leaving {
    /// What is to be written.
    ///
    /// # Errors
    /// The boot can't be named.
    pub fn new(config: &Config, carried: Carried) -> io::Result<Self> {
        let held = |name: &GroupName| carried.groups.iter().any(|it| it.held && it.name == *name);
        let groups = config.groups.iter().filter(|group| held(&group.name));
        Ok(Self {
            pairbeat_carried: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            node: config.node.clone(),
            peer: config.peer.clone(),
            boot: boot_id()?,
            resources: groups.map(|group| (group.name.clone(), texts(group))).collect(),
            addresses: config.addresses().collect(),
            carried,
        })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        // Plain data with text keys always has a JSON form.
        let body = serde_json::to_string(self).unwrap_or_default();
        let sum = digest(&body);
        format!("{body}\n{sum}\n")
    }

    /// Reads the file's text, all of it or nothing.
    ///
    /// # Errors
    /// [`Unusable::Damaged`] and [`Unusable::Version`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let mut lines = text.split_inclusive('\n');
        let (body, sum) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let whole = sum.ends_with('\n') && lines.next().is_none();
        let (body, sum) = (body.trim_end_matches('\n'), sum.trim_end_matches('\n'));
        if !whole || digest(body) != sum {
            return Err(Unusable::Damaged);
        }
        let value: serde_json::Value = serde_json::from_str(body).map_err(|_| Unusable::Damaged)?;
        let version = value.get("pairbeat_carried").and_then(serde_json::Value::as_u64);
        if version != Some(VERSION.into()) {
            let program = value.get("program").and_then(serde_json::Value::as_str);
            return Err(Unusable::Version(program.unwrap_or("unknown").to_owned()));
        }
        serde_json::from_value(value).map_err(|e| Unusable::Version(e.to_string()))
    }

    /// Whether it is for this node, here and now.
    fn fits(self, config: &Config) -> Result<Self, Unusable> {
        let stranger = |what: String| Err(Unusable::Stranger(what));
        if self.node != config.node {
            return stranger(format!("node {}", self.node));
        }
        if self.peer != config.peer {
            return stranger(format!("a cluster with {}", self.peer));
        }
        if self.boot != boot_id()? {
            return stranger("another boot or machine".to_owned());
        }
        if !self.carried.is_timely(clock::now()) {
            return Err(Unusable::Late);
        }
        Ok(self)
    }
}

/// A group's resources, as written.
pub fn texts(group: &Group) -> Vec<String> {
    group.resources.iter().map(|resource| resource.text.clone()).collect()
}

/// Writes the file, for this user alone, replacing what is there as a whole.
///
/// # Errors
/// The system's; then there is no file.
pub fn write(path: &Path, leaving: &Leaving) -> io::Result<()> {
    remove(path)?;
    let new = path.with_extension("new");
    remove(&new)?;
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(leaving.to_text().as_bytes())?;
        std::fs::rename(&new, path)
    });
    if written.is_err() {
        let _not_there_either = remove(&new);
    }
    written
}

/// Removes the file; one that is not there is removed already.
///
/// # Errors
/// The system's.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the file away and says what it held; `None`: there is none.
///
/// # Errors
/// [`Unusable`]; it is gone all the same, unless that is the reason.
pub fn take(path: &Path, config: &Config) -> Result<Option<Leaving>, Unusable> {
    let text = match read(path) {
        Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other,
    };
    // What can't be removed could be used twice.
    remove(path)?;
    Leaving::parse(&text?)?.fits(config).map(Some)
}

fn read(path: &Path) -> Result<String, Unusable> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let own = rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.uid() != own || metadata.mode() & 0o077 != 0 {
        return Err(Unusable::Foreign);
    }
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
        return Err(Unusable::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| Unusable::Damaged)
}

fn digest(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String can't fail.
        let _infallible = write!(hex, "{byte:02x}");
    }
    hex
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string(BOOT_ID)?.trim().to_owned())
}

#[cfg(test)]
mod tests;
