//! Golden scenarios: what two nodes say and do, as text.
//!
//! Each file in `tests/golden/` is a script, a line `----`, and the transcript of it.
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes the transcripts anew; commit only differences
//! that you understand. The language is in `tests/golden/README.md`.
#![expect(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test program: whatever is wrong in it may end it; the world has more than it needs"
)]

#[path = "sim/checks.rs"]
mod checks;
#[path = "sim/outside.rs"]
mod outside;
#[path = "sim/promises.rs"]
mod promises;
#[path = "sim/rng.rs"]
mod rng;
#[path = "golden/script.rs"]
mod script;
#[path = "sim/session.rs"]
mod session;
#[path = "sim/world.rs"]
mod world;

use std::fs;
use std::path::PathBuf;

const RULE: &str = "----\n";

#[test]
fn every_scenario_runs_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    files.sort();
    assert!(!files.is_empty());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differ = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let (script, want) = text.split_once(RULE).unwrap_or((text.as_str(), ""));
        let got = script::run(script).join("\n") + "\n";
        if got == want {
            continue;
        }
        if update {
            fs::write(&path, format!("{script}{RULE}{got}")).unwrap();
        } else {
            differ.push(format!("{}\n{}", path.display(), difference(want, &got)));
        }
    }
    assert!(differ.is_empty(), "{}\nUPDATE_GOLDEN=1 rewrites them", differ.join("\n"));
}

/// The first line that differs, with a little of what stands before it.
fn difference(want: &str, got: &str) -> String {
    let (want, got): (Vec<&str>, Vec<&str>) = (want.lines().collect(), got.lines().collect());
    let first = want.iter().zip(&got).take_while(|(want, got)| want == got).count();
    let before = got[first.saturating_sub(3)..first].join("\n");
    let line = |lines: &[&str]| lines.get(first).copied().unwrap_or("(the end)").to_owned();
    format!("line {}:\n{before}\n-{}\n+{}", first + 1, line(&want), line(&got))
}
