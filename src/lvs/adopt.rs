//! Changes that somebody makes to the kernel's table by hand, taken as orders about real servers:
//! what `ipvsadm -e -w 0` and `ipvsadm -d` mean to whoever types them.
//!
//! Pure. Only where a director is told so (`hand_made = "adopt"`), and only what an order can say: a weight,
//! and in or out. Everything else is put back.

use crate::lvs::model::{DestEntry, Director, RealServer, ServiceEntry, Table, VirtualService};
use crate::lvs::overrides::{Command, Overrides, Target};

/// The orders that turn the `expected` table into the one that is there, `have`, as far as there are
/// any.
///
/// A service that is gone, or has lost all of its servers at once, was flushed: nobody means that as so many
/// orders. A server that its check keeps out does not come in by hand.
pub fn adopted(
    directors: &[Director],
    overrides: &Overrides,
    expected: &Table,
    have: &Table,
) -> Vec<(Target, Command)> {
    let services = directors.iter().filter(|it| it.adopt).flat_map(|it| &it.services);
    let mut orders = Vec::new();
    for service in services {
        let entries = (expected.0.get(&service.key), have.0.get(&service.key));
        let (Some(before), Some(after)) = entries else { continue };
        if !after.dests.is_empty() {
            orders.extend(orders_of(service, overrides, before, after));
        }
    }
    orders
}

fn orders_of(
    service: &VirtualService,
    overrides: &Overrides,
    before: &ServiceEntry,
    after: &ServiceEntry,
) -> Vec<(Target, Command)> {
    let order = |real: &RealServer| {
        let (before, after) = (before.dests.get(&real.key), after.dests.get(&real.key));
        let ordered = overrides.on(&service.key, &real.key).is_some();
        let command = command(real, ordered, before, after)?;
        let (address, port) = (real.key.address, Some(real.key.port));
        Some((Target { service: Some(service.key), address, port }, command))
    };
    service.pools().filter_map(order).collect()
}

fn command(
    real: &RealServer,
    ordered: bool,
    before: Option<&DestEntry>,
    after: Option<&DestEntry>,
) -> Option<Command> {
    match (before, after) {
        (Some(_), None) => Some(Command::Disable),
        (Some(before), Some(after)) if before.weight == after.weight => None,
        (None, Some(_)) if !ordered => None,
        (_, Some(after)) if after.weight == real.weight => Some(Command::Enable),
        (_, Some(after)) => Some(Command::Weight(after.weight)),
        (None, None) => None,
    }
}

/// The expected table with what has been adopted from the one that is there.
pub fn accept(expected: &mut Table, have: &Table, orders: &[(Target, Command)]) {
    for (target, _) in orders {
        let Some(service) = target.service else { continue };
        let (Some(before), Some(after)) = (expected.0.get_mut(&service), have.0.get(&service))
        else {
            continue;
        };
        before.dests.retain(|real, _| !target.fits(&service, real));
        let there = after.dests.iter().filter(|(real, _)| target.fits(&service, real));
        before.dests.extend(there.map(|(real, dest)| (*real, *dest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::model::Forwarding;
    use crate::lvs::overrides::Book;
    use crate::lvs::testing::{at, director, key, service};
    use crate::time::Instant;

    /// Service 1 with these servers and weights in the kernel.
    fn table(dests: &[(u8, u32)]) -> Table {
        let mut entry = ServiceEntry {
            scheduler: "rr".to_owned(),
            persistent: None,
            netmask: None,
            one_packet: false,
            flags: crate::lvs::model::SchedFlags::default(),
            dests: std::collections::BTreeMap::new(),
        };
        for (n, weight) in dests {
            entry.dests.insert(at(*n), DestEntry::new(Forwarding::Gate, *weight));
        }
        Table([(key(1), entry)].into())
    }

    fn orders(disabled: &[u8], expected: &[(u8, u32)], have: &Table) -> Vec<String> {
        let mut book = Book::default();
        for n in disabled {
            let (address, port) = (at(*n).address, Some(80));
            let target = Target { service: Some(key(1)), address, port };
            book.order(target, Command::Disable, 0).unwrap();
        }
        let overrides = Overrides::of(&book, Instant::BOOT, 0);
        let mut director = director(vec![service(1, &[1, 2])]);
        director.adopt = true;
        let orders = adopted(&[director], &overrides, &table(expected), have);
        let said = |(target, command)| format!("{command} {target}");
        orders.into_iter().map(said).collect()
    }

    #[test]
    fn what_is_typed_becomes_the_order_that_it_means() {
        let both = [(1, 1), (2, 1)];
        let said = |disabled: &[u8], before: &[(u8, u32)], after: &[(u8, u32)]| {
            orders(disabled, before, &table(after))
        };
        assert_eq!(
            said(&[], &both, &[(1, 0), (2, 1)]),
            ["weight 0 10.0.1.1:80 of tcp 10.0.0.1:80"]
        );
        assert_eq!(said(&[], &both, &[(1, 1)]), ["disable 10.0.1.2:80 of tcp 10.0.0.1:80"]);
        assert_eq!(said(&[2], &[(1, 1)], &both), ["enable 10.0.1.2:80 of tcp 10.0.0.1:80"]);
        assert_eq!(said(&[2], &[(1, 1)], &[(1, 1), (2, 7)]).len(), 1);
        assert_eq!(said(&[], &both, &both), Vec::<String>::new());
    }

    #[test]
    fn a_flushed_service_and_servers_that_are_not_ours_are_no_orders() {
        let none = Vec::<String>::new();
        assert_eq!(orders(&[], &[(1, 1), (2, 1)], &table(&[])), none);
        assert_eq!(orders(&[], &[(1, 1), (2, 1)], &Table::default()), none);
        assert_eq!(orders(&[], &[(1, 1)], &table(&[(1, 1), (9, 1)])), none, "a stranger");
        assert_eq!(orders(&[], &[(1, 1)], &table(&[(1, 1), (2, 1)])), none, "its check failed");
    }
}
