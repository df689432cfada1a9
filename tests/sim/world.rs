//! Two machines, the links between them, and time.
//!
//! A machine has a process (core and session layer) while it runs, the resources that its kernel
//! has up, and agents that obey, fail or hang. The world moves from event to event; nothing in it
//! is random but what its generator says. [`crate::checks`] looks at every step.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pairbeat::cluster::event::{
    Action, Answer, Event, Input, LanAnswer, Operation, Outcome, Output, OutsideOrder, Request,
    ServiceLink, Verdict,
};
use pairbeat::cluster::message::{Beat, GroupClaim, Hold, Notice, Unrest, Wish};
use pairbeat::cluster::{Carried, Core, RESTART_SERVED, Settings};
use pairbeat::names::{ActionId, GroupId, LinkId, RequestId};
use pairbeat::time::Instant;

use crate::checks::Facts;
use crate::outside::Outside;
use crate::rng::Rng;
use crate::session::Delivery;

/// What a socket holds before it drops the newest.
const INBOX_MAX: usize = 256;
/// Ticks that a core may ask for at one instant before it counts as spinning.
const TURNS_MAX: usize = 40;
/// How long the driver asks the LAN.
const PROBE_TAKES: Duration = Duration::from_millis(50);
/// Packets kept for an attacker to send again.
const RECORDED_MAX: usize = 64;

/// How an agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    Obeys,
    Fails,
    /// Until the driver's limit.
    Hangs,
    /// The driver's answer comes only after the core has given up waiting for it.
    Mute,
}

/// One direction of one link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) cut: bool,
    /// In percent; each loss begins a burst of up to `burst` more.
    pub(crate) loss: u64,
    pub(crate) burst: u64,
    pub(crate) duplicates: u64,
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
    losing: u64,
}

impl Path {
    pub(crate) fn clean(delay_min: Duration, delay_max: Duration) -> Self {
        Self { cut: false, loss: 0, burst: 0, duplicates: 0, delay_min, delay_max, losing: 0 }
    }

    pub(crate) fn is_clean(&self) -> bool {
        !self.cut && self.loss == 0
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { cut: true, .. } => f.write_str("[cut]"),
            Self { loss, duplicates, .. } => write!(f, "[loss {loss} double {duplicates}]"),
        }
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The machine loses power: nothing is up any more.
    Power,
    /// Every process is killed; the kernel keeps what it has.
    Kill,
    /// The core dies; its supervisor releases everything and says so.
    Gasp,
}

/// A running pair of core and session layer.
pub(crate) struct Process<D: Delivery> {
    pub(crate) core: Core,
    pub(crate) session: D,
    /// Claims of the last beat sent.
    pub(crate) said: Vec<GroupClaim>,
    inbox: VecDeque<(LinkId, Instant, D::Packet)>,
    ended: VecDeque<(ActionId, Outcome)>,
    pub(crate) seen: VecDeque<Input>,
    wake: u64,
}

/// One machine.
pub(crate) struct Machine<D: Delivery> {
    pub(crate) settings: Settings,
    pub(crate) process: Option<Process<D>>,
    /// Counts starts; an event of an earlier one is void.
    pub(crate) starts: u64,
    /// What the kernel has up, by group and resource. A start that is under way or failed counts
    /// as up: it may be.
    pub(crate) up: Vec<Vec<bool>>,
    /// By group and resource: how it starts, how it stops.
    pub(crate) agents: Vec<Vec<[Agent; 2]>>,
    /// By group and resource: up, and out of order all the same.
    pub(crate) broken: Vec<Vec<bool>>,
    /// By group and resource: how a look at it goes; one that fails tells a lie.
    pub(crate) monitors: Vec<Vec<Agent>>,
    pub(crate) suspended: Option<Instant>,
    /// Its boot clock is ahead of the world's by that,
    offset: Duration,
    /// and runs faster, by so many millionths.
    drift: u32,
    /// Its beats are those of an older version: what is optional in them is missing.
    pub(crate) old: bool,
    /// Its kernel takes the addresses out of service when the process does not run on time.
    pub(crate) guarded: bool,
    /// An agent takes between the two.
    pub(crate) agent_min: Duration,
    pub(crate) agent_max: Duration,
    recorded: VecDeque<D::Packet>,
    pub(crate) facts: Facts,
    /// Its interface to the service LAN has no carrier.
    pub(crate) lan_cut: bool,
    /// When that was changed last.
    pub(crate) lan_back: Instant,
    /// What a process has written down for the next one, and the request that asked for it.
    carried: Option<Carried>,
    restart: Option<RequestId>,
    /// Ended with everything held.
    pub(crate) paused: Option<Paused>,
}

/// A node without a process whose kernel serves on.
#[derive(Debug, Clone)]
pub(crate) struct Paused {
    /// The claims of its last beat.
    said: Vec<GroupClaim>,
    /// The kernel's lease.
    pub(crate) served_until: Instant,
}

pub(crate) enum Happening<P> {
    Arrive { node: usize, link: LinkId, packet: P },
    Wake { node: usize, token: u64 },
    Acted { node: usize, start: u64, action: Action, outcome: Outcome },
    Resume { node: usize },
    Looked { node: usize, start: u64, order: ActionId, verdict: Verdict },
    Probed { node: usize, start: u64, order: ActionId, group: usize },
    Outside { node: usize, start: u64, order: OutsideOrder, cut: bool },
}

/// Everything.
pub(crate) struct World<D: Delivery> {
    pub(crate) now: Instant,
    pub(crate) nodes: [Machine<D>; 2],
    /// By link and by sender.
    pub(crate) links: Vec<[Path; 2]>,
    pub(crate) rng: Rng,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) failure: Option<String>,
    /// Loops come late by up to that.
    pub(crate) jitter: Duration,
    pub(crate) outside: Outside,
    /// The switch of the service LAN is broken: both have a carrier, and neither reaches the other.
    pub(crate) lan_split: bool,
    /// By node: how many ping nodes answer it.
    pub(crate) reached: [u8; 2],
    queue: BTreeMap<(Instant, u64), Happening<D::Packet>>,
    order: u64,
    sessions: u64,
    requests: u64,
    /// Requests that wait for their answer: who, in which start, since when.
    pub(crate) open: BTreeMap<u64, (usize, u64, Instant)>,
    pub(crate) checks: crate::checks::Checks,
}

pub(crate) const NAMES: [&str; 2] = ["a", "b"];

impl<D: Delivery> World<D> {
    pub(crate) fn new(settings: [Settings; 2], links: Vec<[Path; 2]>, rng: Rng) -> Self {
        let groups = settings[0].groups.len();
        let reached = [settings[0].outside.ping.nodes; 2];
        let nodes = settings.map(|settings| Machine::new(settings));
        Self {
            now: Instant::BOOT,
            nodes,
            links,
            rng,
            trace: None,
            failure: None,
            jitter: Duration::ZERO,
            outside: Outside::default(),
            lan_split: false,
            reached,
            queue: BTreeMap::new(),
            order: 0,
            sessions: 0,
            requests: 0,
            open: BTreeMap::new(),
            checks: crate::checks::Checks::new(groups),
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12} {}", self.now.to_string(), text()));
        }
    }

    /// An invariant does not hold.
    pub(crate) fn fail(&mut self, text: impl std::fmt::Display) {
        self.note(|| format!("VIOLATED: {text}"));
        let now = self.now;
        self.failure.get_or_insert(format!("{now} {text}"));
    }

    pub(crate) fn push(&mut self, at: Instant, happening: Happening<D::Packet>) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    /// Until `end`, or until an invariant does not hold.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.failure.is_none() {
            match self.queue.first_key_value() {
                Some(((at, _), _)) if *at <= end => {}
                _ => break,
            }
            let ((at, _), happening) = self.queue.pop_first().unwrap();
            self.now = at;
            self.happen(happening);
            self.check_step();
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now.plus(span));
    }

    fn happen(&mut self, happening: Happening<D::Packet>) {
        match happening {
            Happening::Arrive { node, link, packet } => {
                let at = self.local(node);
                let Some(process) = &mut self.nodes[node].process else { return };
                if process.inbox.len() < INBOX_MAX {
                    process.inbox.push_back((link, at, packet.clone()));
                }
                self.nodes[1 - node].record(packet);
                self.turn(node);
            }
            Happening::Wake { node, token } => {
                if self.nodes[node].process.as_ref().is_some_and(|process| process.wake == token) {
                    self.turn(node);
                }
            }
            Happening::Acted { node, start, action, outcome } => {
                if self.nodes[node].starts == start && self.nodes[node].process.is_some() {
                    self.acted(node, action, outcome);
                }
            }
            Happening::Probed { node, start, order, group } => {
                if self.nodes[node].starts == start && self.nodes[node].process.is_some() {
                    self.probed(node, order, group);
                }
            }
            Happening::Outside { node, start, order, cut } => {
                self.outside((node, start), order, cut);
            }
            Happening::Looked { node, start, order, verdict } => {
                if self.nodes[node].starts == start {
                    self.tell(node, Input::Monitored { order, verdict });
                }
            }
            Happening::Resume { node } => {
                if self.nodes[node].suspended == Some(self.now) {
                    self.note(|| format!("{} wakes up", NAMES[node]));
                    self.nodes[node].suspended = None;
                    self.nodes[node].facts.asleep(None, self.now);
                    self.turn(node);
                }
            }
        }
    }

    /// The node's own boot clock.
    pub(crate) fn local(&self, node: usize) -> Instant {
        let Machine { offset, drift, .. } = self.nodes[node];
        let ran = self.now.since(Instant::BOOT);
        self.now.plus(offset).plus(ran / 1_000_000 * drift)
    }

    pub(crate) fn set_clock(&mut self, node: usize, offset: Duration, drift: u32) {
        (self.nodes[node].offset, self.nodes[node].drift) = (offset, drift);
    }

    // ---- what happens to machines ---------------------------------------------------------------

    /// Starts the process, after its supervisor has cleared what an earlier one left behind.
    pub(crate) fn boot(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        self.note(|| format!("{} boots", NAMES[node]));
        self.sessions += 1;
        let session = D::start(self.sessions);
        let now = self.local(node);
        let machine = &mut self.nodes[node];
        let carried = machine.carried.take().filter(|carried| carried.is_timely(now));
        let paused = machine.paused.take();
        if carried.is_none() {
            machine.clear();
        }
        machine.starts += 1;
        machine.suspended = None;
        machine.facts =
            Facts::new(self.now, machine.settings.groups.len(), machine.settings.keepalive);
        let core = match &carried {
            Some(carried) => Core::resumed(machine.settings.clone(), now, carried),
            None => Core::new(machine.settings.clone(), now),
        };
        machine.facts.promised.begin(self.now, &core.view(now));
        machine.process = Some(Process {
            core,
            session,
            said: Vec::new(),
            inbox: VecDeque::new(),
            ended: VecDeque::new(),
            seen: VecDeque::from([Input::Guarded(machine.guarded)]),
            wake: 0,
        });
        self.look(node);
        self.count_pings(node);
        self.turn(node);
        if let (Some(_), Some(paused)) = (carried, paused) {
            self.check_resumed(node, &paused.said);
        }
        self.check_step();
    }

    pub(crate) fn crash(&mut self, node: usize, how: Crash) {
        if how != Crash::Kill {
            self.nodes[node].carried = None;
        }
        let Some(mut process) = self.nodes[node].process.take() else {
            if how == Crash::Power {
                self.nodes[node].clear();
                self.nodes[node].paused = None;
            }
            return;
        };
        self.nodes[node].settings.past = process.core.past();
        self.note(|| format!("{} crashes: {how:?}", NAMES[node]));
        self.open.retain(|_, (owner, _, _)| *owner != node);
        self.nodes[node].suspended = None;
        if how != Crash::Kill {
            self.nodes[node].clear();
        }
        if how == Crash::Gasp {
            let packet = process.session.seal(&process.core.farewell());
            self.transmit(node, &packet);
        }
        self.check_step();
    }

    pub(crate) fn suspend(&mut self, node: usize, span: Duration) {
        if self.nodes[node].process.is_none() || self.nodes[node].suspended.is_some() {
            return;
        }
        self.note(|| format!("{} is suspended for {span:?}", NAMES[node]));
        let until = self.now.plus(span);
        self.nodes[node].suspended = Some(until);
        self.nodes[node].facts.asleep(Some(self.now), self.now);
        self.push(until, Happening::Resume { node });
    }

    pub(crate) fn request(&mut self, node: usize, request: Request) {
        let now = self.local(node);
        let start = self.nodes[node].starts;
        let awake = self.nodes[node].suspended.is_none();
        let Some(process) = &mut self.nodes[node].process else { return };
        if !awake {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        process.core.handle(now, Input::Request { id, request });
        if request == Request::Restart {
            self.nodes[node].restart = Some(id);
        }
        self.open.insert(id.0, (node, start, self.now));
        self.note(|| format!("{} operator: {request:?}", NAMES[node]));
        self.check_asked(node);
        self.obey(node);
        self.turn(node);
        self.check_step();
    }

    /// The operator has the files read again; the resources are the same.
    pub(crate) fn reload(&mut self, node: usize, settings: Settings) {
        let now = self.local(node);
        let machine = &mut self.nodes[node];
        let Some(process) = machine.process.as_mut().filter(|_| machine.suspended.is_none()) else {
            return;
        };
        self.requests += 1;
        let id = RequestId(self.requests);
        let input = Input::Settings { id, settings: Box::new(settings.clone()), changed: vec![] };
        process.core.handle(now, input);
        self.open.insert(id.0, (node, machine.starts, self.now));
        machine.settings = settings;
        self.note(|| format!("{} reads its files again", NAMES[node]));
        self.obey(node);
        self.turn(node);
        self.check_step();
    }

    /// An old packet comes again, to the other node or back to its sender.
    pub(crate) fn replay(&mut self, from: usize, to: usize) {
        let recorded = &self.nodes[from].recorded;
        if recorded.is_empty() {
            return;
        }
        let packet = recorded[self.rng.place(recorded.len())].clone();
        let link = LinkId(u8::try_from(self.rng.place(self.links.len())).unwrap());
        self.push(self.now, Happening::Arrive { node: to, link, packet });
    }

    // ---- one turn of a node's loop --------------------------------------------------------------

    /// As the driver does it: read all that waits, then tick for as long as the core asks for it.
    pub(crate) fn turn(&mut self, node: usize) {
        for _ in 0..TURNS_MAX {
            if self.nodes[node].suspended.is_some() {
                return;
            }
            while let Some(input) = self.next_input(node) {
                self.hand(node, input);
            }
            let now = self.local(node);
            let Some(process) = &mut self.nodes[node].process else { return };
            let deadline = process.core.deadline().0;
            if deadline > now {
                process.wake += 1;
                let token = process.wake;
                let span = deadline.since(now);
                let late = self.rng.range(0, u64::try_from(self.jitter.as_nanos()).unwrap());
                let at = self.now.plus(span).plus(Duration::from_nanos(late));
                self.push(at, Happening::Wake { node, token });
                return;
            }
            self.hand(node, Input::Tick);
        }
        self.fail(format!("{} asks for ticks without end", NAMES[node]));
    }

    fn next_input(&mut self, node: usize) -> Option<Input> {
        let process = self.nodes[node].process.as_mut()?;
        while let Some((link, at, packet)) = process.inbox.pop_front() {
            if let Some(input) = process.session.open(link, at, &packet) {
                return Some(input);
            }
        }
        if let Some(seen) = process.seen.pop_front() {
            return Some(seen);
        }
        let (action, outcome) = process.ended.pop_front()?;
        Some(Input::Ended { action, outcome })
    }

    fn hand(&mut self, node: usize, input: Input) {
        let now = self.local(node);
        if let Input::Heard { at, beat, .. } = &input {
            let at = self.now.minus(now.since(*at));
            let world_now = self.now;
            self.nodes[node].facts.heard(at, beat);
            self.nodes[node].facts.handed(world_now);
        }
        if let Some(process) = &mut self.nodes[node].process {
            process.core.handle(now, input);
            self.obey(node);
        }
    }

    fn obey(&mut self, node: usize) {
        loop {
            let Some(process) = &mut self.nodes[node].process else { return };
            let Some(output) = process.core.poll() else { return };
            match output {
                Output::Send(beat) => self.send(node, beat),
                Output::Run(action) => self.run(node, action),
                Output::Probe { order, group, .. } => {
                    let (start, group) = (self.nodes[node].starts, usize::from(group.0));
                    self.note(|| format!("{} probes {group}", NAMES[node]));
                    let at = self.now.plus(PROBE_TAKES);
                    self.push(at, Happening::Probed { node, start, order, group });
                }
                Output::Outside(order) => self.order_outside(node, order),
                Output::Monitor { order, group, resource } => {
                    self.look_at(node, order, (usize::from(group.0), resource));
                }
                Output::Announce(group) => self.announce(node, group),
                Output::Report(event) => self.report(node, &event),
                Output::Answer { id, answer } => {
                    self.note(|| format!("{} answers: {answer:?}", NAMES[node]));
                    let machine = &mut self.nodes[node];
                    let done = matches!(answer, Answer::Done { .. });
                    if machine.restart.take_if(|it| *it == id).is_some() && !done {
                        machine.carried = None;
                    }
                    if let Some((_, _, since)) = self.open.remove(&id.0) {
                        self.check_answer(since, &answer);
                    }
                }
                Output::Carry { order, carried } => {
                    self.note(|| format!("{} writes down what it holds", NAMES[node]));
                    let machine = &mut self.nodes[node];
                    machine.carried = Some(carried);
                    let written = Input::Written { order, outcome: Outcome::Done };
                    machine.process.as_mut().unwrap().seen.push_back(written);
                }
                Output::Paused => self.pause(node),
                Output::Left => {
                    self.note(|| format!("{} has left", NAMES[node]));
                    self.check_left(node);
                    let process = self.nodes[node].process.take();
                    if let Some(process) = process {
                        self.nodes[node].settings.past = process.core.past();
                    }
                    self.open.retain(|_, (owner, _, _)| *owner != node);
                }
            }
        }
    }

    /// The process ends, and the kernel serves on.
    fn pause(&mut self, node: usize) {
        self.note(|| format!("{} ends with everything held", NAMES[node]));
        let served_until = self.now.plus(RESTART_SERVED);
        let machine = &mut self.nodes[node];
        let Some(process) = machine.process.take() else { return };
        machine.settings.past = process.core.past();
        machine.paused = Some(Paused { said: process.said, served_until });
        self.open.retain(|_, (owner, _, _)| *owner != node);
    }

    fn send(&mut self, node: usize, beat: Beat) {
        self.check_send(node, &beat);
        self.check_claims(node, &beat);
        let old = self.nodes[node].old;
        let Some(process) = &mut self.nodes[node].process else { return };
        let packet = process.session.seal(&if old { bare(&beat) } else { beat.clone() });
        if self.trace.is_some()
            && (told(&process.said) != told(&beat.groups)
                || beat.node != self.nodes[node].facts.node)
        {
            let text = describe(&beat);
            self.note(|| format!("{} says {text}", NAMES[node]));
        }
        let machine = &mut self.nodes[node];
        machine.facts.node = beat.node;
        if let Some(process) = &mut machine.process {
            process.said = beat.groups;
        }
        self.transmit(node, &packet);
    }

    fn transmit(&mut self, from: usize, packet: &D::Packet) {
        for link in 0..self.links.len() {
            for at in self.carry(link, from) {
                let id = LinkId(u8::try_from(link).unwrap());
                let packet = packet.clone();
                self.push(at, Happening::Arrive { node: 1 - from, link: id, packet });
            }
        }
    }

    /// When a packet comes out at the other end: never, once, or twice.
    fn carry(&mut self, link: usize, from: usize) -> Vec<Instant> {
        let (rng, path) = (&mut self.rng, &mut self.links[link][from]);
        if path.cut {
            return Vec::new();
        }
        if path.losing > 0 {
            path.losing -= 1;
            return Vec::new();
        }
        if path.loss > 0 && rng.percent(path.loss) {
            path.losing = rng.range(0, path.burst);
            return Vec::new();
        }
        let copies = if path.duplicates > 0 && rng.percent(path.duplicates) { 2 } else { 1 };
        let (low, high) = (path.delay_min.as_nanos() as u64, path.delay_max.as_nanos() as u64);
        (0..copies).map(|_| self.now.plus(Duration::from_nanos(rng.range(low, high)))).collect()
    }

    fn announce(&mut self, node: usize, group: GroupId) {
        self.note(|| format!("{} announces {}", NAMES[node], group.0));
        self.check_announce(node, group);
    }

    fn report(&mut self, node: usize, event: &Event) {
        self.note(|| format!("{} {event:?}", NAMES[node]));
        self.check_report(node, event);
    }

    // ---- the service LAN ------------------------------------------------------------------------

    /// Whether anybody out there gets an answer from the node for the group: it is up, there is a
    /// carrier, and the kernel's lease, if there is one, has not run out.
    pub(crate) fn answers(&self, node: usize, group: usize) -> bool {
        let machine = &self.nodes[node];
        let paused = machine.paused.as_ref().is_some_and(|it| self.now < it.served_until);
        let on_time = paused || (machine.process.is_some() && machine.suspended.is_none());
        (on_time || !machine.guarded) && !machine.lan_cut && machine.up[group].contains(&true)
    }

    fn probed(&mut self, node: usize, order: ActionId, group: usize) {
        let heard = !self.lan_split && !self.nodes[node].lan_cut && self.answers(1 - node, group);
        let answer = if heard { LanAnswer::Served } else { LanAnswer::Free };
        self.tell(node, Input::Probed { order, answer });
    }

    /// An answer of the driver's.
    fn tell(&mut self, node: usize, input: Input) {
        if let Some(process) = &mut self.nodes[node].process {
            process.seen.push_back(input);
            self.turn(node);
        }
    }

    /// A cable of the service LAN is pulled, or put back.
    pub(crate) fn cut_lan(&mut self, node: usize, cut: bool) {
        if self.nodes[node].lan_cut != cut {
            self.note(|| {
                format!("{} service link {}", NAMES[node], if cut { "cut" } else { "mended" })
            });
            self.nodes[node].lan_cut = cut;
            self.nodes[node].lan_back = self.now;
            self.look(node);
            self.turn(node);
            self.check_step();
        }
    }

    /// The service LAN is one again.
    pub(crate) fn join_lan(&mut self) {
        self.note(|| "one LAN again".to_owned());
        self.lan_split = false;
        for node in &mut self.nodes {
            node.lan_back = self.now;
        }
    }

    /// The kernel here has heard of every connection of the first group's holder, or has not.
    pub(crate) fn sync(&mut self, node: usize, fresh: bool) {
        let word = if fresh { "fresh" } else { "stale" };
        self.note(|| format!("{} sync {word}", NAMES[node]));
        let Some(process) = &mut self.nodes[node].process else { return };
        process.seen.push_back(Input::Synced { group: GroupId(0), fresh });
        self.turn(node);
        self.check_step();
    }

    /// The driver's first count of the ping nodes.
    fn count_pings(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        let Some(process) = &mut machine.process else { return };
        if machine.settings.outside.ping.nodes > 0 {
            process.seen.push_back(Input::Reached(Some(self.reached[node])));
        }
    }

    /// The driver's look at its interfaces.
    fn look(&mut self, node: usize) {
        let machine = &mut self.nodes[node];
        let link = if machine.lan_cut { ServiceLink::Down } else { ServiceLink::Up };
        let Some(process) = &mut machine.process else { return };
        for (place, group) in machine.settings.groups.iter().enumerate() {
            if group.probe {
                let group = GroupId(u16::try_from(place).unwrap());
                process.seen.push_back(Input::Service { group, link });
            }
        }
    }

    // ---- agents ---------------------------------------------------------------------------------

    fn run(&mut self, node: usize, action: Action) {
        self.note(|| {
            let Action { group, resource, operation, manner, .. } = action;
            format!("{} runs {operation:?} {}.{resource} {manner:?}", NAMES[node], group.0)
        });
        self.check_run(node, action);
        let machine = &mut self.nodes[node];
        let (group, resource) = (usize::from(action.group.0), action.resource);
        let limits = machine.settings.groups[group].resources[resource];
        let (agent, limit) = match action.operation {
            Operation::Start => (machine.agents[group][resource][0], limits.start_timeout),
            Operation::Stop => (machine.agents[group][resource][1], limits.stop_timeout),
        };
        let low = u64::try_from(machine.agent_min.as_nanos()).unwrap();
        let high = u64::try_from(machine.agent_max.as_nanos()).unwrap();
        let usual = Duration::from_nanos(self.rng.range(low, high));
        let (span, outcome) = match agent {
            Agent::Obeys => (usual, Outcome::Done),
            Agent::Fails => (usual, Outcome::Failed("refused".to_owned())),
            Agent::Hangs => (limit, Outcome::Failed("timed out".to_owned())),
            Agent::Mute => {
                (limit + Duration::from_secs(7), Outcome::Failed("timed out".to_owned()))
            }
        };
        if action.operation == Operation::Start {
            machine.up[group][resource] = true;
        }
        let start = machine.starts;
        self.nodes[node].facts.flying[group] = Some((action, outcome == Outcome::Done));
        self.push(self.now.plus(span), Happening::Acted { node, start, action, outcome });
    }

    fn look_at(&mut self, node: usize, order: ActionId, (group, resource): (usize, usize)) {
        let machine = &mut self.nodes[node];
        let low = u64::try_from(machine.agent_min.as_nanos()).unwrap();
        let high = u64::try_from(machine.agent_max.as_nanos()).unwrap();
        let usual = Duration::from_nanos(self.rng.range(low, high));
        let limit = machine.settings.groups[group].resources[resource].monitor.unwrap().timeout;
        let late = Verdict::Unclear("timed out".to_owned());
        let broken = machine.broken[group][resource];
        let (span, verdict) = match machine.monitors[group][resource] {
            Agent::Obeys if broken => (usual, Verdict::Down("it has died".to_owned())),
            Agent::Obeys => (usual, Verdict::Up),
            Agent::Fails => (usual, Verdict::Down("a lie".to_owned())),
            Agent::Hangs => (limit, late),
            Agent::Mute => (limit + Duration::from_secs(17), late),
        };
        let start = machine.starts;
        self.push(self.now.plus(span), Happening::Looked { node, start, order, verdict });
    }

    /// A resource that is up and looked after goes out of order.
    pub(crate) fn break_down(&mut self, node: usize, (group, resource): (usize, usize)) {
        let machine = &mut self.nodes[node];
        let watched = machine.settings.groups[group].resources[resource].monitor.is_some();
        if watched && machine.up[group][resource] {
            machine.broken[group][resource] = true;
            self.checks.troubled = true;
            self.note(|| format!("{}: {group}.{resource} dies", NAMES[node]));
        }
    }

    fn acted(&mut self, node: usize, action: Action, outcome: Outcome) {
        let machine = &mut self.nodes[node];
        let (group, resource) = (usize::from(action.group.0), action.resource);
        let current = machine.facts.flying[group].is_some_and(|(it, _)| it.id == action.id);
        if current {
            machine.facts.flying[group] = None;
            if outcome == Outcome::Done {
                machine.broken[group][resource] = false;
            }
            if action.operation == Operation::Stop && outcome == Outcome::Done {
                machine.up[group][resource] = false;
            }
        }
        if let Some(process) = &mut machine.process {
            process.ended.push_back((action.id, outcome));
        }
        self.turn(node);
    }
}

impl<D: Delivery> Machine<D> {
    fn new(settings: Settings) -> Self {
        let sizes: Vec<usize> = settings.groups.iter().map(|group| group.resources.len()).collect();
        Self {
            process: None,
            starts: 0,
            up: sizes.iter().map(|len| vec![false; *len]).collect(),
            agents: sizes.iter().map(|len| vec![[Agent::Obeys; 2]; *len]).collect(),
            broken: sizes.iter().map(|len| vec![false; *len]).collect(),
            monitors: sizes.iter().map(|len| vec![Agent::Obeys; *len]).collect(),
            suspended: None,
            offset: Duration::from_secs(1000),
            drift: 0,
            old: false,
            guarded: true,
            agent_min: Duration::ZERO,
            agent_max: Duration::from_millis(20),
            recorded: VecDeque::new(),
            facts: Facts::new(Instant::BOOT, settings.groups.len(), settings.keepalive),
            lan_cut: false,
            lan_back: Instant::BOOT,
            carried: None,
            restart: None,
            paused: None,
            settings,
        }
    }

    /// For an attacker, who can hear and send, and hold nothing back: a beat that never came in
    /// before is not a replay but a late one.
    fn record(&mut self, packet: D::Packet) {
        if self.recorded.len() == RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(packet);
    }

    fn clear(&mut self) {
        self.up.iter_mut().chain(&mut self.broken).for_each(|group| group.fill(false));
    }

    /// What the process said last of a group, also one that has ended with everything held; nothing
    /// when there is none.
    pub(crate) fn claim(&self, group: usize) -> Option<&GroupClaim> {
        let paused = self.paused.as_ref().map(|paused| &paused.said);
        let said = self.process.as_ref().map(|process| &process.said).or(paused);
        said.and_then(|said| said.get(group))
    }

    pub(crate) fn hold(&self, group: usize) -> Hold {
        self.claim(group).map_or(Hold::Nothing, |claim| claim.hold)
    }
}

/// The beat as a version without the optional fields would send it.
fn bare(beat: &Beat) -> Beat {
    let mut beat = beat.clone();
    beat.notice = Notice::default();
    beat.sections.clear();
    for claim in &mut beat.groups {
        (claim.via, claim.unrest) = (None, Unrest::default());
    }
    beat
}

/// What is worth a line of the trace: not the countdown of a hold-down.
fn told(groups: &[GroupClaim]) -> Vec<(Hold, u64, Wish)> {
    groups.iter().map(|claim| (claim.hold, claim.epoch, claim.wish)).collect()
}

fn describe(beat: &Beat) -> String {
    let claims = beat
        .groups
        .iter()
        .map(|claim| format!(" {}={:?}/{} {:?}", claim.group, claim.hold, claim.epoch, claim.wish));
    format!("{:?}{}", beat.node, claims.collect::<String>())
}
