//! What a director that is a real server itself takes as its own: packets for the virtual IP that come
//! from another real server's hardware address (see [`crate::lvs::localnode`]).
//!
//! ```text
//!   input, before IPVS: packet for the VIP from such an address -> its type becomes broadcast
//!   IPVS (priorities 98 and 99): looks at packets for this host only -> lets it pass
//!   input, behind IPVS: its type becomes host again -> the machine's own server
//! ```
//!
//! `ip_vs_in` of `net/netfilter/ipvs/ip_vs_core.c` passes by what is not `PACKET_HOST`. Its `backup_only`
//! counts only while the backup sync daemon runs, which is not when a planned switch has begun. A table of
//! our own; it stays after a death, as the real server does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use crate::kernel::nft::{self, NftError, removal};
use crate::net::frames::Mac;

const TABLE: &str = "inet pairbeat_local";

/// For each virtual IP the hardware addresses of the other real servers.
pub type Fellows = BTreeMap<IpAddr, BTreeSet<Mac>>;

/// Puts the rules for these in force, in the place of earlier ones.
///
/// # Errors
/// Then what was in force before still is.
pub async fn put(fellows: &Fellows) -> Result<(), NftError> {
    nft::apply(&rules(fellows)).await
}

/// What is in force, as nft writes it; `None`: nothing.
///
/// # Errors
/// When nobody knows.
pub async fn look() -> Result<Option<String>, NftError> {
    nft::table(TABLE).await
}

/// Takes the rules out of force.
///
/// # Errors
/// They may still be in force.
pub async fn end() -> Result<(), NftError> {
    nft::apply(&removal(TABLE)).await
}

/// For so long open connections to the virtual IP are looked for in IPVS's table wherever their packets
/// come from: its new holder passes on what only we know.
pub async fn pass(vip: IpAddr, span: Duration) {
    let set = if vip.is_ipv4() { "passing4" } else { "passing6" };
    let millis = span.as_millis();
    // Where there is no such table, nothing keeps them from there.
    let _none =
        nft::apply(&format!("add element {TABLE} {set} {{ {vip} timeout {millis}ms }}\n")).await;
}

fn rules(fellows: &Fellows) -> String {
    let mut text = removal(TABLE);
    // Writing to a String can't fail.
    let _infallible = write_rules(&mut text, fellows);
    text
}

fn write_rules(out: &mut String, fellows: &Fellows) -> std::fmt::Result {
    writeln!(out, "add table {TABLE}")?;
    for (set, kind) in [("passing4", "ipv4_addr"), ("passing6", "ipv6_addr")] {
        writeln!(out, "add set {TABLE} {set} {{ type {kind}; flags timeout; }}")?;
    }
    for (chain, priority) in [("before", 97), ("behind", 100)] {
        writeln!(
            out,
            "add chain {TABLE} {chain} {{ type filter hook input priority {priority}; }}"
        )?;
    }
    for (family, set) in [("ip", "passing4"), ("ip6", "passing6")] {
        writeln!(
            out,
            "add rule {TABLE} before {family} daddr @{set} tcp flags & (syn | rst) == 0x0 accept"
        )?;
    }
    for (vip, macs) in fellows {
        let family = if vip.is_ipv4() { "ip" } else { "ip6" };
        for mac in macs {
            let from = format!("{family} daddr {vip} ether saddr {}", words(mac));
            writeln!(
                out,
                "add rule {TABLE} before {from} meta pkttype set broadcast\n\
                 add rule {TABLE} behind {from} meta pkttype broadcast meta pkttype set host"
            )?;
        }
    }
    Ok(())
}

/// As nft writes it.
pub(super) fn words(mac: &Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_virtual_ip_has_its_fellows_in_both_chains() {
        let vip = "192.168.2.110".parse().unwrap();
        let vip6 = "2001:db8::110".parse().unwrap();
        let text = rules(
            &[(vip, [[2, 0, 0, 0, 0, 1]].into()), (vip6, [[2, 0, 0, 0, 0, 2]].into())].into(),
        );
        for (chain, from) in [
            ("before", "ip daddr 192.168.2.110 ether saddr 02:00:00:00:00:01"),
            ("behind", "ip daddr 192.168.2.110 ether saddr 02:00:00:00:00:01"),
            ("before", "ip6 daddr 2001:db8::110 ether saddr 02:00:00:00:00:02"),
        ] {
            assert!(text.contains(&format!("pairbeat_local {chain} {from} meta")), "{text}");
        }
    }
}
