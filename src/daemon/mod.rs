//! The daemon: three processes, one binary.
//!
//! `supervisor` starts the others and cleans up after them, `core` holds the cluster and the
//! director, `checker` talks to strangers. `messages` says what they say to each other.

pub mod alone;
pub mod beat;
mod book;
pub mod channel;
pub mod checker;
mod chronicle;
pub mod core;
pub mod director;
mod guard;
pub mod hands;
mod hooks;
mod keeper;
mod localnode;
mod looks;
mod maintenance;
mod memory;
pub mod messages;
mod monitor;
mod notices;
mod outside;
mod picture;
mod post;
pub mod realserver;
mod respawn;
mod service;
mod settings;
mod successor;
pub mod supervisor;
mod switch;
mod sync;
mod watch;
mod watchdog;
mod work;

use std::path::PathBuf;

use crate::names::NodeName;

/// The files and directories of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// A TOML file or a directory in ha.d layout.
    pub config: PathBuf,
    /// This node.
    pub node: NodeName,
    /// Holds the control socket.
    pub runtime_dir: PathBuf,
    /// Holds what must survive a restart.
    pub state_dir: PathBuf,
}

impl Paths {
    /// Adds these words to the command of another process of this node.
    pub(crate) fn options<'a>(
        &self,
        command: &'a mut tokio::process::Command,
    ) -> &'a mut tokio::process::Command {
        command
            .arg("--config")
            .arg(&self.config)
            .args(["--node", self.node.as_str()])
            .arg("--runtime-dir")
            .arg(&self.runtime_dir)
            .arg("--state-dir")
            .arg(&self.state_dir)
    }

    /// Where the daemon takes calls.
    pub fn control_socket(&self) -> PathBuf {
        self.runtime_dir.join("control.sock")
    }

    /// Where the core waits for its checker.
    pub(crate) fn checker_socket(&self) -> PathBuf {
        self.runtime_dir.join("checker.sock")
    }

    /// Locked while a daemon runs with this runtime directory.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.runtime_dir.join("lock")
    }

    /// Locked while a core runs, also one whose supervisor is gone.
    pub(crate) fn core_lock_file(&self) -> PathBuf {
        self.runtime_dir.join("core.lock")
    }

    /// What is remembered of freezes and groups.
    pub(crate) fn memory_file(&self) -> PathBuf {
        self.state_dir.join("cluster.json")
    }

    /// What a process that restarts leaves to the next one.
    pub(crate) fn carried_file(&self) -> PathBuf {
        self.runtime_dir.join("carried.json")
    }

    /// What operators have ordered of real servers.
    pub(crate) fn orders_file(&self) -> PathBuf {
        self.state_dir.join("real-servers")
    }

    /// Virtual services that this node has put into the kernel.
    pub(crate) fn owned_file(&self) -> PathBuf {
        self.state_dir.join("owned-services.json")
    }
}

/// Why a process of the daemon ends against its will. The text is for the operator: what is
/// wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The configuration has faults, already printed.
    #[error("{} is not usable; `pairbeat check` prints the faults", .0.display())]
    Config(PathBuf),
    /// Another daemon runs with this runtime directory.
    #[error("a daemon already runs with {}; `pairbeat status` asks it", .0.display())]
    AlreadyRunning(PathBuf),
    /// A directory or file of our own can't be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something the system would not give; the sentence names the remedy.
    #[error("{0}")]
    System(String),
    /// The core could not start; it has said why.
    #[error("the core did not start; its reason stands above")]
    CoreNotStarted,
}
