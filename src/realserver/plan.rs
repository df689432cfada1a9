//! What is to be done, in which order: wanted, found and remembered in, steps out.
//!
//! One function serves `up` and `down`: both say which virtual IPs are to be here from now on. What
//! they need and is not there is made, what was made for others and is not needed any more is taken
//! back. Nothing is announced even for a moment: the machine is made quiet first, then it gets the
//! address, and the other way round.

use std::fmt;
use std::net::IpAddr;

use super::{ALL, Change, Found, Kept, Key, Mode, Receiver, Setting, Tunnel, Vips};

/// Values of `arp_ignore` with which an address of another interface is not answered for. 3 answers
/// for every address but those of scope host, and 4 to 7 mean nothing: all is answered.
const QUIET_IGNORE: [u32; 3] = [1, 2, 8];
/// Answers only for addresses of the interface that is asked on.
const IGNORE: u32 = 1;
/// Asks in the name of an address of the interface that it asks on; other values may put the virtual IP there.
const ANNOUNCE: u32 = 2;
/// Strict: a packet out of the tunnel would have to come in where its sender is reached.
const STRICT: u32 = 1;
/// Loose: its sender must be reached anywhere. The greater value is in force, so this one holds
/// against a strict one of all interfaces.
const LOOSE: u32 = 2;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give a setting a value.
    Write {
        /// Which.
        setting: Setting,
        /// The value.
        value: u32,
    },
    /// Make the tunnel device of this name.
    Create(String, Tunnel),
    /// Make a port take GUE.
    Open(Receiver),
    /// Switch an interface on.
    Raise(String),
    /// Put an address on an interface, as a host address.
    Add(IpAddr, String),
    /// Take it away there.
    Remove(IpAddr, String),
    /// Make a port take GUE no more.
    Close(Receiver),
    /// Switch an interface off.
    Lower(String),
    /// Remove an interface, where the kernel does.
    Delete(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { setting, value } => write!(f, "{setting} = {value}"),
            Self::Create(interface, _) => write!(f, "{interface} created"),
            Self::Open(receiver) => write!(f, "{receiver} opened for GUE"),
            Self::Raise(interface) => write!(f, "{interface} switched on"),
            Self::Add(ip, interface) => write!(f, "{ip} added to {interface}"),
            Self::Remove(ip, interface) => write!(f, "{ip} removed from {interface}"),
            Self::Close(receiver) => write!(f, "{receiver} closed"),
            Self::Lower(interface) => write!(f, "{interface} switched off"),
            Self::Delete(interface) => write!(f, "{interface} removed"),
        }
    }
}

/// Something that a virtual IP needs and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A setting has another value.
    Setting {
        /// Which.
        setting: Setting,
        /// As it is; `None`: it can't be read.
        found: Option<u32>,
        /// As it must be.
        wanted: u32,
    },
    /// There is no such interface, and none can be made.
    Interface(String),
    /// There is no such tunnel device.
    Device(String, Tunnel),
    /// The port takes no GUE.
    Port(Receiver),
    /// It is off.
    Down(String),
    /// The address is not there.
    Address(IpAddr, String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { setting, found: Some(found), wanted } => {
                write!(f, "{setting} is {found}, not {wanted}")
            }
            Self::Setting { setting, found: None, wanted } => {
                write!(f, "{setting} can't be read; it should be {wanted}")
            }
            Self::Interface(interface) | Self::Device(interface, _) => {
                write!(f, "there is no {interface}")
            }
            Self::Port(receiver) => write!(f, "{receiver} takes no GUE"),
            Self::Down(interface) => write!(f, "{interface} is off"),
            Self::Address(ip, interface) => write!(f, "{ip} is not on {interface}"),
        }
    }
}

/// Something to tell, and to do nothing about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Somebody else has changed a setting after us: it stays as it is.
    Foreign {
        /// Which.
        setting: Setting,
        /// As it was before the first `up`.
        before: u32,
        /// As `up` had made it.
        set: u32,
        /// As it is.
        found: u32,
    },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Foreign { setting, before, set, found } = self;
        write!(
            f,
            "{setting} is {found}: somebody has changed it since it was set to {set}, so it stays \
             as it is (before, it was {before})"
        )
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// To be remembered before the first step: everything that may be changed from then on.
    pub during: Kept,
    /// To be remembered after the last one.
    pub after: Kept,
    /// To be told.
    pub remarks: Vec<Remark>,
}

/// The steps to where exactly `target` is here. Done when there is none. A tunnel device brings
/// settings of its own, so after steps the machine is read and asked again.
pub fn plan(target: &Vips, found: &Found, kept: &Kept) -> Plan {
    let needed = missing(target, &without(found, &kept.changes));
    let is_needed = |change: &Change| match change {
        Change::Created { interface } => target.values().any(|at| at.interface == *interface),
        other => needed.iter().any(|need| is_of(other, need)),
    };
    let (mut stay, go): (Vec<_>, Vec<_>) = kept.changes.iter().cloned().partition(is_needed);
    let mut steps = Vec::new();
    for need in missing(target, found) {
        match stay.iter_mut().find(|change| is_of(change, &need)) {
            Some(Change::Setting { set, .. }) => *set = wanted(&need).unwrap_or(*set),
            Some(_) => {}
            None => stay.extend(change(&need)),
        }
        steps.extend(step(&need));
    }
    let mut remarks = Vec::new();
    let mut undone = Vec::new();
    for change in &go {
        match undo(change, found) {
            Ok(step) => undone.extend(step),
            Err(remark) => remarks.push(remark),
        }
    }
    undone.sort_by_key(rank);
    steps.extend(undone);
    let after = Kept { vips: target.clone(), changes: stay.clone() };
    let during = Kept { vips: target.clone(), changes: [stay, go].concat() };
    Plan { steps, during, after, remarks }
}

/// What keeps virtual IPs that are asked for now from being here, whatever is done.
pub fn impossible(target: &Vips, found: &Found, kept: &Kept) -> Vec<Missing> {
    let new = target.iter().filter(|(vip, place)| kept.vips.get(*vip) != Some(*place));
    let new = new.map(|(vip, place)| (*vip, place.clone())).collect();
    let mut all = missing(&new, found);
    all.retain(|one| matches!(one, Missing::Interface(_)));
    all
}

/// What these virtual IPs lack.
pub fn missing(vips: &Vips, found: &Found) -> Vec<Missing> {
    let mut missing = Vec::new();
    if vips.keys().any(IpAddr::is_ipv4) {
        missing.extend(loud(found, Key::ArpIgnore, IGNORE, |it| QUIET_IGNORE.contains(&it)));
        missing.extend(loud(found, Key::ArpAnnounce, ANNOUNCE, |it| it == ANNOUNCE));
    }
    for (vip, place) in vips {
        let interface = &place.interface;
        let closed = place.receiver(*vip).filter(|it| !found.receivers.contains(it));
        missing.extend(closed.map(Missing::Port));
        let Some(port) = found.ports.get(interface) else {
            missing.push(match place.tunnel(*vip) {
                None => Missing::Interface(interface.clone()),
                Some(tunnel) => Missing::Device(interface.clone(), tunnel),
            });
            continue;
        };
        missing.extend(match vip {
            IpAddr::V4(_) if place.mode != Mode::Gate => strict(found, interface),
            IpAddr::V4(_) => None,
            IpAddr::V6(_) => without_ipv6(found, interface),
        });
        missing.extend((!port.up).then(|| Missing::Down(interface.clone())));
        let there = found.has(*vip, interface);
        missing.extend((!there).then(|| Missing::Address(*vip, interface.clone())));
    }
    let mut unique: Vec<Missing> = Vec::new();
    for one in missing {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}

/// Settings of all interfaces together and of each LAN that leave the machine talking about
/// addresses of other interfaces. That of all interfaces counts for those that come later, too.
fn loud(found: &Found, key: Key, wanted: u32, quiet: impl Fn(u32) -> bool) -> Vec<Missing> {
    let mut missing = Vec::new();
    let setting = Setting::new(ALL, key);
    let all = found.value(&setting);
    let good = all.is_some_and(&quiet);
    let in_force = all.filter(|_| good).unwrap_or(wanted);
    if !good {
        missing.push(Missing::Setting { setting, found: all, wanted });
    }
    for name in found.ports.iter().filter(|(_, port)| port.lan).map(|(name, _)| name) {
        let setting = Setting::new(name, key);
        match found.value(&setting) {
            Some(own) if !quiet(own.max(in_force)) => {
                missing.push(Missing::Setting { setting, found: Some(own), wanted });
            }
            _ => {}
        }
    }
    missing
}

/// A filter that drops what comes out of the tunnel.
fn strict(found: &Found, interface: &str) -> Option<Missing> {
    let setting = Setting::new(interface, Key::RpFilter);
    let own = found.value(&setting);
    let all = found.value(&Setting::new(ALL, Key::RpFilter));
    let in_force = own.unwrap_or(STRICT).max(all.unwrap_or(STRICT));
    let is_strict = in_force == STRICT;
    is_strict.then_some(Missing::Setting { setting, found: own, wanted: LOOSE })
}

fn without_ipv6(found: &Found, interface: &str) -> Option<Missing> {
    let setting = Setting::new(interface, Key::DisableIpv6);
    let own = found.value(&setting);
    (own != Some(0)).then_some(Missing::Setting { setting, found: own, wanted: 0 })
}

/// The machine as if these changes had never been made. What somebody else has changed since is
/// theirs.
fn without(found: &Found, changes: &[Change]) -> Found {
    let mut before = found.clone();
    for change in changes {
        match change {
            Change::Setting { setting, before: old, set } => {
                if before.settings.get(setting) == Some(set) {
                    before.settings.insert(setting.clone(), *old);
                }
            }
            Change::Address { ip, interface } => {
                before.held.retain(|(one, at, _)| one != ip || at != interface);
            }
            Change::Raised { interface } => {
                before.ports.entry(interface.clone()).and_modify(|port| port.up = false);
            }
            Change::Opened { receiver } => {
                before.receivers.remove(receiver);
            }
            // Its other needs are looked at as long as it is there.
            Change::Created { .. } => {}
        }
    }
    before
}

/// Whether the change was made for this need.
fn is_of(change: &Change, need: &Missing) -> bool {
    match (change, need) {
        (Change::Setting { setting, .. }, Missing::Setting { setting: other, .. }) => {
            setting == other
        }
        (Change::Raised { interface }, Missing::Down(other)) => interface == other,
        (Change::Address { ip, interface }, Missing::Address(other, at)) => {
            ip == other && interface == at
        }
        (Change::Created { interface }, Missing::Device(other, _)) => interface == other,
        (Change::Opened { receiver }, Missing::Port(other)) => receiver == other,
        _ => false,
    }
}

fn wanted(need: &Missing) -> Option<u32> {
    match need {
        Missing::Setting { wanted, .. } => Some(*wanted),
        _ => None,
    }
}

fn step(need: &Missing) -> Option<Step> {
    Some(match need {
        Missing::Setting { setting, wanted, .. } => {
            Step::Write { setting: setting.clone(), value: *wanted }
        }
        Missing::Interface(_) => return None,
        Missing::Device(interface, kind) => Step::Create(interface.clone(), *kind),
        Missing::Port(receiver) => Step::Open(*receiver),
        Missing::Down(interface) => Step::Raise(interface.clone()),
        Missing::Address(ip, interface) => Step::Add(*ip, interface.clone()),
    })
}

/// What is to be remembered of meeting a need; `None`: what can't be read can't be restored.
fn change(need: &Missing) -> Option<Change> {
    Some(match need {
        Missing::Setting { setting, found, wanted } => {
            Change::Setting { setting: setting.clone(), before: (*found)?, set: *wanted }
        }
        Missing::Interface(_) => return None,
        Missing::Device(interface, _) => Change::Created { interface: interface.clone() },
        Missing::Port(receiver) => Change::Opened { receiver: *receiver },
        Missing::Down(interface) => Change::Raised { interface: interface.clone() },
        Missing::Address(ip, interface) => {
            Change::Address { ip: *ip, interface: interface.clone() }
        }
    })
}

/// The step back, where one is due.
fn undo(change: &Change, found: &Found) -> Result<Option<Step>, Remark> {
    Ok(match change {
        Change::Setting { setting, before, set } => {
            match found.value(setting) {
                Some(value) if value == *set => {
                    Some(Step::Write { setting: setting.clone(), value: *before })
                }
                // It was restored already, never set, or has gone with its interface.
                Some(value) if value == *before => None,
                None => None,
                Some(value) => {
                    let (setting, before, set) = (setting.clone(), *before, *set);
                    return Err(Remark::Foreign { setting, before, set, found: value });
                }
            }
        }
        Change::Created { interface } => {
            found.ports.contains_key(interface).then(|| Step::Delete(interface.clone()))
        }
        Change::Opened { receiver } => {
            found.receivers.contains(receiver).then_some(Step::Close(*receiver))
        }
        Change::Raised { interface } => {
            let up = found.ports.get(interface).is_some_and(|port| port.up);
            up.then(|| Step::Lower(interface.clone()))
        }
        Change::Address { ip, interface } => {
            found.has(*ip, interface).then(|| Step::Remove(*ip, interface.clone()))
        }
    })
}

/// The way back: the machine stays quiet until the address is gone.
fn rank(step: &Step) -> u8 {
    match step {
        Step::Remove(..) => 0,
        Step::Close(_) => 1,
        Step::Lower(_) => 2,
        Step::Write { .. } => 3,
        Step::Delete(_) => 4,
        Step::Create(..) | Step::Open(_) | Step::Raise(_) | Step::Add(..) => 5,
    }
}

#[cfg(test)]
mod tests;
