//! The only place that writes to the terminal. A closed pipe (`status | head`) is no error.

use std::io::Write;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::exit::Code;

/// A refused command line, help and version: clap knows where it goes.
pub(super) fn refusal(refusal: &clap::Error) -> Code {
    let _closed_pipe = refusal.print();
    if refusal.use_stderr() { Code::Usage } else { Code::Well }
}

/// Text to standard output; whether somebody still reads it.
pub(super) fn text(text: &str) -> bool {
    let mut terminal = std::io::stdout().lock();
    terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()).is_ok()
}

/// Waits that long for whoever reads standard output to go away.
pub(super) fn abandoned(within: Duration) -> bool {
    let terminal = std::io::stdout();
    // Errors and hang-ups are told without being asked for (poll(2)).
    let mut reader = [PollFd::new(&terminal, PollFlags::empty())];
    let limit = Timespec::try_from(within).ok();
    poll(&mut reader, limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// A line to standard output.
pub(super) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// A line to standard output, which is not used after that: whoever reads it sees its end.
pub(super) fn last_line(last: &str) {
    line(last);
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _stays_open = rustix::stdio::dup2_stdout(&null);
    }
}

/// A line to standard error; passes the code through.
pub(super) fn fault(code: Code, why: &str) -> Code {
    complain(&format!("pairbeat: {why}"));
    code
}

/// A line to standard error.
pub(super) fn complain(line: &str) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{line}");
}
