//! All that can happen to the cluster core, and all that it can order.
//!
//! The driver stamps each [`Input`] with the instant it was seen, hands it to
//! `Core::handle`, and then drains `Core::poll` until it is empty, obeying each
//! [`Output`] in order. Order is the safety here: "stop" stands before "tell the peer".

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::cluster::answer::Answer;
use crate::cluster::drift::Difference;
use crate::cluster::message::{Beat, Extent};
use crate::cluster::outside::ArbiterAnswer;
pub use crate::cluster::outside::{Bar, OutsideOrder};
use crate::cluster::restart::Carried;
use crate::cluster::settings::Settings;
use crate::names::{ActionId, GroupId, GroupName, LinkId, NodeName, RequestId};
use crate::time::Instant;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A beat of the peer's current session that echoes ours: the only proof of life.
    Heard {
        /// Where it came in.
        link: LinkId,
        /// When the kernel received it; judged by, instead of when we got round to it.
        at: Instant,
        /// What it says.
        beat: Beat,
        /// Highest sequence number of ours that the sender had heard when it sent this.
        echo: u64,
    },
    /// A further copy of a beat that was heard already, on another link or later than a newer one:
    /// its content is old, but the link carries.
    Copy {
        /// Where it came in.
        link: LinkId,
        /// When the kernel received it.
        at: Instant,
    },
    /// A correctly signed beat without proof of freshness (it does not echo our session).
    /// A reason to wait, never to act.
    Presence {
        /// When it came in.
        at: Instant,
    },
    /// The operator asks for something and waits for the [`Output::Answer`].
    Request {
        /// To be repeated in the answer.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// The configuration was read again; an [`Output::Answer`] says whether the core goes by it now.
    Settings {
        /// To be repeated in the answer.
        id: RequestId,
        /// All of them.
        settings: Box<Settings>,
        /// Groups with other resources than before. Where such a group is active, the driver has
        /// already done what that means.
        changed: Vec<GroupName>,
    },
    /// A resource action ended. An unknown or old id is ignored.
    Ended {
        /// Which one.
        action: ActionId,
        /// How.
        outcome: Outcome,
    },
    /// The answer to [`Output::Monitor`]. An unknown or old one is ignored.
    Monitored {
        /// Which question.
        order: ActionId,
        /// What was seen.
        verdict: Verdict,
    },
    /// The answer to [`Output::Probe`]. One that comes late, or to an order of before, is ignored.
    Probed {
        /// Which question.
        order: ActionId,
        /// What the LAN said.
        answer: LanAnswer,
    },
    /// How this node's own way to a group's clients is. Said when it changes.
    Service {
        /// The group.
        group: GroupId,
        /// Its service link here.
        link: ServiceLink,
    },
    /// Whether this node has heard of every connection in use at the peer: a failback waits for that,
    /// at most [`crate::cluster::SYNC_WAIT_MAX`]. Said when it changes, for a group with a table of
    /// connections; of any other it is taken for granted.
    Synced {
        /// The group.
        group: GroupId,
        /// Whether it has.
        fresh: bool,
    },
    /// The answer to [`OutsideOrder::Ask`]. One that comes late is ignored.
    Arbiter {
        /// Which question.
        order: ActionId,
        /// What it said.
        answer: ArbiterAnswer,
    },
    /// The answer to [`OutsideOrder::Fence`]: what is known by it, or why nothing is. One that
    /// comes late is ignored.
    Fenced {
        /// Which order.
        order: ActionId,
        /// In one line, for the operator.
        said: Result<String, String>,
    },
    /// How many ping nodes this node reaches; `None`: not known yet. Said when it changes.
    Reached(Option<u8>),
    /// Whether the kernel here takes the VIPs out of service when this process does not run on
    /// time: the peer is told, for only then does an answered probe prove that we live.
    Guarded(bool),
    /// The answer to [`Output::Carry`]. One that comes late is ignored.
    Written {
        /// Which order.
        order: ActionId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Nothing but the passing of time. The driver reads everything that waits in its sockets
    /// first: verdicts of silence, takings and beats happen in a tick and nowhere else.
    Tick,
}

/// What a probe of the service LAN has found (design 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanAnswer {
    /// Nobody answers for the group's addresses.
    Free,
    /// The peer answers for one of them, or somebody who may be the peer.
    Served,
    /// Somebody answers who is not the peer: that address is used twice.
    Stranger,
    /// The question could not be put.
    Unknown,
}

/// A node's own way to the clients of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceLink {
    /// Nobody has looked, or the group has no address.
    #[default]
    Unknown,
    /// The interface is up and has a carrier.
    Up,
    /// It is down, without a carrier, or not there.
    Down,
}

/// What an operator may ask of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Hand groups that are active here to the peer (`hb_standby`).
    Standby(Which),
    /// Take groups from the peer (`hb_takeover`).
    Takeover(Which),
    /// Give everything away, say good-bye, end (SIGTERM, `pairbeat stop`).
    Leave,
    /// Freeze automatic switches on both nodes, or let them go again.
    Freeze(Extent),
    /// End this process with everything held, for the next one to go on with.
    Restart,
    /// The peer is off: an operator has seen to it (`pairbeat confirm-dead`).
    ConfirmDead,
}

/// Which groups are meant, in Heartbeat's words (hb_standby(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Every group.
    #[default]
    All,
    /// Groups whose preferred node is this one.
    Local,
    /// Groups whose preferred node is the peer. Heartbeat's `failback` is another word for it.
    Foreign,
}

/// How a resource action ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The resource is now as ordered.
    Done,
    /// It is not, or may not be; the text says why, in one line, for the operator.
    Failed(String),
}

/// What a look at a resource that should be up has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is up.
    Up,
    /// It is down, or broken; the text says why, in one line, for the operator.
    Down(String),
    /// That can't be told: it took too long, or could not be asked.
    Unclear(String),
    /// Nobody looked: it is being worked on.
    Busy,
}

/// An order to the driver. The core never waits for it; the answer comes back as an [`Input`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// Send this state to the peer on every link, now.
    Send(Beat),
    /// Start or stop one resource. Answer with [`Input::Ended`].
    Run(Action),
    /// Look whether a resource of an active group is still up. Answer with [`Input::Monitored`]
    /// within its limit. A start or stop of the group that is ordered meanwhile ends the look.
    Monitor {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The resource's place in the group's list, from 0.
        resource: usize,
    },
    /// Ask the service LAN whether somebody answers for the group's addresses. Answer with
    /// [`Input::Probed`] within [`crate::cluster::PROBE_LIMIT`].
    Probe {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The peer's own address on that LAN, as far as it ever told: who answers for both is
        /// the peer.
        peer: Option<IpAddr>,
    },
    /// Something to be asked or done outside the pair.
    Outside(OutsideOrder),
    /// Announce the addresses of an active group again (GARP, unsolicited NA): a rival was heard.
    Announce(GroupId),
    /// The end of an operator's request.
    Answer {
        /// The request's.
        id: RequestId,
        /// The result.
        answer: Answer,
    },
    /// For the journal, the log and the golden traces.
    Report(Event),
    /// Write this down where the next process finds it. Answer with [`Input::Written`].
    Carry {
        /// To be repeated in the answer.
        order: ActionId,
        /// What it is to know.
        carried: Carried,
    },
    /// The process ends now with everything held; the kernel is to serve on for
    /// [`crate::cluster::RESTART_SERVED`], and nothing is to be released.
    Paused,
    /// We have left: nothing is held, the peer knows. The process may end.
    Left,
}

/// One order to start or stop one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// To be repeated in [`Input::Ended`].
    pub id: ActionId,
    /// The group.
    pub group: GroupId,
    /// The resource's place in the group's list, from 0.
    pub resource: usize,
    /// What to do.
    pub operation: Operation,
    /// Whether the other node serves meanwhile.
    pub manner: Manner,
}

/// What to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Bring it up; success also when it is up already.
    Start,
    /// Take it down; success also when it is down already.
    Stop,
}

/// Whether a start or stop is one half of an agreed overlap (design 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// On its own: nobody else serves.
    Alone,
    /// Start: the peer still serves and drains; packets of connections that only the peer knows
    /// may be passed on to it at this address. Stop: the peer serves already; connections that
    /// only we know may be finished for a bounded time.
    Overlap {
        /// The peer's own address on the service LAN, where it told us one.
        peer: Option<IpAddr>,
    },
}

/// What the core reports; one enum for log, journal and golden traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The peer answers us.
    PeerAlive {
        /// Who.
        node: NodeName,
    },
    /// Silence of a deadtime, or of initdead at the start.
    PeerDead {
        /// Who.
        node: NodeName,
        /// For how long it has been silent, in milliseconds.
        silent_ms: u64,
    },
    /// The peer released everything and left, or its supervisor did so for it.
    PeerLeft {
        /// Who.
        node: NodeName,
    },
    /// The peer was silent for longer than warntime, and is back.
    LateBeat {
        /// Who.
        node: NodeName,
        /// For how long, in milliseconds.
        silent_ms: u64,
    },
    /// The peer restarts with all that it holds: its silence means nothing for so long.
    PeerRestarts {
        /// Who.
        node: NodeName,
        /// How long it may take, in milliseconds.
        within_ms: u64,
    },
    /// It is back, or has thought better of it.
    PeerBack {
        /// Who.
        node: NodeName,
        /// For how long it was silent, in milliseconds.
        silent_ms: u64,
    },
    /// A link carries the peer's beats.
    LinkUp {
        /// Which.
        link: LinkId,
    },
    /// A link has been silent for a deadtime.
    LinkDown {
        /// Which.
        link: LinkId,
    },
    /// This node's role in a group changed.
    Role {
        /// The group.
        group: GroupName,
        /// The new state.
        state: GroupState,
        /// The ownership epoch.
        epoch: u64,
        /// Why.
        cause: Cause,
    },
    /// A resource action failed.
    ActionFailed {
        /// The group.
        group: GroupName,
        /// The resource's place in the list.
        resource: usize,
        /// What was tried.
        operation: Operation,
        /// Why it failed.
        why: String,
    },
    /// A resource of an active group has failed. What follows is another start of it, or a change
    /// of the group's role.
    ResourceFailed {
        /// The group.
        group: GroupName,
        /// The resource's place in the list.
        resource: usize,
        /// How many of its failures are not forgotten yet, this one included.
        failures: u32,
        /// What was seen.
        why: String,
    },
    /// A resource says that it is down right after a start that went well: its word is worth
    /// nothing, and it is not asked again before the next start.
    NotMonitored {
        /// The group.
        group: GroupName,
        /// The resource's place in the list.
        resource: usize,
    },
    /// Our own loop came late; the time is not counted as the peer's silence.
    Stalled {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
    /// Both nodes held a group; the higher epoch keeps it.
    Conflict {
        /// The group.
        group: GroupName,
        /// Our epoch.
        mine: u64,
        /// The peer's epoch.
        theirs: u64,
    },
    /// The peer is silent, and this node must not take the group from it.
    Jeopardy {
        /// The group.
        group: GroupName,
        /// What stands against it.
        why: Bar,
    },
    /// Nothing stands against it any more.
    JeopardyOver {
        /// The group.
        group: GroupName,
    },
    /// An arbiter says something else of a group than before.
    Arbiter {
        /// The group.
        group: GroupName,
        /// The arbiter.
        arbiter: String,
        /// What it says now.
        answer: ArbiterAnswer,
    },
    /// The peer is being fenced.
    Fencing {
        /// Who.
        node: NodeName,
        /// Which try, from 1.
        tries: u32,
    },
    /// The peer was fenced.
    Fenced {
        /// Who.
        node: NodeName,
        /// What is known, in one line.
        how: String,
    },
    /// The peer could not be fenced; it is tried again, and nothing is taken from it before.
    FenceFailed {
        /// Who.
        node: NodeName,
        /// Why, in one line.
        why: String,
        /// In how many milliseconds it is tried again.
        again_ms: u64,
    },
    /// An operator answers for it that the peer is off.
    ConfirmedDead {
        /// Who.
        node: NodeName,
    },
    /// This node reaches more or fewer of its ping nodes than before.
    Reach {
        /// How many.
        count: u8,
        /// Of how many.
        of: u8,
    },
    /// This node's way to a group's clients came or went.
    Service {
        /// The group.
        group: GroupName,
        /// What it is now.
        link: ServiceLink,
    },
    /// The peer runs on a different configuration. Never a reason to call it dead.
    ConfigDiffers,
    /// The sections in which the peer's configuration differs, as soon as they are known, and
    /// again when they change.
    SectionsDiffer {
        /// At least one.
        sections: Vec<Difference>,
    },
    /// The peer runs on the same configuration again.
    ConfigAgrees,
    /// A planned switch is over: both nodes served for so long, as agreed. On the new holder from the
    /// gateway's confirmation to the news that the old one has dropped it.
    Overlapped {
        /// The group.
        group: GroupName,
        /// In milliseconds. There was no time in which none of them did.
        both_ms: u64,
    },
    /// Automatic switches were too many: for a time none is made from a node that serves.
    HeldDown {
        /// The group.
        group: GroupName,
        /// For how long.
        seconds: u64,
    },
    /// A group would be taken now, and is not.
    Restrained {
        /// The group.
        group: GroupName,
        /// Why not.
        why: Restraint,
    },
    /// An operator has frozen automatic switches, or let them go, here or at the peer.
    Freeze {
        /// What is frozen now.
        extent: Extent,
    },
}

/// Why a group that would be taken is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restraint {
    /// An operator has frozen automatic switches.
    Frozen,
    /// There were too many of them.
    HeldDown,
    /// This node has not heard of every connection that is open at the peer.
    Unsynced,
}

/// A group on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Nothing of it is held here.
    Standby,
    /// Being started, left to right.
    Starting,
    /// All of it is up here.
    Active,
    /// Being stopped, right to left.
    Stopping,
    /// Could not be started here (nothing is held), or could not be stopped (something may be).
    Failed,
}

/// Why a role changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// First decision after start.
    Boot,
    /// The peer is dead.
    PeerDead,
    /// The peer released it and left.
    PeerLeft,
    /// Operator: standby.
    Standby,
    /// Operator: takeover.
    Takeover,
    /// The preferred node is back and auto_failback is on.
    Failback,
    /// The other node could not start it, or declined it.
    PeerDeclined,
    /// A start failed here.
    StartFailed,
    /// A stop failed here.
    StopFailed,
    /// A resource that was up has failed.
    ResourceFailed,
    /// The other node holds it with a higher epoch.
    HigherEpoch,
    /// This node is leaving.
    Leave,
    /// This node can't reach the clients, and the peer can.
    ServiceLinkDown,
    /// The peer reaches more ping nodes.
    Connectivity,
    /// An arbiter does not let this node hold it without contact to the peer.
    ArbiterLost,
    /// The ordered actions are done.
    Completed,
    /// A hand-over came to nothing and was taken back.
    HandoverFailed,
    /// The configuration has the group no more.
    Reload,
}
