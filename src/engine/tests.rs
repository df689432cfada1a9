//! Two engines on a wire in memory that delays, loses, doubles and plays back.

use zeroize::Zeroizing;

use super::*;
use crate::cluster::message::{Notice, Words};
use crate::config::Key;

const KEEPALIVE: Duration = Duration::from_millis(1000);
const DEADTIME: Duration = Duration::from_millis(5000);
const DELAY: Duration = Duration::from_millis(2);

/// A core that only beats. Its beats say how many beats of the peer it had been told of.
#[derive(Debug)]
struct Pulse {
    due: Instant,
    said: u64,
    told: u64,
    orders: VecDeque<event::Output>,
    heard: Vec<event::Input>,
    gone: bool,
}

impl Pulse {
    fn new(now: Instant) -> Self {
        let (orders, heard) = (VecDeque::new(), Vec::new());
        Self { due: now, said: 0, told: 0, orders, heard, gone: false }
    }

    fn beat(&self, node: NodeState) -> Beat {
        Beat {
            node,
            hears: 1,
            config: self.told << 32 | self.said,
            notice: Notice::default(),
            groups: Vec::new(),
            sections: Vec::new(),
            words: Words::default(),
        }
    }

    fn last_heard(&self) -> Option<Instant> {
        self.heard.iter().rev().find_map(|input| match input {
            event::Input::Heard { at, .. } => Some(*at),
            _ => None,
        })
    }
}

impl Heart for Pulse {
    type View = usize;

    fn handle(&mut self, now: Instant, input: event::Input) {
        match &input {
            event::Input::Heard { beat, echo, .. } => {
                let (told, number) = (beat.config >> 32, beat.config & u64::from(u32::MAX));
                assert!(*echo <= told, "{echo} echoed, {told} known to its core");
                if beat.node != NodeState::Gone {
                    self.told = number;
                }
            }
            event::Input::Tick if now >= self.due => {
                self.said += 1;
                self.due = now.plus(KEEPALIVE);
                let node = if self.gone { NodeState::Gone } else { NodeState::Running };
                self.orders.push_back(event::Output::Send(self.beat(node)));
            }
            _ => {}
        }
        self.heard.push(input);
    }

    fn poll(&mut self) -> Option<event::Output> {
        self.orders.pop_front()
    }

    fn deadline(&self) -> (Instant, &'static str) {
        (self.due, "keepalive")
    }

    fn farewell(&self) -> Beat {
        Beat { config: 7, ..self.beat(NodeState::Gone) }
    }

    fn set_via(&mut self, _: GroupId, _: Option<IpAddr>) {}

    fn in_doubt(&self) -> bool {
        false
    }

    fn view(&self, _: Instant) -> usize {
        self.heard.len()
    }
}

fn ring() -> KeyRing {
    KeyRing { keys: vec![Key { id: 1, secret: Zeroizing::new(b"not a secret at all".to_vec()) }] }
}

fn node(name: &str, session: u8, now: Instant) -> Engine<Pulse> {
    let (node, peer) = if name == "a" { ("a", "b") } else { ("b", "a") };
    let identity = Identity {
        node: NodeName::new(node).unwrap(),
        peer: NodeName::new(peer).unwrap(),
        session: [session; 16],
        links: 2,
        deadtime: DEADTIME,
    };
    Engine::new(Pulse::new(now), &identity, &ring(), now).unwrap()
}

/// A datagram on its way to node 0 or 1.
#[derive(Debug, Clone)]
struct Flying {
    at: Instant,
    to: usize,
    link: LinkId,
    bytes: Vec<u8>,
}

struct World {
    now: Instant,
    nodes: [Option<Engine<Pulse>>; 2],
    air: Vec<Flying>,
    /// Everything that was ever sent.
    captured: Vec<Flying>,
    gasps: [Vec<(LinkId, Vec<u8>)>; 2],
    random: u64,
    /// Out of 100.
    loss: u64,
}

impl World {
    fn new() -> Self {
        let (air, captured) = (Vec::new(), Vec::new());
        let gasps = [Vec::new(), Vec::new()];
        let now = Instant::from_millis(100_000);
        Self { now, nodes: [None, None], air, captured, gasps, random: 1, loss: 0 }
    }

    fn start(&mut self, which: usize, session: u8) {
        self.nodes[which] = Some(node(["a", "b"][which], session, self.now));
    }

    fn node(&mut self, which: usize) -> &mut Engine<Pulse> {
        self.nodes[which].as_mut().unwrap()
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(11);
        (self.random >> 33) % limit
    }

    fn obey(&mut self, which: usize) {
        while let Some(output) = self.node(which).poll() {
            match output {
                Output::Send { link, pieces } => {
                    for bytes in pieces {
                        let at = self.now.plus(DELAY);
                        let datagram = Flying { at, to: 1 - which, link, bytes };
                        self.captured.push(datagram.clone());
                        if self.below(100) >= self.loss {
                            self.air.push(datagram);
                        }
                    }
                }
                Output::Gasp(datagrams) => self.gasps[which] = datagrams,
                other => panic!("{other:?}"),
            }
        }
    }

    fn deliver(&mut self, datagram: &Flying) {
        let (now, to) = (self.now, datagram.to);
        if let Some(engine) = &mut self.nodes[to] {
            let at = datagram.at.min(now);
            let bytes = datagram.bytes.clone();
            engine.handle(now, Input::Datagram { link: datagram.link, at, bytes });
            self.obey(to);
        }
    }

    /// One millisecond: datagrams first, then ticks.
    fn step(&mut self) {
        let now = self.now;
        let (due, later) = self.air.drain(..).partition(|datagram| datagram.at <= now);
        self.air = later;
        for datagram in &due as &Vec<Flying> {
            self.deliver(datagram);
        }
        for which in [0, 1] {
            let due = self.nodes[which].as_ref().is_some_and(|node| node.deadline().0 <= now);
            if due {
                self.node(which).handle(now, Input::Tick);
                self.obey(which);
            }
        }
        self.now = now.plus(Duration::from_millis(1));
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.step();
        }
    }

    /// Whether `which` believes the other's running session.
    fn believes(&self, which: usize) -> bool {
        let session =
            |node: &Option<Engine<Pulse>>| node.as_ref().map(|engine| engine.sessions.mine());
        let engine = self.nodes[which].as_ref().unwrap();
        engine.sessions.peer().map(|peer| peer.session) == session(&self.nodes[1 - which])
    }

    fn until_met(&mut self, limit: u64) -> u64 {
        for millis in 0..limit {
            if self.believes(0) && self.believes(1) {
                return millis;
            }
            self.step();
        }
        panic!("not met within {limit} ms");
    }
}

fn pair() -> World {
    let mut world = World::new();
    world.start(0, 10);
    world.start(1, 20);
    world.until_met(100);
    world
}

#[test]
fn two_nodes_meet_in_two_round_trips_not_in_two_keepalives() {
    let mut world = World::new();
    world.start(0, 10);
    world.run(300);
    world.start(1, 20);
    let took = world.until_met(100);
    assert!(took <= 10, "{took} ms at a one-way delay of 2 ms");
    world.run(3000);
    for which in [0, 1] {
        let view = world.node(which).view(Instant::BOOT);
        assert_eq!(view.links[0].peer_link, Some(0));
        assert_eq!(view.links[1].peer_link, Some(1));
        assert!(view.links.iter().all(|link| link.rtt_us.is_some_and(|rtt| rtt <= 5000)));
        assert_eq!(view.security.peer.unwrap().keys, [PeerKey { id: 1, agrees: true }]);
    }
}

#[test]
fn a_restarted_node_is_met_in_two_round_trips() {
    let mut world = pair();
    for (n, which) in [0, 1, 1, 0, 1].into_iter().enumerate() {
        world.run(1700);
        world.start(which, 100 + u8::try_from(n).unwrap());
        let took = world.until_met(100);
        assert!(took <= 10, "restart {n}: {took} ms");
    }
}

#[test]
fn everything_ever_sent_may_be_played_back_at_an_established_pair() {
    let mut world = pair();
    for session in 0..6 {
        world.run(2500);
        world.start(usize::from(session % 2), 100 + session);
        world.until_met(100);
    }
    world.run(2500);
    let sent_before = world.captured.len();
    let mut captured = world.captured.clone();
    for turn in 0..6000 {
        if turn == 3000 {
            captured.clone_from(&world.captured);
        }
        let count = u64::try_from(captured.len()).unwrap();
        for _ in 0..5 {
            let place = usize::try_from(world.below(count)).unwrap();
            let mut again = captured[place].clone();
            again.link = LinkId(u8::try_from(world.below(2)).unwrap());
            again.at = world.now;
            world.deliver(&again);
        }
        world.step();
        assert!(world.believes(0) && world.believes(1));
    }
    // A beat a second each, on two links, and few answers to the newcomers that are none.
    let sent = world.captured.len() - sent_before;
    assert!(sent <= 2 * 2 * (6 + 6 * 4), "{sent} datagrams");
}

#[test]
fn a_dead_node_does_not_live_on_in_its_packets() {
    let mut world = pair();
    world.loss = 50;
    world.run(60_000);
    world.nodes[0] = None;
    let died = world.now;
    world.run(10);
    for again in world.captured.clone() {
        let again = Flying { at: world.now, ..again };
        world.deliver(&again);
        world.step();
    }
    let last = world.node(1).heart.last_heard().unwrap();
    // What the wire lost at the very end is fresh when it comes for the first time.
    let captured_last = died.plus(Duration::from_millis(10));
    let late = world
        .node(1)
        .heart
        .heard
        .iter()
        .filter(|input| matches!(input, event::Input::Heard { at, .. } if *at > captured_last));
    assert!(late.count() <= 3, "heard of last at {last}, it died at {died}");
}

#[test]
fn a_restart_amid_played_back_captures_takes_a_bounded_time() {
    let mut world = pair();
    for session in 0..40 {
        world.run(50);
        world.start(usize::from(session % 2), 100 + session);
        world.until_met(3000);
    }
    let captured = world.captured.clone();
    for which in [0, 1] {
        world.start(which, 200 + u8::try_from(which).unwrap());
        let mut took = 0u64;
        while !(world.believes(0) && world.believes(1)) {
            let count = u64::try_from(captured.len()).unwrap();
            for _ in 0..20 {
                let place = usize::try_from(world.below(count)).unwrap();
                let again = Flying { at: world.now, ..captured[place].clone() };
                world.deliver(&again);
            }
            world.step();
            took += 1;
            assert!(took < 60_000, "still not met");
        }
        assert!(took <= 10_000, "node {which}: {took} ms");
    }
}

#[test]
fn a_farewell_is_ready_from_the_first_proof_on_and_ends_the_session() {
    let mut world = pair();
    world.run(5000);
    world.nodes[0] = None;
    let gasp = world.gasps[0].clone();
    assert_eq!(gasp.iter().map(|(link, _)| link.0).collect::<Vec<_>>(), [0, 1]);
    for (link, bytes) in gasp {
        let datagram = Flying { at: world.now, to: 1, link, bytes };
        world.deliver(&datagram);
    }
    let heard = &world.node(1).heart.heard;
    let last = heard.iter().rfind(|input| matches!(input, event::Input::Heard { .. }));
    assert!(matches!(last, Some(event::Input::Heard { beat, .. }) if beat.node == NodeState::Gone));
    assert!(world.gasps[1].is_empty(), "nobody is left to say farewell to");
    assert_eq!(world.node(1).view(Instant::BOOT).security.refused[&Refusal::Ended], 1);
    world.start(0, 30);
    assert!(world.until_met(100) <= 10);
}

#[test]
fn after_the_last_word_nothing_is_said_whoever_asks() {
    let mut world = pair();
    world.node(0).heart.gone = true;
    world.run(1100);
    world.node(0).heart.due = Instant::NEVER;
    let sent = world.captured.iter().filter(|datagram| datagram.to == 1).count();
    world.start(1, 30);
    world.run(3000);
    let now = world.captured.iter().filter(|datagram| datagram.to == 1).count();
    assert_eq!(sent, now);
}

#[test]
fn loss_delay_doubling_and_restarts_never_fake_consent_and_always_heal() {
    for seed in 0..40 {
        let mut world = World::new();
        world.random = seed;
        world.start(0, 1);
        world.start(1, 2);
        for session in 3..12 {
            world.loss = world.below(70);
            let span = world.below(8000);
            world.run(span);
            if let Some(again) = world.captured.last().cloned() {
                world.deliver(&again);
            }
            let which = usize::try_from(world.below(2)).unwrap();
            world.start(which, session);
        }
        world.loss = 0;
        let took = world.until_met(1100);
        assert!(took <= 1010, "seed {seed}: {took} ms");
    }
}

#[test]
fn every_refusal_is_counted_and_answered_by_nothing() {
    let mut world = pair();
    let mut engine = world.nodes[0].take().unwrap();
    let arrival = Arrival { link: LinkId(1), at: world.now };
    let good = world.captured.iter().rev().find(|datagram| datagram.to == 0).unwrap();
    let forged = {
        let mut bytes = good.bytes.clone();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    for bytes in [&b""[..], &[0; 200], &forged] {
        engine.hear(world.now, arrival, bytes);
        assert_eq!(engine.poll(), None);
    }
    let view = engine.view(world.now);
    for reason in [Refusal::Size, Refusal::Magic, Refusal::Signature] {
        assert_eq!(view.security.refused[&reason], 1, "{reason:?}");
    }
    assert_eq!(view.links[1].refused, 3);
}

#[test]
fn keys_that_would_cut_off_a_peer_are_refused_and_a_silent_peer_has_no_say() {
    let rings = |ids: &[u8]| KeyRing {
        keys: ids
            .iter()
            .map(|id| {
                let secret = if *id == 1 { &b"not a secret at all"[..] } else { &b"another"[..] };
                Key { id: *id, secret: Zeroizing::new(secret.to_vec()) }
            })
            .collect(),
    };
    let mut world = pair();
    world.run(3000);
    let now = world.now;
    let node = world.node(0);
    let why = |ids: &[u8], at| node.rekeyed(at, &rings(ids)).err();
    assert_eq!(why(&[2, 1], now), Some(RekeyError::PeerLacks(2)));
    assert_eq!(why(&[2], now), Some(RekeyError::PeerSigns(1)));
    assert_eq!(why(&[1, 2], now), None);
    assert_eq!(why(&[2], now.plus(DEADTIME)), None);
    assert_eq!(why(&[], now), Some(RekeyError::Key(KeyError::None)));
}
