//! Settings of the kernel that are others' as well: what is wanted for as long as a director runs, and
//! how everything becomes again what it was.
//!
//! What was there before is remembered beside every value that may stand there by our doing. A value
//! that is none of these was set by somebody else: it is what was there before, from then on. Pure:
//! who reads, writes and remembers is in `daemon`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Settings by their path under /proc/sys, or that of a [`Timeout`], and their values, words with one blank
/// between them.
pub type Values = BTreeMap<String, String>;

/// How long the kernel remembers a connection in which nothing moves: no file, IPVS tells and takes it over
/// netlink (`IPVS_CMD_GET_CONFIG`, `IPVS_CMD_SET_CONFIG`), as `ipvsadm --set` does. One for all services of a
/// network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timeout {
    /// A TCP connection that is established.
    Tcp,
    /// A TCP connection that one side has closed.
    TcpFin,
    /// What UDP has of connections.
    Udp,
}

/// Longest of them, in seconds: the kernel counts them in an `int`, up to a thousand times a second.
pub const TIMEOUT_MAX: u32 = 2_147_483;

impl Timeout {
    /// All of them, in the order of `ipvsadm --set`.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::TcpFin, Self::Udp];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::TcpFin => "tcpfin",
            Self::Udp => "udp",
        }
    }

    /// What it is called among [`Values`].
    pub fn path(self) -> String {
        format!("ipvs/timeouts/{}", self.word())
    }

    /// The one that is called so.
    pub fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|timeout| timeout.path() == path)
    }
}

/// Settings of IPVS that the kernel changes by itself, from 1 to 2 and back, while memory is short.
const DEFENCES: [&str; 3] = ["drop_entry", "drop_packet", "secure_tcp"];

/// Settings that somebody else has changed since they stood so: as they are now.
pub fn changed<'v>(stood: &Values, found: &'v Values) -> Vec<(&'v str, &'v str)> {
    let by_itself = |path: &str| DEFENCES.iter().any(|name| path.ends_with(name));
    let found = found.iter().filter(|(path, value)| stood.get(*path) != Some(*value));
    let found = found.filter(|(path, _)| !by_itself(path));
    found.map(|(path, value)| (path.as_str(), value.as_str())).collect()
}

/// What is to stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// All the time.
    pub steady: Values,
    /// For moments: at most times the steady value or that of before stands there.
    pub moments: Values,
    /// It is such a moment.
    pub moment: bool,
}

impl Wanted {
    /// What is to stand now, where it is not what was there before.
    fn now(&self, path: &str) -> Option<&String> {
        let moment = self.moments.get(path).filter(|_| self.moment);
        moment.or_else(|| self.steady.get(path))
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        self.steady.keys().chain(self.moments.keys())
    }
}

/// One setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Was {
    /// As it was.
    pub before: String,
    /// What may stand there by our doing.
    pub ours: BTreeSet<String>,
}

/// What is remembered, by the path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept(pub BTreeMap<String, Was>);

/// The way there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What is to be remembered before anything is changed.
    pub during: Kept,
    /// What is to be written.
    pub steps: Values,
    /// What is to be remembered when it is.
    pub after: Kept,
}

/// Every setting that has to be looked at.
pub fn paths(wanted: &Wanted, kept: &Kept) -> BTreeSet<String> {
    wanted.paths().chain(kept.0.keys()).cloned().collect()
}

/// One blank between the words: the kernel puts tabs there.
pub fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// From what is `found` to what is wanted. A setting that can't be read, and is in `found` therefore
/// not, stays as it is, and so does what is remembered of it.
pub fn plan(wanted: &Wanted, found: &Values, kept: &Kept) -> Plan {
    let mut plan = Plan::default();
    for path in paths(wanted, kept) {
        let known = kept.0.get(&path);
        let Some(found) = found.get(&path) else {
            for memory in [&mut plan.during, &mut plan.after] {
                memory.0.extend(known.map(|was| (path.clone(), was.clone())));
            }
            continue;
        };
        let before = known.filter(|was| was.ours.contains(found)).map_or(found, |was| &was.before);
        let ours = [wanted.steady.get(&path), wanted.moments.get(&path)];
        let ours: BTreeSet<&String> =
            ours.into_iter().flatten().filter(|value| *value != before).collect();
        let target = wanted.now(&path).unwrap_or(before);
        if target != found {
            plan.steps.insert(path.clone(), target.clone());
        }
        let mut during = ours.clone();
        during.extend(Some(found).filter(|found| *found != before));
        remember(&mut plan.during, &path, before, during);
        remember(&mut plan.after, &path, before, ours);
    }
    plan
}

fn remember(memory: &mut Kept, path: &str, before: &str, ours: BTreeSet<&String>) {
    if !ours.is_empty() {
        let ours = ours.into_iter().cloned().collect();
        memory.0.insert(path.to_owned(), Was { before: before.to_owned(), ours });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "net/ipv4/vs/sloppy_tcp";

    /// One setting of a kernel, and a process that comes and goes.
    struct World {
        value: String,
        kept: Kept,
    }

    impl World {
        fn new(value: &str) -> Self {
            Self { value: value.to_owned(), kept: Kept::default() }
        }

        /// Settles as far as `until`: 1 remembers, 2 writes as well, 3 is whole.
        fn settle(&mut self, wanted: &Wanted, until: u8) -> &str {
            let found = [(PATH.to_owned(), self.value.clone())].into();
            let Plan { during, steps, after } = plan(wanted, &found, &self.kept);
            self.kept = during;
            if until > 1 {
                self.value = steps.get(PATH).unwrap_or(&self.value).clone();
            }
            if until > 2 {
                self.kept = after;
            }
            &self.value
        }
    }

    fn wanted(steady: Option<&str>, moment: bool) -> Wanted {
        let pair = |value: &str| (PATH.to_owned(), value.to_owned());
        Wanted {
            steady: steady.map(pair).into_iter().collect(),
            moments: [pair("1")].into(),
            moment,
        }
    }

    #[test]
    fn what_was_there_before_comes_back_after_every_order_of_changes() {
        let states = [None, Some("0"), Some("1"), Some("2")];
        let states =
            || states.iter().flat_map(|steady| [wanted(*steady, false), wanted(*steady, true)]);
        for before in ["0", "1", "2"] {
            for (first, second) in
                states().flat_map(|one| states().map(move |two| (one.clone(), two)))
            {
                let mut world = World::new(before);
                world.settle(&first, 3);
                world.settle(&second, 3);
                assert_eq!(world.settle(&Wanted::default(), 3), before, "{first:?} {second:?}");
                assert_eq!(world.kept, Kept::default());
            }
        }
    }

    #[test]
    fn a_process_that_dies_in_the_middle_loses_nothing() {
        let states = [wanted(None, false), wanted(Some("2"), false), wanted(Some("0"), true)];
        for (first, second) in
            states.iter().flat_map(|one| states.iter().map(move |two| (one, two)))
        {
            for until in 1..=3 {
                let mut world = World::new("0");
                world.settle(first, 3);
                world.settle(second, until);
                assert_eq!(
                    world.settle(&Wanted::default(), 3),
                    "0",
                    "{first:?} {second:?} {until}"
                );
            }
        }
    }

    #[test]
    fn what_is_written_stands_but_in_the_moments_of_a_switch() {
        let mut world = World::new("0");
        assert_eq!(world.settle(&wanted(Some("0"), false), 3), "0");
        assert_eq!(world.settle(&wanted(Some("0"), true), 3), "1");
        assert_eq!(world.settle(&wanted(Some("0"), false), 3), "0");
    }

    #[test]
    fn a_moment_changes_nothing_that_is_to_be_remembered() {
        let mut world = World::new("0");
        world.settle(&wanted(None, false), 3);
        let before = world.kept.clone();
        assert_eq!(world.settle(&wanted(None, true), 3), "1");
        assert_eq!(world.kept, before);
    }

    #[test]
    fn what_somebody_else_has_set_meanwhile_stays() {
        let mut world = World::new("0");
        world.settle(&wanted(Some("1"), false), 3);
        world.value = "2".to_owned();
        assert_eq!(world.settle(&Wanted::default(), 3), "2");
        assert_eq!(world.kept, Kept::default());
    }

    #[test]
    fn what_somebody_else_has_set_is_put_right_and_comes_back_at_the_end() {
        let mut world = World::new("0");
        world.settle(&wanted(Some("1"), false), 3);
        world.value = "2".to_owned();
        assert_eq!(world.settle(&wanted(Some("1"), false), 3), "1");
        assert_eq!(world.settle(&Wanted::default(), 3), "2");
    }

    #[test]
    fn what_has_changed_is_named_but_for_what_the_kernel_changes_by_itself() {
        let values = |values: &[(&str, &str)]| -> Values {
            values.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
        };
        let stood =
            values(&[("net/ipv4/vs/drop_entry", "1"), (PATH, "1"), ("ipvs/timeouts/udp", "9")]);
        let found =
            values(&[("net/ipv4/vs/drop_entry", "2"), (PATH, "0"), ("ipvs/timeouts/udp", "9")]);
        assert_eq!(changed(&stood, &found), [(PATH, "0")]);
        assert_eq!(changed(&Values::new(), &found), [("ipvs/timeouts/udp", "9"), (PATH, "0")]);
        assert_eq!(changed(&stood, &Values::new()), []);
    }

    #[test]
    fn a_timeout_is_known_by_what_it_is_called() {
        for timeout in Timeout::ALL {
            assert_eq!(Timeout::of(&timeout.path()), Some(timeout));
        }
        assert_eq!(Timeout::of("net/ipv4/vs/timeout_established"), None);
    }

    #[test]
    fn what_cant_be_read_is_not_forgotten() {
        let mut world = World::new("0");
        world.settle(&wanted(Some("1"), false), 3);
        let plan = plan(&Wanted::default(), &Values::new(), &world.kept);
        assert_eq!((plan.during, plan.after), (world.kept.clone(), world.kept));
        assert_eq!(normal("3\t50\n"), "3 50");
    }
}
