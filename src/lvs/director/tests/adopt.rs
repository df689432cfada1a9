//! Changes that are made to the kernel's table by hand.

use super::*;
use crate::lvs::model::Director;

/// Servers 1 and 2 of service 1 are up; what is done by hand counts, or not.
fn world(adopt: bool) -> World {
    let mut world = World::new();
    let director = Director { adopt, ..director(vec![service(1, &[1, 2])]) };
    world.tell(Input::Configure { directors: vec![director], owned: BTreeSet::new() });
    world.verdict(1, true);
    world.verdict(2, true);
    world.seconds(1);
    world.take_events();
    world
}

fn dests(world: &mut World) -> &mut BTreeMap<RealKey, DestEntry> {
    &mut world.kernel.0.get_mut(&key(1)).unwrap().dests
}

const FIRST: &str = "10.0.1.1:80 of tcp 10.0.0.1:80";

#[test]
fn a_weight_set_by_hand_stays_and_is_an_order_where_such_changes_are_adopted() {
    let mut world = world(true);
    dests(&mut world).get_mut(&at(1)).unwrap().weight = 0;
    world.seconds(2);
    assert_eq!(world.take_events(), [format!("ordered by hand in the kernel: weight 0 {FIRST}")]);
    assert_eq!(world.pool(1), [(at(1), 0), (at(2), 1)]);
    world.verdict(1, false);
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 0), (at(2), 1)], "ldirectord would put it back here");
    let said: Vec<_> = world.book.commands().map(|(t, c)| format!("{c} {t}")).collect();
    assert_eq!(said, [format!("weight 0 {FIRST}")]);
    dests(&mut world).get_mut(&at(1)).unwrap().weight = 1;
    world.seconds(2);
    assert_eq!(world.book.commands().count(), 0, "as configured: the order is over");
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)]);
}

#[test]
fn several_changes_at_once_are_all_orders_and_none_is_undone_for_a_moment() {
    let mut world = world(true);
    world.ops.clear();
    for n in [1, 2] {
        dests(&mut world).get_mut(&at(n)).unwrap().weight = u32::from(n) * 10;
    }
    world.seconds(2);
    assert_eq!(world.pool(1), [(at(1), 10), (at(2), 20)]);
    assert_eq!(world.ops, NONE);
    assert_eq!(world.book.commands().count(), 2);
}

#[test]
fn a_server_taken_out_by_hand_stays_out_until_it_is_put_in_by_hand() {
    let mut world = world(true);
    let dest = dests(&mut world).remove(&at(1)).unwrap();
    world.seconds(60);
    assert_eq!(world.pool(1), [(at(2), 1)]);
    dests(&mut world).insert(at(1), dest);
    world.seconds(60);
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)]);
    assert_eq!(world.book.commands().count(), 0);
}

#[test]
fn what_no_order_can_say_is_put_back_all_the_same() {
    let mut world = world(true);
    world.kernel.0.clear();
    world.seconds(2);
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)], "flushed");
    dests(&mut world).insert(at(9), DestEntry::new(Forwarding::Gate, 1));
    world.seconds(2);
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)], "a stranger");
    dests(&mut world).clear();
    world.seconds(2);
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)], "emptied");
    assert_eq!(world.book.commands().count(), 0);
}

#[test]
fn unless_told_otherwise_changes_made_by_hand_are_put_back() {
    let mut world = world(false);
    dests(&mut world).get_mut(&at(1)).unwrap().weight = 0;
    world.seconds(2);
    let service = "tcp 10.0.0.1:80";
    let said = [
        format!("somebody else changed {service} in the kernel"),
        format!("{service} put back as configured"),
    ];
    assert_eq!(world.take_events(), said);
    assert_eq!(world.pool(1), [(at(1), 1), (at(2), 1)]);
}
