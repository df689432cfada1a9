//! The rules of full NAT as text, and the settings that they need.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::kernel::nft::removal;
use crate::kernel::sysctl::{self, SysctlError};
use crate::lvs::model::{Protocol, RealKey, ServiceKey};
use crate::lvs::translation::Translated;

/// Connections of IPVS are known to conntrack, without which nothing of them is translated.
const CONNTRACK: &str = "net/ipv4/vs/conntrack";
/// A connection that comes back, after the other node had it, is not where conntrack saw it last: it would
/// be invalid, and go out as it is.
const LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";
/// Before other people's source NAT: of two rules for one connection the first one counts.
const PRIORITY: i32 = 90;

/// What the two settings were before ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    conntrack: String,
    liberal: String,
}

impl Found {
    pub(super) fn read() -> Result<Self, SysctlError> {
        // Conntrack may not be loaded yet; then it comes with the kernel's default.
        let liberal = sysctl::read(LIBERAL).unwrap_or_else(|_| "0".to_owned());
        Ok(Self { conntrack: sysctl::read(CONNTRACK)?, liberal })
    }

    /// Sets both as full NAT needs them.
    pub(super) fn set() -> Result<(), SysctlError> {
        [CONNTRACK, LIBERAL].into_iter().try_for_each(|name| sysctl::write(name, "1"))
    }

    /// Whether both are so.
    pub(super) fn is_set() -> bool {
        let set = |name| sysctl::read(name).is_ok_and(|value| value == "1");
        [CONNTRACK, LIBERAL].into_iter().all(set)
    }

    /// Sets both as they were; one that stood was somebody else's, who may have taken it back meanwhile.
    pub(super) fn restore(&self) -> Result<(), SysctlError> {
        let found = [(LIBERAL, &self.liberal), (CONNTRACK, &self.conntrack)];
        let ours = found.into_iter().filter(|(_, value)| *value != "1");
        let done: Vec<_> = ours.map(|(name, value)| sysctl::write(name, value)).collect();
        done.into_iter().collect()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conntrack, liberal } = self;
        write!(f, "{CONNTRACK}={conntrack} {LIBERAL}={liberal}")
    }
}

/// What a table's comment says, as nft writes the table.
pub(super) fn comment(table: &str) -> Option<Found> {
    let value = |name: &str| {
        let (_, rest) = table.split_once(name)?;
        let digits = rest.strip_prefix('=')?.split(|c: char| !c.is_ascii_digit()).next()?;
        (!digits.is_empty()).then(|| digits.to_owned())
    };
    Some(Found { conntrack: value(CONNTRACK)?, liberal: value(LIBERAL)? })
}

/// Destinations of one service with one source.
type Group<'a> = ((&'a ServiceKey, Option<IpAddr>), Vec<&'a RealKey>);

/// The rules that replace whatever there is in the table.
pub(super) fn text(table: &str, translated: &Translated, found: &Found) -> String {
    let mut groups: BTreeMap<_, Vec<&RealKey>> = BTreeMap::new();
    for (service, real, source) in translated.iter() {
        groups.entry((service, source)).or_default().push(real);
    }
    let mut text = removal(table);
    // Writing to a String can't fail.
    let _infallible = write_chains(&mut text, table, found);
    for group in groups {
        let _infallible = write_group(&mut text, table, &group);
    }
    text
}

fn write_chains(out: &mut String, table: &str, found: &Found) -> fmt::Result {
    writeln!(out, "add table {table} {{ comment \"{found}\"; }}")?;
    writeln!(
        out,
        "add chain {table} source {{ type nat hook postrouting priority {PRIORITY}; }}\n\
         add chain {table} lost {{ type filter hook input priority -1; }}"
    )
}

fn write_group(out: &mut String, table: &str, group: &Group<'_>) -> fmt::Result {
    let ((service, source), reals) = group;
    let ip = if service.is_ipv6() { "ip6" } else { "ip" };
    let mapped = reals.iter().all(|real| real.port > 0);
    let elements = elements(reals, mapped);
    let port = if mapped { " . th dport" } else { "" };
    let to = match source {
        Some(source) => format!("snat {ip} to {source}"),
        None => "masquerade".to_owned(),
    };
    let sent = sent(service, (ip, mapped), reals);
    writeln!(out, "add rule {table} source {sent} {ip} daddr{port} {elements} {to}")?;
    let tcp =
        !matches!(service, ServiceKey::Address { protocol, .. } if *protocol != Protocol::Tcp);
    let Some(source) = source.filter(|_| tcp) else { return Ok(()) };
    // An answer before the client's first packet after a switch belongs to nobody here yet: it is sent
    // again. This machine would refuse it, and end the connection.
    let port = if mapped { " . tcp sport" } else { "" };
    writeln!(
        out,
        "add rule {table} lost ct state new,invalid tcp flags & (fin|syn|rst|ack) != syn \
         {ip} daddr {source} {ip} saddr{port} {elements} drop"
    )
}

/// What tells packets that IPVS sends for a service from others: where they were sent at first.
fn sent(service: &ServiceKey, (ip, mapped): (&str, bool), reals: &[&RealKey]) -> String {
    match service {
        ServiceKey::Address { protocol, address, port } => {
            let port =
                if *port > 0 { format!(" ct original proto-dst {port}") } else { String::new() };
            format!("meta l4proto {protocol} ct original {ip} daddr {address}{port}")
        }
        ServiceKey::Mark { mark, .. } => {
            let protocols = if mapped { "meta l4proto { tcp, udp, sctp } " } else { "" };
            let selves = elements(reals, false);
            format!("meta mark {mark} {protocols}ct original {ip} daddr != {selves}")
        }
    }
}

fn elements(reals: &[&RealKey], mapped: bool) -> String {
    let each = reals.iter().map(|real| match mapped {
        true => format!("{} . {}", real.address, real.port),
        false => real.address.to_string(),
    });
    format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lvs::model::{DestEntry, Forwarding};
    use crate::lvs::plan::Op;

    fn found() -> Found {
        Found { conntrack: "0".to_owned(), liberal: "1".to_owned() }
    }

    fn rules(dests: &[(ServiceKey, &str, &str)]) -> Vec<String> {
        let ops: Vec<_> = dests
            .iter()
            .map(|(service, real, forwarding)| {
                let real: std::net::SocketAddr = real.parse().expect("real");
                let real = RealKey { address: real.ip(), port: real.port() };
                let forwarding: Forwarding = forwarding.parse().expect("forwarding");
                Op::AddDest(*service, real, DestEntry::new(forwarding, 1))
            })
            .collect();
        let text = text("inet t", &Translated::default().before(&ops), &found());
        let rules = text.lines().filter_map(|line| line.strip_prefix("add rule inet t "));
        rules.map(ToOwned::to_owned).collect()
    }

    fn key(protocol: Protocol, address: &str, port: u16) -> ServiceKey {
        ServiceKey::Address { protocol, address: address.parse().expect("ip"), port }
    }

    #[test]
    fn a_rule_is_for_what_one_service_sends_to_its_servers_and_nothing_else() {
        let web = key(Protocol::Tcp, "192.168.2.110", 80);
        let both = [(web, "10.1.0.7:8080", "fullnat"), (web, "10.1.0.8:8080", "fullnat")];
        assert_eq!(
            rules(&both),
            [
                "source meta l4proto tcp ct original ip daddr 192.168.2.110 ct original proto-dst 80 \
              ip daddr . th dport { 10.1.0.7 . 8080, 10.1.0.8 . 8080 } masquerade"
            ]
        );
    }

    #[test]
    fn a_given_source_is_the_source_and_its_stray_answers_are_not_refused() {
        let dns = key(Protocol::Udp, "2001:db8::110", 53);
        assert_eq!(
            rules(&[(dns, "[2001:db8:1::7]:53", "fullnat:2001:db8::9")]),
            [
                "source meta l4proto udp ct original ip6 daddr 2001:db8::110 ct original proto-dst 53 \
              ip6 daddr . th dport { 2001:db8:1::7 . 53 } snat ip6 to 2001:db8::9"
            ]
        );
        let web = key(Protocol::Tcp, "192.168.2.110", 80);
        let with_source = rules(&[(web, "10.1.0.7:80", "fullnat:192.168.2.112")]);
        assert!(with_source[0].ends_with("snat ip to 192.168.2.112"));
        assert_eq!(
            with_source[1],
            "lost ct state new,invalid tcp flags & (fin|syn|rst|ack) != syn ip daddr 192.168.2.112 \
             ip saddr . tcp sport { 10.1.0.7 . 80 } drop"
        );
    }

    #[test]
    fn marked_packets_that_were_sent_to_the_server_itself_stay_as_they_are() {
        let mark = ServiceKey::Mark { ipv6: false, mark: 7 };
        assert_eq!(
            rules(&[(mark, "10.1.0.7:0", "fullnat")]),
            [
                "source meta mark 7 ct original ip daddr != { 10.1.0.7 } ip daddr { 10.1.0.7 } masquerade"
            ]
        );
        assert!(rules(&[(mark, "10.1.0.7:8080", "fullnat")])[0].contains("10.1.0.7 . 8080"));
    }

    #[test]
    fn the_comment_says_what_the_settings_were() {
        let written = text("inet t", &Translated::default(), &found());
        assert_eq!(comment(&written), Some(found()));
        assert_eq!(comment("table inet t {\n\tcomment \"of somebody else\"\n}"), None);
        // What nft(8) takes.
        assert!(found().to_string().len() < 128);
    }
}
