//! Every directive of Heartbeat 3.0.6, and what becomes of it here.
//!
//! Source: the directive table of heartbeat/config.c and ha.cf(5). docs/HA_CF.md says the same for
//! operators; a test compares the two. The ones acted on are the arms of `Reader::directive`.

/// What becomes of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Read by an arm of `Reader::directive`.
    ActedOn,
    /// Recognised and named in a warning; what is missing, behind "is not acted on".
    NotYet(&'static str),
    /// Taken without effect; why, behind "is not acted on".
    Accepted(&'static str),
    /// A fault, but for the value that changes nothing.
    Refused,
}

impl Fate {
    /// As in docs/HA_CF.md.
    #[cfg(test)]
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ActedOn => "acted on",
            Self::NotYet(_) => "not yet",
            Self::Accepted(_) => "accepted",
            Self::Refused => "refused",
        }
    }
}

/// What the values must look like, where `table` is all that knows the directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One time.
    Time,
    /// One boolean.
    Switch,
    /// One number within these bounds.
    Number(u32, u32),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// At least so many words.
    Words(usize),
}

/// One directive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directive {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) fate: Fate,
}

const fn row(name: &'static str, shape: Shape, fate: Fate) -> Directive {
    Directive { name, shape, fate }
}

const fn acted(name: &'static str) -> Directive {
    row(name, Shape::Words(1), Fate::ActedOn)
}

const fn refused(name: &'static str) -> Directive {
    row(name, Shape::Words(1), Fate::Refused)
}

const NO_MEDIUM: Fate = Fate::NotYet(": Debian's Heartbeat has no such medium either");
const INNER: Fate = Fate::Accepted(": it tunes the inside of Heartbeat");
const SESSION: Fate = Fate::Accepted(": each start draws a random session instead");
const FRAMES: Fate = Fate::Accepted(": beats are small binary frames, in one piece");
const LOGD: Fate = Fate::Accepted(": no log daemon is needed");
const NO_API: Fate = Fate::Accepted(": there is no such API; the control socket's mode decides");
const NO_PACEMAKER: Fate = Fate::Accepted(": it means nothing without Pacemaker");

#[rustfmt::skip]
const TABLE: &[Directive] = &[
    acted("node"),
    refused("autojoin"),
    row("cluster", Shape::Words(1), Fate::Accepted(": the two nodes and their key are the cluster")),
    acted("keepalive"),
    acted("deadtime"),
    acted("warntime"),
    acted("initdead"),
    acted("deadping"),
    acted("bcast"),
    acted("udp"),
    acted("ucast"),
    acted("ucast6"),
    acted("mcast"),
    acted("mcast6"),
    acted("serial"),
    acted("baud"),
    acted("udpport"),
    acted("ping"),
    acted("ping6"),
    acted("ping_group"),
    row("hbaping", Shape::Words(1), NO_MEDIUM),
    row("tipc", Shape::Words(1), NO_MEDIUM),
    row("rds", Shape::Words(2), NO_MEDIUM),
    acted("auto_failback"),
    acted("nice_failback"),
    acted("stonith"),
    acted("stonith_host"),
    acted("watchdog"),
    acted("respawn"),
    acted("failfast"),
    acted("env"),
    row("apiauth", Shape::Words(1), NO_API),
    refused("crm"),
    refused("pacemaker"),
    row("crm_daemon_dir", Shape::Words(1), NO_PACEMAKER),
    row("crmd_spawns_pengine", Shape::Switch, NO_PACEMAKER),
    row("record_config_changes", Shape::Switch, NO_PACEMAKER),
    row("record_pengine_inputs", Shape::Switch, NO_PACEMAKER),
    row("enable_config_writes", Shape::Switch, NO_PACEMAKER),
    row("quorum_server", Shape::Words(1), NO_PACEMAKER),
    acted("logfile"),
    acted("debugfile"),
    acted("logfacility"),
    acted("debug"),
    row("use_logd", Shape::Switch, LOGD),
    row("conn_logd_time", Shape::Time, LOGD),
    row("syslogmsgfmt", Shape::Switch, Fate::Accepted(": lines have one form, with a timestamp")),
    row("log_badpack", Shape::Switch, Fate::Accepted(": bad packets are counted in the status")),
    acted("realtime"),
    acted("rtprio"),
    row("memreserve", Shape::Number(0, u32::MAX), Fate::Accepted(": memory is locked page by page")),
    row("hbgenmethod", Shape::OneOf(&["file", "time"]), SESSION),
    row("uuidfrom", Shape::OneOf(&["file", "nodename"]), SESSION),
    row("msgfmt", Shape::OneOf(&["classic", "netstring"]), FRAMES),
    row("hopfudge", Shape::Number(0, 255), Fate::Accepted(": there is no ring of serial lines")),
    row("max_rexmit_delay", Shape::Number(0, u32::MAX), Fate::Accepted(": nothing is sent again")),
    row("normalpoll", Shape::Switch, INNER),
    row("compression", Shape::Words(1), FRAMES),
    row("compression_threshold", Shape::Number(0, u32::MAX), FRAMES),
    row("traditional_compression", Shape::Switch, FRAMES),
    row("coredumps", Shape::Switch, Fate::Accepted(": the service manager's limits decide")),
    row("coreroot", Shape::Words(1), Fate::Accepted(": the kernel's core pattern decides")),
    row("use_apphbd", Shape::Switch, Fate::Accepted(": the supervisor watches the core")),
    // Ours, beyond Heartbeat.
    acted("damping"),
];

/// The directive of that name.
pub(super) fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// Every name, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|directive| directive.name)
}

/// Every directive.
#[cfg(test)]
pub(super) fn all() -> &'static [Directive] {
    TABLE
}
