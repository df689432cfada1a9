//! `director`: ldirectord's command line, for a director without a cluster. Its exit codes are ldirectord's
//! (ldirectord(8) and the program): 0 well, 1 failed, 2 the file is faulty, 3 not running, 255 no
//! such verb.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::exit::Code;
use super::real::{self, Real};
use super::{ask, lacks, out};
use crate::config::alone::Alone;
use crate::daemon::Paths;
use crate::daemon::alone::{self, Home};
use crate::names::DirectorName;
use crate::status::{self, AloneStatus};

/// The file where none is named.
const FILE: &str = "ldirectord.cf";
/// Where a name is looked for before it is taken as a path.
const PLACES: [&str; 2] = ["/etc/ha.d", "/etc/ha.d/conf"];

const USAGE: &str = "usage: ldirectord [-d] [FILE] \
     start|stop|restart|try-restart|reload|force-reload|status|configtest";

/// What follows `director`.
#[derive(Debug, clap::Args)]
pub(super) struct Words {
    /// Stay in the foreground and log everything
    #[arg(short, long)]
    debug: bool,
    /// Print the version
    #[arg(short, long = "release")]
    version: bool,
    /// FILE start|stop|restart|try-restart|reload|force-reload|status|configtest. A name is looked for
    /// in /etc/ha.d and /etc/ha.d/conf, then taken as a path; ldirectord.cf unless given
    #[arg(value_name = "FILE VERB")]
    words: Vec<String>,
    /// Become the daemon that `start` waits for
    #[arg(long, hide = true)]
    serve: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    Status,
    ConfigTest,
}

impl Verb {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "try-restart" => Self::TryRestart,
            "reload" | "force-reload" => Self::Reload,
            "status" => Self::Status,
            "configtest" => Self::ConfigTest,
            _ => return None,
        })
    }
}

/// Does it.
pub(super) fn director(paths: &Paths, words: &Words) -> Code {
    if words.version {
        out::line(concat!("pairbeat ", env!("CARGO_PKG_VERSION"), ", as ldirectord"));
        return Code::Well;
    }
    let (file, verb) = match words.words.as_slice() {
        [verb] => (FILE, verb),
        [file, verb] => (file.as_str(), verb),
        _ => return usage(),
    };
    let Some(verb) = Verb::of(verb) else { return usage() };
    match called(file, paths) {
        Ok(call) if words.serve => call.serve(),
        Ok(call) => call.perform(verb, words.debug),
        Err(why) => out::fault(Code::Failed, &why),
    }
}

/// `status --director FILE`.
pub(super) fn full_status(file: &str, paths: &Paths, json: bool) -> Code {
    match called(file, paths) {
        Ok(call) => ask::shown(&call.home.paths, json, |it: &AloneStatus| {
            status::render_alone(it) + &lacks::of_views(&it.services)
        }),
        Err(why) => out::fault(Code::Usage, &why),
    }
}

/// `real --director FILE`.
pub(super) fn real(file: &str, paths: &Paths, order: &Real) -> Code {
    match called(file, paths) {
        Ok(call) => real::alone(&call.home.paths, order),
        Err(why) => out::fault(Code::Usage, &why),
    }
}

fn usage() -> Code {
    out::complain(USAGE);
    Code::Ldirectord(255)
}

/// Which director is meant.
fn called(word: &str, paths: &Paths) -> Result<Call, String> {
    let path = Path::new(word);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = DirectorName::new(name).map_err(|e| format!("{word}: {e}"))?;
    let places = PLACES.iter().map(|place| Path::new(place).join(path));
    let found = places.filter(|_| !path.is_absolute()).find(|file| file.is_file());
    let file = match found {
        Some(file) => file,
        None => std::path::absolute(path).map_err(|e| format!("{word}: {e}"))?,
    };
    let home = Home::new(name, &Paths { config: file.clone(), ..paths.clone() });
    Ok(Call { base: paths.clone(), home, file })
}

struct Call {
    /// What was said of directories.
    base: Paths,
    home: Home,
    file: PathBuf,
}

impl Call {
    fn perform(&self, verb: Verb, debug: bool) -> Code {
        let running = match self.home.running() {
            Ok(running) => running,
            Err(e) => {
                let lock = self.home.paths.lock_file();
                return out::fault(Code::Failed, &format!("{}: {e}", lock.display()));
            }
        };
        if running.is_none() && !self.file.is_file() {
            let why = format!("Config file {} not found", self.file.display());
            out::complain(&why);
            return Code::Failed;
        }
        match (verb, running) {
            (Verb::ConfigTest, _) => self.config().map_or_else(|code| code, |_| Code::Well),
            (Verb::Status, _) => self.status(running),
            (Verb::Start, Some(_)) | (Verb::Stop | Verb::TryRestart, None) => Code::Well,
            (Verb::Start | Verb::Restart, None) => self.start(debug),
            (Verb::Stop, Some(pid)) => self.stop_with_others(pid),
            (Verb::Reload, Some(pid)) => self.reload(pid),
            (Verb::Reload, None) => self.status_line(Code::Failed),
            (Verb::Restart | Verb::TryRestart, Some(pid)) => self.restart(pid, debug),
        }
    }

    /// What the file asks for, or how to end; all faults and warnings are printed.
    fn config(&self) -> Result<Alone, Code> {
        let (config, found) = self.home.load();
        for diagnostic in found {
            out::complain(diagnostic.to_string().trim_end());
        }
        config.ok_or(Code::Ldirectord(2))
    }

    fn status(&self, running: Option<Pid>) -> Code {
        let file = self.file.display();
        if let Some(pid) = running {
            let pid = pid.as_raw_nonzero();
            out::line(&format!("ldirectord for {file} is running with pid: {pid}"));
            return Code::Well;
        }
        if self.home.pid_file.exists() {
            let pid_file = self.home.pid_file.display();
            out::complain(&format!("ldirectord stale pid file {pid_file} for {file}"));
            return self.status_line(Code::Failed);
        }
        self.status_line(Code::NoDaemon)
    }

    fn status_line(&self, code: Code) -> Code {
        out::line(&format!("ldirectord is stopped for {}", self.file.display()));
        code
    }

    fn stop(&self, pid: Pid) -> Code {
        match self.home.stop(pid) {
            Ok(true) => Code::Well,
            Ok(false) => out::fault(Code::Failed, "it does not stop within its limits"),
            Err(e) => out::fault(Code::Failed, &format!("it can't be told to stop: {e}")),
        }
    }

    /// Those that the file names with `execute` stop with it; which they are can't be known when
    /// the file is faulty now.
    fn stop_with_others(&self, pid: Pid) -> Code {
        let (config, _not_about_a_stop) = self.home.load();
        let code = self.stop(pid);
        let others = config.map(|config| config.execute).unwrap_or_default();
        self.others(&others, Verb::Stop, code)
    }

    /// Does the same with the directors of other files. One that runs, or does not, already is left
    /// alone, so that files may name each other.
    fn others(&self, files: &[String], verb: Verb, own: Code) -> Code {
        let mut code = own;
        for file in files {
            let done = match called(file, &self.base) {
                Ok(call) => call.perform(verb, false),
                Err(why) => out::fault(Code::Failed, &why),
            };
            if code == Code::Well && done != Code::Well {
                code = Code::Failed;
            }
        }
        code
    }

    /// A file with faults is not handed on: what runs goes on as it is.
    fn reload(&self, pid: Pid) -> Code {
        match self.config().map(|_| Home::reload(pid)) {
            Ok(Ok(())) => Code::Well,
            Ok(Err(e)) => out::fault(Code::Failed, &format!("it can't be told to reload: {e}")),
            Err(code) => code,
        }
    }

    /// Nothing is stopped for a file with which nothing could be started.
    fn restart(&self, pid: Pid, debug: bool) -> Code {
        if let Err(code) = self.config() {
            return code;
        }
        match self.stop_with_others(pid) {
            Code::Well => self.start(debug),
            failed => failed,
        }
    }

    fn start(&self, debug: bool) -> Code {
        let config = match self.config() {
            Ok(config) => config,
            Err(code) => return code,
        };
        if !debug && !config.supervised {
            let code = self.spawn();
            return match code {
                Code::Well => self.others(&config.execute, Verb::Start, code),
                failed => failed,
            };
        }
        let _told_of_each = self.others(&config.execute, Verb::Start, Code::Well);
        let level = if debug { 1 } else { 0 };
        let log = crate::config::Log { debug: level, ..crate::config::Log::default() };
        super::exit::of_daemon(alone::run(&self.home, Alone { log, ..config }, || {}))
    }

    /// Starts the daemon and waits for its word: nothing when its table is in the kernel, else why
    /// it is not.
    fn spawn(&self) -> Code {
        let failed = |why: &str| out::fault(Code::Failed, why);
        let mut command = Command::new("/proc/self/exe");
        let base = |directory: &Path| directory.parent().unwrap_or(Path::new("/")).to_owned();
        command.args(["director", "--serve"]).arg(&self.file).arg("start");
        command.args(["--node", self.home.paths.node.as_str()]);
        command.arg("--runtime-dir").arg(base(&self.home.paths.runtime_dir));
        command.arg("--state-dir").arg(base(&self.home.paths.state_dir));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => return failed(&format!("the daemon can't be started: {e}")),
        };
        let mut said = String::new();
        if let Some(mut words) = child.stdout.take() {
            // It ends its words when it is ready, and all of itself otherwise.
            let _whatever_came = words.read_to_string(&mut said);
        }
        match said.trim() {
            READY => Code::Well,
            "" => failed("the daemon has ended; its log says why"),
            why => failed(why),
        }
    }

    /// The daemon.
    fn serve(&self) -> Code {
        let (config, _printed_by_the_caller) = self.home.load();
        let Some(config) = config else { return Code::Ldirectord(2) };
        // Refused to the leader of a group only, which this is not.
        let _own_session = rustix::process::setsid();
        match alone::run(&self.home, config, || out::last_line(READY)) {
            Ok(()) => Code::Well,
            Err(fatal) => {
                out::line(&fatal.to_string());
                Code::Failed
            }
        }
    }
}

/// What the daemon says to the command that started it.
const READY: &str = "ready";
