//! Orders of operators: which counts, and how two books become one.

use super::*;
use crate::lvs::testing::{at, key};

const SOON: u64 = 1_732_000_000_000;

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn said(book: &Book) -> Vec<String> {
    book.commands().map(|(target, command)| format!("{target} = {command}")).collect()
}

fn full_of(book: &Book) -> Vec<Entry> {
    book.entries().collect()
}

#[test]
fn targets_and_commands_are_read_as_they_are_printed() {
    for text in [
        "10.0.1.1",
        "10.0.1.1:80",
        "2001:db8::6",
        "[2001:db8::6]:80",
        "10.0.1.1:80 of tcp 10.0.0.1:80",
        "10.0.1.1 of udp [2001:db8::1]:53",
        "10.0.1.1 of sctp 10.0.0.1:3868",
        "10.0.1.1 of fwm 7",
        "10.0.1.1 of fwm6 7",
    ] {
        assert_eq!(target(text).to_string(), text);
    }
    for text in ["drain", "drain 1732000000", "disable", "weight 0", "weight 65535", "enable"] {
        assert_eq!(text.parse::<Command>().unwrap().to_string(), text);
    }
    for wrong in
        ["", "web1", "10.0.1", "10.0.1.1:", "10.0.1.1:80 of dccp 1.2.3.4:5", "10.0.1.1 of fwm 0"]
    {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
    for wrong in ["", "Drain", "drain soon", "weight", "weight 65536", "weight -1", "drain 1 2"] {
        assert!(wrong.parse::<Command>().is_err(), "{wrong}");
    }
}

#[test]
fn the_longest_entry_fits_where_entries_are_told() {
    let six = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
    let target = target(&format!("{six} of sctp {six}"));
    let mut book = Book::default();
    book.order(target, Command::Drain { until: Some(u64::MAX) }, SOON).unwrap();
    assert!(full_of(&book)[0].text.len() <= ENTRY_MAX);
}

#[test]
fn the_order_that_says_most_about_a_server_counts() {
    let mut book = Book::default();
    for (text, command) in [
        ("10.0.1.1", Command::Disable),
        ("10.0.1.1:80", Command::Weight(3)),
        ("10.0.1.1 of tcp 10.0.0.2:80", Command::Weight(4)),
        ("10.0.1.1:80 of tcp 10.0.0.3:80", Command::Enable),
    ] {
        book.order(target(text), command, SOON).unwrap();
    }
    let all = Overrides::of(&book, Instant::BOOT, 0);
    let other_port = RealKey { port: 81, ..at(1) };
    assert_eq!(all.on(&key(1), &other_port), Some(Override::Disable));
    assert_eq!(all.on(&key(1), &at(1)), Some(Override::Weight(3)));
    assert_eq!(all.on(&key(2), &at(1)), Some(Override::Weight(4)));
    assert_eq!(all.on(&key(3), &at(1)), None, "enabled where all others are not");
    assert_eq!(all.on(&key(1), &at(2)), None);
}

#[test]
fn enable_ends_every_order_about_these_servers_only() {
    let mut book = Book::default();
    for text in ["10.0.1.1 of tcp 10.0.0.1:80", "10.0.1.1:80", "10.0.1.2"] {
        book.order(target(text), Command::Disable, SOON).unwrap();
    }
    book.order(target("10.0.1.1"), Command::Enable, SOON).unwrap();
    assert_eq!(said(&book), ["10.0.1.2 = disable"]);
    book.order(target("10.0.1.2:80 of tcp 10.0.0.1:80"), Command::Enable, SOON).unwrap();
    assert_eq!(said(&book).len(), 2, "an exception to what holds for all services");
    book.order(target("10.0.1.2"), Command::Enable, SOON).unwrap();
    assert_eq!((said(&book), book.digest()), (vec![], 0));
}

#[test]
fn books_that_have_told_each_other_everything_are_equal_in_whatever_order() {
    let (mut a, mut b) = (Book::default(), Book::default());
    a.order(target("10.0.1.1"), Command::Disable, SOON).unwrap();
    b.order(target("10.0.1.1"), Command::Weight(3), SOON).unwrap();
    b.order(target("10.0.1.2"), Command::Drain { until: None }, SOON + 5).unwrap();
    b.order(target("10.0.1.2"), Command::Enable, SOON + 6).unwrap();
    a.order(target("10.0.1.2"), Command::Disable, SOON).unwrap();
    let (of_a, of_b) = (full_of(&a), full_of(&b));
    assert!(a.merge(&of_b));
    let backwards: Vec<_> = of_a.into_iter().rev().collect();
    b.merge(&backwards);
    assert_eq!(a, b);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(said(&a), ["10.0.1.1 = weight 3"], "the later word counts, also an end");
    let again = full_of(&b);
    assert!(!a.merge(&again), "nothing new");
}

#[test]
fn a_clock_that_has_gone_back_does_not_make_an_order_old() {
    let mut book = Book::default();
    book.order(target("10.0.1.1"), Command::Disable, SOON).unwrap();
    let mut other = book.clone();
    book.order(target("10.0.1.1"), Command::Enable, 5).unwrap();
    assert!(other.merge(&full_of(&book)));
    assert!(said(&other).is_empty());
}

#[test]
fn a_full_book_forgets_what_has_ended_first_and_then_refuses() {
    let mut book = Book::default();
    let nth = |n: usize| target(&format!("10.1.{}.{}", n / 256, n % 256));
    for n in 0..OVERRIDES_MAX {
        book.order(nth(n), Command::Disable, SOON).unwrap();
    }
    assert_eq!(book.order(nth(OVERRIDES_MAX), Command::Disable, SOON), Err(Full));
    book.order(nth(0), Command::Enable, SOON).unwrap();
    book.order(nth(OVERRIDES_MAX), Command::Disable, SOON).unwrap();
    assert_eq!(book.entries().count(), OVERRIDES_MAX);
    assert!(!book.merge(&[Entry { stamp: u64::MAX, text: "10.9.9.9 = disable".to_owned() }]));
}

#[test]
fn what_a_later_version_says_is_left_alone() {
    let mut book = Book::default();
    for text in ["", "10.0.1.1", "10.0.1.1 = explode", "x = drain", " = ", "10.0.1.1 = drain x"] {
        assert!(!book.merge(&[Entry { stamp: 9, text: text.to_owned() }]), "{text}");
    }
    assert_eq!(book, Book::default());
}
