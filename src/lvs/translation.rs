//! Which destinations' packets get another source than the client: what full NAT is beside NAT.
//!
//! IPVS knows NAT only. So the source is changed by rules of nftables, and a destination counts as one
//! of full NAT when IPVS has it by NAT and its rule is in force. Pure: which rules these are and how
//! they get in force is `kernel::fullnat`'s business.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fault::OpError;
use super::model::{DestEntry, Forwarding, RealKey, ServiceKey, Table};
use super::plan::Op;

/// Destinations of full NAT by service, and the source that their packets get; `None`: the address of
/// the interface that they leave by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Translated(BTreeMap<(ServiceKey, RealKey), Option<IpAddr>>);

impl Translated {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of services.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &RealKey, Option<IpAddr>)> {
        self.0.iter().map(|((service, real), source)| (service, real, *source))
    }

    /// What must be in force before these orders are obeyed: nothing of the present is missing.
    #[must_use]
    pub fn before(&self, ops: &[Op]) -> Self {
        let mut needed = self.clone();
        for op in ops {
            if let Op::AddDest(service, real, dest) | Op::EditDest(service, real, dest) = op
                && let Forwarding::FullNat { source } = dest.forwarding
            {
                needed.0.insert((*service, *real), source);
            }
        }
        needed
    }

    /// Whether this order puts a destination of full NAT in that has no rule here.
    pub fn lacks(&self, op: &Op) -> bool {
        let (Op::AddDest(service, real, dest) | Op::EditDest(service, real, dest)) = op else {
            return false;
        };
        let Forwarding::FullNat { source } = dest.forwarding else { return false };
        self.0.get(&(*service, *real)) != Some(&source)
    }

    /// What is ordered in the place of `op` while the rules that it lacks can't be put in force: a destination
    /// that is not there yet stays out, one that is there takes no new connection. `None`: nothing.
    pub fn instead(&self, op: &Op) -> Option<Op> {
        match op {
            op if !self.lacks(op) => Some(op.clone()),
            Op::EditDest(service, real, dest) => {
                Some(Op::EditDest(*service, *real, DestEntry { weight: 0, ..*dest }))
            }
            _ => None,
        }
    }

    /// What is still needed after these orders, by the answers to them.
    #[must_use]
    pub fn after(&self, ops: &[Op], answers: &[Result<(), OpError>]) -> Self {
        let mut needed = self.clone();
        for (op, answer) in ops.iter().zip(answers) {
            match (op, answer) {
                (Op::RemoveService(gone), Ok(())) => {
                    needed.0.retain(|(service, _), _| service != gone);
                }
                (Op::RemoveDest(service, real), Ok(()))
                | (Op::AddDest(service, real, _), Err(_)) => {
                    needed.0.remove(&(*service, *real));
                }
                (Op::AddDest(service, real, dest) | Op::EditDest(service, real, dest), Ok(())) => {
                    match dest.forwarding {
                        // One that went and came again in the same orders, too.
                        Forwarding::FullNat { source } => {
                            needed.0.insert((*service, *real), source);
                        }
                        _ => {
                            needed.0.remove(&(*service, *real));
                        }
                    }
                }
                _ => {}
            }
        }
        needed
    }

    /// Those that a table as IPVS has it still has.
    #[must_use]
    pub fn within(&self, table: &Table) -> Self {
        let there = |service: &ServiceKey, real: &RealKey| {
            table.0.get(service).is_some_and(|entry| entry.dests.contains_key(real))
        };
        let kept = self.0.iter().filter(|((service, real), _)| there(service, real));
        Self(kept.map(|(key, source)| (*key, *source)).collect())
    }

    /// Makes of IPVS's table, which has NAT only, the one that there is.
    ///
    /// `stray`: rules of an earlier life are in force, and nobody knows for whom. Then every other
    /// destination of NAT is [`Forwarding::STRAY`], so that it is put right whatever it should be.
    pub fn mark(&self, table: &mut Table, stray: bool) {
        for (service, entry) in &mut table.0 {
            for (real, dest) in &mut entry.dests {
                if dest.forwarding != Forwarding::Masq {
                    continue;
                }
                match self.0.get(&(*service, *real)) {
                    Some(source) => dest.forwarding = Forwarding::FullNat { source: *source },
                    None if stray => dest.forwarding = Forwarding::STRAY,
                    None => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::model::{Protocol, SchedFlags, ServiceEntry};

    const NINE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn key(port: u16) -> ServiceKey {
        let address = "192.168.2.110".parse().expect("ip");
        ServiceKey::Address { protocol: Protocol::Tcp, address, port }
    }

    fn real(n: u8) -> RealKey {
        RealKey { address: IpAddr::from([10, 0, 1, n]), port: 80 }
    }

    fn add(n: u8, forwarding: Forwarding) -> Op {
        Op::AddDest(key(80), real(n), DestEntry::new(forwarding, 1))
    }

    fn full(source: Option<IpAddr>) -> Forwarding {
        Forwarding::FullNat { source }
    }

    fn two() -> Translated {
        Translated::default().before(&[add(1, full(None)), add(2, full(Some(NINE)))])
    }

    fn table(dests: &[(u8, Forwarding)]) -> Table {
        let dests = dests.iter().map(|(n, way)| (real(*n), DestEntry::new(*way, 1))).collect();
        let entry = ServiceEntry {
            scheduler: "rr".to_owned(),
            persistent: None,
            netmask: None,
            one_packet: false,
            flags: SchedFlags::default(),
            dests,
        };
        Table([(key(80), entry)].into())
    }

    #[test]
    fn rules_come_before_the_first_server_and_go_after_the_last_one() {
        let both = two();
        assert_eq!(both.iter().count(), 2);
        assert_eq!(both.before(&[add(3, Forwarding::Masq)]), both);
        let gone = [Op::RemoveDest(key(80), real(1))];
        assert_eq!(both.before(&gone), both, "it is served up to then");
        assert_eq!(both.after(&gone, &[Err(OpError::NoDest)]), both);
        let one = both.after(&gone, &[Ok(())]);
        assert_eq!(one.iter().map(|(_, real, _)| *real).collect::<Vec<_>>(), [real(2)]);
        assert!(both.after(&[Op::RemoveService(key(80))], &[Ok(())]).is_empty());
        assert_eq!(both.after(&[Op::RemoveService(key(81))], &[Ok(())]), both);
    }

    #[test]
    fn a_server_that_goes_and_comes_again_keeps_its_rule() {
        let again = [Op::RemoveDest(key(80), real(2)), add(2, full(Some(NINE)))];
        assert_eq!(two().after(&again, &[Ok(()), Ok(())]), two());
    }

    #[test]
    fn a_server_that_is_refused_or_changes_to_another_method_has_no_rule() {
        let refused = [add(1, full(None))];
        let one = two().after(&refused, &[Err(OpError::Memory)]);
        assert_eq!(one.iter().count(), 1);
        let edit = [Op::EditDest(key(80), real(2), DestEntry::new(Forwarding::Masq, 1))];
        assert!(one.after(&edit, &[Ok(())]).is_empty());
    }

    #[test]
    fn nat_with_a_rule_reads_as_full_nat_and_without_one_as_nat() {
        use Forwarding::{Gate, Masq};
        let mut read = table(&[(1, Masq), (2, Masq), (3, Masq), (4, Gate)]);
        two().mark(&mut read, false);
        let wanted = [(1, full(None)), (2, full(Some(NINE))), (3, Masq), (4, Gate)];
        assert_eq!(read, table(&wanted));
        let mut read = table(&[(1, Masq), (4, Gate)]);
        Translated::default().mark(&mut read, true);
        assert_eq!(read, table(&[(1, Forwarding::STRAY), (4, Gate)]));
    }

    #[test]
    fn what_ipvs_does_not_have_any_more_needs_no_rule() {
        let here = table(&[(2, Forwarding::Masq)]);
        assert_eq!(
            two().within(&here).iter().map(|(_, real, _)| *real).collect::<Vec<_>>(),
            [real(2)]
        );
        assert!(two().within(&Table::default()).is_empty());
    }

    #[test]
    fn without_rules_no_server_of_full_nat_takes_a_new_connection() {
        let edit = |way, weight| Op::EditDest(key(80), real(1), DestEntry::new(way, weight));
        let none = Translated::default();
        assert_eq!(none.instead(&add(1, full(None))), None);
        assert_eq!(none.instead(&edit(full(None), 5)), Some(edit(full(None), 0)));
        assert_eq!(two().instead(&edit(full(Some(NINE)), 5)), Some(edit(full(Some(NINE)), 0)));
        for other in [add(1, Forwarding::Masq), Op::RemoveDest(key(80), real(1))] {
            assert_eq!(none.instead(&other), Some(other.clone()));
        }
        assert_eq!(
            two().instead(&edit(full(None), 5)),
            Some(edit(full(None), 5)),
            "it has its rule"
        );
    }
}
