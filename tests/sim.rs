//! The deterministic simulator: random histories of two nodes, every one from its seed.
//!
//! `PAIRBEAT_SIM_SEED=17` replays one history and prints it. `PAIRBEAT_SIM_SEEDS=10000` sets how
//! many are tried (CI: 10,000, in the `lab` profile). A violation prints the seed, the command that
//! replays it, and the history.
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
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/session.rs"]
mod session;
#[path = "sim/world.rs"]
mod world;

use history::History;

/// For `cargo test`: a second or two.
const SEEDS_DEFAULT: u64 = 300;

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
    let seeds = number("PAIRBEAT_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    for seed in first..first + seeds {
        let (_, failure) = History::run(seed, false);
        if failure.is_some() {
            fail(seed);
        }
    }
}
