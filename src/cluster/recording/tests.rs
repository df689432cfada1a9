//! A recording gives the same decisions again, from any state, and damage is found.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::cluster::event::{Event, GroupState, Outcome};
use crate::cluster::message::{GroupClaim, Hold, NodeState, Notice, Unrest, Wish, Words};
use crate::cluster::{
    Damping, GroupSettings, OutsideSettings, Past, ResourceSettings, Settings, Side,
};
use crate::names::{GroupName, LinkId};

fn settings(preferred: Side) -> Settings {
    let limit = Duration::from_secs(20);
    let resource = ResourceSettings {
        overlap: true,
        start_timeout: limit,
        stop_timeout: limit,
        monitor: None,
    };
    Settings {
        node: NodeName::new("b").unwrap(),
        peer: NodeName::new("a").unwrap(),
        keepalive: Duration::from_millis(200),
        warntime: Duration::from_secs(1),
        deadtime: Duration::from_secs(2),
        initdead: Duration::from_secs(4),
        auto_failback: false,
        links: 2,
        groups: vec![GroupSettings {
            name: GroupName::new("web").unwrap(),
            preferred,
            resources: vec![resource, resource],
            via: None,
            probe: false,
        }],
        config: 7.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: Past::default(),
    }
}

fn heard(at: Instant, hold: Hold, seq: u64) -> Act {
    let group = GroupName::new("web").unwrap();
    let claim = GroupClaim {
        group,
        epoch: 2,
        hold,
        wish: Wish::Content,
        via: None,
        unrest: Unrest::default(),
    };
    let beat = Beat {
        node: NodeState::Running,
        hears: 3,
        config: 7,
        notice: Notice::default(),
        groups: vec![claim],
        sections: Vec::new(),
        words: Words::default(),
    };
    Act::Input(Input::Heard { link: LinkId(0), at, beat, echo: seq })
}

/// A driver whose resources obey at once, until `end`; the peer beats with `hold`, where it does.
fn drive(
    recorder: &mut Recorder,
    (begin, end): (Instant, Instant),
    hold: Option<Hold>,
) -> Vec<Event> {
    let mut events = Vec::new();
    let (mut now, mut beats) = (begin, 0);
    let mut acts = VecDeque::new();
    while now < end {
        while let Some(output) = recorder.poll() {
            match output {
                Output::Run(action) => {
                    let ended = Input::Ended { action: action.id, outcome: Outcome::Done };
                    acts.push_back(Act::Input(ended));
                }
                Output::Report(event) => events.push(event),
                Output::Send(_) => {
                    beats += 1;
                    acts.extend(hold.map(|hold| heard(now, hold, beats)));
                }
                _ => {}
            }
        }
        let next = acts.pop_front().unwrap_or_else(|| {
            now = now.max(recorder.core().deadline().0);
            Act::Input(Input::Tick)
        });
        recorder.act(now, next);
    }
    while recorder.poll().is_some() {}
    events
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

/// The peer serves for a while and falls silent.
fn takeover(calm: u64) -> (Recorder, Vec<Event>) {
    let mut recorder = Recorder::new(Core::new(settings(Side::Peer), at(1)));
    recorder.act(at(1), heard(at(1), Hold::Active, 0));
    drive(&mut recorder, (at(1), at(calm)), Some(Hold::Active));
    let events = drive(&mut recorder, (at(calm), at(calm + 10)), None);
    (recorder, events)
}

fn active(events: &[Event]) -> bool {
    events.iter().any(|it| matches!(it, Event::Role { state: GroupState::Active, .. }))
}

#[test]
fn a_recorded_takeover_is_decided_again_in_the_same_way() {
    let (mut recorder, events) = takeover(3);
    assert!(active(&events), "{events:?}");
    let recording = Recording::parse(&recorder.recording().to_text()).unwrap();
    let replayed: Vec<Replayed> = recording.replay().collect();
    assert!(replayed.len() > 20 && replayed.iter().all(Replayed::agrees), "{replayed:?}");
    let reports = replayed.iter().flat_map(|step| &step.outputs);
    let reports: Vec<Event> = reports
        .filter_map(|output| match output {
            Output::Report(event) => Some(event.clone()),
            _ => None,
        })
        .collect();
    assert!(active(&reports));
}

#[test]
fn what_is_remembered_is_bounded_and_begins_with_a_state() {
    let (mut recorder, _) = takeover(2000);
    let recording = recorder.recording();
    let all = recording.steps().len();
    assert!(all < 2 * HALF_MAX / STEP_WEIGHT && all > 100, "{all}");
    assert!(recording.steps()[0].at > at(100), "the beginning is forgotten");
    let recording = Recording::parse(&recording.to_text()).unwrap();
    assert!(recording.replay().all(|step| step.agrees()));
}

#[test]
fn another_decision_is_a_divergence() {
    let (mut recorder, _) = takeover(3);
    let text = recorder.recording().to_text();
    let forged = text.replacen("\"peer_dead\":{", "\"peer_left\":{", 1).replacen(
        "\"silent_ms\":2000",
        "\"x\":0",
        1,
    );
    let recording = Recording::parse(&forged).unwrap();
    assert_eq!(recording.replay().filter(|step| !step.agrees()).count(), 1);
}

#[test]
fn damage_is_named_by_line_and_a_cut_end_is_left_out() {
    let (mut recorder, _) = takeover(3);
    let text = recorder.recording().to_text();
    let steps = text.lines().count() - 1;
    let cut = Recording::parse(&text[..text.len() - 9]).unwrap();
    assert_eq!(cut.steps().len(), steps - 1);
    let (head, rest) = text.split_once('\n').unwrap();
    let broken = format!("{head}\n{{}}\n{rest}");
    let error = Recording::parse(&broken).unwrap_err().to_string();
    assert!(error.starts_with("line 2: "), "{error}");
    let newer = text.replacen("recording\":1", "recording\":2", 1);
    assert!(matches!(Recording::parse(&newer), Err(RecordingError::Version(2))));
    assert!(matches!(Recording::parse("{}\n"), Err(RecordingError::Head(_))));
    let wild = text.replacen("\"deadtime\":{\"secs\":2", "\"deadtime\":{\"secs\":99999999999", 1);
    assert!(matches!(Recording::parse(&wild), Err(RecordingError::Head(_))));
}

#[test]
fn the_forecast_of_a_silent_peer_is_what_the_core_then_does() {
    let mut recorder = Recorder::new(Core::new(settings(Side::Peer), at(1)));
    recorder.act(at(1), heard(at(1), Hold::Active, 0));
    drive(&mut recorder, (at(1), at(3)), Some(Hold::Active));
    let now = at(3);
    let forecast = recorder.core().if_peer_fell_silent(now);
    let states: Vec<GroupState> = forecast.iter().map(|it| it.state).collect();
    assert_eq!(states, [GroupState::Starting, GroupState::Active]);
    assert!(forecast[0].after <= Duration::from_secs(2), "{forecast:?}");
    assert!(active(&drive(&mut recorder, (now, at(8)), None)));
}

#[test]
fn the_forecast_of_our_own_silence_is_the_peers_takeover() {
    let mut recorder = Recorder::new(Core::new(settings(Side::Me), at(1)));
    recorder.act(at(1), heard(at(1), Hold::Nothing, 0));
    let events = drive(&mut recorder, (at(1), at(3)), Some(Hold::Nothing));
    assert!(active(&events), "{events:?}");
    let forecast = recorder.core().if_we_fell_silent(at(3)).unwrap();
    assert!(forecast.iter().any(|it| it.state == GroupState::Active), "{forecast:?}");
    drive(&mut recorder, (at(3), at(9)), None);
    assert_eq!(recorder.core().if_we_fell_silent(at(9)), None, "the peer is dead");
}

#[test]
fn the_evidence_says_when_each_link_was_heard_and_what_the_peer_said() {
    let (recorder, _) = takeover(3);
    let web = GroupName::new("web").unwrap();
    let now = at(13);
    let evidence = recorder.core().evidence(now, &web);
    assert!(evidence.links[0].heard_ms.unwrap() >= 9000, "{evidence:?}");
    assert_eq!((evidence.links[1].heard_ms, evidence.theirs), (None, None));
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<crate::cluster::Evidence>(&text).unwrap(), evidence);
}
