//! The VIP lease: the kernel itself takes the virtual IPs out of service when our beat thread is
//! killed, stopped or starved (design 5.4).
//!
//! ```text
//!   beat thread --tick (marked datagram)--> lo, egress: update @alive4 { VIP timeout LEASE }
//!   client --ARP for VIP, packets to VIP--> eth0, ingress: VIP not in @alive4 -> drop
//! ```
//!
//! One table of family netdev (nft(8), kernel 5.16 or newer for the egress hook). While ticks
//! come, nothing is dropped. Without them the elements run out and the node is dark for its VIPs,
//! whatever addresses its interfaces still have. The table is left in place by a death, and
//! replaced as a whole by the next start. Whether it is still there, and when it is to be put back,
//! is seen to by [`crate::daemon`]'s guard.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::cluster::RESTART_SERVED;
use crate::kernel::nft::{self, NftError, Seal, removal};
use crate::net::frames::{Mac, mac_text};

/// Our table.
const TABLE: &str = "netdev pairbeat_lease";
/// Its name, by which it is known in what the kernel tells of changes.
pub const TABLE_NAME: &str = "pairbeat_lease";
/// The mark of a tick ("pb", and a number that no hand-over uses for itself).
const TICK_MARK: u32 = 0x7062_ffff;
/// The mark of the last tick before an end with everything held.
const HOLD_MARK: u32 = 0x7062_fffe;
/// Where ticks go: the discard port of the loopback; they need to pass its egress only.
const TICK_TARGET: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);
/// Ticks in one lease: several may be lost or late.
const TICKS_PER_LEASE: u32 = 5;
/// Longest lease: what a crash may cost where the deadtime is long.
const LEASE_MAX: Duration = Duration::from_secs(1);
/// Room in each set: two keys for each VIP of IPv6, and more VIPs than anybody has. The kernel takes
/// no element beyond it, and then the last ones stay dark.
const ALIVE_MAX: usize = 4096;
/// Before any other ingress hook: what is dark is dark for all.
const INGRESS_PRIORITY: i32 = -500;

/// Why there is no lease in force.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The rules could not be put in force.
    #[error(transparent)]
    Rules(#[from] NftError),
    /// The tick can't be sent.
    #[error("a marked socket for the tick: {0}")]
    Tick(#[source] io::Error),
}

/// Each VIP and its interface.
pub type Guarded = BTreeMap<IpAddr, String>;

/// What ticks: whoever is alive.
#[derive(Debug)]
pub struct Lease {
    socket: Socket,
    holding: Socket,
    length: Duration,
}

impl Lease {
    /// How long the VIPs stay in service after the last tick: half the time after which the peer
    /// takes them, so that two nodes never answer at once.
    pub fn length(deadtime: Duration) -> Duration {
        (deadtime / 2).min(LEASE_MAX)
    }

    /// A tick for a lease of this length, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`LeaseError::Tick`]: CAP_NET_ADMIN is missing.
    pub fn open(length: Duration) -> Result<Self, LeaseError> {
        let socket = tick_socket(TICK_MARK).map_err(LeaseError::Tick)?;
        let holding = tick_socket(HOLD_MARK).map_err(LeaseError::Tick)?;
        Ok(Self { socket, holding, length })
    }

    /// From one tick to the next.
    pub fn every(&self) -> Duration {
        self.length / TICKS_PER_LEASE
    }

    /// Says that we are alive. Never waits; a tick that could not be sent is one that was late.
    pub fn tick(&self) {
        let _late = self.socket.send_to(&[0], &SocketAddr::from(TICK_TARGET).into());
    }

    /// The last word of a process that ends with everything held: the VIPs stay in service for
    /// [`RESTART_SERVED`], whoever ticks or not. Never waits.
    pub fn hold(&self) {
        let _then_it_is_dark = self.holding.send_to(&[0], &SocketAddr::from(TICK_TARGET).into());
    }
}

/// Reads what is in force.
///
/// # Errors
/// When nobody knows.
pub async fn look() -> Result<Seal, LeaseError> {
    Ok(Seal::of(TABLE).await?)
}

/// Puts the rules in force, replacing those of an earlier life. The VIPs are dark until the first
/// tick, but for those that are `lit`: these do not miss a packet. Each interface must exist.
///
/// # Errors
/// Then what was in force before still is.
pub async fn begin(
    guarded: &Guarded,
    (length, lit): (Duration, &BTreeSet<IpAddr>),
) -> Result<Seal, LeaseError> {
    let mut text = removal(TABLE);
    // Writing to a String can't fail. All in one transaction: no packet meets a part of it.
    let _infallible = write_ticks(&mut text, guarded, length);
    let _infallible = write_gates(&mut text, guarded);
    let _infallible = write_lit(&mut text, guarded, lit);
    nft::apply(&text).await?;
    look().await
}

/// Puts the rules in force while VIPs are served, whatever is there now. First only what hears the
/// ticks, and the gates when it must have heard some: who is alive is not dark for a moment. In
/// between, two ticks long, nothing guards the VIPs.
///
/// # Errors
/// Then no gate is in force.
pub async fn renew(guarded: &Guarded, length: Duration) -> Result<Seal, LeaseError> {
    let (mut ticks, mut gates) = (removal(TABLE), String::new());
    let _infallible = write_ticks(&mut ticks, guarded, length);
    let _infallible = write_gates(&mut gates, guarded);
    nft::apply(&ticks).await?;
    tokio::time::sleep(length / TICKS_PER_LEASE * 2).await;
    nft::apply(&gates).await?;
    look().await
}

/// Takes the rules out of force: nothing is held any more.
///
/// # Errors
/// Then they may still be in force, and keep the VIPs dark.
pub async fn end() -> Result<(), LeaseError> {
    Ok(nft::apply(&removal(TABLE)).await?)
}

/// Packets for the VIPs from these hardware addresses are never dark: there is another director, which
/// this machine is a real server of.
pub async fn admit<'a>(fellows: impl Iterator<Item = &'a Mac>) {
    let all: Vec<String> = fellows.map(|mac| mac_text(*mac)).collect();
    if !all.is_empty() {
        let all = all.join(", ");
        // Without a lease nothing is dark; one that comes later is told at the next look.
        let _none = nft::apply(&format!("add element {TABLE} fellows {{ {all} }}\n")).await;
    }
}

fn tick_socket(mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_mark(mark)?;
    Ok(socket)
}

/// The table, its sets, and what fills them.
fn write_ticks(out: &mut String, guarded: &Guarded, length: Duration) -> std::fmt::Result {
    let millis = length.as_millis();
    writeln!(out, "add table {TABLE}")?;
    for (set, kind) in [("alive4", "ipv4_addr"), ("alive6", "ipv6_addr")] {
        writeln!(
            out,
            "add set {TABLE} {set} {{ type {kind}; flags dynamic,timeout; size {ALIVE_MAX}; \
             timeout {millis}ms; }}"
        )?;
    }
    writeln!(out, "add set {TABLE} fellows {{ type ether_addr; size {ALIVE_MAX}; }}")?;
    writeln!(out, "add chain {TABLE} tick {{ type filter hook egress device lo priority 0; }}")?;
    for vip in guarded.keys().flat_map(|vip| keys(*vip)) {
        let (set, hold) = (set_of(vip), RESTART_SERVED.as_millis());
        for (mark, millis) in [(TICK_MARK, millis), (HOLD_MARK, hold)] {
            writeln!(
                out,
                "add rule {TABLE} tick meta mark 0x{mark:08x} update @{set} {{ {vip} timeout \
                 {millis}ms }}"
            )?;
        }
    }
    Ok(())
}

/// What is in service before the first tick.
fn write_lit(out: &mut String, guarded: &Guarded, lit: &BTreeSet<IpAddr>) -> std::fmt::Result {
    let hold = RESTART_SERVED.as_millis();
    for vip in guarded.keys().filter(|vip| lit.contains(*vip)) {
        for key in keys(*vip) {
            let set = set_of(key);
            writeln!(out, "add element {TABLE} {set} {{ {key} timeout {hold}ms }}")?;
        }
    }
    Ok(())
}

/// The set that a destination is in.
fn set_of(key: IpAddr) -> &'static str {
    if key.is_ipv4() { "alive4" } else { "alive6" }
}

/// What drops.
fn write_gates(out: &mut String, guarded: &Guarded) -> std::fmt::Result {
    let interfaces: BTreeSet<&String> = guarded.values().collect();
    for (number, interface) in interfaces.into_iter().enumerate() {
        write_gate(out, guarded, (number, interface))?;
    }
    Ok(())
}

/// The destinations that a tick keeps alive for one VIP: itself, and with IPv6 the solicited-node
/// address that questions for it are sent to (RFC 4291 section 2.7.1).
fn keys(vip: IpAddr) -> Vec<IpAddr> {
    match vip {
        IpAddr::V4(_) => vec![vip],
        IpAddr::V6(v6) => {
            let low = v6.to_bits() & 0x00ff_ffff;
            let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
            vec![vip, IpAddr::V6(Ipv6Addr::from_bits(group | low))]
        }
    }
}

/// The ingress chain of one interface. A rule about hardware addresses matches nothing where packets have none:
/// it may let in, and must not be what keeps out.
fn write_gate(
    out: &mut String,
    guarded: &Guarded,
    (number, interface): (usize, &String),
) -> std::fmt::Result {
    let chain = format!("{TABLE} gate{number}");
    writeln!(
        out,
        "add chain {chain} {{ type filter hook ingress device \"{interface}\" priority \
         {INGRESS_PRIORITY}; }}"
    )?;
    for vip in guarded.iter().filter(|(_, at)| *at == interface).map(|(vip, _)| vip) {
        match vip {
            IpAddr::V4(_) => {
                let dark = "!= @alive4 drop";
                writeln!(
                    out,
                    "add rule {chain} arp operation request arp daddr ip {vip} arp daddr ip {dark}\n\
                     add rule {chain} ip daddr {vip} ether saddr @fellows accept\n\
                     add rule {chain} ip daddr {vip} ip daddr {dark}"
                )?;
            }
            IpAddr::V6(v6) => {
                // The target of a solicitation stands behind 40 bytes of IPv6 and 8 of ICMPv6.
                let target = v6.to_bits();
                writeln!(
                    out,
                    "add rule {chain} icmpv6 type nd-neighbor-solicit @nh,384,128 0x{target:032x} \
                     ip6 daddr != @alive6 drop\n\
                     add rule {chain} ip6 daddr {vip} ether saddr @fellows accept\n\
                     add rule {chain} ip6 daddr {vip} ip6 daddr != @alive6 drop"
                )?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_ends_before_the_peer_may_take_over() {
        for deadtime in [300, 500, 2_000, 30_000].map(Duration::from_millis) {
            let length = Lease::length(deadtime);
            assert!(length * 2 <= deadtime && length <= LEASE_MAX, "{deadtime:?}");
        }
    }

    #[test]
    fn each_vip_is_guarded_on_its_own_interface_only() {
        let guarded = Guarded::from([
            ("192.168.2.110".parse().expect("ip"), "eth0".to_owned()),
            ("10.0.0.9".parse().expect("ip"), "eth1".to_owned()),
        ]);
        let mut text = String::new();
        write_gates(&mut text, &guarded).unwrap();
        let gate = |number: usize| {
            let lines = text.lines().filter(|line| line.contains(&format!("gate{number} ")));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(gate(0).contains("\"eth0\"") && gate(0).contains("192.168.2.110"));
        assert!(!gate(0).contains("10.0.0.9") && gate(1).contains("10.0.0.9"));
    }
}
