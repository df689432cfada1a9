//! The beat thread: runs the engine on time, whatever else the machine does.
//!
//! ```text
//!            orders (bounded, eventfd)            notes (bounded)
//!  daemon ------------------------------> beat ------------------------------> daemon
//!                                          | ^
//!                                  sockets v |  timerfd on CLOCK_BOOTTIME
//! ```
//!
//! A plain thread, not a task: SCHED_FIFO where allowed, absolute deadlines, sockets read to the
//! bottom before any verdict. Nothing in it waits for anybody: it takes orders with a try-lock,
//! and what the daemon is too slow to take waits in a backlog that the core's own limits bound.
//! It ends when the core has left, and also, without a word, when the daemon is gone: a node that
//! beats and can't act would keep the peer from acting.

mod orders;
mod view;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

pub use self::orders::{Full, Orders};
pub use self::view::{Pace, View};
use self::watch::Watch;
use crate::cluster::Settings;
use crate::cluster::event::{self, Action, Answer, Event, Outcome, OutsideOrder, Request};
use crate::cluster::message::{Verdicts, Word};
use crate::cluster::recording::{Recorder, Recording};
use crate::cluster::{Carried, Core, Evidence};
use crate::config::PRIORITY;
use crate::engine::{Engine, Input, Output};
use crate::keys::KeyRing;
use crate::link::{Buffer, Farewell, Links};
use crate::names::{ActionId, GroupId, GroupName, RequestId};
use crate::sys::{clock, sched, signal};
use crate::time::Instant;
use crate::wire::DATAGRAM_MAX;

/// Datagrams read in one turn. A flood is read in slices of some 0.3 ms, with orders and ticks
/// between them.
const READ_MAX: usize = 256;
/// How many turns a tick may be put off for because the sockets have not been read to the bottom:
/// longer than the kernel's buffer lasts, a few milliseconds in all.
const PUT_OFF_MAX: u32 = 16;
/// Ticks in one turn: what one makes possible is done in the next, and no more than this follows
/// without a look at the sockets.
const TICKS_MAX: u32 = 8;
/// How old the daemon's picture of us may become.
const VIEW_EVERY: Duration = Duration::from_millis(250);
/// When to try again what somebody was in the way of.
const RETRY: Duration = Duration::from_millis(5);
/// Reports that wait for the daemon. More are dropped and counted: they are for the log. Orders
/// and answers are never dropped; the core has at most one action a group and one answer a
/// request under way.
const REPORTS_WAITING_MAX: usize = 1024;

/// What the daemon tells the thread.
#[derive(Debug)]
pub enum Order {
    /// An operator asks for something.
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
    Via(GroupId, Option<IpAddr>),
    /// The configuration was read again; an answer with this id says whether it holds now.
    Settings {
        /// To be repeated in the answer.
        id: RequestId,
        /// All of them.
        settings: Box<Settings>,
        /// Groups with other resources than before.
        changed: Vec<GroupName>,
        /// All of them, the signing one first.
        keys: KeyRing,
    },
    /// Another lease of the VIPs takes the place of the present one.
    Pulse(Option<Pulse>),
    /// What operators have ordered of real servers: a digest of what is in force, and all of it.
    Words(u64, Vec<Word>),
    /// The director's verdicts for the peer.
    Verdicts(Verdicts),
    /// An answer to one of the core's questions, or something observed.
    Core(event::Input),
    /// Copy what is remembered: answered by [`Note::Recording`].
    Record,
    /// Copy the core, to ask it what it would do: answered by [`Note::Copy`].
    Copy,
    /// End at once and without a word, as if killed.
    Halt,
}

/// What the thread tells the daemon.
#[derive(Debug)]
pub enum Note {
    /// Start or stop a resource.
    Run(Action),
    /// Look at a resource of an active group.
    Monitor {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The resource's place in its list.
        resource: usize,
    },
    /// Ask the service LAN for a group's addresses.
    Probe {
        /// To be repeated in the answer.
        order: ActionId,
        /// The group.
        group: GroupId,
        /// The peer's own address there.
        peer: Option<IpAddr>,
    },
    /// What the peer's operators have ordered of real servers.
    Words(Vec<Word>),
    /// Some of the peer's director's verdicts.
    Verdicts(Verdicts),
    /// Ask or do something outside the pair.
    Outside(OutsideOrder),
    /// Announce a group's addresses again.
    Announce(GroupId),
    /// The end of an operator's request.
    Answer {
        /// The request's.
        id: RequestId,
        /// The result.
        answer: Answer,
    },
    /// For journal and log, with the moment it happened; a role change with what was known then.
    Report(Instant, Event, Option<Box<Evidence>>),
    /// What the core was told lately: at [`Order::Record`], and before [`Note::Left`].
    Recording(Recording),
    /// The core at that moment.
    Copy(Instant, Box<Core>),
    /// The farewell for the supervisor to keep; replaces the one before.
    Gasp(Vec<Farewell>),
    /// A picture of everything. Dropped when the daemon is busy; the next one is newer.
    View(Arc<View>),
    /// Write down what the next process is to know.
    Carry {
        /// To be repeated in the answer.
        order: ActionId,
        /// What it is to know.
        carried: Carried,
    },
    /// The core is to end with everything held; the thread ends.
    Paused,
    /// The core has left; the thread ends.
    Left,
}

/// Something to be done in the thread, on time, at an interval: the lease of the VIPs.
pub struct Pulse {
    /// From one call to the next.
    pub every: Duration,
    /// Must not wait for anything.
    pub call: Box<dyn FnMut(Instant) + Send>,
    /// The last call before an end with everything held, likewise.
    pub last: Box<dyn FnMut() + Send>,
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulse").field("every", &self.every).finish_non_exhaustive()
    }
}

/// How the thread runs.
#[derive(Debug)]
pub struct Habits {
    /// What is done at its own interval.
    pub pulse: Option<Pulse>,
    /// Real-time priority (SCHED_FIFO), 1 to 99; `None`: an ordinary thread.
    pub priority: Option<u8>,
}

impl Default for Habits {
    /// No pulse, the priority that holds where nothing is configured.
    fn default() -> Self {
        Self { pulse: None, priority: Some(PRIORITY) }
    }
}

/// The running thread.
#[derive(Debug)]
pub struct BeatHandle {
    orders: Orders,
    thread: JoinHandle<()>,
    realtime: Result<(), sched::Refused>,
}

impl BeatHandle {
    /// Gives the thread an order.
    ///
    /// # Errors
    /// [`Full`] when it has not taken the orders before; try again later.
    pub fn order(&self, order: Order) -> Result<(), Full> {
        self.orders.push(order)
    }

    /// The daemon's main loop has made a turn. From the first one on, its standing still for ten
    /// seconds ends the process: a node that beats and can't act would keep its peer from acting.
    pub fn turned(&self) {
        self.orders.turned();
    }

    /// A way to give orders, for other parts of the daemon.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Whether the thread has real-time priority. Without it, a deadtime under a second declares
    /// peers dead that are not.
    ///
    /// # Errors
    /// Why it has not.
    pub fn realtime(&self) -> Result<(), &sched::Refused> {
        match &self.realtime {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Waits for the end of the thread: after [`Note::Left`], [`Order::Halt`], or the end of whoever takes
    /// the notes.
    ///
    /// # Errors
    /// The thread's panic.
    pub fn join(self) -> std::thread::Result<()> {
        self.thread.join()
    }
}

/// Starts the thread. The engine's time must be that of [`clock::now`].
///
/// # Errors
/// When the kernel gives no timerfd, eventfd or thread.
pub fn spawn(
    engine: Engine<Recorder>,
    links: Links,
    notes: Sender<Note>,
    Habits { pulse, priority }: Habits,
) -> io::Result<BeatHandle> {
    let orders = Orders::new()?;
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
    let (tell, told) = std::sync::mpsc::channel();
    let taken = orders.clone();
    let thread = std::thread::Builder::new().name("beat".to_owned()).spawn(move || {
        let realtime = match priority {
            Some(priority) => sched::realtime(priority.into()),
            None => Err(sched::Refused::Unwanted),
        };
        let pace = Pace { realtime: realtime.is_ok(), ..Pace::default() };
        // Nobody listens only when the daemon has gone already.
        let _ = tell.send(realtime);
        Beat::new((engine, links, pulse), taken, notes, (timer, pace)).run();
    })?;
    let realtime = told.recv().map_err(|_| io::Error::other("the beat thread ended at once"))?;
    Ok(BeatHandle { orders, thread, realtime })
}

struct Beat {
    engine: Engine<Recorder>,
    links: Links,
    pulse: Option<Pulse>,
    orders: Orders,
    notes: Sender<Note>,
    timer: OwnedFd,
    backlog: VecDeque<Note>,
    /// Somebody held the orders.
    blocked: bool,
    /// Turns in which the sockets were not read to the bottom.
    put_off: u32,
    armed: Instant,
    watch: Watch,
    pulsed: Instant,
    viewed: Instant,
    pace: Pace,
    end: bool,
}

impl Beat {
    fn new(
        (engine, links, pulse): (Engine<Recorder>, Links, Option<Pulse>),
        orders: Orders,
        notes: Sender<Note>,
        (timer, pace): (OwnedFd, Pace),
    ) -> Self {
        Self {
            engine,
            links,
            pulse,
            orders,
            notes,
            timer,
            backlog: VecDeque::new(),
            blocked: false,
            put_off: 0,
            armed: Instant::NEVER,
            watch: Watch::new(clock::now()),
            pulsed: Instant::BOOT,
            viewed: Instant::BOOT,
            pace,
            end: false,
        }
    }

    fn run(mut self) {
        while !self.end {
            self.turn();
            if !self.end && self.sleep().is_err() {
                // poll(2) fails for no reason that trying again would help.
                return;
            }
        }
    }

    /// Sockets first, then orders, then verdicts.
    fn turn(&mut self) {
        self.note_lateness();
        if self.watch.hangs(clock::now(), self.orders.turns()) {
            // The supervisor cleans up and tells the peer; nothing here can.
            signal::end_at_once(signal::HANGING);
        }
        let drained = self.read_sockets();
        self.take_orders();
        self.put_off = if drained { 0 } else { self.put_off + 1 };
        if drained || self.put_off > PUT_OFF_MAX {
            self.put_off = 0;
            self.tick();
        }
        self.pulse();
        self.links.refresh(clock::now());
        self.show();
        self.flush();
    }

    fn note_lateness(&mut self) {
        let late = clock::now().since(self.armed).as_micros();
        self.pace.turns += 1;
        self.pace.late_us = u64::try_from(late).unwrap_or(u64::MAX);
        self.pace.latest_us = self.pace.latest_us.max(self.pace.late_us);
    }

    /// Last in the turn: after a stall, what the peer has said meanwhile has been heard.
    fn pulse(&mut self) {
        let now = clock::now();
        if let Some(pulse) = &mut self.pulse
            && now >= self.pulsed.plus(pulse.every)
        {
            self.pulsed = now;
            if !self.engine.in_doubt() {
                (pulse.call)(now);
            }
        }
    }

    /// Whether all sockets have been read to the bottom.
    fn read_sockets(&mut self) -> bool {
        let mut buffer: Buffer = [0; DATAGRAM_MAX + 1];
        for _ in 0..READ_MAX {
            let Some((arrival, len)) = self.links.receive(&mut buffer) else { return true };
            let bytes = buffer.get(..len).unwrap_or_default();
            let now = clock::now();
            self.engine.hear(now, arrival, bytes);
            self.obey(now);
        }
        false
    }

    fn take_orders(&mut self) {
        let taken = self.orders.take();
        self.blocked = taken.is_none();
        for order in taken.unwrap_or_default() {
            let input = match order {
                Order::Request { id, request } => Input::Request { id, request },
                Order::Ended { action, outcome } => Input::Ended { action, outcome },
                Order::Via(group, via) => Input::Via { group, via },
                Order::Settings { id, settings, changed, keys } => {
                    Input::Settings { id, settings, changed, keys }
                }
                Order::Pulse(pulse) => {
                    self.pulse = pulse;
                    continue;
                }
                Order::Words(digest, all) => Input::Words { digest, all },
                Order::Verdicts(verdicts) => Input::Verdicts(verdicts),
                Order::Core(input) => Input::Core(input),
                Order::Record => {
                    let recording = self.engine.heart_mut().recording();
                    self.tell(Note::Recording(recording));
                    continue;
                }
                Order::Copy => {
                    let core = Box::new(self.engine.heart().core().clone());
                    self.tell(Note::Copy(clock::now(), core));
                    continue;
                }
                Order::Halt => {
                    self.end = true;
                    return;
                }
            };
            let now = clock::now();
            self.engine.handle(now, input);
            self.obey(now);
        }
    }

    fn tick(&mut self) {
        for _ in 0..TICKS_MAX {
            let now = clock::now();
            if self.end || self.engine.deadline().0 > now {
                return;
            }
            self.engine.handle(now, Input::Tick);
            self.obey(now);
        }
    }

    fn obey(&mut self, now: Instant) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Send { link, pieces } => self.links.send(link, &pieces, now),
                Output::Run(action) => self.tell(Note::Run(action)),
                Output::Monitor { order, group, resource } => {
                    self.tell(Note::Monitor { order, group, resource });
                }
                Output::Probe { order, group, peer } => {
                    self.tell(Note::Probe { order, group, peer });
                }
                Output::Words(told) => self.tell(Note::Words(told)),
                Output::Verdicts(told) => self.tell(Note::Verdicts(told)),
                Output::Outside(order) => self.tell(Note::Outside(order)),
                Output::Announce(group) => self.tell(Note::Announce(group)),
                Output::Answer { id, answer } => self.tell(Note::Answer { id, answer }),
                Output::Report(event) => {
                    self.viewed = Instant::BOOT;
                    self.report(now, event);
                }
                Output::Gasp(datagrams) => {
                    let links = &self.links;
                    let farewell = |(link, bytes): &(_, Vec<u8>)| links.farewell(*link, bytes);
                    let all = datagrams.iter().flat_map(farewell).collect();
                    self.backlog.retain(|note| !matches!(note, Note::Gasp(_)));
                    self.tell(Note::Gasp(all));
                }
                Output::Carry { order, carried } => self.tell(Note::Carry { order, carried }),
                Output::Paused => {
                    if let Some(pulse) = &mut self.pulse {
                        (pulse.last)();
                    }
                    // No further call: it would be the shorter one again.
                    self.pulse = None;
                    self.tell(Note::Paused);
                }
                Output::Left => {
                    self.viewed = Instant::BOOT;
                    self.show();
                    let recording = self.engine.heart_mut().recording();
                    self.tell(Note::Recording(recording));
                    self.tell(Note::Left);
                }
            }
        }
    }

    fn report(&mut self, now: Instant, event: Event) {
        if self.backlog.len() < REPORTS_WAITING_MAX {
            let evidence = match &event {
                Event::Role { group, .. } => {
                    Some(Box::new(self.engine.heart().core().evidence(now, group)))
                }
                _ => None,
            };
            self.tell(Note::Report(now, event, evidence));
        } else {
            self.pace.reports_lost += 1;
        }
    }

    /// In the order in which they were given, always.
    fn tell(&mut self, note: Note) {
        self.backlog.push_back(note);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(note) = self.backlog.pop_front() {
            let left = matches!(note, Note::Left | Note::Paused);
            match self.notes.try_send(note) {
                Ok(()) => self.end |= left,
                Err(TrySendError::Full(note)) => {
                    self.backlog.push_front(note);
                    return;
                }
                Err(TrySendError::Closed(_)) => {
                    self.end = true;
                    return;
                }
            }
        }
    }

    fn show(&mut self) {
        let now = clock::now();
        if now < self.viewed.plus(VIEW_EVERY) || !self.backlog.is_empty() {
            return;
        }
        self.viewed = now;
        let engine = self.engine.view(now);
        let view = View { engine, links: self.links.status(), pace: self.pace };
        // A full queue or none at all: `flush` sees to it.
        let _ = self.notes.try_send(Note::View(Arc::new(view)));
    }

    /// Until something comes in or something is due.
    fn sleep(&mut self) -> io::Result<()> {
        // What is due already is not late by its own fault.
        self.armed = self.next().max(clock::now());
        let spec = Itimerspec {
            it_interval: clock::timespec(Instant::BOOT),
            it_value: clock::timespec(self.armed),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        let sources = self.links.sockets().chain([self.orders.wakeup(), self.timer.as_fd()]);
        let mut sources: Vec<PollFd<'_>> =
            sources.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut sources, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn next(&self) -> Instant {
        if self.put_off > 0 {
            return Instant::BOOT;
        }
        let soon = clock::now().plus(RETRY);
        let retry = if self.blocked { soon } else { Instant::NEVER };
        // With notes waiting there is no view.
        let notes = if self.backlog.is_empty() { self.viewed.plus(VIEW_EVERY) } else { soon };
        let pulse = self.pulse.as_ref().map(|pulse| self.pulsed.plus(pulse.every));
        self.engine
            .deadline()
            .0
            .min(self.links.refresh_at())
            .min(notes)
            .min(pulse.unwrap_or(Instant::NEVER))
            .min(retry)
    }
}

#[cfg(test)]
mod tests;
