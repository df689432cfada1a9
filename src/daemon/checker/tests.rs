//! The checker at one end of a socket pair, the test as the core at the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::lvs::check::{CheckFailure, CheckId, CheckKind, Verdict};
use crate::lvs::model::{Pace, Protocol};
use crate::probe::black_hole::BlackHole;

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Core {
    channel: Channel<ToChecker, FromChecker>,
    checker: JoinHandle<Result<(), CheckerError>>,
}

impl Core {
    async fn with_checker(parallel: usize) -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let checker = tokio::spawn(serve(far, Arc::new(Trust::none()), parallel));
        let mut core = Self { channel: Channel::new(near), checker };
        assert_eq!(core.hear().await, FromChecker::Ready);
        core
    }

    async fn hear(&mut self) -> FromChecker {
        self.channel.recv().await.unwrap().unwrap()
    }

    async fn order(&mut self, checks: &[CheckSpec]) {
        self.channel.send(&ToChecker::Checks(checks.to_vec())).await.unwrap();
    }

    async fn results(&mut self) -> Vec<CheckResult> {
        loop {
            if let FromChecker::Results(results) = self.hear().await {
                assert!((1..=BATCH_MAX).contains(&results.len()));
                return results;
            }
        }
    }

    /// Listens until each of `ids` has a result; the first of each.
    async fn first_of(&mut self, ids: impl Iterator<Item = u32>) -> BTreeMap<u32, CheckResult> {
        let mut missing: BTreeSet<u32> = ids.collect();
        let mut first = BTreeMap::new();
        while !missing.is_empty() {
            for result in self.results().await {
                if missing.remove(&result.id.0) {
                    first.insert(result.id.0, result);
                }
            }
        }
        first
    }

    async fn leave(self) -> Result<(), CheckerError> {
        drop(self.channel);
        self.checker.await.unwrap()
    }
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
    assert!(ended.is_ok(), "not done in {PATIENCE:?}");
}

fn connect(id: u32, target: SocketAddr, interval: Duration) -> CheckSpec {
    CheckSpec {
        id: CheckId(id),
        kind: CheckKind::Connect(Protocol::Tcp),
        address: target.ip(),
        port: target.port(),
        source: None,
        interval,
        timeout: Duration::from_secs(2),
        pace: Pace::default(),
    }
}

async fn open_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that takes every connection.
async fn server() -> SocketAddr {
    let (listener, address) = open_port().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    address
}

#[test]
fn checks_run_again_and_again_and_a_change_of_the_server_is_seen() {
    run(async {
        let mut core = Core::with_checker(10).await;
        let (listener, address) = open_port().await;
        core.order(&[connect(7, address, Duration::from_millis(50))]).await;
        for _ in 0..3 {
            let up = core.first_of(7..8).await;
            assert_eq!(up[&7].verdict, Verdict::Up);
            listener.accept().await.unwrap();
        }
        drop(listener);
        loop {
            let now = core.first_of(7..8).await;
            if now[&7].verdict == Verdict::Down(CheckFailure::Refused) {
                break;
            }
        }
        core.leave().await.unwrap();
    });
}

#[test]
fn the_checker_ends_with_the_core() {
    run(async {
        let hole = BlackHole::open().await;
        let mut core = Core::with_checker(10).await;
        core.order(&[connect(1, hole.address, Duration::from_secs(10))]).await;
        core.leave().await.unwrap();
    });
}

#[test]
fn a_channel_that_cannot_be_trusted_ends_the_checker_with_an_error() {
    run(async {
        let (near, far) = UnixStream::pair().unwrap();
        near.try_write(b"\xff\xff\xff\xff").unwrap();
        let end = serve(far, Arc::new(Trust::none()), 10).await;
        assert!(matches!(end, Err(CheckerError::Channel(ChannelError::Oversized(_)))));
    });
}

#[test]
fn a_hundred_swallowing_servers_delay_no_other() {
    run(async {
        let (address, hole) = (server().await, BlackHole::open().await);
        let interval = Duration::from_millis(500);
        let checks: Vec<_> = (0..200)
            .map(|id| connect(id, if id % 2 == 0 { address } else { hole.address }, interval))
            .collect();
        let mut core = Core::with_checker(200).await;
        let started = tokio::time::Instant::now();
        core.order(&checks).await;

        let good = core.first_of((0..200).step_by(2)).await;
        assert!(good.values().all(|result| result.verdict == Verdict::Up));
        // Half a second of burst, the rest is the machine's; none has waited for a swallowed one.
        let good_after = started.elapsed();
        assert!(good_after < Duration::from_secs(2), "{good_after:?}");

        let bad = core.first_of((1..200).step_by(2)).await;
        assert!(bad.values().all(|result| matches!(
            result.verdict,
            Verdict::Down(CheckFailure::Timeout { timeout_ms: 2000, .. })
        )));
        // Timeout, interval and one second: ldirectord takes a hundred timeouts.
        let bad_after = started.elapsed();
        assert!(bad_after < Duration::from_millis(3500), "{bad_after:?}");
        core.leave().await.unwrap();
    });
}

#[test]
fn with_few_descriptors_all_checks_still_get_their_turn() {
    run(async {
        let address = server().await;
        let checks: Vec<_> =
            (0..50).map(|id| connect(id, address, Duration::from_millis(20))).collect();
        let mut core = Core::with_checker(3).await;
        core.order(&checks).await;
        let warning = core.hear().await;
        assert!(matches!(&warning, FromChecker::Warning(text) if text.contains("RLIMIT_NOFILE")));
        core.first_of(0..50).await;
        core.leave().await.unwrap();
    });
}

#[test]
fn a_check_that_left_the_list_is_never_heard_of_again() {
    run(async {
        let (address, hole) = (server().await, BlackHole::open().await);
        let mut core = Core::with_checker(10).await;
        let fast = Duration::from_millis(20);
        core.order(&[connect(1, address, fast), connect(2, hole.address, fast)]).await;
        core.first_of(1..2).await;
        core.order(&[connect(3, address, fast)]).await;
        core.first_of(3..4).await;
        // Longer than the swallowed connection would have lasted.
        let end = tokio::time::Instant::now() + Duration::from_millis(2500);
        while tokio::time::Instant::now() < end {
            for result in core.results().await {
                assert_eq!(result.id, CheckId(3));
            }
        }
        core.leave().await.unwrap();
    });
}

#[test]
fn a_check_that_left_the_list_frees_its_descriptor_at_once() {
    run(async {
        let (address, hole) = (server().await, BlackHole::open().await);
        let mut core = Core::with_checker(1).await;
        let started = tokio::time::Instant::now();
        core.order(&[connect(1, hole.address, Duration::from_secs(10))]).await;
        core.order(&[connect(2, address, Duration::from_secs(10))]).await;
        core.first_of(2..3).await;
        let waited = started.elapsed();
        assert!(waited < Duration::from_millis(1500), "the timeout is 2 s, this took {waited:?}");
        core.leave().await.unwrap();
    });
}

#[test]
fn a_core_that_does_not_read_stops_the_checks_and_loses_no_later_verdict() {
    run(async {
        let mut core = Core::with_checker(CHECKS_MAX).await;
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let checks: Vec<_> = (0..500)
            .map(|id| CheckSpec {
                kind: CheckKind::On,
                ..connect(id, address, Duration::from_millis(10))
            })
            .collect();
        core.order(&checks).await;
        // Far more results than the socket's buffer takes.
        let end = tokio::time::Instant::now() + Duration::from_secs(1);
        tokio::time::sleep_until(end).await;
        for _ in 0..3 {
            core.first_of(0..500).await;
        }
        core.leave().await.unwrap();
    });
}

/// Set in the copy of this test program that is the checker.
const INSIDE: &str = "PAIRBEAT_TEST_CHECKER_INSIDE";

#[test]
fn as_a_process_of_its_own_it_serves_standard_input_and_ends_with_it() {
    if std::env::var_os(INSIDE).is_some() {
        assert!(super::run().is_ok());
        return;
    }
    run(async {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let test = "as_a_process_of_its_own_it_serves_standard_input_and_ends_with_it";
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("daemon::checker::tests::{test}")])
            .env(INSIDE, "1")
            .stdin(std::os::fd::OwnedFd::from(far))
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut channel: Channel<ToChecker, FromChecker> =
            Channel::new(UnixStream::from_std(near).unwrap());
        assert_eq!(channel.recv().await.unwrap(), Some(FromChecker::Ready));
        let address = server().await;
        channel
            .send(&ToChecker::Checks(vec![connect(5, address, Duration::from_secs(1))]))
            .await
            .unwrap();
        let Some(FromChecker::Results(results)) = channel.recv().await.unwrap() else {
            panic!("no results");
        };
        assert_eq!((results[0].id, &results[0].verdict), (CheckId(5), &Verdict::Up));
        drop(channel);
        assert!(process.wait().await.unwrap().success());
    });
}

#[test]
fn started_by_hand_it_says_so_and_fails() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(runtime.block_on(async { channel::from_fd(&file) }).is_err());
}
