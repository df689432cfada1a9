//! The core process: brings the beat thread, the director, the hands and the operator together.
//!
//! It decides nothing. The cluster decides on the beat thread, the director in `lvs`; this loop
//! carries orders to those who do the work, and their answers back.

mod begin;
mod files;
mod reload;
mod replies;
mod restart;
mod resume;
mod telling;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{error, warn};

use self::files::Files;
use self::reload::{Adjusted, Loaded, Reloading};
use self::replies::hasty;
use self::restart::{Checked, UnderWay};
use self::resume::Resumed;
use self::telling::Curious;
use crate::cluster::event::{Action, Answer, Event, GroupState, Outcome, Request};
use crate::config::{self, Config};
use crate::control::protocol::{Call, RealOrder};
use crate::control::server::{self, Asked, Server, send};
use crate::daemon::beat::{self, BeatHandle, Note, Order, View};
use crate::daemon::channel::{self, Channel};
use crate::daemon::chronicle::Chronicle;
use crate::daemon::director::{self, DirectorHandle};
use crate::daemon::guard::Guard;
use crate::daemon::hands::Hands;
use crate::daemon::keeper::{Keeper, LOOK_EVERY};
use crate::daemon::looks::Look;
use crate::daemon::memory::Memory;
use crate::daemon::messages::{FromCore, ToCore};
use crate::daemon::outside::{self, Outside};
use crate::daemon::sync::{self, SyncKeeper};
use crate::daemon::{Fatal, Paths, guard, localnode, picture, service, switch, work};
use crate::journal::{Caller, words};
use crate::link::Farewell;
use crate::names::{ActionId, GroupId, GroupName, RequestId};
use crate::sys::files::Machine;
use crate::sys::{log, signal};

/// Notes of the beat thread that wait for this loop: a few per group and request.
const NOTES_MAX: usize = 256;
/// Finished actions that wait for this loop: one per group at most.
const ENDED_MAX: usize = crate::cluster::message::GROUPS_MAX;
/// Configurations that wait for this loop: reloads come from operators.
const LOADED_MAX: usize = 4;
/// Longest wait for the last replies to reach their callers.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs the core until it has left or its supervisor is gone.
///
/// # Errors
/// Whatever keeps it from starting: a sentence that names the remedy.
pub fn run(paths: &Paths, force: bool) -> Result<(), Fatal> {
    log::start();
    let (config, _printed_by_the_supervisor) =
        config::load(&paths.config, &paths.node, &Machine::default());
    let config = config.ok_or_else(|| Fatal::Config(paths.config.clone()))?;
    log::configure(&config.service.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fatal::System(format!("runtime: {e}")))?;
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, async {
        let (mut core, listener) = Core::start(paths, config, force).await?;
        let (calls, asked) = mpsc::channel(server::CALLS_MAX);
        let server = Server::start(listener, calls, |_| Ok(()));
        let ended = core.run(asked).await;
        let _bounded = timeout(DRAIN, server.drained()).await;
        log::flush();
        ended
    });
    drop(local);
    // A name that is still being asked for is no reason to stay.
    runtime.shutdown_background();
    ended
}

/// One finished action.
type Ended = (ActionId, Outcome);

struct Core {
    paths: Paths,
    /// One core a node, also when its supervisor is gone.
    _lock: File,
    keeper: Keeper,
    memory: Memory,
    config: Rc<Config>,
    supervisor: Channel<FromCore, ToCore>,
    notes: mpsc::Receiver<Note>,
    /// The beat thread's last picture.
    view: Option<Arc<View>>,
    /// Whether the beat thread has said anything since the last look.
    reported: bool,
    /// What takes the VIPs out of service when this process does not run, in words.
    guard: Guard,
    /// Those who asked for it before there was one; bounded by the control socket's connections.
    early: Vec<oneshot::Sender<Vec<u8>>>,
    beat: BeatHandle,
    hands: Rc<Hands>,
    director: DirectorHandle,
    sync: SyncKeeper,
    outside: Rc<Outside>,
    /// Whether there is a supervisor.
    supervised: bool,
    /// The last addresses told to the cluster.
    vias: BTreeMap<GroupId, IpAddr>,
    /// Where configurations arrive that were read again.
    loaded: (mpsc::Sender<Loaded>, mpsc::Receiver<Loaded>),
    files: Files,
    /// Where the changes of active groups arrive.
    adjusted: (mpsc::Sender<Adjusted>, mpsc::Receiver<Adjusted>),
    /// A configuration that is being applied; one at a time.
    reloading: Option<Reloading>,
    /// Where the answer arrives whether another process could go on.
    checked: (mpsc::Sender<Checked>, mpsc::Receiver<Checked>),
    /// A restart that the cluster was asked for.
    restarting: Option<UnderWay>,
    /// Where finished actions arrive; the sender is cloned into each one.
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    /// Operators that wait for the end of a switch.
    waiting: BTreeMap<RequestId, oneshot::Sender<Vec<u8>>>,
    next_request: u64,
    /// The last failure of each group that has not recovered from it.
    failures: BTreeMap<GroupName, String>,
    /// The last farewell of the beat thread.
    farewell: Vec<Farewell>,
    /// Whether the supervisor has it, or an empty one because it could not keep its promise.
    farewell_given: bool,
    /// The journal.
    chronicle: Chronicle,
    /// Those who want to know why.
    curious: Curious,
    /// The watch over the groups' service links.
    watching: Option<tokio::task::JoinHandle<()>>,
    /// Asks the ping nodes.
    pinging: Option<tokio::task::JoinHandle<()>>,
}

/// What wakes the loop.
enum Happening {
    Note(Option<Note>),
    Supervisor(Option<ToCore>),
    Asked(Asked),
    Ended(ActionId, Outcome),
    Loaded(Loaded),
    Changed(PathBuf),
    Adjusted(Adjusted),
    Checked(Checked),
    Look,
}

impl Core {
    async fn start(
        paths: &Paths,
        config: Config,
        force: bool,
    ) -> Result<(Self, UnixListener), Fatal> {
        let system = |e: &dyn std::fmt::Display| Fatal::System(e.to_string());
        begin::lock_memory(&config);
        signal::leave_to_supervisor().map_err(|e| system(&e))?;
        let lock = begin::only_core(paths).await?;
        let supervisor = channel::from_stdin().map_err(|e| system(&e))?;
        let mut supervisor = Channel::<FromCore, ToCore>::new(supervisor);
        let managed = FromCore::Addresses(config.addresses().collect());
        let gone = |_| Fatal::System("the supervisor is gone".to_owned());
        supervisor.send(&managed).await.map_err(gone)?;
        let surroundings = work::surroundings(paths, &config);
        let (session, chronicle) = telling::begin(paths, &config)?;
        let hands = Hands::telling(surroundings.clone(), chronicle.teller());
        let hands = Rc::new(hands.map_err(|e| system(&e))?);
        let resumed = resume::begin((paths, &config), (&hands, &surroundings), &chronicle).await?;
        let links = begin::open_links(&config)?;
        let listener = server::listen(&paths.control_socket()).map_err(|e| system(&e))?;
        let director = director::start(paths, begin::directors(&config), chronicle.teller());
        let director = director.map_err(|e| system(&e))?;
        switch::sweep(&config, &director).await;
        let memory = Memory::open(paths);
        let (note, notes) = mpsc::channel(NOTES_MAX);
        let config = Rc::new(config);
        let (guard, pulse) = guard::prepare(&config, &hands, &resumed.addresses).await;
        // Last: what it is not called meanwhile would count as standing still.
        let engine = begin::engine(&config, (memory.past(), resumed.carried.as_ref()), session)?;
        let habits = begin::habits(&config, pulse);
        let beat = beat::spawn(engine, links, note, habits).map_err(|e| system(&e))?;
        begin::refuse_untimely(&config, &beat, force)?;
        let mut core = Self {
            sync: sync::start(&config, &director, beat.orders()),
            outside: Outside::new(&config, paths, &session),
            paths: paths.clone(),
            _lock: lock,
            keeper: Keeper::default(),
            memory,
            config,
            supervisor,
            notes,
            view: None,
            reported: false,
            guard: guard.begin(beat.orders()),
            early: Vec::new(),
            beat,
            hands,
            director,
            supervised: true,
            vias: BTreeMap::new(),
            loaded: mpsc::channel(LOADED_MAX),
            files: Files::default(),
            adjusted: mpsc::channel(1),
            reloading: None,
            checked: mpsc::channel(restart::CHECKED_MAX),
            restarting: None,
            ended: mpsc::channel(ENDED_MAX),
            waiting: BTreeMap::new(),
            next_request: 1,
            failures: BTreeMap::new(),
            farewell: Vec::new(),
            farewell_given: false,
            chronicle,
            curious: Curious::default(),
            watching: None,
            pinging: None,
        };
        core.director.connect(core.beat.orders()).await;
        core.enter_service(&resumed).await;
        core.supervisor.send(&FromCore::Ready).await.map_err(gone)?;
        Ok((core, listener))
    }

    /// Who looks after what is held already.
    async fn enter_service(&mut self, resumed: &Resumed) {
        for group in resumed.held.iter().filter_map(|name| work::group_id(&self.config, name)) {
            self.keeper.serves(group);
            self.sync.serves(group);
            let config = self.config.groups.get(usize::from(group.0));
            for director in config.into_iter().flat_map(work::directors) {
                self.director.lead(director, true).await;
            }
        }
        self.files.follow(&self.config);
        self.watch().await;
    }

    /// Runs until the cluster has left.
    async fn run(&mut self, mut asked: mpsc::Receiver<Asked>) -> Result<(), Fatal> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.beat.turned();
            let happening = tokio::select! {
                biased;
                note = self.notes.recv() => Happening::Note(note),
                Some((id, outcome)) = self.ended.1.recv() => Happening::Ended(id, outcome),
                said = self.supervisor.recv(), if self.supervised => {
                    Happening::Supervisor(said.ok().flatten())
                }
                Some(loaded) = self.loaded.1.recv() => Happening::Loaded(loaded),
                Some(file) = self.files.changed() => Happening::Changed(file),
                Some(adjusted) = self.adjusted.1.recv() => Happening::Adjusted(adjusted),
                Some(checked) = self.checked.1.recv() => Happening::Checked(checked),
                Some(asked) = asked.recv() => Happening::Asked(asked),
                _ = look.tick() => Happening::Look,
            };
            match happening {
                Happening::Note(Some(Note::Left)) => break,
                Happening::Note(Some(Note::Paused)) => {
                    switch::sweep(&self.config, &self.director).await;
                    self.pause().await;
                    return Ok(());
                }
                Happening::Note(None) => {
                    return Err(Fatal::System("the beat thread has ended".to_owned()));
                }
                happening => self.happened(happening).await,
            }
            self.pass_farewell().await;
        }
        let _supervisor_gone = self.supervisor.send(&FromCore::Leaving).await;
        // A switch may be passing packets on at this moment.
        switch::sweep(&self.config, &self.director).await;
        self.sync.end().await;
        self.outside.settle().await;
        if self.director.shut_down().await {
            localnode::end().await;
        }
        match self.hands.held().is_empty() {
            true => self.guard.end().await,
            false => self.guard.rest(),
        }
        self.chronicle.tell(telling::ended());
        self.chronicle.close();
        Ok(())
    }

    async fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Note(Some(Note::Answer { id, answer })) if self.is_reload(id) => {
                self.settled(answer).await;
            }
            Happening::Note(note) => {
                if let Some(note) = note {
                    self.note(note);
                }
            }
            Happening::Ended(action, outcome) => self.order(Order::Ended { action, outcome }),
            Happening::Supervisor(Some(ToCore::Reload)) => {
                log::reopen();
                self.load(None);
            }
            Happening::Supervisor(Some(ToCore::Stop)) => self.leave(None, None),
            Happening::Supervisor(Some(ToCore::Died { at, how, released, told })) => {
                self.chronicle.tell_at(at, telling::died(how, released, told));
            }
            Happening::Supervisor(None) => {
                self.chronicle.tell(telling::orphaned());
                self.supervised = false;
                self.leave(None, None);
            }
            Happening::Loaded(loaded) => self.reload(loaded).await,
            Happening::Changed(file) => self.file_changed(&file),
            Happening::Adjusted(adjusted) => self.resources_adjusted(adjusted),
            Happening::Checked(checked) => self.restart_checked(checked),
            Happening::Asked(asked) => self.answer(asked),
            Happening::Look => {
                self.tell_vias().await;
                self.keeper.look(&self.config, &self.hands);
                self.prove_life().await;
                self.record_in_time();
            }
        }
    }

    /// The supervisor feeds the watchdog by this.
    async fn prove_life(&mut self) {
        if std::mem::take(&mut self.reported) {
            let _supervisor_gone = self.supervisor.send(&FromCore::Alive).await;
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Run(action) => self.act(action),
            Note::Monitor { order, group, resource } => self.look(order, (group, resource)),
            Note::Probe { order, group, peer } => {
                let (config, hands) = (Rc::clone(&self.config), Rc::clone(&self.hands));
                let orders = self.beat.orders();
                tokio::task::spawn_local(async move {
                    let answer = service::probe(&config, &hands, (order, group, peer)).await;
                    // The core does not wait for ever.
                    let _full = orders.push(Order::Core(answer));
                });
            }
            Note::Words(told) => self.director.words(told),
            Note::Verdicts(told) => self.director.told(told),
            Note::Outside(order) => self.outside.obey(&self.config, order, self.beat.orders()),
            Note::Announce(group) => {
                for address in work::addresses(&self.config, group) {
                    self.hands.announce_again(address.ip);
                }
            }
            Note::Answer { id, answer } => self.reply(id, &answer),
            Note::Report(at, event, evidence) => {
                self.chronicle.event(at, event.clone(), evidence.map(|evidence| *evidence));
                self.record_soon(&event);
                if let Event::Role { group, state: GroupState::Active, .. } = &event
                    && let Some(group) = work::group_id(&self.config, group)
                {
                    self.keeper.serves(group);
                    self.sync.serves(group);
                }
                self.remember(event);
            }
            Note::Recording(recording) => self.recorded(recording),
            Note::Copy(now, core) => self.explain(now, &core),
            Note::Gasp(farewell) => {
                self.farewell = farewell;
                self.farewell_given = false;
            }
            Note::View(view) => {
                self.memory.note(&view.engine.cluster);
                self.view = Some(view);
                self.reported = true;
                for reply in std::mem::take(&mut self.early) {
                    self.status(reply);
                }
            }
            Note::Carry { order, carried } => self.carry(order, carried),
            Note::Left | Note::Paused => {}
        }
    }

    /// Keeps why a group failed until it is as it should be again.
    fn remember(&mut self, event: Event) {
        match event {
            Event::ActionFailed { group, resource, operation, why } => {
                self.failures.insert(group, words::failure(resource, operation, &why));
            }
            Event::Role { group, state: GroupState::Active | GroupState::Standby, .. } => {
                self.failures.remove(&group);
            }
            _ => {}
        }
    }

    /// Carries out one order of the cluster in a task of its own.
    fn act(&self, action: Action) {
        let (ended, keeper) = (self.ended.0.clone(), self.keeper.clone());
        let (config, hands) = (Rc::clone(&self.config), Rc::clone(&self.hands));
        let (director, sync) = (self.director.clone(), self.sync.clone());
        keeper.works(action.group);
        tokio::task::spawn_local(async move {
            let turn = keeper.turn(action.group).await;
            let outcome = work::perform(&config, &hands, (&director, &sync), &action).await;
            drop(turn);
            if let Outcome::Failed(why) = &outcome {
                warn!("{:?} failed: {why}", action.operation);
            }
            // The loop is gone only when the process ends.
            let _ending = ended.send((action.id, outcome)).await;
        });
    }

    /// Looks at a resource, in a task of its own.
    fn look(&self, order: ActionId, (group, resource): (GroupId, usize)) {
        let (config, hands) = (Rc::clone(&self.config), Rc::clone(&self.hands));
        self.keeper.look_at(Look { order, group, resource, config, hands }, self.beat.orders());
    }

    fn order(&self, order: Order) {
        if let Err(full) = self.beat.order(order) {
            error!("the beat thread takes no orders: {full}");
        }
    }

    fn answer(&mut self, asked: Asked) {
        match asked.call {
            Call::Status => self.status(asked.reply),
            Call::Reload => self.load(Some(asked.reply)),
            Call::Freeze(it) => {
                self.request(Request::Freeze(it.extent), true, (asked.by, asked.reply))
            }
            Call::ConfirmDead => self.request(Request::ConfirmDead, true, (asked.by, asked.reply)),
            Call::Restart(what) => self.restart(what, (asked.by, asked.reply)),
            Call::Stop => self.leave(asked.by, Some(asked.reply)),
            Call::Events(what) => self.follow(what, asked.reply),
            Call::Explain(what) => self.ask_why(what, asked.reply),
            Call::Record => self.record(Some(asked.reply)),
            Call::Real(order) => self.order_real(order, asked.reply),
            Call::Standby(m) => {
                self.request(Request::Standby(m.which), m.wait, (asked.by, asked.reply))
            }
            Call::Takeover(m) => {
                self.request(Request::Takeover(m.which), m.wait, (asked.by, asked.reply))
            }
        }
    }

    /// Answers in a task of its own: the director may take a moment.
    fn status(&mut self, reply: oneshot::Sender<Vec<u8>>) {
        let (config, hands) = (Rc::clone(&self.config), Rc::clone(&self.hands));
        let Some(view) = self.view.clone() else {
            self.early.push(reply);
            return;
        };
        let (director, failures) = (self.director.clone(), self.failures.clone());
        let (guard, journal) = (self.guard.standing(), self.chronicle.status());
        let (sync, refused) = (self.sync.status(), self.director.settings().refused());
        tokio::task::spawn_local(async move {
            let director = director.view().await;
            let seen = picture::Seen {
                config: &config,
                view: &view,
                failures: &failures,
                guard: &guard,
                journal: &journal,
                sync: sync.as_ref(),
                refused: &refused,
            };
            send(reply, &picture::status(&seen, director.as_ref(), &hands));
        });
    }

    /// Hands an order about real servers to the director.
    fn order_real(&self, order: RealOrder, reply: oneshot::Sender<Vec<u8>>) {
        let director = self.director.clone();
        tokio::task::spawn_local(async move { send(reply, &director.order(order).await) });
    }

    fn request(
        &mut self,
        request: Request,
        wait: bool,
        (by, reply): (Option<Caller>, oneshot::Sender<Vec<u8>>),
    ) {
        let id = self.asked_for(request, by);
        let reply = if wait { reply } else { hasty(reply) };
        self.waiting.insert(id, reply);
        self.order(Order::Request { id, request });
    }

    fn leave(&mut self, by: Option<Caller>, reply: Option<oneshot::Sender<Vec<u8>>>) {
        let id = self.asked_for(Request::Leave, by);
        if let Some(reply) = reply {
            self.waiting.insert(id, reply);
        }
        self.order(Order::Request { id, request: Request::Leave });
    }

    fn reply(&mut self, id: RequestId, answer: &Answer) {
        self.restart_answered(id, answer);
        self.chronicle.answered(id, answer);
        if let Some(reply) = self.waiting.remove(&id) {
            send(reply, answer);
        }
    }

    /// Tells the cluster this node's own address on each group's service LAN, when it is new.
    async fn tell_vias(&mut self) {
        for index in 0..u16::try_from(self.config.groups.len()).unwrap_or(u16::MAX) {
            let group = GroupId(index);
            let Some(address) = work::addresses(&self.config, group).next() else { continue };
            let Ok(placement) = self.hands.addresses().place(address).await else { continue };
            let Some(source) = placement.source else { continue };
            if self.vias.insert(group, source) != Some(source) {
                self.order(Order::Via(group, Some(source)));
            }
        }
    }

    /// Gives the supervisor the farewell while it can keep the promise in it.
    async fn pass_farewell(&mut self) {
        let Some(view) = &self.view else { return };
        let keepable = view.engine.cluster.groups.iter().all(|seen| {
            let group = self.config.groups.iter().find(|group| group.name == seen.name);
            seen.state == GroupState::Standby || group.is_some_and(|it| !work::has_scripts(it))
        });
        if keepable == self.farewell_given {
            return;
        }
        let word = if keepable { self.farewell.clone() } else { Vec::new() };
        let _supervisor_gone = self.supervisor.send(&FromCore::Farewell(word)).await;
        self.farewell_given = keepable;
    }

    /// Watches the service links of the groups as they are configured now.
    fn watch_service(&mut self) {
        let (config, hands) = (Rc::clone(&self.config), Rc::clone(&self.hands));
        let local = localnode::watch(Rc::clone(&config), Rc::clone(&hands));
        let watch = service::watch(config, hands, self.beat.orders());
        let watch = async move {
            tokio::join!(watch, local);
        };
        let before = self.watching.replace(tokio::task::spawn_local(watch));
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Asks the ping nodes as the configuration says now.
    fn watch_pings(&mut self) {
        let pings = outside::watch(Rc::clone(&self.config), self.beat.orders());
        let before = self.pinging.replace(tokio::task::spawn_local(pings));
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Begins to look at the service links, the ping nodes and our own addresses.
    async fn watch(&mut self) {
        self.watch_service();
        self.watch_pings();
        self.tell_vias().await;
    }

    fn new_request(&mut self) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        id
    }
}
