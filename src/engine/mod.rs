//! The cluster core and the wire format bound together: datagrams in, datagrams and orders out.
//!
//! Pure as its parts: no socket, no clock. It seals what the core says for every link, opens what
//! comes in, hands the core only what the session layer believes, answers a peer that has just
//! started without waiting for the next beat, and keeps a signed farewell ready for whoever
//! outlives the core. It decides nothing about groups (`cluster`) and knows no sockets (`link`);
//! `daemon::beat` drives it.

mod recorded;
mod rekey;
mod view;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use self::rekey::Pending;
pub use self::rekey::RekeyError;
pub use self::view::{LinkView, PeerKey, PeerSession, SecurityView, View};
use self::words::Telling;
use crate::cluster::event::{self, Action, Answer, Event, Outcome, OutsideOrder, Request};
use crate::cluster::message::{Beat, LINKS_MAX, NodeState, Verdicts, Word, Words};
use crate::cluster::{self, Carried, Core, Settings};
use crate::keys::KeyRing;
use crate::names::{ActionId, GroupId, GroupName, LinkId, NodeName, RequestId};
use crate::time::Instant;
use crate::wire::auth::{Auth, KeyCheck, KeyError};
use crate::wire::frame::{self, Echo, Extras, Header, VERSION};
use crate::wire::session::{Arrival, FAREWELL_SEQ, Sessions, Verdict};
use crate::wire::{Refusal, SessionId};

/// At most this many beats a deadtime that only serve to answer a newcomer: whoever plays back
/// captures must not make us talk more than that.
const ANSWERS_PER_DEADTIME: u32 = 16;

/// What the engine needs of a cluster core; [`crate::cluster`] has the real one, tests have
/// simple ones.
pub trait Heart {
    /// What it shows of itself.
    type View;
    /// Something happened.
    fn handle(&mut self, now: Instant, input: event::Input);
    /// The next order. The n-th [`event::Output::Send`] is beat number n, from 1.
    fn poll(&mut self) -> Option<event::Output>;
    /// When it wants a tick at the latest, and why.
    fn deadline(&self) -> (Instant, &'static str);
    /// Its last word, in case that it can't speak any more.
    fn farewell(&self) -> Beat;
    /// Our own address on a group's service LAN.
    fn set_via(&mut self, group: GroupId, via: Option<IpAddr>);
    /// Whether the peer may have taken over during a stall of ours.
    fn in_doubt(&self) -> bool;
    /// One picture of everything.
    fn view(&self, now: Instant) -> Self::View;
}

impl Heart for Core {
    type View = cluster::View;

    fn handle(&mut self, now: Instant, input: event::Input) {
        self.handle(now, input);
    }

    fn poll(&mut self) -> Option<event::Output> {
        self.poll()
    }

    fn deadline(&self) -> (Instant, &'static str) {
        self.deadline()
    }

    fn farewell(&self) -> Beat {
        self.farewell()
    }

    fn set_via(&mut self, group: GroupId, via: Option<IpAddr>) {
        self.set_via(group, via);
    }

    fn in_doubt(&self) -> bool {
        self.in_doubt()
    }

    fn view(&self, now: Instant) -> cluster::View {
        self.view(now)
    }
}

/// Who we are on the wire.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This node.
    pub node: NodeName,
    /// The other one.
    pub peer: NodeName,
    /// Drawn at random for this start; never zero, never used before.
    pub session: [u8; 16],
    /// How many links there are; at most [`LINKS_MAX`].
    pub links: u8,
    /// Of the configuration: how old an echo may be that begins a session.
    pub deadtime: Duration,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A datagram came in. [`Engine::hear`] takes it without a copy.
    Datagram {
        /// Where.
        link: LinkId,
        /// When the kernel received it.
        at: Instant,
        /// What.
        bytes: Vec<u8>,
    },
    /// The operator asks for something.
    Request {
        /// To be repeated in the answer.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// A resource action ended.
    Ended {
        /// Which one.
        action: ActionId,
        /// How.
        outcome: Outcome,
    },
    /// Our own address on a group's service LAN.
    Via {
        /// The group.
        group: GroupId,
        /// The address, where there is one.
        via: Option<IpAddr>,
    },
    /// The configuration was read again; the answer says whether the core goes by it now.
    Settings {
        /// To be repeated in the answer.
        id: RequestId,
        /// All of them.
        settings: Box<Settings>,
        /// Groups with other resources than before.
        changed: Vec<GroupName>,
        /// The keys of now; those that would cut off the peer are refused, and the settings too.
        keys: KeyRing,
    },
    /// What operators have ordered of real servers, all of it; replaces what was said before.
    Words {
        /// Stands for what is in force; 0: nothing.
        digest: u64,
        /// Every order that is known.
        all: Vec<Word>,
    },
    /// The director's verdicts for a standby that goes by them, all of them.
    Verdicts(Verdicts),
    /// What only the core understands: an answer to one of its questions, or something observed.
    Core(event::Input),
    /// Nothing but the passing of time. All sockets must have been read before.
    Tick,
}

/// An order to the driver, to be obeyed in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a beat to the peer.
    Send {
        /// On this link.
        link: LinkId,
        /// Datagrams of at most [`crate::wire::DATAGRAM_MAX`] bytes; one, or several that only
        /// together say everything.
        pieces: Vec<Vec<u8>>,
    },
    /// Start or stop one resource.
    Run(Action),
    /// Look at a resource; answer with [`event::Input::Monitored`].
    Monitor {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The resource's place in its list.
        resource: usize,
    },
    /// Ask the service LAN; answer with [`event::Input::Probed`].
    Probe {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The peer's own address there.
        peer: Option<IpAddr>,
    },
    /// Something to be asked or done outside the pair.
    Outside(OutsideOrder),
    /// Announce the addresses of an active group again.
    Announce(GroupId),
    /// The end of an operator's request.
    Answer {
        /// The request's.
        id: RequestId,
        /// The result.
        answer: Answer,
    },
    /// What the peer's operators have ordered; told again and again while the two nodes differ.
    Words(Vec<Word>),
    /// Some of the peer's director's verdicts.
    Verdicts(Verdicts),
    /// For journal and log.
    Report(Event),
    /// The farewell to be sent by whoever outlives the core, once everything is released. It
    /// replaces the one before; empty: there is nobody to say it to.
    Gasp(Vec<(LinkId, Vec<u8>)>),
    /// Write down what the next process is to know; answer with [`event::Input::Written`].
    Carry {
        /// To be repeated in the answer.
        order: ActionId,
        /// What it is to know.
        carried: Carried,
    },
    /// The process ends with everything held; the kernel is to serve on for a while.
    Paused,
    /// We have left; the process may end.
    Left,
}

/// One node, on the wire; `H` is its core.
#[derive(Debug)]
pub struct Engine<H = Core> {
    heart: H,
    /// Ours and the peer's.
    names: (NodeName, NodeName),
    auth: Auth,
    checks: Vec<KeyCheck>,
    sessions: Sessions,
    links: u8,
    deadtime: Duration,
    /// With settings that the core has not answered yet.
    pending: Option<Pending>,
    outputs: VecDeque<Output>,
    /// How many beats the core has said.
    beats: u64,
    said: Option<Said>,
    /// The last beat believed, and the echo that came with it.
    heard: Option<(Beat, u64)>,
    /// When a copy of the last beat is to be sent, for a newcomer.
    owed: Option<Instant>,
    answered: Instant,
    farewell: Option<(SessionId, Beat)>,
    telling: Telling,
    counters: Counters,
}

/// The last beat, and what the core had been told of when it said it.
#[derive(Debug)]
struct Said {
    beat: Beat,
    told: Echo,
}

#[derive(Debug, Default)]
struct Counters {
    refused: BTreeMap<Refusal, u64>,
    links: [LinkCounters; LINKS_MAX],
}

#[derive(Debug, Default, Clone, Copy)]
struct LinkCounters {
    believed: u64,
    refused: u64,
}

impl<H: Heart> Engine<H> {
    /// Its core, to look at.
    pub fn heart(&self) -> &H {
        &self.heart
    }

    /// Its core, for what is no happening of the cluster.
    pub fn heart_mut(&mut self) -> &mut H {
        &mut self.heart
    }

    /// Whether the peer may have taken over during a stall of ours, and we do not know yet.
    pub fn in_doubt(&self) -> bool {
        self.heart.in_doubt()
    }

    /// A node that has just started.
    ///
    /// # Errors
    /// [`KeyError`] when there is no key, an empty one, or one id twice.
    pub fn new(
        heart: H,
        identity: &Identity,
        keys: &KeyRing,
        now: Instant,
    ) -> Result<Self, KeyError> {
        let auth = rekey::auth((&identity.node, &identity.peer), keys)?;
        let links = identity.links.min(u8::try_from(LINKS_MAX).unwrap_or(u8::MAX));
        Ok(Self {
            heart,
            names: (identity.node.clone(), identity.peer.clone()),
            checks: auth.checks(),
            auth,
            sessions: Sessions::new(SessionId(identity.session), identity.deadtime),
            links,
            deadtime: identity.deadtime,
            pending: None,
            outputs: VecDeque::new(),
            beats: 0,
            said: None,
            heard: None,
            owed: None,
            answered: now.minus(identity.deadtime),
            farewell: None,
            telling: Telling::default(),
            counters: Counters::default(),
        })
    }

    /// Something happened, seen at `now`. The orders that follow are in [`Engine::poll`], which
    /// is to be emptied before the next call.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { link, at, bytes } => {
                return self.hear(now, Arrival { link, at }, &bytes);
            }
            Input::Request { id, request } => {
                self.heart.handle(now, event::Input::Request { id, request });
            }
            Input::Ended { action, outcome } => {
                self.heart.handle(now, event::Input::Ended { action, outcome });
            }
            Input::Via { group, via } => self.heart.set_via(group, via),
            Input::Settings { id, settings, changed, keys } => match self.rekeyed(now, &keys) {
                Ok(auth) => {
                    self.pending = Some(Pending { id, deadtime: settings.deadtime, auth });
                    self.heart.handle(now, event::Input::Settings { id, settings, changed });
                }
                Err(why) => {
                    let answer = Answer::Refused { why: format!("keys: {why}") };
                    self.outputs.push_back(Output::Answer { id, answer });
                }
            },
            Input::Words { digest, all } => self.telling.replace(digest, all),
            Input::Verdicts(verdicts) => self.telling.judge(verdicts),
            Input::Core(input) => self.heart.handle(now, input),
            Input::Tick => self.heart.handle(now, event::Input::Tick),
        }
        self.obey(now);
    }

    /// A datagram came in.
    pub fn hear(&mut self, now: Instant, arrival: Arrival, bytes: &[u8]) {
        let opened = frame::open(bytes, &self.auth);
        let judged = opened.and_then(|frame| self.sessions.judge(now, arrival, frame));
        let counters = self.counters.links.get_mut(usize::from(arrival.link.0));
        match judged {
            Err(reason) => {
                *self.counters.refused.entry(reason).or_default() += 1;
                if let Some(link) = counters {
                    link.refused += 1;
                }
            }
            Ok(verdict) => {
                if let Some(link) = counters {
                    link.believed += u64::from(!matches!(verdict, Verdict::Presence { .. }));
                }
                self.believe(now, arrival, verdict);
                self.obey(now);
            }
        }
    }

    /// The next order, in the order in which they must be obeyed.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::handle`] with a tick at the latest, and why.
    pub fn deadline(&self) -> (Instant, &'static str) {
        let core = self.heart.deadline();
        match self.owed {
            Some(at) if at < core.0 => (at, "handshake"),
            Some(_) | None => core,
        }
    }

    /// One picture of everything, at `now`.
    pub fn view(&self, now: Instant) -> View<H::View> {
        View {
            cluster: self.heart.view(now),
            links: (0..self.links).map(|link| self.link_view(LinkId(link))).collect(),
            security: self.security_view(),
            peer_words: self.telling.theirs(),
        }
    }

    fn believe(&mut self, now: Instant, arrival: Arrival, verdict: Verdict) {
        let link = arrival.link;
        match verdict {
            Verdict::Fresh { mut beat, at, echo, adopted } => {
                self.greet(now, adopted);
                self.outputs.extend(beat.words.verdicts.take().map(Output::Verdicts));
                let told = self.telling.heard(std::mem::take(&mut beat.words));
                self.outputs.extend(told.map(Output::Words));
                self.heard = Some((beat.clone(), echo));
                self.heart.handle(now, event::Input::Heard { link, at, beat, echo });
            }
            Verdict::Alive { at, newest, adopted } => {
                self.greet(now, adopted);
                self.heart.handle(now, self.alive(link, at, newest));
            }
            Verdict::Presence { newcomer } => {
                *self.counters.refused.entry(Refusal::Unproven).or_default() += 1;
                if newcomer {
                    let gap = self.deadtime / ANSWERS_PER_DEADTIME;
                    self.owed = Some(now.max(self.answered.plus(gap)));
                }
                self.heart.handle(now, event::Input::Presence { at: arrival.at });
            }
            Verdict::Piece => {}
        }
    }

    /// A session began: what the one before said is over, and the peer waits for our echo.
    fn greet(&mut self, now: Instant, adopted: bool) {
        if adopted {
            self.heard = None;
            self.telling.greet();
            self.owed = Some(now);
        }
    }

    /// A piece of the newest beat proves the node alive as much as the whole would; its state is
    /// the last that is known.
    fn alive(&self, link: LinkId, at: Instant, newest: bool) -> event::Input {
        match &self.heard {
            None => event::Input::Presence { at },
            Some((beat, echo)) if newest => {
                event::Input::Heard { link, at, beat: beat.clone(), echo: *echo }
            }
            Some(_) => event::Input::Copy { link, at },
        }
    }

    /// Turns the core's orders into ours.
    fn obey(&mut self, now: Instant) {
        let mut spoke = false;
        while let Some(output) = self.heart.poll() {
            match output {
                event::Output::Send(beat) => {
                    self.say(now, beat);
                    spoke = true;
                }
                event::Output::Run(action) => self.outputs.push_back(Output::Run(action)),
                event::Output::Monitor { order, group, resource } => {
                    self.outputs.push_back(Output::Monitor { order, group, resource });
                }
                event::Output::Probe { order, group, peer } => {
                    self.outputs.push_back(Output::Probe { order, group, peer });
                }
                event::Output::Outside(order) => self.outputs.push_back(Output::Outside(order)),
                event::Output::Announce(group) => self.outputs.push_back(Output::Announce(group)),
                event::Output::Answer { id, answer } => {
                    self.settled(id, &answer);
                    self.outputs.push_back(Output::Answer { id, answer });
                }
                event::Output::Report(event) => self.outputs.push_back(Output::Report(event)),
                event::Output::Carry { order, carried } => {
                    self.outputs.push_back(Output::Carry { order, carried });
                }
                event::Output::Paused => self.outputs.push_back(Output::Paused),
                event::Output::Left => self.outputs.push_back(Output::Left),
            }
        }
        if !spoke && self.owed.is_some_and(|at| at <= now) {
            self.repeat(now);
        }
        self.prepare_farewell();
    }

    fn say(&mut self, now: Instant, beat: Beat) {
        let beat = Beat { words: self.telling.next(), ..beat };
        self.beats += 1;
        let told = self.sessions.echo();
        let candidates = self.sessions.candidates(now);
        self.send(now, &beat, told, &candidates);
        self.said = Some(Said { beat, told });
    }

    /// Sends the last beat once more, for its proof of freshness. The header's echo stays what it
    /// was: the peer takes it for consent with all that it echoes, and the core has not spoken
    /// since. What we have heard beyond stands among the candidates, where it proves us alive
    /// and consents to nothing.
    fn repeat(&mut self, now: Instant) {
        self.owed = None;
        // Before its first word the core will say it at once; after its last there is none.
        let Some(Said { beat, told }) = self.said.take() else { return };
        let last_word = beat.node == NodeState::Gone;
        if !last_word {
            let proven = self.sessions.echo();
            let same = told.session == proven.session;
            let header = if same { told } else { Echo { seq: 0, ..proven } };
            let mut candidates = self.sessions.candidates(now);
            candidates.extend((proven != Echo::default()).then_some(proven));
            self.answered = now;
            self.send(now, &beat, header, &candidates);
        }
        self.said = Some(Said { beat, told });
    }

    fn send(&mut self, now: Instant, beat: &Beat, echo: Echo, candidates: &[Echo]) {
        self.owed = None;
        let seq = self.sessions.next_seq(now, self.beats);
        for link in (0..self.links).map(LinkId) {
            let heard_here = self.sessions.link_echo(link, now);
            let header = self.header(link, seq, echo, heard_here);
            let extras = Extras { candidates, keys: &self.checks };
            let pieces = frame::seal(&header, beat, extras, &self.auth);
            self.outputs.push_back(Output::Send { link, pieces });
        }
    }

    fn header(&self, link: LinkId, seq: u64, echo: Echo, heard_here: (u64, u32)) -> Header {
        Header {
            speaks: VERSION,
            key: self.auth.signing(),
            link: link.0,
            piece: 0,
            pieces: 1,
            session: self.sessions.mine(),
            seq,
            echo,
            link_seq: heard_here.0,
            link_hold: heard_here.1,
        }
    }

    /// Signs the farewell anew when the sessions or what it says have changed.
    fn prepare_farewell(&mut self) {
        let echo = self.sessions.echo();
        if echo == Echo::default() {
            if self.farewell.take().is_some() {
                self.outputs.push_back(Output::Gasp(Vec::new()));
            }
            return;
        }
        let beat = Beat { hears: 0, words: Words::default(), ..self.heart.farewell() };
        let ready = self.farewell.as_ref();
        if ready.is_some_and(|(session, said)| *session == echo.session && *said == beat) {
            return;
        }
        // It consents to nothing: by the time it is used, it may be old.
        let echo = Echo { seq: 0, ..echo };
        let mut datagrams = Vec::new();
        for link in (0..self.links).map(LinkId) {
            let header = self.header(link, FAREWELL_SEQ, echo, (0, 0));
            let extras = Extras { candidates: &[], keys: &self.checks };
            let sealed = frame::seal(&header, &beat, extras, &self.auth);
            datagrams.extend(sealed.into_iter().map(|bytes| (link, bytes)));
        }
        self.farewell = Some((echo.session, beat));
        self.outputs.push_back(Output::Gasp(datagrams));
    }
}

#[cfg(test)]
mod tests;
