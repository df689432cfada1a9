//! Who answers for an address, asked from outside and of each node by itself: `dual COMMAND`.
//!
//! * `ask`: from the client's interface, every few milliseconds and to each node's own hardware address, an ARP
//!   request for the address and a UDP datagram to it. A switch, a cache or a race between two answers hides
//!   nothing this way: each node is asked whether it would answer.
//! * `serve`: returns datagrams that come for an address, also while the node does not have it.
//!
//! What `ask` means by its words:
//!
//! * A *turn* is one round of questions: one ARP request and one datagram to each node. It lasts until the next
//!   one begins, however late that is.
//! * A node *answers* in a turn when the answer to one of that turn's questions has come, at any time for a datagram
//!   (which carries its turn's number), before the node's next question for ARP (which carries nothing).
//! * `both_ms` is the length of all turns in which two nodes answer for the same kind of question; `nobody_ms`
//!   of those in which none does. `both_after_ms` counts only turns after the last SIGUSR1.
//!
//! Ends and reports at SIGTERM: one line of JSON. It knows nothing of the cluster managers.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for scripts")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pairbeat::net::frames::{self, Mac};
use pairbeat::sys::packet::PacketSocket;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// From one turn to the next.
const EVERY: Duration = Duration::from_millis(5);
/// Late datagrams are waited for so long at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// Most turns of one run, an hour of them: memory is not to grow without end.
const TURNS_MAX: usize = 720_000;
/// Which UDP port the questions go to, and come from.
const PORT: u16 = 7007;

/// Who answers for an address, asked of each node by itself.
#[derive(Parser)]
enum Command {
    /// Ask until SIGTERM, then report. Says `asking` once it does.
    Ask(Ask),
    /// Return the datagrams that come for this address.
    Serve {
        /// The address.
        vip: Ipv4Addr,
    },
}

#[derive(clap::Args)]
struct Ask {
    /// The number of the client's interface.
    #[arg(long)]
    index: u32,
    /// Its own address.
    #[arg(long)]
    own: Ipv4Addr,
    /// Its hardware address.
    #[arg(long, value_parser = hardware)]
    mac: Mac,
    /// The address that is asked for.
    #[arg(long)]
    vip: Ipv4Addr,
    /// The hardware address of each of the two nodes.
    #[arg(long = "node", value_parser = hardware, required = true)]
    nodes: Vec<Mac>,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Ask(options) => ask(&options),
        Command::Serve { vip } => serve(vip),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dual: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hardware(text: &str) -> Result<Mac, String> {
    let bytes: Result<Vec<u8>, _> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let bytes = bytes.map_err(|e| e.to_string())?;
    bytes.try_into().map_err(|_| "six bytes, as ip(8) writes them".to_owned())
}

/// A server that outlives whatever happens to the node, as a real server behind it does.
fn serve(vip: Ipv4Addr) -> Result<(), Box<dyn Error>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_freebind_v4(true)?;
    socket.bind(&SocketAddr::from((vip, PORT)).into())?;
    let socket = std::net::UdpSocket::from(socket);
    println!("serving");
    let mut datagram = [0; 64];
    loop {
        // Errors are those of answers before, such as an address that has just gone.
        if let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let _gone = socket.send_to(datagram.get(..length).unwrap_or_default(), from);
        }
    }
}

/// One turn: when it began, and which nodes answered, as bits.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    at: u64,
    arp: u8,
    udp: u8,
}

fn ask(options: &Ask) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking(options))
}

async fn asking(options: &Ask) -> Result<(), Box<dyn Error>> {
    let arp = PacketSocket::open(options.index, IpAddr::V4(options.vip))?;
    let udp = UdpSocket::bind(SocketAddrV4::new(options.own, PORT)).await?;
    let (mut mark, mut end) =
        (signal(SignalKind::user_defined1())?, signal(SignalKind::terminate())?);
    println!("asking");
    let mut turns: Vec<Turn> = Vec::new();
    let (mut marked, mut datagram) = (usize::MAX, [0; 64]);
    let mut next = interval(EVERY);
    next.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            // What has come is counted for the turn it came in.
            biased;
            frame = arp.receive() => answered(&mut turns, options, &frame?),
            Ok(length) = udp.recv(&mut datagram) => {
                returned(&mut turns, datagram.get(..length).unwrap_or_default());
            }
            _ = mark.recv() => marked = turns.len(),
            _ = end.recv() => break,
            _ = next.tick() => {
                turns.push(Turn { at: now(), ..Turn::default() });
                questions(options, &arp, turns.len() - 1);
            }
        }
        if turns.len() >= TURNS_MAX {
            return Err("nobody has said that it is enough".into());
        }
    }
    let over = now();
    let late = async {
        while let Ok(length) = udp.recv(&mut datagram).await {
            returned(&mut turns, datagram.get(..length).unwrap_or_default());
        }
    };
    let _over = tokio::time::timeout(LAST_ANSWERS, late).await;
    println!("{}", report(&turns, over, marked));
    Ok(())
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// To each node one of each kind. What does not leave is a question that was not answered.
fn questions(options: &Ask, out: &PacketSocket, turn: usize) {
    for (number, node) in options.nodes.iter().enumerate() {
        let (own, vip) = (IpAddr::V4(options.own), IpAddr::V4(options.vip));
        if let Some(mut request) = frames::question(own, options.mac, vip) {
            request.splice(..6, *node);
            let _lost = out.send(&request);
        }
        let _lost = out.send(&datagram(options, *node, &[turn as u64, number as u64]));
    }
}

/// A UDP datagram in its frame (RFC 768, RFC 791); without a checksum of its own, which IPv4 allows.
fn datagram(options: &Ask, node: Mac, words: &[u64]) -> Vec<u8> {
    let payload: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    let length = |more: usize| u16::try_from(payload.len() + more).unwrap_or(u16::MAX);
    let mut header = vec![0x45, 0];
    header.extend(length(28).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    header.extend(options.own.octets());
    header.extend(options.vip.octets());
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);
    let mut frame = [node.as_slice(), &options.mac, &[8, 0], &header].concat();
    frame.extend(PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(length(8).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|pair| match *pair {
        [high, low] => u32::from(high) << 8 | u32::from(low),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default()
}

/// An ARP answer belongs to the turn in which it comes.
fn answered(turns: &mut [Turn], options: &Ask, frame: &[u8]) {
    let (operation, about) = (frame.get(20..22), frame.get(28..32));
    if operation != Some(&[0, 2]) || about != Some(&options.vip.octets()) {
        return;
    }
    let node = options.nodes.iter().position(|mac| frame.get(22..28) == Some(mac));
    if let (Some(node), Some(turn)) = (node, turns.last_mut()) {
        turn.arp |= 1 << node;
    }
}

/// A datagram that came back says itself where it was.
fn returned(turns: &mut [Turn], payload: &[u8]) {
    let word = |at: usize| payload.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (Some(turn), Some(node)) = (word(0), word(8)) else { return };
    let turn = usize::try_from(turn).ok().and_then(|turn| turns.get_mut(turn));
    if let (Some(turn), 0..8) = (turn, node) {
        turn.udp |= 1 << node;
    }
}

/// One line of JSON.
fn report(turns: &[Turn], over: u64, marked: usize) -> String {
    let ends = turns.iter().skip(1).map(|turn| turn.at).chain([over]);
    let lasted: Vec<(usize, Turn, u64)> = turns
        .iter()
        .zip(ends)
        .enumerate()
        .map(|(number, (turn, end))| (number, *turn, end.saturating_sub(turn.at)))
        .collect();
    let sum = |counts: &dyn Fn(usize, Turn) -> bool| {
        let counted = lasted.iter().filter(|(number, turn, _)| counts(*number, *turn));
        round(counted.map(|(_, _, lasted)| lasted).sum())
    };
    let both = |turn: Turn| turn.arp.count_ones() > 1 || turn.udp.count_ones() > 1;
    serde_json::json!({
        "turns": turns.len(),
        "longest_turn_ms": round(lasted.iter().map(|(_, _, lasted)| *lasted).max().unwrap_or(0)),
        "both_ms": sum(&|_, turn| both(turn)),
        "both_arp_ms": sum(&|_, turn| turn.arp.count_ones() > 1),
        "both_udp_ms": sum(&|_, turn| turn.udp.count_ones() > 1),
        "both_after_ms": sum(&|number, turn| number >= marked && both(turn)),
        "nobody_ms": sum(&|_, turn| turn.udp == 0),
        "first_ms": sum(&|_, turn| turn.udp & 1 != 0),
        "second_ms": sum(&|_, turn| turn.udp & 2 != 0),
    })
    .to_string()
}

/// Whole milliseconds.
fn round(nanos: u64) -> u64 {
    (nanos + 500_000) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn turn(at: u64, arp: u8, udp: u8) -> Turn {
        Turn { at: at * MS, arp, udp }
    }

    #[test]
    fn only_turns_in_which_two_nodes_answer_the_same_kind_count_for_both() {
        let turns = [
            turn(0, 1, 1),
            turn(5, 1, 2),
            turn(10, 3, 1),
            turn(15, 0, 3),
            turn(40, 0, 0),
            turn(45, 2, 2),
        ];
        let said: serde_json::Value = serde_json::from_str(&report(&turns, 50 * MS, 3)).unwrap();
        assert_eq!(said["both_arp_ms"], 5);
        assert_eq!(said["both_udp_ms"], 25);
        assert_eq!(said["both_ms"], 30);
        assert_eq!(said["both_after_ms"], 25, "{said}");
        assert_eq!(said["nobody_ms"], 5);
        assert_eq!(said["longest_turn_ms"], 25);
    }

    #[test]
    fn an_ip_header_sums_up_to_zero_with_its_checksum() {
        // The header that Wikipedia's article on the IPv4 checksum works out by hand.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&header), 0);
    }
}
