//! The words of the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use super::events::Since;
use crate::cluster::event::Which;
use crate::config::{DEFAULT, DEFAULT_LEGACY};
use crate::daemon::Paths;
use crate::names::NodeName;

/// Two-node high-availability cluster manager for Linux directors.
#[derive(Debug, Parser)]
#[command(name = "pairbeat", version, propagate_version = true)]
pub struct Invocation {
    /// A TOML file, or a directory in ha.d layout [default: /etc/pairbeat/pairbeat.toml, else
    /// /etc/ha.d]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Name of this node [default: as `uname -n`]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
    /// Holds the control socket
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/pairbeat")]
    runtime_dir: PathBuf,
    /// Holds what must survive a restart
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/pairbeat")]
    state_dir: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run this node in the foreground
    Run {
        /// Accept timing that this machine may not be able to keep
        #[arg(long)]
        force: bool,
    },
    /// Show this node, its peer, groups and virtual services
    Status {
        /// As JSON (docs/status.schema.json)
        #[arg(long)]
        json: bool,
        /// Of the director of this file, which runs without a cluster
        #[arg(long, value_name = "FILE")]
        director: Option<String>,
    },
    /// Hand groups that are active here to the peer, and wait until it has them
    Standby {
        /// Which groups
        #[arg(default_value = "all")]
        which: WhichWord,
        /// Return as soon as the switch is under way
        #[arg(long)]
        no_wait: bool,
    },
    /// Take groups from the peer, and wait until they are active here
    Takeover {
        /// Which groups
        #[arg(default_value = "all")]
        which: WhichWord,
        /// Return as soon as the switch is under way
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop automatic switches on both nodes until `unfreeze`: a group stays with the node that has
    /// it, and is down when that node is. `standby` and `takeover` go on to work
    Freeze {
        /// Still take over from a node that is dead or has left
        #[arg(long)]
        except_dead: bool,
    },
    /// Let automatic switches go on
    Unfreeze,
    /// Say that the peer is off, and answer for it: releases groups that wait for fencing, or for an
    /// arbiter that can't be reached. Asks for the peer's name
    ConfirmDead {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Give the groups to the peer, then end the daemon
    Stop {
        /// Give nothing away: everything stays up for a daemon that is started within seconds; else
        /// the peer takes it over
        #[arg(long)]
        hold: bool,
    },
    /// Run the program that is on the disk now, with everything held and served all the time: an
    /// upgrade. If it is not back in 10 s, the peer takes over
    Restart,
    /// Read the configuration again; on any fault everything stays as it is
    Reload,
    /// Show what happened, from the journal; works without a running daemon
    Events {
        /// Go on with what happens from now on
        #[arg(long)]
        follow: bool,
        /// One JSON record a line
        #[arg(long)]
        json: bool,
        /// Not before: `90s`, `10m`, `2h`, `7d` ago, or a time as in the output
        #[arg(long, value_name = "WHEN")]
        since: Option<Since>,
        /// At most so many, the newest [default: 100; with --since all]
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Write what the core was told lately to a file for `replay`, and nothing else
        #[arg(long, value_name = "FILE", conflicts_with_all = ["follow", "json", "since", "last"])]
        dump: Option<PathBuf>,
    },
    /// Say why a group is where it is, why nothing else was done, and what would happen now
    Explain {
        /// Which group [default: all of them]
        group: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a recording through the same decisions again, and say where they differ
    Replay {
        /// From STATE_DIR/journal, or of `events --dump`
        file: PathBuf,
        /// Every input and every beat too
        #[arg(long)]
        all: bool,
    },
    /// Drain, disable, enable or weigh real servers, on both nodes
    Real {
        /// At the director of this file, which runs without a cluster
        #[arg(long, global = true, value_name = "FILE")]
        director: Option<String>,
        #[command(subcommand)]
        order: super::real::Real,
    },
    /// Make this machine a real server for a director that sends packets on with their destination
    /// (direct routing, tunnels), and put back what was there. Needs no daemon (docs/REALSERVER.md)
    Realserver {
        #[command(subcommand)]
        order: super::realserver::Order,
    },
    /// Read the configuration and print every fault with file:line:column
    Check,
    /// A director without a cluster: ldirectord's command line, and its exit codes
    #[command(disable_version_flag = true)]
    Director(super::director::Words),
    /// Make a pairbeat.toml out of another program's configuration, and list every line that is not
    /// taken over as it is
    Import(super::import::Words),
    /// Print a new key for the heartbeats
    Keygen {
        /// In authkeys form, for /etc/ha.d/authkeys
        #[arg(long)]
        authkeys: bool,
    },
    /// Heartbeat's cl_status(1)
    #[command(name = "cl_status", hide = true)]
    ClStatus(super::cl_status::Words),
    /// The core process; started by `run`
    #[command(hide = true)]
    Core {
        #[arg(long)]
        force: bool,
    },
    /// The checker process; started by `run`
    #[command(hide = true)]
    Checker,
}

/// Which groups, as typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum WhichWord {
    /// Every group
    All,
    /// Groups that prefer this node
    Local,
    /// Groups that prefer the peer
    Foreign,
    /// As foreign
    Failback,
}

impl From<WhichWord> for Which {
    fn from(word: WhichWord) -> Self {
        match word {
            WhichWord::All => Self::All,
            WhichWord::Local => Self::Local,
            WhichWord::Foreign | WhichWord::Failback => Self::Foreign,
        }
    }
}

impl Invocation {
    /// Reads the words, `argv[0]` included: called as `hb_standby`, `hb_takeover`, `cl_status` or `ldirectord`
    /// it is that command.
    ///
    /// # Errors
    /// clap's refusal, which also carries help and version.
    pub fn parse(argv: Vec<OsString>) -> Result<Self, clap::Error> {
        let called = argv.first().map(PathBuf::from).unwrap_or_default();
        let command = match called.file_name().and_then(|name| name.to_str()) {
            Some("hb_standby") => "standby",
            Some("hb_takeover") => "takeover",
            Some("cl_status") => "cl_status",
            Some("ldirectord") => "director",
            _ => return Self::try_parse_from(argv),
        };
        let words = argv.into_iter().skip(1);
        Self::try_parse_from(["pairbeat".into(), command.into()].into_iter().chain(words))
    }

    /// The files and directories this invocation is about.
    ///
    /// # Errors
    /// A sentence about a node name that is none.
    pub(super) fn paths(&self) -> Result<Paths, String> {
        let config = self.config.clone().unwrap_or_else(|| {
            PathBuf::from(if Path::new(DEFAULT).exists() { DEFAULT } else { DEFAULT_LEGACY })
        });
        let name = self
            .node
            .clone()
            .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        let node = NodeName::new(&name).map_err(|e| format!("--node {name}: {e}"))?;
        // Scripts run in `/`, and so do the daemon's other processes.
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
        Ok(Paths {
            config: absolute(&config)?,
            node,
            runtime_dir: absolute(&self.runtime_dir)?,
            state_dir: absolute(&self.state_dir)?,
        })
    }
}
