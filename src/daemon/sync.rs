//! Keeps the kernel's connection sync in the role of the node: master where the group is, backup
//! elsewhere. What runs is read from the kernel at every look; what somebody else has stopped or
//! started is put right, and when nothing is as it should be the status says so.
//!
//! One role at a time, although the kernel would run both: for the time that a new holder passes
//! packets on (`daemon::switch`), the entries of what it passes on name the old holder as their real
//! server, and must not be told to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::cluster::event::{Input, Manner, Operation};
use crate::config::{self, Config, Sync};
use crate::daemon::beat::{Order, Orders};
use crate::daemon::director::DirectorHandle;
use crate::daemon::settings::KernelSettings;
use crate::kernel::ipvs::{IpvsHandle, RunningSync, SyncFault, SyncRole};
use crate::kernel::nft::{NftError, Seal};
use crate::kernel::sync_guard::{self, SyncGuard};
use crate::names::{GroupId, GroupName};
use crate::status::SyncStatus;

/// From one look at the daemons to the next, as with addresses.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From one look at the rules of the guard to the next: each is a run of nft.
const GUARD_LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a backup must have listened until it has heard of every connection that is in use. A
/// master that came by a planned switch may begin six seconds later than the backup, and a second
/// more when its interface has to come first. It tells each connection once a second (`config::ipvs`),
/// keeps a message that is not full for two seconds (`IPVS_SYNC_FLUSH_TIME`) and looks at it once a
/// second (`IPVS_SYNC_CHECK_PERIOD` of `net/netfilter/ipvs/ip_vs_sync.c`); and one second for the
/// way.
const FRESH_AFTER: Duration = Duration::from_secs(12);
/// Longest wait for the end of the daemons when this process ends.
const END_LIMIT: Duration = Duration::from_secs(3);

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    /// Whose resource it is.
    group: GroupId,
    sync: Sync,
    /// Whose messages are taken; empty: anybody's.
    peers: BTreeSet<IpAddr>,
    /// Clients may send to its interface.
    among_clients: bool,
}

impl Settings {
    fn guard(&self) -> Option<SyncGuard> {
        let port = self.sync.port.unwrap_or(config::SYNC_PORT);
        let (interface, peers) = (self.sync.interface.clone(), self.peers.clone());
        (!peers.is_empty()).then_some(SyncGuard { interface, port, peers })
    }
}

/// Which daemon should run.
#[derive(Debug, Clone)]
struct Wanted {
    settings: Option<Settings>,
    /// Until the change.
    before: SyncRole,
    role: SyncRole,
    /// When the role changes.
    from: Instant,
}

impl Wanted {
    fn now(&self) -> SyncRole {
        if Instant::now() >= self.from { self.role } else { self.before }
    }
}

/// How the sync stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// Which daemon runs as it should.
    role: Option<SyncRole>,
    fault: Option<String>,
    fresh: bool,
    /// Why messages of anybody are taken.
    unguarded: Option<String>,
}

/// The way to the task that keeps the sync.
#[derive(Debug, Clone)]
pub(crate) struct SyncKeeper {
    wanted: Rc<watch::Sender<Wanted>>,
    seen: watch::Receiver<Seen>,
}

/// Begins to keep the sync of a configuration on the current `LocalSet`: as backup.
pub(crate) fn start(config: &Config, director: &DirectorHandle, orders: Orders) -> SyncKeeper {
    let (ipvs, settings) = (director.ipvs().clone(), director.settings().clone());
    let (wanted, watched) = watch::channel(Wanted {
        settings: configured(config),
        before: SyncRole::Backup,
        role: SyncRole::Backup,
        from: Instant::now(),
    });
    let (seen, watching) = watch::channel(Seen::default());
    // An earlier process may have left its own.
    let guard = Guard { known: None, begun: true };
    let task = Task { ipvs, settings, orders, seen, listening: None, told: None, guard };
    tokio::task::spawn_local(task.run(watched));
    SyncKeeper { wanted: Rc::new(wanted), seen: watching }
}

fn configured(config: &Config) -> Option<Settings> {
    let (group, sync) = config.sync()?;
    let groups: Vec<_> = config.groups.iter().collect();
    Some(Settings {
        group,
        sync: sync.clone(),
        peers: sync.admitted(&config.links),
        among_clients: sync.among_clients(&groups),
    })
}

impl SyncKeeper {
    /// The group is started or stopped here; the role changes `after` that.
    pub(crate) fn follow(&self, operation: Operation, manner: Manner, after: Duration) {
        let role = match operation {
            Operation::Start => SyncRole::Master,
            Operation::Stop => SyncRole::Backup,
        };
        let after = match manner {
            Manner::Alone => Duration::ZERO,
            Manner::Overlap { .. } => after,
        };
        self.wanted.send_modify(|wanted| {
            if wanted.role != role {
                wanted.before = wanted.now();
                wanted.role = role;
            }
            wanted.from = Instant::now() + after;
        });
    }

    /// A group is up here, however it came to be.
    pub(crate) fn serves(&self, group: GroupId) {
        let ours = |settings: &Settings| settings.group == group;
        let late = {
            let wanted = self.wanted.borrow();
            wanted.role == SyncRole::Backup && wanted.settings.as_ref().is_some_and(ours)
        };
        if late {
            self.follow(Operation::Start, Manner::Alone, Duration::ZERO);
        }
    }

    /// Another configuration holds from now on; these groups are up here.
    pub(crate) fn configure(&self, config: &Config, active: &BTreeSet<GroupName>) {
        let settings = configured(config);
        let group = config.groups.iter().find(|group| group.sync().is_some());
        let serves = group.is_some_and(|group| active.contains(&group.name));
        let role = if serves { SyncRole::Master } else { SyncRole::Backup };
        self.wanted.send_if_modified(|wanted| {
            let changed = wanted.settings != settings;
            if changed {
                *wanted = Wanted { settings, before: role, role, from: Instant::now() };
            }
            changed
        });
    }

    /// For the status; `None` without a sync.
    pub(crate) fn status(&self) -> Option<SyncStatus> {
        let wanted = self.wanted.borrow().clone();
        let Settings { sync, peers, among_clients, .. } = wanted.settings.as_ref()?;
        let seen = self.seen.borrow().clone();
        Some(SyncStatus {
            interface: sync.interface.clone(),
            id: sync.id,
            group: Some(sync.group.unwrap_or(config::SYNC_GROUP)),
            port: Some(sync.port.unwrap_or(config::SYNC_PORT)),
            peers: peers.iter().copied().collect(),
            unguarded: seen.unguarded,
            among_clients: *among_clients,
            role: seen.role.map(|role| role.word().to_owned()),
            wanted: wanted.now().word().to_owned(),
            fresh: seen.fresh,
            fault: seen.fault,
        })
    }

    /// Stops both daemons.
    pub(crate) async fn end(&self) {
        let gone = self.wanted.send_if_modified(|wanted| wanted.settings.take().is_some());
        if !gone {
            return;
        }
        let mut seen = self.seen.clone();
        let none = |seen: &Seen| seen.role.is_none() && seen.fault.is_none();
        let ended = timeout(END_LIMIT, seen.wait_for(none)).await;
        if !matches!(ended, Ok(Ok(_))) {
            warn!("the sync daemons may still run; `ipvsadm -l --daemon` shows them");
        }
    }
}

struct Task {
    ipvs: IpvsHandle,
    settings: KernelSettings,
    orders: Orders,
    seen: watch::Sender<Seen>,
    /// Since when the backup has run without a break, and on which interface.
    listening: Option<(Instant, u32)>,
    /// What the cluster was told last.
    told: Option<(GroupId, bool)>,
    guard: Guard,
}

/// The rules that let only the peer in.
#[derive(Debug)]
struct Guard {
    /// What is in force, as it was read, and when that was.
    known: Option<(SyncGuard, Seal, Instant)>,
    /// Something of ours may be in force.
    begun: bool,
}

impl Guard {
    /// Sees to it that this guard is in force. Why not, where it is not.
    async fn keep(&mut self, wanted: Option<SyncGuard>) -> Option<String> {
        let Some(wanted) = wanted else {
            self.end().await;
            return Some("no address of the peer is known there".to_owned());
        };
        match self.put_right(wanted).await {
            Ok(()) => None,
            Err(error) => {
                self.known = None;
                Some(error.to_string())
            }
        }
    }

    async fn put_right(&mut self, wanted: SyncGuard) -> Result<(), NftError> {
        if let Some((guard, seal, at)) = &mut self.known
            && *guard == wanted
        {
            if at.elapsed() < GUARD_LOOK_EVERY {
                return Ok(());
            }
            if sync_guard::look().await? == *seal {
                *at = Instant::now();
                return Ok(());
            }
            warn!("somebody else has changed the rules that guard the connection sync");
        }
        let seal = sync_guard::begin(&wanted).await;
        self.begun |= !matches!(seal, Err(NftError::Missing(_) | NftError::Refused(_)));
        let seal = seal?;
        self.known = Some((wanted, seal, Instant::now()));
        Ok(())
    }

    async fn end(&mut self) {
        self.known = None;
        if !self.begun {
            return;
        }
        match sync_guard::end().await {
            // Without nft nothing of ours is in force.
            Ok(()) | Err(NftError::Missing(_)) => self.begun = false,
            Err(error) => warn!("the guard of the connection sync may still be in force: {error}"),
        }
    }
}

impl Task {
    async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        let mut ours = false;
        loop {
            let now = wanted.borrow_and_update().clone();
            match &now.settings {
                Some(settings) => {
                    ours = true;
                    // Before the daemon that it guards.
                    let unguarded = self.guard.keep(settings.guard()).await;
                    let seen = self.look(&settings.sync, now.now()).await;
                    let seen = Seen { unguarded, ..seen };
                    self.tell(settings.group, &seen);
                    self.show(seen);
                }
                // Without a sync of ours, others may have theirs.
                None if ours => {
                    ours = !self.stop_all().await;
                    self.tell_nothing();
                }
                None => {}
            }
            let pause = now.from.saturating_duration_since(Instant::now());
            let pause = if pause.is_zero() { LOOK_EVERY } else { pause.min(LOOK_EVERY) };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    /// Puts right what is not as it should be, and says what runs then.
    async fn look(&mut self, settings: &Sync, role: SyncRole) -> Seen {
        match self.put_right(settings, role).await {
            Ok(true) => {
                let listening = self.listening.map(|(since, _)| since.elapsed() >= FRESH_AFTER);
                let fresh = role == SyncRole::Master || listening == Some(true);
                Seen { role: Some(role), fault: None, fresh, unguarded: None }
            }
            Ok(false) => self.faulty("the kernel's sync daemon ends again at once".to_owned()),
            Err(fault) => self.faulty(fault.to_string()),
        }
    }

    fn faulty(&mut self, why: String) -> Seen {
        self.listening = None;
        Seen { role: None, fault: Some(why), ..Seen::default() }
    }

    /// Whether the daemon of that role runs, and no other.
    async fn put_right(&mut self, settings: &Sync, role: SyncRole) -> Result<bool, SyncFault> {
        let no_interface = || SyncFault::NoInterface(settings.interface.clone());
        let running = self.ipvs.sync_daemons().await?;
        self.settings.there().await;
        let index = interface_index(&settings.interface).ok_or_else(no_interface)?;
        let renewed = self.listening.is_some_and(|(_, known)| known != index);
        let right = |it: &RunningSync| it.role == role && it.serves(settings) && !renewed;
        for wrong in running.iter().filter(|it| !right(it)) {
            self.ipvs.stop_sync(wrong.role).await?;
        }
        let new = !running.iter().any(right);
        if new {
            self.ipvs.start_sync(role, settings).await?;
            info!("connection sync: {} on {}", role.word(), settings.interface);
        }
        let now = self.ipvs.sync_daemons().await?;
        let [only] = now.as_slice() else { return Ok(false) };
        let goes_on = self.listening.filter(|_| !new);
        self.listening = match role {
            SyncRole::Backup => goes_on.or_else(|| Some((Instant::now(), index))),
            SyncRole::Master => None,
        };
        Ok(only.role == role && only.serves(settings))
    }

    async fn stop_all(&mut self) -> bool {
        let mut stopped = true;
        for role in [SyncRole::Master, SyncRole::Backup] {
            if let Err(e) = self.ipvs.stop_sync(role).await {
                warn!("the sync {} could not be stopped: {e}", role.word());
                stopped = false;
            }
        }
        self.guard.end().await;
        self.listening = None;
        if stopped {
            self.show(Seen::default());
        }
        stopped
    }

    fn show(&self, seen: Seen) {
        self.seen.send_if_modified(|old| {
            let changed = *old != seen;
            if let Some(why) = seen.fault.as_ref().filter(|_| changed) {
                warn!("connection sync: {why}");
            }
            *old = seen;
            changed
        });
    }

    /// The cluster holds a failback until the backup has heard enough.
    fn tell(&mut self, group: GroupId, seen: &Seen) {
        let told = (group, seen.fresh);
        let input = Input::Synced { group, fresh: seen.fresh };
        if self.told != Some(told) && self.orders.push(Order::Core(input)).is_ok() {
            self.told = Some(told);
        }
    }

    fn tell_nothing(&mut self) {
        if let Some((group, _)) = self.told {
            let input = Input::Synced { group, fresh: true };
            if self.orders.push(Order::Core(input)).is_ok() {
                self.told = None;
            }
        }
    }
}

/// The number of an interface in our network namespace.
fn interface_index(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice, socket};
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::name_to_index(socket, name).ok()
}
