//! What there is of a virtual IP, and who answers for it: found in, a verdict out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::plan::{Missing, missing};
use super::{ALL, Found, Key, Place, Setting, Vips};

/// How much of what a virtual IP needs is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All of it.
    Ready,
    /// Some of it, or it is not quiet.
    Half,
    /// The address is not there.
    Absent,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Half => "half",
            Self::Absent => "absent",
        })
    }
}

/// Whether the machine answers for a virtual IP on one of its LANs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does not.
    Silent,
    /// It does: the address is on that interface.
    Holds,
    /// It does: the address is on another interface, and `arp_ignore` lets it.
    Talks,
}

impl Answer {
    /// Whether the LAN hears of the address from here.
    pub fn is_heard(self) -> bool {
        self != Self::Silent
    }
}

/// What asking the machine itself has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It was asked, and did not answer.
    Silent,
    /// It was asked, and answered.
    Answered,
    /// It can't be asked, for this reason.
    Unknown(String),
}

/// One virtual IP on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// It.
    pub vip: IpAddr,
    /// Where it is to be.
    pub place: Place,
    /// Whether the address is there.
    pub held: bool,
    /// What it lacks.
    pub missing: Vec<Missing>,
    /// What the settings say, for each LAN.
    pub answers: Vec<(String, Answer)>,
    /// What asking has shown, for each LAN where it was tried.
    pub proofs: BTreeMap<String, Proof>,
    /// It has the prefix of a network, so that the machine takes the whole network for its own.
    pub wide: Option<u8>,
}

impl Standing {
    /// In one word.
    pub fn state(&self) -> State {
        let heard = self.answers.iter().any(|(_, answer)| answer.is_heard())
            || self.proofs.values().any(|proof| *proof == Proof::Answered);
        match (self.held, self.missing.is_empty() && !heard && self.wide.is_none()) {
            // It must be gone here, and the LAN hears it all the same.
            (false, _) if heard => State::Half,
            (false, _) => State::Absent,
            (true, true) => State::Ready,
            (true, false) => State::Half,
        }
    }
}

/// Looks at each of them.
pub fn standing(vips: &Vips, found: &Found) -> Vec<Standing> {
    vips.iter().map(|(vip, place)| of(*vip, place, found)).collect()
}

fn of(vip: IpAddr, place: &Place, found: &Found) -> Standing {
    let lans = found.ports.iter().filter(|(_, port)| port.lan && port.up);
    let full = if vip.is_ipv4() { 32 } else { 128 };
    let here = found.held.iter().find(|(ip, at, _)| *ip == vip && *at == place.interface);
    Standing {
        vip,
        place: place.clone(),
        held: here.is_some(),
        missing: missing(&Vips::from([(vip, place.clone())]), found),
        answers: lans.map(|(name, _)| (name.clone(), answer(vip, name, found))).collect(),
        proofs: BTreeMap::new(),
        wide: here.map(|(_, _, prefix)| *prefix).filter(|prefix| *prefix != full),
    }
}

/// What the kernel does when it is asked there (`arp_process` of net/ipv4/arp.c; with IPv6 only
/// addresses of the interface itself count, `ndisc_recv_ns` of net/ipv6/ndisc.c).
fn answer(vip: IpAddr, lan: &str, found: &Found) -> Answer {
    let own = |name: &str| found.settings.get(&Setting::new(name, Key::ArpIgnore)).copied();
    let in_force = own(lan).unwrap_or(0).max(own(ALL).unwrap_or(0));
    let elsewhere = found.held.iter().any(|(ip, _, _)| *ip == vip);
    match in_force {
        8 if vip.is_ipv4() => Answer::Silent,
        _ if found.has(vip, lan) => Answer::Holds,
        0 | 3..=7 if vip.is_ipv4() && elsewhere => Answer::Talks,
        _ => Answer::Silent,
    }
}

#[cfg(test)]
mod tests;
