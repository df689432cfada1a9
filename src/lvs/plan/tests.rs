use std::net::Ipv4Addr;

use super::*;
use crate::lvs::model::{Protocol, SchedFlags};
use crate::lvs::table::is_served;

/// xorshift64*: the same histories in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

fn key(n: u8) -> ServiceKey {
    match n {
        5 => ServiceKey::Mark { ipv6: false, mark: 5 },
        6 => ServiceKey::Mark { ipv6: true, mark: 5 },
        n => ServiceKey::Address {
            protocol: if n.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp },
            address: Ipv4Addr::new(10, 0, 0, n / 2).into(),
            port: 80,
        },
    }
}

fn real(n: u8) -> RealKey {
    RealKey { address: Ipv4Addr::new(10, 0, 1, n).into(), port: 80 }
}

fn dest(weight: u32) -> DestEntry {
    DestEntry::new(Forwarding::Gate, weight)
}

fn service(dests: &[(u8, u32)]) -> ServiceEntry {
    ServiceEntry {
        scheduler: "rr".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
        dests: dests.iter().map(|(n, weight)| (real(*n), dest(*weight))).collect(),
    }
}

fn one(dests: &[(u8, u32)]) -> Table {
    Table([(key(0), service(dests))].into())
}

fn random_table(random: &mut Random) -> Table {
    let mut table = Table::default();
    for n in 0..7 {
        if random.below(3) == 0 {
            continue;
        }
        let mut entry = service(&[]);
        entry.scheduler = ["rr", "wlc"][usize::from(random.below(2) == 1)].to_owned();
        entry.persistent = (random.below(4) == 0).then_some(300);
        for n in 0..6 {
            if random.below(2) == 0 {
                let forwarding = [Forwarding::Gate, Forwarding::Masq, Forwarding::Ipip]
                    [usize::try_from(random.below(3)).unwrap()];
                let weight = u32::try_from(random.below(3)).unwrap();
                entry.dests.insert(real(n), DestEntry::new(forwarding, weight));
            }
        }
        table.0.insert(key(n), entry);
    }
    table
}

/// What must be there afterwards: ours as wanted, everybody else's as it was.
fn expected(have: &Table, want: &Table, owned: &BTreeSet<ServiceKey>) -> Table {
    let mut table = want.clone();
    for (key, entry) in &have.0 {
        if !want.0.contains_key(key) && !owned.contains(key) {
            table.0.insert(*key, entry.clone());
        }
    }
    table
}

fn check_on_the_way(have: &Table, now: &Table, end: &Table) {
    for (key, entry) in &now.0 {
        let served = |table: &Table| table.0.get(key).is_some_and(is_served);
        if served(have) && served(end) {
            assert!(is_served(entry), "{key:#} is empty on the way");
        }
    }
}

#[test]
fn any_table_becomes_any_other_and_is_never_empty_on_the_way() {
    for seed in 1..3_000 {
        let mut random = Random(seed);
        let (have, want) = (random_table(&mut random), random_table(&mut random));
        let owned: BTreeSet<_> = (0..7).filter(|_| random.below(2) == 0).map(key).collect();
        let end = expected(&have, &want, &owned);
        let mut now = have.clone();
        for op in plan(&have, &want, &owned, &Places::new()) {
            let before = now.clone();
            let foreign = !want.0.contains_key(&op.service()) && !owned.contains(&op.service());
            assert!(!foreign, "seed {seed}: {op} is about somebody else's service");
            apply(&mut now, &op);
            assert_ne!(before, now, "seed {seed}: {op} does nothing");
            check_on_the_way(&have, &now, &end);
        }
        assert_eq!(now, end, "seed {seed}");
        assert_eq!(plan(&now, &want, &owned, &Places::new()), [], "seed {seed}: done is done");
    }
}

#[test]
fn no_more_orders_than_differences() {
    for seed in 1..500 {
        let mut random = Random(seed);
        let (have, want) = (random_table(&mut random), random_table(&mut random));
        let differences = want.0.iter().map(|(key, wanted)| match have.0.get(key) {
            None => 1 + wanted.dests.len(),
            Some(present) => {
                let keys: BTreeSet<_> = present.dests.keys().chain(wanted.dests.keys()).collect();
                let differ = |real: &&&RealKey| present.dests.get(real) != wanted.dests.get(real);
                let edit = ServiceSettings::from(present) != ServiceSettings::from(wanted);
                keys.iter().filter(differ).count() + usize::from(edit)
            }
        });
        assert_eq!(
            plan(&have, &want, &BTreeSet::new(), &Places::new()).len(),
            differences.sum::<usize>()
        );
    }
}

#[test]
fn the_sorry_server_is_in_before_the_last_real_server_is_out() {
    let ops = plan(&one(&[(1, 1)]), &one(&[(9, 1)]), &BTreeSet::new(), &Places::new());
    let service = key(0);
    let want = [Op::AddDest(service, real(9), dest(1)), Op::RemoveDest(service, real(1))];
    assert_eq!(ops, want);
    let quiescent =
        plan(&one(&[(1, 1)]), &one(&[(1, 0), (9, 1)]), &BTreeSet::new(), &Places::new());
    let want = [Op::AddDest(service, real(9), dest(1)), Op::EditDest(service, real(1), dest(0))];
    assert_eq!(quiescent, want);
}

#[test]
fn a_quiescent_server_is_raised_before_another_is_lowered() {
    let ops =
        plan(&one(&[(1, 1), (2, 0)]), &one(&[(1, 0), (2, 1)]), &BTreeSet::new(), &Places::new());
    let service = key(0);
    let want = [Op::EditDest(service, real(2), dest(1)), Op::EditDest(service, real(1), dest(0))];
    assert_eq!(ops, want);
}

#[test]
fn a_service_that_was_ours_goes_with_one_order_and_a_foreign_one_stays() {
    let mut have = one(&[(1, 1)]);
    have.0.insert(key(1), service(&[(1, 1), (2, 1)]));
    have.0.insert(key(2), service(&[(1, 1)]));
    let ops = plan(&have, &one(&[(1, 1)]), &[key(1)].into(), &Places::new());
    assert_eq!(ops, [Op::RemoveService(key(1))]);
}

#[test]
fn local_delivery_is_as_wanted_whatever_the_method() {
    let mut have = one(&[(1, 1)]);
    have.0.get_mut(&key(0)).unwrap().dests.get_mut(&real(1)).unwrap().forwarding =
        Forwarding::Local;
    assert_eq!(plan(&have, &one(&[(1, 1)]), &BTreeSet::new(), &Places::new()), []);
    let ops = plan(&have, &one(&[(1, 2)]), &BTreeSet::new(), &Places::new());
    assert_eq!(ops, [Op::EditDest(key(0), real(1), dest(2))]);
}

#[test]
fn an_order_reads_as_a_sentence() {
    let op = Op::AddDest(key(0), real(6), dest(1));
    assert_eq!(op.to_string(), "add 10.0.1.6:80 (gate, weight 1) to tcp 10.0.0.0:80");
}

#[test]
fn where_the_order_counts_two_directors_have_the_same_whatever_has_happened() {
    let mh = |dests: &[(u8, u32)]| {
        let mut entry = service(dests);
        entry.scheduler = "mh".to_owned();
        Table([(key(0), entry)].into())
    };
    let histories: [&[&[(u8, u32)]]; 4] = [
        &[&[(1, 1), (2, 1), (3, 1)]],
        &[&[(2, 1)], &[(1, 1), (2, 1)], &[(1, 1), (2, 1), (3, 1)]],
        &[&[(1, 1), (2, 1), (3, 1)], &[(2, 1), (3, 1)], &[(1, 1), (2, 1), (3, 1)]],
        &[&[(3, 1), (4, 1)], &[(1, 1), (2, 0), (3, 1)], &[(1, 1), (2, 1), (3, 1)]],
    ];
    let counts = Places::from([(key(0), (1..=4).map(|n| (real(n), 1)).collect())]);
    for history in histories {
        let (mut have, mut order) = (Table::default(), Vec::new());
        for want in history {
            for op in plan(&have, &mh(want), &BTreeSet::new(), &counts) {
                match &op {
                    Op::AddDest(_, real, _) => order.push(*real),
                    Op::RemoveDest(_, real) => order.retain(|other| other != real),
                    _ => {}
                }
                apply(&mut have, &op);
            }
            assert_eq!(have, mh(want), "{history:?}");
        }
        assert_eq!(order, [real(1), real(2), real(3)], "{history:?}");
    }
}

#[test]
fn where_the_order_does_not_count_nothing_comes_again() {
    let mut have = one(&[(1, 1), (2, 1)]);
    have.0.get_mut(&key(0)).unwrap().scheduler = "mh".to_owned();
    let mut want = one(&[(0, 1), (1, 1), (2, 1)]);
    want.0.get_mut(&key(0)).unwrap().scheduler = "mh".to_owned();
    let ops = plan(&have, &want, &BTreeSet::new(), &Places::new());
    assert_eq!(ops, [Op::AddDest(key(0), real(0), dest(1))]);
}

#[test]
fn a_server_that_is_out_comes_with_its_weight_where_that_counts() {
    let weights = Weights::from([(real(1), 3), (real(2), 1), (real(3), 0)]);
    let places = Places::from([(key(0), weights)]);
    let want = one(&[(1, 0), (2, 1), (3, 0)]);
    let ops = plan(&Table::default(), &want, &BTreeSet::new(), &places);
    let service = key(0);
    let expected = [
        Op::AddDest(service, real(1), dest(3)),
        Op::EditDest(service, real(1), dest(0)),
        Op::AddDest(service, real(2), dest(1)),
        Op::AddDest(service, real(3), dest(0)),
    ];
    assert_eq!(ops[1..], expected);
    let mut have = Table::default();
    for op in &ops {
        apply(&mut have, op);
    }
    assert_eq!(have, want);
}
