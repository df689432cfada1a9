//! The deterministic simulator: random histories of two nodes, every one from its seed.
//!
//! `PAIRBEAT_SIM_SEED=17` replays one history and prints it. `PAIRBEAT_SIM_SEEDS=10000` sets how
//! many are tried (CI: 100,000, in the `lab` profile), `PAIRBEAT_SIM_FIRST` the first of them,
//! `PAIRBEAT_SIM_THREADS` on how many cores (default: all). A violation prints the lowest seed, the
//! command that replays it, and the history. What is asserted stands in docs/SIMULATOR.md.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::panic,
    reason = "a test program: whatever is wrong in it may end it"
)]

#[path = "sim/checks.rs"]
mod checks;
#[path = "sim/hardship.rs"]
mod hardship;
#[path = "sim/history.rs"]
mod history;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/session.rs"]
mod session;
#[path = "sim/world.rs"]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use history::History;

/// For `cargo test`: a second or two.
const SEEDS_DEFAULT: u64 = 300;
/// From one sign of life to the next, in long runs.
const PROGRESS_EVERY: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn fail(seed: u64) -> ! {
    // The same history again, this time written down.
    let (trace, failure) = History::run(seed, true);
    let failure =
        failure.unwrap_or_else(|| "not repeated: the simulator is not deterministic".to_owned());
    panic!(
        "{}\nseed {seed}: {failure}\nreplay: PAIRBEAT_SIM_SEED={seed} cargo test --test sim -- --nocapture",
        trace.join("\n")
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
    let end = first + number("PAIRBEAT_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("PAIRBEAT_SIM_THREADS").map_or(cores, |threads| threads as usize);
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(u64::MAX));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The lowest failing seed is found, whoever has it.
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.min(failed.load(Ordering::Relaxed)) {
                        return;
                    }
                    if History::run(seed, false).1.is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                    if (seed + 1 - first).is_multiple_of(PROGRESS_EVERY) {
                        println!("{} histories", seed + 1 - first);
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        u64::MAX => {}
        seed => fail(seed),
    }
}
