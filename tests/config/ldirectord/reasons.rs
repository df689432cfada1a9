//! Why a file is read otherwise than by ldirectord: the whole list.
//!
//! A reason counts only where it was said: in our own words when the file is refused or means
//! something else, and by a warning when ldirectord refuses it.

use pairbeat::config::diag::{Diagnostic, Severity};

/// Our fault, and why it is one although ldirectord takes the file.
const REFUSED: &[(&str, &str)] = &[
    ("has no port", "a VIP without a port is no firewall mark"),
    ("is not a whole number of 1 or more", "there is no firewall mark 0"),
    ("port 0 is every port", "the kernel refuses it"),
    ("is not a weight", "the kernel refuses it"),
    ("is not a whole number of 1 to 2678400", "ipvsadm refuses it"),
    ("look-around", "no look-around and no back-references: no answer can make a check slow"),
    ("backreferences", "no look-around and no back-references: no answer can make a check slow"),
    ("is not a whole number of 1 to 86400", "a check is made once a day at least"),
    ("not a regular expression that can be used", "ldirectord dies of it at the first check"),
    ("no sorry server", "nothing is not 127.0.0.1"),
    ("is not a netmask", "ipvsadm refuses it"),
    ("is neither an address nor a known host", "ldirectord looks at a part of the word only"),
    ("is not a flag of a scheduler", "ipvsadm refuses it"),
    ("in a check of service=", "it would be asked for as a path"),
    ("a request has no blanks", "no HTTP request has such a thing"),
    ("no port to check at", "the check would always fail"),
    ("needs a login", "the check would always fail"),
    ("nothing that the proxy", "the check would always fail"),
    ("is not a name that a name server", "no name server could know it"),
    ("is not a host name", "no HTTP request has such a thing"),
];

/// What ldirectord says of a file that we take.
pub(super) struct Accepted {
    /// Part of its message.
    err: &'static str,
    pub(super) why: &'static str,
    /// There is nothing to warn about.
    pub(super) silent: bool,
}

const fn warned(err: &'static str, why: &'static str) -> Accepted {
    Accepted { err, why, silent: false }
}

const fn silent(err: &'static str, why: &'static str) -> Accepted {
    Accepted { err, why, silent: true }
}

const ACCEPTED: &[Accepted] = &[
    warned("Unknown command", "indents, blank lines, letter case, quotes: the meaning is clear"),
    // A blank behind the word is nothing that anybody sees.
    silent("must be 'yes' or 'no'", "blanks, comments, other words: the meaning is clear"),
    warned("duplicate virtual server", "ldirectord reads a last line without servers twice"),
    warned("invalid address for virtual server", "quotes: the meaning is clear"),
    warned("invalid SMTP server address", "quotes: the meaning is clear"),
    warned("forward method must be", "a comment: the meaning is clear"),
    warned("Invalid real server line", "a blank before a comma: the meaning is clear"),
    warned("IPv6 is not supported", "ranges of IPv6 addresses"),
    warned("\"virtual6\" instead", "the address says its family"),
    warned("please use \"fallback", "the other family's sorry server is not used"),
    silent("dotted quad notation", "a prefix length is as clear"),
    silent("unable to open", "reading opens no log and no monitorfile"),
    silent(
        "invalid port for fallback",
        "a port name is looked up for the service's protocol alone",
    ),
];

/// What we say, and the values that differ then.
const OTHERWISE: &[(&str, &[&str], &str)] = &[
    ("is ignored", &["virtualhost"], "a host name has no blanks"),
    (
        "this server's own request and receive are used",
        &["request", "receive", "l-threshold", "u-threshold"],
        "ldirectord ignores what a line says behind a request with a slash",
    ),
    ("`u:` before `l:` counts too", &["u-threshold"], "ldirectord forgets `u:` before `l:`"),
    (
        "an IPv4 address in brackets",
        &["server", "port"],
        "ldirectord takes the port for the address",
    ),
    ("one colon too many", &["server", "port"], "ldirectord takes the port for the address"),
    (
        "ldirectord takes these quotes as part of the value",
        &["execute", "maintdir", "fallbackcommand"],
        "quotes are not part of a name",
    ),
    (
        "a range is all addresses",
        &["server", "port", "forward", "weight"],
        "ldirectord compares addresses as texts and finds no server",
    ),
];

/// The reason of a refusal: every fault must have one; that of the first is given.
pub(super) fn refused(found: &[Diagnostic]) -> Option<&'static str> {
    let mut first = None;
    for fault in found.iter().filter(|found| found.severity == Severity::Fault) {
        let (_, why) = REFUSED.iter().find(|(ours, _)| fault.message.contains(ours))?;
        first = first.or(Some(*why));
    }
    first
}

pub(super) fn accepted(err: &str) -> Option<&'static Accepted> {
    ACCEPTED.iter().find(|reason| err.contains(reason.err))
}

/// The reason why the value `key` differs.
pub(super) fn otherwise(key: &str, found: &[Diagnostic]) -> Option<&'static str> {
    let said = |ours: &str| found.iter().any(|found| found.message.contains(ours));
    let named = |keys: &[&str]| key.split(' ').any(|word| keys.contains(&word));
    OTHERWISE.iter().find(|(ours, keys, _)| said(ours) && named(keys)).map(|(_, _, why)| *why)
}

/// Every reason, for the page that explains them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let refused = REFUSED.iter().map(|(_, why)| *why);
    let accepted = ACCEPTED.iter().map(|reason| reason.why);
    refused.chain(accepted).chain(OTHERWISE.iter().map(|(_, _, why)| *why))
}
