//! Checks that need no server of a known protocol: a program that says whether a real server works,
//! and a file that says so.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A program whose exit code is the verdict: 0 is up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProgramCheck {
    /// The executable: a path, or a name that is looked up in `PATH`. No shell.
    pub program: String,
    /// Its first arguments.
    pub args: Vec<String>,
    /// How it learns which server it is about.
    pub told: Told,
}

/// How a program learns which server it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// By four more arguments, as ldirectord does it: the virtual address or mark, its port, the
    /// real server's address, its port. IPv6 addresses are in brackets.
    Arguments {
        /// Address or mark.
        service: String,
        /// 0 for a mark.
        service_port: u16,
        /// The real server's port as written; 0 where none is.
        port: u16,
    },
    /// By `PAIRBEAT_SERVICE`, `PAIRBEAT_ADDRESS` and `PAIRBEAT_PORT` in its environment.
    Environment {
        /// The virtual service, as in the status.
        service: String,
    },
}

/// A file that is there while the server is to be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileCheck {
    /// Absolute.
    pub path: String,
    /// Regular expression that must match somewhere in its first 64 KiB; checked when it was read.
    pub receive: Option<String>,
}

/// How a program ended that did not say that the server is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which was not ours.
    Signal(i32),
    /// Not in time, in milliseconds; it was killed with its process group.
    TimedOut(u64),
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut(limit) => write!(f, "no end within {limit} ms"),
        }
    }
}
