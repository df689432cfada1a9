//! One node: its namespace, its processes, what it says.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::Instant;

use crate::lan::PATIENCE;
use crate::nets::Net;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_pairbeat");

/// One node of a pair.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) net: Net,
    directory: PathBuf,
    /// As `--config` has it.
    pub(crate) config: PathBuf,
    /// What its shell does before the daemon takes its place.
    pub(crate) prelude: String,
    /// What `run` is of.
    pub(crate) program: PathBuf,
    supervisor: Option<Child>,
}

/// How a command ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A status in its JSON form, valid by the schema.
#[derive(Debug)]
pub(crate) struct Status(pub(crate) Value);

impl Status {
    /// # Panics
    /// When it is not as `docs/status.schema.json` says.
    fn valid(text: &str) -> Self {
        static SCHEMA: OnceLock<(boon::Schemas, boon::SchemaIndex)> = OnceLock::new();
        let (schemas, index) = SCHEMA.get_or_init(|| {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status.schema.json");
            let mut schemas = boon::Schemas::new();
            let index = boon::Compiler::new().compile(path, &mut schemas).unwrap();
            (schemas, index)
        });
        let value: Value = serde_json::from_str(text).unwrap();
        if let Err(fault) = schemas.validate(&value, *index) {
            unreachable!("{fault:#}\n{text}");
        }
        Self(value)
    }

    pub(crate) fn groups(&self) -> &[Value] {
        self.0["groups"].as_array().unwrap()
    }

    /// This node's state of a group.
    pub(crate) fn state(&self, group: usize) -> &str {
        self.0["groups"][group]["state"].as_str().unwrap()
    }

    /// Why it is in that state.
    pub(crate) fn cause(&self, group: usize) -> &str {
        self.0["groups"][group]["cause"].as_str().unwrap()
    }

    /// What is noted of a group, in one text.
    pub(crate) fn notes(&self, group: usize) -> String {
        self.0["groups"][group]["notes"].to_string()
    }

    pub(crate) fn peer(&self) -> &str {
        self.0["peer"]["state"].as_str().unwrap()
    }

    /// A link's field.
    pub(crate) fn link(&self, link: usize, field: &str) -> &Value {
        &self.0["links"][link][field]
    }

    /// Refused packets, by the words of the reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.0["refused"][reason].as_u64().unwrap_or(0)
    }
}

impl Node {
    pub(crate) fn new(name: &str, net: Net, directory: PathBuf, config: PathBuf) -> Self {
        let (prelude, program) = (String::new(), PathBuf::from(BINARY));
        Self { name: name.to_owned(), net, directory, config, prelude, program, supervisor: None }
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.directory.join("run")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// All that it has logged, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn options(&self) -> Vec<std::ffi::OsString> {
        let (runtime, state) = (self.runtime_dir(), self.directory.join("state"));
        [
            ["--config".into(), self.config.clone().into_os_string()],
            ["--node".into(), self.name.clone().into()],
            ["--runtime-dir".into(), runtime.into_os_string()],
            ["--state-dir".into(), state.into_os_string()],
        ]
        .concat()
    }

    /// `run`, in the node's namespace: the child is the supervisor itself.
    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let prelude = format!("{}exec \"$@\"", self.prelude);
        let mut command = self.inside(&["sh", "-c", &prelude, "sh"]);
        command.arg(&self.program).args(self.options()).args(["run", "--force"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.supervisor = Some(command.spawn().unwrap());
    }

    /// A command that begins with `words` in the node's namespace.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.net.name()]).args(words);
        command
    }

    /// `run`, behind other words, for those who expect it to end at once.
    pub(crate) fn run_behind(&self, words: &[&str], arguments: &[&str]) -> Said {
        let mut command = self.inside(words);
        command.arg(BINARY).args(self.options()).arg("run").args(arguments);
        command.stdin(Stdio::null()).output().unwrap().into()
    }

    /// A command of the operator.
    pub(crate) fn ask(&self, words: &[&str]) -> Said {
        self.ask_as(Path::new(BINARY), words)
    }

    /// The same, called by another name.
    pub(crate) fn ask_as(&self, program: &Path, words: &[&str]) -> Said {
        self.asking(program, words).output().unwrap().into()
    }

    pub(crate) fn asking(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).args(self.options()).stdin(Stdio::null());
        command
    }

    /// Its status; `None` when it can't be had now.
    pub(crate) fn status(&self) -> Option<Status> {
        let said = self.ask(&["status", "--json"]);
        (said.code == Some(0)).then(|| Status::valid(&said.out))
    }

    /// Waits until the status is so.
    pub(crate) fn wait(&self, what: &str, so: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let found = until(|| {
            last = self.status();
            last.take_if(|status| so(status))
        });
        found.unwrap_or_else(|| {
            unreachable!("{}: no {what}: {:?}\n{}", self.name, self.status(), self.log())
        })
    }

    /// Waits until the first group is in this state.
    pub(crate) fn becomes(&self, state: &str) -> Status {
        self.wait(state, |status| status.state(0) == state)
    }

    /// Waits until something is logged.
    pub(crate) fn logs(&self, what: &str) {
        let found = until(|| self.log().contains(what).then_some(()));
        assert!(found.is_some(), "{}: `{what}` is not in\n{}", self.name, self.log());
    }

    pub(crate) fn holds(&self, ip: &str) -> bool {
        self.net.ip("-o address show dev eth0").contains(&format!(" {ip}/"))
    }

    /// The supervisor.
    pub(crate) fn supervisor(&self) -> Pid {
        Pid::from_child(self.supervisor.as_ref().unwrap())
    }

    /// The child of the supervisor that has this role now.
    pub(crate) fn role(&self, role: &str) -> Option<Pid> {
        let supervisor = self.supervisor().as_raw_nonzero();
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.find_map(|pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            words.any(|word| word == role.as_bytes()).then(|| Pid::from_raw(pid))?
        })
    }

    pub(crate) fn signal(&self, pid: Pid, signal: Signal) {
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the supervisor has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut child = self.supervisor.take().unwrap();
        let end = until(|| child.try_wait().unwrap());
        if end.is_none() {
            self.supervisor = Some(child);
        }
        end.unwrap_or_else(|| unreachable!("{} does not end\n{}", self.name, self.log()))
    }

    /// Every process in its namespace.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let pids = Command::new("ip").args(["netns", "pids", self.net.name()]).output().unwrap();
        let pids = String::from_utf8(pids.stdout).unwrap();
        pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    /// Kills all that runs in its namespace so that none of them can tidy up after the others: all
    /// are stopped first, and the supervisor dies last. Its end orphans the process groups of its
    /// children, and the kernel lets stopped members of an orphaned group go on.
    pub(crate) fn crash(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else { return };
        let last = Pid::from_child(&supervisor);
        let mut pids = self.processes();
        pids.retain(|pid| *pid != last);
        pids.push(last);
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in &pids {
                let _gone = kill_process(*pid, signal);
            }
        }
        supervisor.wait().unwrap();
        let gone = until(|| self.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "{}: killed processes remain", self.name);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("=== {}\n{}", self.name, self.log());
        }
        for pid in self.processes() {
            let _gone = kill_process(pid, Signal::KILL);
        }
        if let Some(mut supervisor) = self.supervisor.take() {
            let _ = supervisor.kill();
            let _ = supervisor.wait();
        }
    }
}

/// Looks until there is something to see; `None` when patience has ended.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() >= deadline {
            return seen;
        }
        std::thread::yield_now();
    }
}
