//! Lets only the peer tell this node of connections.
//!
//! What the backup daemon hears on its interface it puts into the kernel's table, whoever sent it. One
//! table of ours drops what comes there for its port from any other address, before anybody else sees it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::kernel::nft::{self, NftError, Seal, removal};

/// Our table.
const TABLE: &str = "inet pairbeat_sync";
/// Before connection tracking (`NF_IP_PRI_RAW` of linux/netfilter_ipv4.h).
const PRIORITY: i32 = -300;

/// Who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGuard {
    /// Where the daemon listens.
    pub interface: String,
    /// Its UDP port.
    pub port: u16,
    /// Whose messages are let in; the others' are dropped.
    pub peers: BTreeSet<IpAddr>,
}

/// Reads what is in force.
///
/// # Errors
/// When nobody knows.
pub async fn look() -> Result<Seal, NftError> {
    Seal::of(TABLE).await
}

/// Puts the rules in force, in the place of those of an earlier life, and reads them back.
///
/// # Errors
/// Then what was in force before still is.
pub async fn begin(guard: &SyncGuard) -> Result<Seal, NftError> {
    nft::apply(&rules(guard)).await?;
    look().await
}

/// Takes the rules out of force.
///
/// # Errors
/// Then they may still be in force.
pub async fn end() -> Result<(), NftError> {
    nft::apply(&removal(TABLE)).await
}

fn rules(guard: &SyncGuard) -> String {
    let SyncGuard { interface, port, peers } = guard;
    let mut rules = removal(TABLE);
    rules += &format!(
        "add table {TABLE}\n\
         add chain {TABLE} peers {{ type filter hook prerouting priority {PRIORITY}; }}\n"
    );
    for peer in peers {
        let family = if peer.is_ipv6() { "ip6" } else { "ip" };
        rules += &format!(
            "add rule {TABLE} peers iifname \"{interface}\" udp dport {port} {family} saddr {peer} \
             counter accept\n"
        );
    }
    rules +=
        &format!("add rule {TABLE} peers iifname \"{interface}\" udp dport {port} counter drop\n");
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_are_let_in_and_then_nobody() {
        let guard = SyncGuard {
            interface: "eth1".to_owned(),
            port: 8848,
            peers: ["10.0.0.2", "fe80::2"].map(|ip| ip.parse().unwrap()).into(),
        };
        let rules = rules(&guard);
        let rules: Vec<&str> = rules.lines().skip(4).collect();
        assert_eq!(
            rules,
            [
                "add rule inet pairbeat_sync peers iifname \"eth1\" udp dport 8848 ip saddr \
                 10.0.0.2 counter accept",
                "add rule inet pairbeat_sync peers iifname \"eth1\" udp dport 8848 ip6 saddr \
                 fe80::2 counter accept",
                "add rule inet pairbeat_sync peers iifname \"eth1\" udp dport 8848 counter drop",
            ]
        );
    }
}
