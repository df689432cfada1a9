//! Many checks at a time: what one server does costs no other, and nothing piles up.
//!
//! Each test runs again in a network namespace of its own, where every address of 127.0.0.0/8 is a
//! server and nftables swallows those that it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pairbeat::daemon::channel::Channel;
use pairbeat::daemon::checker::{FromChecker, ToChecker, serve};
use pairbeat::lvs::check::{CheckId, CheckKind, CheckResult, CheckSpec, Verdict};
use pairbeat::lvs::exchange::Exchange;
use pairbeat::lvs::model::{Pace, Protocol};
use pairbeat::probe::tls::Trust;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::http::page;
use crate::needs::met;
use crate::rig::run;

/// Set in the copy of this test program that runs in a namespace.
const INSIDE: &str = "PAIRBEAT_TEST_SCALE_INSIDE";
/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// At most so many checks are under way.
const PARALLEL: usize = 1000;
const PORT: u16 = 80;

/// Whether this is the copy in the namespace; runs it where it is not.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let able = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
    if !met(able.is_ok_and(|it| it.status.success()), "root, unshare and nft") {
        return false;
    }
    let inside = Command::new("unshare")
        .args(["-n", "sh", "-c", "ip link set lo up && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(format!("scale::{test}"))
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inside.stdout);
    let errors = String::from_utf8_lossy(&inside.stderr);
    assert!(inside.status.success() && text.contains("1 passed"), "{text}{errors}");
    eprint!("{errors}");
    false
}

/// Server `n` of 127.1.0.0/16, or, swallowed when that is asked for, of 127.2.0.0/16.
fn server(net: u8, n: u32) -> SocketAddr {
    let [_, _, high, low] = n.to_be_bytes();
    (Ipv4Addr::new(127, net, high, low), PORT).into()
}

/// Answers every connection to any address with a page, and closes it as HTTP/1.1 does.
fn serve_pages() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    // A connect check says nothing and is gone.
    if stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    }
}

fn nft(words: &str) {
    let done = Command::new("nft").args(words.split(' ')).status().unwrap();
    assert!(done.success(), "nft {words}");
}

/// From now on whatever goes to 127.2.0.0/16 is lost.
fn swallow() {
    nft("add table ip hole");
    nft("add chain ip hole in { type filter hook input priority 0 ; }");
    nft("add rule ip hole in ip daddr 127.2.0.0/16 drop");
}

fn check(id: u32, kind: CheckKind, at: SocketAddr, times: (Duration, Duration)) -> CheckSpec {
    CheckSpec {
        id: CheckId(id),
        kind,
        address: at.ip(),
        port: at.port(),
        source: None,
        interval: times.0,
        timeout: times.1,
        pace: Pace::default(),
    }
}

fn is_even(id: u32) -> bool {
    id.is_multiple_of(2)
}

fn connect() -> CheckKind {
    CheckKind::Connect(Protocol::Tcp)
}

fn http() -> CheckKind {
    CheckKind::Negotiate(Exchange::Http(page("/", None)))
}

/// A checker, and this test as its core.
struct Core(Channel<ToChecker, FromChecker>);

impl Core {
    async fn checking(checks: Vec<CheckSpec>) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        tokio::spawn(serve(far, Arc::new(Trust::none()), PARALLEL));
        let mut core = Self(Channel::new(near));
        assert_eq!(core.hear().await, FromChecker::Ready);
        core.0.send(&ToChecker::Checks(checks)).await.unwrap();
        core
    }

    async fn hear(&mut self) -> FromChecker {
        let heard = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        heard.unwrap().unwrap().unwrap()
    }

    async fn results(&mut self) -> Vec<CheckResult> {
        loop {
            if let FromChecker::Results(results) = self.hear().await {
                return results;
            }
        }
    }

    /// Listens until each of these has this verdict.
    async fn until(&mut self, ids: impl Iterator<Item = u32>, is_up: bool) {
        let mut missing: BTreeSet<u32> = ids.collect();
        while !missing.is_empty() {
            for result in self.results().await {
                if (result.verdict == Verdict::Up) == is_up {
                    missing.remove(&result.id.0);
                }
            }
        }
    }
}

/// How much longer than it should something took here at worst: the machine's own fault.
#[derive(Default)]
struct Stall(Arc<AtomicU64>);

impl Stall {
    fn watch() -> Self {
        const STEP: Duration = Duration::from_millis(10);
        let stall = Self::default();
        let worst = Arc::clone(&stall.0);
        tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(STEP).await;
                let over = begun.elapsed().saturating_sub(STEP);
                worst.fetch_max(u64::try_from(over.as_millis()).unwrap(), Ordering::Relaxed);
            }
        });
        stall
    }

    fn worst(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// ldirectord needs a hundred timeouts for it, one after the other.
#[test]
fn a_hundred_of_two_hundred_servers_that_vanish_are_down_within_timeout_and_interval_and_a_second()
{
    if !is_inside(
        "a_hundred_of_two_hundred_servers_that_vanish_are_down_within_timeout_and_interval_and_a_second",
    ) {
        return;
    }
    serve_pages();
    run(async {
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        let checks = (0..200).map(|id| {
            check(id, http(), server(1 + u8::from(!is_even(id)), id), (interval, timeout))
        });
        let mut core = Core::checking(checks.collect()).await;
        // A check finds its phase with its second run, which may be one and a half intervals later.
        for _ in 0..3 {
            core.until(0..200, true).await;
        }
        let stall = Stall::watch();
        swallow();
        let begun = Instant::now();
        core.until((0..200).filter(|id| !is_even(*id)), false).await;
        let (took, worst) = (begun.elapsed(), stall.worst());
        eprintln!("100 of 200 down after {took:?}; this machine stood still for {worst:?}");
        assert!(took <= interval + timeout + Duration::from_secs(1) + 2 * worst, "{took:?}");
        // The others never noticed.
        core.until((0..200).filter(|id| is_even(*id)), true).await;
    });
}

#[test]
fn a_server_that_swallows_everything_delays_none_of_two_hundred_good_ones() {
    if !is_inside("a_server_that_swallows_everything_delays_none_of_two_hundred_good_ones") {
        return;
    }
    serve_pages();
    swallow();
    run(async {
        let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(30));
        let good = (0..200).map(|id| check(id, http(), server(1, id), (interval, timeout)));
        // Twenty that never end, and are never waited for.
        let bad = (200..220).map(|id| check(id, connect(), server(2, id), (interval, timeout)));
        let mut core = Core::checking(good.chain(bad).collect()).await;
        let stall = Stall::watch();
        core.until(0..200, true).await;
        let end = Instant::now() + Duration::from_secs(6);
        let mut last: BTreeMap<u32, Instant> = (0..200).map(|id| (id, Instant::now())).collect();
        let mut longest = Duration::ZERO;
        while Instant::now() < end {
            for result in core.results().await {
                assert_eq!(result.verdict, Verdict::Up, "{:?}", result.id);
                let before = last.insert(result.id.0, Instant::now()).unwrap();
                longest = longest.max(before.elapsed());
            }
        }
        let worst = stall.worst();
        eprintln!("from verdict to verdict at most {longest:?}; the machine stood still {worst:?}");
        // From the first to the second run it may be one and a half intervals.
        assert!(longest <= interval * 3 / 2 + Duration::from_secs(1) + 2 * worst, "{longest:?}");
    });
}

#[test]
fn no_connection_of_a_check_stays_behind() {
    if !is_inside("no_connection_of_a_check_stays_behind") {
        return;
    }
    serve_pages();
    run(async {
        let times = (Duration::from_millis(100), Duration::from_secs(10));
        let kind = |id| if is_even(id) { http() } else { connect() };
        let checks = (0..50).map(|id| check(id, kind(id), server(1, id), times));
        let mut core = Core::checking(checks.collect()).await;
        let mut ended = 0;
        while ended < 2000 {
            let results = core.results().await;
            assert!(results.iter().all(|result| result.verdict == Verdict::Up));
            ended += results.len();
        }
    });
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    // Those at the other end are the web server's: HTTP/1.1 has it close first.
    let servers = format!(":{PORT:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours: Vec<_> =
        rows.filter(|row| row.get(2).is_some_and(|it| it.ends_with(&servers))).collect();
    let waiting = ours.iter().filter(|row| row.get(3).is_some_and(|state| *state == "06")).count();
    eprintln!("after 2000 checks: {} sockets of ours, {waiting} in TIME-WAIT", ours.len());
    // Where both ends close an HTTP connection in the same moment, ours may be the first.
    assert!(waiting <= 20, "{waiting} of 2000: {table}");
}

#[test]
fn checks_come_from_the_address_that_is_asked_for_or_are_not_made() {
    if !is_inside("checks_come_from_the_address_that_is_asked_for_or_are_not_made") {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
    let from = Ipv4Addr::new(127, 9, 9, 9);
    let times = (Duration::from_secs(10), Duration::from_secs(10));
    let sourced = |kind, source: Ipv4Addr| CheckSpec {
        source: Some(source.into()),
        ..check(1, kind, server(1, 1), times)
    };
    run(async {
        let mut core = Core::checking(vec![sourced(connect(), from)]).await;
        core.until(1..2, true).await;
        assert_eq!(listener.accept().unwrap().1.ip(), from);
        let mut core = Core::checking(vec![sourced(CheckKind::Ping, from)]).await;
        core.until(1..2, true).await;
        let nobody = Ipv4Addr::new(192, 0, 2, 1);
        let mut core = Core::checking(vec![sourced(connect(), nobody)]).await;
        let result = core.results().await.remove(0);
        let Verdict::Down(why) = result.verdict else { panic!("{result:?}") };
        assert!(why.to_string().starts_with("cannot check: checks from 192.0.2.1: "), "{why}");
    });
}
