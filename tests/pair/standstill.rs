//! A core that stands still, for moments and for long, judged by who answers on the wire.

use std::time::Duration;

use pairbeat::net::frames::Mac;
use rustix::process::Signal;

use crate::lan::mac;
use crate::nets::possible;
use crate::node::Node;
use crate::pair::{Pair, Setup, VIP};
use crate::prober::{self, Answer};

/// Of the nodes; their lease is half of it.
const DEADTIME: Duration = Duration::from_millis(1500);

fn setup() -> Setup {
    Setup { deadtime: 1500, initdead: 3000, ..Setup::default() }
}

/// Stops a node's core for so long, and waits until the node knows its peer again.
fn stop(node: &Node, span: Duration) {
    let core = node.role("core").unwrap();
    node.signal(core, Signal::STOP);
    // The standstill itself is the fault: there is no level to wait for.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < span {
        std::thread::park_timeout(span - begun.elapsed().min(span));
    }
    node.signal(core, Signal::CONT);
    // A keepalive of it is nothing.
    if span > Duration::from_millis(200) {
        node.logs("this process stood still for");
    }
    node.wait("peer", |status| status.peer() == "up");
}

/// The holders in the order in which they answered, each once until the next one answers.
fn holders(answers: &[Answer]) -> Vec<Mac> {
    let mut holders: Vec<Mac> = answers.iter().map(|(_, mac)| *mac).collect();
    holders.dedup();
    holders
}

#[test]
fn an_owner_that_stands_still_is_never_one_of_two_that_answer() {
    if !possible() {
        return;
    }
    for millis in [100, 500, 2000, 9000] {
        let span = Duration::from_millis(millis);
        let pair = Pair::settled(&setup());
        let [a, b] = [&pair.a, &pair.b].map(|node| prober::hardware(&mac(&node.net)));
        let answers = prober::ask(&pair.lan.client, VIP, || {
            stop(&pair.a, span);
            let (holder, other) =
                if span < DEADTIME { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
            holder.becomes("active");
            other.becomes("standby");
        });
        let want = if span < DEADTIME { vec![a] } else { vec![a, b] };
        assert_eq!(holders(&answers), want, "{span:?}");
    }
}

#[test]
fn a_standby_that_stood_still_takes_nothing_from_an_owner_that_is_well() {
    if !possible() {
        return;
    }
    for millis in [100, 500, 2000, 9000] {
        let span = Duration::from_millis(millis);
        let pair = Pair::settled(&setup());
        let a = prober::hardware(&mac(&pair.a.net));
        let answers = prober::ask(&pair.lan.client, VIP, || stop(&pair.b, span));
        assert_eq!(holders(&answers), [a], "{span:?}");
        assert_eq!(pair.b.status().unwrap().state(0), "standby");
        assert!(!pair.b.log().contains("is dead"), "{span:?}: {}", pair.b.log());
    }
}
