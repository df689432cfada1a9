//! Tables over what the core is and what can happen to it. Each table has a row for every pair; the
//! expectation is a short rule, written apart from the code.

use std::time::Duration;

use super::calm::Damping;
use super::decide::{Rank, candidate};
use super::epoch::Numbering;
use super::event::{
    Action, Answer, Cause, Event, GroupState, Input, Manner, Operation, Outcome, Output,
    OutsideOrder, Request, Which,
};
use super::group::{Asking, Offer, Retry, Role, Stance};
use super::list::Order;
use super::message::{Beat, GroupClaim, Hold, NodeState, Notice, Unrest, Wish, Words};
use super::phase::Phase;
use super::view::{LinkState, NodeView, PeerLife};
use super::{ArbiterSettings, OutsideSettings};
use super::{Core, GroupSettings, ResourceSettings, Settings, Side};
use crate::names::{ActionId, GroupId, GroupName, LinkId, NodeName, RequestId};
use crate::time::Instant;

const SECOND: u64 = 1000;
/// Epoch of what the core under test holds; it is node `b`, so its epochs are odd.
const MINE: u64 = 5;
const FLYING: ActionId = ActionId(1000);

fn ms(millis: u64) -> Instant {
    Instant::from_millis(100 * SECOND + millis)
}

fn settings() -> Settings {
    let resource = |overlap| ResourceSettings {
        overlap,
        start_timeout: Duration::from_secs(20),
        stop_timeout: Duration::from_secs(20),
        monitor: None,
    };
    Settings {
        node: NodeName::new("b").unwrap(),
        peer: NodeName::new("a").unwrap(),
        keepalive: Duration::from_millis(200),
        warntime: Duration::from_secs(1),
        deadtime: Duration::from_secs(2),
        initdead: Duration::from_secs(10),
        auto_failback: false,
        links: 2,
        groups: vec![GroupSettings {
            name: GroupName::new("web").unwrap(),
            preferred: Side::Me,
            resources: vec![resource(true), resource(true)],
            via: None,
            probe: false,
        }],
        config: 7.into(),
        damping: Damping::default(),
        outside: OutsideSettings::default(),
        past: super::Past::default(),
    }
}

fn strict() -> Settings {
    let mut settings = settings();
    settings.groups[0].resources[1].overlap = false;
    settings
}

fn claim(hold: Hold, wish: Wish, epoch: u64) -> GroupClaim {
    GroupClaim {
        group: GroupName::new("web").unwrap(),
        epoch,
        hold,
        wish,
        via: None,
        unrest: Unrest::default(),
    }
}

fn beat(node: NodeState, claim: GroupClaim) -> Beat {
    Beat {
        node,
        hears: 1,
        config: 7,
        notice: Notice::default(),
        groups: vec![claim],
        sections: Vec::new(),
        words: Words::default(),
    }
}

fn heard(at: Instant, claim: GroupClaim, echo: u64) -> Input {
    Input::Heard { link: LinkId(0), at, beat: beat(NodeState::Running, claim), echo }
}

fn nothing() -> GroupClaim {
    claim(Hold::Nothing, Wish::Content, 0)
}

fn drain(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll()).collect()
}

/// Ticks as a driver does: for as long as the deadline has passed.
fn settle(core: &mut Core, now: Instant) -> Vec<Output> {
    let mut outputs = Vec::new();
    for _ in 0..20 {
        core.handle(now, Input::Tick);
        outputs.extend(drain(core));
        if core.deadline().0 > now {
            return outputs;
        }
    }
    panic!("the core wants to be called for ever: {:?}", core.deadline());
}

/// Runs to `end` without a stall; resource orders stay unanswered.
fn pass(core: &mut Core, end: Instant) -> Vec<Output> {
    let mut outputs = Vec::new();
    while core.deadline().0 <= end {
        let now = core.deadline().0;
        outputs.extend(settle(core, now));
    }
    outputs
}

/// In service, with a peer that has just been heard.
fn running(settings: Settings) -> Core {
    let mut core = Core::new(settings, ms(0));
    core.handle(ms(0), heard(ms(0), claim(Hold::Active, Wish::Content, 2), 0));
    settle(&mut core, ms(0));
    core
}

fn order(resource: usize, operation: Operation) -> Order {
    Order { id: FLYING, resource, operation, until: ms(25 * SECOND) }
}

fn idle(stance: Stance) -> Role {
    Role::Idle { stance, asking: None }
}

/// One of each role that a group can have.
fn roles() -> Vec<Role> {
    let epoch = MINE;
    let manner = Manner::Alone;
    let then = Stance::Willing;
    let until = ms(30 * SECOND);
    let failed = Stance::Failed(ms(5 * SECOND));
    vec![
        idle(Stance::Willing),
        idle(Stance::Yielded),
        idle(failed),
        Role::Idle {
            stance: Stance::Willing,
            asking: Some(Asking { cause: Cause::Takeover, until }),
        },
        Role::Claiming { epoch, stance: then, since: 3, at: ms(0), cause: Cause::Boot },
        Role::Starting { epoch, manner, from: None, next: 0, order: None },
        Role::Starting {
            epoch,
            manner,
            from: None,
            next: 1,
            order: Some(order(1, Operation::Start)),
        },
        Role::Active { epoch, from: None, offer: None },
        Role::Active { epoch, from: None, offer: Some(Offer { cause: Cause::Standby, until }) },
        Role::Stopping { epoch, manner, then, order: order(1, Operation::Stop) },
        Role::Stopping { epoch, manner, then, order: order(1, Operation::Start) },
        Role::Stopping { epoch, manner, then: failed, order: order(0, Operation::Stop) },
        Role::Stuck {
            epoch,
            then,
            resource: 1,
            tries: 1,
            retry: Retry::Trying(order(1, Operation::Stop)),
        },
        Role::Stuck { epoch, then, resource: 1, tries: 1, retry: Retry::Waiting(ms(SECOND)) },
        idle(Stance::Relieved),
    ]
}

fn in_role(settings: Settings, role: Role) -> Core {
    let mut core = running(settings);
    core.groups[0].role = role;
    core.groups[0].seen = MINE;
    core
}

const HOLDS: [Hold; 6] =
    [Hold::Nothing, Hold::Claiming, Hold::Starting, Hold::Active, Hold::Stopping, Hold::Stuck];
const WISHES: [Wish; 4] = [Wish::Content, Wish::Take, Wish::Offer, Wish::Decline];

#[test]
fn a_higher_holder_heard_stops_what_is_held_at_once_and_nothing_else_does() {
    for role in roles() {
        for hold in HOLDS {
            for (wish, theirs) in WISHES.iter().flat_map(|wish| [(*wish, 4), (*wish, 8)]) {
                let mut core = in_role(settings(), role);
                core.handle(ms(10), heard(ms(10), claim(hold, wish, theirs), 0));
                let outputs = drain(&mut core);
                let row = format!("{role:?} hears {hold:?} {wish:?} {theirs}: {outputs:?}");

                let serving = matches!(hold, Hold::Starting | Hold::Active | Hold::Stopping);
                let may_drop =
                    matches!(role, Role::Starting { .. } | Role::Active { offer: None, .. });
                let dropped = serving && theirs > MINE && may_drop;
                let withdrawn = matches!(role, Role::Claiming { .. })
                    && match hold {
                        Hold::Claiming => theirs > MINE,
                        Hold::Active => wish != Wish::Offer,
                        Hold::Starting | Hold::Stuck => true,
                        Hold::Nothing | Hold::Stopping => false,
                    };
                let after = core.groups[0].role;
                if dropped {
                    let free = matches!(role, Role::Starting { next: 0, order: None, .. });
                    assert_eq!(matches!(after, Role::Stopping { .. }), !free, "{row}");
                    assert_eq!(matches!(after, Role::Idle { .. }), free, "{row}");
                } else if withdrawn {
                    assert_eq!(after, idle(Stance::Willing), "{row}");
                } else {
                    assert_eq!(
                        std::mem::discriminant(&after),
                        std::mem::discriminant(&role),
                        "{row}"
                    );
                }
                assert!(!outputs.iter().any(|it| matches!(it, Output::Send(_))), "{row}");
                let stops = outputs
                    .iter()
                    .any(|it| matches!(it, Output::Run(run) if run.operation == Operation::Stop));
                // A start under way is awaited first.
                let at_once = matches!(role, Role::Active { .. });
                assert_eq!(stops, dropped && at_once, "{row}");
            }
        }
    }
}

#[test]
fn a_holder_raises_its_epoch_above_that_of_one_who_held_it_meanwhile() {
    for hold in [Hold::Nothing, Hold::Stuck] {
        let role = Role::Active { epoch: MINE, from: None, offer: None };
        let mut core = in_role(settings(), role);
        core.handle(ms(10), heard(ms(10), claim(hold, Wish::Content, 8), 0));
        let outputs = settle(&mut core, ms(10));
        assert_eq!(core.groups[0].held(), Some(9), "{hold:?}");
        assert!(outputs.contains(&Output::Announce(GroupId(0))), "{hold:?}: {outputs:?}");
    }
}

#[test]
fn a_rival_with_a_lower_epoch_is_outshouted_when_it_comes_and_when_it_goes() {
    let mut core = in_role(settings(), Role::Active { epoch: MINE, from: None, offer: None });
    let mut announced = |at, hold| {
        core.handle(ms(at), heard(ms(at), claim(hold, Wish::Content, 4), 0));
        let outputs = settle(&mut core, ms(at));
        outputs.iter().filter(|it| **it == Output::Announce(GroupId(0))).count()
    };
    assert_eq!(announced(10, Hold::Active), 1, "it comes");
    assert_eq!(announced(20, Hold::Active), 0, "it is still there");
    assert_eq!(announced(30, Hold::Stopping), 0, "it drops");
    assert_eq!(announced(40, Hold::Nothing), 1, "it has gone");
    assert_eq!(announced(50, Hold::Nothing), 0, "all is quiet");
}

#[test]
fn every_end_of_every_action_leads_where_the_order_of_the_list_says() {
    let ends = [Outcome::Done, Outcome::Failed("no".to_owned())];
    for role in roles() {
        for (outcome, id) in ends.iter().flat_map(|end| [(end, FLYING), (end, ActionId(1))]) {
            let mut core = in_role(settings(), role);
            core.handle(ms(10), Input::Ended { action: id, outcome: outcome.clone() });
            let outputs = drain(&mut core);
            let runs: Vec<(usize, Operation)> = outputs
                .iter()
                .filter_map(|output| match output {
                    Output::Run(Action { resource, operation, .. }) => {
                        Some((*resource, *operation))
                    }
                    _ => None,
                })
                .collect();
            let row = format!("{role:?} {id:?} {outcome:?}: {outputs:?}");
            let flying = core_order(role).filter(|order| order.id == id);
            let (state, run) = match (role, flying, outcome) {
                (_, None, _) => (None, None),
                (Role::Starting { .. }, Some(_), Outcome::Done) => {
                    (Some(GroupState::Starting), None)
                }
                (Role::Starting { .. }, Some(it), Outcome::Failed(_)) => {
                    (Some(GroupState::Stopping), Some((it.resource, Operation::Stop)))
                }
                // The awaited end of a start: whatever it was, it is stopped now.
                (Role::Stopping { .. }, Some(it), _) if it.operation == Operation::Start => {
                    (Some(GroupState::Stopping), Some((it.resource, Operation::Stop)))
                }
                (_, Some(it), Outcome::Done) if it.resource > 0 => {
                    (Some(GroupState::Stopping), Some((it.resource - 1, Operation::Stop)))
                }
                (Role::Stopping { then: Stance::Failed(_), .. }, Some(_), _) => {
                    (Some(GroupState::Failed), None)
                }
                (_, Some(_), Outcome::Done) => (Some(GroupState::Standby), None),
                (_, Some(_), Outcome::Failed(_)) => (Some(GroupState::Failed), None),
            };
            match state {
                None => assert_eq!(core.groups[0].role, role, "{row}"),
                Some(state) => assert_eq!(core.groups[0].state(), state, "{row}"),
            }
            assert_eq!(runs, Vec::from_iter(run), "{row}");
        }
    }
}

fn core_order(role: Role) -> Option<Order> {
    in_role(settings(), role).groups[0].order()
}

#[test]
fn an_answer_that_never_comes_counts_as_a_failure() {
    for role in roles().into_iter().filter(|role| core_order(*role).is_some()) {
        let mut core = in_role(settings(), role);
        let mut outputs = Vec::new();
        for second in 0..26 {
            // The peer lives on, with nothing of the group.
            outputs.extend(pass(&mut core, ms(second * SECOND)));
            core.handle(ms(second * SECOND), heard(ms(second * SECOND), nothing(), 0));
            outputs.extend(pass(&mut core, ms(second * SECOND)));
        }
        let failed =
            outputs.iter().any(|it| matches!(it, Output::Report(Event::ActionFailed { .. })));
        assert!(failed, "{role:?}: {outputs:?}");
    }
}

#[test]
fn both_nodes_come_to_the_same_candidate() {
    let ranks = [Rank::Unable, Rank::Yielded, Rank::Willing, Rank::Asking];
    for mine in ranks {
        for theirs in ranks {
            for (here, there) in [(Side::Me, Side::Peer), (Side::Peer, Side::Me)] {
                let ours = candidate(mine, theirs, here);
                let other = candidate(theirs, mine, there).map(|side| match side {
                    Side::Me => Side::Peer,
                    Side::Peer => Side::Me,
                });
                assert_eq!(ours, other, "{mine:?} {theirs:?} {here:?}");
                let nobody = mine == Rank::Unable && theirs == Rank::Unable;
                assert_eq!(ours.is_none(), nobody, "{mine:?} {theirs:?} {here:?}");
            }
        }
    }
}

#[test]
fn epochs_grow_by_the_smallest_step_and_are_never_the_same_on_both_nodes() {
    let (a, b) = (NodeName::new("a").unwrap(), NodeName::new("b").unwrap());
    let (even, odd) = (Numbering::new(&a, &b), Numbering::new(&b, &a));
    for seen in 0..10 {
        let (one, two) = (even.above(seen), odd.above(seen));
        assert!(one > seen && one <= seen + 2 && one % 2 == 0, "{seen}: {one}");
        assert!(two > seen && two <= seen + 2 && two % 2 == 1, "{seen}: {two}");
    }
    assert_eq!(even.above(u64::MAX) % 2, 0);
    assert_eq!(odd.above(u64::MAX) % 2, 1);
}

#[test]
fn a_claim_becomes_a_start_only_with_the_peers_consent_or_without_a_peer() {
    let role = roles()[4];
    for hold in HOLDS {
        for (wish, echo) in WISHES.iter().flat_map(|wish| [(*wish, 2), (*wish, 3)]) {
            let mut core = in_role(settings(), role);
            core.handle(ms(10), heard(ms(10), claim(hold, wish, 4), echo));
            let outputs = settle(&mut core, ms(10));
            let started = matches!(core.groups[0].role, Role::Starting { .. });
            let manner = outputs.iter().find_map(|output| match output {
                Output::Run(run) => Some(run.manner),
                _ => None,
            });
            let row = format!("{hold:?} {wish:?} echo {echo}: {outputs:?}");
            let offered = hold == Hold::Active && wish == Wish::Offer;
            assert_eq!(started, echo >= 3 && (hold == Hold::Nothing || offered), "{row}");
            let overlap = manner == Some(Manner::Overlap { peer: None });
            assert_eq!(overlap, started && offered, "{row}");
        }
    }
}

#[test]
fn a_list_that_may_not_overlap_is_never_started_while_the_giver_serves() {
    let role = roles()[4];
    let mut core = in_role(strict(), role);
    core.handle(ms(10), heard(ms(10), claim(Hold::Active, Wish::Offer, 4), 9));
    settle(&mut core, ms(10));
    assert_eq!(core.groups[0].state(), GroupState::Standby);
}

#[test]
fn requests_are_done_begun_or_refused_as_role_and_peer_demand() {
    #[derive(Debug, PartialEq, Clone, Copy)]
    enum Said {
        Nothing,
        Done,
        Refused,
    }
    let asks = [Request::Standby(Which::All), Request::Takeover(Which::Local)];
    for role in roles() {
        for (request, wish) in asks.iter().flat_map(|it| WISHES.map(|wish| (*it, wish))) {
            let mut core = in_role(settings(), role);
            core.handle(ms(10), heard(ms(10), claim(Hold::Nothing, wish, 4), 0));
            drain(&mut core);
            core.handle(ms(10), Input::Request { id: RequestId(1), request });
            let outputs = drain(&mut core);
            let said = outputs.iter().find_map(|output| match output {
                Output::Answer { answer: Answer::Done { .. }, .. } => Some(Said::Done),
                Output::Answer { answer: Answer::Refused { .. }, .. } => Some(Said::Refused),
                _ => None,
            });
            let standby = matches!(request, Request::Standby(_));
            let want = match (standby, role) {
                (_, Role::Stuck { .. }) => Said::Refused,
                (true, Role::Idle { .. } | Role::Claiming { .. }) => Said::Done,
                (true, Role::Active { offer: None, .. }) if wish != Wish::Decline => Said::Nothing,
                (true, _) => Said::Refused,
                (false, Role::Active { offer: None, .. }) => Said::Done,
                (false, Role::Active { offer: Some(_), .. } | Role::Stopping { .. }) => {
                    Said::Refused
                }
                (false, _) if wish == Wish::Take => Said::Refused,
                (false, _) => Said::Nothing,
            };
            let row = format!("{role:?} {request:?} peer {wish:?}: {outputs:?}");
            assert_eq!(said.unwrap_or(Said::Nothing), want, "{row}");
        }
    }
}

#[test]
fn nothing_is_handed_to_a_peer_that_is_not_there() {
    let mut core = in_role(settings(), Role::Active { epoch: MINE, from: None, offer: None });
    pass(&mut core, ms(3 * SECOND));
    let request = Request::Standby(Which::All);
    core.handle(ms(3 * SECOND), Input::Request { id: RequestId(1), request });
    let why = "the peer is dead".to_owned();
    let answer = Answer::Refused { why };
    assert_eq!(drain(&mut core), [Output::Answer { id: RequestId(1), answer }]);
}

#[test]
fn a_second_request_for_a_group_is_refused_while_the_first_is_under_way() {
    for first in [Request::Standby(Which::All), Request::Takeover(Which::All)] {
        for second in [Request::Standby(Which::All), Request::Takeover(Which::All)] {
            let role = match first {
                Request::Standby(_) => Role::Active { epoch: MINE, from: None, offer: None },
                _ => idle(Stance::Willing),
            };
            let hold =
                if matches!(first, Request::Standby(_)) { Hold::Nothing } else { Hold::Active };
            let mut core = in_role(settings(), role);
            core.handle(ms(10), heard(ms(10), claim(hold, Wish::Content, 4), 0));
            core.handle(ms(10), Input::Request { id: RequestId(1), request: first });
            settle(&mut core, ms(10));
            core.handle(ms(11), Input::Request { id: RequestId(2), request: second });
            let outputs = drain(&mut core);
            let refused = outputs.iter().any(|it| {
                matches!(it, Output::Answer { id: RequestId(2), answer: Answer::Refused { .. } })
            });
            let nothing_to_give =
                matches!((first, second), (Request::Takeover(_), Request::Standby(_)));
            assert_eq!(refused, !nothing_to_give, "{first:?} {second:?}: {outputs:?}");
        }
    }
}

#[test]
fn silence_of_a_deadtime_on_all_links_is_death_and_not_a_moment_earlier() {
    let mut core = running(settings());
    core.handle(
        ms(500),
        Input::Heard {
            link: LinkId(1),
            at: ms(500),
            beat: beat(NodeState::Running, nothing()),
            echo: 1,
        },
    );
    let before = pass(&mut core, ms(2499));
    assert!(before.contains(&Output::Report(Event::LinkDown { link: LinkId(0) })), "{before:?}");
    assert_eq!(core.view(ms(2499)).peer.state, PeerLife::Alive);
    pass(&mut core, ms(2500));
    assert_eq!(core.view(ms(2500)).peer.state, PeerLife::Dead);
}

#[test]
fn a_beat_is_judged_by_when_it_came_in_not_by_when_it_was_read() {
    let mut core = running(settings());
    // Read late, within what is bearable; the verdict waits for the tick.
    core.handle(ms(190), heard(ms(150), nothing(), 1));
    pass(&mut core, ms(2149));
    assert_eq!(core.view(ms(2149)).peer.state, PeerLife::Alive);
    pass(&mut core, ms(2150));
    assert_eq!(core.view(ms(2150)).peer.state, PeerLife::Dead);
}

#[test]
fn only_a_tick_declares_death() {
    let mut core = running(settings());
    pass(&mut core, ms(1999));
    core.handle(ms(2050), Input::Presence { at: ms(2050) });
    core.handle(ms(2050), Input::Ended { action: ActionId(77), outcome: Outcome::Done });
    assert_eq!(core.view(ms(2050)).peer.state, PeerLife::Alive);
    core.handle(ms(2050), heard(ms(1950), nothing(), 1));
    settle(&mut core, ms(2050));
    assert_eq!(core.view(ms(2050)).peer.state, PeerLife::Alive);
}

#[test]
fn a_node_alone_takes_its_groups_after_initdead() {
    let mut core = Core::new(settings(), ms(0));
    pass(&mut core, ms(10 * SECOND - 1));
    assert_eq!(core.view(ms(10 * SECOND - 1)).state, NodeView::Booting);
    let outputs = pass(&mut core, ms(10 * SECOND));
    assert_eq!(core.groups[0].state(), GroupState::Starting);
    let runs = outputs.iter().filter(|it| matches!(it, Output::Run(_))).count();
    assert_eq!(runs, 1, "{outputs:?}");
}

#[test]
fn a_sign_without_proof_prolongs_the_boot_to_twice_initdead_and_changes_nothing_else() {
    let mut core = Core::new(settings(), ms(0));
    for tenth in 0..199 {
        pass(&mut core, ms(tenth * 100));
        core.handle(ms(tenth * 100), Input::Presence { at: ms(tenth * 100) });
        assert_eq!(core.view(ms(tenth * 100)).state, NodeView::Booting);
        assert_eq!(core.view(ms(tenth * 100)).peer.state, PeerLife::Unknown);
    }
    pass(&mut core, ms(20 * SECOND));
    assert_eq!(core.view(ms(20 * SECOND)).state, NodeView::Running);
}

#[test]
fn beats_keep_to_an_absolute_schedule() {
    let mut core = Core::new(settings(), ms(0));
    let mut sent = Vec::new();
    // Always called 30 ms late, which is bearable.
    while sent.len() < 20 {
        let now = core.deadline().0.plus(Duration::from_millis(30));
        core.handle(now, Input::Tick);
        let beats = drain(&mut core).iter().filter(|it| matches!(it, Output::Send(_))).count();
        sent.extend(std::iter::repeat_n(now, beats));
    }
    assert_eq!(*sent.last().unwrap(), ms(19 * 200 + 30), "{sent:?}");
}

#[test]
fn a_stall_of_ours_is_not_the_peers_silence() {
    let mut core = running(settings());
    pass(&mut core, ms(1000));
    let outputs = settle(&mut core, ms(60 * SECOND));
    let stalled = outputs.iter().any(|it| matches!(it, Output::Report(Event::Stalled { .. })));
    assert!(stalled, "{outputs:?}");
    assert_eq!(core.view(ms(60 * SECOND)).peer.state, PeerLife::Alive);
    // It was silent for a second before; the other second of the deadtime is left to it.
    pass(&mut core, ms(62 * SECOND));
    assert_eq!(core.view(ms(62 * SECOND)).peer.state, PeerLife::Dead);
}

#[test]
fn a_beat_that_came_in_before_the_first_of_two_stalls_is_not_older_for_it() {
    let mut core = running(settings());
    pass(&mut core, ms(1000));
    // Stopped, run for an instant in which nothing is read, and stopped again.
    core.handle(ms(30 * SECOND), Input::Guarded(true));
    core.handle(ms(60 * SECOND), heard(ms(3 * SECOND), nothing(), 1));
    settle(&mut core, ms(60 * SECOND));
    assert_eq!(core.view(ms(60 * SECOND)).peer.state, PeerLife::Alive);
    assert!(core.view(ms(60 * SECOND)).peer.silent_ms < 1000);
}

#[test]
fn after_a_long_stall_nothing_is_taken_or_announced_before_the_peer_has_answered() {
    let mut core = in_role(settings(), idle(Stance::Willing));
    core.handle(ms(60 * SECOND), heard(ms(60 * SECOND), nothing(), 1));
    settle(&mut core, ms(60 * SECOND));
    assert_eq!(core.view(ms(60 * SECOND)).state, NodeView::Validating);
    assert_eq!(core.groups[0].role, idle(Stance::Willing));
    // An answer to a beat that we sent after the stall.
    let echo = core.outbox.next_sequence() - 1;
    core.handle(ms(60 * SECOND + 1), heard(ms(60 * SECOND + 1), nothing(), echo));
    settle(&mut core, ms(60 * SECOND + 1));
    assert_eq!(core.view(ms(60 * SECOND + 1)).state, NodeView::Running);
    assert!(matches!(core.groups[0].role, Role::Claiming { .. }), "{:?}", core.groups[0].role);
}

#[test]
fn a_stalled_holder_that_hears_a_higher_epoch_drops_before_it_sends() {
    let mut core = in_role(settings(), Role::Active { epoch: MINE, from: None, offer: None });
    let at = ms(60 * SECOND);
    core.handle(at, heard(at, claim(Hold::Active, Wish::Content, 6), 1));
    let outputs = settle(&mut core, at);
    let stop = outputs.iter().position(|it| matches!(it, Output::Run(_)));
    let send = outputs.iter().position(|it| matches!(it, Output::Send(_)));
    assert!(stop.is_some() && stop < send, "{outputs:?}");
    assert!(!outputs.iter().any(|it| matches!(it, Output::Announce(_))), "{outputs:?}");
}

#[test]
fn a_differing_configuration_is_reported_once_and_is_no_reason_to_call_the_peer_dead() {
    let mut core = running(settings());
    let mut reported = 0;
    for (at, config) in [(10, 7), (20, 8), (30, 8), (40, 9), (50, 7), (60, 8)] {
        let beat =
            Beat { config, ..beat(NodeState::Running, claim(Hold::Active, Wish::Content, 2)) };
        core.handle(ms(at), Input::Heard { link: LinkId(0), at: ms(at), beat, echo: 1 });
        let outputs = settle(&mut core, ms(at));
        reported +=
            outputs.iter().filter(|it| **it == Output::Report(Event::ConfigDiffers)).count();
        assert_eq!(core.view(ms(at)).peer.state, PeerLife::Alive);
        assert_eq!(core.view(ms(at)).peer.config_differs, config != 7);
    }
    assert_eq!(reported, 3);
}

#[test]
fn a_group_that_the_peer_does_not_know_is_not_handed_to_it() {
    let mut core = in_role(settings(), Role::Active { epoch: MINE, from: None, offer: None });
    let empty = Beat { groups: Vec::new(), ..beat(NodeState::Running, nothing()) };
    core.handle(ms(10), Input::Heard { link: LinkId(0), at: ms(10), beat: empty, echo: 1 });
    let request = Request::Standby(Which::All);
    core.handle(ms(10), Input::Request { id: RequestId(1), request });
    let outputs = drain(&mut core);
    let refused = outputs
        .iter()
        .any(|it| matches!(it, Output::Answer { answer: Answer::Refused { .. }, .. }));
    assert!(refused, "{outputs:?}");
}

#[test]
fn a_copy_on_a_second_link_shows_that_the_link_carries_and_no_more() {
    let mut core = running(settings());
    core.handle(ms(10), Input::Copy { link: LinkId(1), at: ms(10) });
    assert_eq!(core.view(ms(10)).links[1].state, LinkState::Up);
    // A node that was never proven alive does not become so by copies.
    let mut fresh = Core::new(settings(), ms(0));
    fresh.handle(ms(10), Input::Copy { link: LinkId(1), at: ms(10) });
    assert_eq!(fresh.view(ms(10)).peer.state, PeerLife::Unknown);
    assert_eq!(fresh.view(ms(10)).links[1].state, LinkState::Unknown);
}

#[test]
fn a_failed_stop_is_never_reported_as_released() {
    let mut core = in_role(settings(), roles()[12]);
    let mut tries = 0;
    for second in 0..200u64 {
        let now = ms(second * SECOND);
        let mut outputs = pass(&mut core, now);
        core.handle(now, heard(now, claim(Hold::Nothing, Wish::Content, 0), 1));
        outputs.extend(pass(&mut core, now));
        for output in outputs {
            match output {
                Output::Send(beat) => assert_eq!(beat.groups[0].hold, Hold::Stuck),
                Output::Run(run) => {
                    tries += 1;
                    let outcome = Outcome::Failed("busy".to_owned());
                    core.handle(now, Input::Ended { action: run.id, outcome });
                }
                _ => {}
            }
        }
    }
    // The order under way runs into its limit (25 s); nine quick tries, then one in 30 s.
    assert!((12..=16).contains(&tries), "{tries}");
}

#[test]
fn the_farewell_holds_nothing_whatever_the_role() {
    for role in roles() {
        let core = in_role(settings(), role);
        let beat = core.farewell();
        assert_eq!(beat.node, NodeState::Gone);
        assert_eq!(beat.groups[0].hold, Hold::Nothing, "{role:?}");
        assert!(beat.groups[0].epoch >= MINE, "{role:?}");
    }
}

#[test]
fn leaving_ends_for_every_role_and_says_gone_only_when_nothing_is_held() {
    for role in roles() {
        for end in [Outcome::Done, Outcome::Failed("no".to_owned())] {
            let mut core = in_role(settings(), role);
            core.handle(ms(10), Input::Request { id: RequestId(1), request: Request::Leave });
            let mut outputs = Vec::new();
            let mut now = ms(10);
            while core.phase != Phase::Ended {
                assert!(now < ms(120 * SECOND), "{role:?} {end:?} never leaves: {outputs:?}");
                // A peer that lives and takes nothing.
                core.handle(now, heard(now, claim(Hold::Nothing, Wish::Decline, 0), 1));
                let turn = settle(&mut core, now);
                for output in &turn {
                    if let Output::Run(run) = output {
                        let outcome = end.clone();
                        core.handle(now, Input::Ended { action: run.id, outcome });
                    }
                }
                outputs.extend(turn);
                now = now.plus(Duration::from_millis(50));
            }
            let gone = outputs
                .iter()
                .filter(|it| matches!(it, Output::Send(beat) if beat.node == NodeState::Gone));
            let free = core.groups[0].held().is_none();
            assert_eq!(gone.count(), if free { 3 } else { 0 }, "{role:?} {end:?}");
            assert_eq!(outputs.last(), Some(&Output::Left), "{role:?} {end:?}");
            assert_eq!(core.deadline().0, Instant::NEVER);
        }
    }
}

fn reconfigured(core: &mut Core, settings: Settings) -> Answer {
    let changed = vec![GroupName::new("web").unwrap()];
    let id = RequestId(99);
    let now = core.deadline().0;
    core.handle(now, Input::Settings { id, settings: Box::new(settings), changed });
    let mut answers = drain(core).into_iter().filter_map(|output| match output {
        Output::Answer { id: RequestId(99), answer } => Some(answer),
        _ => None,
    });
    answers.next().unwrap()
}

#[test]
fn other_settings_are_taken_at_rest_and_refused_while_a_group_moves() {
    let mut core = running(settings());
    let mut other = settings();
    other.deadtime = Duration::from_secs(9);
    other.groups[0].resources.pop();
    core.handle(ms(1), Input::Request { id: RequestId(1), request: Request::Takeover(Which::All) });
    let refused = reconfigured(&mut core, other.clone());
    assert!(matches!(refused, Answer::Refused { .. }), "{refused:?}");
    assert_eq!(core.settings, settings());

    let mut core = running(settings());
    assert!(matches!(reconfigured(&mut core, other.clone()), Answer::Done { .. }));
    assert_eq!((&core.settings, core.groups[0].settings.resources.len()), (&other, 1));
    // Silence is judged by the new deadtime.
    pass(&mut core, ms(8_000));
    assert!(core.peer.is_alive());
    pass(&mut core, ms(10_000));
    assert!(!core.peer.is_alive());
}

#[test]
fn of_other_groups_those_that_stay_go_on_and_those_that_are_gone_are_not_spoken_of() {
    let mut core = running(settings());
    let mut other = settings();
    let mut mail = other.groups[0].clone();
    mail.name = GroupName::new("mail").unwrap();
    other.groups.insert(0, mail);
    assert!(matches!(reconfigured(&mut core, other.clone()), Answer::Done { .. }));
    let ids: Vec<u16> = core.groups.iter().map(|group| group.id.0).collect();
    assert_eq!((ids, core.groups[1].seen), (vec![0, 1], 2));
    other.groups.pop();
    assert!(matches!(reconfigured(&mut core, other), Answer::Done { .. }));
    let told = core.compose().groups;
    assert_eq!((told.len(), told[0].group.as_str()), (1, "mail"));
}

#[test]
fn a_fencing_that_ends_after_the_peer_was_heard_again_is_none() {
    let mut settings = settings();
    settings.outside.fence = Some(Duration::from_secs(20));
    let mut core = running(settings);
    let outputs = pass(&mut core, ms(3 * SECOND));
    let ordered = outputs.iter().find_map(|it| match it {
        Output::Outside(OutsideOrder::Fence { order }) => Some(*order),
        _ => None,
    });
    let order = ordered.unwrap_or_else(|| panic!("nobody is fenced: {outputs:?}"));
    // It was reset, took the group, and falls silent again.
    let again = claim(Hold::Active, Wish::Content, 2);
    core.handle(ms(4 * SECOND), heard(ms(4 * SECOND), again, 1));
    settle(&mut core, ms(4 * SECOND));
    pass(&mut core, ms(7 * SECOND));
    assert_eq!(core.view(ms(7 * SECOND)).peer.state, PeerLife::Dead);
    core.handle(ms(7 * SECOND), Input::Fenced { order, said: Ok("off".to_owned()) });
    let outputs = settle(&mut core, ms(7 * SECOND));
    assert!(!outputs.iter().any(|it| matches!(it, Output::Run(_))), "{outputs:?}");
    // The next one is about the life that is silent now.
    let fences = |it: &Output| matches!(it, Output::Outside(OutsideOrder::Fence { .. }));
    assert!(outputs.iter().any(fences), "{outputs:?}");
}

#[test]
fn a_stall_of_a_holder_that_boots_is_over_after_a_deadtime_not_after_initdead() {
    let mut core = Core::new(settings(), ms(0));
    core.groups[0].role = Role::Active { epoch: MINE, from: None, offer: None };
    settle(&mut core, ms(0));
    settle(&mut core, ms(3 * SECOND));
    assert!(core.in_doubt());
    pass(&mut core, ms(5 * SECOND));
    assert!(!core.in_doubt());
    assert_eq!(core.view(ms(5 * SECOND)).state, NodeView::Booting);
}

#[test]
fn a_holder_that_has_heard_nobody_since_it_went_on_gives_up_without_its_required_lease() {
    let mut settings = settings();
    settings.outside.arbiters = vec![ArbiterSettings {
        name: "lease".to_owned(),
        required: true,
        timeout: Duration::from_secs(1),
        lease: Some(Duration::from_secs(6)),
    }];
    let mut core = Core::new(settings, ms(0));
    core.groups[0].role = Role::Active { epoch: MINE, from: None, offer: None };
    let outputs = pass(&mut core, ms(3 * SECOND));
    let stops = |it: &Output| matches!(it, Output::Run(Action { operation: Operation::Stop, .. }));
    assert!(outputs.iter().any(stops), "{outputs:?}");
}
