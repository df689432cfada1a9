//! What the daemon does beside the cluster: its log, its watchdog, its priority, the programs that
//! it keeps running.
//!
//! Types and limits only. Neighbours: `ha_cf::service` and `toml::service` read them;
//! `sys::log`, `daemon::watchdog` and `daemon::respawn` act on them.

use std::path::PathBuf;

/// Most programs that are kept running.
pub const RESPAWNS_MAX: usize = 16;
/// Most words of `env`.
pub const ENV_MAX: usize = 64;
/// Real-time priorities that may be asked for; below the kernel's own, whose threaded interrupts
/// run at 50.
pub const PRIORITY_MAX: u32 = 49;
/// Real-time priority where none is asked for: above ordinary threads.
pub const PRIORITY: u8 = 10;

/// Where users are looked for, for advice.
pub(super) const NO_USER_HELP: &str =
    "the program could never be started; users of a directory service are not seen";

/// What is wrong with a program whose user is unknown.
pub(super) fn no_user(name: &str) -> String {
    format!("no user `{name}` in /etc/passwd")
}

/// What the daemon does beside the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whether the beat thread has real-time priority and memory is locked. Default: yes.
    pub realtime: bool,
    /// That priority, 1 to [`PRIORITY_MAX`]. Default [`PRIORITY`]. `rtprio`.
    pub priority: u8,
    /// The watchdog device that is fed as long as the core is alive. Default: none.
    pub watchdog: Option<PathBuf>,
    /// Where the log goes beside the standard error.
    pub log: Log,
    /// Programs that are kept running; at most [`RESPAWNS_MAX`].
    pub respawn: Vec<Respawn>,
    /// `env`: NAME and value, in their environment as `HA_NAME`; at most [`ENV_MAX`].
    pub env: Vec<(String, String)>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            realtime: true,
            priority: PRIORITY,
            watchdog: None,
            log: Log::default(),
            respawn: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// Where the log goes beside the standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Everything but debug messages. `logfile`.
    pub file: Option<PathBuf>,
    /// Everything. `debugfile`.
    pub debug_file: Option<PathBuf>,
    /// By syslog(3) at `/dev/log`. `logfacility`.
    pub facility: Option<Facility>,
    /// 0: no debug messages; 1: those of our own; 2 to 255: all there are. `debug`.
    pub debug: u8,
}

/// A facility of syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility {
    /// As written.
    pub name: &'static str,
    /// Its number (sys/syslog.h), from 0.
    pub number: u8,
}

/// The facilities of sys/syslog.h that a daemon may use, by their numbers.
const FACILITIES: &[(&str, u8)] = &[
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

impl Facility {
    /// The facility of that name, in any case.
    pub(super) fn of(name: &str) -> Option<Self> {
        let row = FACILITIES.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        row.map(|(name, number)| Self { name, number: *number })
    }

    /// Every name, for advice.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        FACILITIES.iter().map(|(name, _)| *name)
    }
}

/// A program that is kept running while the node is in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respawn {
    /// Whose rights it has: a name of /etc/passwd.
    pub user: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether the node gives everything away and ends when the program does. `failfast`.
    pub vital: bool,
}
