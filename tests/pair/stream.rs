//! A thousand datagrams a second to the virtual IP, while it moves on purpose: none is lost.
//!
//! Both nodes have an echo at the address, so what is measured is the switch and nothing behind it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use pairbeat::sys::sched;

use crate::nets::{Net, possible};
use crate::node::Node;
use crate::pair::{Pair, Setup, VIP};

/// Datagrams of one stream.
const COUNT: u32 = 2000;
/// The switch begins when so many are out.
const BEGIN: u32 = 500;
/// From one to the next.
const EVERY: Duration = Duration::from_millis(1);
/// How long the last answers may take on a loaded machine.
const LAST: Duration = Duration::from_secs(2);
const PORT: u16 = 7;

/// How often the address goes each way by each command: `RUNS`, else once.
fn runs() -> u32 {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1)
}

/// Sends back what comes in for the address, as long as the address is here.
async fn echo(ready: &Barrier, done: &AtomicBool) {
    // The address may come and go, the socket stays.
    std::fs::write("/proc/sys/net/ipv4/ip_nonlocal_bind", "1").unwrap();
    let socket = UdpSocket::bind((VIP, PORT)).await.unwrap();
    // An answer that is late because this machine is busy may find the address gone.
    sched::realtime(1).unwrap();
    ready.wait();
    let mut buffer = [0; 64];
    while !done.load(Ordering::Relaxed) {
        let heard = timeout(Duration::from_millis(100), socket.recv_from(&mut buffer)).await;
        let Ok(Ok((length, from))) = heard else { continue };
        // An answer that can't be sent is a datagram lost, and counted as such.
        let _address_gone = socket.send_to(&buffer[..length], from).await;
    }
}

/// The datagrams that were never answered.
async fn stream(sent: &AtomicU32) -> Vec<u32> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    socket.connect((VIP, PORT)).await.unwrap();
    let mut open = vec![true; COUNT as usize];
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut buffer = [0; 64];
    let mut close = |length: usize, buffer: &[u8]| {
        let number = u32::from_be_bytes(buffer[..length].try_into().unwrap());
        open[number as usize] = false;
    };
    let mut next = 0;
    while next < COUNT {
        tokio::select! {
            _ = turn.tick() => {
                let _refused_by_nobody = socket.send(&next.to_be_bytes()).await;
                next += 1;
                sent.store(next, Ordering::Relaxed);
            }
            Ok(length) = socket.recv(&mut buffer) => close(length, &buffer),
        }
    }
    while let Ok(Ok(length)) = timeout(LAST, socket.recv(&mut buffer)).await {
        close(length, &buffer);
        if buffer[..length] == (COUNT - 1).to_be_bytes() {
            break;
        }
    }
    // Answers overtake each other at a switch, and no further.
    while let Ok(Ok(length)) = timeout(EVERY * 50, socket.recv(&mut buffer)).await {
        close(length, &buffer);
    }
    open.iter().zip(0..).filter(|(open, _)| **open).map(|(_, number)| number).collect()
}

/// A stream during which `by` asks for `word`; what it lost, and what the command said.
fn during(client: &Net, by: &Node, word: &str) -> (Vec<u32>, String) {
    let sent = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let streaming = scope.spawn(|| client.run(|| stream(&sent)));
        while sent.load(Ordering::Relaxed) < BEGIN && !streaming.is_finished() {
            std::thread::yield_now();
        }
        let said = by.ask(&[word]);
        assert_eq!(said.code, Some(0), "{word} on {}: {}{}", by.name, said.out, said.err);
        (streaming.join().unwrap(), said.out)
    })
}

/// Ends the echoes, also when the test has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_planned_switch_loses_none_of_two_thousand_datagrams() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let (a, b) = (&pair.a, &pair.b);
    let (ready, done) = (Barrier::new(3), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for net in [&pair.lan.node, &pair.lan.other] {
            scope.spawn(|| net.run(|| echo(&ready, &done)));
        }
        let _end = End(&done);
        // An echo that can't be had fails here, by the test runner's limit.
        ready.wait();
        for run in 1..=runs() {
            for (by, word, holder) in
                [(a, "standby", b), (b, "standby", a), (b, "takeover", b), (a, "takeover", a)]
            {
                let (lost, said) = during(&pair.lan.client, by, word);
                let said = said.trim();
                eprintln!("run {run}, {word} on {}: {} lost; {said}", by.name, lost.len());
                assert_eq!(lost, Vec::<u32>::new(), "{word} on {}: {}", by.name, by.log());
                holder.becomes("active");
                let giver = if holder.name == a.name { b } else { a };
                giver.becomes("standby");
            }
        }
    });
}
