//! Wakes up when the kernel's interfaces or the lease's rules have changed.
//!
//! The kernel tells every listener of each change of an interface (rtnetlink(7)) and of nftables
//! (`NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h). What has changed is not read here: whoever is
//! woken looks at the whole, so that a message that was lost costs nothing but time.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::ready::watched;

/// `RTMGRP_LINK` (linux/rtnetlink.h).
const INTERFACES: u32 = 1;
/// Group 7, `NFNLGRP_NFTABLES`, as a bit.
const NFTABLES: u32 = 1 << 6;
/// Longest message that is looked through; the names we look for stand at the beginning.
const MESSAGE_MAX: usize = 8192;

/// A listener in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Changes {
    interfaces: AsyncFd<OwnedFd>,
    rules: AsyncFd<OwnedFd>,
    /// What a message must contain to concern us.
    table: &'static [u8],
}

impl Changes {
    /// Listens for interfaces, and for the table of this name. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the kernel says: EPROTONOSUPPORT without nftables.
    pub fn open(table: &'static str) -> io::Result<Self> {
        let interfaces = listen(None, INTERFACES)?;
        Ok(Self { interfaces, rules: listen(Some(NETFILTER), NFTABLES)?, table: table.as_bytes() })
    }

    /// Waits for the next change. Dropping the future loses none, and one may be told twice.
    pub async fn next(&self) {
        loop {
            let concerns = tokio::select! {
                _interface = message(&self.interfaces) => true,
                rules = message(&self.rules) => rules.is_none_or(|message| {
                    message.windows(self.table.len()).any(|part| part == self.table)
                }),
            };
            if concerns {
                return;
            }
        }
    }
}

/// No protocol is NETLINK_ROUTE.
fn listen(protocol: Option<Protocol>, groups: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    watched(socket)
}

/// The next message; `None` where some were lost (ENOBUFS), which may have been anything.
async fn message(socket: &AsyncFd<OwnedFd>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; MESSAGE_MAX];
    let read = |socket: &OwnedFd| {
        let (length, _) = recv(socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        Ok(length)
    };
    let length = socket.async_io(Interest::READABLE, read).await.ok()?;
    buffer.truncate(length);
    Some(buffer)
}
