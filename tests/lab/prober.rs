//! The lab's client, and the small tools its scripts need beside it; one binary, `prober COMMAND`.
//!
//! * `probe`: sends HTTP GET requests at a fixed rate and reports what a client saw.
//! * `serve`: a web server with one page (no fork a request, as that is dear in the emulator).
//! * `echo`, `hold`: connections that stay open and say a byte now and then; `hold` counts those that
//!   end before it does.
//! * `trouble`: a server that says nothing, or a byte a second, or no end of them, or resets.
//! * `mark`, `kill`: write down when something is done; `kill` also does it.
//! * `heard`: writes down when heartbeats of so many senders have been seen on the wire.
//! * `json`: prints values of a JSON text on stdin.
//!
//! What `probe` means by its words:
//!
//! * A *request* is one fresh TCP connection, a GET, and the whole answer. Request number n is
//!   started at first + n/rate, an absolute schedule, whether or not earlier ones have ended;
//!   so one slow request delays no other, and an outage is sampled evenly.
//! * It is *answered* when status 200 and the whole body came within the timeout; *by* the first
//!   line of the body. Everything else is *failed*, with its kind (`refused`, `reset`, `timeout`,
//!   `unreachable`, `cut` for an incomplete answer, `status N`). The default timeout, 900 ms, is
//!   below the kernel's first SYN retransmit (1 s): a lost SYN is a failed request, not a slow one.
//! * Times are `CLOCK_BOOTTIME` in nanoseconds: in the VM the emulated machine's own time.
//! * The log has one line a request: sent, duration, `ok SERVER` or `failed KIND`.
//! * The summary (JSON) is defined in `report.rs`, which computes it and does nothing else.
//!
//! The prober does not know pairbeat; it sees what a client sees.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for scripts")]

#[path = "prober/client.rs"]
mod client;
#[path = "prober/hold.rs"]
mod hold;
#[path = "prober/report.rs"]
mod report;
#[path = "prober/server.rs"]
mod server;
#[path = "prober/trouble.rs"]
mod trouble;
#[path = "prober/wire.rs"]
mod wire;

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// The lab's client and small tools.
#[derive(Parser)]
enum Command {
    /// Send requests at a fixed rate until the count, or SIGTERM or SIGINT; then report.
    Probe(client::Options),
    /// Serve one page.
    Serve {
        /// Where to listen.
        address: SocketAddr,
        /// The page's only line.
        page: String,
    },
    /// Send back whatever comes, on every connection.
    Echo {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Keep connections open, a byte there and back on each at an interval, until SIGTERM.
    Hold(hold::Options),
    /// Take connections and do one bad thing to them.
    Trouble {
        /// Where to listen.
        address: SocketAddr,
        /// What to do.
        trouble: trouble::Trouble,
    },
    /// Append `NANOSECONDS NAME` to FILE.
    Mark {
        /// The file of marks.
        file: PathBuf,
        /// What happened.
        name: String,
    },
    /// Append a mark, then kill the processes with SIGKILL, all at once.
    Kill {
        /// The file of marks.
        file: PathBuf,
        /// What happened.
        name: String,
        /// Process ids.
        #[arg(required = true)]
        pids: Vec<i32>,
    },
    /// Append a mark once UDP datagrams to the port have come from so many different senders.
    Heard(wire::Options),
    /// Print the values at the JSON pointers, one a line; fails when one is missing.
    Json {
        /// RFC 6901 pointers, such as `/groups/0/state`.
        pointers: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Probe(options) => client::probe(&options),
        Command::Serve { address, page } => server::serve(address, &page),
        Command::Echo { address } => hold::echo(address),
        Command::Hold(options) => hold::hold(&options),
        Command::Trouble { address, trouble } => trouble::make(address, trouble),
        Command::Mark { file, name } => mark(&file, &name, now()),
        Command::Kill { file, name, pids } => kill(&file, &name, &pids),
        Command::Heard(options) => wire::heard(&options),
        Command::Json { pointers } => json(&pointers),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prober: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// One write a line, so that several writers never mix.
fn mark(file: &Path, name: &str, at: u64) -> Result<(), Box<dyn Error>> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    Ok(file.write_all(format!("{at} {name}\n").as_bytes())?)
}

/// The clock is read before the first kill and written down after the last: nothing lies between.
fn kill(file: &Path, name: &str, pids: &[i32]) -> Result<(), Box<dyn Error>> {
    let pids: Vec<Pid> = pids.iter().filter_map(|&pid| Pid::from_raw(pid)).collect();
    let at = now();
    // Stopped first, so that none of them sees another one die and tidies up.
    for pid in &pids {
        let _gone = kill_process(*pid, Signal::STOP);
    }
    let killed = pids.into_iter().filter(|&pid| kill_process(pid, Signal::KILL).is_ok()).count();
    mark(file, name, at)?;
    if killed == 0 { Err("no process was there to kill".into()) } else { Ok(()) }
}

fn json(pointers: &[String]) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    for pointer in pointers {
        match value.pointer(pointer).ok_or_else(|| format!("nothing at {pointer}"))? {
            serde_json::Value::String(text) => println!("{text}"),
            other => println!("{other}"),
        }
    }
    Ok(())
}
