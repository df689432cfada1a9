//! The language of the golden scenarios.

use std::time::Duration;

use pairbeat::cluster::event::{Request, Which};
use pairbeat::cluster::message::Extent;
use pairbeat::cluster::{
    ArbiterSettings, Damping, GroupSettings, Monitor, OutsideSettings, Past, ResourceSettings,
    Settings, Side,
};
use pairbeat::names::{GroupName, NodeName};

use crate::outside::Switch;
use crate::rng::Rng;
use crate::session::Session;
use crate::world::{Agent, Crash, Path, World};

/// Runs a script; the transcript is what the world wrote down.
pub(crate) fn run(script: &str) -> Vec<String> {
    let mut stage = Stage::default();
    for line in script.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        stage.obey(&words).unwrap_or_else(|| panic!("what does `{line}` mean?"));
        let Some(world) = &mut stage.world else { continue };
        if let Some(failure) = world.failure.take() {
            panic!("`{line}`: {failure}\n{}", world.trace.take().unwrap().join("\n"));
        }
    }
    stage.world().trace.take().unwrap()
}

/// What a resource of a group is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Overlap,
    Strict,
    Watched { wary: bool },
}

#[derive(Default)]
struct Stage {
    groups: Vec<(String, usize, Vec<Kind>)>,
    failback: bool,
    probe: bool,
    outside: OutsideSettings,
    links: usize,
    world: Option<World<Session>>,
}

impl Stage {
    fn obey(&mut self, words: &[&str]) -> Option<()> {
        match words {
            ["failback", "on"] => self.failback = true,
            ["lan", "probed"] => self.probe = true,
            ["arbiter", kind, rest @ ..] => self.outside.arbiters.push(arbiter(kind, rest)?),
            ["fencing"] => self.outside.fence = Some(Duration::from_secs(10)),
            ["ping", nodes, rest @ ..] => {
                self.outside.ping.nodes = nodes.parse().ok()?;
                self.outside.ping.ipfail = *rest == ["ipfail"];
            }
            ["switch", how] => {
                self.world().outside.switch = match *how {
                    "works" => Switch::Works,
                    "fails" => Switch::Fails,
                    "hangs" => Switch::Hangs,
                    "mute" => Switch::Mute,
                    _ => return None,
                }
            }
            ["lan", "split"] => self.world().lan_split = true,
            ["lan", "whole"] => self.world().lan_split = false,
            ["links", count] => self.links = count.parse().ok()?,
            ["group", name, home, resources @ ..] => {
                let resources = resources.iter().map(|word| match *word {
                    "overlap" => Some(Kind::Overlap),
                    "strict" => Some(Kind::Strict),
                    "watched" => Some(Kind::Watched { wary: false }),
                    "wary" => Some(Kind::Watched { wary: true }),
                    _ => None,
                });
                let resources = resources.collect::<Option<Vec<Kind>>>()?;
                self.groups.push(((*name).to_owned(), node(home)?, resources));
            }
            ["run", span] => {
                let span = time(span)?;
                self.world().run_for(span);
            }
            ["cut", rest @ ..] => self.paths(rest, |path| path.cut = true)?,
            ["mend", rest @ ..] => self.paths(rest, |path| path.cut = false)?,
            [who, rest @ ..] => self.command(node(who)?, rest)?,
            [] => return None,
        }
        Some(())
    }

    fn command(&mut self, node: usize, words: &[&str]) -> Option<()> {
        match words {
            ["boot"] => self.world().boot(node),
            ["arbiters", "cut"] => self.world().cut_arbiters(node, true),
            ["arbiters", "mended"] => self.world().cut_arbiters(node, false),
            ["reaches", count] => {
                let count = count.parse().ok()?;
                self.world().reach(node, count);
            }
            ["confirm-dead"] => self.world().request(node, Request::ConfirmDead),
            ["lan", "cut"] => self.world().cut_lan(node, true),
            ["lan", "mended"] => self.world().cut_lan(node, false),
            ["power-off"] => self.world().crash(node, Crash::Power),
            ["kill"] => self.world().crash(node, Crash::Kill),
            ["gasp"] => self.world().crash(node, Crash::Gasp),
            ["sleep", span] => {
                let span = time(span)?;
                self.world().suspend(node, span);
            }
            ["freeze", extent] => {
                let extent = match *extent {
                    "all" => Extent::All,
                    "except-dead" => Extent::ExceptDead,
                    _ => return None,
                };
                self.world().request(node, Request::Freeze(extent));
            }
            ["unfreeze"] => self.world().request(node, Request::Freeze(Extent::Nothing)),
            ["restart"] => self.world().request(node, Request::Restart),
            ["leave"] => self.world().request(node, Request::Leave),
            ["standby", which] => self.world().request(node, Request::Standby(which_of(which)?)),
            ["takeover", which] => self.world().request(node, Request::Takeover(which_of(which)?)),
            ["breaks", group, resource] => {
                let group = self.groups.iter().position(|(name, _, _)| name == group)?;
                let resource = resource.parse().ok()?;
                self.world().break_down(node, (group, resource));
            }
            ["agent", group, resource, operation, how] => {
                let group = self.groups.iter().position(|(name, _, _)| name == group)?;
                let words = ["start", "stop", "monitor"];
                let operation = words.iter().position(|word| word == operation)?;
                let how = match *how {
                    "obeys" => Agent::Obeys,
                    "fails" => Agent::Fails,
                    "hangs" => Agent::Hangs,
                    "mute" => Agent::Mute,
                    _ => return None,
                };
                let resource: usize = resource.parse().ok()?;
                let world = self.world();
                // What follows from a failing agent may take its time.
                world.checks.troubled = true;
                match operation {
                    2 => world.nodes[node].monitors[group][resource] = how,
                    _ => world.nodes[node].agents[group][resource][operation] = how,
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// `cut`, `cut a` (what a sends), `cut a 0` (on one link).
    fn paths(&mut self, words: &[&str], change: impl Fn(&mut Path)) -> Option<()> {
        let (side, link) = match words {
            [] => (None, None),
            [who] => (Some(node(who)?), None),
            [who, link] => (Some(node(who)?), Some(link.parse::<usize>().ok()?)),
            _ => return None,
        };
        for (place, paths) in self.world().links.iter_mut().enumerate() {
            for (from, path) in paths.iter_mut().enumerate() {
                if side.is_none_or(|side| side == from) && link.is_none_or(|link| link == place) {
                    change(path);
                }
            }
        }
        let text: String =
            self.world().links.iter().map(|it| format!(" {}|{}", it[0], it[1])).collect();
        self.world().note(|| format!("links{text}"));
        Some(())
    }

    /// Made when the first command needs it.
    fn world(&mut self) -> &mut World<Session> {
        let (groups, links) = (&self.groups, self.links.max(1));
        let (failback, probe, outside) = (self.failback, self.probe, &self.outside);
        self.world.get_or_insert_with(|| {
            let settings =
                [0, 1].map(|node| settings(node, groups, (failback, probe, outside), links));
            let path = Path::clean(Duration::from_millis(1), Duration::from_millis(1));
            let mut world = World::new(settings, vec![[path; 2]; links], Rng::new(1));
            for node in &mut world.nodes {
                (node.agent_min, node.agent_max) =
                    (Duration::from_millis(20), Duration::from_millis(20));
            }
            world.trace = Some(Vec::new());
            world
        })
    }
}

fn settings(
    node: usize,
    groups: &[(String, usize, Vec<Kind>)],
    (failback, probe, outside): (bool, bool, &OutsideSettings),
    links: usize,
) -> Settings {
    let names = ["a", "b"].map(|name| NodeName::new(name).unwrap());
    let groups = groups.iter().map(|(name, home, resources)| GroupSettings {
        name: GroupName::new(name).unwrap(),
        preferred: if *home == node { Side::Me } else { Side::Peer },
        resources: resources
            .iter()
            .map(|kind| ResourceSettings {
                overlap: *kind == Kind::Overlap,
                start_timeout: Duration::from_secs(10),
                stop_timeout: Duration::from_secs(10),
                monitor: monitor(*kind),
            })
            .collect(),
        via: None,
        probe,
    });
    Settings {
        node: names[node].clone(),
        peer: names[1 - node].clone(),
        keepalive: Duration::from_millis(200),
        warntime: Duration::from_secs(1),
        deadtime: Duration::from_secs(2),
        initdead: Duration::from_secs(4),
        auto_failback: failback,
        links: links as u8,
        groups: groups.collect(),
        config: 1.into(),
        damping: Damping::default(),
        outside: outside.clone(),
        past: Past::default(),
    }
}

/// `lease` or `witness`, `optional` behind it.
fn arbiter(kind: &str, rest: &[&str]) -> Option<ArbiterSettings> {
    let lease = match kind {
        "lease" => Some(Duration::from_secs(6)),
        "witness" => None,
        _ => return None,
    };
    let timeout = Duration::from_secs(1);
    Some(ArbiterSettings { name: kind.to_owned(), required: rest != ["optional"], timeout, lease })
}

fn monitor(kind: Kind) -> Option<Monitor> {
    let Kind::Watched { wary } = kind else { return None };
    Some(Monitor {
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        restarts: 2,
        decay: Duration::from_secs(60),
        wary,
    })
}

fn node(word: &str) -> Option<usize> {
    ["a", "b"].iter().position(|name| *name == word)
}

fn which_of(word: &str) -> Option<Which> {
    match word {
        "all" => Some(Which::All),
        "local" => Some(Which::Local),
        "foreign" => Some(Which::Foreign),
        _ => None,
    }
}

fn time(word: &str) -> Option<Duration> {
    if let Some(millis) = word.strip_suffix("ms") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    word.strip_suffix('s')?.parse().ok().map(Duration::from_secs)
}
