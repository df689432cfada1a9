use super::*;
use crate::lvs::testing::{director, down, real, service, up};

const T: fn(u64) -> Instant = Instant::from_millis;

fn health(services: Vec<VirtualService>) -> Health {
    let mut health = Health::default();
    health.configure(T(0), &[director(services)]).unwrap();
    health
}

#[test]
fn identical_checks_are_one_check() {
    let mut other = service(2, &[1, 2]);
    let same = health(vec![service(1, &[1, 2]), other.clone()]);
    assert_eq!(same.specs().len(), 2);
    other.timeout = Duration::from_secs(2);
    let different = health(vec![service(1, &[1, 2]), other]);
    assert_eq!(different.specs().len(), 4);
}

#[test]
fn a_shared_check_is_counted_once() {
    let (mut first, mut second) = (service(1, &[1]), service(2, &[1]));
    (first.fall, second.fall) = (3, 3);
    let mut health = health(vec![first.clone(), second.clone()]);
    let id = health.specs()[0].id;
    assert!(health.record(T(1), &up(id)));
    assert!(!health.record(T(2), &down(id)));
    assert!(!health.record(T(3), &down(id)), "two failures, not four");
    assert!(health.record(T(4), &down(id)));
    for service in [&first, &second] {
        let standing = health.standing(service, &service.reals[0]);
        assert_eq!(standing.state, State::Down(Some(CheckFailure::Refused)));
        assert_eq!((standing.since, standing.failures), (T(4), 3));
    }
}

#[test]
fn each_service_has_its_own_limits() {
    let (first, mut second) = (service(1, &[1]), service(2, &[1]));
    second.fall = 2;
    let mut health = health(vec![first.clone(), second.clone()]);
    let id = health.specs()[0].id;
    health.record(T(1), &up(id));
    assert!(health.record(T(2), &down(id)));
    assert!(!health.standing(&first, &first.reals[0]).state.is_up());
    assert!(health.standing(&second, &second.reals[0]).state.is_up());
}

#[test]
fn rise_counts_for_a_server_that_was_down_and_not_for_the_first_verdict() {
    let mut web = service(1, &[1]);
    web.rise = 2;
    let mut health = health(vec![web.clone()]);
    let id = health.specs()[0].id;
    assert_eq!(health.standing(&web, &web.reals[0]).state, State::Unknown);
    assert!(health.record(T(1), &up(id)), "the first one decides alone");
    assert!(health.record(T(2), &down(id)));
    assert!(!health.record(T(3), &up(id)));
    assert!(!health.record(T(4), &down(id)), "the row is broken");
    assert!(!health.record(T(5), &up(id)));
    assert!(health.record(T(6), &up(id)));
    assert_eq!(health.standing(&web, &web.reals[0]).since, T(6));
}

#[test]
fn on_is_up_and_off_is_down_without_a_check() {
    let mut web = service(1, &[1, 2]);
    (web.reals[0].check, web.reals[1].check) = (CheckKind::On, CheckKind::Off);
    let health = health(vec![web.clone()]);
    assert!(health.is_complete());
    assert_eq!(health.specs(), []);
    assert_eq!(health.standing(&web, &web.reals[0]).state, State::Up);
    assert_eq!(health.standing(&web, &web.reals[1]).state, State::Down(None));
}

#[test]
fn a_reload_keeps_verdicts_of_unchanged_checks_and_their_numbers() {
    let web = service(1, &[1, 2]);
    let mut health = health(vec![web.clone()]);
    let before = health.specs();
    health.record(T(1), &up(before[0].id));
    let mut wider = service(1, &[1, 2, 3]);
    wider.fall = 4;
    health.configure(T(2), &[director(vec![wider.clone()])]).unwrap();
    assert_eq!(health.specs()[..2], before);
    assert_eq!(health.standing(&wider, &real(1)).state, State::Up, "under the new limit too");
    assert_eq!(health.standing(&wider, &real(3)).state, State::Unknown);
    let gone = before[1].id;
    health.configure(T(3), &[director(vec![service(1, &[1])])]).unwrap();
    assert!(!health.record(T(4), &down(gone)), "a late verdict on a removed check");
    health.configure(T(5), &[director(vec![web.clone()])]).unwrap();
    assert!(health.specs().iter().all(|spec| spec.id != gone), "numbers are used once");
    assert_eq!(health.standing(&web, &real(2)).state, State::Unknown);
}

#[test]
fn too_many_checks_change_nothing() {
    let mut health = health(vec![service(1, &[1])]);
    let before = health.specs();
    let mut huge = service(1, &[]);
    for port in 0..=u16::try_from(CHECKS_MAX).unwrap() {
        huge.reals.push(RealServer { check_port: port, ..real(1) });
    }
    let refused = health.configure(T(1), &[director(vec![huge])]);
    assert_eq!(refused, Err(TooManyChecks { checks: CHECKS_MAX + 1 }));
    assert_eq!(health.specs(), before);
}

#[test]
fn what_hinders_our_own_checks_is_no_verdict_on_a_server_that_has_one() {
    let web = service(1, &[1]);
    let mut health = health(vec![web.clone()]);
    let id = health.specs()[0].id;
    let why = "Too many open files".to_owned();
    let verdict = Verdict::Down(CheckFailure::Local(why.clone()));
    let hindered = CheckResult { id, verdict, warning: None, took_us: 1 };
    assert!(health.record(T(1), &hindered), "a server that was never seen is not taken in");
    assert!(health.record(T(2), &up(id)));
    for at in 3..10 {
        assert!(!health.record(T(at), &hindered));
    }
    let standing = health.standing(&web, &web.reals[0]);
    assert_eq!((standing.state, standing.failures), (State::Up, 0));
    assert_eq!(standing.hindered, Some(why));
    assert!(health.record(T(10), &down(id)));
    assert_eq!(health.standing(&web, &web.reals[0]).hindered, None);
}
