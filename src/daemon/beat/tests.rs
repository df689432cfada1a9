//! Two beat threads with real cores and real sockets, each in a network namespace of its own.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::mpsc;

use tokio::sync::mpsc::Receiver;
use zeroize::Zeroizing;

use super::*;
use crate::cluster::event::{GroupState, Which};
use crate::cluster::{
    Core, Damping, GroupSettings, OutsideSettings, Past, PeerLife, ResourceSettings, Settings, Side,
};
use crate::config::{Cast, Key, KeyRing, Link, Medium, Udp};
use crate::engine::Identity;
use crate::names::{GroupName, LinkName, NodeName};
use crate::sys::namespace::{enter, in_namespace, ip};

const KEEPALIVE: Duration = Duration::from_millis(100);
const DEADTIME: Duration = Duration::from_millis(1000);
/// For everything that must happen: generous, the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn settings(me: usize) -> Settings {
    let names = ["alpha", "beta"].map(|name| NodeName::new(name).unwrap());
    let timeout = Duration::from_secs(5);
    let resource = ResourceSettings {
        overlap: true,
        start_timeout: timeout,
        stop_timeout: timeout,
        monitor: None,
    };
    Settings {
        node: names[me].clone(),
        peer: names[1 - me].clone(),
        keepalive: KEEPALIVE,
        warntime: DEADTIME / 2,
        deadtime: DEADTIME,
        initdead: DEADTIME * 5,
        auto_failback: false,
        links: 1,
        groups: vec![GroupSettings {
            name: GroupName::new("web").unwrap(),
            preferred: if me == 0 { Side::Me } else { Side::Peer },
            resources: vec![resource],
            via: None,
            probe: false,
        }],
        config: 1.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: Past::default(),
    }
}

fn engine(me: usize, session: u8) -> Engine<Recorder> {
    let settings = settings(me);
    let identity = Identity {
        node: settings.node.clone(),
        peer: settings.peer.clone(),
        session: [session; 16],
        links: 1,
        deadtime: settings.deadtime,
    };
    let keys = vec![Key { id: 1, secret: Zeroizing::new(b"not a secret at all".to_vec()) }];
    let now = clock::now();
    Engine::new(Recorder::new(Core::new(settings, now)), &identity, &KeyRing { keys }, now).unwrap()
}

/// A daemon that does as it is told, at once, and remembers what it saw.
struct Node {
    beat: BeatHandle,
    notes: Receiver<Note>,
    runtime: tokio::runtime::Runtime,
    view: Option<Arc<View>>,
    events: Vec<Event>,
    gasp: Vec<Farewell>,
    answers: VecDeque<(RequestId, Answer)>,
    left: bool,
}

impl Node {
    /// In the network namespace of the caller.
    fn start(me: usize, session: u8, capacity: usize) -> Self {
        let link = Link {
            name: LinkName::new("hb0").unwrap(),
            medium: Medium::Udp(Udp {
                port: 694,
                cast: Cast::Unicast {
                    interface: Some("hb0".to_owned()),
                    targets: vec!["10.9.0.1".parse().unwrap(), "10.9.0.2".parse().unwrap()],
                },
            }),
        };
        let links = Links::open(&[link], clock::now());
        assert_eq!(links.faults().count(), 0);
        let (notes, taken) = tokio::sync::mpsc::channel(capacity);
        let beat = spawn(engine(me, session), links, notes, Habits::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self {
            beat,
            notes: taken,
            runtime,
            view: None,
            events: Vec::new(),
            gasp: Vec::new(),
            answers: VecDeque::new(),
            left: false,
        }
    }

    fn obey(&mut self, note: Note) {
        match note {
            Note::Run(action) => {
                let outcome = Outcome::Done;
                self.beat.order(Order::Ended { action: action.id, outcome }).unwrap();
            }
            Note::Outside(_)
            | Note::Announce(_)
            | Note::Probe { .. }
            | Note::Monitor { .. }
            | Note::Words(_)
            | Note::Verdicts(_) => {}
            Note::Answer { id, answer } => self.answers.push_back((id, answer)),
            Note::Report(_, event, _) => self.events.push(event),
            Note::Gasp(farewell) => self.gasp = farewell,
            Note::View(view) => self.view = Some(view),
            Note::Recording(_) | Note::Copy(..) => {}
            Note::Carry { order, .. } => {
                let written = event::Input::Written { order, outcome: Outcome::Done };
                self.beat.order(Order::Core(written)).unwrap();
            }
            Note::Left | Note::Paused => self.left = true,
        }
    }

    fn until(&mut self, what: &str, there: impl Fn(&Self) -> bool) {
        let end = clock::now().plus(PATIENCE);
        while !there(self) {
            let left = end.since(clock::now());
            let next = async { tokio::time::timeout(left, self.notes.recv()).await };
            match self.runtime.block_on(next) {
                Ok(Some(note)) => self.obey(note),
                Ok(None) => panic!("the beat thread ended before: {what}"),
                Err(_) => panic!("never: {what}\n{:#?}", self.view),
            }
        }
    }

    fn is(&self, state: GroupState, peer: PeerLife) -> bool {
        self.view.as_ref().is_some_and(|view| {
            let cluster = &view.engine.cluster;
            cluster.peer.state == peer && cluster.groups.iter().all(|group| group.state == state)
        })
    }

    fn until_is(&mut self, state: GroupState, peer: PeerLife) {
        self.until(&format!("{state:?}, peer {peer:?}"), |node| node.is(state, peer));
    }
}

/// Runs the two halves of a test, each in its namespace, joined by a cable: 10.9.0.1 is alpha,
/// 10.9.0.2 beta.
fn on_two_machines(alpha: impl FnOnce() + Send + 'static, beta: impl FnOnce() + Send + 'static) {
    in_namespace(move || {
        let (tell, told) = mpsc::channel();
        let (ready, go) = mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            enter().unwrap();
            tell.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            go.recv().unwrap();
            ip("addr add 10.9.0.2/24 dev hb0");
            ip("link set hb0 up");
            beta();
        });
        let thread = told.recv().unwrap();
        ip(&format!("link add hb0 type veth peer name hb0 netns {thread}"));
        ip("addr add 10.9.0.1/24 dev hb0");
        ip("link set hb0 up");
        ready.send(()).unwrap();
        alpha();
        if let Err(panic) = other.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn two_threads_meet_and_move_a_group_and_the_survivor_takes_it() {
    let (tell, told) = mpsc::channel::<Vec<Farewell>>();
    let alpha = move || {
        let mut node = Node::start(0, 1, 64);
        node.until_is(GroupState::Active, PeerLife::Alive);
        let view = node.view.clone().unwrap();
        assert!(view.links[0].fault.is_none() && view.links[0].traffic.sent > 0);
        assert_eq!(view.pace.realtime, node.beat.realtime().is_ok());
        let request = Request::Standby(Which::All);
        node.beat.order(Order::Request { id: RequestId(7), request }).unwrap();
        node.until("answered", |node| !node.answers.is_empty());
        assert!(
            matches!(&node.answers[0], (RequestId(7), Answer::Done { moved, .. }) if moved.len() == 1)
        );
        node.until_is(GroupState::Standby, PeerLife::Alive);
        let request = Request::Takeover(Which::All);
        node.beat.order(Order::Request { id: RequestId(8), request }).unwrap();
        node.until_is(GroupState::Active, PeerLife::Alive);
        // Killed, without a word. The other one must notice by itself.
        node.beat.order(Order::Halt).unwrap();
        node.beat.join().unwrap();
        tell.send(node.gasp).unwrap();
    };
    let beta = move || {
        let mut node = Node::start(1, 2, 64);
        node.until_is(GroupState::Standby, PeerLife::Alive);
        let died = |node: &Node| {
            node.events.iter().find_map(|event| match event {
                Event::PeerDead { silent_ms, .. } => Some(*silent_ms),
                _ => None,
            })
        };
        node.until("alpha dead", |node| died(node).is_some());
        let silent = Duration::from_millis(died(&node).unwrap());
        assert!(silent >= DEADTIME, "{silent:?}");
        node.until_is(GroupState::Active, PeerLife::Dead);
        told.recv().unwrap();
    };
    on_two_machines(alpha, beta);
}

#[test]
fn a_farewell_sent_by_another_process_hands_over_at_once() {
    let (settled, wait) = mpsc::channel::<()>();
    let alpha = move || {
        let mut node = Node::start(0, 1, 64);
        node.until_is(GroupState::Active, PeerLife::Alive);
        wait.recv().unwrap();
        node.until("a farewell", |node| !node.gasp.is_empty());
        while let Ok(note) = node.notes.try_recv() {
            node.obey(note);
        }
        node.beat.order(Order::Halt).unwrap();
        node.beat.join().unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(node.gasp.len(), 1, "our own address is left out");
        for one in node.gasp {
            let Farewell::Udp(one) = one else { panic!("{one}") };
            assert_eq!(one.to.to_string(), "10.9.0.2:694");
            socket.send_to(&one.bytes, one.to).unwrap();
        }
    };
    let beta = move || {
        let mut node = Node::start(1, 2, 64);
        node.until_is(GroupState::Standby, PeerLife::Alive);
        settled.send(()).unwrap();
        node.until_is(GroupState::Active, PeerLife::Left);
        assert!(!node.events.iter().any(|event| matches!(event, Event::PeerDead { .. })));
    };
    on_two_machines(alpha, beta);
}

#[test]
fn a_slow_daemon_loses_no_order_and_delays_no_beat() {
    let (leave, left) = mpsc::channel::<()>();
    let alpha = move || {
        let start = clock::now();
        // Room for one note: nearly everything waits in the backlog.
        let mut node = Node::start(0, 1, 1);
        node.until_is(GroupState::Active, PeerLife::Alive);
        // Takes nothing while the other one looks whether it still beats.
        left.recv().unwrap();
        node.beat.order(Order::Request { id: RequestId(1), request: Request::Leave }).unwrap();
        node.until("left", |node| node.left);
        assert!(matches!(node.answers.front(), Some((RequestId(1), Answer::Done { .. }))));
        let pace = node.view.unwrap().pace;
        let lived = clock::now().since(start);
        assert!(u128::from(pace.turns) <= lived.as_millis(), "{pace:?} in {lived:?}: it spins");
        assert!(u128::from(pace.latest_us) <= lived.as_micros(), "{pace:?}");
        node.beat.join().unwrap();
    };
    let beta = move || {
        let mut node = Node::start(1, 2, 64);
        node.until_is(GroupState::Standby, PeerLife::Alive);
        let enough = clock::now().plus(DEADTIME * 2);
        node.until("two deadtimes", |_| clock::now() >= enough);
        assert!(!node.events.iter().any(|event| matches!(event, Event::PeerDead { .. })));
        leave.send(()).unwrap();
        node.until_is(GroupState::Active, PeerLife::Left);
    };
    on_two_machines(alpha, beta);
}

#[test]
fn a_flood_of_strangers_is_counted_and_kills_nobody() {
    let (over, stop) = mpsc::channel::<()>();
    let alpha = move || {
        let mut node = Node::start(0, 1, 64);
        node.until_is(GroupState::Active, PeerLife::Alive);
        let socket = UdpSocket::bind("10.9.0.1:0").unwrap();
        while stop.try_recv().is_err() {
            // The kernel refuses some when its queues are full.
            let _ = socket.send_to(&[b'p'; 200], "10.9.0.2:694");
        }
        node.beat.order(Order::Halt).unwrap();
        node.beat.join().unwrap();
    };
    let beta = move || {
        let mut node = Node::start(1, 2, 64);
        node.until_is(GroupState::Standby, PeerLife::Alive);
        let refused = |node: &Node| {
            let view = node.view.as_ref().unwrap();
            view.engine.security.refused.get(&crate::wire::Refusal::Magic).copied().unwrap_or(0)
        };
        let enough = clock::now().plus(DEADTIME * 3);
        node.until("a flood", |node| clock::now() >= enough && refused(node) > 10_000);
        assert!(!node.events.iter().any(|event| matches!(event, Event::PeerDead { .. })));
        over.send(()).unwrap();
    };
    on_two_machines(alpha, beta);
}

#[test]
fn the_thread_ends_with_the_daemon_and_calls_its_pulse_until_then() {
    in_namespace(|| {
        let links = Links::open(&[], clock::now());
        let (notes, taken) = tokio::sync::mpsc::channel(4);
        let (tell, told) = mpsc::channel();
        let every = Duration::from_millis(2);
        let call = Box::new(move |now| {
            let _ = tell.send(now);
        });
        let beat = spawn(
            engine(0, 1),
            links,
            notes,
            Habits {
                pulse: Some(Pulse { every, call, last: Box::new(|| ()) }),
                ..Habits::default()
            },
        )
        .unwrap();
        let first = told.recv_timeout(PATIENCE).unwrap();
        let second = told.recv_timeout(PATIENCE).unwrap();
        assert!(second.since(first) >= every);
        drop(taken);
        beat.join().unwrap();
    });
}

#[test]
fn orders_beyond_the_limit_are_refused_and_none_is_lost() {
    let orders = Orders::new().unwrap();
    let halt = |_| orders.push(Order::Halt);
    assert_eq!((0..256).map(halt).filter(Result::is_ok).count(), 256);
    assert_eq!(orders.push(Order::Halt), Err(Full));
    assert_eq!(orders.take().unwrap().len(), 256);
    assert_eq!(orders.take().unwrap().len(), 0);
}
