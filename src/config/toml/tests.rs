use std::path::Path;

use crate::config::testing::{World, brief};
use crate::config::{Config, Environment, FenceKind, FenceParams, Recording, keys, load};
use crate::names::NodeName;

const CLUSTER: &str = "[cluster]\nnodes = [\"a\", \"b\"]\n[[link]]\npeers = [\"10.0.0.2\"]\n";

fn loaded(text: &str) -> (Option<Config>, Vec<String>) {
    let world = World::default()
        .with("/p/pairbeat.toml", text)
        .with("/opt/x.d/watcher", "#!/bin/sh\n")
        .with("/p/keys", &keys::key_file(1, b"32 bytes nobody could ever guess"));
    let node = NodeName::new("a").unwrap();
    let (config, found) = load(Path::new("/p/pairbeat.toml"), &node, &world);
    (config, brief(&found))
}

#[test]
fn a_cluster_without_groups_is_well_formed() {
    let (config, found) = loaded(CLUSTER);
    assert!(config.is_some());
    assert_eq!(found, ["0 warning: no resource group: the nodes watch each other and do nothing"]);
}

#[test]
fn an_empty_file_names_what_is_needed() {
    let (config, found) = loaded("");
    assert!(config.is_none());
    assert_eq!(
        found,
        ["0 fault: no `[cluster]`", "0 fault: no heartbeat link", "0 fault: no nodes"]
    );
}

#[test]
fn an_escaped_string_is_read_and_its_faults_are_in_its_line() {
    let text = format!(
        "{CLUSTER}[[group]]\nname = \"w\\u0065b\"\npreferred = \"a\"\n\
         resources = [\"10.0.0.\\u0031/24\", \"10.0.0.2/\\u00e9\"]\n"
    );
    let (_, found) = loaded(&text);
    assert_eq!(found, ["8 fault: `é` is not a netmask"]);
}

#[test]
fn the_rules_across_sections_hold() {
    let groups = |count: usize| -> String {
        let group =
            |n| format!("[[group]]\nname=\"g{n}\"\npreferred=\"a\"\nresources=[\"10.1.0.{n}\"]\n");
        (1..=count).map(group).collect()
    };
    assert!(loaded(&format!("{CLUSTER}{}", groups(64))).0.is_some());
    let (_, found) = loaded(&format!("{CLUSTER}{}", groups(65)));
    assert_eq!(found, ["262 fault: over 64 groups"]);
    let links = "[[link]]\npeers = [\"10.0.0.2\"]\n".repeat(8);
    let (_, found) = loaded(&format!("{CLUSTER}{links}{}", groups(1)));
    assert_eq!(found, ["0 fault: 9 heartbeat links; at most 8"]);
    let many = |last: &str| {
        format!(
            "{CLUSTER}[[group]]\nname=\"g\"\npreferred=\"a\"\nresources=[{{director=\"d\"}}]\n\
             [[director.d.service]]\naddress=\"10.9.9.9:80\"\nreal=[{{address=\"10.1.0.0\",last=\"10.1.19.255\"}}]\n\
             [[director.d.service]]\naddress=\"10.9.9.9:81\"\nreal=[{{address=\"10.1.0.0\",last=\"{last}\"}}]\n"
        )
    };
    assert!(loaded(&many("10.1.19.15")).0.is_some());
    let (_, found) = loaded(&many("10.1.19.16"));
    assert_eq!(found, ["13 fault: over 10000 real servers in all"]);
}

#[test]
fn what_was_read_is_known_afterwards() {
    let world = World::default()
        .with("/c/ha.cf", "node a b\nauto_failback off\nucast eth0 10.0.0.2\n")
        .with("/c/haresources", "a 10.0.0.9 ldirectord::x.cf\n")
        .with("/c/authkeys", &keys::authkeys_file(1, b"32 bytes nobody could ever guess"))
        .with("/c/conf/x.cf", "virtual=10.0.0.9:80\n\treal=10.0.0.3:80 gate\n");
    let recording = Recording::new(&world);
    let node = NodeName::new("b").unwrap();
    let (config, found) = load(Path::new("/c"), &node, &recording);
    assert!(config.is_some(), "{found:?}");
    let files: Vec<_> = recording.into_files().iter().map(|p| p.display().to_string()).collect();
    assert_eq!(files, ["/c/ha.cf", "/c/haresources", "/c/authkeys", "/c/conf/x.cf"]);
}

#[test]
fn a_service_whose_address_no_group_holds_is_warned_of_unless_something_is_faulty() {
    let services = |resources: &str, service: &str| {
        let text = format!(
            "{CLUSTER}[[group]]\nname=\"g\"\npreferred=\"a\"\nresources=[{resources}{{director=\"d\"}}]\n\
             [[director.d.service]]\n{service}\nreal=[\"10.1.0.0\"]\ncheck=\"ping\"\n"
        );
        loaded(&text).1
    };
    let address = "address=\"10.9.9.9:80\"";
    let unheld = "10 warning: no group holds 10.9.9.9: clients do not reach this service here";
    assert_eq!(services("", address), [unheld]);
    assert_eq!(services("\"10.9.9.8\",", address), [unheld]);
    for (resources, service) in [("\"10.9.9.9\",", address), ("", "mark=7")] {
        assert_eq!(services(resources, service), Vec::<String>::new());
    }
    assert_eq!(services("\"10.9.9.9/99\",", address), ["8 fault: `99` is not a netmask"]);
}

#[test]
fn a_path_that_is_no_configuration_is_named() {
    let fault = |world: &World, path: &str| {
        assert!(world.read(Path::new(path)).is_err() || path.ends_with("ha.cf"));
        let node = NodeName::new("a").unwrap();
        let (config, found) = load(Path::new(path), &node, world);
        assert!(config.is_none());
        let fault = format!("{}: {}", found[0].place, found[0].message);
        (fault, found[0].help.clone().unwrap_or_default())
    };
    let neither =
        "/etc/ha.d: neither /etc/pairbeat/pairbeat.toml nor /etc/ha.d/ha.cf is there".to_owned();
    let empty = World::default();
    assert_eq!(fault(&empty, "/etc/ha.d").0, neither);
    assert_eq!(fault(&empty, "/nowhere.toml").0, "/nowhere.toml: cannot read: entity not found");
    let world = World::default().with("/etc/ha.d/README", "").with("/c/other", "");
    assert_eq!(fault(&world, "/etc/ha.d").0, neither);
    let (message, _) = fault(&world, "/c");
    assert_eq!(message, "/c: neither ha.cf nor pairbeat.toml in this directory");
    let world = World::default().with("/etc/ha.d/ha.cf", "").with("/c/other", "");
    for (path, directory) in [("/etc/ha.d/ha.cf", "/etc/ha.d"), ("/c/ha.cf", "/c")] {
        let (message, help) = fault(&world, path);
        assert_eq!(message, format!("{path}: one file of several in ha.d layout"));
        assert_eq!(help, format!("give the directory: `--config {directory}`"));
    }
}

#[test]
fn a_directory_with_a_toml_file_is_read_and_ha_cf_comes_first() {
    let key = keys::key_file(1, b"32 bytes nobody could ever guess");
    let world = World::default().with("/p/pairbeat.toml", CLUSTER).with("/p/keys", &key);
    let node = NodeName::new("a").unwrap();
    let (config, found) = load(Path::new("/p"), &node, &world);
    assert_eq!(config, load(Path::new("/p/pairbeat.toml"), &node, &world).0);
    assert!(config.is_some(), "{found:?}");
    let (_, found) = load(Path::new("/p"), &node, &world.with("/p/ha.cf", "foo\n"));
    assert!(found.iter().any(|it| it.place.file.ends_with("ha.cf")), "{found:?}");
}

#[test]
fn ping_nodes_and_fencing_devices_are_read_and_secrets_come_from_a_file_of_their_own() {
    let text = format!(
        "{CLUSTER}[connectivity]\nping = [\"10.0.0.254\"]\ndeadping = \"3s\"\n\
         ping_group = [{{ name = \"up\", members = [\"10.1.0.1\", \"10.2.0.1\"] }}]\n\
         [[fence]]\nagent = \"fence_ipmilan\"\nnode = \"b\"\ntimeout = \"20s\"\n\
         params = {{ ip = \"10.0.0.5\", lanplus = true, port = 623 }}\nparams_file = \"secret\"\n\
         [[fence]]\nexternal = \"ipmi\"\nnode = \"a\"\n"
    );
    let world = World::default()
        .with("/p/pairbeat.toml", &text)
        .with("/p/secret", "# of b\npassword = hunter = 2\n")
        .with("/p/fence.d/fence_ipmilan", "#!/bin/sh\n")
        .with("/p/keys", &keys::key_file(1, b"32 bytes nobody could ever guess"));
    let node = NodeName::new("a").unwrap();
    let (config, found) = load(Path::new("/p/pairbeat.toml"), &node, &world);
    let config = config.unwrap_or_else(|| panic!("{:?}", brief(&found)));
    assert!(config.ipfail, "who names ping nodes wants them heard");
    assert_eq!(config.deadping.as_secs(), 3);
    assert_eq!(config.ping_nodes.len(), 2);
    let [device] = config.fences().collect::<Vec<_>>()[..] else { panic!("{:?}", config.fence) };
    assert_eq!((device.kind, device.timeout.as_secs()), (FenceKind::Agent, 20));
    let FenceParams::Named(params) = &device.params else { panic!("{device:?}") };
    let params: Vec<_> = params.iter().map(|(name, value)| (&**name, value.reveal())).collect();
    assert_eq!(
        params,
        [("ip", "10.0.0.5"), ("lanplus", "true"), ("port", "623"), ("password", "hunter = 2")]
    );
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn a_fencing_program_that_this_node_would_call_must_be_there() {
    let fences = |text: &str, program: &str| {
        let world = World::default()
            .with("/p/pairbeat.toml", &format!("{CLUSTER}{text}"))
            .with(program, "#!/bin/sh\n")
            .with("/p/keys", &keys::key_file(1, b"32 bytes nobody could ever guess"));
        let node = NodeName::new("a").unwrap();
        let (_, mut found) = load(Path::new("/p/pairbeat.toml"), &node, &world);
        found.retain(|it| !it.message.starts_with("no resource group"));
        let help = found.first().and_then(|it| it.help.clone()).unwrap_or_default();
        (brief(&found), help)
    };
    let agent = "[[fence]]\nagent = \"fence_it\"\n";
    let silent = "while it is missing nothing is taken from a silent peer";
    let (found, help) = fences(agent, "/p/bin/fence_it");
    assert_eq!(found, [format!("5 fault: no fencing program fence_it; {silent}")]);
    assert!(help.contains("fence-agents") && help.contains("/p/fence.d, /usr/sbin, "), "{help}");
    let (found, _) = fences(&agent.repeat(2), "/p/bin/fence_it");
    let idle = "5 fault: no fencing program fence_it; this device can't fence anybody";
    assert_eq!(found[0], idle, "the other one might");
    for place in ["/p/fence.d/fence_it", "/usr/sbin/fence_it", "/usr/local/bin/fence_it"] {
        let (found, _) = fences(agent, place);
        assert_eq!(found, Vec::<String>::new(), "{place}");
    }
    let plugin = "[[fence]]\nplugin = \"rps10\"\n";
    let (found, help) = fences(plugin, "/usr/bin/rps10");
    assert_eq!(found, [format!("5 fault: no fencing program stonith; {silent}")]);
    assert!(help.contains("cluster-glue"), "{help}");
    let mine = format!("{agent}node = \"a\"\n");
    let (found, _) = fences(&mine, "/usr/bin/other");
    assert_eq!(found, ["5 warning: no device fences b, the peer of this node"]);
}

#[test]
fn what_is_wrong_outside_is_said_with_its_place() {
    for (line, want) in [
        ("[[fence]]", "6 fault: a fencing device is exactly one program"),
        ("[[fence]]\nagent = \"a/b\"", "7 fault: `a/b` is not the name of a program"),
        ("[[fence]]\nagent = \"x\"\nnode = \"c\"", "8 fault: c is not a node of this cluster"),
        (
            "[[fence]]\nagent = \"x\"\ntimeout = \"1h\"",
            "8 fault: a timeout is more than nothing and at most 600s",
        ),
        (
            "[[fence]]\nagent = \"x\"\nparams.passwd = \"hunter2\"",
            "8 fault: `passwd` is a secret, and this file is no place for it",
        ),
        (
            "[[fence]]\nagent = \"x\"\nparams.action = \"monitor\"",
            "6 fault: the `action` of this fencing device fences nobody",
        ),
        (
            "[[fence]]\nagent = \"x\"\nparams = { \"a b\" = \"c\" }",
            "8 fault: letters, digits, `_` and `-` make the name of a parameter",
        ),
        (
            "[[fence]]\nagent = \"x\"\nparams_file = \"none\"",
            "8 fault: `none`: cannot read: entity not found",
        ),
        (
            "[connectivity]\nping = [\"127.0.0.1\"]",
            "7 fault: a loopback address says nothing about the network",
        ),
        ("[connectivity]\nping = [\"b\"]", "7 fault: `b` is neither an address nor a known host"),
        (
            "[connectivity]\ndeadping = \"400ms\"",
            "7 fault: deadping 400ms is not more than two keepalives (400ms)",
        ),
        (
            "[connectivity]\nping_group = [{ name = \"b\", members = [\"10.0.0.1\"] }]",
            "7 fault: `b` is a node of the cluster, no ping node",
        ),
        (
            "[connectivity]\nping_group = [{ name = \"up\" }]",
            "7 fault: a ping group has 1 to 16 addresses",
        ),
    ] {
        let text = CLUSTER.replace("[[link]]", "[[link]]\n") + line;
        let mut found = loaded(&text).1;
        found.retain(|it| it.contains("fault") && !it.contains("no fencing program x"));
        assert_eq!(found, [want], "{line:?}");
    }
}

#[test]
fn the_service_and_its_programs_are_read() {
    let text = format!(
        "{CLUSTER}[service]\nrealtime = false\npriority = 20\nwatchdog = \"/dev/watchdog\"\n\
         log_file = \"/var/log/pairbeat\"\nlog_facility = \"daemon\"\ndebug = 1\n\
         [[respawn]]\nuser = \"nobody\"\ncommand = [\"/opt/x.d/watcher\", \"--all\"]\nvital = true\n"
    );
    let world = World::default()
        .with("/p/pairbeat.toml", &text)
        .with("/opt/x.d/watcher", "#!/bin/sh\n")
        .with("/p/keys", &keys::key_file(1, b"32 bytes nobody could ever guess"));
    let node = NodeName::new("a").unwrap();
    let (config, found) = load(Path::new("/p/pairbeat.toml"), &node, &world);
    let service = config.unwrap_or_else(|| panic!("{:?}", brief(&found))).service;
    assert_eq!((service.realtime, service.priority, service.log.debug), (false, 20, 1));
    assert_eq!(service.log.facility.map(|it| it.number), Some(3));
    assert!(service.respawn[0].vital && service.respawn[0].args == ["--all"]);
    for (line, want) in [
        ("[service]\nlog_facility = \"lokal\"", "6 fault: `lokal` is no syslog facility"),
        ("[service]\nwatchdog = \"wd\"", "6 fault: `wd` is not an absolute path"),
        ("[service]\npriority = 50", "6 fault: not a whole number of 1 to 49"),
        ("[[respawn]]\nuser = \"x\"", "5 fault: a program without `user` or `command`"),
        (
            "[[respawn]]\nuser = \"x\"\ncommand = [\"x\"]",
            "7 fault: `x` is not the absolute path of an executable file",
        ),
        (
            "[[respawn]]\nuser = \"nosuchuser\"\ncommand = [\"/opt/x.d/watcher\"]\nvital = true",
            "6 fault: no user `nosuchuser` in /etc/passwd",
        ),
    ] {
        let found = loaded(&format!("{CLUSTER}{line}")).1;
        let found: Vec<_> = found.iter().filter(|it| it.contains("fault")).collect();
        assert_eq!(found, [want], "{line:?}");
    }
}

#[test]
fn full_nat_takes_its_source_from_the_real_servers_family() {
    let with = |line: &str| {
        let (config, found) = loaded(&format!(
            "{CLUSTER}[[director.web.service]]\naddress = \"10.0.0.1:53\"\nprotocol = \"udp\"\n\
             check = \"on\"\nreal = [\"10.0.0.3:5353\"]\n{line}\n"
        ));
        let found: Vec<_> = found.into_iter().filter(|it| it.contains("fault")).collect();
        (config, found)
    };
    for word in ["fullnat", "fullnat:10.0.0.9"] {
        let (config, found) = with(&format!("forwarding = \"{word}\""));
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let real = &config.directors.values().next().unwrap().services[0].reals[0];
        assert_eq!((real.forwarding.to_string().as_str(), real.key.port), (word, 5353));
    }
    for (line, want) in [
        (
            "forwarding = \"fullnat:2001:db8::9\"",
            "fault: 10.0.0.3 can't get packets from 2001:db8::9: another family",
        ),
        (
            "forwarding = \"fullnat:0.0.0.0\"",
            "fault: 0.0.0.0 is no address that a real server can answer",
        ),
        ("forwarding = \"fullnat:eth0\"", "fault: `fullnat:eth0` is not a forwarding method"),
        (
            "forwarding = \"fullnat\"\none_packet = true",
            "fault: `one_packet` and fullnat exclude each other",
        ),
    ] {
        let found = with(line).1;
        assert!(found.len() == 1 && found[0].ends_with(want), "{line:?}: {found:?}");
    }
}

#[test]
fn scripts_programs_and_files_are_checks_and_need_their_words() {
    let with = |check: &str| {
        loaded(&format!(
            "{CLUSTER}[[director.web.service]]\naddress = \"10.0.0.1:80\"\ncheck = {check}\n\
             real = [\"10.0.0.3:8080\"]\nforwarding = \"masq\"\n"
        ))
    };
    for (check, want) in [
        (
            "{ type = \"script\", command = [\"/x/y\", \"--fast\"] }",
            "External(ProgramCheck { program: \"/x/y\", args: [\"--fast\"], told: \
             Environment { service: \"tcp 10.0.0.1:80\" } })",
        ),
        (
            "{ type = \"external\", command = \"/x/y\" }",
            "External(ProgramCheck { program: \"/x/y\", args: [], told: Arguments { \
             service: \"10.0.0.1\", service_port: 80, port: 8080 } })",
        ),
        (
            "{ type = \"file\", path = \"/run/up\", receive = \"yes\" }",
            "File(FileCheck { path: \"/run/up\", receive: Some(\"yes\") })",
        ),
    ] {
        let (config, found) = with(check);
        let director = config.unwrap_or_else(|| panic!("{found:?}")).directors.pop_first();
        let (_, director) = director.unwrap();
        assert_eq!(format!("{:?}", director.services[0].reals[0].check), want);
    }
    for (check, want) in [
        ("\"script\"", "a check by a program needs a `command`"),
        ("{ type = \"external\", command = [] }", "a command begins with the path of a program"),
        (
            "{ type = \"script\", command = \"test -e /x\" }",
            "a command begins with the path of a program",
        ),
        ("\"file\"", "a check by a file needs a `path`"),
        ("{ type = \"file\", path = \"up\" }", "`up` is not a path"),
    ] {
        let (config, found) = with(check);
        assert!(config.is_none() && found.iter().any(|it| it.contains(want)), "{check}: {found:?}");
    }
}

#[test]
fn mails_of_a_director_are_those_of_its_services_but_for_what_they_say_themselves() {
    let group = "[[group]]\nname=\"w\"\npreferred=\"a\"\nresources=[\"10.1.0.1\", { director = \"web\" }]\n";
    let director = |mail: &str, service: &str| {
        format!(
            "{CLUSTER}{group}[director.web]\nmail = {mail}\n[[director.web.service]]\n\
             address = \"10.1.0.1:80\"\nreal = [\"10.1.0.2\"]\n{service}"
        )
    };
    let all = "{ to = [\"ops@example.com\"], from = \"d@example.com\", repeat = \"1h\", smtp = \"mail:587\" }";
    let own = "name = \"Shop\"\ncomment = \"ask\"\nmonitor_file = \"/var/log/checks\"\n\
               mail = { to = \"shop@example.com\", when = [\"running\"] }\n";
    let (config, found) = loaded(&director(all, own));
    assert_eq!(found, Vec::<String>::new());
    let config = config.unwrap();
    let notify = &config.directors.values().next().unwrap().services[0].notify;
    let mail = notify.mail.as_ref().unwrap();
    assert_eq!(mail.envelope.addressees(), "shop@example.com");
    assert_eq!(mail.envelope.relay.as_ref().unwrap().to_string(), "mail:587");
    assert_eq!(mail.repeat, Some(std::time::Duration::from_secs(3600)));
    assert!(mail.stages.running && !mail.stages.starting);
    assert_eq!(notify.name.as_ref().unwrap().as_str(), "Shop");
    assert_eq!(notify.monitor.as_deref(), Some(Path::new("/var/log/checks")));

    let none = "mail = { to = [] }\n";
    let (config, _) = loaded(&director(all, none));
    let notify = config.unwrap().directors.values().next().unwrap().services[0].notify.clone();
    assert_eq!(notify.mail, None, "nobody is nobody");

    let bad = "{ to = [\"a b\"], from = \"x <y\", repeat = \"0s\", when = [\"always\"], smtp = \"a b\", fro = 1 }";
    let (_, found) = loaded(&director(bad, "name = \"a\\nb\"\nmonitor_file = \"checks\"\n"));
    let faults: Vec<&str> =
        found.iter().filter_map(|it| it.split_once("fault: ")).map(|it| it.1).collect();
    assert_eq!(
        faults,
        [
            "that is no mail address",
            "the `>` behind the address is missing",
            "at least 1s and at most 30 days",
            "`always` is not a stage of a director",
            "that is no host",
            "unknown key `fro`",
            "a text of one line is wanted here",
            "`checks` is not a whole path",
        ]
    );
}

/// The configuration with one group and one service of `lines`, and what was found.
fn with_service(resources: &str, lines: &str) -> (Option<Config>, Vec<String>) {
    loaded(&format!(
        "{CLUSTER}[[group]]\nname=\"g\"\npreferred=\"a\"\nresources=[\"10.9.9.9/24/eth0\",\
         {resources}{{director=\"d\"}}]\n[[director.d.service]]\n{lines}\n"
    ))
}

#[test]
fn sctp_is_checked_by_an_association_and_not_by_what_goes_over_tcp_or_udp_only() {
    let service = |check: &str| {
        let lines =
            format!("address=\"10.9.9.9:3868\"\nprotocol=\"sctp\"\nreal=[\"10.1.0.1\"]\n{check}");
        with_service("", &lines)
    };
    for (check, want) in
        [("", "Connect(Sctp)"), ("check=\"connect\"", "Connect(Sctp)"), ("check=\"ping\"", "Ping")]
    {
        let (config, found) = service(check);
        let director = config.unwrap_or_else(|| panic!("{found:?}")).directors.pop_first();
        let service = &director.unwrap().1.services[0];
        assert_eq!(format!("{:#}", service.key), "sctp 10.9.9.9:3868");
        assert_eq!(format!("{:?}", service.reals[0].check), want);
    }
    for (check, what) in [("check=\"dns\"", "dns"), ("check=\"sip\"", "sip")] {
        let (config, found) = service(check);
        let want = format!("a check of {what} goes over the service's tcp or udp, not sctp");
        assert!(config.is_none() && found.iter().any(|it| it.ends_with(&want)), "{found:?}");
    }
    let (_, found) = with_service("", "address=\"10.9.9.9:1\"\nprotocol=\"dccp\"\nreal=[]");
    assert!(found.iter().any(|it| it.ends_with("`dccp` is not a protocol")), "{found:?}");
}

#[test]
fn a_server_of_the_other_address_family_is_reached_by_a_tunnel_and_not_beside_a_sync() {
    let service = |vip: &str, real: &str, method: &str| {
        let lines = format!(
            "address=\"{vip}\"\nreal=[\"{real}\"]\nforwarding=\"{method}\"\ncheck=\"ping\""
        );
        (with_service("", &lines), with_service("{sync=\"eth1\"},", &lines))
    };
    for (vip, real, shown) in
        [("10.9.9.9:80", "fd00::7", "[fd00::7]:80"), ("[fd00::9]:80", "10.1.0.1", "10.1.0.1:80")]
    {
        for method in ["ipip", "gue:6080", "gre,csum"] {
            let ((config, found), (beside_sync, why)) = service(vip, real, method);
            let director = config.unwrap_or_else(|| panic!("{found:?}")).directors.pop_first();
            let service = &director.unwrap().1.services[0];
            assert_eq!(service.reals[0].key.to_string(), shown);
            assert_eq!(service.reals[0].check_address, real.parse::<std::net::IpAddr>().unwrap());
            assert!(beside_sync.is_none(), "{why:?}");
            assert!(
                why.iter().any(|it| it.contains("the kernel does one or the other")),
                "{why:?}"
            );
        }
        for method in ["gate", "masq"] {
            let ((config, found), _) = service(vip, real, method);
            let want = format!("and `{method}` can't get there");
            assert!(config.is_none() && found.iter().any(|it| it.ends_with(&want)), "{found:?}");
        }
    }
}

#[test]
fn a_sync_takes_messages_of_the_nodes_only_where_their_addresses_are_known() {
    let admitted = |sync: &str| {
        let lines = "address=\"10.9.9.9:80\"\nreal=[\"10.1.0.1\"]\ncheck=\"ping\"";
        let (config, found) = with_service(&format!("{{{sync}}},"), lines);
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let peers = config.sync().unwrap().1.admitted(&config.links);
        (peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), found)
    };
    let (peers, found) = admitted("sync=\"eth0\",peers=[\"10.9.9.2\",\"10.9.9.1\"]");
    assert_eq!((peers.as_str(), found), ("10.9.9.1 10.9.9.2", Vec::new()));
    let (peers, found) = admitted("sync=\"eth7\"");
    assert_eq!((peers.as_str(), found), ("", Vec::new()));
    let (_, found) = admitted("sync=\"eth0\"");
    assert!(
        found.iter().any(|it| it.contains("on eth0, where the clients are, and takes messages of")),
        "{found:?}"
    );
    let (_, found) = with_service("{sync=\"eth0\",peers=\"224.0.0.1\"},", "mark=1\nreal=[]");
    assert!(found.iter().any(|it| it.ends_with("is not the address of a node")), "{found:?}");
}
