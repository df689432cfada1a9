use std::time::Duration;

use super::*;
use crate::config::testing::{World, brief};
use crate::config::{FenceKind, FenceParams, Medium, Secret};

const GOOD: &str = "auto_failback off\nnode a b\nucast eth1 10.0.0.1\n";

fn after_good(more: &str) -> (HaCf, Vec<String>) {
    let (value, found) =
        read(&Source::literal("ha.cf", &format!("{GOOD}{more}")), &World::default());
    (value, brief(&found))
}

fn port(draft: &DraftLink) -> Option<u16> {
    match &draft.link.medium {
        Medium::Udp(udp) => Some(udp.port),
        Medium::Serial(_) => None,
    }
}

#[test]
fn the_defaults_are_those_of_heartbeat() {
    let (value, found) = after_good("");
    assert_eq!(found, Vec::<String>::new());
    let second = Duration::from_secs(1);
    assert_eq!(value.timing.keepalive, second);
    assert_eq!(value.timing.deadtime, second * 30);
    assert_eq!(value.timing.warntime, second * 15);
    assert_eq!(value.timing.initdead, second * 30);
    assert_eq!(port(&value.links[0]), Some(694));
    for (deadtime, initdead) in [("3", 12), ("5.9", 12), ("6", 12), ("10", 20), ("11", 11)] {
        let (value, _) = after_good(&format!("deadtime {deadtime}\n"));
        assert_eq!(value.timing.initdead, second * initdead, "deadtime {deadtime}");
    }
}

#[test]
fn times_come_in_every_form_of_heartbeat() {
    let (value, found) =
        after_good("keepalive 200ms\nwarntime .75\ndeadtime 1.5\ninitdead 15000000us");
    assert_eq!(found, Vec::<String>::new());
    let ms = Duration::from_millis;
    let Timing { keepalive, warntime, deadtime, initdead } = value.timing;
    assert_eq!([keepalive, warntime, deadtime, initdead], [ms(200), ms(750), ms(1500), ms(15_000)]);
}

#[test]
fn each_line_says_what_is_wrong_with_it() {
    for (line, want) in [
        ("# a comment", &[][..]),
        ("crm off", &[]),
        ("autojoin none", &[]),
        ("node c,d\te", &[]),
        ("node A", &["4 warning: node a is listed twice"]),
        ("node", &["4 fault: `node` has no name"]),
        ("keepalive", &["4 fault: `keepalive` has no value"]),
        ("keepalive 1 2", &["4 warning: `keepalive` takes one value"]),
        ("keepalive 1\nkeepalive 2", &["5 warning: `keepalive` is given twice; this one counts"]),
        ("keepalive 9ms", &["4 fault: keepalive is at least 10ms"]),
        ("keepalive 0", &["4 fault: keepalive is at least 10ms"]),
        ("deadtime 2s", &["4 fault: `2s` is not a time"]),
        ("deadtime 2", &["4 fault: deadtime 2s is less than three keepalives of 1s"]),
        ("deadtime 3", &[]),
        (
            "keepalive 11",
            &[
                "4 warning: deadtime 30s is less than three keepalives of 11s: keepalive is 10s here",
            ],
        ),
        ("keepalive 15", &["4 fault: deadtime 30s is less than three keepalives of 15s"]),
        ("initdead 29", &["4 fault: initdead 29s is less than deadtime 30s"]),
        ("warntime 30", &["4 fault: warntime must be less than deadtime (30s)"]),
        ("initdead 99999999", &["4 fault: at most 86400 s"]),
        ("udpport 0", &["4 fault: `0` is not a UDP port"]),
        ("ucast eth1 10.0.0.1", &["4 warning: 10.0.0.1 is given twice"]),
        ("ucast eth1", &["4 fault: `ucast` needs an interface and an address"]),
        ("ucast eth1 nobody", &["4 fault: `nobody` is neither an address nor a known host"]),
        ("ucast eth1 ::1", &["4 fault: an address of the other family"]),
        ("ucast eth1 224.0.0.1", &["4 fault: a multicast address is no unicast address"]),
        ("ucast6 eth1 fe80::1%eth2", &["4 fault: not the interface eth1"]),
        ("ucast6 eth1 fe80::1%eth1", &[]),
        ("ucast eth/1 10.0.0.1", &["4 fault: `eth/1` is no interface name"]),
        ("auto_failback legacy", &["4 warning: `legacy` is read as `off`"]),
        ("auto_failback y", &["4 warning: `auto_failback` is given twice; this one counts"]),
        ("auto_failback n", &[]),
        (
            "nice_failback on",
            &["4 warning: `nice_failback` is obsolete and read as `auto_failback off`"],
        ),
        ("crm yes", &["4 fault: `crm yes`: no Pacemaker here"]),
        ("autojoin other", &["4 fault: `autojoin other`: nodes can't join by themselves"]),
        ("debug 256", &["4 fault: `256` is not a number of 0 to 255"]),
        ("Keepalive 1", &["4 fault: unknown directive `Keepalive`"]),
    ] {
        assert_eq!(after_good(line).1, want, "{line:?}");
    }
}

#[test]
fn every_directive_of_heartbeat_is_known() {
    let all = "node autojoin cluster keepalive deadtime warntime initdead deadping bcast ucast \
        ucast6 mcast mcast6 serial baud udpport ping ping6 ping_group hbaping tipc rds \
        auto_failback nice_failback stonith stonith_host watchdog respawn failfast apiauth crm \
        pacemaker crm_daemon_dir crmd_spawns_pengine record_config_changes record_pengine_inputs \
        enable_config_writes use_logd logfile debugfile logfacility conn_logd_time syslogmsgfmt \
        log_badpack debug realtime rtprio memreserve hbgenmethod uuidfrom msgfmt hopfudge \
        max_rexmit_delay compression compression_threshold traditional_compression coredumps \
        coreroot use_apphbd env quorum_server normalpoll udp";
    for name in all.split_whitespace() {
        let (_, found) = after_good(name);
        assert!(!found.iter().any(|line| line.contains("unknown")), "{name}: {found:?}");
        assert!(table::names().any(|known| known == name), "{name} is never suggested");
    }
}

#[test]
fn the_port_holds_for_all_links_wherever_it_stands() {
    let (value, found) = after_good("udpport 1694\nucast6 eth1 2001:db8::1\nucast eth1 10.0.0.2");
    assert_eq!(
        found,
        ["4 warning: `udpport` stands behind a link and is used for it all the same"]
    );
    let links: Vec<_> = value
        .links
        .iter()
        .map(|draft| (draft.link.name.as_str(), draft.link.targets().len(), port(draft)))
        .collect();
    assert_eq!(links, [("eth1", 2, Some(1694)), ("eth1-2", 1, Some(1694))]);
}

#[test]
fn each_line_of_a_link_says_what_is_wrong_with_it() {
    for (line, want) in [
        ("bcast eth0 eth1, eth2", &[][..]),
        ("serial /dev/ttyS0\nbaud 921600", &[]),
        ("serial", &["4 fault: `serial` needs a device"]),
        ("serial ttyS0", &["4 fault: `ttyS0` is no path of a device"]),
        (
            "baud 9600\nbaud 19200",
            &["5 warning: `baud` is given twice; this one counts for all lines"],
        ),
        (
            "baud 12345",
            &[
                "4 fault: `12345` is not one of 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600",
            ],
        ),
        ("bcast", &["4 fault: `bcast` needs an interface"]),
        ("bcast eth/0", &["4 fault: `eth/0` is no interface name"]),
        ("udp eth0", &[]),
        ("mcast eth0", &["4 fault: `mcast` needs five values"]),
        ("mcast eth0 239.0.0.42 694 1 0", &[]),
        ("mcast6 eth0 ff02::42 694 1 1", &[]),
        ("mcast eth0 239.0.0.42 694 1 0 0", &["4 warning: ignored: one group a line"]),
        ("mcast eth0 ff02::42 694 1 0", &["4 fault: an address of the other family"]),
        (
            "mcast eth/0 10.0.0.1 0 0 2",
            &[
                "4 fault: `eth/0` is no interface name",
                "4 fault: `10.0.0.1` is no multicast address",
                "4 fault: `0` is not a UDP port",
                "4 fault: `0` is not a number of 1 to 255",
                "4 fault: loop is 0 or 1, not `2`",
            ],
        ),
    ] {
        assert_eq!(after_good(line).1, want, "{line:?}");
    }
}

#[test]
fn each_way_is_a_link_in_the_order_of_the_file() {
    let (value, found) = after_good(
        "mcast eth1 239.0.0.42 700 2 1\nbcast eth1 eth0\nserial /dev/ttyS0 /dev/ttyUSB1\n\
         ucast eth1 10.0.0.2\nudpport 1694\nbaud 9600",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    let links =
        value.links.iter().map(|draft| (draft.link.name.as_str(), draft.link.kind(), port(draft)));
    assert_eq!(
        links.collect::<Vec<_>>(),
        [
            ("eth1", "ucast", Some(1694)),
            ("eth1-2", "mcast", Some(700)),
            ("eth1-3", "bcast", Some(1694)),
            ("eth0", "bcast", Some(1694)),
            ("/dev/ttyS0", "serial", None),
            ("/dev/ttyUSB1", "serial", None)
        ]
    );
    let Medium::Serial(serial) = &value.links[4].link.medium else { panic!("{:?}", value.links) };
    assert_eq!(serial.baud.get(), 9600);
}

#[test]
fn without_auto_failback_there_is_a_warning_and_it_is_off() {
    let source = Source::literal("ha.cf", "node a b\nucast eth1 10.0.0.1\n");
    let (value, found) = read(&source, &World::default());
    assert_eq!(value.auto_failback, AutoFailback::Off);
    assert_eq!(brief(&found), ["0 warning: no `auto_failback`, which is read as `off`"]);
}

#[test]
fn a_fault_is_told_once_and_nothing_follows_from_it() {
    for (text, want) in [
        (
            "node a b\nucast eth1 10.0.0.1\nauto_failback maybe\n",
            &["3 fault: `maybe` is neither on nor off"][..],
        ),
        (
            "node a b\nucast eth1 10.0.0.1\nauto_failback\n",
            &["3 fault: `auto_failback` has no value"],
        ),
        (
            "auto_failback off\nnode a b\nucast eth1 nobody\nserial ttyS0\n",
            &[
                "3 fault: `nobody` is neither an address nor a known host",
                "4 fault: `ttyS0` is no path of a device",
            ],
        ),
        ("auto_failback off\nnode a b\nbcast\n", &["3 fault: `bcast` needs an interface"]),
        ("auto_failback off\nnode a b\nmcast eth1\n", &["3 fault: `mcast` needs five values"]),
        ("auto_failback off\nnode a b\n", &["0 fault: no heartbeat link"]),
    ] {
        let (_, found) = read(&Source::literal("ha.cf", text), &World::default());
        assert_eq!(brief(&found), want, "{text:?}");
    }
}

#[test]
fn of_two_that_differ_the_later_counts_and_it_is_said() {
    let twice = "4 warning: `auto_failback` is given twice; this one counts";
    let (value, found) = after_good("auto_failback on");
    assert_eq!((value.auto_failback, &*found), (AutoFailback::On, &[twice.to_owned()][..]));
    assert_eq!(after_good("auto_failback no").1, Vec::<String>::new(), "it says the same");
    let text = "node a b\nucast eth1 10.0.0.1\nauto_failback on\nnice_failback on\n";
    let (value, found) = read(&Source::literal("ha.cf", text), &World::default());
    assert_eq!((value.auto_failback, found.len()), (AutoFailback::Off, 2), "{found:?}");
}

#[test]
fn an_address_that_is_given_twice_is_marked_itself() {
    let text = format!("{GOOD}ucast eth1 10.0.0.1\n");
    let (_, found) = read(&Source::literal("ha.cf", &text), &World::default());
    let place = &found[0].place;
    assert_eq!((place.line, place.column), (4, 12), "{}", found[0]);
}

#[test]
fn ping_nodes_have_the_name_that_is_written() {
    let (value, found) =
        after_good("ping 10.0.0.254, web1\nping6 2001:db8::fe\nping_group Up 10.0.0.1 10.0.0.2\n");
    assert_eq!(found, Vec::<String>::new());
    let nodes: Vec<_> = value.outside.ping_nodes.iter().map(|(ping, _)| ping).collect();
    let named: Vec<_> = nodes.iter().map(|it| (it.name.as_str(), it.members.len())).collect();
    assert_eq!(named, [("10.0.0.254", 1), ("web1", 1), ("2001:db8::fe", 1), ("up", 2)]);
    assert!(!value.outside.ipfail, "ping nodes alone decide nothing");
    for (line, want) in [
        ("ping", "4 fault: `ping` has no value"),
        ("ping nobody", "4 fault: `nobody` is neither an address nor a known host"),
        ("ping 127.0.0.1", "4 fault: a loopback address says nothing about the network"),
        ("ping_group", "4 fault: `ping_group` has no name"),
        ("ping_group up", "4 fault: a ping group has 1 to 16 addresses"),
        ("ping_group up 10.0.0.1 10.0.0.1", "4 warning: 10.0.0.1 is given twice"),
        ("deadping soon", "4 fault: `soon` is not a time"),
    ] {
        assert_eq!(after_good(line).1, [want], "{line:?}");
    }
}

#[test]
fn the_program_ipfail_turns_on_what_is_built_in() {
    let (value, found) =
        after_good("respawn hacluster /usr/lib/heartbeat/ipfail\nping 10.0.0.254\n");
    assert_eq!(found, Vec::<String>::new());
    assert!(value.outside.ipfail);
}

#[test]
fn the_parameters_of_a_fencing_device_are_read_and_never_shown() {
    let world = World::default()
        .with("/etc/stonith.conf", "# comment\n\n  10.0.0.5 admin hunter2 \nmore\n");
    let text = format!(
        "{GOOD}stonith external/ipmi /etc/stonith.conf\n\
         stonith_host B external/ipmi b  10.0.0.6 hunter2 # comment\n\
         stonith_host * rps10 hunter2\n\
         stonith_host * ../../tmp/evil hunter2\nstonith_host * x/y hunter2\nstonith_host hunter2\n"
    );
    let (value, found) = read(&Source::literal("ha.cf", &text), &world);
    assert_eq!(
        brief(&found),
        [
            "9 fault: `stonith_host` needs a host, a type and parameters",
            "7 fault: `../../tmp/evil` is no type of a fencing device",
            "8 fault: `x/y` is no type of a fencing device",
        ]
    );
    assert!(found.iter().all(|it| !it.to_string().contains("hunter2")), "{found:?}");
    assert!(!format!("{value:?}").contains("hunter2"), "{value:?}");
    let devices: Vec<_> = value.outside.fence.iter().map(|draft| &draft.device).collect();
    assert_eq!((devices[0].name.as_str(), devices[0].kind), ("ipmi", FenceKind::External));
    assert_eq!((devices[2].name.as_str(), devices[2].kind), ("rps10", FenceKind::StonithPlugin));
    let params: Vec<_> = devices.iter().map(|device| device.params.clone()).collect();
    let line = |text| FenceParams::Positional(Secret::new(text));
    let want = ["10.0.0.5 admin hunter2", "b  10.0.0.6 hunter2", "hunter2"].map(line);
    assert_eq!(params, want);
}

#[test]
fn the_documentation_says_of_every_directive_what_becomes_of_it() {
    let page = include_str!("../../../docs/HA_CF.md");
    let said: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(" |").next().unwrap()))
        .collect();
    let is: Vec<_> = table::all().iter().map(|it| (it.name, it.fate.word())).collect();
    assert_eq!(said, is);
}

/// A directive that is not acted on says so; any other is read by an arm of the reader.
#[test]
fn what_the_table_calls_acted_on_is_read() {
    for directive in table::all() {
        let (_, found) = after_good(directive.name);
        let fault = |line: &String| line.contains("fault");
        assert!(found.iter().any(fault), "{} takes no value: {found:?}", directive.name);
        let silent = !found.iter().any(|line| line.contains("is not acted on"));
        let read = matches!(directive.fate, table::Fate::ActedOn | table::Fate::Refused);
        assert_eq!(read, silent, "{}: {found:?}", directive.name);
    }
}

#[test]
fn log_watchdog_and_priority_are_read() {
    let (value, found) = after_good(
        "logfile /var/log/ha-log\ndebugfile /var/log/ha-debug\nlogfacility LOCAL0\ndebug 1\n\
         watchdog /dev/watchdog\nrealtime off\nrtprio 20\nenv A=b C=\n",
    );
    assert_eq!(found, Vec::<String>::new());
    let service = value.service;
    assert_eq!(service.log.facility.map(|it| (it.name, it.number)), Some(("local0", 16)));
    assert_eq!(service.log.file.as_deref(), Some("/var/log/ha-log".as_ref()));
    assert_eq!((service.realtime, service.priority, service.log.debug), (false, 20, 1));
    assert_eq!(service.watchdog.as_deref(), Some("/dev/watchdog".as_ref()));
    assert_eq!(service.env.len(), 2);
    for (line, want) in [
        ("logfacility loca10", "4 fault: `loca10` is no syslog facility"),
        ("logfile ha-log", "4 fault: `ha-log` is not an absolute path"),
        ("rtprio 50", "4 fault: `50` is not a number of 1 to 49"),
        ("env A-B=c", "4 fault: not NAME=VALUE"),
    ] {
        assert_eq!(after_good(line).1, [want], "{line:?}");
    }
}

#[test]
fn programs_to_keep_running_and_their_users_must_be_there() {
    let world = World::default().with("/opt/x.d/watcher", "#!/bin/sh\n");
    let text = format!(
        "{GOOD}respawn nobody /opt/x.d/watcher --all 3 # comment\nfailfast root /opt/x.d/watcher\n\
         respawn hacluster /usr/lib/heartbeat/dopd\nrespawn root /opt/none\nrespawn root\n\
         failfast nosuchuser /opt/x.d/watcher\n"
    );
    let (value, found) = read(&Source::literal("ha.cf", &text), &world);
    assert_eq!(
        brief(&found),
        [
            "6 warning: `/usr/lib/heartbeat/dopd` speaks to Heartbeat, so it is not started",
            "7 fault: `/opt/none` is not an executable file",
            "8 fault: `respawn` needs a user and a program",
            "9 fault: no user `nosuchuser` in /etc/passwd",
        ]
    );
    let programs = value.service.respawn;
    assert_eq!((programs[0].user.as_str(), programs[0].args.len()), ("nobody", 2));
    assert_eq!(programs.iter().map(|it| it.vital).collect::<Vec<_>>(), [false, true]);
}
