//! The way from the kernel's table to the wanted one: the fewest orders, in an order that never
//! leaves a service without a server on the way.
//!
//! Additions come before changes and changes before removals; among the changes those that let a
//! server serve come before those that stop it. Pure; who sends the orders is `kernel::ipvs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::lvs::model::{
    DestEntry, Forwarding, RealKey, SchedFlags, ServiceEntry, ServiceKey, Table, Thresholds,
};

/// A virtual service's settings, without its destinations: what one kernel order sets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceSettings {
    /// Scheduler name.
    pub scheduler: String,
    /// Persistence in seconds.
    pub persistent: Option<u32>,
    /// Prefix length of the persistence netmask; `None`: whole address.
    pub netmask: Option<u8>,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// Flags of the scheduler.
    pub flags: SchedFlags,
}

impl From<&ServiceEntry> for ServiceSettings {
    fn from(entry: &ServiceEntry) -> Self {
        Self {
            scheduler: entry.scheduler.clone(),
            persistent: entry.persistent,
            netmask: entry.netmask,
            one_packet: entry.one_packet,
            flags: entry.flags,
        }
    }
}

/// One order to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// A new virtual service, without destinations.
    AddService(ServiceKey, ServiceSettings),
    /// Other settings; connections and destinations stay.
    EditService(ServiceKey, ServiceSettings),
    /// Out, with all its destinations.
    RemoveService(ServiceKey),
    /// A new destination.
    AddDest(ServiceKey, RealKey, DestEntry),
    /// Another weight or forwarding method; connections stay.
    EditDest(ServiceKey, RealKey, DestEntry),
    /// Out; packets of its connections no longer reach it.
    RemoveDest(ServiceKey, RealKey),
}

impl Op {
    /// The virtual service that is meant.
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::AddService(key, _) | Self::EditService(key, _) | Self::RemoveService(key) => *key,
            Self::AddDest(key, ..) | Self::EditDest(key, ..) | Self::RemoveDest(key, _) => *key,
        }
    }
}

/// For the journal: `add 192.168.2.106:80 (gate, weight 1) to tcp 192.168.2.110:80`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(key, new) => write!(f, "add {key:#} ({})", new.scheduler),
            Self::EditService(key, new) => write!(f, "change {key:#} ({})", new.scheduler),
            Self::RemoveService(key) => write!(f, "remove {key:#}"),
            Self::AddDest(key, real, dest) => write!(f, "add {real} ({dest}) to {key:#}"),
            Self::EditDest(key, real, dest) => write!(f, "change {real} ({dest}) in {key:#}"),
            Self::RemoveDest(key, real) => write!(f, "remove {real} from {key:#}"),
        }
    }
}

impl fmt::Display for DestEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, weight {}", self.forwarding, self.weight)?;
        let Thresholds { upper, lower } = self.thresholds;
        if upper > 0 || lower > 0 {
            write!(f, ", at most {upper} connections, again below {lower}")?;
        }
        Ok(())
    }
}

/// Services in which it counts in what order the destinations have come, and with what weight: `mh` makes its table
/// of both (`ip_vs_mh_populate`), and two directors are to have the same. With the configured weights: one that is out
/// of service keeps the place of the weight that it had before (`last_weight`).
pub type Places = BTreeMap<ServiceKey, Weights>;

/// Configured weights.
pub type Weights = BTreeMap<RealKey, u32>;

/// The fewest orders that make `have` (read back from the kernel) equal to `want`.
///
/// Only services in `want` or `owned` are touched; those that are ours and not wanted go. A
/// destination that somebody else put into one of our services goes too. A service with a
/// destination of weight over 0 in both tables has one after every single order.
///
/// Where the destinations' [`Places`] count, and a destination comes to a service, the others come again, too;
/// between two orders it may then have none. What the kernel knows of connections to one that comes again it may
/// forget (`expire_nodest_conn`), so it has to be a service that needs no memory.
pub fn plan(have: &Table, want: &Table, owned: &BTreeSet<ServiceKey>, places: &Places) -> Vec<Op> {
    let mut steps = Steps::default();
    for (key, wanted) in &want.0 {
        match have.0.get(key) {
            Some(present) => steps.change(*key, present, wanted, places.get(key)),
            None => steps.create(*key, wanted, places.get(key)),
        }
    }
    let stale = owned.iter().filter(|key| have.0.contains_key(key) && !want.0.contains_key(key));
    steps.removals.extend(stale.map(|key| Op::RemoveService(*key)));
    steps.in_order()
}

#[derive(Default)]
struct Steps {
    additions: Vec<Op>,
    raises: Vec<Op>,
    lowers: Vec<Op>,
    removals: Vec<Op>,
}

impl Steps {
    fn create(&mut self, key: ServiceKey, wanted: &ServiceEntry, weights: Option<&Weights>) {
        self.additions.push(Op::AddService(key, wanted.into()));
        for (real, dest) in &wanted.dests {
            self.add(key, *real, *dest, weights);
        }
    }

    /// The kernel gives one that comes with weight 0 no place.
    fn add(&mut self, key: ServiceKey, real: RealKey, dest: DestEntry, weights: Option<&Weights>) {
        let place = weights.and_then(|weights| weights.get(&real)).copied().unwrap_or_default();
        let first = if dest.weight == 0 { place } else { dest.weight };
        self.additions.push(Op::AddDest(key, real, DestEntry { weight: first, ..dest }));
        if first != dest.weight {
            self.additions.push(Op::EditDest(key, real, dest));
        }
    }

    fn change(
        &mut self,
        key: ServiceKey,
        present: &ServiceEntry,
        wanted: &ServiceEntry,
        weights: Option<&Weights>,
    ) {
        let settings = ServiceSettings::from(wanted);
        if ServiceSettings::from(present) != settings {
            self.raises.push(Op::EditService(key, settings));
        }
        let anew = weights.is_some() && !present.dests.is_empty();
        let anew = anew && wanted.dests.keys().any(|real| !present.dests.contains_key(real));
        for (real, dest) in &wanted.dests {
            match present.dests.get(real) {
                Some(_) if anew => {
                    self.additions.push(Op::RemoveDest(key, *real));
                    self.add(key, *real, *dest, weights);
                }
                None => self.add(key, *real, *dest, weights),
                Some(old) if is_same(old, dest) => {}
                Some(_) if dest.weight > 0 => self.raises.push(Op::EditDest(key, *real, *dest)),
                Some(_) => self.lowers.push(Op::EditDest(key, *real, *dest)),
            }
        }
        let stale = present.dests.keys().filter(|real| !wanted.dests.contains_key(real));
        self.removals.extend(stale.map(|real| Op::RemoveDest(key, *real)));
    }

    fn in_order(self) -> Vec<Op> {
        let Self { additions, raises, lowers, removals } = self;
        [additions, raises, lowers, removals].into_iter().flatten().collect()
    }
}

/// A destination that the kernel delivers locally is as wanted whatever the method: see
/// [`Forwarding::Local`].
fn is_same(have: &DestEntry, want: &DestEntry) -> bool {
    let method = have.forwarding == want.forwarding || have.forwarding == Forwarding::Local;
    method && have.weight == want.weight && have.thresholds == want.thresholds
}

/// What an obeyed order does to a table.
pub fn apply(table: &mut Table, op: &Op) {
    match op {
        Op::AddService(key, new) | Op::EditService(key, new) => {
            let dests = table.0.remove(key).map(|old| old.dests).unwrap_or_default();
            table.0.insert(*key, with_dests(new, dests));
        }
        Op::RemoveService(key) => drop(table.0.remove(key)),
        Op::AddDest(key, real, dest) | Op::EditDest(key, real, dest) => {
            if let Some(service) = table.0.get_mut(key) {
                service.dests.insert(*real, *dest);
            }
        }
        Op::RemoveDest(key, real) => {
            if let Some(service) = table.0.get_mut(key) {
                service.dests.remove(real);
            }
        }
    }
}

fn with_dests(settings: &ServiceSettings, dests: BTreeMap<RealKey, DestEntry>) -> ServiceEntry {
    ServiceEntry {
        scheduler: settings.scheduler.clone(),
        persistent: settings.persistent,
        netmask: settings.netmask,
        one_packet: settings.one_packet,
        flags: settings.flags,
        dests,
    }
}

#[cfg(test)]
mod tests;
