use super::*;
use crate::lvs::check::CheckKind;
use crate::lvs::model::RealKey;
use crate::lvs::overrides::Book;
use crate::lvs::testing::{at, director, down, key, service, up};
use crate::time::Instant;

const NOW: Instant = Instant::BOOT;
static NEVER: std::sync::LazyLock<Memory> = std::sync::LazyLock::new(Memory::default);
static NOTHING: std::sync::LazyLock<Overrides> = std::sync::LazyLock::new(Overrides::default);

/// The service's pool as (server, weight) after verdicts on servers 1, 2, ...
fn pool(service: &VirtualService, verdicts: &[Option<bool>]) -> Vec<(RealKey, u32)> {
    let (director, health) = judged(service, verdicts);
    weights(&desired(wish(&director, &health)))
}

fn wish<'a>(director: &'a Director, health: &'a Health) -> Wish<'a> {
    ordered(director, health, &NOTHING)
}

fn ordered<'a>(director: &'a Director, health: &'a Health, overrides: &'a Overrides) -> Wish<'a> {
    let (directors, memory) = (std::slice::from_ref(director), &*NEVER);
    Wish { directors, health, overrides, memory, now: NOW }
}

fn judged(service: &VirtualService, verdicts: &[Option<bool>]) -> (Director, Health) {
    let director = director(vec![service.clone()]);
    let mut health = Health::default();
    health.configure(NOW, std::slice::from_ref(&director)).unwrap();
    for (spec, verdict) in health.specs().iter().zip(verdicts) {
        match verdict {
            Some(true) => assert!(health.record(NOW, &up(spec.id))),
            Some(false) => assert!(health.record(NOW, &down(spec.id))),
            None => {}
        }
    }
    (director, health)
}

fn weights(table: &Table) -> Vec<(RealKey, u32)> {
    let entry = &table.0[&key(1)];
    entry.dests.iter().map(|(key, dest)| (*key, dest.weight)).collect()
}

#[test]
fn the_pool_follows_the_verdicts() {
    let web = service(1, &[1, 2]);
    let sorry = vec![(at(99), 1)];
    let cases = [
        ([None, None], sorry.clone()),
        ([Some(false), None], sorry.clone()),
        ([Some(false), Some(false)], sorry),
        ([Some(true), None], vec![(at(1), 1)]),
        ([Some(true), Some(false)], vec![(at(1), 1)]),
        ([Some(true), Some(true)], vec![(at(1), 1), (at(2), 1)]),
    ];
    for (verdicts, want) in cases {
        assert_eq!(pool(&web, &verdicts), want, "{verdicts:?}");
    }
}

#[test]
fn a_quiescent_service_keeps_failed_servers_at_weight_0() {
    let mut web = service(1, &[1, 2]);
    web.quiescent = true;
    assert_eq!(pool(&web, &[Some(false), Some(true)]), [(at(1), 0), (at(2), 1)]);
    assert_eq!(pool(&web, &[Some(false), None]), [(at(1), 0), (at(99), 1)]);
}

#[test]
fn servers_of_weight_0_do_not_keep_the_sorry_server_out() {
    let mut web = service(1, &[1]);
    web.reals[0].weight = 0;
    assert_eq!(pool(&web, &[Some(true)]), [(at(1), 0), (at(99), 1)]);
}

#[test]
fn without_a_sorry_server_the_pool_may_be_empty() {
    let mut web = service(1, &[1]);
    web.fallback = None;
    assert_eq!(pool(&web, &[Some(false)]), []);
}

#[test]
fn on_enters_unchecked_and_off_does_not() {
    let mut web = service(1, &[1, 2]);
    (web.reals[0].check, web.reals[1].check) = (CheckKind::On, CheckKind::Off);
    assert_eq!(pool(&web, &[]), [(at(1), 1)]);
}

#[test]
fn a_netmask_of_the_whole_address_is_none() {
    let mut web = service(1, &[]);
    web.netmask = Some(32);
    let (director, health) = judged(&web, &[]);
    assert_eq!(desired(wish(&director, &health)).0[&key(1)].netmask, None);
}

#[test]
fn unjudged_servers_stay_in_a_live_table_and_none_enters() {
    let web = service(1, &[1, 2, 3]);
    let (director, health) = judged(&web, &[Some(true), Some(true)]);
    let mut live = desired(wish(&director, &health));
    let (_, fresh) = judged(&web, &[]);
    let kept = desired_over(wish(&director, &fresh), &live);
    assert_eq!(weights(&kept), [(at(1), 1), (at(2), 1)], "no sorry server either");
    let (_, first) = judged(&web, &[Some(false)]);
    assert_eq!(weights(&desired_over(wish(&director, &first), &live)), [(at(2), 1)]);
    for dest in live.0.get_mut(&key(1)).unwrap().dests.values_mut() {
        dest.weight = 0;
    }
    let quiet = desired_over(wish(&director, &fresh), &live);
    assert_eq!(weights(&quiet), [(at(1), 0), (at(2), 0), (at(99), 1)]);
}

/// The pool after one command for server 1, given when the wall clock said 1000.
fn commanded(
    service: &VirtualService,
    verdicts: &[Option<bool>],
    said: &str,
) -> Vec<(RealKey, u32)> {
    let (director, health) = judged(service, verdicts);
    let mut book = Book::default();
    book.order("10.0.1.1".parse().unwrap(), said.parse().unwrap(), 1_000_000).unwrap();
    let overrides = Overrides::of(&book, NOW, 1000);
    weights(&desired(ordered(&director, &health, &overrides)))
}

#[test]
fn a_drained_server_takes_nothing_new_until_its_time_is_over_and_a_disabled_one_is_out() {
    let web = service(1, &[1, 2]);
    let both = [Some(true), Some(true)];
    for (said, want) in [
        ("drain", vec![(at(1), 0), (at(2), 1)]),
        ("drain 1001", vec![(at(1), 0), (at(2), 1)]),
        ("drain 1000", vec![(at(2), 1)]),
        ("disable", vec![(at(2), 1)]),
        ("weight 7", vec![(at(1), 7), (at(2), 1)]),
        ("weight 0", vec![(at(1), 0), (at(2), 1)]),
    ] {
        assert_eq!(commanded(&web, &both, said), want, "{said}");
    }
    let alone = [Some(true), Some(false)];
    assert_eq!(commanded(&web, &alone, "drain"), [(at(1), 0), (at(99), 1)], "the sorry server");
    let dead = [Some(false), Some(true)];
    assert_eq!(commanded(&web, &dead, "drain"), [(at(2), 1)], "nothing holds a dead one in");
    assert_eq!(commanded(&web, &dead, "weight 7"), [(at(2), 1)]);
}

#[test]
fn a_server_that_is_being_worked_on_counts_as_down_whatever_was_ordered() {
    let mut web = service(1, &[1, 2]);
    let (director, health) = judged(&web, &[Some(true), Some(true)]);
    let mut book = Book::default();
    book.order("10.0.1.1".parse().unwrap(), "weight 5".parse().unwrap(), 1).unwrap();
    let marked = ["10.0.1.1:80".parse().unwrap()];
    let overrides = Overrides::of(&book, NOW, 0).with_maintenance(&marked);
    assert_eq!(weights(&desired(ordered(&director, &health, &overrides))), [(at(2), 1)]);
    web.quiescent = true;
    let (director, health) = judged(&web, &[Some(true), Some(true)]);
    let table = desired(ordered(&director, &health, &overrides));
    assert_eq!(weights(&table), [(at(1), 0), (at(2), 1)]);
}
