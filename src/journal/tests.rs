//! Records survive the way through a line, the calendar is right, a role change has its cause.

use super::because::Chains;
use super::explain::{Explanation, Present, explain, last_change, recorded, render};
use super::*;
use crate::cluster::event::{Cause, Event, GroupState, Operation, Request, Which};
use crate::cluster::{Evidence, LinkState, LinkView, NodeView, PeerLife};
use crate::names::{GroupName, LinkName, RequestId};

fn web() -> GroupName {
    GroupName::new("web").unwrap()
}

fn role(state: GroupState, cause: Cause) -> Event {
    Event::Role { group: web(), state, epoch: 3, cause }
}

fn evidence(peer: PeerLife) -> Evidence {
    let heard = |ms| LinkView { state: LinkState::Down, heard_ms: ms };
    Evidence {
        node: NodeView::Running,
        peer,
        silent_ms: 2000,
        links: vec![heard(Some(2000)), heard(None)],
        theirs: None,
        probed: None,
        service: Default::default(),
        arbiters: Vec::new(),
        fence: None,
    }
}

fn record(what: Happening, because: Option<Because>) -> Record {
    let (name, severity) = what.kind();
    Record {
        v: VERSION,
        session: "a1b2c3d4".to_owned(),
        seq: 7,
        wall_ms: 1_795_244_308_123,
        boot_ns: Instant::from_millis(5000),
        severity,
        name: name.to_owned(),
        text: what.sentence(&[]),
        what: Some(what),
        because,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(1000 * seconds)
}

#[test]
fn a_record_survives_its_line_and_another_versions_happening_is_left_out() {
    let chains = &mut Chains::default();
    let event = role(GroupState::Starting, Cause::PeerDead);
    let because = chains.event(at(9), &event, Some(evidence(PeerLife::Dead)));
    let written = record(Happening::Cluster(event), because);
    let text = line(&written);
    assert_eq!(parse(text.trim_end()), Some(written.clone()));
    let newer = text.replace("\"cluster\":{", "\"clusters\":{");
    let read = parse(newer.trim_end()).unwrap();
    assert_eq!((read.what, read.text), (None, written.text));
    assert_eq!(parse(text.get(..text.len() / 2).unwrap()), None);
}

#[test]
fn the_wall_clock_is_a_date() {
    for (ms, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_795_244_308_123, "2026-11-21T06:58:28.123Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(wall(ms), text);
    }
    assert!(!wall(u64::MAX).is_empty());
}

#[test]
fn the_end_of_a_series_has_the_cause_of_its_beginning() {
    let mut chains = Chains::default();
    let by = Some(Caller { uid: 0, pid: Some(4) });
    chains.asked(RequestId(5), Request::Takeover(Which::All), by);
    chains.event(at(100), &Event::Stalled { late_ms: 300 }, None);
    let start = role(GroupState::Starting, Cause::Takeover);
    chains.event(at(110), &start, Some(evidence(PeerLife::Alive))).unwrap();
    let failed = Event::ActionFailed {
        group: web(),
        resource: 1,
        operation: Operation::Start,
        why: "no such file".to_owned(),
    };
    assert_eq!(chains.event(at(111), &failed, None), None);
    chains.answered(RequestId(5));
    let stop = role(GroupState::Stopping, Cause::StartFailed);
    chains.event(at(111), &stop, Some(evidence(PeerLife::Alive))).unwrap();
    let end = role(GroupState::Failed, Cause::StartFailed);
    let because = chains.event(at(112), &end, Some(evidence(PeerLife::Dead))).unwrap();
    assert_eq!((because.origin, because.since_ms), (Cause::Takeover, 2000));
    assert_eq!(because.asked.unwrap().by, by);
    assert_eq!(because.failures, ["start of resource 2 failed: no such file"]);
    assert_eq!(because.evidence.peer, PeerLife::Alive, "as it was at the beginning");
    assert_eq!(because.stalls.len(), 1);
    let later = role(GroupState::Starting, Cause::PeerDead);
    let because = chains.event(at(300), &later, Some(evidence(PeerLife::Dead))).unwrap();
    assert_eq!((because.asked, because.failures.len(), because.stalls.len()), (None, 0, 0));
}

#[test]
fn a_takeover_is_explained_with_links_stalls_and_failures() {
    let mut chains = Chains::default();
    chains.event(at(5), &Event::Stalled { late_ms: 300 }, None);
    let start = role(GroupState::Starting, Cause::PeerDead);
    chains.event(at(9), &start, Some(evidence(PeerLife::Dead))).unwrap();
    let active = role(GroupState::Active, Cause::Completed);
    let because = chains.event(at(10), &active, Some(evidence(PeerLife::Dead)));
    let last = record(Happening::Cluster(active), because);
    let records = [record(Happening::CoreStopped, None), last];
    let links = ["eth0", "eth1"].map(|name| LinkName::new(name).unwrap());
    let found = last_change(records.iter(), "web");
    let groups = vec![recorded(&links, "web", found)];
    let text = render(&Explanation { node: "b".to_owned(), groups });
    assert_eq!(
        text,
        "web\n  last change, 2026-11-21T06:58:28.123Z: web: active here, epoch 3: done\n  why:\n\
         \x20   it began with: the peer is dead\n\
         \x20   the peer was dead, silent for 2000 ms\n\
         \x20   link eth0: last heard 2000 ms before\n\
         \x20   link eth1: never heard\n\
         \x20   stalls of our own: 300 ms, 5000 ms before\n"
    );
}

#[test]
fn what_would_happen_is_asked_of_the_core() {
    use crate::cluster::event::Input;
    use crate::cluster::message::{Beat, GroupClaim, Hold, NodeState, Notice, Unrest, Wish, Words};
    use crate::cluster::{
        Core, Damping, GroupSettings, OutsideSettings, Past, ResourceSettings, Settings, Side,
    };
    use crate::names::LinkId;
    let limit = std::time::Duration::from_secs(20);
    let resource = ResourceSettings {
        overlap: true,
        start_timeout: limit,
        stop_timeout: limit,
        monitor: None,
    };
    let group = GroupSettings {
        name: web(),
        preferred: Side::Peer,
        resources: vec![resource],
        via: None,
        probe: false,
    };
    let settings = Settings {
        node: NodeName::new("b").unwrap(),
        peer: NodeName::new("a").unwrap(),
        keepalive: std::time::Duration::from_millis(200),
        warntime: std::time::Duration::from_secs(1),
        deadtime: std::time::Duration::from_secs(2),
        initdead: std::time::Duration::from_secs(4),
        auto_failback: false,
        links: 1,
        groups: vec![group],
        config: 7.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: Past::default(),
    };
    let mut core = Core::new(settings, at(1));
    let claim = GroupClaim {
        group: web(),
        epoch: 2,
        hold: Hold::Active,
        wish: Wish::Content,
        via: None,
        unrest: Unrest::default(),
    };
    let beat = Beat {
        node: NodeState::Running,
        hears: 1,
        config: 7,
        sections: Vec::new(),
        words: Words::default(),
        notice: Notice::default(),
        groups: vec![claim],
    };
    core.handle(at(1), Input::Heard { link: LinkId(0), at: at(1), beat, echo: 1 });
    core.handle(at(1), Input::Tick);
    let links = [LinkName::new("eth1").unwrap()];
    let present = Present { core: &core, now: at(1), links: &links };
    let groups = vec![explain(&present, &web(), None)];
    assert_eq!(
        render(&Explanation { node: "b".to_owned(), groups }),
        "web: standby on b, held by a, epoch 2\n\
         \x20 no change of its role is in the journal\n\
         \x20 why nothing else:\n\
         \x20   the peer is alive, heard 0 ms ago\n\
         \x20   the peer says: it serves it\n\
         \x20 if the peer died now:\n\
         \x20   b would start it 2.000 s after the last beat: the peer is dead\n\
         \x20 if this node died now:\n\
         \x20   a would go on to serve it\n"
    );
}

#[test]
fn texts_of_scripts_do_not_reach_the_terminal_as_orders() {
    assert_eq!(printable("a\x1b[2Jb\nc"), "a [2Jb c");
    let long = "\u{e9}".repeat(TEXT_MAX);
    assert!(printable(&long).len() <= TEXT_MAX);
}
