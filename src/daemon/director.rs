//! Drives the director's control: carries its orders to the kernel's IPVS and to the checker, and
//! their answers back. Decides nothing; `lvs::director` does.
//!
//! Runs as one task of the core process for as long as that lives, whether the node is active or
//! not: a standby's table is kept as warm as the other one.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::cluster::event::{Operation, Outcome};
use crate::cluster::message::{self, Word};
use crate::control::protocol::{Ordered, RealOrder};
use crate::daemon::Paths;
use crate::daemon::beat::Orders;
use crate::daemon::book::BookKeeper;
use crate::daemon::channel::{Channel, ChannelError, Receiver, Sender};
use crate::daemon::checker::{FromChecker, ToChecker};
use crate::daemon::chronicle::{self, Tell};
use crate::daemon::hooks;
use crate::daemon::maintenance::{self, Marks};
use crate::daemon::monitor::Monitor;
use crate::daemon::post;
use crate::daemon::settings::KernelSettings;
use crate::daemon::switch::WARM_MAX;
use crate::kernel::fullnat::FullNat;
use crate::kernel::ipvs::{self, IpvsHandle};
use crate::lvs::director::{Control, DirectorEvent, Input, MAIL_LIMIT, Output, RUN_LIMIT, View};
use crate::lvs::follow::Verdicts;
use crate::lvs::model::{Director, ServiceKey};
use crate::lvs::overrides::{Command, Overrides, Target};
use crate::lvs::settings::Values;
use crate::names::DirectorName;
use crate::store;
use crate::sys::clock;

/// Orders that wait for the task: a reload, a stop, and a few questions for the status.
const ORDERS_MAX: usize = 16;
/// Answers of the kernel and of programs that wait; who has one to give waits for its turn.
const ANSWERS_MAX: usize = 8;
/// Longest sleep: a timer that far ahead is as good as none.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Longest wait for the task's answer to a question of the status.
const VIEW_LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for the first look for marks.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// What others ask of the director's task.
enum Order {
    Configure(Vec<Director>),
    Connect(Orders),
    Command(Target, Command, oneshot::Sender<Result<Vec<String>, String>>),
    Words(Vec<Word>),
    Lead(DirectorName, bool),
    Told(Verdicts),
    Marked(Vec<Target>),
    View(oneshot::Sender<View>),
    /// Told at the end whether nothing of ours stays in the kernel.
    ShutDown(oneshot::Sender<bool>),
}

/// How the director stands, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Verdicts or table are not complete yet.
    Cold,
    /// Every check has a verdict, and the kernel's table is as it should be.
    Warm,
    /// IPVS can't be used; the sentence names the remedy.
    Faulty(String),
}

/// The way to the director's task.
#[derive(Clone)]
pub(crate) struct DirectorHandle {
    orders: mpsc::Sender<Order>,
    standing: watch::Receiver<Standing>,
    ipvs: IpvsHandle,
    settings: KernelSettings,
}

/// Starts the directors of a configuration on the current `LocalSet`, with the settings of the kernel
/// that they want; `rules` is the table for those of full NAT.
///
/// # Errors
/// When the checker's socket or the IPVS thread can't be had.
pub(crate) fn start(
    paths: &Paths,
    (directors, wanted, rules): (Vec<Director>, Values, &'static str),
    tell: Tell,
) -> io::Result<DirectorHandle> {
    let listener = listen(&paths.checker_socket())?;
    let settings = KernelSettings::new(paths, wanted);
    let ipvs = ipvs::spawn()?;
    let (orders, received) = mpsc::channel(ORDERS_MAX);
    let (standing, watched) = watch::channel(Standing::Cold);
    let task = Task {
        control: Control::new(),
        table: FullNat::new(ipvs.clone(), rules),
        answers: mpsc::channel(ANSWERS_MAX),
        listener,
        checker: None,
        standing,
        file: paths.owned_file(),
        book: BookKeeper::open(paths.orders_file()),
        marked: Vec::new(),
        looking: None,
        own: orders.downgrade(),
        saved: BTreeSet::new(),
        settings: settings.clone(),
        stopping: None,
        tell,
        monitor: Monitor::default(),
    };
    tokio::task::spawn_local(task.run(directors, received));
    Ok(DirectorHandle { orders, standing: watched, ipvs, settings })
}

/// Only this user may be our checker.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl DirectorHandle {
    /// Works by another configuration from now on; issues only the difference.
    ///
    /// # Errors
    /// When the task is too busy to take orders.
    pub(crate) fn configure(&self, directors: Vec<Director>) -> Result<(), &'static str> {
        self.orders.try_send(Order::Configure(directors)).map_err(|_| "the director is busy")
    }

    /// Tells the peer of what operators order, through the beat thread.
    pub(crate) async fn connect(&self, beat: Orders) {
        // The task has ended only when the process does.
        let _ended = self.orders.send(Order::Connect(beat)).await;
    }

    /// Takes an order about real servers.
    pub(crate) async fn order(&self, order: RealOrder) -> Ordered {
        match self.command(order.target, order.command).await {
            Ok(servers) => Ordered::Done { servers },
            Err(why) => Ordered::Refused { why },
        }
    }

    async fn command(&self, target: Target, command: Command) -> Result<Vec<String>, String> {
        let (sender, receiver) = oneshot::channel();
        let busy = || "the director is busy".to_owned();
        self.orders.try_send(Order::Command(target, command, sender)).map_err(|_| busy())?;
        timeout(VIEW_LIMIT, receiver).await.ok().and_then(Result::ok).ok_or_else(busy)?
    }

    /// Takes over what the peer's operators have ordered; told again by the peer when not taken.
    pub(crate) fn words(&self, told: Vec<Word>) {
        let _told_again = self.orders.try_send(Order::Words(told));
    }

    /// Takes over some of the peer's director's verdicts; told again when not taken.
    pub(crate) fn told(&self, told: message::Verdicts) {
        let message::Verdicts { list, first, states } = told;
        let _told_again = self.orders.try_send(Order::Told(Verdicts { list, first, states }));
    }

    /// Says whether a director's group is active here.
    pub(crate) async fn lead(&self, director: &DirectorName, lead: bool) {
        // The task has ended only when the process does.
        let _ended = self.orders.send(Order::Lead(director.clone(), lead)).await;
    }

    /// Starts or stops a director as a resource. It stays warm on the standby.
    pub(crate) async fn obey(
        &self,
        director: &DirectorName,
        operation: Operation,
        limit: Duration,
    ) -> Outcome {
        self.lead(director, operation == Operation::Start).await;
        match operation {
            Operation::Start => self.warm(WARM_MAX.min(limit)).await,
            Operation::Stop => Outcome::Done,
        }
    }

    /// How everything stands; `None` when the task does not answer.
    pub(crate) async fn view(&self) -> Option<View> {
        let (sender, receiver) = oneshot::channel();
        self.orders.try_send(Order::View(sender)).ok()?;
        timeout(VIEW_LIMIT, receiver).await.ok()?.ok()
    }

    /// Waits until the director knows its real servers and the kernel's table is right. After
    /// `limit` it counts as started all the same: what has not answered by then is out.
    pub(crate) async fn warm(&self, limit: Duration) -> Outcome {
        let mut standing = self.standing.clone();
        let decided = standing.wait_for(|standing| *standing != Standing::Cold);
        match timeout(limit, decided).await {
            Ok(Ok(standing)) => match &*standing {
                Standing::Faulty(why) => Outcome::Failed(why.clone()),
                Standing::Warm | Standing::Cold => Outcome::Done,
            },
            Ok(Err(_)) => Outcome::Failed("the director has ended".to_owned()),
            Err(_) => Outcome::Done,
        }
    }

    /// Takes our services out of the kernel, where they are configured so, and ends the task. The
    /// kernel's settings become again what they were, unless services stay (false), which go on to need them.
    pub(crate) async fn shut_down(&self) -> bool {
        let (sender, receiver) = oneshot::channel();
        let told = self.orders.send(Order::ShutDown(sender)).await.is_ok();
        // The control has a time limit of its own.
        let empty = told && receiver.await == Ok(true);
        if empty {
            self.settings.end().await;
        }
        empty
    }

    /// The way to the kernel's table, for entries that are not the director's.
    pub(crate) fn ipvs(&self) -> &IpvsHandle {
        &self.ipvs
    }

    /// The kernel's settings.
    pub(crate) fn settings(&self) -> &KernelSettings {
        &self.settings
    }
}

/// The two directions to a checker that is there.
struct Checker {
    sender: Sender<ToChecker>,
    receiver: Receiver<FromChecker>,
}

struct Task {
    control: Control,
    table: FullNat,
    answers: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    listener: UnixListener,
    checker: Option<Checker>,
    standing: watch::Sender<Standing>,
    /// What operators have ordered.
    book: BookKeeper,
    /// Servers that are marked as being worked on.
    marked: Vec<Target>,
    /// Looks for the marks.
    looking: Option<JoinHandle<()>>,
    /// The way to ourselves, for that.
    own: mpsc::WeakSender<Order>,
    file: PathBuf,
    /// The services that the file names.
    saved: BTreeSet<ServiceKey>,
    /// Those of IPVS as a whole.
    settings: KernelSettings,
    stopping: Option<oneshot::Sender<bool>>,
    /// Whom to tell what happens.
    tell: Tell,
    /// Writes down what checks come to.
    monitor: Monitor,
}

/// What wakes the task.
enum Happening {
    Order(Option<Order>),
    Input(Input),
    Connected(UnixStream),
    Said(Result<Option<FromChecker>, ChannelError>),
}

impl Task {
    async fn run(mut self, directors: Vec<Director>, mut orders: mpsc::Receiver<Order>) {
        self.saved = read_owned(&self.file);
        let owned = self.saved.clone();
        self.watch_marks(&directors).await;
        self.control.handle(clock::now(), Input::Override(self.overrides()));
        self.control.handle(clock::now(), Input::Configure { directors, owned });
        while self.obey() {
            self.book.tell();
            let happening = self.next(&mut orders).await;
            if let Happening::Order(Some(Order::Configure(directors))) = &happening {
                self.watch_marks(directors).await;
                self.control.handle(clock::now(), Input::Override(self.overrides()));
            }
            let Some(input) = self.input(happening) else { continue };
            match input {
                Some(input) => self.control.handle(clock::now(), input),
                None => return,
            }
        }
    }

    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>) -> Happening {
        let pause = self.control.deadline().since(clock::now()).min(SLEEP_MAX);
        tokio::select! {
            biased;
            Some(answer) = self.answers.1.recv() => Happening::Input(answer),
            order = orders.recv() => Happening::Order(order),
            Ok((stream, _)) = self.listener.accept() => Happening::Connected(stream),
            said = converse(&mut self.checker) => Happening::Said(said),
            () = sleep(pause) => Happening::Input(Input::Tick),
        }
    }

    /// What a happening means for the control. `None`: nothing; `Some(None)`: the end.
    fn input(&mut self, happening: Happening) -> Option<Option<Input>> {
        match happening {
            Happening::Input(input) => {
                if self.settings.is_due() && matches!(input, Input::Dumped { result: Ok(_), .. }) {
                    let settings = self.settings.clone();
                    tokio::task::spawn_local(async move { settings.there().await });
                }
                Some(Some(input))
            }
            Happening::Order(None) => Some(None),
            Happening::Order(Some(Order::Configure(directors))) => {
                let owned = self.control.owned().clone();
                Some(Some(Input::Configure { directors, owned }))
            }
            Happening::Order(Some(Order::Connect(beat))) => {
                self.book.connect(beat);
                None
            }
            Happening::Order(Some(Order::Command(target, command, reply))) => {
                let taken = self.command(target, command);
                let changed = taken.is_ok();
                let _gone = reply.send(taken);
                changed.then(|| Some(Input::Override(self.overrides())))
            }
            Happening::Order(Some(Order::Words(told))) => {
                let news = self.book.merge(told);
                for what in &news {
                    let event = DirectorEvent::Ordered { what: what.clone(), by_peer: true };
                    (self.tell)(chronicle::of_director(&event));
                }
                Some(Some(Input::Override(self.overrides())))
            }
            Happening::Order(Some(Order::Lead(director, lead))) => {
                Some(Some(Input::Lead { director, lead }))
            }
            Happening::Order(Some(Order::Told(verdicts))) => Some(Some(Input::Told(verdicts))),
            Happening::Order(Some(Order::Marked(marked))) => {
                self.marked = marked;
                Some(Some(Input::Override(self.overrides())))
            }
            Happening::Order(Some(Order::View(reply))) => {
                // The operator may have gone.
                let orders = self.book.digest();
                let _gone = reply.send(View { orders, ..self.control.view(clock::now()) });
                None
            }
            Happening::Order(Some(Order::ShutDown(reply))) => {
                self.stopping = Some(reply);
                Some(Some(Input::Shutdown))
            }
            Happening::Connected(stream) => {
                self.connect(stream);
                None
            }
            Happening::Said(Ok(Some(message))) => self.said(message),
            Happening::Said(Ok(None)) => self.checker_lost("it closed the channel"),
            Happening::Said(Err(why)) => self.checker_lost(&why.to_string()),
        }
    }

    /// What operators have ordered, and what is being worked on.
    fn overrides(&self) -> Overrides {
        self.book.overrides().with_maintenance(&self.marked)
    }

    /// Looks for marks from now on, with a first look at once: a server that is being worked on
    /// must not come in for a second.
    async fn watch_marks(&mut self, directors: &[Director]) {
        if let Some(before) = self.looking.take() {
            before.abort();
        }
        self.marked.clear();
        let marks = Marks::of(directors);
        if marks.is_empty() {
            return;
        }
        let first = timeout(FIRST_LOOK, spawn_blocking(move || look(marks))).await;
        // A name server that does not answer keeps nobody waiting.
        let (marks, marked) = match first {
            Ok(Ok(first)) => first,
            Ok(Err(_)) | Err(_) => (Marks::of(directors), Vec::new()),
        };
        self.marked.clone_from(&marked);
        let own = self.own.clone();
        self.looking = Some(tokio::task::spawn_local(watch_marks(marks, marked, own)));
    }

    fn command(&mut self, target: Target, command: Command) -> Result<Vec<String>, String> {
        let meant = self.control.meant(target);
        // What is no longer configured can still be enabled: nothing is left behind in the book.
        if meant.is_empty() && command != Command::Enable {
            return Err(format!("no virtual service has {target}; `pairbeat status` lists all"));
        }
        self.book.order(target, command).map_err(|full| full.to_string())?;
        let event = DirectorEvent::Ordered { what: format!("{command} {target}"), by_peer: false };
        (self.tell)(chronicle::of_director(&event));
        Ok(meant)
    }

    fn connect(&mut self, stream: UnixStream) {
        let own = rustix::process::geteuid().as_raw();
        if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) {
            let (sender, receiver) = Channel::new(stream).split();
            self.checker = Some(Checker { sender, receiver });
        }
    }

    fn checker_lost(&mut self, why: &str) -> Option<Option<Input>> {
        warn!("checker: {why}");
        self.checker = None;
        Some(Some(Input::CheckerLost))
    }

    fn said(&mut self, message: FromChecker) -> Option<Option<Input>> {
        match message {
            FromChecker::Ready => Some(Some(Input::CheckerReady)),
            FromChecker::Warning(why) => {
                warn!("checker: {why}");
                None
            }
            FromChecker::Results(results) => {
                let now = clock::now();
                results.into_iter().for_each(|r| self.control.handle(now, Input::Checked(r)));
                None
            }
        }
    }

    /// Carries out what the control orders; false when it has stopped.
    fn obey(&mut self) -> bool {
        while let Some(output) = self.control.poll() {
            match output {
                Output::Check(specs) => self.give_checks(specs),
                Output::Dump(order) => {
                    let (table, answer) = (self.table.clone(), self.answers.0.clone());
                    tokio::task::spawn_local(async move {
                        let result = table.dump_with_counts().await;
                        let _task_ended = answer.send(Input::Dumped { order, result }).await;
                    });
                }
                Output::Apply { order, ops } => {
                    let (table, answer) = (self.table.clone(), self.answers.0.clone());
                    tokio::task::spawn_local(async move {
                        let result = table.apply(ops).await;
                        let _task_ended = answer.send(Input::Applied { order, result }).await;
                    });
                }
                Output::Adopt(orders) => {
                    if let Err(full) = self.book.order_all(&orders) {
                        warn!("what was ordered by hand is put back: {full}");
                    }
                    self.control.handle(clock::now(), Input::Override(self.overrides()));
                }
                Output::Tell(verdicts) => self.book.judge(verdicts),
                Output::Run { id, program } => {
                    let answer = self.answers.0.clone();
                    tokio::task::spawn_local(async move {
                        let result = hooks::told(program, RUN_LIMIT).await;
                        let _task_ended = answer.send(Input::Ran { id, result }).await;
                    });
                }
                Output::Mail { id, letter } => {
                    let answer = self.answers.0.clone();
                    tokio::task::spawn_local(async move {
                        let result = post::send(&letter, MAIL_LIMIT).await;
                        let _task_ended = answer.send(Input::Mailed { id, result }).await;
                    });
                }
                Output::Monitor { file, line } => self.monitor.put(file, &line),
                Output::Report(event) => (self.tell)(chronicle::of_director(&event)),
                Output::Stopped { left } => {
                    self.stopped(&left);
                    return false;
                }
            }
        }
        self.note_standing();
        self.save_owned();
        true
    }

    fn give_checks(&mut self, specs: Vec<crate::lvs::check::CheckSpec>) {
        let Some(checker) = &mut self.checker else { return };
        if let Err(e) = checker.sender.queue(&ToChecker::Checks(specs)) {
            error!("the checker can't be given its list: {e}");
        }
    }

    fn stopped(&mut self, left: &[ServiceKey]) {
        if !left.is_empty() {
            warn!("{} virtual services could not be taken out of the kernel", left.len());
        }
        self.save_owned();
        self.monitor.close();
        if let Some(reply) = self.stopping.take() {
            let _gone = reply.send(self.control.owned().is_empty());
        }
    }

    fn note_standing(&self) {
        let standing = match self.control.fault() {
            Some(why) => Standing::Faulty(why.to_string()),
            None if self.control.converged() => Standing::Warm,
            None => Standing::Cold,
        };
        self.standing.send_if_modified(|old| {
            let changed = *old != standing;
            *old = standing;
            changed
        });
    }

    fn save_owned(&mut self) {
        if *self.control.owned() == self.saved {
            return;
        }
        self.saved.clone_from(self.control.owned());
        if let Err(e) = write_owned(&self.file, &self.saved) {
            warn!(
                "{}: {e}; services that leave the configuration while we are down stay in the \
                   kernel",
                self.file.display()
            );
        }
    }
}

/// One look, and who looked.
fn look(mut marks: Marks) -> (Marks, Vec<Target>) {
    let marked = marks.look();
    (marks, marked)
}

/// Tells what is marked whenever that changes.
async fn watch_marks(mut marks: Marks, mut told: Vec<Target>, own: mpsc::WeakSender<Order>) {
    loop {
        sleep(maintenance::LOOK_EVERY).await;
        let Ok((looked, marked)) = spawn_blocking(move || look(marks)).await else { return };
        marks = looked;
        let Some(own) = own.upgrade() else { return };
        if marked != told && own.try_send(Order::Marked(marked.clone())).is_ok() {
            told = marked;
        }
    }
}

/// The checker's next word, sending what waits for it meanwhile; never ends without a checker.
async fn converse(checker: &mut Option<Checker>) -> Result<Option<FromChecker>, ChannelError> {
    let Some(checker) = checker else { return std::future::pending().await };
    loop {
        let waiting = checker.sender.is_waiting();
        tokio::select! {
            said = checker.receiver.recv() => return said,
            sent = checker.sender.flush(), if waiting => sent?,
        }
    }
}

/// The services that an earlier run put into the kernel; none where there is no readable file.
fn read_owned(path: &Path) -> BTreeSet<ServiceKey> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return BTreeSet::new(),
        Err(e) => {
            warn!("{}: {e}", path.display());
            return BTreeSet::new();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|e| {
        warn!("{}: {e}; taken as empty", path.display());
        BTreeSet::new()
    })
}

fn write_owned(path: &Path, owned: &BTreeSet<ServiceKey>) -> io::Result<()> {
    store::replace(path, &serde_json::to_vec(owned)?)
}
