//! The program that takes this one's place at a restart: the file that was started, as it is now.
//!
//! After a package upgrade that is another file under the same name. It is asked to check the
//! configuration before anything is given up for it: a program that can't be run, or that can't read
//! the files, never becomes a successor.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::daemon::Paths;

/// Longest run of the new program's `check`: host names may go out to the resolver.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// What the kernel adds to the name of a file that has been replaced (proc(5)).
const REPLACED: &[u8] = b" (deleted)";

/// Where this program was started from.
fn path() -> io::Result<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe")?.into_os_string().into_vec();
    let path = path.strip_suffix(REPLACED).unwrap_or(&path).to_vec();
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Asks the new program whether it can read the configuration.
///
/// # Errors
/// A sentence for the operator.
pub(super) async fn check(paths: &Paths) -> Result<(), String> {
    let program = path().map_err(|e| format!("the program's file is not known: {e}"))?;
    let shown = program.display().to_string();
    let mut command = Command::new(&program);
    let run =
        paths.options(&mut command).arg("check").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(CHECK_LIMIT, run).await;
    let output = output
        .map_err(|_| format!("`{shown} check` does not end within {} s", CHECK_LIMIT.as_secs()))?;
    let output = output.map_err(|e| format!("{shown} can't be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("`{shown} check` ended with {}: {first}", output.status))
}

/// Becomes the new program, with the same words. Comes back only when that fails.
pub(super) fn become_it() -> io::Error {
    let program = match path() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "pairbeat".into());
    std::process::Command::new(program).arg0(name).args(words).exec()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_file_is_the_one_that_runs() {
        let path = path().unwrap();
        assert!(path.is_file() && !path.as_os_str().as_bytes().ends_with(REPLACED), "{path:?}");
    }
}
