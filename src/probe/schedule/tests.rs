//! Phases, lists that change, and the two steps of an alternating check.

use super::*;
use crate::lvs::check::CheckFailure;
use crate::lvs::exchange::{Exchange, HttpCheck, HttpMethod, Wanted};
use crate::lvs::model::{Pace, Protocol, Retry};

const SECOND: Duration = Duration::from_secs(1);
const DOWN: Verdict = Verdict::Down(CheckFailure::Refused);

fn spec(id: u32, interval: Duration) -> CheckSpec {
    CheckSpec {
        id: CheckId(id),
        kind: CheckKind::Ping,
        address: [192, 0, 2, 1].into(),
        port: 0,
        source: None,
        interval,
        timeout: SECOND,
        pace: Pace::default(),
    }
}

fn specs(count: u32, interval: Duration) -> Vec<CheckSpec> {
    (0..count).map(|id| spec(id, interval)).collect()
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Lets every run end at once and returns when each check started, up to `until`.
fn play(schedule: &mut Schedule, until: Instant) -> BTreeMap<CheckId, Vec<Instant>> {
    let mut starts: BTreeMap<CheckId, Vec<Instant>> = BTreeMap::new();
    while schedule.deadline() <= until {
        let now = schedule.deadline();
        let runs = schedule.due(now, usize::MAX);
        assert!(!runs.is_empty(), "woken at {now} for nothing");
        for run in runs {
            starts.entry(run.spec.id).or_default().push(now);
            assert!(schedule.ended(now, run.id, &Verdict::Up));
        }
    }
    starts
}

#[test]
fn an_empty_list_has_nothing_due() {
    let mut schedule = Schedule::default();
    assert_eq!(schedule.deadline(), Instant::NEVER);
    assert!(schedule.due(ms(1000), 10).is_empty());
}

#[test]
fn new_checks_run_within_a_second_and_not_in_one_burst() {
    for (interval, burst) in [(10 * SECOND, 1000), (SECOND / 2, 500)] {
        let mut schedule = Schedule::default();
        schedule.replace(ms(5000), specs(100, interval));
        let mut started = 0;
        for now in (5000..=5000 + burst).step_by(10) {
            let runs = schedule.due(ms(now), usize::MAX).len();
            assert!(runs <= 2, "{runs} at {now}");
            started += runs;
        }
        assert_eq!(started, 100);
    }
}

#[test]
fn each_check_comes_once_an_interval_and_all_are_spread_over_it() {
    let mut schedule = Schedule::default();
    schedule.replace(ms(777), specs(1000, 10 * SECOND));
    let starts = play(&mut schedule, ms(100_000));
    for (id, starts) in &starts {
        let gaps: Vec<Duration> = starts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!((SECOND * 5..=SECOND * 15).contains(&gaps[0]), "{id:?} {:?}", gaps[0]);
        assert!(gaps[1..].iter().all(|gap| *gap == 10 * SECOND), "{id:?} {gaps:?}");
    }
    // In the steady state: each tenth of a second has 10 of the 1000, give or take a few.
    let mut tenths = vec![0; 100];
    for start in starts
        .values()
        .flatten()
        .filter(|start| (50_000..60_000).contains(&(start.as_nanos() / 1_000_000)))
    {
        tenths[usize::try_from(start.as_nanos() / 100_000_000 - 500).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (8..=12).contains(count)), "{tenths:?}");
}

/// The seconds in which checks of two intervals start: each has its share, give or take a tenth.
#[test]
fn two_thousand_checks_are_spread_and_no_second_has_many_more_than_another() {
    let mut schedule = Schedule::default();
    let interval = |id: u32| if id.is_multiple_of(2) { 10 * SECOND } else { 4 * SECOND };
    schedule.replace(ms(123), (0..2000).map(|id| spec(id, interval(id))).collect());
    let starts = play(&mut schedule, ms(80_000));
    let mut seconds = vec![0u32; 80];
    for start in starts.values().flatten() {
        let second = usize::try_from(start.as_nanos() / 1_000_000_000).unwrap();
        seconds[second.min(79)] += 1;
    }
    // A thousand in ten seconds, and a thousand in four.
    let share = 1000 / 10 + 1000 / 4;
    let steady = &seconds[30..79];
    assert!(steady.iter().all(|count| count.abs_diff(share) <= share / 10), "{steady:?}");
    // All of them once in the first second, and then none twice before half an interval.
    assert!(seconds[..2].iter().sum::<u32>() >= 2000, "{seconds:?}");
    assert!(seconds[2..].iter().all(|count| *count <= 2 * share), "{seconds:?}");
}

#[test]
fn a_change_of_the_list_keeps_the_phase_of_what_stays() {
    let mut undisturbed = Schedule::default();
    undisturbed.replace(ms(0), specs(10, 10 * SECOND));
    play(&mut undisturbed, ms(30_000));
    let mut changed = Schedule::default();
    changed.replace(ms(0), specs(10, 10 * SECOND));
    play(&mut changed, ms(30_000));

    let mut list = specs(20, 10 * SECOND);
    list.remove(3);
    assert_eq!(changed.replace(ms(30_001), list), []);
    let (expected, got) = (play(&mut undisturbed, ms(60_000)), play(&mut changed, ms(60_000)));
    for id in (0..10).map(CheckId) {
        let expected = if id.0 == 3 { None } else { expected.get(&id) };
        assert_eq!(got.get(&id), expected, "{id:?}");
    }
    for id in (10..20).map(CheckId) {
        assert!(got[&id][0] < ms(31_001), "{id:?} is new and runs soon: {:?}", got[&id]);
    }
}

#[test]
fn a_check_never_runs_twice_at_a_time_and_a_long_one_falls_back_into_its_phase() {
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), vec![spec(0, SECOND)]);
    let run = schedule.due(ms(0), 10).remove(0);
    assert_eq!(schedule.deadline(), Instant::NEVER);
    assert!(schedule.due(ms(3000), 10).is_empty());
    assert!(schedule.ended(ms(3200), run.id, &DOWN));
    assert_eq!(schedule.deadline(), ms(4000));
}

#[test]
fn without_room_the_longest_waiting_come_first() {
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), specs(5, SECOND));
    let first: Vec<_> = schedule.due(ms(2000), 2).iter().map(|run| run.spec.id.0).collect();
    let rest: Vec<_> = schedule.due(ms(2000), 9).iter().map(|run| run.spec.id.0).collect();
    assert_eq!((first, rest), (vec![0, 1], vec![2, 3, 4]));
}

#[test]
fn a_run_of_a_check_that_left_or_changed_is_aborted_and_counts_for_nothing() {
    for list in [vec![], vec![spec(0, 2 * SECOND)]] {
        let mut schedule = Schedule::default();
        schedule.replace(ms(0), vec![spec(0, SECOND)]);
        let run = schedule.due(ms(0), 1).remove(0);
        assert_eq!(schedule.replace(ms(10), list.clone()), [run.id]);
        let fresh = schedule.due(ms(10), 1);
        assert_eq!(fresh.len(), list.len(), "a changed check runs at once");
        assert!(!schedule.ended(ms(20), run.id, &DOWN));
        for run in fresh {
            assert!(schedule.ended(ms(20), run.id, &Verdict::Up));
            assert!(!schedule.ended(ms(20), run.id, &Verdict::Up), "once only");
        }
    }
}

#[test]
fn an_unchanged_list_aborts_nothing() {
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), specs(3, SECOND));
    let runs = schedule.due(ms(500), 9);
    assert!(!runs.is_empty());
    assert_eq!(schedule.replace(ms(600), specs(3, SECOND)), []);
    for run in runs {
        assert!(schedule.ended(ms(700), run.id, &Verdict::Up));
    }
}

#[test]
fn a_zero_interval_is_no_busy_loop() {
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), vec![spec(1, Duration::ZERO)]);
    let starts = play(&mut schedule, ms(1000));
    assert!((99..=102).contains(&starts[&CheckId(1)].len()), "{starts:?}");
}

#[test]
fn a_check_alternates_and_negotiates_after_a_failure() {
    let negotiate = Exchange::Http(HttpCheck {
        tls: None,
        method: HttpMethod::Get,
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        login: None,
        want: Wanted::default(),
    });
    let kind = CheckKind::Alternate { connects: 2, negotiate };
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), vec![CheckSpec { kind, ..spec(1, SECOND) }]);
    // What each run is, and how it ends.
    for (place, (step, verdict)) in [
        ("negotiate", Verdict::Up),
        ("connect", Verdict::Up),
        ("connect", Verdict::Up),
        ("negotiate", Verdict::Up),
        ("connect", DOWN),
        ("negotiate", DOWN),
        ("negotiate", Verdict::Up),
        ("connect", Verdict::Up),
        ("connect", DOWN),
        ("negotiate", Verdict::Up),
    ]
    .into_iter()
    .enumerate()
    {
        let now = schedule.deadline();
        let run = schedule.due(now, 1).remove(0);
        let got = match &run.spec.kind {
            CheckKind::Negotiate(_) => "negotiate",
            CheckKind::Connect(Protocol::Tcp) => "connect",
            other => panic!("{other:?}"),
        };
        assert_eq!(got, step, "run {place}");
        assert!(schedule.ended(now, run.id, &verdict));
    }
}

/// Lets the first check of `schedule` run and end at once with `verdict`; returns when it ran.
fn step(schedule: &mut Schedule, verdict: &Verdict) -> Instant {
    let now = schedule.deadline();
    let runs = schedule.due(now, usize::MAX);
    assert_eq!(runs.len(), 1);
    assert!(schedule.ended(now, runs[0].id, verdict));
    now
}

#[test]
fn a_failure_is_confirmed_soon_and_a_server_that_is_out_is_checked_at_its_interval() {
    let retry = Some(Retry { after: SECOND / 2, failures: 3 });
    let pace = Pace { retry, warmup: None };
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), vec![CheckSpec { pace, ..spec(1, 10 * SECOND) }]);
    step(&mut schedule, &Verdict::Up);
    let first = step(&mut schedule, &DOWN);
    let second = step(&mut schedule, &DOWN);
    let third = step(&mut schedule, &DOWN);
    assert_eq!(second.since(first), SECOND / 2);
    assert_eq!(third.since(second), SECOND / 2);
    let phase = |at: Instant| at.as_nanos() % 10_000_000_000;
    let fourth = step(&mut schedule, &DOWN);
    assert_eq!(phase(fourth), phase(first), "three in a row: back to the interval");
    step(&mut schedule, &Verdict::Up);
    let again = step(&mut schedule, &DOWN);
    assert_eq!(step(&mut schedule, &Verdict::Up).since(again), SECOND / 2);
}

#[test]
fn a_warm_up_spreads_the_first_checks_over_its_span() {
    let pace = Pace { retry: None, warmup: Some(20 * SECOND) };
    let specs = specs(100, 10 * SECOND).into_iter().map(|spec| CheckSpec { pace, ..spec });
    let mut schedule = Schedule::default();
    schedule.replace(ms(0), specs.collect());
    for second in 0..20 {
        let runs = schedule.due(ms(second * 1000), usize::MAX).len();
        assert!(runs <= 5, "{runs} at {second}");
    }
    assert_eq!(schedule.due(ms(20_000), usize::MAX).len(), 4);
}
