//! The deterministic simulator: random histories of two nodes, every one from its seed.
//!
//! `PAIRBEAT_SIM_SEED=17` replays one history and prints it. `PAIRBEAT_SIM_SEEDS=10000` sets how
//! many are tried, on every core of the machine (CI: 100,000, in the `lab` profile). A violation
//! prints the seed, the command that replays it, and the history. What is asserted, and which faults
//! there are, stands in docs/SIMULATOR.md.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test program: whatever is wrong in it may end it"
)]

#[path = "sim/checks.rs"]
mod checks;
#[path = "sim/history.rs"]
mod history;
#[path = "sim/outside.rs"]
mod outside;
#[path = "sim/promises.rs"]
mod promises;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/session.rs"]
mod session;
#[path = "sim/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use history::History;

/// For `cargo test`: a second or two.
const SEEDS_DEFAULT: u64 = 300;

/// Broken histories after which a run ends: as many as somebody wants to look at in one go.
const BROKEN_MAX: usize = 8;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn fail(seeds: &[u64]) -> ! {
    let said = seeds.iter().map(|seed| {
        // The same history again, this time written down.
        let (trace, failure) = History::run(*seed, true);
        let failure = failure
            .unwrap_or_else(|| "not repeated: the simulator is not deterministic".to_owned());
        (trace, format!("seed {seed}: {failure}"))
    });
    let (traces, faults): (Vec<_>, Vec<_>) = said.unzip();
    panic!(
        "{}\n{}\nreplay: PAIRBEAT_SIM_SEED={} cargo test --test sim -- --nocapture",
        traces.first().map(|trace| trace.join("\n")).unwrap_or_default(),
        faults.join("\n"),
        seeds.first().copied().unwrap_or_default()
    );
}

#[test]
fn no_random_history_breaks_an_invariant() {
    if let Some(seed) = number("PAIRBEAT_SIM_SEED") {
        let (trace, failure) = History::run(seed, true);
        println!("{}", trace.join("\n"));
        assert_eq!(failure, None, "seed {seed}");
        return;
    }
    let first = number("PAIRBEAT_SIM_FIRST").unwrap_or(0);
    let seeds = number("PAIRBEAT_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let broken = broken(first, first + seeds);
    if !broken.is_empty() {
        fail(&broken);
    }
}

/// The seeds of `next..end` whose histories break something, until there are [`BROKEN_MAX`] of
/// them. Every worker takes the next seed that nobody has.
fn broken(next: u64, end: u64) -> Vec<u64> {
    let (next, broken) = (AtomicU64::new(next), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || broken.lock().unwrap().len() >= BROKEN_MAX {
                        break;
                    }
                    if History::run(seed, false).1.is_some() {
                        broken.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort_unstable();
    broken
}

/// The longest split that Heartbeat users know is the second one: every heal must be as the first.
#[test]
fn a_pair_that_is_split_and_healed_a_thousand_times_serves_once_each_time() {
    let (trace, failure) = History::splits(1000);
    assert_eq!(failure, None, "{}", trace.join("\n"));
}
