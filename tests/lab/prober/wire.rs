//! Watching heartbeats pass by, from outside: a packet socket that sees every interface of its
//! namespace. Reads addresses and ports only, nothing of the beats.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::{mark, now};

/// `ETH_P_ALL` of linux/if_ether.h: a bridge takes frames away before sockets of one protocol see them.
const ETH_P_ALL: u16 = 0x0003;
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
    let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.attach_filter(&udp_to(options.port))?;
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

/// Lets the kernel drop all but UDP datagrams to `port`, so that the client's traffic wakes nobody
/// up. Classic BPF, linux/filter.h; offsets are from the IP header. An ARP packet may slip through.
fn udp_to(port: u16) -> [SockFilter; 7] {
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HALF_AFTER_HEADER: u16 = 0x48;
    const HEADER_LENGTH: u16 = 0xb1;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 9),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, UDP.into()),
        SockFilter::new(HEADER_LENGTH, 0, 0, 0),
        SockFilter::new(LOAD_HALF_AFTER_HEADER, 0, 0, 2),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port.into()),
        SockFilter::new(RETURN, 0, 0, 128),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The source of an IPv4 packet that is a UDP datagram to `port`, RFC 791 section 3.1.
fn sender(packet: &[u8], port: u16) -> Option<Ipv4Addr> {
    if packet.first()? >> 4 != 4 {
        return None;
    }
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let to = packet.get(header + 2..header + 4)?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    (*packet.get(9)? == UDP && to == port.to_be_bytes()).then(|| Ipv4Addr::from(source))
}

#[cfg(test)]
mod tests {
    use super::sender;
    use std::net::Ipv4Addr;

    #[test]
    fn a_sender_is_known_by_a_udp_datagram_to_the_port_only() {
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[9] = super::UDP;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[22..24].copy_from_slice(&694_u16.to_be_bytes());
        assert_eq!(sender(&packet, 694), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(sender(&packet, 695), None, "another port");
        assert_eq!(sender(&packet[..20], 694), None, "cut off");
        packet[0] = 0x60;
        assert_eq!(sender(&packet, 694), None, "not IPv4");
    }
}
