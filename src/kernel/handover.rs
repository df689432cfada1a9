//! A planned switch loses no connection: the two halves of the agreed overlap.
//!
//! ```text
//!              client                       old holder: VIP hushed (no ARP answer), table kept
//!                | SYN ------> new holder -----------------------> real server
//!                | ACK, FIN -> new holder -- not in its table --> old holder -> real server
//! ```
//!
//! The new holder *passes on*: TCP packets to the VIP that open nothing are marked, and a
//! firewall-mark service sends those that are in nobody's connection table to the old holder by
//! direct routing. Connections of its own are found in the table first, whatever their mark.
//! The old holder *hushes* the VIP: it stays a local address, so that its connections can end,
//! and nothing asks for it any more. Both halves are temporary, tables of our own, and where
//! nftables is missing the switch works without them: then only connections that are open at
//! that moment are cut.
//!
//! IPVS side: `net/netfilter/ipvs/ip_vs_proto_tcp.c`, `sloppy_tcp` (Documentation/networking/
//! ipvs-sysctl.rst) schedules TCP packets that are no SYN, and is set by whoever begins to pass on;
//! `ip_vs_service_find` looks for the mark before the address.

use crate::kernel::ipvs::IpvsHandle;
use crate::kernel::nft::{self, NftError, removal};
use crate::lvs::model::{DestEntry, Forwarding, RealKey, SchedFlags, ServiceKey};
use crate::lvs::plan::{Op, ServiceSettings};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Marks of ours begin with these sixteen bits ("pb").
const MARK_BASE: u32 = 0x7062_0000;

/// Why one half of the overlap could not be set up or taken down.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The rules could not be put in force.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// Direct routing keeps the address family.
    #[error("the peer told {peer}, which can't take packets for {vip}")]
    Families {
        /// The VIP.
        vip: IpAddr,
        /// The peer's address.
        peer: IpAddr,
    },
    /// IPVS refused the service that passes packets on.
    #[error("IPVS: {0}")]
    Ipvs(String),
}

/// The new holder's half, in force until [`PassOn::end`].
#[derive(Debug)]
pub struct PassOn {
    vip: IpAddr,
}

impl PassOn {
    /// Begins to pass on to `peer` what only `peer` knows.
    ///
    /// # Errors
    /// What is missing; then nothing is left behind.
    pub async fn begin(
        vip: IpAddr,
        peer: IpAddr,
        ipvs: &IpvsHandle,
    ) -> Result<Self, HandoverError> {
        if vip.is_ipv4() != peer.is_ipv4() {
            return Err(HandoverError::Families { vip, peer });
        }
        let half = Self { vip };
        match half.rules(peer, ipvs).await {
            Ok(()) => Ok(half),
            Err(e) => {
                half.end(ipvs).await;
                Err(e)
            }
        }
    }

    async fn rules(&self, peer: IpAddr, ipvs: &IpvsHandle) -> Result<(), HandoverError> {
        // What an interrupted switch may have left.
        let _gone = ipvs.apply(vec![Op::RemoveService(mark_key(self.vip))]).await;
        for result in ipvs.apply(service(self.vip, peer)).await.map_err(ipvs_error)? {
            result.map_err(ipvs_error)?;
        }
        Ok(nft::apply(&marking(self.vip)).await?)
    }

    /// Takes everything back; what is gone already is no fault.
    pub async fn end(self, ipvs: &IpvsHandle) {
        let _gone = nft::apply(&removal(&table("ip", self.vip))).await;
        let _gone = ipvs.apply(vec![Op::RemoveService(mark_key(self.vip))]).await;
    }
}

/// VIPs that may be silent: an order to hush one that was given up half-way has perhaps been obeyed.
/// What an earlier process has left is removed by [`sweep`].
static SILENT: Mutex<BTreeSet<IpAddr>> = Mutex::new(BTreeSet::new());

fn silent() -> MutexGuard<'static, BTreeSet<IpAddr>> {
    SILENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The old holder's half: answers no ARP request and no neighbour solicitation for the VIP any more,
/// until [`speak`].
///
/// # Errors
/// What is missing; then nothing is left behind.
pub async fn hush(vip: IpAddr) -> Result<(), HandoverError> {
    let new = silent().insert(vip);
    let done = nft::apply(&silence(vip)).await;
    if new && matches!(done, Err(NftError::Missing(_) | NftError::Refused(_))) {
        silent().remove(&vip);
    }
    Ok(done?)
}

/// Answers for the VIP again; costs nothing where it was not silent.
///
/// # Errors
/// It may still be silent. The next call tries again.
pub async fn speak(vip: IpAddr) -> Result<(), HandoverError> {
    if !silent().contains(&vip) {
        return Ok(());
    }
    nft::apply(&removal(&hush_table(vip))).await?;
    silent().remove(&vip);
    Ok(())
}

/// Removes what a killed process of ours may have left of both halves.
pub async fn sweep(vip: IpAddr, ipvs: &IpvsHandle) {
    for table in [table("ip", vip), hush_table(vip)] {
        let _gone = nft::apply(&removal(&table)).await;
    }
    let _gone = ipvs.apply(vec![Op::RemoveService(mark_key(vip))]).await;
}

fn ipvs_error(e: impl std::fmt::Display) -> HandoverError {
    HandoverError::Ipvs(e.to_string())
}

fn service(vip: IpAddr, peer: IpAddr) -> Vec<Op> {
    let dest = (RealKey { address: peer, port: 0 }, DestEntry::new(Forwarding::Gate, 1));
    let settings = ServiceSettings {
        scheduler: "rr".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: SchedFlags::default(),
    };
    vec![Op::AddService(mark_key(vip), settings), Op::AddDest(mark_key(vip), dest.0, dest.1)]
}

fn mark_key(vip: IpAddr) -> ServiceKey {
    ServiceKey::Mark { ipv6: vip.is_ipv6(), mark: mark(vip) }
}

/// A mark of its own for each VIP: FNV-1a of the address, folded to sixteen bits.
fn mark(vip: IpAddr) -> u32 {
    let bytes = match vip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    MARK_BASE | ((hash >> 16) ^ (hash & 0xffff))
}

/// `FAMILY NAME` of our table for a VIP; `ip` stands for both IP families.
fn table(family: &str, vip: IpAddr) -> String {
    let family = if family == "ip" && vip.is_ipv6() { "ip6" } else { family };
    format!("{family} pairbeat_{:04x}", mark(vip) & 0xffff)
}

fn hush_table(vip: IpAddr) -> String {
    match vip {
        IpAddr::V4(_) => table("arp", vip),
        IpAddr::V6(_) => format!("{}_hush", table("ip", vip)),
    }
}

/// The rules that mark what opens nothing. Behind `dnat`: what goes to an address of our own is no longer
/// for the VIP ([`crate::kernel::localnode`]). RST is left alone: it answers, and is not answered.
fn marking(vip: IpAddr) -> String {
    let (table, mark) = (table("ip", vip), mark(vip));
    let word = if vip.is_ipv6() { "ip6" } else { "ip" };
    format!(
        "add table {table}\nflush table {table}\n\
         add chain {table} pass {{ type filter hook prerouting priority -50; }}\n\
         add rule {table} pass {word} daddr {vip} tcp flags & (syn | rst) == 0x0 \
         meta mark set 0x{mark:08x}\n"
    )
}

fn silence(vip: IpAddr) -> String {
    let table = hush_table(vip);
    let head = format!(
        "add table {table}\nflush table {table}\n\
         add chain {table} hush {{ type filter hook input priority 0; }}\n"
    );
    let rule = match vip {
        IpAddr::V4(v4) => {
            let ip = v4.to_bits();
            // Target protocol address of an ARP packet over Ethernet: bytes 24 to 27.
            format!("add rule {table} hush arp operation request @nh,192,32 0x{ip:08x} drop\n")
        }
        IpAddr::V6(v6) => {
            let ip = v6.to_bits();
            // Target address of a solicitation: behind 40 bytes of IPv6 and 8 of ICMPv6.
            format!(
                "add rule {table} hush icmpv6 type nd-neighbor-solicit @nh,384,128 0x{ip:032x} drop\n"
            )
        }
    };
    head + &rule
}
