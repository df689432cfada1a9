//! In which sections the configurations of two nodes differ.
//!
//! Compares digests that `config::digest` makes; knows no configuration. A difference is shown
//! and reported, and never makes a live peer a dead one (design, invariant S9).

use serde::{Deserialize, Serialize};

use crate::cluster::message::{GroupClaim, SectionDigest, SectionKind};

/// The digests of this node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Of all that must be the same on both nodes.
    pub whole: u64,
    /// Of its parts; at most [`crate::cluster::message::SECTIONS_MAX`] are told.
    pub sections: Vec<Section>,
}

impl From<u64> for Digests {
    /// A configuration of which only the whole is known.
    fn from(whole: u64) -> Self {
        Self { whole, sections: Vec::new() }
    }
}

/// A part of the configuration that operators know by a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Which part.
    pub kind: SectionKind,
    /// Of a group or a director; empty otherwise.
    pub name: String,
    /// First four bytes of its digest.
    pub digest: u32,
}

impl Section {
    pub(super) fn told(&self) -> SectionDigest {
        let key = if self.name.is_empty() { 0 } else { key(&self.name) };
        SectionDigest { kind: self.kind.code(), key, digest: self.digest }
    }

    fn label(&self) -> String {
        match self.name.as_str() {
            "" => self.kind.word().to_owned(),
            name => format!("{} {name}", self.kind.word()),
        }
    }
}

/// One section in which the nodes differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// In the operator's words: `timing`, `group web`.
    pub section: String,
    /// Who has it.
    pub only: Only,
}

/// Who has a section that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Both nodes, each in another form.
    Neither,
    /// This node.
    Here,
    /// The peer.
    There,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.section)?;
        match self.only {
            Only::Neither => Ok(()),
            Only::Here => f.write_str(" (only here)"),
            Only::There => f.write_str(" (only on the peer)"),
        }
    }
}

/// The sections that differ, ours in the order of the configuration first. Empty as long as the
/// peer has not told its own.
pub(super) fn differences(
    ours: &[Section],
    theirs: &[SectionDigest],
    claims: &[GroupClaim],
) -> Vec<Difference> {
    if theirs.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for section in ours {
        let told = section.told();
        let same = |it: &&SectionDigest| (it.kind, it.key) == (told.kind, told.key);
        let only = match theirs.iter().find(same) {
            Some(their) if their.digest == told.digest => continue,
            Some(_) => Only::Neither,
            None => Only::Here,
        };
        found.push(Difference { section: section.label(), only });
    }
    let known: Vec<SectionDigest> = ours.iter().map(Section::told).collect();
    for their in theirs {
        if !known.iter().any(|it| (it.kind, it.key) == (their.kind, their.key)) {
            found.push(Difference { section: foreign(their, claims), only: Only::There });
        }
    }
    found
}

/// A section that only the peer has. Names are not told, but for the groups in its claims.
fn foreign(section: &SectionDigest, claims: &[GroupClaim]) -> String {
    let Some(kind) = SectionKind::of(section.kind) else { return "something newer".to_owned() };
    let named = claims
        .iter()
        .find(|claim| kind == SectionKind::Group && key(claim.group.as_str()) == section.key);
    match (named, section.key) {
        (Some(claim), _) => format!("{} {}", kind.word(), claim.group),
        (None, 0) => kind.word().to_owned(),
        (None, _) => format!("a {}", kind.word()),
    }
}

/// A short stand-in for a name (FNV-1a, 32 bits): two names of one file have the same with a
/// chance of one in two millions, and then one of them is not told apart.
fn key(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
