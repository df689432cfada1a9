//! Two nodes' sessions, frame by frame. Frames are built directly: signatures are `frame`'s.

use super::*;
use crate::wire::body::Body;
use crate::wire::frame::Header;
use crate::wire::window::WINDOW;

const DEADTIME: Duration = Duration::from_secs(2);

fn id(n: u8) -> SessionId {
    SessionId([n; 16])
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// What a node of this state would send on `link` now.
fn frame(from: &mut Sessions, now: Instant, link: u8) -> Frame {
    let seq = from.next_seq(now, from.seq + 1);
    copy(from, now, link, seq)
}

fn copy(from: &Sessions, now: Instant, link: u8, seq: u64) -> Frame {
    let (link_seq, link_hold) = from.link_echo(LinkId(link), now);
    let header = Header {
        speaks: 1,
        key: 1,
        link,
        piece: 0,
        pieces: 1,
        session: from.mine,
        seq,
        echo: from.echo(),
        link_seq,
        link_hold,
    };
    let beat = Beat {
        node: NodeState::Running,
        hears: 0,
        config: 0,
        notice: crate::cluster::message::Notice::default(),
        groups: Vec::new(),
        sections: Vec::new(),
        words: Words::default(),
    };
    Frame { header, body: Body { beat, candidates: from.candidates(now), keys: Vec::new() } }
}

fn judge(to: &mut Sessions, now: Instant, link: u8, frame: &Frame) -> Result<Verdict, Refusal> {
    to.judge(now, Arrival { link: LinkId(link), at: now }, frame.clone())
}

fn gone(mut frame: Frame) -> Frame {
    frame.body.beat.node = NodeState::Gone;
    frame
}

/// Two nodes that have proven themselves to each other by `now`.
fn pair(a: u8, b: u8) -> (Sessions, Sessions) {
    let (mut a, mut b) = (Sessions::new(id(a), DEADTIME), Sessions::new(id(b), DEADTIME));
    meet(&mut a, &mut b, ms(1000));
    (a, b)
}

fn meet(a: &mut Sessions, b: &mut Sessions, now: Instant) {
    let hello = frame(a, now, 0);
    assert_eq!(judge(b, now, 0, &hello), Ok(Verdict::Presence { newcomer: true }));
    let reply = frame(b, now, 0);
    assert!(matches!(judge(a, now, 0, &reply), Ok(Verdict::Fresh { adopted: true, .. })));
    let proof = frame(a, now, 0);
    assert!(matches!(judge(b, now, 0, &proof), Ok(Verdict::Fresh { adopted: true, .. })));
}

#[test]
fn three_packets_prove_both_sides() {
    let (mut a, mut b) = pair(1, 2);
    let beat = frame(&mut b, ms(1200), 0);
    assert!(matches!(judge(&mut a, ms(1200), 0, &beat), Ok(Verdict::Fresh { echo: 2, .. })));
}

#[test]
fn a_restarted_peer_is_adopted_in_one_round_trip() {
    let (_, mut b) = pair(1, 2);
    let mut again = Sessions::new(id(3), DEADTIME);
    meet(&mut again, &mut b, ms(1300));
    assert_eq!(b.peer().unwrap().session, id(3));
}

#[test]
fn a_packet_counts_once_on_whatever_link_it_is_played_back() {
    let (mut a, mut b) = pair(1, 2);
    let beat = frame(&mut a, ms(1200), 0);
    assert!(matches!(judge(&mut b, ms(1200), 0, &beat), Ok(Verdict::Fresh { .. })));
    for link in [0, 1] {
        assert_eq!(judge(&mut b, ms(1300), link, &beat), Err(Refusal::Replayed));
    }
    for n in 0..WINDOW {
        let beat = frame(&mut a, ms(1400 + n), 0);
        judge(&mut b, ms(1400 + n), 0, &beat).unwrap();
    }
    assert_eq!(judge(&mut b, ms(2000), 0, &beat), Err(Refusal::Old));
}

#[test]
fn a_copy_on_another_link_keeps_that_link_alive_and_is_no_news() {
    let (mut a, mut b) = pair(1, 2);
    let first = frame(&mut a, ms(1200), 0);
    let second = copy(&a, ms(1200), 1, first.header.seq);
    judge(&mut b, ms(1200), 0, &first).unwrap();
    let verdict = judge(&mut b, ms(1201), 1, &second);
    assert_eq!(verdict, Ok(Verdict::Alive { at: ms(1200), newest: false, adopted: false }));
    assert_eq!(b.trace(LinkId(1)).from, 1);
}

#[test]
fn packets_held_back_do_not_make_a_dead_peer_live_longer() {
    let (mut a, mut b) = pair(1, 2);
    let mut held_back = Vec::new();
    for n in 0..50 {
        let now = ms(1200 + n * 200);
        let beat = frame(&mut a, now, 0);
        held_back.push(copy(&a, now, 1, beat.header.seq));
        judge(&mut b, now, 0, &beat).unwrap();
    }
    let last = ms(1200 + 49 * 200);
    for (n, captured) in held_back.iter().enumerate() {
        let now = last.plus(Duration::from_millis(500 * (n as u64 + 1)));
        match judge(&mut b, now, 0, captured) {
            Ok(Verdict::Alive { at, .. }) => assert!(at <= last, "{at} is after {last}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_capture_of_an_earlier_session_is_never_adopted_though_it_echoes_us() {
    let (mut a, mut b) = pair(1, 2);
    let captured: Vec<Frame> = (0..5).map(|n| frame(&mut a, ms(1100 + n), 0)).collect();
    let mut again = Sessions::new(id(3), DEADTIME);
    meet(&mut again, &mut b, ms(1300));
    for packet in &captured {
        assert_eq!(judge(&mut b, ms(1400), 0, packet), Err(Refusal::Superseded));
    }
    assert_eq!(b.echo().session, id(3));
}

#[test]
fn an_old_echo_begins_no_session() {
    let mut a = Sessions::new(id(1), DEADTIME);
    let mut b = Sessions::new(id(2), DEADTIME);
    let theirs = frame(&mut b, ms(1000), 0);
    judge(&mut a, ms(1000), 0, &theirs).unwrap();
    let held_back = frame(&mut a, ms(1000), 0);
    let late = ms(1000).plus(DEADTIME + Duration::from_millis(1));
    assert_eq!(judge(&mut b, late, 0, &held_back), Ok(Verdict::Presence { newcomer: true }));
}

#[test]
fn captures_played_back_at_an_established_pair_change_nothing() {
    let (mut a, mut b) = pair(1, 2);
    let mut dead = Sessions::new(id(9), DEADTIME);
    for n in 0..100 {
        let now = ms(1200 + n * 10);
        let capture = frame(&mut dead, now, 0);
        assert!(matches!(judge(&mut b, now, 0, &capture), Ok(Verdict::Presence { .. })));
        let beat = frame(&mut b, now, 0);
        assert_eq!(beat.header.echo.session, id(1));
        assert!(matches!(judge(&mut a, now, 0, &beat), Ok(Verdict::Fresh { .. })));
        let beat = frame(&mut a, now, 0);
        assert!(matches!(judge(&mut b, now, 0, &beat), Ok(Verdict::Fresh { .. })));
    }
}

#[test]
fn nothing_is_believed_after_the_last_word() {
    let (mut a, mut b) = pair(1, 2);
    let held_back = frame(&mut a, ms(1100), 0);
    let last = gone(frame(&mut a, ms(1200), 0));
    let later = frame(&mut a, ms(1300), 0);
    assert!(matches!(judge(&mut b, ms(1200), 0, &last), Ok(Verdict::Fresh { .. })));
    for packet in [&held_back, &last, &later] {
        assert_eq!(judge(&mut b, ms(1300), 0, packet), Err(Refusal::Ended));
    }
    assert_eq!(b.echo(), Echo::default());
    let mut again = Sessions::new(id(3), DEADTIME);
    meet(&mut again, &mut b, ms(1400));
    assert_eq!(judge(&mut b, ms(1500), 0, &held_back), Err(Refusal::Superseded));
}

#[test]
fn a_farewell_signed_in_advance_is_believed_in_its_session_only() {
    let (mut a, mut b) = pair(1, 2);
    let farewell = gone(copy(&a, ms(1000), 0, FAREWELL_SEQ));
    for n in 0..200 {
        let beat = frame(&mut a, ms(1100 + n), 0);
        judge(&mut b, ms(1100 + n), 0, &beat).unwrap();
    }
    let verdict = judge(&mut b, ms(9000), 0, &farewell);
    assert!(matches!(verdict, Ok(Verdict::Fresh { .. })), "{verdict:?}");
    assert_eq!(judge(&mut b, ms(9000), 0, &farewell), Err(Refusal::Ended));
    let mut again = Sessions::new(id(3), DEADTIME);
    meet(&mut again, &mut b, ms(9100));
    assert_eq!(judge(&mut b, ms(9200), 0, &farewell), Err(Refusal::Superseded));
    let (_, mut other) = pair(1, 4);
    assert_eq!(judge(&mut other, ms(9200), 0, &farewell), Err(Refusal::Unproven));
    let lively = copy(&a, ms(1000), 0, FAREWELL_SEQ + 1);
    assert_eq!(judge(&mut b, ms(9200), 0, &lively), Err(Refusal::Value));
}

#[test]
fn an_echo_of_the_future_is_refused() {
    let (mut a, mut b) = pair(1, 2);
    let mut beat = frame(&mut a, ms(1200), 0);
    beat.header.echo.seq = b.seq + 1;
    assert_eq!(judge(&mut b, ms(1200), 0, &beat), Err(Refusal::Future));
}

#[test]
fn a_packet_from_before_its_own_proof_is_not_believed() {
    let mut a = Sessions::new(id(1), DEADTIME);
    let mut b = Sessions::new(id(2), DEADTIME);
    let before = frame(&mut a, ms(900), 0);
    meet(&mut a, &mut b, ms(1000));
    assert_eq!(judge(&mut b, ms(1100), 0, &before), Err(Refusal::Unproven));
}

fn piece(of: &Frame, piece: u8, pieces: u8, group: &str) -> Frame {
    let mut frame = of.clone();
    frame.header.piece = piece;
    frame.header.pieces = pieces;
    frame.body.beat.groups = vec![GroupClaim {
        group: crate::names::GroupName::new(group).unwrap(),
        epoch: 1,
        hold: crate::cluster::message::Hold::Nothing,
        wish: crate::cluster::message::Wish::Content,
        via: None,
        unrest: crate::cluster::message::Unrest::default(),
    }];
    frame
}

#[test]
fn the_core_gets_whole_beats_only_whatever_the_order_of_the_pieces() {
    let (mut a, mut b) = pair(1, 2);
    let whole = frame(&mut a, ms(1200), 0);
    let pieces = [piece(&whole, 2, 3, "c"), piece(&whole, 0, 3, "a"), piece(&whole, 1, 3, "b")];
    for (part, newest) in pieces[..2].iter().zip([true, false]) {
        let verdict = judge(&mut b, ms(1200), 0, part);
        assert_eq!(verdict, Ok(Verdict::Alive { at: ms(1200), newest, adopted: false }));
    }
    let before = b.echo().seq;
    match judge(&mut b, ms(1201), 0, &pieces[2]) {
        Ok(Verdict::Fresh { beat, .. }) => {
            let names: Vec<_> = beat.groups.iter().map(|claim| claim.group.as_str()).collect();
            assert_eq!(names, ["a", "b", "c"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((before + 1, b.echo().seq), (whole.header.seq, whole.header.seq));
}

#[test]
fn pieces_that_do_not_belong_together_are_refused() {
    let (mut a, mut b) = pair(1, 2);
    let whole = frame(&mut a, ms(1200), 0);
    judge(&mut b, ms(1200), 0, &piece(&whole, 0, 3, "a")).unwrap();
    let other = piece(&whole, 1, 2, "b");
    assert_eq!(judge(&mut b, ms(1200), 0, &other), Err(Refusal::Value));
    let whole = frame(&mut a, ms(1200), 0);
    judge(&mut b, ms(1200), 0, &piece(&whole, 0, 2, "a")).unwrap();
    assert_eq!(judge(&mut b, ms(1200), 0, &piece(&whole, 1, 2, "a")), Err(Refusal::Groups));
}

#[test]
fn an_echo_tells_the_core_which_beat_the_peer_knows_even_when_it_stays() {
    let (mut a, mut b) = pair(1, 2);
    // Copies have their own sequence numbers, and the number of the beat they repeat.
    for n in 0..3 {
        let seq = b.next_seq(ms(1100 + n), 40);
        let beat = copy(&b, ms(1100 + n), 0, seq);
        judge(&mut a, ms(1100 + n), 0, &beat).unwrap();
    }
    let mut known = Vec::new();
    for n in 0..300 {
        b.next_seq(ms(1200 + n), 41 + n);
        let beat = frame(&mut a, ms(1200 + n), 0);
        match judge(&mut b, ms(1200 + n), 0, &beat) {
            Ok(Verdict::Fresh { echo, .. }) => known.push(echo),
            other => panic!("{other:?}"),
        }
    }
    known.dedup();
    assert_eq!(known, [40]);
}

#[test]
fn round_trips_leave_out_the_time_the_peer_held_them() {
    let (mut a, mut b) = pair(1, 2);
    let beat = frame(&mut a, ms(2000), 0);
    judge(&mut b, ms(2010), 0, &beat).unwrap();
    let answer = frame(&mut b, ms(2110), 0);
    judge(&mut a, ms(2120), 0, &answer).unwrap();
    assert_eq!(a.trace(LinkId(0)).rtt, Some(Duration::from_millis(20)));
    // One sample per packet of ours, smoothed.
    for hold in [0, 36] {
        let beat = frame(&mut a, ms(3000 + hold), 0);
        judge(&mut b, ms(3000 + hold), 0, &beat).unwrap();
        let answer = frame(&mut b, ms(3000 + hold), 0);
        judge(&mut a, ms(3000 + hold), 0, &answer).unwrap();
    }
    assert_eq!(
        a.trace(LinkId(0)).rtt,
        Some(Duration::from_micros(15_312) + Duration::from_nanos(500))
    );
}

#[test]
fn loss_is_counted_per_link() {
    let (mut a, mut b) = pair(1, 2);
    for n in 0..63 {
        let beat = frame(&mut a, ms(1200), 0);
        judge(&mut b, ms(1200), 0, &beat).unwrap();
        if n % 2 == 0 {
            let other = copy(&a, ms(1200), 1, beat.header.seq);
            judge(&mut b, ms(1200), 1, &other).unwrap();
        }
    }
    assert_eq!(b.loss(LinkId(0)), (0, 64));
    assert_eq!(b.loss(LinkId(1)), (31, 63));
    assert_eq!(b.loss(LinkId(2)), (0, 0));
}
