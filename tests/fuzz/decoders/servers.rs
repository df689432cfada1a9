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

pub(super) fn ldap(bytes: &[u8]) -> bool {
    judged(&replay::ldap(bytes))
}

pub(super) fn mysql(bytes: &[u8]) -> bool {
    judged(&replay::mysql(bytes))
}

pub(super) fn pgsql(bytes: &[u8]) -> bool {
    judged(&replay::pgsql(bytes))
}

pub(super) fn ftp(bytes: &[u8]) -> bool {
    judged(&replay::ftp(bytes))
}

pub(super) fn grpc(bytes: &[u8]) -> bool {
    judged(&replay::grpc(bytes))
}

pub(super) fn imap(bytes: &[u8]) -> bool {
    judged(&replay::imap(bytes))
}

pub(super) fn nntp(bytes: &[u8]) -> bool {
    judged(&replay::nntp(bytes))
}

pub(super) fn pop(bytes: &[u8]) -> bool {
    judged(&replay::pop(bytes))
}

pub(super) fn sip(bytes: &[u8]) -> bool {
    let datagram = replay::sip_datagram(bytes).is_some_and(|verdict| judged(&verdict));
    judged(&replay::sip(bytes)) || datagram
}

pub(super) fn smtp(bytes: &[u8]) -> bool {
    judged(&replay::smtp(bytes))
}

pub(super) fn text(bytes: &[u8]) -> bool {
    let datagram = judged(&replay::text_datagram(bytes));
    judged(&replay::text(bytes)) || datagram
}
