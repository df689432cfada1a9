use super::*;
use crate::config::testing::{World, brief};
use crate::config::{Resource, ResourceKind, ScriptStyle};

fn world() -> World {
    World::default()
        .with("/c/resource.d/Filesystem", "")
        .with("/c/resource.d/MailTo", "")
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
        ("MailTo::root", r#"script /c/resource.d/MailTo ["root"]"#),
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
        ("SendArp::1.2.3.4", "the resource `SendArp` is not supported yet"),
        ("ocf:heartbeat:IPaddr2", "OCF agents are not supported yet"),
        ("systemd:nginx", "systemd units are not supported yet"),
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
