//! Watching heartbeats pass by, from outside: a packet socket that sees every interface of its
//! namespace. Reads addresses and ports only, nothing of the beats.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::{mark, now};

/// `ETH_P_IP` of linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const UDP: u8 = 17;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The file of marks.
    file: PathBuf,
    /// The mark's name.
    name: String,
    /// The UDP destination port.
    #[arg(long, default_value_t = 694)]
    port: u16,
    /// How many different senders.
    #[arg(long, default_value_t = 2)]
    senders: usize,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 60)]
    within: u64,
}

/// Prints `listening` once no datagram can be missed any more.
pub(crate) fn heard(options: &Options) -> Result<(), Box<dyn Error>> {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    let over = now().saturating_add(options.within.saturating_mul(1_000_000_000));
    println!("listening");
    let (mut senders, mut packet) = (BTreeSet::new(), [0; 128]);
    while senders.len() < options.senders {
        let left = Duration::from_nanos(over.saturating_sub(now()));
        if left < Duration::from_millis(1) {
            return Err(format!("heard only {senders:?} within {} s", options.within).into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut packet) {
            Ok(length) => {
                let packet = packet.get(..length).unwrap_or_default();
                senders.extend(sender(packet, options.port));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    mark(&options.file, &options.name, now())
}

/// The source of an IPv4 packet that is a UDP datagram to `port`, RFC 791 section 3.1.
fn sender(packet: &[u8], port: u16) -> Option<Ipv4Addr> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let to = packet.get(header + 2..header + 4)?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    (*packet.get(9)? == UDP && to == port.to_be_bytes()).then(|| Ipv4Addr::from(source))
}
