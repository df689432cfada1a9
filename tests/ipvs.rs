//! The IPVS hands against a real kernel, with ipvsadm as the witness.
//!
//! Needs ip_vs and root, else it prints SKIP (and fails when `PAIRBEAT_REQUIRE_ALL=1`). Each test
//! runs itself again in a network namespace of its own, so that the machine's table stays as it
//! is. In the lab: `lab -- target/lab/deps/ipvs-*`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test stops at the first surprise, talks, and measures"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Instant;

use pairbeat::kernel::ipvs::{self, Ipvs};
use pairbeat::lvs::check::{CheckFailure, CheckKind, CheckResult, CheckSpec, Verdict};
use pairbeat::lvs::director::{Control, Input, Output};
use pairbeat::lvs::fault::{KernelFault, OpError};
use pairbeat::lvs::model::{
    DestEntry, Director, Forwarding, Need, Policy, Protocol, Quorum, RealKey, RealServer,
    SchedFlags, ServiceEntry, ServiceKey, Table, Thresholds, VirtualService,
};
use pairbeat::lvs::notify::Notify;
use pairbeat::lvs::plan::{Op, ServiceSettings, apply, plan};
use pairbeat::lvs::settings::{TIMEOUT_MAX, Timeout};
use pairbeat::names::DirectorName;
use pairbeat::time::Instant as Moment;

/// Runs `body` as root in a fresh network namespace, in a process of its own.
fn in_namespace(test: &str, body: fn()) {
    if is_inside() {
        // Where there has never been an address the kernel takes none for unicast.
        run("ip", &["link", "set", "lo", "up"]);
    }
    as_user(test, &[], body);
}

fn is_inside() -> bool {
    std::env::var_os("PAIRBEAT_TEST_INSIDE").is_some()
}

fn as_user(test: &str, prefix: &[&str], body: fn()) {
    if is_inside() {
        return body();
    }
    if let Some(reason) = missing() {
        println!("SKIP {test}: {reason}");
        assert!(std::env::var("PAIRBEAT_REQUIRE_ALL").as_deref() != Ok("1"), "{reason}");
        return;
    }
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--"]).args(prefix).arg(std::env::current_exe().unwrap());
    inside.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    inside.env("PAIRBEAT_TEST_INSIDE", "1");
    assert!(inside.status().unwrap().success(), "{test} failed in its namespace");
}

fn missing() -> Option<String> {
    if let Err(fault) = Ipvs::open() {
        return Some(fault.to_string());
    }
    let unshare = Command::new("unshare").args(["--net", "--", "true"]).status();
    (!unshare.is_ok_and(|status| status.success())).then(|| "not root".to_owned())
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

fn saved() -> Vec<String> {
    let mut lines: Vec<_> = run("ipvsadm", &["-Sn"]).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn restore(rules: &str) {
    let mut child = Command::new("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service(protocol: Protocol, text: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: address(text), port }
}

fn entry(scheduler: &str, dests: &[(&str, u16, Forwarding, u32)]) -> ServiceEntry {
    let dests = dests.iter().map(|(text, port, forwarding, weight)| {
        let key = RealKey { address: address(text), port: *port };
        (key, DestEntry::new(*forwarding, *weight))
    });
    ServiceEntry {
        scheduler: scheduler.to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
        dests: dests.collect(),
    }
}

/// One of every kind, and what `ipvsadm -Sn` must say about it.
fn every_kind() -> (Table, Vec<&'static str>) {
    use Forwarding::{Gate, Ipip, Masq};
    let plain = entry("rr", &[("10.0.1.6", 80, Gate, 1), ("10.0.1.7", 80, Ipip, 65_535)]);
    let nat = entry("wlc", &[("10.0.1.6", 8080, Masq, 0)]);
    let sticky = ServiceEntry {
        persistent: Some(300),
        netmask: Some(24),
        ..entry("wrr", &[("10.0.1.6", 0, Gate, 2)])
    };
    let dns = ServiceEntry { one_packet: true, ..entry("rr", &[("10.0.1.8", 53, Gate, 1)]) };
    let six = ServiceEntry {
        persistent: Some(60),
        netmask: Some(64),
        ..entry("sh", &[("2001:db8::6", 443, Masq, 5)])
    };
    let diameter = entry("lc", &[("10.0.1.9", 3869, Masq, 3)]);
    let mixed = entry("rr", &[("2001:db8::7", 81, Ipip, 1)]);
    let table = [
        (service(Protocol::Tcp, "10.0.0.1", 80), plain),
        (service(Protocol::Tcp, "10.0.0.1", 81), mixed),
        (service(Protocol::Tcp, "10.0.0.2", 80), nat),
        (service(Protocol::Udp, "10.0.0.1", 53), dns),
        (service(Protocol::Sctp, "10.0.0.1", 3868), diameter),
        (service(Protocol::Sctp, "2001:db8::1", 3868), entry("rr", &[])),
        (service(Protocol::Tcp, "2001:db8::1", 443), six),
        (ServiceKey::Mark { ipv6: false, mark: 7 }, sticky),
        (ServiceKey::Mark { ipv6: true, mark: 7 }, entry("lc", &[("2001:db8::6", 0, Gate, 1)])),
    ];
    let lines = vec![
        "-A --sctp-service 10.0.0.1:3868 -s lc",
        "-A --sctp-service [2001:db8::1]:3868 -s rr",
        "-A -f 7 -6 -s lc",
        "-A -f 7 -s wrr -p 300 -M 255.255.255.0",
        "-A -t 10.0.0.1:80 -s rr",
        "-A -t 10.0.0.1:81 -s rr",
        "-A -t 10.0.0.2:80 -s wlc",
        "-A -t [2001:db8::1]:443 -s sh -p 60 -M 64",
        "-A -u 10.0.0.1:53 -s rr -o",
        "-a --sctp-service 10.0.0.1:3868 -r 10.0.1.9:3869 -m -w 3",
        "-a -f 7 -6 -r [2001:db8::6]:0 -g -w 1",
        "-a -f 7 -r 10.0.1.6:0 -g -w 2",
        "-a -t 10.0.0.1:80 -r 10.0.1.6:80 -g -w 1",
        "-a -t 10.0.0.1:80 -r 10.0.1.7:80 -i -w 65535 --tun-type ipip",
        "-a -t 10.0.0.1:81 -r [2001:db8::7]:81 -i -w 1 --tun-type ipip",
        "-a -t 10.0.0.2:80 -r 10.0.1.6:8080 -m -w 0",
        "-a -t [2001:db8::1]:443 -r [2001:db8::6]:443 -m -w 5",
        "-a -u 10.0.0.1:53 -r 10.0.1.8:53 -g -w 1",
    ];
    (Table(table.into()), lines)
}

fn all_obeyed(ipvs: &mut Ipvs, ops: &[Op]) {
    for (op, result) in ops.iter().zip(ipvs.apply(ops).unwrap()) {
        assert_eq!(result, Ok(()), "{op}");
    }
}

#[test]
fn every_kind_of_entry_reads_back_as_it_was_ordered() {
    in_namespace("every_kind_of_entry_reads_back_as_it_was_ordered", || {
        let mut ipvs = Ipvs::open().unwrap();
        let (want, lines) = every_kind();
        let ops = plan(&ipvs.dump().unwrap(), &want, &BTreeSet::new(), &BTreeSet::new());
        all_obeyed(&mut ipvs, &ops);
        assert_eq!(ipvs.dump().unwrap(), want);
        println!("{}", saved().join("\n"));
        assert_eq!(saved(), lines);
        // The same table made by ipvsadm is the same table to us.
        let rules = run("ipvsadm", &["-Sn"]);
        run("ipvsadm", &["-C"]);
        assert_eq!(ipvs.dump().unwrap(), Table::default());
        restore(&rules);
        assert_eq!(plan(&ipvs.dump().unwrap(), &want, &BTreeSet::new(), &BTreeSet::new()), []);
    });
}

#[test]
fn every_kind_of_tunnel_reads_back_changes_in_place_and_is_what_ipvsadm_says() {
    in_namespace(
        "every_kind_of_tunnel_reads_back_changes_in_place_and_is_what_ipvsadm_says",
        || {
            let mut ipvs = Ipvs::open().unwrap();
            let key = service(Protocol::Tcp, "10.0.0.1", 80);
            for (method, words) in [
                ("gue:6080", "--tun-type gue --tun-port 6080 --tun-nocsum"),
                ("gue:6081,csum", "--tun-type gue --tun-port 6081 --tun-csum"),
                ("gue:6081,remcsum", "--tun-type gue --tun-port 6081 --tun-remcsum"),
                ("gre", "--tun-type gre --tun-nocsum"),
                ("gre,csum", "--tun-type gre --tun-csum"),
                ("ipip", "--tun-type ipip"),
                ("gate", ""),
                ("gue:9", "--tun-type gue --tun-port 9 --tun-nocsum"),
            ] {
                let want = Table(
                    [(key, entry("rr", &[("10.0.1.6", 80, method.parse().unwrap(), 1)]))].into(),
                );
                let ops =
                    plan(&ipvs.dump().unwrap(), &want, &BTreeSet::from([key]), &BTreeSet::new());
                all_obeyed(&mut ipvs, &ops);
                assert_eq!(ipvs.dump().unwrap(), want);
                assert!(saved().concat().ends_with(words), "{method}: {:?}", saved());
                let rules = run("ipvsadm", &["-Sn"]);
                run("ipvsadm", &["-C"]);
                restore(&rules);
                assert_eq!(ipvs.dump().unwrap(), want, "made by ipvsadm");
            }
        },
    );
}

#[test]
fn thresholds_and_flags_of_a_scheduler_read_back_and_change_in_place() {
    in_namespace("thresholds_and_flags_of_a_scheduler_read_back_and_change_in_place", || {
        let mut ipvs = Ipvs::open().unwrap();
        let key = service(Protocol::Tcp, "10.0.0.1", 80);
        let table = |bits, upper| {
            let mut entry = entry("sh", &[("10.0.1.6", 80, Forwarding::Gate, 1)]);
            entry.flags = SchedFlags(bits);
            for dest in entry.dests.values_mut() {
                dest.thresholds = Thresholds { upper, lower: upper / 2 };
            }
            Table([(key, entry)].into())
        };
        for want in [table(0, 0), table(3, 20), table(2, 30), table(0, 0)] {
            let ops = plan(&ipvs.dump().unwrap(), &want, &BTreeSet::from([key]), &BTreeSet::new());
            all_obeyed(&mut ipvs, &ops);
            assert_eq!(ipvs.dump().unwrap(), want);
        }
    });
}

#[test]
fn every_scheduler_of_the_kernel_reads_back_with_its_flags_as_ipvsadm_names_them() {
    in_namespace(
        "every_scheduler_of_the_kernel_reads_back_with_its_flags_as_ipvsadm_names_them",
        || {
            let mut ipvs = Ipvs::open().unwrap();
            let key = service(Protocol::Tcp, "10.0.0.1", 80);
            let cases = [
                ("sh", "sh-fallback", 1),
                ("sh", "sh-port", 2),
                ("sh", "sh-fallback,sh-port", 3),
                ("mh", "mh-fallback", 1),
                ("mh", "mh-port", 2),
                ("mh", "mh-fallback,mh-port", 3),
            ];
            let plain = [
                "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed",
                "nq",
            ];
            let cases = cases.into_iter().chain(plain.map(|name| (name, "", 0)));
            for (scheduler, words, bits) in cases {
                let mut only = entry(scheduler, &[("10.0.1.6", 80, Forwarding::Gate, 1)]);
                only.flags = SchedFlags(bits);
                let want = Table([(key, only)].into());
                let ops =
                    plan(&ipvs.dump().unwrap(), &want, &BTreeSet::from([key]), &BTreeSet::new());
                all_obeyed(&mut ipvs, &ops);
                assert_eq!(ipvs.dump().unwrap(), want, "{scheduler} {words}");
                run("ipvsadm", &["-C"]);
                let mut line = vec!["-A", "-t", "10.0.0.1:80", "-s", scheduler];
                line.extend(if words.is_empty() { vec![] } else { vec!["-b", words] });
                run("ipvsadm", &line);
                let made = ipvs.dump().unwrap();
                let made = &made.0[&key];
                assert_eq!((made.scheduler.as_str(), made.flags), (scheduler, SchedFlags(bits)));
            }
        },
    );
}

#[test]
fn settings_change_in_place_and_removed_things_are_gone() {
    in_namespace("settings_change_in_place_and_removed_things_are_gone", || {
        let mut ipvs = Ipvs::open().unwrap();
        let (first, _) = every_kind();
        all_obeyed(&mut ipvs, &plan(&Table::default(), &first, &BTreeSet::new(), &BTreeSet::new()));
        let mut second = first.clone();
        for (n, entry) in second.0.values_mut().enumerate() {
            entry.scheduler = "wrr".to_owned();
            entry.persistent = n.is_multiple_of(2).then_some(77);
            entry.netmask = None;
            entry.one_packet = false;
            entry.dests.values_mut().for_each(|dest| dest.weight += 1);
        }
        let ops = plan(&ipvs.dump().unwrap(), &second, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(ops.len(), 18, "one order for each entry: {ops:?}");
        all_obeyed(&mut ipvs, &ops);
        assert_eq!(ipvs.dump().unwrap(), second);
        let owned = second.0.keys().copied().collect();
        all_obeyed(&mut ipvs, &plan(&second, &Table::default(), &owned, &BTreeSet::new()));
        assert_eq!(saved(), Vec::<String>::new());
    });
}

/// xorshift64*: the same histories in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn table(&mut self) -> Table {
        let mut table = Table::default();
        for n in 0..5 {
            let mut new = entry(if self.below(2) == 0 { "rr" } else { "wlc" }, &[]);
            new.persistent = (self.below(3) == 0).then_some(120);
            for real in 0..5u8 {
                if self.below(2) == 0 {
                    let forwarding = match self.below(3) {
                        0 => Forwarding::Gate,
                        1 => Forwarding::Masq,
                        _ => Forwarding::Ipip,
                    };
                    let weight = u32::try_from(self.below(3)).unwrap();
                    let key = RealKey { address: Ipv4Addr::new(10, 0, 1, real).into(), port: 80 };
                    new.dests.insert(key, DestEntry::new(forwarding, weight));
                }
            }
            if self.below(4) > 0 {
                table.0.insert(service(Protocol::Tcp, "10.0.0.1", 80 + n), new);
            }
        }
        table
    }
}

#[test]
fn any_table_becomes_any_other_and_a_foreign_service_stays() {
    in_namespace("any_table_becomes_any_other_and_a_foreign_service_stays", || {
        run("ipvsadm", &["-A", "-t", "10.9.9.9:25", "-s", "rr"]);
        run("ipvsadm", &["-a", "-t", "10.9.9.9:25", "-r", "10.9.9.1:25", "-m"]);
        let mut ipvs = Ipvs::open().unwrap();
        let foreign = ipvs.dump().unwrap();
        let mut random = Random(1);
        let mut owned = BTreeSet::new();
        for turn in 0..100 {
            let want = random.table();
            owned.extend(want.0.keys().copied());
            let mut have = ipvs.dump().unwrap();
            let ops = plan(&have, &want, &owned, &BTreeSet::new());
            all_obeyed(&mut ipvs, &ops);
            ops.iter().for_each(|op| apply(&mut have, op));
            let now = ipvs.dump().unwrap();
            assert_eq!(now, have, "turn {turn}: the kernel does what the plan foresees");
            let mut all = want.clone();
            all.0.extend(foreign.0.clone());
            assert_eq!(now, all, "turn {turn}");
        }
    });
}

#[test]
fn each_failed_order_says_why_and_stops_no_other() {
    in_namespace("each_failed_order_says_why_and_stops_no_other", || {
        let mut ipvs = Ipvs::open().unwrap();
        let [web, gone] = [80, 81].map(|port| service(Protocol::Tcp, "10.0.0.1", port));
        let settings = ServiceSettings::from(&entry("rr", &[]));
        let unknown = ServiceSettings { scheduler: "zzz".to_owned(), ..settings.clone() };
        let real = |n| RealKey { address: Ipv4Addr::new(10, 0, 1, n).into(), port: 80 };
        let dest = DestEntry::new(Forwarding::Gate, 1);
        let six = RealKey { address: address("2001:db8::1"), port: 80 };
        let heavy = DestEntry { weight: u32::MAX, ..dest };
        let cases = [
            (Op::AddService(web, settings.clone()), Ok(())),
            (Op::AddService(web, settings.clone()), Err(OpError::Exists)),
            (Op::AddService(gone, unknown), Err(OpError::NoScheduler("zzz".to_owned()))),
            (Op::EditService(gone, settings), Err(OpError::NoService)),
            (Op::AddDest(gone, real(1), dest), Err(OpError::NoService)),
            (Op::AddDest(web, real(1), dest), Ok(())),
            (Op::AddDest(web, real(1), dest), Err(OpError::Exists)),
            (Op::EditDest(web, real(2), dest), Err(OpError::NoDest)),
            (Op::AddDest(web, six, dest), Err(OpError::Invalid)),
            (Op::AddDest(web, real(3), heavy), Err(OpError::Range)),
            (Op::RemoveDest(web, real(2)), Err(OpError::NoDest)),
            (Op::RemoveService(gone), Err(OpError::NoService)),
            (Op::AddDest(web, real(4), dest), Ok(())),
        ];
        let (ops, want): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let got = ipvs.apply(&ops).unwrap();
        for ((op, got), want) in ops.iter().zip(got).zip(want) {
            if let Err(why) = &got {
                println!("{op}: {why}");
            }
            assert_eq!(got, want, "{op}");
        }
        assert_eq!(saved().len(), 3);
    });
}

#[test]
fn a_server_on_our_own_address_is_as_wanted() {
    in_namespace("a_server_on_our_own_address_is_as_wanted", || {
        run("ip", &["address", "add", "10.0.1.1/32", "dev", "lo"]);
        let mut ipvs = Ipvs::open().unwrap();
        let dests = [
            ("127.0.0.1", 80, Forwarding::Gate, 1),
            ("10.0.1.1", 80, Forwarding::Ipip, 1),
            ("10.0.1.2", 80, Forwarding::Gate, 1),
        ];
        let web = service(Protocol::Tcp, "10.0.0.1", 80);
        let want = Table([(web, entry("rr", &dests))].into());
        all_obeyed(&mut ipvs, &plan(&Table::default(), &want, &BTreeSet::new(), &BTreeSet::new()));
        let have = ipvs.dump().unwrap();
        for (real, dest) in have.0.values().flat_map(|entry| &entry.dests) {
            println!("{real}: {dest}");
        }
        assert_eq!(plan(&have, &want, &BTreeSet::new(), &BTreeSet::new()), []);
    });
}

/// Far more than one window of orders and one piece of a dump.
fn big_table() -> Table {
    let reals: Vec<_> = (1..=20u8).map(|n| Ipv4Addr::new(10, 0, 1, n).to_string()).collect();
    let dests: Vec<_> = reals.iter().map(|text| (text.as_str(), 80, Forwarding::Gate, 1)).collect();
    let services = (1..=100).map(|port| service(Protocol::Tcp, "10.0.0.1", port));
    Table(services.map(|key| (key, entry("rr", &dests))).collect())
}

#[test]
fn a_big_table_goes_in_and_out_with_every_answer() {
    in_namespace("a_big_table_goes_in_and_out_with_every_answer", || {
        let mut ipvs = Ipvs::open().unwrap();
        let want = big_table();
        let start = Instant::now();
        let ops = plan(&Table::default(), &want, &BTreeSet::new(), &BTreeSet::new());
        let planned = start.elapsed();
        all_obeyed(&mut ipvs, &ops);
        let obeyed = start.elapsed();
        let have = ipvs.dump().unwrap();
        let read = start.elapsed();
        println!("{} orders: planned {planned:?}, obeyed {:?}", ops.len(), obeyed - planned);
        println!("read back in {:?}", read - obeyed);
        assert_eq!(have, want);
        let again: Vec<_> = ipvs.apply(&ops).unwrap();
        assert!(again.iter().all(|result| *result == Err(OpError::Exists)), "no answer lost");
        let rules = run("ipvsadm", &["-Sn"]);
        let owned = want.0.keys().copied().collect();
        all_obeyed(&mut ipvs, &plan(&have, &Table::default(), &owned, &BTreeSet::new()));
        let start = Instant::now();
        restore(&rules);
        println!("ipvsadm -R of the same: {:?}", start.elapsed());
    });
}

#[test]
fn the_thread_answers_one_order_after_the_other() {
    in_namespace("the_thread_answers_one_order_after_the_other", || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ipvs = ipvs::spawn().unwrap();
            let want = Table([every_kind().0.0.pop_first().unwrap()].into());
            let ops = plan(&ipvs.dump().await.unwrap(), &want, &BTreeSet::new(), &BTreeSet::new());
            let results = ipvs.apply(ops).await.unwrap();
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            let (table, counts) = ipvs.dump_with_counts().await.unwrap();
            assert_eq!(table, want);
            assert_eq!(counts.len(), 2);
            let dumps = futures_util::future::join_all((0..40).map(|_| ipvs.dump())).await;
            let (done, refused): (Vec<_>, Vec<_>) = dumps.into_iter().partition(Result::is_ok);
            assert!(done.len() >= ipvs::ORDERS_WAITING_MAX, "room for these");
            assert!(done.iter().all(|table| *table == Ok(want.clone())));
            assert!(refused.iter().all(|table| *table == Err(KernelFault::Busy)));
        });
    });
}

/// The control with the real kernel, and time that passes only when told.
struct Loop {
    now: Moment,
    control: Control,
    ipvs: Ipvs,
    checks: Vec<CheckSpec>,
    stopped: bool,
}

impl Loop {
    fn tell(&mut self, input: Input) {
        self.control.handle(self.now, input);
        while let Some(output) = self.control.poll() {
            let answer = match output {
                Output::Dump(order) => {
                    Input::Dumped { order, result: self.ipvs.dump_with_counts() }
                }
                Output::Apply { order, ops } => {
                    Input::Applied { order, result: self.ipvs.apply(&ops) }
                }
                Output::Check(checks) => {
                    self.checks = checks;
                    continue;
                }
                Output::Tell(_) | Output::Adopt(_) | Output::Monitor { .. } => continue,
                Output::Report(event) => {
                    if self.checks.len() < 10 {
                        println!("{} {event}", self.now);
                    }
                    continue;
                }
                Output::Mail { id, .. } => Input::Mailed { id, result: Ok(()) },
                Output::Run { id, .. } => Input::Ran { id, result: Ok(()) },
                Output::Stopped { left } => {
                    self.stopped = left.is_empty();
                    continue;
                }
            };
            self.control.handle(self.now, answer);
        }
    }

    fn verdict(&mut self, n: usize, verdict: Verdict) {
        let id = self.checks.get(n).unwrap().id;
        self.tell(Input::Checked(CheckResult { id, verdict, warning: None, took_us: 1 }));
    }

    fn second(&mut self) {
        self.now = self.now.plus(std::time::Duration::from_secs(1));
        self.tell(Input::Tick);
    }
}

fn director(reals: u16) -> Director {
    let second = std::time::Duration::from_secs(1);
    let real = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let key = RealKey { address: Ipv4Addr::new(10, 1, high, low).into(), port: 80 };
        RealServer {
            key,
            forwarding: Forwarding::Gate,
            weight: 1,
            thresholds: Thresholds::default(),
            check: CheckKind::Connect(Protocol::Tcp),
            check_address: key.address,
            check_port: 80,
            check_source: None,
            requires: Vec::new(),
            agent: None,
        }
    };
    let sorry = RealKey { address: address("127.0.0.1"), port: 80 };
    let web = VirtualService {
        key: service(Protocol::Tcp, "10.0.0.1", 80),
        scheduler: "rr".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
        quiescent: false,
        clean_stop: true,
        reals: (1..=reals).map(real).collect(),
        backup: Vec::new(),
        fallback: Some(RealServer::sorry(sorry, Forwarding::Gate)),
        interval: second,
        timeout: second,
        fall: 1,
        rise: 1,
        notify: Notify::default(),
        policy: Policy::default(),
    };
    let name = DirectorName::new("web").unwrap();
    Director { name, services: vec![web], maintenance: None, follow: false, adopt: false }
}

fn started(reals: u16) -> Loop {
    started_with(director(reals))
}

fn started_with(director: Director) -> Loop {
    let mut turn = Loop {
        now: Moment::from_millis(1000),
        control: Control::new(),
        ipvs: Ipvs::open().unwrap(),
        checks: Vec::new(),
        stopped: false,
    };
    turn.tell(Input::Configure { directors: vec![director], owned: BTreeSet::new() });
    turn
}

#[test]
fn the_director_heals_a_flushed_table_and_bridges_with_the_sorry_server() {
    in_namespace("the_director_heals_a_flushed_table_and_bridges_with_the_sorry_server", || {
        let service = "-A -t 10.0.0.1:80 -s rr";
        let [first, second, sorry] = ["10.1.0.1", "10.1.0.2", "127.0.0.1"]
            .map(|real| format!("-a -t 10.0.0.1:80 -r {real}:80 -g -w 1"));
        let mut turn = started(2);
        assert_eq!(saved(), [service, &sorry]);
        turn.verdict(0, Verdict::Up);
        assert_eq!(saved(), [service, &first]);
        turn.verdict(1, Verdict::Up);
        assert!(turn.control.converged());
        run("ipvsadm", &["-C"]);
        turn.second();
        assert_eq!(saved(), [service, &first, &second]);
        run("ipvsadm", &["-e", "-t", "10.0.0.1:80", "-r", "10.1.0.1:80", "-g", "-w", "9"]);
        run("ipvsadm", &["-a", "-t", "10.0.0.1:80", "-r", "10.1.0.9:80", "-g"]);
        turn.second();
        assert_eq!(saved(), [service, &first, &second]);
        turn.verdict(0, Verdict::Down(CheckFailure::Refused));
        turn.verdict(1, Verdict::Down(CheckFailure::Refused));
        assert_eq!(saved(), [service, &sorry]);
        turn.verdict(0, Verdict::Up);
        assert_eq!(saved(), [service, &first]);
        turn.tell(Input::Shutdown);
        assert!(turn.stopped);
        assert_eq!(saved(), Vec::<String>::new());
    });
}

#[test]
fn the_backup_pool_and_a_checked_sorry_server_take_their_turns_in_the_kernel() {
    let name = "the_backup_pool_and_a_checked_sorry_server_take_their_turns_in_the_kernel";
    in_namespace(name, || {
        let mut web = director(5);
        let pool = &mut web.services[0];
        pool.backup = pool.reals.split_off(3);
        pool.policy.quorum = Quorum { need: Need::Servers(2), hysteresis: 0 };
        let sorry = pool.fallback.as_mut().unwrap();
        (sorry.check, sorry.check_port) = (CheckKind::Connect(Protocol::Tcp), 80);
        let mut turn = started_with(web);
        let line = |n: u8, weight: u8| format!("-a -t 10.0.0.1:80 -r 10.1.0.{n}:80 -g -w {weight}");
        let pool = |servers: &[(u8, u8)]| {
            let lines = servers.iter().map(|(n, weight)| line(*n, *weight));
            std::iter::once("-A -t 10.0.0.1:80 -s rr".to_owned()).chain(lines).collect::<Vec<_>>()
        };
        let id = |turn: &Loop, address: &str| {
            turn.checks.iter().position(|spec| spec.address.to_string() == address).unwrap()
        };
        let mut say = |address: &str, up: bool| {
            let n = id(&turn, address);
            let down = Verdict::Down(CheckFailure::Refused);
            turn.verdict(n, if up { Verdict::Up } else { down });
            saved()
        };
        assert_eq!(say("127.0.0.1", false), pool(&[]), "the sorry server is down");
        assert_eq!(say("10.1.0.1", true), pool(&[(1, 1)]), "there is nobody else");
        assert_eq!(say("10.1.0.4", true), pool(&[(1, 0), (4, 1)]));
        assert_eq!(say("10.1.0.2", true), pool(&[(1, 1), (2, 1), (4, 0)]));
        assert_eq!(say("10.1.0.1", false), pool(&[(2, 0), (4, 1)]), "its quorum is lost");
        let sorry = "-a -t 10.0.0.1:80 -r 127.0.0.1:80 -g -w 1".to_owned();
        say("127.0.0.1", true);
        assert_eq!(say("10.1.0.4", false), [pool(&[(2, 0)]), vec![sorry]].concat());
    });
}

/// All servers of a large pool answer one after the other: each turn is one order or a few.
#[test]
fn a_large_pool_fills_as_the_verdicts_come() {
    in_namespace("a_large_pool_fills_as_the_verdicts_come", || {
        let mut turn = started(500);
        let start = Instant::now();
        (0..500).for_each(|n| turn.verdict(n, Verdict::Up));
        println!("500 verdicts, each with its order: {:?}", start.elapsed());
        assert!(turn.control.converged());
        assert_eq!(saved().len(), 501);
    });
}

#[test]
fn timeouts_of_connections_are_read_and_set_one_by_one_as_ipvsadm_has_them() {
    let name = "timeouts_of_connections_are_read_and_set_one_by_one_as_ipvsadm_has_them";
    in_namespace(name, || {
        let shown = |tcp: u32, fin: u32, udp: u32| {
            assert_eq!(
                run("ipvsadm", &["-L", "--timeout"]).trim(),
                format!("Timeout (tcp tcpfin udp): {tcp} {fin} {udp}")
            );
        };
        let mut ipvs = Ipvs::open().unwrap();
        let kernels = [(Timeout::Tcp, 900), (Timeout::TcpFin, 120), (Timeout::Udp, 300)];
        assert_eq!(ipvs.timeouts().unwrap(), kernels.into());
        ipvs.set_timeout(Timeout::TcpFin, 7).unwrap();
        shown(900, 7, 300);
        run("ipvsadm", &["--set", "60", "0", "0"]);
        let changed = [(Timeout::Tcp, 60), (Timeout::TcpFin, 7), (Timeout::Udp, 300)];
        assert_eq!(ipvs.timeouts().unwrap(), changed.into());
        ipvs.set_timeout(Timeout::Tcp, TIMEOUT_MAX).unwrap();
        shown(TIMEOUT_MAX, 7, 300);
        assert!(ipvs.set_timeout(Timeout::Udp, u32::MAX).is_err());
        shown(TIMEOUT_MAX, 7, 300);
    });
}

#[test]
fn without_the_capability_it_says_so() {
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--"];
    as_user("without_the_capability_it_says_so", &nobody, || {
        let fault = Ipvs::open().and_then(|mut ipvs| ipvs.dump()).unwrap_err();
        println!("{fault}");
        assert_eq!(fault, KernelFault::NotPermitted);
    });
}
