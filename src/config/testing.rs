//! A world in memory for tests of the readers.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::diag::{Diagnostic, Severity};
use crate::config::{Environment, Family, SourceFile};
use crate::lvs::model::Protocol;

/// Files, of which those with an execute bit are programs; the hosts `web1` and `web6`; the
/// services http, https and domain; the users root and nobody.
#[derive(Debug, Default)]
pub(super) struct World {
    files: BTreeMap<PathBuf, SourceFile>,
}

impl World {
    pub(super) fn with(mut self, path: &str, text: &str) -> Self {
        let mode = if path.contains(".d/") || path.contains("bin/") { 0o755 } else { 0o600 };
        let file = SourceFile { bytes: text.as_bytes().to_vec(), mode };
        self.files.insert(PathBuf::from(path), file);
        self
    }
}

impl Environment for World {
    fn read(&self, path: &Path) -> Result<SourceFile, io::Error> {
        if let Some(file) = self.files.get(path) {
            return Ok(file.clone());
        }
        let directory = self.files.keys().any(|file| file.starts_with(path));
        let kind = if directory { io::ErrorKind::IsADirectory } else { io::ErrorKind::NotFound };
        Err(kind.into())
    }

    fn executable(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|file| file.mode & 0o111 != 0)
    }

    /// An agent's text is what it says of itself.
    fn metadata(&self, agent: &Path) -> Option<String> {
        String::from_utf8(self.files.get(agent)?.bytes.clone()).ok()
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        match (name, family) {
            ("web1" | "my_host", Family::V4) => Some(IpAddr::from([10, 0, 0, 2])),
            ("web6", Family::V6) => Some(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2])),
            _ => None,
        }
    }

    fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
        match (name, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("https", Protocol::Tcp) => Some(443),
            ("domain", _) => Some(53),
            _ => None,
        }
    }

    fn user(&self, name: &str) -> bool {
        matches!(name, "root" | "nobody")
    }
}

/// Each as `LINE fault MESSAGE`.
pub(super) fn brief(found: &[Diagnostic]) -> Vec<String> {
    let brief = |d: &Diagnostic| format!("{} {}: {}", d.place.line, d.severity, d.message);
    found.iter().map(brief).collect()
}

/// The faults alone, as `LINE MESSAGE`.
pub(super) fn faults(found: &[Diagnostic]) -> Vec<String> {
    let faults = found.iter().filter(|d| d.severity == Severity::Fault);
    faults.map(|d| format!("{} {}", d.place.line, d.message)).collect()
}
