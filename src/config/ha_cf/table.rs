//! Every directive of Heartbeat 3.0.6 that this version does not act on, and what that means.
//!
//! Source: the directive table of heartbeat/config.c and ha.cf(5). The ones acted on are the arms
//! of `Reader::directive`.

/// What is missing when a directive is not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// Heartbeat media.
    Link,
    /// Ping nodes.
    Ping,
    /// Hardware watchdog.
    Watchdog,
    /// Children started along with the cluster.
    Child,
    /// Logging.
    Log,
    /// Inner workings of Heartbeat that have no counterpart.
    Inner,
    /// Pacemaker mode.
    Pacemaker,
}

impl Area {
    /// The end of the sentence "`x` is not acted on".
    pub(super) fn consequence(self) -> &'static str {
        match self {
            Self::Link => " yet: no heartbeats go this way",
            Self::Ping => " yet: reachability of ping nodes decides nothing",
            Self::Watchdog => " yet: no hardware watchdog is fed",
            Self::Child => " yet: the program is not started",
            Self::Log => ": everything goes to the standard error, which systemd keeps",
            Self::Inner => ": it tunes the inside of Heartbeat",
            Self::Pacemaker => ": it means nothing without Pacemaker",
        }
    }
}

/// What the values must look like.
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

/// One directive that is known but not acted on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directive {
    name: &'static str,
    pub(super) shape: Shape,
    pub(super) area: Area,
}

const fn row(name: &'static str, shape: Shape, area: Area) -> Directive {
    Directive { name, shape, area }
}

const BAUD: &[&str] = &["9600", "19200", "38400", "57600", "115200", "230400", "460800"];

#[rustfmt::skip]
const TABLE: &[Directive] = &[
    row("bcast", Shape::Words(1), Area::Link),
    row("udp", Shape::Words(1), Area::Link),
    row("mcast", Shape::Words(5), Area::Link),
    row("mcast6", Shape::Words(5), Area::Link),
    row("serial", Shape::Words(1), Area::Link),
    row("hbaping", Shape::Words(1), Area::Ping),
    row("tipc", Shape::Words(1), Area::Link),
    row("rds", Shape::Words(2), Area::Link),
    row("baud", Shape::OneOf(BAUD), Area::Inner),
    row("watchdog", Shape::Words(1), Area::Watchdog),
    row("respawn", Shape::Words(2), Area::Child),
    row("failfast", Shape::Words(2), Area::Child),
    row("apiauth", Shape::Words(1), Area::Inner),
    row("use_apphbd", Shape::Switch, Area::Inner),
    row("env", Shape::Words(1), Area::Child),
    row("use_logd", Shape::Switch, Area::Log),
    row("conn_logd_time", Shape::Time, Area::Log),
    row("logfile", Shape::Words(1), Area::Log),
    row("debugfile", Shape::Words(1), Area::Log),
    row("logfacility", Shape::Words(1), Area::Log),
    row("syslogmsgfmt", Shape::Switch, Area::Log),
    row("log_badpack", Shape::Switch, Area::Log),
    row("debug", Shape::Number(0, 255), Area::Log),
    row("cluster", Shape::Words(1), Area::Inner),
    row("realtime", Shape::Switch, Area::Inner),
    row("rtprio", Shape::Number(1, 99), Area::Inner),
    row("memreserve", Shape::Number(0, u32::MAX), Area::Inner),
    row("hbgenmethod", Shape::OneOf(&["file", "time"]), Area::Inner),
    row("uuidfrom", Shape::OneOf(&["file", "nodename"]), Area::Inner),
    row("msgfmt", Shape::OneOf(&["classic", "netstring"]), Area::Inner),
    row("hopfudge", Shape::Number(0, 255), Area::Inner),
    row("max_rexmit_delay", Shape::Number(0, u32::MAX), Area::Inner),
    row("normalpoll", Shape::Switch, Area::Inner),
    row("compression", Shape::Words(1), Area::Inner),
    row("compression_threshold", Shape::Number(0, u32::MAX), Area::Inner),
    row("traditional_compression", Shape::Switch, Area::Inner),
    row("coredumps", Shape::Switch, Area::Inner),
    row("coreroot", Shape::Words(1), Area::Inner),
    row("quorum_server", Shape::Words(1), Area::Pacemaker),
    row("crm_daemon_dir", Shape::Words(1), Area::Pacemaker),
    row("crmd_spawns_pengine", Shape::Switch, Area::Pacemaker),
    row("record_config_changes", Shape::Switch, Area::Pacemaker),
    row("record_pengine_inputs", Shape::Switch, Area::Pacemaker),
    row("enable_config_writes", Shape::Switch, Area::Pacemaker),
];

/// The directives that are acted on.
const ACTED_ON: &[&str] = &[
    "node",
    "keepalive",
    "warntime",
    "deadtime",
    "initdead",
    "udpport",
    "ucast",
    "ucast6",
    "auto_failback",
    "damping",
    "nice_failback",
    "crm",
    "pacemaker",
    "autojoin",
    "ping",
    "ping6",
    "ping_group",
    "deadping",
    "stonith",
    "stonith_host",
];

/// The directive of that name, if it is one that is not acted on.
pub(super) fn find(name: &str) -> Option<&'static Directive> {
    TABLE.iter().find(|directive| directive.name == name)
}

/// Every name, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ACTED_ON.iter().copied().chain(TABLE.iter().map(|directive| directive.name))
}
