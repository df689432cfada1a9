//! Settings of the kernel, by their path under /proc/sys. Those of a network namespace are the
//! caller's.

use std::io;
use std::path::{Path, PathBuf};

/// Why a setting can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct SysctlError {
    path: PathBuf,
    source: io::Error,
}

/// Reads a setting, such as `net/ipv4/vs/sloppy_tcp`.
///
/// # Errors
/// The path and the system's reason.
pub fn read(name: &str) -> Result<String, SysctlError> {
    let path = Path::new("/proc/sys").join(name);
    let text = std::fs::read_to_string(&path).map_err(|source| SysctlError { path, source })?;
    Ok(text.trim().to_owned())
}

/// Whether the kernel has a setting, or a directory of them.
pub fn exists(name: &str) -> bool {
    Path::new("/proc/sys").join(name).exists()
}

/// Writes a setting.
///
/// # Errors
/// The path and the system's reason.
pub fn write(name: &str, value: &str) -> Result<(), SysctlError> {
    let path = Path::new("/proc/sys").join(name);
    std::fs::write(&path, value).map_err(|source| SysctlError { path, source })
}
