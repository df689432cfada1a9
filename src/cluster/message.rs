//! What the two nodes say to each other, as types. `wire` puts them into bytes.
//!
//! A beat is level-triggered: it carries the sender's whole state, so that a lost one needs no
//! retransmission.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::names::GroupName;

/// Most groups a node may have: all of them must fit into the pieces of one beat.
pub const GROUPS_MAX: usize = 64;
/// Most links a node may have.
pub const LINKS_MAX: usize = 8;
/// Most sections of a configuration that are told apart: each group and as many directors, and
/// some for the rest.
pub const SECTIONS_MAX: usize = 2 * GROUPS_MAX + 8;

/// The sender's whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// What the node as a whole is doing.
    pub node: NodeState,
    /// One bit per link of the sender, lowest first: set when it hears us there.
    pub hears: u8,
    /// First eight bytes of the digest of the sender's configuration; nodes that should agree do.
    pub config: u64,
    /// What the peer must know to judge the sender's silence, and to leave things alone.
    pub notice: Notice,
    /// One claim per group.
    pub groups: Vec<GroupClaim>,
    /// What the configuration consists of, told while the two nodes' differ; empty otherwise. At
    /// most [`SECTIONS_MAX`].
    pub sections: Vec<SectionDigest>,
    /// What operators have ordered of real servers; recordings of earlier versions have none.
    #[serde(default)]
    pub words: Words,
}

/// What the directors tell each other, as far as a beat tells it. The cluster passes it on and does
/// not look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// Stands for all that operators have ordered of real servers and that is in force at the
    /// sender; 0: nothing.
    pub digest: u64,
    /// Some of it, told while the two nodes differ; at most [`WORDS_MAX`].
    pub told: Vec<Word>,
    /// Some of the sender's verdicts on real servers, where it serves them and the other node goes
    /// by that; recordings of earlier versions have none.
    #[serde(default)]
    pub verdicts: Option<Verdicts>,
}

/// Verdicts on real servers, packed as `lvs::follow` packs them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Stands for the list of checks that they belong to.
    pub list: u32,
    /// The place of the first one in that list.
    pub first: u16,
    /// Two bits each; at most [`VERDICT_BYTES_MAX`] bytes in a beat.
    pub states: Vec<u8>,
}

/// Verdicts on 512 servers: a slow serial line must carry them too.
pub const VERDICT_BYTES_MAX: usize = 128;

/// One order of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Of two about the same servers the later one counts.
    pub stamp: u64,
    /// At most [`WORD_LEN_MAX`] bytes.
    pub text: String,
}

/// Most words in a beat: a slow serial line must carry them too.
pub const WORDS_MAX: usize = 2;
/// Longest word, in bytes.
pub const WORD_LEN_MAX: usize = 160;

/// The digest of one section of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionDigest {
    /// [`SectionKind`] as a number; unknown ones are of a later version.
    pub kind: u8,
    /// Stands for the name of a group or a director; 0 otherwise.
    pub key: u32,
    /// First four bytes of the digest.
    pub digest: u32,
}

/// A part of the configuration that both nodes should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SectionKind {
    /// keepalive, warntime, deadtime, initdead, damping.
    Timing,
    /// `auto_failback`.
    Failback,
    /// Number, kind and ports of the heartbeat links.
    Links,
    /// Ping nodes, deadping, ipfail.
    Connectivity,
    /// Fencing devices and arbiters, without their secrets.
    Fencing,
    /// One group.
    Group,
    /// One director.
    Director,
}

impl SectionKind {
    /// Every kind, with its number on the wire and its word for operators.
    const ALL: [(Self, u8, &'static str); 7] = [
        (Self::Timing, 1, "timing"),
        (Self::Failback, 2, "auto_failback"),
        (Self::Links, 3, "links"),
        (Self::Connectivity, 4, "connectivity"),
        (Self::Fencing, 5, "fencing"),
        (Self::Group, 6, "group"),
        (Self::Director, 7, "director"),
    ];

    fn row(self) -> (u8, &'static str) {
        let row = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        row.map_or((0, ""), |(_, code, word)| (*code, word))
    }

    /// The number on the wire.
    pub fn code(self) -> u8 {
        self.row().0
    }

    /// In the operator's words.
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// The kind with that number, if this version knows it.
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, it, _)| *it == code).map(|(kind, ..)| *kind)
    }
}

/// What the peer must know to judge the sender's silence, and to leave things alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notice {
    /// The newest freeze or unfreeze that the sender knows of.
    pub freeze: Freeze,
    /// The sender restarts with all that it holds, and is back within so many milliseconds: its
    /// silence means nothing before. 0: it does not restart. At most
    /// [`crate::cluster::RESTART_MAX`] counts, whatever is said.
    pub back_ms: u32,
    /// The sender's own deadtime in milliseconds; 0: not told. Whoever beats keeps to it, whatever
    /// its own file says.
    pub deadtime_ms: u32,
    /// The sender's kernel takes its VIPs out of service when the sender does not run on time.
    pub guarded: bool,
    /// How many of its ping nodes the sender reaches; `None`: it has none, or has not counted yet.
    pub reach: Option<u8>,
}

impl Notice {
    /// Without what every moment changes: the countdown of a restart.
    pub(super) fn lasting(self) -> Self {
        Self { back_ms: self.back_ms.min(1), ..self }
    }
}

/// An operator's word on automatic switches; the newest of either node counts on both.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Freeze {
    /// Grows with each word, on whichever node it was given.
    pub generation: u32,
    /// What it says.
    pub extent: Extent,
}

/// What is frozen. Of two words of one generation, said on both sides of a split, the later one
/// of this list counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Nothing.
    #[default]
    Nothing,
    /// Automatic switches, but for those from a node that is dead or has left.
    ExceptDead,
    /// Every automatic switch: a group stays where it was last, whatever happens there.
    All,
}

/// How restless a group is, as one node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unrest {
    /// How often the sender has taken the group by itself since its start, modulo 256.
    pub taken: u8,
    /// For how many more seconds the sender wants it to stay where it is.
    pub hold_s: u16,
}

/// What a node as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Just started; has not decided anything.
    Booting,
    /// In service.
    Running,
    /// On its way out; gives everything away and takes nothing.
    Leaving,
    /// Holds nothing and will be silent. The last word of a session: whatever comes later under
    /// the same session is not to be believed.
    Gone,
}

/// What the sender says of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupClaim {
    /// Which; groups are known by name, for the two nodes' files may differ.
    pub group: GroupName,
    /// The highest ownership epoch the sender knows of.
    pub epoch: u64,
    /// What it holds of the group.
    pub hold: Hold,
    /// What it would like.
    pub wish: Wish,
    /// Its own address on the group's service LAN, where it has one (for [`Hold::Active`]).
    pub via: Option<IpAddr>,
    /// How restless it is.
    pub unrest: Unrest,
}

/// What a node holds of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hold {
    /// Nothing at all.
    Nothing,
    /// Nothing yet; will start as soon as the peer has heard this and does not object.
    Claiming,
    /// Some of it: starting.
    Starting,
    /// All of it.
    Active,
    /// Some of it: stopping.
    Stopping,
    /// Perhaps some of it: a stop failed. Never reported as released.
    Stuck,
}

/// What a node would like to happen to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// Nothing in particular: will take it when it should.
    Content,
    /// Please give it to me.
    Take,
    /// Please take it from me. With [`Hold::Nothing`]: handed over on request; takes it back only
    /// when asked to, or when the other node can't have it.
    Offer,
    /// Can't take it: leaving, or could not be started here.
    Decline,
}
