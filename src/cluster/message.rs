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

/// The sender's whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// What the node as a whole is doing.
    pub node: NodeState,
    /// One bit per link of the sender, lowest first: set when it hears us there.
    pub hears: u8,
    /// First eight bytes of the digest of the sender's configuration; nodes that should agree do.
    pub config: u64,
    /// One claim per group.
    pub groups: Vec<GroupClaim>,
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
