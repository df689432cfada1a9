//! Two nodes over a wire that the bytes are the script of: what flies is delivered, changed, signed
//! anew, doubled or lost, time passes, operators ask, nodes restart.

use std::collections::VecDeque;
use std::time::Duration;

use pairbeat::cluster::event::{Outcome, Request, Which};
use pairbeat::cluster::{
    Core, Damping, GroupSettings, OutsideSettings, Past, ResourceSettings, Settings, Side,
};
use pairbeat::config::{Key, KeyRing};
use pairbeat::engine::{Engine, Identity, Input, Output};
use pairbeat::names::{ActionId, GroupName, LinkId, NodeName, RequestId};
use pairbeat::time::Instant;
use pairbeat::wire::auth::Auth;
use pairbeat::wire::session::Arrival;
use pairbeat::wire::{DATAGRAM_MAX, frame};
use zeroize::Zeroizing;

use super::wire::{NODES, SECRET, auth, signed};

/// Longest script that is played, in steps.
const STEPS_MAX: usize = 400;
/// Most datagrams in the air; the oldest are lost.
const AIR_MAX: usize = 64;
/// Ticks in a row at one moment; a node that wants more of them is stuck.
const TICKS_MAX: usize = 64;

struct World {
    now: Instant,
    nodes: [Engine; 2],
    auths: [Auth; 2],
    starts: u8,
    air: VecDeque<(usize, LinkId, Vec<u8>)>,
    running: Vec<(usize, ActionId)>,
    /// How many signed datagrams were believed or at least read.
    read: u32,
}

fn settings(me: usize) -> Settings {
    let names = NODES.map(|name| NodeName::new(name).unwrap());
    let timeout = Duration::from_secs(5);
    let group = |(name, home, overlap): (&str, usize, bool)| GroupSettings {
        name: GroupName::new(name).unwrap(),
        preferred: if home == me { Side::Me } else { Side::Peer },
        resources: vec![
            ResourceSettings {
                overlap,
                start_timeout: timeout,
                stop_timeout: timeout,
                monitor: None
            };
            2
        ],
        via: None,
        probe: false,
    };
    Settings {
        node: names[me].clone(),
        peer: names[1 - me].clone(),
        keepalive: Duration::from_millis(100),
        warntime: Duration::from_millis(500),
        deadtime: Duration::from_secs(1),
        initdead: Duration::from_secs(3),
        auto_failback: true,
        links: 2,
        groups: [("web", 0, true), ("mail", 1, false)].map(group).to_vec(),
        config: 0x0123_4567_89ab_cdef.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: Past::default(),
    }
}

/// A core that has just started.
pub(super) fn core() -> Core {
    Core::new(settings(0), Instant::from_millis(1000))
}

fn node(me: usize, session: u8, now: Instant) -> Engine {
    let settings = settings(me);
    let identity = Identity {
        node: settings.node.clone(),
        peer: settings.peer.clone(),
        session: [session; 16],
        links: settings.links,
        deadtime: settings.deadtime,
    };
    let keys = KeyRing { keys: vec![Key { id: 1, secret: Zeroizing::new(SECRET.to_vec()) }] };
    Engine::new(Core::new(settings, now), &identity, &keys, now).unwrap()
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(50_000);
        Self {
            now,
            nodes: [node(0, 1, now), node(1, 2, now)],
            auths: [auth(0), auth(1)],
            starts: 2,
            air: VecDeque::new(),
            running: Vec::new(),
            read: 0,
        }
    }

    /// The orders of one node since the last call; how many there were.
    fn obey(&mut self, me: usize) -> usize {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.nodes[me].poll()).collect();
        let orders = outputs.len();
        for output in outputs {
            match output {
                Output::Send { link, pieces } => {
                    pieces.into_iter().for_each(|bytes| self.fly(me, link, bytes));
                }
                Output::Gasp(all) => all.into_iter().for_each(|(_, bytes)| self.check(me, &bytes)),
                Output::Run(action) => self.running.push((me, action.id)),
                // Nobody looks at the LAN here: the core must do without an answer.
                Output::Probe { .. } | Output::Monitor { .. } => {}
                Output::Outside(_)
                | Output::Announce(_)
                | Output::Words(_)
                | Output::Verdicts(_) => {}
                // Nor is there a disk.
                Output::Carry { .. } | Output::Paused => {}
                Output::Answer { .. } | Output::Report(_) | Output::Left => {}
            }
        }
        orders
    }

    /// Whatever a node says, its peer can read it.
    fn check(&self, from: usize, bytes: &[u8]) {
        assert!(bytes.len() <= DATAGRAM_MAX);
        frame::open(bytes, &self.auths[1 - from]).unwrap();
    }

    fn fly(&mut self, from: usize, link: LinkId, bytes: Vec<u8>) {
        self.check(from, &bytes);
        if self.air.len() == AIR_MAX {
            self.air.pop_front();
        }
        self.air.push_back((1 - from, link, bytes));
    }

    fn hear(&mut self, to: usize, link: LinkId, bytes: &[u8]) {
        let well_formed = frame::open(bytes, &self.auths[to]).is_ok();
        self.read += u32::from(well_formed);
        let before = format!("{:?}", self.nodes[to].view(self.now).cluster);
        self.nodes[to].hear(self.now, Arrival { link, at: self.now }, bytes);
        let orders = self.obey(to);
        if !well_formed {
            let after = format!("{:?}", self.nodes[to].view(self.now).cluster);
            assert_eq!((orders, before), (0, after), "a refused datagram changes only counters");
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.plus(span);
        for me in [0, 1] {
            let mut ticks = 0;
            while self.nodes[me].deadline().0 <= self.now {
                self.nodes[me].handle(self.now, Input::Tick);
                self.obey(me);
                ticks += 1;
                assert!(ticks < TICKS_MAX, "{:?} at {}", self.nodes[me].deadline(), self.now);
            }
        }
    }

    fn deliver(&mut self, step: [u8; 4], change: bool, sign: bool) {
        let [_, which, place, value] = step.map(usize::from);
        let Some((to, link, mut bytes)) = self.air.remove(which % self.air.len().max(1)) else {
            return;
        };
        if change {
            // 255 places are enough for the header and the node's fields.
            let place = place % bytes.len().max(1);
            bytes[place] = step[3];
            if place == value {
                bytes.truncate(place);
            }
        }
        let forged = if sign { signed(&bytes, &self.auths[1 - to]) } else { None };
        self.hear(to, link, &forged.unwrap_or(bytes));
    }

    fn step(&mut self, step: [u8; 4]) {
        let [what, a, b, c] = step;
        let me = usize::from(a % 2);
        match what % 12 {
            0 => self.deliver(step, false, false),
            1 => self.deliver(step, true, false),
            2 | 3 => self.deliver(step, true, true),
            4 => self.pass(Duration::from_millis(u64::from(a))),
            5 => self.pass(Duration::from_millis(u64::from(a) * 10)),
            6 => drop(self.air.remove(usize::from(a) % self.air.len().max(1))),
            7 => self.air.extend(self.air.get(usize::from(a)).cloned()),
            8 => {
                let which = [Which::All, Which::Local, Which::Foreign][usize::from(b % 3)];
                let request = match c % 8 {
                    0..4 => Request::Standby(which),
                    4..7 => Request::Takeover(which),
                    _ => Request::Leave,
                };
                let id = RequestId(u64::from(b));
                self.nodes[me].handle(self.now, Input::Request { id, request });
                self.obey(me);
            }
            9 => self.end(usize::from(a), b),
            10 => {
                self.starts = self.starts.wrapping_add(1).max(1);
                self.nodes[me] = node(me, self.starts, self.now);
                self.running.retain(|(whose, _)| *whose != me);
            }
            _ => {
                let all: Vec<_> = self.air.drain(..).collect();
                all.into_iter().for_each(|(to, link, bytes)| self.hear(to, link, &bytes));
            }
        }
    }

    fn end(&mut self, which: usize, how: u8) {
        if self.running.is_empty() {
            return;
        }
        let (me, action) = self.running.remove(which % self.running.len());
        let outcome =
            if how % 4 == 3 { Outcome::Failed("refused".to_owned()) } else { Outcome::Done };
        self.nodes[me].handle(self.now, Input::Ended { action, outcome });
        self.obey(me);
    }
}

pub(super) fn hear(bytes: &[u8]) -> bool {
    let mut world = World::new();
    world.pass(Duration::ZERO);
    for step in bytes.chunks_exact(4).take(STEPS_MAX) {
        world.step(step.try_into().unwrap());
    }
    // What is left of a script is a datagram of a stranger.
    world.hear(0, LinkId(7), bytes);
    world.read > 0
}
