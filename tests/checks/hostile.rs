//! Servers that mean harm, or are broken: whatever they do, a check of them ends in time as failed,
//! with a cause, and keeps little of what it is sent.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::Exchange;
use pairbeat::probe::tls::Trust;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::protocols::{Dialog, dialogs};
use crate::rig::{PATIENCE, Place, outcome, run, spec};
use crate::script::Act::{self, *};
use crate::script::{Scripted, acceptor};

/// Of each check here.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);
/// What may come on top where the machine is ours alone, and is counted.
const OVER: Duration = Duration::from_millis(100);
/// What may come on top on a machine that does many other things.
const OVER_MAX: Duration = Duration::from_secs(10);
/// Checks at the same time.
pub(crate) const AT_ONCE: usize = 24;
/// Most memory that all of it may take, the servers included; see docs/MEASURED.md.
const MEMORY_MAX_KB: u64 = 192 * 1024;

/// One server that does harm, and what it must be called.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) exchange: Exchange,
    pub(crate) script: Vec<Act>,
    pub(crate) causes: &'static [&'static str],
}

/// What a server does instead of what it should say.
pub(crate) struct Behaviour {
    pub(crate) name: &'static str,
    pub(crate) acts: fn(&Dialog, &[u8]) -> Vec<Act>,
    pub(crate) causes: &'static [&'static str],
}

const ANY_ANSWER: &[&str] = &["protocol", "answer", "login", "no match", "closed", "timeout"];
const TOO_MUCH: &[&str] =
    &["too large", "too many lines", "protocol", "no match", "answer", "login", "timeout"];

pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    Behaviour { name: "is silent", acts: |_, _| vec![Stay], causes: &["timeout"] },
    Behaviour { name: "reads nothing", acts: |_, _| vec![Freeze], causes: &["timeout"] },
    Behaviour { name: "closes", acts: |_, _| vec![Close], causes: &["closed"] },
    Behaviour { name: "resets", acts: |_, _| vec![Reset], causes: &["closed"] },
    Behaviour { name: "half-closes", acts: |_, _| vec![HalfClose, Stay], causes: &["closed"] },
    Behaviour {
        name: "says one byte a second",
        acts: |_, good| vec![Drip(good.to_vec())],
        causes: &["timeout"],
    },
    Behaviour {
        name: "stops in the middle",
        acts: |_, good| vec![Say(half(good)), Stay],
        causes: &["timeout"],
    },
    Behaviour {
        name: "closes in the middle",
        acts: |_, good| vec![Say(half(good)), Close],
        causes: &["closed", "no match"],
    },
    Behaviour {
        name: "resets in the middle",
        acts: |_, good| vec![Say(half(good)), Reset],
        causes: &["closed", "no match"],
    },
    Behaviour {
        name: "says NULs",
        acts: |_, _| vec![Say([vec![0; 1000], b"\r\n".to_vec()].concat()), Stay],
        causes: ANY_ANSWER,
    },
    Behaviour {
        name: "says NULs without end",
        acts: |_, _| vec![Endless(vec![0; 4096])],
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "says what nobody understands",
        acts: |_, _| vec![Say(noise(2000)), Close],
        causes: ANY_ANSWER,
    },
    Behaviour {
        name: "says what nobody understands without end",
        acts: |_, _| vec![Endless(noise(4096))],
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "says a line without end",
        acts: |_, good| {
            vec![Say(good.get(..3).unwrap_or_default().to_vec()), Endless(vec![b'x'; 4096])]
        },
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "says lines without end",
        acts: |_, _| vec![Endless(b"x\r\n".repeat(1000))],
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "says empty lines without end",
        acts: |_, _| vec![Endless(b"\r\n".repeat(1000))],
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "begins its answer without end",
        acts: |dialog, _| vec![Endless(dialog.more.repeat(200))],
        causes: TOO_MUCH,
    },
    Behaviour {
        name: "speaks another protocol",
        acts: |_, _| vec![Say(b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()), Close],
        causes: ANY_ANSWER,
    },
    Behaviour {
        name: "says no",
        acts: |dialog, _| vec![Say(dialog.no.to_vec()), Close],
        causes: &["answer", "login", "no match", "status"],
    },
    Behaviour {
        name: "says a number that is none",
        acts: |_, _| vec![Say(b"99999999999999999999 x\r\n".to_vec()), Close],
        causes: ANY_ANSWER,
    },
];

fn half(good: &[u8]) -> Vec<u8> {
    good.get(..good.len() / 2).unwrap_or_default().to_vec()
}

/// The same bytes in every run, no good beginning of anything.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes().first().map_or(0, |byte| byte | 0x80)
    };
    (0..length).map(next).collect()
}

pub(crate) fn cause(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Said(advice) => panic!("{advice:?} of no agent"),
        Verdict::Up => "up",
        Verdict::Down(failure) => match failure {
            CheckFailure::Refused => "refused",
            CheckFailure::Unreachable => "unreachable",
            CheckFailure::Timeout { .. } => "timeout",
            CheckFailure::Closed => "closed",
            CheckFailure::Protocol(_) => "protocol",
            CheckFailure::Status(_) => "status",
            CheckFailure::Answer(_) => "answer",
            CheckFailure::Login(_) => "login",
            CheckFailure::NoMatch(_) => "no match",
            CheckFailure::TooLarge(_) => "too large",
            CheckFailure::TooManyLines(_) => "too many lines",
            CheckFailure::Tls(_) => "tls",
            _ => "another",
        },
    }
}

/// Each behaviour in place of each thing that a good server says, in each protocol.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for dialog in dialogs() {
        let says = dialog.script.iter().enumerate();
        let says = says.filter_map(|(at, act)| match act {
            Say(good) => Some((at, good)),
            _ => None,
        });
        for (at, good) in says {
            for behaviour in BEHAVIOURS {
                let mut script = dialog.script.get(..at).unwrap_or_default().to_vec();
                script.extend((behaviour.acts)(&dialog, good));
                cases.push(Case {
                    name: format!("{} {} at {at}", dialog.name, behaviour.name),
                    exchange: dialog.exchange.clone(),
                    script,
                    causes: behaviour.causes,
                });
            }
        }
    }
    cases
}

/// What comes of one case, and how long it took.
async fn tried(
    case: &Case,
    acceptor: TlsAcceptor,
    trust: &dyn Fn() -> Trust,
) -> (Verdict, Duration) {
    let server = Scripted::open(case.script.clone(), Some(acceptor)).await;
    let (verdict, took) = judged_at(&case.exchange, server.address, trust()).await;
    // On a busy machine a server may be too slow to do harm in time: then it gets more of it.
    if cause(&verdict) == "timeout" && !case.causes.contains(&"timeout") {
        let spec = spec(case.exchange.clone(), server.address, PATIENCE);
        return (outcome(&spec, trust()).await, took);
    }
    (verdict, took)
}

pub(crate) async fn judged_at(
    exchange: &Exchange,
    at: SocketAddr,
    trust: Trust,
) -> (Verdict, Duration) {
    let spec = spec(exchange.clone(), at, TIMEOUT);
    let begun = Instant::now();
    let verdict = outcome(&spec, trust).await;
    (verdict, begun.elapsed())
}

#[test]
fn a_good_server_of_each_protocol_is_up() {
    let place = Place::new();
    let authority = place.certificate();
    for dialog in dialogs() {
        let verdict = run(async {
            let server = Scripted::open(dialog.script.clone(), Some(acceptor(&place.path))).await;
            let spec = spec(dialog.exchange.clone(), server.address, PATIENCE);
            outcome(&spec, Trust::file(&authority)).await
        });
        assert_eq!(verdict, Verdict::Up, "{}", dialog.name);
    }
}

/// ldirectord waits for ever behind the greeting of pop and imap, and for minutes for nntp.
#[test]
fn a_silent_server_of_any_protocol_is_down_at_the_limit_and_says_so() {
    let place = Place::new();
    let authority = place.certificate();
    for dialog in dialogs() {
        let says = dialog.script.iter().enumerate();
        let silences = says.filter(|(_, act)| matches!(act, Say(_))).map(|(at, _)| at);
        for at in silences {
            let mut script = dialog.script.get(..at).unwrap().to_vec();
            script.push(Stay);
            let verdict = run(async {
                let server = Scripted::open(script, Some(acceptor(&place.path))).await;
                judged_at(&dialog.exchange, server.address, Trust::file(&authority)).await.0
            });
            let Verdict::Down(CheckFailure::Timeout { timeout_ms, .. }) = verdict else {
                panic!("{} at {at}: {verdict:?}", dialog.name);
            };
            assert_eq!(u128::from(timeout_ms), TIMEOUT.as_millis());
        }
    }
}

#[test]
fn whatever_a_server_does_its_check_ends_in_time_with_a_cause_and_little_memory() {
    let place = Place::new();
    let authority = place.certificate();
    let mut cases = cases();
    cases.extend(crate::special::cases());
    let results: Vec<Outcome> = run(async {
        let tried = cases.into_iter().map(|case| async {
            let (verdict, took) =
                tried(&case, acceptor(&place.path), &|| Trust::file(&authority)).await;
            Outcome { name: case.name, causes: case.causes, verdict, took }
        });
        futures_util::stream::iter(tried).buffer_unordered(AT_ONCE).collect().await
    });
    sound(&results);
}

/// What came of one case.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) causes: &'static [&'static str],
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// Says how late and how large all of them were.
///
/// # Panics
/// Where one has another cause, or took too long, or all of them too much memory.
pub(crate) fn sound(results: &[Outcome]) {
    let mut wrong = Vec::new();
    for Outcome { name, causes, verdict, took } in results {
        if !causes.contains(&cause(verdict)) || *took > TIMEOUT + OVER_MAX {
            wrong.push(format!("{name}: {verdict:?} in {took:?}"));
        }
    }
    let (count, memory) = (results.len(), peak_kb());
    let over = results.iter().map(|it| it.took.saturating_sub(TIMEOUT)).max().unwrap();
    let late = results.iter().filter(|it| it.took > TIMEOUT + OVER).count();
    eprintln!(
        "{count} cases: at most {over:?} over the timeout, {late} over it by more than {OVER:?}; \
         {memory} kB of memory at most"
    );
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(memory < MEMORY_MAX_KB, "{memory} kB");
}

/// The most memory that this process has had.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
