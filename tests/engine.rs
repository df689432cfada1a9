//! Two real cores, each in its engine, over a wire in memory that delays and loses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::time::Duration;

use pairbeat::cluster::event::{Event, GroupState, Outcome};
use pairbeat::cluster::message::{GROUPS_MAX, Verdicts, Word};
use pairbeat::cluster::{
    Core, Damping, GroupSettings, OutsideSettings, Past, PeerLife, ResourceSettings, Settings, Side,
};
use pairbeat::config::{Key, KeyRing};
use pairbeat::engine::{Engine, Identity, Input, Output, View};
use pairbeat::names::{GroupName, LinkId, NodeName};
use pairbeat::time::Instant;
use pairbeat::wire::DATAGRAM_MAX;
use zeroize::Zeroizing;

const KEEPALIVE: Duration = Duration::from_millis(200);
const DEADTIME: Duration = Duration::from_millis(2000);

fn settings(me: usize, groups: usize) -> Settings {
    let names = ["alpha", "beta"].map(|name| NodeName::new(name).unwrap());
    let timeout = Duration::from_secs(5);
    let resource = ResourceSettings {
        overlap: true,
        start_timeout: timeout,
        stop_timeout: timeout,
        monitor: None,
    };
    let group = |n: usize| GroupSettings {
        name: GroupName::new(&format!("{n:0>60}")).unwrap(),
        preferred: if n % 2 == me { Side::Me } else { Side::Peer },
        resources: vec![resource; 2],
        probe: false,
        via: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
    };
    Settings {
        node: names[me].clone(),
        peer: names[1 - me].clone(),
        keepalive: KEEPALIVE,
        warntime: DEADTIME / 2,
        deadtime: DEADTIME,
        initdead: DEADTIME * 5,
        auto_failback: true,
        links: 2,
        groups: (0..groups).map(group).collect(),
        config: 1.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: Past::default(),
    }
}

struct World {
    now: Instant,
    nodes: [Option<Engine>; 2],
    groups: usize,
    air: Vec<(Instant, usize, LinkId, Vec<u8>)>,
    gasps: [Vec<(LinkId, Vec<u8>)>; 2],
    events: Vec<(usize, Event)>,
    /// What the second node was told of the first one's servers.
    words: Vec<Word>,
    verdicts: Vec<Verdicts>,
    random: u64,
    /// Out of 100, on each link.
    loss: u64,
}

impl World {
    fn new(groups: usize) -> Self {
        let now = Instant::from_millis(50_000);
        let (air, events, gasps) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        let (words, verdicts) = (Vec::new(), Vec::new());
        Self {
            now,
            nodes: [None, None],
            groups,
            air,
            gasps,
            events,
            words,
            verdicts,
            random: 7,
            loss: 0,
        }
    }

    fn start(&mut self, me: usize, session: u8) {
        let settings = settings(me, self.groups);
        let identity = Identity {
            node: settings.node.clone(),
            peer: settings.peer.clone(),
            session: [session; 16],
            links: 2,
            deadtime: DEADTIME,
        };
        let secret = Zeroizing::new(b"a secret of at least thirty-two bytes".to_vec());
        let keys = KeyRing { keys: vec![Key { id: 3, secret }] };
        let engine = Engine::new(Core::new(settings, self.now), &identity, &keys, self.now);
        self.nodes[me] = Some(engine.unwrap());
    }

    fn lost(&mut self) -> bool {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % 100 < self.loss
    }

    fn give(&mut self, which: usize, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(engine) = &mut self.nodes[which] else { return };
            engine.handle(self.now, input);
            let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll()).collect();
            for output in outputs {
                match output {
                    Output::Send { link, pieces } => {
                        for bytes in pieces {
                            assert!(bytes.len() <= DATAGRAM_MAX);
                            if !self.lost() {
                                let at = self.now.plus(Duration::from_millis(1));
                                self.air.push((at, 1 - which, link, bytes));
                            }
                        }
                    }
                    Output::Run(action) => {
                        let outcome = Outcome::Done;
                        inputs.push(Input::Ended { action: action.id, outcome });
                    }
                    Output::Gasp(datagrams) => self.gasps[which] = datagrams,
                    Output::Report(event) => self.events.push((which, event)),
                    Output::Probe { .. } | Output::Monitor { .. } => {}
                    Output::Outside(_) | Output::Announce(_) => {}
                    Output::Words(told) => self.words.extend(told),
                    Output::Verdicts(told) => self.verdicts.push(told),
                    Output::Answer { .. } | Output::Left => {}
                    Output::Carry { .. } | Output::Paused => unreachable!("nobody restarts here"),
                }
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, _) = self.air.drain(..).partition(|flying| flying.0 <= now);
        self.air = later;
        for (at, to, link, bytes) in due {
            self.give(to, Input::Datagram { link, at, bytes });
        }
        for which in [0, 1] {
            for _ in 0..8 {
                if self.nodes[which].as_ref().is_some_and(|node| node.deadline().0 <= now) {
                    self.give(which, Input::Tick);
                }
            }
        }
        self.now = now.plus(Duration::from_millis(1));
    }

    fn view(&self, which: usize) -> View {
        self.nodes[which].as_ref().unwrap().view(self.now)
    }

    fn active(&self, which: usize) -> usize {
        let cluster = self.view(which).cluster;
        cluster.groups.iter().filter(|group| group.state == GroupState::Active).count()
    }

    fn until(&mut self, what: &str, millis: u64, there: impl Fn(&Self) -> bool) {
        for _ in 0..millis {
            if there(self) {
                return;
            }
            self.step();
        }
        panic!("not within {millis} ms: {what}\n{:?}", self.events);
    }
}

#[test]
fn a_farewell_is_acted_on_at_once_and_a_restart_ends_with_one_holder_each() {
    let mut world = World::new(2);
    world.start(0, 1);
    world.start(1, 2);
    world.until("one each", 2000, |world| world.active(0) == 1 && world.active(1) == 1);
    world.nodes[0] = None;
    for (link, bytes) in world.gasps[0].clone() {
        let at = world.now;
        world.give(1, Input::Datagram { link, at, bytes });
    }
    world.until("all on beta", 20, |world| world.active(1) == 2);
    assert_eq!(world.view(1).cluster.peer.state, PeerLife::Left);
    world.start(0, 3);
    world.until("back", 5000, |world| world.active(0) == 1 && world.active(1) == 1);
}

#[test]
fn the_most_groups_with_the_longest_names_are_shared_out_over_a_bad_wire() {
    let mut world = World::new(GROUPS_MAX);
    world.loss = 20;
    world.start(0, 1);
    world.start(1, 2);
    let half = GROUPS_MAX / 2;
    world.until("shared", 20_000, |world| world.active(0) == half && world.active(1) == half);
    for _ in 0..30_000 {
        world.step();
    }
    let bad = |(_, event): &&(usize, Event)| {
        matches!(event, Event::PeerDead { .. } | Event::LinkDown { .. } | Event::Conflict { .. })
    };
    assert_eq!(world.events.iter().find(bad), None);
    let links = world.view(0).links;
    assert!(links.iter().all(|link| link.of == 64 && link.rtt_us == Some(2000)), "{links:?}");
}

#[test]
fn orders_and_verdicts_of_the_director_reach_the_peer_in_whole_beats_and_in_pieces() {
    for groups in [1, GROUPS_MAX] {
        let mut world = World::new(groups);
        world.start(0, 1);
        world.start(1, 2);
        world.until("contact", 5000, |world| {
            world.view(0).cluster.peer.state == PeerLife::Alive
                && world.view(1).cluster.peer.state == PeerLife::Alive
        });
        let word = Word { stamp: 5, text: "10.0.1.1 = drain".to_owned() };
        world.give(0, Input::Words { digest: 9, all: vec![word.clone()] });
        let states: Vec<u8> = (0..200).collect();
        world.give(0, Input::Verdicts(Verdicts { list: 7, first: 0, states: states.clone() }));
        world.until("an order", 3000, |world| world.words.contains(&word));
        let part = |first: u16, states: &[u8]| Verdicts { list: 7, first, states: states.to_vec() };
        for told in [part(0, &states[..128]), part(512, &states[128..])] {
            world.until("verdicts", 3000, |world| world.verdicts.contains(&told));
        }
    }
}
