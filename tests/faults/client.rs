//! The client: it asks for the virtual IP while something goes wrong, and what it saw is the
//! verdict.

use std::time::Duration;

use pairbeat::net::frames::Mac;
use tokio::time::Instant;

use crate::lan::mac;
use crate::node::Node;
use crate::pair::{Pair, VIP};
use crate::prober::{self, Answer};

/// Longest silence that is no outage: the client itself may have to wait for its turn on a busy
/// machine. What is an outage with others lasts ten seconds and more.
pub(crate) const NO_OUTAGE: Duration = Duration::from_secs(1);

/// Every answer that the client got, in order.
pub(crate) struct Seen(Vec<Answer>);

/// Asks for the virtual IP as long as `during` runs.
pub(crate) fn watches(pair: &Pair, during: impl FnOnce() + Send) -> Seen {
    watches_for(pair, VIP, during)
}

/// Asks for this address as long as `during` runs.
pub(crate) fn watches_for(pair: &Pair, ip: &str, during: impl FnOnce() + Send) -> Seen {
    Seen(prober::ask(&pair.lan.client, ip, during))
}

impl Seen {
    /// Who answered, each once until the next one did.
    pub(crate) fn holders(&self) -> Vec<Mac> {
        let mut holders: Vec<Mac> = self.0.iter().map(|(_, mac)| *mac).collect();
        holders.dedup();
        holders
    }

    /// The longest time without an answer of this node, between its first and its last.
    pub(crate) fn gap(&self, node: &Node) -> Duration {
        let its = station(node);
        let times: Vec<Instant> =
            self.0.iter().filter(|(_, mac)| *mac == its).map(|(at, _)| *at).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or(Duration::MAX)
    }

    /// The same for the answers of whoever it was.
    pub(crate) fn outage(&self) -> Duration {
        let gaps = self.0.windows(2).map(|pair| pair[1].0 - pair[0].0);
        gaps.max().unwrap_or(Duration::MAX)
    }

    /// # Panics
    /// Unless this node has answered all the time, and nobody else ever did.
    pub(crate) fn served_by(&self, node: &Node) {
        assert_eq!(self.holders(), [station(node)], "{}", node.log());
        assert!(self.outage() < NO_OUTAGE, "{:?}\n{}", self.outage(), node.log());
    }
}

/// A node's hardware address on the service LAN.
pub(crate) fn station(node: &Node) -> Mac {
    prober::hardware(&mac(&node.net))
}

/// # Panics
/// Unless this node, and nobody else, answers the client from now on, for as long as `while_it` runs.
pub(crate) fn alone(pair: &Pair, node: &Node, while_it: impl FnOnce() + Send) {
    watches(pair, while_it).served_by(node);
}

/// For something that has to last: there is no state to wait for.
pub(crate) fn lasts(span: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        std::thread::park_timeout(span.saturating_sub(begun.elapsed()));
    }
}
