//! Explains a group in plain words: its last change and what led to it, why nothing else happened,
//! and what would happen if a node died now (asked of a clone of the core).

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::event::{Event, GroupState, LanAnswer, ServiceLink};
use crate::cluster::message::{Extent, Hold, Wish};
use crate::cluster::{
    ArbiterView, Core, Evidence, Expected, GroupView, LinkState, NodeView, PeerLife, View,
};
use crate::journal::because::{Because, Stall};
use crate::journal::words::{bar_words, cause_words, freeze_words, state_word};
use crate::journal::{Happening, Record, printable, wall};
use crate::names::{GroupName, LinkName};
use crate::time::Instant;

/// Everything about some groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// This node.
    pub node: String,
    /// One for each group that was asked for.
    pub groups: Vec<Explained>,
}

/// Everything about one group, in sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Which.
    pub group: String,
    /// How it stands; `None` when the daemon was not asked.
    pub now: Option<String>,
    /// The last change of its role here.
    pub last: Option<Record>,
    /// What led to it.
    pub why: Vec<String>,
    /// Why this node does no more than it does.
    pub not: Vec<String>,
    /// What this node would do if the peer died now.
    pub if_peer_died: Vec<String>,
    /// What the peer would do if this node died now.
    pub if_we_died: Vec<String>,
}

/// What an explanation is made of, beside the journal.
#[derive(Debug, Clone, Copy)]
pub struct Present<'a> {
    /// The core as it is now.
    pub core: &'a Core,
    /// Now, on the boot clock.
    pub now: Instant,
    /// This node's links, in order.
    pub links: &'a [LinkName],
}

/// The last role change of a group; `records` newest first.
pub fn last_change<'a>(
    mut records: impl Iterator<Item = &'a Record>,
    group: &str,
) -> Option<&'a Record> {
    records.find(|record| match &record.what {
        Some(Happening::Cluster(Event::Role { group: name, .. })) => name.as_str() == group,
        _ => false,
    })
}

/// Explains one group of a running node.
pub fn explain(present: &Present<'_>, group: &GroupName, last: Option<&Record>) -> Explained {
    let view = present.core.view(present.now);
    let seen = view.groups.iter().find(|seen| seen.name == *group);
    let mut explained = recorded(present.links, group.as_str(), last);
    explained.now = seen.map(|seen| stands(seen, &view));
    explained.not = seen.map(|seen| not(seen, &view, present)).unwrap_or_default();
    explained.if_peer_died =
        seen.map(|seen| if_peer_died(seen, &view, present)).unwrap_or_default();
    explained.if_we_died = seen.map(|seen| if_we_died(seen, &view, present)).unwrap_or_default();
    explained
}

/// Explains one group by the journal alone.
pub fn recorded(links: &[LinkName], group: &str, last: Option<&Record>) -> Explained {
    let because = last.and_then(|record| record.because.as_ref());
    Explained {
        group: group.to_owned(),
        now: None,
        last: last.cloned(),
        why: because.map(|because| why(links, because)).unwrap_or_default(),
        not: Vec::new(),
        if_peer_died: Vec::new(),
        if_we_died: Vec::new(),
    }
}

fn stands(seen: &GroupView, view: &View) -> String {
    let here = state_word(seen.state);
    let holder = seen.holder.as_ref().map_or("nobody", |holder| holder.as_str());
    format!("{here} on {}, held by {holder}, epoch {}", view.node, seen.epoch)
}

/// The cause chain of a change.
fn why(links: &[LinkName], because: &Because) -> Vec<String> {
    let mut lines = vec![format!("it began with: {}", cause_words(because.origin))];
    if let Some(asked) = because.asked {
        let by = asked.by.map_or_else(|| "a signal".to_owned(), |by| by.to_string());
        lines.push(format!("asked for by {by} (request {})", asked.id));
    }
    let evidence = &because.evidence;
    lines.push(format!("the peer was {}", peer_words(evidence)));
    for (place, link) in evidence.links.iter().enumerate() {
        let number = || format!("number {place}");
        let name = links.get(place).map_or_else(number, ToString::to_string);
        lines.push(match (link.heard_ms, link.state) {
            (Some(ms), _) => format!("link {name}: last heard {ms} ms before"),
            (None, LinkState::Down) => format!("link {name}: never heard"),
            (None, _) => format!("link {name}: nothing heard since the peer's last session"),
        });
    }
    lines.extend(evidence.theirs.map(|theirs| {
        format!("the peer said: {}, {}", hold_words(theirs.hold), wish_words(theirs.wish))
    }));
    lines.extend(evidence.probed.map(|probed| {
        format!("the service LAN, asked {} ms before: {}", probed.ago_ms, lan_words(probed.answer))
    }));
    if evidence.service == ServiceLink::Down {
        lines.push("this node's own way to its clients was down".to_owned());
    }
    lines.extend(evidence.arbiters.iter().filter_map(arbiter));
    lines.extend(evidence.fence.as_ref().map(|fence| format!("fencing: {fence}")));
    lines.push(stalls(&because.stalls));
    lines.extend(because.failures.iter().cloned());
    lines.extend(because.overlap_ms.map(|ms| format!("both nodes served for {ms} ms, as agreed")));
    lines
}

/// What an arbiter said, and when; nothing where it was not asked.
fn arbiter(view: &ArbiterView) -> Option<String> {
    let (answer, ago) = (view.answer.as_ref()?, view.ago_ms?);
    Some(format!("{} (asked {ago} ms before)", answer.words(&view.name)))
}

fn peer_words(evidence: &Evidence) -> String {
    match evidence.peer {
        PeerLife::Unknown => "not heard of since our start".to_owned(),
        PeerLife::Alive => format!("alive, heard {} ms before", evidence.silent_ms),
        PeerLife::Dead => format!("dead, silent for {} ms", evidence.silent_ms),
        PeerLife::Left => "gone in good order".to_owned(),
    }
}

fn lan_words(answer: LanAnswer) -> &'static str {
    match answer {
        LanAnswer::Free => "nobody answers for its addresses",
        LanAnswer::Served => "the peer answers for its addresses",
        LanAnswer::Stranger => "a stranger answers for one of its addresses",
        LanAnswer::Unknown => "there was no answer in time, or it could not be asked",
    }
}

fn hold_words(hold: Hold) -> &'static str {
    match hold {
        Hold::Nothing => "it holds nothing of it",
        Hold::Claiming => "it is about to take it",
        Hold::Starting => "it starts it",
        Hold::Active => "it serves it",
        Hold::Stopping => "it stops it",
        Hold::Stuck => "it could not stop a part of it",
    }
}

fn wish_words(wish: Wish) -> &'static str {
    match wish {
        Wish::Content => "and wants nothing else",
        Wish::Take => "and wants to have it",
        Wish::Offer => "and offers it",
        Wish::Decline => "and can't take it",
    }
}

fn stalls(stalls: &[Stall]) -> String {
    if stalls.is_empty() {
        return "no stall of our own in the two minutes before".to_owned();
    }
    let each = stalls.iter();
    let each: Vec<String> =
        each.map(|stall| format!("{} ms, {} ms before", stall.late_ms, stall.ago_ms)).collect();
    format!("stalls of our own: {}", each.join("; "))
}

/// Why this node does no more than it does.
fn not(seen: &GroupView, view: &View, present: &Present<'_>) -> Vec<String> {
    if seen.state == GroupState::Active {
        return vec!["it is served here".to_owned()];
    }
    let mut lines = Vec::new();
    lines.extend(match view.state {
        NodeView::Booting => Some("this node waits for the peer, or for initdead"),
        NodeView::Validating => Some("this node stood still and waits to be heard by the peer"),
        NodeView::Restarting => Some("this node is being restarted"),
        NodeView::Leaving | NodeView::Left => Some("this node gives everything away"),
        NodeView::Running => None,
    });
    let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
    let evidence = present.core.evidence(present.now, &seen.name);
    lines.push(format!("the peer is {}", peer_words(&evidence).replace(" before", " ago")));
    lines.extend(evidence.theirs.map(|it| format!("the peer says: {}", hold_words(it.hold))));
    lines.extend(seen.jeopardy.map(|bar| bar_words(bar).to_owned()));
    lines.extend(seen.arbiters.iter().filter_map(arbiter));
    lines.extend(evidence.fence.as_ref().map(|fence| format!("fencing: {fence}")));
    if view.freeze.extent != Extent::Nothing {
        lines.push(freeze_words(view.freeze.extent).to_owned());
    }
    lines.extend(seen.held_down_s.map(|left| {
        format!("it has switched by itself too often and stays where it is for {left} s more")
    }));
    lines.extend(seen.pending.map(|pending| format!("{pending} is under way")));
    lines.extend(seen.setback.as_ref().map(|why| format!("the last try: {why}")));
    lines
}

fn if_peer_died(seen: &GroupView, view: &View, present: &Present<'_>) -> Vec<String> {
    let peer = &view.peer.node;
    if matches!(view.peer.state, PeerLife::Dead | PeerLife::Left) {
        return vec![format!("{peer} is not there already")];
    }
    let expected = present.core.if_peer_fell_silent(present.now);
    let all: Vec<&Expected> = expected.iter().filter(|it| it.group == seen.name).collect();
    let name = &view.node;
    vec![match (all.iter().find(|it| it.state == GroupState::Starting), all.last()) {
        (None, None) if seen.state == GroupState::Active => {
            format!("{name} would go on to serve it")
        }
        (Some(begin), Some(end)) if end.state == GroupState::Active => format!(
            "{name} would start it {} after the last beat: {}",
            seconds(begin.after),
            cause_words(begin.cause)
        ),
        (_, Some(end)) => format!("it would be {} on {name}", state_word(end.state)),
        (_, None) => format!("{name} would not take it: it is {} there", state_word(seen.state)),
    }]
}

fn if_we_died(seen: &GroupView, view: &View, present: &Present<'_>) -> Vec<String> {
    let peer = &view.peer.node;
    let Some(expected) = present.core.if_we_fell_silent(present.now) else {
        return vec![format!("nobody would serve it: {peer} is not in service")];
    };
    let theirs = present.core.evidence(present.now, &seen.name).theirs;
    if theirs.is_some_and(|it| it.hold == Hold::Active) {
        return vec![format!("{peer} would go on to serve it")];
    }
    let mut begin = expected.iter().filter(|it| it.group == seen.name);
    let begin = begin.find(|it| it.state == GroupState::Starting);
    let mut lines = vec![match begin {
        Some(begin) => format!(
            "{peer} would start it {} after our last beat; at once if only our core process died",
            seconds(begin.after)
        ),
        None => format!("{peer} would not take it"),
    }];
    if theirs.is_some_and(|it| it.wish == Wish::Decline) {
        lines.push(format!("{peer} could not start it the last time and may fail again"));
    }
    lines
}

fn seconds(span: Duration) -> String {
    format!("{}.{:03} s", span.as_secs(), span.subsec_millis())
}

/// The explanation for people.
pub fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    for group in &explanation.groups {
        // Writing to a String can't fail.
        let _infallible = render_group(&mut out, group);
    }
    out
}

fn render_group(out: &mut String, group: &Explained) -> std::fmt::Result {
    match &group.now {
        Some(now) => writeln!(out, "{}: {}", printable(&group.group), printable(now))?,
        None => writeln!(out, "{}", printable(&group.group))?,
    }
    match &group.last {
        Some(last) => {
            writeln!(out, "  last change, {}: {}", wall(last.wall_ms), printable(&last.text))?;
        }
        None => writeln!(out, "  no change of its role is in the journal")?,
    }
    part(out, "why", &group.why)?;
    part(out, "why nothing else", &group.not)?;
    part(out, "if the peer died now", &group.if_peer_died)?;
    part(out, "if this node died now", &group.if_we_died)
}

fn part(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {title}:")?;
    lines.iter().try_for_each(|line| writeln!(out, "    {}", printable(line)))
}
