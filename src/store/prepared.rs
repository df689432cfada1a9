//! What we have changed on this machine and how it was before: a small file in the state directory,
//! one for `realserver up` and one for the settings of a director.
//!
//! It is good for this boot and this network namespace, for what it tells of is gone with them;
//! one of another is as good as none. A damaged one is never overwritten: what was there before is
//! known nowhere else.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{lvs, realserver};

/// Of the file's form.
const VERSION: u32 = 1;
/// Longest file that is read: 1,024 virtual IPs and the settings of a thousand interfaces are some
/// 300 KiB.
const FILE_LEN_MAX: u64 = 1024 * 1024;
/// Named by the kernel anew at each boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The network namespace of the caller (namespaces(7)).
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Why the file can't be gone by.
#[derive(Debug, thiserror::Error)]
pub enum PreparedError {
    /// It can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not as it was written.
    #[error(
        "{}: {why}. It says what was here before {by}: read it, put back by hand what it names, then \
         remove it", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Who has written it.
        by: &'static str,
    },
}

/// What such a file can hold.
pub trait Remembered: Serialize + DeserializeOwned + Default + Clone {
    /// The file's name.
    const FILE: &str;
    /// Who writes it, for people.
    const BY: &str;
    /// Whether there is nothing to remember.
    fn is_empty(&self) -> bool;
}

impl Remembered for realserver::Kept {
    const FILE: &str = "realserver.json";
    const BY: &str = "`realserver up`";
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Remembered for lvs::settings::Kept {
    const FILE: &str = "kernel-settings.json";
    const BY: &str = "a director was started";
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<K> {
    #[serde(alias = "pairbeat_realserver")]
    version: u32,
    boot: String,
    namespace: String,
    kept: K,
}

/// Only the version, for files of other ones.
#[derive(Deserialize)]
struct Version {
    #[serde(alias = "pairbeat_realserver")]
    version: u32,
}

/// The file.
#[derive(Debug)]
pub struct Prepared<K> {
    path: PathBuf,
    boot: String,
    namespace: String,
    holds: PhantomData<K>,
}

impl<K: Remembered> Prepared<K> {
    /// The one in this directory, for the calling thread's network namespace.
    ///
    /// # Errors
    /// The boot or the namespace can't be named.
    pub fn new(state_dir: &Path) -> Result<Self, PreparedError> {
        let named = |path: &str, text: io::Result<String>| {
            text.map_err(|source| PreparedError::Io { path: path.into(), source })
        };
        let boot = named(BOOT_ID, std::fs::read_to_string(BOOT_ID))?.trim().to_owned();
        let link = std::fs::read_link(NAMESPACE).map(|it| it.to_string_lossy().into_owned());
        let namespace = named(NAMESPACE, link)?;
        Ok(Self { path: state_dir.join(K::FILE), boot, namespace, holds: PhantomData })
    }

    /// What is remembered; nothing where there is no file, or one of another boot or namespace.
    ///
    /// # Errors
    /// [`PreparedError`]; the file stays as it is.
    pub fn read(&self) -> Result<K, PreparedError> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&self.path)
            .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(K::default()),
            other => other.map_err(|source| self.io(source))?,
        };
        let damaged =
            |why: String| PreparedError::Damaged { path: self.path.clone(), why, by: K::BY };
        if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_LEN_MAX) {
            return Err(damaged(format!("it is longer than {FILE_LEN_MAX} bytes")));
        }
        let unreadable = |error: serde_json::Error| damaged(format!("it can't be read: {error}"));
        let version: Version = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if version.version != VERSION {
            let version = version.version;
            return Err(damaged(format!("it is of another version ({version}, not {VERSION})")));
        }
        let form: Form<K> = serde_json::from_slice(&bytes).map_err(unreadable)?;
        let here = form.boot == self.boot && form.namespace == self.namespace;
        Ok(if here { form.kept } else { K::default() })
    }

    /// Remembers: on the disk when this returns. Nothing to remember is no file.
    ///
    /// # Errors
    /// [`PreparedError::Io`]; then what was remembered before still is.
    pub fn write(&self, kept: &K) -> Result<(), PreparedError> {
        self.replace(kept).map_err(|source| self.io(source))
    }

    fn replace(&self, kept: &K) -> io::Result<()> {
        if kept.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let form = Form {
            version: VERSION,
            boot: self.boot.clone(),
            namespace: self.namespace.clone(),
            kept: kept.clone(),
        };
        let new = self.path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        serde_json::to_writer_pretty(&mut file, &form)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }

    fn io(&self, source: io::Error) -> PreparedError {
        PreparedError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
