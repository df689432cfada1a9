//! One random history: a pair, faults, then quiet, in which everything must come right again.

use std::time::Duration;

use pairbeat::cluster::event::{Request, Which};
use pairbeat::cluster::message::{Extent, Freeze, Hold};
use pairbeat::cluster::{
    ArbiterSettings, Damping, GroupSettings, Monitor, OutsideSettings, Past, PeerLife,
    PingSettings, ResourceSettings, Settings, Side,
};
use pairbeat::names::{GroupName, NodeName};

use crate::outside::Switch;
use crate::rng::Rng;
use crate::session::Session;
use crate::world::{Agent, Crash, Path, World};

/// What a history is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Single failed links and lost packets: nothing may happen at all (L4).
    Mild,
    /// Everything but failing agents.
    Rough,
    /// Everything.
    Wild,
}

pub(crate) struct History {
    world: World<Session>,
    kind: Kind,
    /// An operator has asked for something: where the groups are is no longer a matter of course.
    asked: bool,
}

impl History {
    /// The trace, when it is wanted, and the violation, if there was one.
    pub(crate) fn run(seed: u64, traced: bool) -> (Vec<String>, Option<String>) {
        let mut rng = Rng::new(seed);
        let kind = match rng.range(0, 9) {
            0 | 1 => Kind::Mild,
            2..=5 => Kind::Rough,
            _ => Kind::Wild,
        };
        let mut world = pair(rng, kind);
        if traced {
            world.trace = Some(vec![format!("{kind:?}: {:?}", world.nodes[0].settings)]);
        }
        let mut history = Self { world, kind, asked: false };
        match kind {
            Kind::Mild => history.mild(),
            Kind::Rough | Kind::Wild => history.rough(),
        }
        (history.world.trace.take().unwrap_or_default(), history.world.failure.take())
    }

    fn deadtime(&self) -> Duration {
        self.world.nodes[0].settings.deadtime
    }

    fn pass(&mut self, most: Duration) {
        let nanos = u64::try_from(most.as_nanos()).unwrap();
        let span = Duration::from_nanos(self.world.rng.range(0, nanos));
        self.world.run_for(span);
    }

    /// S1 to S3, again and again: every link is cut until both serve, or one of them knows better,
    /// and mended until all is well.
    pub(crate) fn splits(times: usize) -> (Vec<String>, Option<String>) {
        let mut world = pair(Rng::new(4), Kind::Mild);
        for node in &mut world.nodes {
            node.settings.damping.switches = 0;
        }
        let mut history = Self { world, kind: Kind::Rough, asked: true };
        history.world.boot(0);
        history.world.boot(1);
        let settle = history.world.nodes[0].settings.initdead * 2 + Duration::from_secs(5);
        history.world.run_for(settle);
        for _ in 0..times {
            history.world.links.iter_mut().flatten().for_each(|path| path.cut = true);
            history.pass(history.deadtime() * 4);
            history.quiet();
            if history.world.failure.is_some() {
                break;
            }
        }
        (Vec::new(), history.world.failure.take())
    }

    /// L3, L4: both start, and whatever one link does, nothing moves after that.
    fn mild(&mut self) {
        self.world.boot(0);
        // One that comes up just when the other one's patience ends may be fenced for it.
        self.pass(self.deadtime() / 2);
        self.world.boot(1);
        let settle = self.world.nodes[0].settings.initdead * 2 + Duration::from_secs(5);
        self.world.run_for(settle);
        self.check_end();
        self.world.checks.mild = true;
        for _ in 0..8 {
            self.mild_fault();
            self.pass(self.deadtime() * 2);
        }
    }

    /// On one link only; the others stay clean.
    fn mild_fault(&mut self) {
        let (side, what) = (self.world.rng.place(2), self.world.rng.range(0, 3));
        let alone = self.world.links.len() == 1;
        let keepalive = self.world.nodes[0].settings.keepalive;
        let path = &mut self.world.links[0][side];
        match what {
            0 if !alone => path.cut = !path.cut,
            1 if !alone => path.loss = 50,
            // Delays out of order, and up to a keepalive.
            2 => path.delay_max = keepalive,
            _ => path.duplicates = 30,
        }
        let path = *path;
        self.world.note(|| format!("link 0 of {side}: {path}"));
        let (from, to) = (self.world.rng.place(2), self.world.rng.place(2));
        self.world.replay(from, to);
    }

    fn rough(&mut self) {
        self.world.boot(0);
        if self.world.rng.percent(80) {
            self.pass(self.deadtime() * 2);
            self.world.boot(1);
        }
        for _ in 0..self.world.rng.range(4, 24) {
            let most =
                if self.world.rng.percent(70) { self.deadtime() } else { self.deadtime() * 6 };
            self.pass(most);
            if self.world.failure.is_some() {
                return;
            }
            self.fault();
        }
        self.quiet();
    }

    fn fault(&mut self) {
        let node = self.world.rng.place(2);
        match self.world.rng.range(0, 99) {
            0..=24 => self.disturb_link(),
            25..=32 => self.world.links.iter_mut().flatten().for_each(mend),
            33..=36 => {
                let cut = self.world.rng.percent(50);
                self.world.cut_lan(node, cut);
            }
            37..=44 => self.crash(node),
            45..=55 => self.start(node),
            56..=57 => {
                let fresh = self.world.rng.percent(50);
                self.world.sync(node, fresh);
            }
            90..=92 => {
                let cut = self.world.rng.percent(50);
                self.world.cut_arbiters(node, cut);
            }
            93..=94 => self.spoil_outside(node),
            95 => self.isolate(node),
            58..=59 => self.reload(node),
            60..=67 => self.sleep(node),
            68..=80 => self.ask(node),
            81..=82 => self.freeze(node),
            83..=84 => self.restart(node),
            85..=89 => {
                let to = self.world.rng.place(2);
                self.world.replay(node, to);
            }
            96..=98 if self.kind == Kind::Wild => self.break_down(node),
            _ if self.kind == Kind::Wild => self.spoil_agent(node),
            _ => self.world.boot(node),
        }
    }

    fn disturb_link(&mut self) {
        let link = self.world.rng.place(self.world.links.len());
        let sides = match self.world.rng.range(0, 2) {
            0 => vec![0],
            1 => vec![1],
            _ => vec![0, 1],
        };
        let everywhere = self.world.rng.percent(40);
        let (what, loss, burst) =
            (self.world.rng.range(0, 2), self.world.rng.range(1, 60), self.world.rng.range(0, 7));
        for (place, paths) in self.world.links.iter_mut().enumerate() {
            if place != link && !everywhere {
                continue;
            }
            for side in &sides {
                match what {
                    0 => paths[*side].cut = true,
                    1 => (paths[*side].loss, paths[*side].burst) = (loss, burst),
                    _ => paths[*side].duplicates = 20,
                }
            }
        }
        let text = self
            .world
            .links
            .iter()
            .map(|paths| format!(" {} {}", paths[0], paths[1]))
            .collect::<String>();
        self.world.note(|| format!("links:{text}"));
    }

    fn crash(&mut self, node: usize) {
        let how = match self.world.rng.range(0, 2) {
            0 => Crash::Power,
            1 => Crash::Kill,
            _ => Crash::Gasp,
        };
        self.world.crash(node, how);
        if self.world.rng.percent(60) {
            // Back soon: within the deadtime, or about then.
            self.pass(self.deadtime() * 2);
            self.world.boot(node);
        }
    }

    /// Starts a node, now and then with a state file that is stale, or of another cluster.
    fn start(&mut self, node: usize) {
        if self.world.nodes[node].process.is_none() && self.world.rng.percent(20) {
            let generation = self.world.rng.range(0, 4) as u32;
            let extent = self.extent();
            let names = ["g0", "g1", "elsewhere"].map(|name| GroupName::new(name).unwrap());
            let here = names.into_iter().filter(|_| self.world.rng.percent(50)).collect();
            let past = Past { freeze: Freeze { generation, extent }, here };
            self.world.note(|| format!("state file of {node}: {past:?}"));
            self.world.nodes[node].settings.past = past;
        }
        self.world.boot(node);
    }

    fn extent(&mut self) -> Extent {
        [Extent::Nothing, Extent::ExceptDead, Extent::All][self.world.rng.place(3)]
    }

    fn freeze(&mut self, node: usize) {
        let extent = self.extent();
        self.asked = true;
        self.world.request(node, Request::Freeze(extent));
    }

    /// Everything that a reload may change without another list of resources.
    fn reload(&mut self, node: usize) {
        let mut settings = self.world.nodes[node].settings.clone();
        settings.auto_failback ^= self.world.rng.percent(50);
        settings.damping = damping(&mut self.world.rng);
        settings.config.whole += 2;
        self.world.reload(node, settings);
    }

    fn sleep(&mut self, node: usize) {
        let deadtime = self.deadtime();
        let most = match self.world.rng.range(0, 9) {
            0..=4 => deadtime,
            5..=8 => deadtime * 5,
            _ => Duration::from_secs(60),
        };
        let span = Duration::from_millis(self.world.rng.range(1, most.as_millis() as u64));
        self.world.suspend(node, span);
    }

    fn ask(&mut self, node: usize) {
        let which = [Which::All, Which::Local, Which::Foreign][self.world.rng.place(3)];
        let request = match self.world.rng.range(0, 6) {
            0..=2 => Request::Standby(which),
            3..=5 => Request::Takeover(which),
            _ => Request::Leave,
        };
        self.asked = true;
        if request == Request::Leave {
            self.world.checks.allow_gaps();
        }
        self.world.request(node, request);
        // Sometimes both operators act at once.
        if self.world.rng.percent(25) && request != Request::Leave {
            self.world.request(1 - node, request);
        }
    }

    /// Back at once, within its time, or too late.
    fn restart(&mut self, node: usize) {
        // A version that can't tell its peer does not do so.
        if self.world.nodes[node].old {
            return;
        }
        self.world.request(node, Request::Restart);
        let most = [1, 8, 20][self.world.rng.place(3)];
        self.pass(Duration::from_secs(most));
        if self.world.rng.percent(10) {
            self.world.crash(node, Crash::Power);
        }
        self.world.boot(node);
    }

    fn spoil_agent(&mut self, node: usize) {
        self.world.checks.troubled = true;
        let agent =
            [Agent::Obeys, Agent::Fails, Agent::Hangs, Agent::Mute][self.world.rng.place(4)];
        let group = self.world.rng.place(self.world.nodes[node].agents.len());
        let resource = self.world.rng.place(self.world.nodes[node].agents[group].len());
        let operation = self.world.rng.place(3);
        match operation {
            2 => self.world.nodes[node].monitors[group][resource] = agent,
            _ => self.world.nodes[node].agents[group][resource][operation] = agent,
        }
        self.world.note(|| {
            format!("agent {resource} of group {group} on {node}, {operation}: {agent:?}")
        });
    }

    /// Cut off from everything, for longer than any lease.
    fn isolate(&mut self, node: usize) {
        self.world.links.iter_mut().flatten().for_each(|path| path.cut = true);
        self.world.lan_split = true;
        self.world.cut_arbiters(node, true);
        self.world.note(|| "no link and no LAN between them".to_owned());
        self.pass(self.deadtime() * 2 + Duration::from_secs(30));
        self.world.join_lan();
    }

    /// The power switch does something else from now on, or another number of ping nodes answers.
    fn spoil_outside(&mut self, node: usize) {
        let switch = [Switch::Works, Switch::Works, Switch::Fails, Switch::Hangs, Switch::Mute];
        self.world.outside.switch = switch[self.world.rng.place(5)];
        let switch = self.world.outside.switch;
        self.world.note(|| format!("the power switch {switch:?}"));
        let nodes = self.world.nodes[node].settings.outside.ping.nodes;
        let count = self.world.rng.range(0, nodes.into()) as u8;
        self.world.reach(node, count);
    }

    fn break_down(&mut self, node: usize) {
        let group = self.world.rng.place(self.world.nodes[node].up.len());
        let resource = self.world.rng.place(self.world.nodes[node].up[group].len());
        self.world.break_down(node, (group, resource));
    }

    /// Everything is mended; within a bounded time everything must be right.
    fn quiet(&mut self) {
        self.world.note(|| "all is mended".to_owned());
        self.world.links.iter_mut().flatten().for_each(mend);
        self.world.outside.switch = Switch::Works;
        for node in 0..2 {
            self.world.cut_lan(node, false);
            self.world.sync(node, true);
            self.world.cut_arbiters(node, false);
            let nodes = self.world.nodes[node].settings.outside.ping.nodes;
            self.world.reach(node, nodes);
            self.world.nodes[node]
                .agents
                .iter_mut()
                .flatten()
                .for_each(|it| *it = [Agent::Obeys; 2]);
            let monitors = self.world.nodes[node].monitors.iter_mut();
            monitors.flatten().for_each(|it| *it = Agent::Obeys);
        }
        let settings = self.world.nodes[0].settings.clone();
        let actions: Duration = settings
            .groups
            .iter()
            .flat_map(|group| &group.resources)
            .map(|it| it.start_timeout + it.stop_timeout + Duration::from_secs(10))
            .sum();
        // A wait of 60 s before a failback or another start, one of 30 s before another stop.
        let most = settings.initdead * 2
            + settings.deadtime * 6
            + actions * 2
            // L7: a hold-down of each node at its longest, one after the other.
            + settings.damping.hold_max * 2
            + Duration::from_secs(200)
            // A device that hung, and its longest pause.
            + Duration::from_secs(100);
        let end = self.world.now.plus(most);
        let mut right_for = 0;
        while self.world.failure.is_none() && right_for < 6 {
            if self.world.now >= end {
                self.check_end();
                break;
            }
            // A node that was on its way out may still end.
            self.world.boot(0);
            self.world.boot(1);
            self.unfreeze();
            self.world.run_for(settings.keepalive);
            right_for = if self.wrong().is_none() { right_for + 1 } else { 0 };
        }
    }

    /// Until nobody is: a word of one node may be older than that of the other.
    fn unfreeze(&mut self) {
        for node in 0..2 {
            if self.world.nodes[node].facts.promised.frozen() && self.world.open.is_empty() {
                self.world.request(node, Request::Freeze(Extent::Nothing));
            }
        }
    }

    fn check_end(&mut self) {
        if let Some(wrong) = self.wrong() {
            self.world.fail(format!("L1, L3: {wrong}, in lasting calm"));
        }
    }

    /// What is not as it must be in lasting calm: both nodes alive and known to each other, each
    /// group active on one of them and not at all on the other, every request answered; with
    /// auto_failback and no operator about, every group at home.
    fn wrong(&self) -> Option<String> {
        let world = &self.world;
        if !world.open.is_empty() {
            return Some(format!("requests are open: {:?}", world.open));
        }
        for (node, machine) in world.nodes.iter().enumerate() {
            let Some(process) = &machine.process else {
                return Some(format!("node {node} is not there"));
            };
            let view = process.core.view(world.local(node));
            if view.peer.state != PeerLife::Alive {
                return Some(format!("node {node} sees its peer {:?}", view.peer.state));
            }
        }
        for group in 0..world.nodes[0].up.len() {
            let holds = [world.nodes[0].hold(group), world.nodes[1].hold(group)];
            let holder = match holds {
                [Hold::Active, Hold::Nothing] => 0,
                [Hold::Nothing, Hold::Active] => 1,
                _ => return Some(format!("group {group} is {holds:?}")),
            };
            if world.nodes[holder].up[group].contains(&false)
                || world.nodes[1 - holder].up[group].contains(&true)
            {
                return Some(format!("group {group} is not up where it is held"));
            }
            // One that has never said that it is up is not believed when it says that it is down.
            let resources = world.nodes[holder].settings.groups[group].resources.iter();
            let broken = world.nodes[holder].broken[group].iter().zip(resources);
            let mut broken = broken.filter(|(broken, _)| **broken);
            if broken.any(|(_, it)| it.monitor.is_some_and(|monitor| !monitor.wary)) {
                return Some(format!("group {group} is out of order where it is held"));
            }
            // It is the preferred node that wants its groups back.
            let settings = &world.nodes[1 - holder].settings;
            let away = settings.groups[group].preferred == Side::Me;
            if settings.auto_failback && away && !self.asked && !world.checks.troubled {
                return Some(format!("group {group} is not at home"));
            }
        }
        None
    }
}

/// In half of the histories somebody outside has a say.
fn outside(rng: &mut Rng) -> OutsideSettings {
    let mut outside = OutsideSettings::default();
    let timeout = Duration::from_secs(1);
    if rng.percent(30) {
        let (lease, required) = (Some(Duration::from_secs(12)), rng.percent(80));
        outside.arbiters.push(ArbiterSettings {
            name: "lease".to_owned(),
            required,
            timeout,
            lease,
        });
    }
    if rng.percent(10) {
        let (name, required) = ("witness".to_owned(), rng.percent(50));
        outside.arbiters.push(ArbiterSettings { name, required, timeout, lease: None });
    }
    outside.fence = rng.percent(20).then(|| Duration::from_secs(20));
    if rng.percent(20) {
        outside.ping = PingSettings { nodes: 2, ipfail: true };
    }
    outside
}

fn mend(path: &mut Path) {
    *path = Path::clean(path.delay_min, path.delay_max);
}

fn pair(mut rng: Rng, kind: Kind) -> World<Session> {
    let keepalive = Duration::from_millis([100, 500, 1000, 1000, 2000][rng.place(5)]);
    let deadtime = keepalive * rng.range(3, 8) as u32;
    let groups: Vec<GroupSettings> =
        (0..rng.range(1, 2)).map(|group| a_group(&mut rng, group)).collect();
    let a = Settings {
        node: NodeName::new("a").unwrap(),
        peer: NodeName::new("b").unwrap(),
        keepalive,
        warntime: deadtime / 2,
        deadtime,
        initdead: deadtime * rng.range(1, 3) as u32,
        auto_failback: rng.percent(50),
        links: rng.range(1, 3) as u8,
        groups,
        config: 1.into(),
        damping: damping(&mut rng),
        outside: outside(&mut rng),
        past: Past::default(),
    };
    let mut b = a.clone();
    (b.node, b.peer) = (a.peer.clone(), a.node.clone());
    // S9: files that differ change nothing.
    b.config.whole += rng.range(0, 1);
    for group in &mut b.groups {
        group.preferred = match group.preferred {
            Side::Me => Side::Peer,
            Side::Peer => Side::Me,
        };
    }
    // At most a third of a deadtime between a beat and its arrival, with a beat lost now and then.
    let most = if kind == Kind::Mild { keepalive / 10 } else { keepalive / 2 };
    let delay_max = Duration::from_micros(rng.range(100, most.as_micros() as u64));
    let links = (0..a.links).map(|_| [Path::clean(delay_max / 4, delay_max); 2]).collect();
    let agent_max = Duration::from_millis(rng.range(1, 400));
    let jitter = keepalive / 20;
    let offset = Duration::from_secs(rng.range(0, 100_000));
    // At most a millisecond a second, which is worse than any clock that still works.
    let drift = if rng.percent(50) { rng.range(0, 1000) as u32 } else { 0 };
    let drifting = rng.place(2);
    let (old, unguarded) = (rng.percent(15).then(|| rng.place(2)), rng.percent(15));
    let mut world = World::new([a, b], links, rng);
    world.jitter = jitter;
    world.set_clock(0, Duration::from_secs(1000), if drifting == 0 { drift } else { 0 });
    world.set_clock(1, offset, if drifting == 1 { drift } else { 0 });
    for (place, node) in world.nodes.iter_mut().enumerate() {
        node.agent_max = agent_max;
        node.old = old == Some(place);
        node.guarded = !unguarded;
    }
    world
}

fn damping(rng: &mut Rng) -> Damping {
    let hold = Duration::from_secs(rng.range(1, 30));
    Damping {
        switches: rng.range(0, 4) as u32,
        window: Duration::from_secs(rng.range(1, 600)),
        hold,
        hold_max: hold * rng.range(1, 8) as u32,
    }
}

fn monitor(rng: &mut Rng) -> Monitor {
    Monitor {
        interval: Duration::from_secs(rng.range(1, 5)),
        timeout: Duration::from_secs(1),
        restarts: rng.range(0, 3) as u32,
        decay: Duration::from_secs(rng.range(10, 60)),
        wary: rng.percent(50),
    }
}

fn a_group(rng: &mut Rng, number: u64) -> GroupSettings {
    let overlap = rng.percent(60);
    let resources = (0..rng.range(1, 3)).map(|_| {
        let overlap = overlap || rng.percent(50);
        let monitor = (!overlap && rng.percent(70)).then(|| monitor(rng));
        let limit = Duration::from_secs(4);
        ResourceSettings { overlap, start_timeout: limit, stop_timeout: limit, monitor }
    });
    GroupSettings {
        name: GroupName::new(&format!("g{number}")).unwrap(),
        resources: resources.collect(),
        preferred: if rng.percent(50) { Side::Me } else { Side::Peer },
        via: None,
        probe: rng.percent(60),
    }
}
