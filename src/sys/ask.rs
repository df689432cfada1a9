//! Asks a program for a text about itself: short, bounded in time and length, nothing of ours is
//! inherited.
//!
//! Blocking, for start, reload and the command line. What runs beside the cluster is
//! [`crate::exec`]'s.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::sys::child::isolate;
use crate::sys::clock;
use crate::time::Instant;

/// Longest that it may take: the limit that OCF agents state for their own description.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest text; the largest description of Debian's agents has 40 KiB.
const TEXT_MAX: usize = 1024 * 1024;

/// What `program word` prints, where it ends well and in time.
pub fn ask(program: &Path, word: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .arg(word)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    isolate(&mut command);
    let mut child = command.spawn().ok()?;
    let until = clock::now().plus(LIMIT);
    let text = hear(&mut child, until);
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Also when it has ended well: what it left behind has no business here.
    if let Some(group) = group {
        let _nobody_left = kill_process_group(group, Signal::KILL);
    }
    let ended = child.wait().ok()?;
    // One that has printed everything and not ended yet was just killed: that is no fault.
    let well = ended.success() || ended.code().is_none();
    text.ok().filter(|_| well).and_then(|bytes| String::from_utf8(bytes).ok())
}

fn hear(child: &mut Child, until: Instant) -> io::Result<Vec<u8>> {
    let Some(mut pipe) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = until.since(clock::now());
        if left.is_zero() || text.len() > TEXT_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = clock::timespec(Instant::BOOT.plus(left));
        let mut pipes = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
        // Other threads have children, and a handler for the signal of their ends.
        match poll(&mut pipes, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(text),
            Ok(count) => text.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_answers_is_heard_and_one_that_floods_or_fails_is_not() {
        let shell = Path::new("/bin/sh");
        let script = |body: &str| {
            let path = std::env::temp_dir().join(format!(
                "pairbeat-ask-{}-{}",
                std::process::id(),
                body.len()
            ));
            std::fs::write(&path, body).unwrap();
            let said =
                ask(shell, path.to_str().unwrap(), &[("A", "one"), ("PATH", "/usr/bin:/bin")]);
            std::fs::remove_file(&path).unwrap();
            said
        };
        assert_eq!(script("echo $A; sleep 600 >/dev/null &").as_deref(), Some("one\n"));
        assert_eq!(
            script("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"),
            None
        );
        assert_eq!(script("echo text; exit 3  "), None);
        assert_eq!(script("exec sleep 600"), None);
        assert_eq!(ask(Path::new("/nowhere/to/be/found"), "x", &[]), None);
    }
}
