//! Who answers for an address, asked from outside every few milliseconds.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pairbeat::net::frames::{self, Mac};
use pairbeat::sys::packet::PacketSocket;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::lan::mac;
use crate::nets::Net;

/// From one question to the next.
const EVERY: Duration = Duration::from_millis(5);
/// The client's own address, which asks.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 7);

/// One answer: when, and whose.
pub(crate) type Answer = (Instant, Mac);

/// Asks for `ip` from the client's namespace for as long as `during` runs; every answer in order.
pub(crate) fn ask(client: &Net, ip: &str, during: impl FnOnce() + Send) -> Vec<Answer> {
    asked(client, ip, during).1
}

/// The same, with how often it was asked.
pub(crate) fn asked(client: &Net, ip: &str, during: impl FnOnce() + Send) -> (usize, Vec<Answer>) {
    let done = AtomicBool::new(false);
    let ip: Ipv4Addr = ip.parse().unwrap();
    let link = client.ip("-o link show eth0");
    let index = link.split(':').next().unwrap().parse().unwrap();
    let port = (index, hardware(&mac(client)));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.run(|| asking(port, ip, &done)));
        let end = End(&done);
        during();
        drop(end);
        asking.join().unwrap()
    })
}

/// Ends the asking, also when what it was asked for has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn asking((index, mac): (u32, Mac), ip: Ipv4Addr, done: &AtomicBool) -> (usize, Vec<Answer>) {
    let socket = PacketSocket::open(index, IpAddr::V4(ip)).unwrap();
    let question = frames::question(IpAddr::V4(CLIENT), mac, IpAddr::V4(ip)).unwrap();
    let (mut questions, mut answers) = (0, Vec::new());
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !done.load(Ordering::Relaxed) {
        tokio::select! {
            biased;
            frame = socket.receive() => {
                if let Some(from) = answered(&frame.unwrap(), ip) {
                    answers.push((Instant::now(), from));
                }
            }
            _ = turn.tick() => {
                socket.send(&question).unwrap();
                questions += 1;
            }
        }
    }
    (questions, answers)
}

/// The sender of an ARP answer about this address (RFC 826).
fn answered(frame: &[u8], ip: Ipv4Addr) -> Option<Mac> {
    let (operation, about) = (frame.get(20..22)?, frame.get(28..32)?);
    (operation == [0, 2] && about == ip.octets()).then(|| frame.get(22..28)?.try_into().ok())?
}

/// A hardware address as ip(8) writes it.
pub(crate) fn hardware(text: &str) -> Mac {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<u8>>().try_into().unwrap()
}
