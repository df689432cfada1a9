//! Requests and replies of the control socket, as types.
//!
//! | method and path | body | reply |
//! |---|---|---|
//! | `GET /v1/status` | none | [`Status`](crate::status::Status) |
//! | `POST /v1/standby`, `POST /v1/takeover` | [`Move`] | [`Moved`] |
//! | `POST /v1/freeze` | [`Freezing`] | [`Answer`](crate::cluster::event::Answer) |
//! | `POST /v1/confirm-dead` | none | [`Answer`](crate::cluster::event::Answer) |
//! | `POST /v1/stop` | none | [`Answer`](crate::cluster::event::Answer) |
//! | `POST /v1/reload` | none | [`Reloaded`] |
//! | `POST /v1/restart` | [`Restarting`] | [`Moved`], at the end of this process |
//! | `POST /v1/events` | [`EventsAsked`] | [`EventsReply`], at once or when there is something new |
//! | `POST /v1/explain` | [`ExplainAsked`] | [`Explanation`](crate::journal::explain::Explanation) |
//! | `POST /v1/record` | none | [`Recorded`] |
//! | `POST /v1/real` | [`RealOrder`] | [`Ordered`] |

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Answer, Which};
use crate::cluster::message::Extent;
use crate::journal::Record;
use crate::lvs::overrides::{Command, Target};

/// Largest request body, in bytes: a request is one small object.
pub const REQUEST_LEN_MAX: usize = 64 * 1024;
/// Largest reply, in bytes: the status of ten thousand real servers is under 8 MiB.
pub const REPLY_LEN_MAX: usize = 64 * 1024 * 1024;

/// What a client can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The whole status.
    Status,
    /// Hand groups to the peer.
    Standby(Move),
    /// Take groups from the peer.
    Takeover(Move),
    /// Freeze automatic switches, or let them go.
    Freeze(Freezing),
    /// The peer is off: the caller answers for it.
    ConfirmDead,
    /// Give everything away and end.
    Stop,
    /// Read the configuration again.
    Reload,
    /// End with everything held, for another process to go on with.
    Restart(Restarting),
    /// Records of the journal.
    Events(EventsAsked),
    /// Why a group is where it is.
    Explain(ExplainAsked),
    /// Write what the core was told lately to a file.
    Record,
    /// Drain, disable, enable or weigh real servers.
    Real(RealOrder),
}

/// Body of an order about real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealOrder {
    /// Which.
    pub target: Target,
    /// What.
    pub command: Command,
}

/// Reply to an order about real servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordered {
    /// In force, and on its way to the peer.
    Done {
        /// The servers that are meant, as `SERVER of SERVICE`.
        servers: Vec<String>,
    },
    /// Not taken.
    Refused {
        /// The reason.
        why: String,
    },
}

/// Body of a question for records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsAsked {
    /// The newest one that is known already; `None`, or one of another session: all that this
    /// core remembers.
    #[serde(default)]
    pub after: Option<RecordId>,
    /// Whether to wait, up to [`EVENTS_WAIT`], until there is one.
    #[serde(default)]
    pub wait: bool,
}

/// Names a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordId {
    /// [`Record::session`].
    pub session: String,
    /// [`Record::seq`].
    pub seq: u64,
}

/// Longest wait for a new record before the empty answer.
pub const EVENTS_WAIT: std::time::Duration = std::time::Duration::from_secs(20);

/// Reply to a question for records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReply {
    /// Oldest first.
    pub records: Vec<Record>,
    /// Records in between that this core remembers no more; the files may have them.
    pub missed: u64,
}

/// Body of a question why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainAsked {
    /// Which group; all of them where none is named.
    #[serde(default)]
    pub group: Option<String>,
}

/// Reply to the order to record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// The file.
    File(String),
    /// There is none.
    Failed(String),
}

/// Body of a standby or takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Which groups.
    pub which: Which,
    /// Answer when it is done (the default), or as soon as it is under way.
    #[serde(default = "yes")]
    pub wait: bool,
}

/// Body of a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restarting {
    /// Who goes on.
    #[serde(default)]
    pub successor: Successor,
}

/// Who goes on after a restart with everything held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Successor {
    /// The program as it is on the disk now, in the same process.
    #[default]
    Exec,
    /// Whatever the service manager starts.
    Service,
}

/// Body of a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freezing {
    /// What is frozen from now on; `nothing` ends a freeze.
    pub extent: Extent,
}

fn yes() -> bool {
    true
}

impl Default for Move {
    fn default() -> Self {
        Self { which: Which::All, wait: true }
    }
}

/// Reply to a standby or takeover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Moved {
    /// How it ended.
    Answer(Answer),
    /// Not yet ended; only for those who do not wait.
    UnderWay {
        /// Always true.
        under_way: bool,
    },
}

/// Reply to a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the new configuration is in force now. If not, nothing has changed.
    pub applied: bool,
    /// Every fault and warning, rendered with file, line and column.
    pub diagnostics: Vec<String>,
}

/// Reply with a status code other than 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// What was wrong with the call, for the operator.
    pub error: String,
}

impl Call {
    /// Method and path.
    pub fn route(&self) -> (&'static str, &'static str) {
        match self {
            Self::Status => ("GET", "/v1/status"),
            Self::Standby(_) => ("POST", "/v1/standby"),
            Self::Takeover(_) => ("POST", "/v1/takeover"),
            Self::Freeze(_) => ("POST", "/v1/freeze"),
            Self::ConfirmDead => ("POST", "/v1/confirm-dead"),
            Self::Stop => ("POST", "/v1/stop"),
            Self::Reload => ("POST", "/v1/reload"),
            Self::Restart(_) => ("POST", "/v1/restart"),
            Self::Events(_) => ("POST", "/v1/events"),
            Self::Explain(_) => ("POST", "/v1/explain"),
            Self::Record => ("POST", "/v1/record"),
            Self::Real(_) => ("POST", "/v1/real"),
        }
    }

    /// Whether it changes anything; those who may only read may not call it.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Status | Self::Events(_) | Self::Explain(_))
    }

    /// The call behind a method, a path and a body.
    ///
    /// # Errors
    /// What is wrong, for [`ErrorReply`].
    pub fn parse(method: &str, path: &str, body: &[u8]) -> Result<Self, String> {
        match (method, path) {
            ("GET", "/v1/status") => Ok(Self::Status),
            ("POST", "/v1/standby") => object(body).map(Self::Standby),
            ("POST", "/v1/takeover") => object(body).map(Self::Takeover),
            ("POST", "/v1/freeze") => serde_json::from_slice(body)
                .map(Self::Freeze)
                .map_err(|e| format!("request body: {e}")),
            ("POST", "/v1/confirm-dead") => Ok(Self::ConfirmDead),
            ("POST", "/v1/stop") => Ok(Self::Stop),
            ("POST", "/v1/reload") => Ok(Self::Reload),
            ("POST", "/v1/restart") => object(body).map(Self::Restart),
            ("POST", "/v1/events") => object(body).map(Self::Events),
            ("POST", "/v1/explain") => object(body).map(Self::Explain),
            ("POST", "/v1/record") => Ok(Self::Record),
            ("POST", "/v1/real") => serde_json::from_slice(body)
                .map(Self::Real)
                .map_err(|e| format!("request body: {e}")),
            _ => Err(format!("no such call: {method} {path}")),
        }
    }

    /// The body to send.
    pub fn body(&self) -> Vec<u8> {
        match self {
            Self::Standby(movement) | Self::Takeover(movement) => {
                serde_json::to_vec(movement).unwrap_or_default()
            }
            Self::Freeze(freezing) => serde_json::to_vec(freezing).unwrap_or_default(),
            Self::Restart(asked) => serde_json::to_vec(asked).unwrap_or_default(),
            Self::Events(asked) => serde_json::to_vec(asked).unwrap_or_default(),
            Self::Explain(asked) => serde_json::to_vec(asked).unwrap_or_default(),
            Self::Real(order) => serde_json::to_vec(order).unwrap_or_default(),
            Self::Status | Self::ConfirmDead | Self::Stop | Self::Reload | Self::Record => {
                Vec::new()
            }
        }
    }
}

/// A body; none at all is the default.
fn object<T: Default + serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|e| format!("request body: {e}"))
}
