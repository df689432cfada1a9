//! What a director that is a real server itself takes as its own: packets for the virtual IP that come
//! from another real server's hardware address (see [`crate::lvs::localnode`]).
//!
//! ```text
//!   prerouting: opens a connection to the VIP, comes from such an address -> to our own address
//!   input: IPVS has no service for that, and lets it pass          -> the machine's own server
//! ```
//!
//! The kernel's connection tracking (nft's `dnat`) does the same with all that follows, wherever it comes
//! from: such a connection goes on when this node becomes the active one. `backup_only` of IPVS counts only
//! while the backup sync daemon runs, which it still does when a planned switch has begun. A table of our
//! own; it stays after a death, as the real server does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use crate::kernel::nft::{self, NftError, Seal, removal};
use crate::net::frames::{Mac, mac_text};

const TABLE: &str = "inet pairbeat_local";

/// For each virtual IP our own address as its real server, and the hardware addresses of the others.
pub type Fellows = BTreeMap<IpAddr, (IpAddr, BTreeSet<Mac>)>;

/// Puts the rules for these in force, in the place of earlier ones.
///
/// # Errors
/// Then what was in force before still is.
pub async fn put(fellows: &Fellows) -> Result<(), NftError> {
    nft::apply(&rules(fellows)).await
}

/// What is in force.
///
/// # Errors
/// When nobody knows.
pub async fn look() -> Result<Seal, NftError> {
    Seal::of(TABLE).await
}

/// Takes the rules out of force.
///
/// # Errors
/// They may still be in force.
pub async fn end() -> Result<(), NftError> {
    nft::apply(&removal(TABLE)).await
}

fn rules(fellows: &Fellows) -> String {
    let mut text = removal(TABLE);
    // Writing to a String can't fail.
    let _infallible = write_rules(&mut text, fellows);
    text
}

fn write_rules(out: &mut String, fellows: &Fellows) -> std::fmt::Result {
    writeln!(out, "add table {TABLE}")?;
    writeln!(out, "add chain {TABLE} own {{ type nat hook prerouting priority -100; }}")?;
    for (vip, (own, macs)) in fellows {
        let family = if vip.is_ipv4() { "ip" } else { "ip6" };
        for mac in macs {
            let from = format!("{family} daddr {vip} ether saddr {}", mac_text(*mac));
            // What is in the middle of a connection goes on where that is.
            for opens in ["tcp flags & (fin | syn | rst | ack) == syn", "meta l4proto != tcp"] {
                writeln!(out, "add rule {TABLE} own {from} {opens} dnat {family} to {own}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_connection_and_comes_from_a_fellow_goes_to_the_own_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let fellows = [
            (ip("192.168.2.110"), (ip("192.168.2.101"), [[2, 0, 0, 0, 0, 1]].into())),
            (ip("2001:db8::110"), (ip("2001:db8::101"), [[2, 0, 0, 0, 0, 2]].into())),
        ];
        let text = rules(&fellows.into());
        for rule in [
            "own ip daddr 192.168.2.110 ether saddr 02:00:00:00:00:01 tcp flags & (fin | syn | rst | \
             ack) == syn dnat ip to 192.168.2.101\n",
            "own ip6 daddr 2001:db8::110 ether saddr 02:00:00:00:00:02 meta l4proto != tcp dnat ip6 to \
             2001:db8::101\n",
        ] {
            assert!(text.contains(rule), "{text}");
        }
    }
}
