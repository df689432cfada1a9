//! What real servers say to the checks.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::probe::replay;

/// Whether a server that says this is up; what is shown of its words is fit to be shown, and the
/// check never waits for more than the server has said.
fn judged(verdict: &Verdict) -> bool {
    let Verdict::Down(failure) = verdict else { return true };
    assert!(!matches!(failure, CheckFailure::Local(_)), "{failure}");
    let shown = failure.to_string();
    assert!(!shown.contains(char::is_control) && shown.chars().count() < 200, "{shown:?}");
    false
}

pub(super) fn dns(bytes: &[u8]) -> bool {
    replay::dns(bytes).is_some_and(|verdict| judged(&verdict))
}

pub(super) fn radius(bytes: &[u8]) -> bool {
    replay::radius(bytes).is_some_and(|verdict| judged(&verdict))
}

pub(super) fn redis(bytes: &[u8]) -> bool {
    judged(&replay::redis(bytes))
}
