//! Asks this machine for an address as a neighbour on a LAN would, and listens whether it answers.
//!
//! The question is put into the kernel as if it had come in on the interface
//! ([`crate::sys::inject`]), so settings, packet filters and whatever else decides there decide as
//! they do for a real one. A second question, for an address that is the interface's own, shows that
//! questions arrive and answers are seen. Both are asked from the interface's own hardware address,
//! where an answer goes, too: no other station learns anything.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::timeout;

use crate::net::frames::{self, Mac};
use crate::sys::inject::Injector;
use crate::sys::packet::PacketSocket;

/// Longest wait for the answer about the interface's own address, which comes at once.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the answer about the virtual IP after that: it was asked for before.
const SETTLE: Duration = Duration::from_millis(5);
/// Who asks with IPv6: nobody has this address.
const ASKER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x7062, 0, 0, 0x7062);

/// One interface, by whose own address the test is tested.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Its number.
    pub index: u32,
    /// Its hardware address.
    pub mac: Mac,
    /// An address on it, of the family of the virtual IP; `None`: it has none.
    pub own: Option<IpAddr>,
}

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// No question can be put.
    #[error("no question can be put to this interface: {0}")]
    Ask(#[source] io::Error),
    /// Nothing is heard.
    #[error("no socket to listen with: {0}")]
    Listen(#[source] io::Error),
    /// Nothing to test the test by.
    #[error("the interface has no address of that family to compare with")]
    NoAddress,
    /// The test itself fails.
    #[error("it does not answer for its own address {0} either")]
    Deaf(IpAddr),
}

/// Whether the machine answers for `vip` when it is asked on that card.
///
/// # Errors
/// [`SelfTestError`]: nobody knows.
pub async fn answers(card: Card, vip: IpAddr) -> Result<bool, SelfTestError> {
    let own = card.own.ok_or(SelfTestError::NoAddress)?;
    let injector = Injector::open().map_err(SelfTestError::Ask)?;
    let listen = |ip| PacketSocket::open_both_ways(card.index, ip).map_err(SelfTestError::Listen);
    let (about_vip, about_own) = (listen(vip)?, listen(own)?);
    for ip in [vip, own] {
        injector.arrive(card.index, &question(ip, card.mac)).map_err(SelfTestError::Ask)?;
    }
    let heard = timeout(ANSWER_MAX, claimed(&about_own, own, card.mac)).await;
    if !matches!(heard, Ok(Ok(()))) {
        return Err(SelfTestError::Deaf(own));
    }
    let heard = timeout(SETTLE, claimed(&about_vip, vip, card.mac)).await;
    heard.map_or(Ok(false), |ended| ended.map(|()| true).map_err(SelfTestError::Listen))
}

fn question(ip: IpAddr, mac: Mac) -> Vec<u8> {
    match ip {
        IpAddr::V4(_) => frames::probe(ip, mac),
        // A probe would be answered to all nodes.
        IpAddr::V6(_) => frames::question(ASKER.into(), mac, ip).unwrap_or_default(),
    }
}

/// Waits until a frame says that the address is at this card.
async fn claimed(socket: &PacketSocket, ip: IpAddr, mac: Mac) -> io::Result<()> {
    loop {
        let frame = socket.receive().await?;
        if frames::claim(&frame) == Some(frames::Claim { ip, mac }) {
            return Ok(());
        }
    }
}
