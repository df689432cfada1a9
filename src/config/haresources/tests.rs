use super::*;
use crate::config::testing::{World, brief};
use crate::config::{Resource, ResourceKind, ScriptStyle};

fn world() -> World {
    World::default()
        .with("/c/resource.d/Filesystem", "")
        .with("/c/resource.d/Notify", "")
        .with("/usr/sbin/sendmail", "")
        .with("/etc/ha.d/resource.d/Filesystem", "")
        .with("/etc/ha.d/resource.d/Delay", "")
        .with("/etc/init.d/apache2", "")
}

fn groups(text: &str) -> (Vec<DraftGroup>, Vec<String>) {
    let source = Source::literal("haresources", text);
    let (groups, found) = read(&source, Path::new("/c"), &world());
    (groups, brief(&found))
}

/// The only resource of a group, in a few words.
fn told(resource: &Resource) -> String {
    match &resource.kind {
        ResourceKind::Address(a) => {
            let mut text = a.ip.to_string();
            text.extend(a.prefix.map(|prefix| format!("/{prefix}")));
            text.extend(a.interface.as_ref().map(|nic| format!(" on {nic}")));
            text.extend(a.label.as_ref().map(|label| format!(" as {label}")));
            text.extend(a.broadcast.map(|broadcast| format!(" broadcast {broadcast}")));
            text
        }
        ResourceKind::Director(name) => format!("director {name}"),
        ResourceKind::Sync(s) => format!("sync on {} id {}", s.interface, s.id),
        ResourceKind::Announce(a) => {
            format!("announce {} on {}", a.ip, a.interface.as_deref().unwrap_or("-"))
        }
        ResourceKind::Mail(mail) => format!("mail {}: {}", mail.to.join(" "), mail.subject),
        ResourceKind::Script(s) => {
            let style = if s.style == ScriptStyle::Lsb { "lsb" } else { "script" };
            format!("{style} {} {:?}", s.path.display(), s.args)
        }
    }
}

#[test]
fn every_form_of_a_resource_is_understood() {
    for (text, want) in [
        ("192.168.2.110", "192.168.2.110"),
        ("192.168.2.110/24", "192.168.2.110/24"),
        ("192.168.2.110/255.255.255.0", "192.168.2.110/24"),
        ("192.168.2.110/24/eth0", "192.168.2.110/24 on eth0"),
        ("192.168.2.110/24/192.168.2.255", "192.168.2.110/24 broadcast 192.168.2.255"),
        ("192.168.2.110/24/eth0/192.168.2.255", "192.168.2.110/24 on eth0 broadcast 192.168.2.255"),
        ("IPaddr::192.168.2.110/24/eth0:0", "192.168.2.110/24 on eth0 as eth0:0"),
        ("IPaddr2::192.168.2.110/24/bond0.7", "192.168.2.110/24 on bond0.7"),
        ("IPaddr2::2001:db8::110/64/eth0", "2001:db8::110/64 on eth0"),
        ("2001:db8::110/64/eth0", "2001:db8::110/64 on eth0"),
        ("ldirectord::web.cf", "director web.cf"),
        ("ldirectord", "director ldirectord.cf"),
        ("Filesystem::/dev/sdb1::/srv", r#"script /c/resource.d/Filesystem ["/dev/sdb1", "/srv"]"#),
        ("LVSSyncDaemonSwap::master", "sync on eth0 id 0"),
        ("LVSSyncDaemonSwap::master::eth1", "sync on eth1 id 0"),
        ("LVSSyncDaemonSwap::master::eth1::255", "sync on eth1 id 255"),
        ("Delay::5", r#"script /etc/ha.d/resource.d/Delay ["5"]"#),
        ("apache2", "lsb /etc/init.d/apache2 []"),
        ("Notify::root", r#"script /c/resource.d/Notify ["root"]"#),
        ("MailTo::root", "mail root: Resource Group"),
        ("MailTo::root,ops@example.org::web", "mail root ops@example.org: web"),
        ("SendArp::192.168.2.110/eth0", "announce 192.168.2.110 on eth0"),
        ("IPv6addr::2001:db8::110/64/eth0", "2001:db8::110/64 on eth0"),
        ("IPv6addr::2001:db8::110", "2001:db8::110"),
    ] {
        let (groups, found) = groups(&format!("a {text}\n"));
        assert_eq!(found, Vec::<String>::new(), "{text}");
        assert_eq!(told(&groups[0].group.resources[0]), want);
        assert_eq!(groups[0].group.name.as_str(), text);
        assert_eq!(groups[0].group.resources[0].text, text);
    }
}

#[test]
fn what_is_no_resource_is_a_fault() {
    for (text, want) in [
        ("192.168.2.110/24/eth0/1.2.3.4/x", "too many parts in an address"),
        ("1.2.3", "no resource script `1.2.3`"),
        ("192.168.2.256/24", "`192.168.2.256` is not an IP address"),
        ("192.168.2.110/0", "`0` is not a netmask"),
        ("192.168.2.110/24/", "`` is no interface name"),
        ("224.0.0.1/24", "a multicast address can't be a virtual IP"),
        ("2001:db8::110/64/eth0:0", "an IPv6 address has no label"),
        ("2001:db8::110/64/eth0/1.2.3.4", "an IPv6 address has no broadcast address"),
        ("IPaddr2", "`IPaddr2` needs an address"),
        ("IPaddr2::", "`` is not an IP address"),
        ("../evil", "a resource is a name, not a path"),
        ("SendArp::1.2.3.4", "`SendArp` needs an address and its interface"),
        ("SendArp", "`SendArp` needs an address and its interface"),
        ("SendArp::1.2.3.4/", "`` is no interface name"),
        ("IPv6addr::192.168.2.110/24", "`IPv6addr` needs an IPv6 address"),
        ("IPv6addr", "`IPv6addr` needs an IPv6 address"),
        ("MailTo", "`MailTo` needs an address"),
        ("MailTo::-oQ/tmp", "`MailTo` needs an address"),
        ("MailTo::root,", "`MailTo` needs an address"),
        ("ocf:heartbeat:IPaddr2", "no OCF agent `heartbeat:IPaddr2`"),
        ("systemd:nginx", "there is no systemctl on this machine"),
        ("ldirectord::", "a name can't be empty"),
    ] {
        let (_, found) = groups(&format!("a {text}\n"));
        assert!(found.contains(&format!("1 fault: {want}")), "{text}: {found:?}");
    }
}

#[test]
fn a_backslash_joins_lines_and_a_hash_ends_them() {
    let (groups, found) =
        groups("# web\nA 10.0.0.1 \\ # first\n  10.0.0.2 \\\n\n\nb 10.0.0.3 #10.0.0.4\n");
    assert_eq!(found, Vec::<String>::new());
    let told: Vec<_> = groups
        .iter()
        .map(|draft| {
            let texts: Vec<_> = draft.group.resources.iter().map(told).collect();
            format!("{}: {}", draft.group.preferred, texts.join(", "))
        })
        .collect();
    assert_eq!(told, ["a: 10.0.0.1, 10.0.0.2", "b: 10.0.0.3"]);
}

#[test]
fn a_name_that_is_too_long_is_shortened_in_the_same_way_everywhere() {
    let long = format!("Filesystem::{}", "x".repeat(80));
    let (first, found) = groups(&format!("a {long}\n"));
    let (second, _) = groups(&format!("# elsewhere\nb {long}\n"));
    assert_eq!(first[0].group.name, second[0].group.name);
    assert_eq!(first[0].group.name.as_str().len(), NAME_LEN_MAX);
    assert_eq!(found.len(), 1);
    let (other, _) = groups(&format!("a {long}y\n"));
    assert_ne!(first[0].group.name, other[0].group.name);
}

/// What an agent says of itself.
const FILESYSTEM: &str = r#"<?xml version="1.0"?>
<resource-agent name="Filesystem"><parameters>
<parameter name="device" required="1"/><parameter name="directory" required="1"/>
<parameter name="fstype"/><parameter name="options"/>
</parameters><actions>
<action name="start" timeout="50s"/><action name="stop" timeout="70s"/>
<action name="monitor" timeout="40s" interval="20s"/>
</actions></resource-agent>"#;

/// A machine with agents and systemd, and without Heartbeat's scripts.
fn agents(text: &str) -> (Vec<DraftGroup>, Vec<String>) {
    let world = World::default()
        .with("/usr/lib/ocf/resource.d/heartbeat/Filesystem", FILESYSTEM)
        .with("/usr/lib/ocf/resource.d/heartbeat/apache", "no description")
        .with("/usr/lib/ocf/resource.d/own/thing", "")
        .with("/bin/systemctl", "")
        .with("/c/conf/OCF/apache/web", "# ours\nexport configfile='/etc/web.conf'\nport=81\n")
        .with("/c/conf/OCF/apache/shell", "port=$(cat /etc/port)\n");
    let source = Source::literal("haresources", text);
    let (groups, found) = read(&source, Path::new("/c"), &world);
    (groups, brief(&found))
}

/// An agent with its parameters, or a unit.
fn program(resource: &Resource) -> String {
    let ResourceKind::Script(script) = &resource.kind else { return "no program".to_owned() };
    match &script.style {
        ScriptStyle::Ocf(agent) => {
            let params = agent.parameters.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("{}:{}{}", agent.provider, agent.agent, params.collect::<String>())
        }
        _ => format!("{} {}", script.path.display(), script.args.join(" ")),
    }
}

#[test]
fn every_form_of_an_agent_and_a_unit_is_understood() {
    for (text, want) in [
        (
            "ocf:heartbeat:Filesystem::device=/dev/sdb1::directory=/srv",
            "heartbeat:Filesystem device=/dev/sdb1 directory=/srv",
        ),
        ("ocf:own:thing", "own:thing"),
        ("own::thing::a=1", "own:thing a=1"),
        ("OCF::apache::port=80", "heartbeat:apache port=80"),
        ("OCF::apache::web", "heartbeat:apache configfile=/etc/web.conf port=81"),
        ("apache", "heartbeat:apache"),
        ("apache::/etc/web.conf", "heartbeat:apache configfile=/etc/web.conf"),
        (
            "Filesystem::/dev/sdb1::/srv::ext4",
            "heartbeat:Filesystem device=/dev/sdb1 directory=/srv fstype=ext4",
        ),
        ("systemd:nginx", "/bin/systemctl nginx.service"),
        ("systemd:db@one.service", "/bin/systemctl db@one.service"),
    ] {
        let (groups, found) = agents(&format!("a {text}\n"));
        assert_eq!(found, Vec::<String>::new(), "{text}");
        assert_eq!(program(&groups[0].group.resources[0]), want, "{text}");
    }
}

#[test]
fn an_agent_is_given_the_time_that_it_asks_for() {
    let (groups, _) = agents("a Filesystem::/dev/sdb1::/srv OCF::apache::web\n");
    let [disk, web] = groups[0].group.resources.as_slice() else { unreachable!() };
    let seconds = |resource: &Resource| {
        let monitor = resource.monitor.unwrap();
        let times =
            [resource.start_timeout, resource.stop_timeout, monitor.timeout, monitor.interval];
        times.map(|time| time.as_secs())
    };
    assert_eq!((seconds(disk), seconds(web)), ([50, 70, 40, 20], [60, 60, 20, 10]));
    assert!(!disk.monitor.unwrap().wary);
}

#[test]
fn what_is_wrong_with_an_agent_or_a_unit_is_named() {
    for (text, want) in [
        ("ocf:heartbeat", "fault: `heartbeat` is no OCF agent"),
        ("ocf:heartbeat:../x", "fault: `heartbeat:../x` is no OCF agent"),
        ("ocf:heartbeat:nothing", "fault: no OCF agent `heartbeat:nothing`"),
        ("ocf:own:thing::/dev/sdb1", "fault: `/dev/sdb1` is no parameter of an agent"),
        ("ocf:own:thing::a-b=1", "fault: `a-b=1` is no parameter of an agent"),
        (
            "ocf:own:thing::password=x",
            "warning: `password` is a secret, and this line is shown in the status",
        ),
        ("OCF::apache::gone", "fault: no file /c/conf/OCF/apache/gone for the agent"),
        ("OCF::apache::shell", "fault: /c/conf/OCF/apache/shell:1: not NAME=VALUE"),
        ("apache::a::b", "fault: too many arguments"),
        ("LVM::vg", "fault: no resource script `LVM`"),
        ("Filesystem::/dev/sdb1", "warning: the agent wants its parameter `directory`"),
        (
            "ocf:heartbeat:Filesystem::device=x::directory=y::fsType=z",
            "warning: the agent has no parameter `fsType`",
        ),
        ("systemd:a/b", "fault: `a/b` is no name of a unit"),
        ("systemd:", "fault: `` is no name of a unit"),
        ("systemd:--force", "fault: `--force` is no name of a unit"),
    ] {
        let (_, found) = agents(&format!("a {text}\n"));
        assert_eq!(found, [format!("1 {want}")], "{text}");
    }
}
