mod adopt;
mod hooks;
mod mails;

use super::*;
use crate::lvs::agent::AgentCheck;
use crate::lvs::check::{CheckFailure, CheckKind, CheckSpec, Verdict};
use crate::lvs::mail::{Letter, MailFailure};
use crate::lvs::model::{
    Agent, ConnectionCount, Dependency, DestEntry, Forwarding, Need, Quorum, RealKey, ServiceEntry,
};
use crate::lvs::overrides::Book;
use crate::lvs::plan::{Op, apply};
use crate::lvs::pool::Turn;
use crate::lvs::table::{desired, is_served};
use crate::lvs::testing::{at, director, down, key, real, service, up};

const NONE: [&str; 0] = [];

/// What becomes of letters.
#[derive(Debug, Clone)]
enum Relay {
    Well,
    Refuses(MailFailure),
    Silent,
}

/// The control with a kernel that obeys at once, unless it is told not to.
struct World {
    now: Instant,
    control: Control,
    kernel: Table,
    counts: ConnectionCounts,
    fault: Option<KernelFault>,
    refuses: fn(&Op) -> Option<OpError>,
    mute: bool,
    checks: Vec<CheckSpec>,
    events: Vec<String>,
    ops: Vec<String>,
    orders: usize,
    last: OrderId,
    /// What was run, with its order.
    runs: Vec<(RunId, String)>,
    /// Programs run for ever.
    deaf: bool,
    /// The last one that does.
    running: Option<RunId>,
    stopped: Option<Vec<ServiceKey>>,
    /// What has been mailed, and when.
    letters: Vec<(Instant, Letter)>,
    posting: Option<LetterId>,
    relay: Relay,
    /// Lines on checks, with their files.
    monitored: Vec<String>,
    told: Verdicts,
    book: Book,
    /// Services that were served, must stay so, and were not after some order.
    emptied: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::from_millis(1_000_000),
            control: Control::new(),
            kernel: Table::default(),
            counts: ConnectionCounts::new(),
            fault: None,
            refuses: |_| None,
            mute: false,
            checks: Vec::new(),
            events: Vec::new(),
            ops: Vec::new(),
            orders: 0,
            last: OrderId(0),
            runs: Vec::new(),
            deaf: false,
            running: None,
            stopped: None,
            letters: Vec::new(),
            posting: None,
            relay: Relay::Well,
            monitored: Vec::new(),
            told: Verdicts::default(),
            book: Book::default(),
            emptied: Vec::new(),
        }
    }

    fn configured(services: Vec<VirtualService>) -> Self {
        let mut world = Self::new();
        world.configure(services);
        world
    }

    fn configure(&mut self, services: Vec<VirtualService>) {
        let directors = vec![director(services)];
        self.tell(Input::Configure { directors, owned: BTreeSet::new() });
    }

    fn tell(&mut self, input: Input) {
        self.control.handle(self.now, input);
        let start = self.orders;
        while let Some(output) = self.control.poll() {
            assert!(self.orders - start < 20, "spins");
            if let Some(answer) = self.obey(output) {
                self.control.handle(self.now, answer);
            }
        }
    }

    fn obey(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Check(specs) => self.checks = specs,
            Output::Tell(verdicts) => self.told = verdicts,
            Output::Adopt(orders) => {
                for (target, command) in orders {
                    self.book.order(target, command, 0).unwrap();
                }
                return Some(Input::Override(Overrides::of(&self.book, self.now, 0)));
            }
            Output::Report(event) => self.events.push(event.to_string()),
            Output::Mail { id, letter } => {
                self.letters.push((self.now, letter));
                self.posting = Some(id);
                let result = match self.relay.clone() {
                    Relay::Silent => return None,
                    Relay::Well => Ok(()),
                    Relay::Refuses(failure) => Err(failure),
                };
                return Some(Input::Mailed { id, result });
            }
            Output::Monitor { file, line } => {
                self.monitored.push(format!("{}: {line}", file.display()));
            }
            Output::Stopped { left } => self.stopped = Some(left),
            Output::Run { id, program } => {
                self.runs.push((id, program.to_string()));
                self.running = self.deaf.then_some(id).or(self.running);
                return (!self.deaf).then_some(Input::Ran { id, result: Ok(()) });
            }
            Output::Dump(order) => {
                (self.orders, self.last) = (self.orders + 1, order);
                let reading = (self.kernel.clone(), self.counts.clone());
                let result = self.fault.clone().map_or_else(|| Ok(reading), Err);
                return (!self.mute).then_some(Input::Dumped { order, result });
            }
            Output::Apply { order, ops } => {
                (self.orders, self.last) = (self.orders + 1, order);
                let answers = ops.iter().map(|op| self.change(op)).collect();
                let result = self.fault.clone().map_or(Ok(answers), Err);
                return (!self.mute).then_some(Input::Applied { order, result });
            }
        }
        None
    }

    fn change(&mut self, op: &Op) -> Result<(), OpError> {
        if let Some(why) = (self.refuses)(op) {
            return Err(why);
        }
        self.ops.push(op.to_string());
        let served = self.kernel.0.get(&op.service()).is_some_and(is_served);
        apply(&mut self.kernel, op);
        if served && self.kernel.0.get(&op.service()).is_some_and(|entry| !is_served(entry)) {
            self.emptied.push(op.to_string());
        }
        Ok(())
    }

    /// Lets time pass, waking the control when it asks for it.
    fn pass(&mut self, span: Duration) {
        let end = self.now.plus(span);
        let mut wakes = 0;
        while self.control.deadline() <= end {
            self.now = self.now.max(self.control.deadline());
            self.tell(Input::Tick);
            wakes += 1;
            assert!(wakes < 1000, "spins");
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// The kernel answers and obeys again.
    fn be_well(&mut self) {
        self.fault = None;
        self.mute = false;
        self.refuses = |_| None;
    }

    /// Verdicts on the server 10.0.1.`n` wherever it is checked.
    fn verdict(&mut self, n: u8, good: bool) {
        self.now = self.now.plus(Duration::from_millis(1));
        for spec in self.checks.clone() {
            if spec.address == at(n).address {
                let result = if good { up(spec.id) } else { down(spec.id) };
                self.tell(Input::Checked(result));
            }
        }
    }

    fn pool(&self, n: u8) -> Vec<(RealKey, u32)> {
        let entry = &self.kernel.0[&key(n)];
        entry.dests.iter().map(|(key, dest)| (*key, dest.weight)).collect()
    }

    fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }
}

#[test]
fn from_start_to_converged_the_sorry_server_bridges_and_no_server_enters_unchecked() {
    let mut world = World::configured(vec![service(1, &[1, 2])]);
    assert_eq!(world.checks.len(), 2);
    assert_eq!(world.pool(1), [(at(99), 1)], "before the first verdict");
    assert!(!world.control.converged());
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    assert!(!world.control.converged(), "server 2 has not been judged");
    world.verdict(2, false);
    assert!(world.control.converged());
    let want = [
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 in, no real server is up",
        "tcp 10.0.0.1:80: 10.0.1.1:80 is up",
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 out",
        "tcp 10.0.0.1:80: 10.0.1.2:80 is down: connection refused",
        "all checked, and the kernel's table is as configured",
    ];
    assert_eq!(world.take_events(), want);
}

#[test]
fn the_sorry_server_goes_in_with_the_same_order_as_the_last_one_goes_out() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    world.ops.clear();
    let before = world.orders;
    world.verdict(1, false);
    assert_eq!(world.orders, before + 1, "one turn");
    let want = [
        "add 10.0.1.99:80 (gate, weight 1) to tcp 10.0.0.1:80",
        "remove 10.0.1.1:80 from tcp 10.0.0.1:80",
    ];
    assert_eq!(world.ops, want);
    assert_eq!(world.emptied, NONE);
}

#[test]
fn a_table_flushed_by_somebody_else_is_healed_within_one_interval() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    world.seconds(3);
    let right = world.kernel.clone();
    world.kernel = Table::default();
    world.take_events();
    world.seconds(1);
    assert_eq!(world.kernel, right);
    let want = [
        "somebody else changed tcp 10.0.0.1:80 in the kernel",
        "tcp 10.0.0.1:80 put back as configured",
    ];
    assert_eq!(world.take_events(), want);
    assert!(world.control.converged());
}

#[test]
fn a_quiet_hour_costs_one_reading_an_interval_and_no_report() {
    let mut slow = service(1, &[1]);
    slow.interval = Duration::from_secs(30);
    let mut world = World::configured(vec![slow]);
    world.verdict(1, true);
    world.take_events();
    let before = world.orders;
    world.seconds(3600);
    assert_eq!(world.orders - before, 360);
    assert_eq!(world.take_events(), NONE);
}

#[test]
fn foreign_services_stay_and_foreign_servers_in_ours_go() {
    let mut world = World::new();
    let foreign = ServiceEntry {
        scheduler: "lc".to_owned(),
        persistent: None,
        netmask: None,
        one_packet: false,
        flags: crate::lvs::model::SchedFlags::default(),
        dests: [(at(50), DestEntry::new(Forwarding::Masq, 1))].into(),
    };
    world.kernel.0.insert(key(9), foreign.clone());
    world.kernel.0.insert(key(1), foreign.clone());
    world.configure(vec![service(1, &[1])]);
    assert_eq!(world.kernel.0[&key(9)], foreign);
    assert_eq!(world.pool(1), [(at(99), 1)]);
    assert_eq!(world.kernel.0[&key(1)].scheduler, "rr");
}

#[test]
fn a_restart_over_a_live_table_changes_nothing_until_a_verdict_does() {
    let mut old = World::configured(vec![service(1, &[1, 2])]);
    old.verdict(1, true);
    old.verdict(2, true);
    let mut world = World::new();
    world.kernel = old.kernel;
    world.configure(vec![service(1, &[1, 2])]);
    assert_eq!(world.ops, NONE);
    world.verdict(1, true);
    assert_eq!(world.ops, NONE);
    world.verdict(2, false);
    assert_eq!(world.ops, ["remove 10.0.1.2:80 from tcp 10.0.0.1:80"]);
    assert!(world.control.converged());
}

#[test]
fn a_reload_orders_only_the_difference() {
    let mut world = World::configured(vec![service(1, &[1, 2]), service(2, &[1])]);
    world.verdict(1, true);
    world.verdict(2, true);
    world.ops.clear();
    let mut web = service(1, &[1, 2, 3]);
    web.scheduler = "wlc".to_owned();
    web.reals[1].weight = 5;
    world.configure(vec![web]);
    let want = [
        "change tcp 10.0.0.1:80 (wlc)",
        "change 10.0.1.2:80 (gate, weight 5) in tcp 10.0.0.1:80",
        "remove tcp 10.0.0.2:80",
    ];
    assert_eq!(world.ops, want, "and server 3 does not enter unchecked");
    assert!(!world.control.owned().contains(&key(2)), "gone, so no longer ours");
    world.verdict(3, true);
    assert_eq!(world.pool(1).len(), 3);
}

#[test]
fn a_changed_check_leaves_its_server_in_service_until_the_verdict() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    world.ops.clear();
    let mut web = service(1, &[1]);
    web.timeout = Duration::from_secs(3);
    world.configure(vec![web]);
    assert_eq!(world.ops, NONE);
    world.verdict(1, false);
    assert_eq!(world.pool(1), [(at(99), 1)]);
}

#[test]
fn services_of_an_earlier_run_are_taken_out() {
    let mut world = World::new();
    let mut old = World::configured(vec![service(3, &[1])]);
    old.verdict(1, true);
    world.kernel = old.kernel;
    let directors = vec![director(vec![service(1, &[1])])];
    world.tell(Input::Configure { directors, owned: [key(3)].into() });
    assert!(!world.kernel.0.contains_key(&key(3)));
    assert_eq!(world.control.owned(), &[key(1)].into());
}

#[test]
fn a_stop_takes_out_what_is_ours_and_leaves_what_is_to_stay() {
    let mut stays = service(2, &[1]);
    stays.clean_stop = false;
    let mut world = World::configured(vec![service(1, &[1]), stays]);
    world.verdict(1, true);
    world.tell(Input::Shutdown);
    assert_eq!(world.stopped, Some(vec![]));
    assert_eq!(world.checks, []);
    assert_eq!(world.kernel.0.keys().collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(world.control.owned(), &[key(2)].into());
    assert_eq!(world.control.deadline(), Instant::NEVER);
    world.configure(vec![service(1, &[1])]);
    assert_eq!(world.pool(1), [(at(1), 1)], "the verdict was kept");
    assert!(!world.kernel.0.contains_key(&key(2)));
}

#[test]
fn a_start_after_a_stop_reads_before_it_orders() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    let live = world.kernel.clone();
    world.tell(Input::Shutdown);
    world.kernel = live;
    world.ops.clear();
    world.configure(vec![service(1, &[1])]);
    assert_eq!(world.ops, NONE, "somebody else had put it back");
}

#[test]
fn a_stop_ends_in_time_and_says_what_it_had_to_leave() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.mute = true;
    world.tell(Input::Shutdown);
    world.seconds(9);
    assert_eq!(world.stopped, None);
    world.seconds(1);
    assert_eq!(world.stopped, Some(vec![key(1)]));
    assert_eq!(world.control.owned(), &[key(1)].into(), "for the next run");
    world.mute = false;
    world.kernel = Table::default();
    world.configure(vec![service(1, &[1])]);
    assert_eq!(world.pool(1), [(at(99), 1)], "a new start waits for nothing and reads first");
}

#[test]
fn without_the_module_it_says_so_once_and_goes_on_when_it_comes() {
    let mut world = World::new();
    world.fault = Some(KernelFault::NoModule);
    world.configure(vec![service(1, &[1])]);
    world.verdict(1, true);
    world.seconds(100);
    assert!(world.orders < 15, "{} attempts", world.orders);
    let view = world.control.view(world.now);
    assert_eq!(view.kernel.state, "no_module");
    assert!(view.kernel.message.unwrap().contains("modprobe ip_vs"));
    assert!(!world.control.converged());
    world.fault = None;
    world.seconds(15);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    let events = world.take_events();
    let about = |word| events.iter().filter(|event| event.contains(word)).count();
    assert_eq!((about("has no IPVS"), about("answers again")), (1, 1), "{events:?}");
}

#[test]
fn an_order_that_is_never_answered_is_given_up_and_its_late_answer_is_harmless() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.seconds(1);
    world.mute = true;
    world.verdict(1, true);
    let late = Input::Applied { order: world.last, result: Ok(vec![]) };
    world.seconds(4);
    assert_eq!(world.control.view(world.now).kernel.state, "ready");
    world.mute = false;
    world.seconds(1);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    assert!(world.control.converged());
    let before = world.control.view(world.now);
    world.tell(late.clone());
    assert_eq!(world.control.view(world.now), before);
    world.mute = true;
    world.verdict(1, false);
    let orders = world.orders;
    world.tell(late);
    assert_eq!(world.orders, orders, "the order under way is still waited for");
    let events = world.take_events().join("\n");
    assert!(events.contains("not answered for 5 s") && events.contains("answers again"));
}

#[test]
fn a_refused_order_is_repeated_ever_more_rarely_and_stops_no_other() {
    let mut bad = service(2, &[1]);
    bad.scheduler = "zzz".to_owned();
    let mut world = World::new();
    world.refuses = |op| match op {
        Op::AddService(_, new) if new.scheduler == "zzz" => {
            Some(OpError::NoScheduler("zzz".to_owned()))
        }
        op if op.service() == key(2) => Some(OpError::NoService),
        _ => None,
    };
    world.configure(vec![service(1, &[1]), bad]);
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    let before = world.orders;
    world.seconds(600);
    let readings = 600;
    assert!(world.orders - before < readings + 60, "{}", world.orders - before);
    assert!(!world.control.converged());
    let refused = world.control.view(world.now).kernel.refused;
    assert!(refused[0].contains("no scheduler `zzz`"), "{refused:?}");
    let events = world.take_events();
    let about = events.iter().filter(|event| event.contains("refused to add tcp")).count();
    assert_eq!(about, 1, "{events:?}");
    world.refuses = |_| None;
    world.seconds(60);
    assert_eq!(world.pool(2), [(at(1), 1)]);
    assert!(world.control.converged());
}

#[test]
fn a_dead_checker_changes_no_verdict_and_a_new_one_gets_the_whole_list() {
    let mut world = World::configured(vec![service(1, &[1, 2])]);
    world.verdict(1, true);
    let list = std::mem::take(&mut world.checks);
    world.tell(Input::CheckerReady);
    assert_eq!(world.checks, list);
    world.checks.clear();
    world.tell(Input::CheckerLost);
    world.seconds(60);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    assert!(!world.control.view(world.now).checker);
    world.tell(Input::CheckerReady);
    assert_eq!(world.checks, list);
}

#[test]
fn nothing_configured_asks_nothing_of_the_kernel() {
    let mut world = World::configured(vec![]);
    world.seconds(100);
    assert_eq!(world.orders, 0);
    assert!(world.control.converged());
    world.tell(Input::Shutdown);
    assert_eq!(world.stopped, Some(vec![]));
}

#[test]
fn the_view_shows_configuration_health_and_kernel() {
    let mut web = service(1, &[1, 2, 3]);
    web.quiescent = true;
    web.reals[0].weight = 10;
    web.reals[2].check = CheckKind::Off;
    let mut world = World::configured(vec![web]);
    world.verdict(1, true);
    world.verdict(2, false);
    world.seconds(2);
    let view = serde_json::to_value(world.control.view(world.now)).unwrap();
    assert_eq!(view["kernel"]["state"], "ready");
    let web = &view["services"][0];
    let text = |value: &serde_json::Value| value.to_string();
    assert_eq!(text(&web["service"]), r#""10.0.0.1:80""#);
    assert_eq!(
        text(&web["fallback"]),
        r#"{"active":false,"address":"10.0.1.99:80","cause":null,"state":"unchecked"}"#
    );
    let [first, second, third] = [0, 1, 2].map(|n| &web["real"][n]);
    assert_eq!((&first["weight"], &first["up"]), (&10.into(), &true.into()));
    assert_eq!((&second["weight"], &second["cause"]), (&0.into(), &"connection refused".into()));
    assert_eq!((&second["configured_weight"], &second["since_ms"]), (&1.into(), &2000.into()));
    assert_eq!((&third["state"], &third["cause"]), (&"down".into(), &serde_json::Value::Null));
}

#[test]
fn a_certificate_near_its_end_is_reported_once_a_day_and_shown_until_it_is_renewed() {
    let mut world = World::configured(vec![service(1, &[1]), service(2, &[1])]);
    world.verdict(1, true);
    let checked = |world: &mut World, verdict: Verdict, days: Option<u16>| {
        let id = world.checks[0].id;
        let warning = days.map(|days| CheckWarning::CertificateEnds { days });
        world.events.clear();
        world.tell(Input::Checked(CheckResult { id, verdict, warning, took_us: 1 }));
        world.events.clone()
    };
    let shown = |world: &World| {
        let view = world.control.view(world.now);
        let real = view.services[0].real[0].clone();
        (real.up, real.warning)
    };
    let said = checked(&mut world, Verdict::Up, Some(9));
    let words = "its certificate ends in 9 days";
    let both = [1, 2].map(|n| format!("tcp 10.0.0.{n}:80: 10.0.1.1:80: {words}"));
    assert_eq!(said, both);
    assert_eq!(shown(&world), (true, Some(words.to_owned())));
    assert_eq!(checked(&mut world, Verdict::Up, Some(9)), NONE, "once a day");
    assert_eq!(checked(&mut world, Verdict::Up, Some(8)).len(), 2);
    // A refused connection shows no certificate.
    let refused = Verdict::Down(CheckFailure::Refused);
    checked(&mut world, refused, None);
    assert_eq!(shown(&world), (false, Some("its certificate ends in 8 days".to_owned())));
    let renewed = checked(&mut world, Verdict::Up, None);
    assert!(renewed.iter().all(|event| !event.contains("certificate")), "{renewed:?}");
    assert_eq!(shown(&world), (true, None));
}

/// The list of checks of a director that says `standby_checks = "active"`.
fn following(services: Vec<VirtualService>) -> Input {
    let director = Director { follow: true, ..director(services) };
    Input::Configure { directors: vec![director], owned: BTreeSet::new() }
}

/// The two nodes of a pair; the first one leads.
fn pair(services: &[VirtualService]) -> (World, World) {
    let (mut active, mut standby) = (World::new(), World::new());
    for world in [&mut active, &mut standby] {
        world.tell(following(services.to_vec()));
    }
    let name = director(Vec::new()).name;
    active.tell(Input::Lead { director: name, lead: true });
    (active, standby)
}

#[test]
fn a_standby_goes_by_the_active_nodes_verdicts_and_checks_nothing_itself() {
    let (mut active, mut standby) = pair(&[service(1, &[1, 2])]);
    assert_eq!((active.checks.len(), standby.checks.len()), (2, 2), "nobody has said anything yet");
    active.verdict(1, true);
    standby.tell(Input::Told(active.told.clone()));
    assert_eq!(standby.checks.len(), 1, "of the other one there is nothing to say yet");
    let cold = standby.control.view(standby.now).cold;
    assert_eq!(cold.as_deref(), Some("1 of 2 checks have no verdict yet"));
    active.verdict(2, false);
    standby.tell(Input::Told(active.told.clone()));
    assert_eq!((standby.checks.len(), active.checks.len()), (0, 2));
    let view = standby.control.view(standby.now);
    assert_eq!((view.cold, view.followed), (None, 2));
    assert_eq!(view.services[0].real[1].cause.as_deref(), Some("the active node says so"));
    assert_eq!(standby.pool(1), active.pool(1));
    active.verdict(1, false);
    standby.tell(Input::Told(active.told.clone()));
    assert_eq!(standby.pool(1), [(at(99), 1)]);
}

#[test]
fn backup_and_sorry_servers_are_followed_too() {
    let (mut active, mut standby) = pair(&[tiers(Quorum::default())]);
    [1, 2, 5, 6, 99].into_iter().for_each(|n| active.verdict(n, n > 2));
    standby.tell(Input::Told(active.told.clone()));
    assert_eq!(standby.checks, []);
    assert_eq!(standby.pool(1), [(at(5), 1), (at(6), 1)]);
}

#[test]
fn a_standby_that_hears_nothing_for_half_a_minute_checks_by_itself_and_forgets_nothing() {
    let (mut active, mut standby) = pair(&[service(1, &[1, 2])]);
    active.verdict(1, true);
    active.verdict(2, true);
    standby.tell(Input::Told(active.told.clone()));
    standby.seconds(29);
    assert_eq!(standby.checks.len(), 0);
    standby.seconds(2);
    assert_eq!(standby.checks.len(), 2);
    assert_eq!(standby.pool(1), [(at(1), 1), (at(2), 1)]);
    standby.verdict(2, false);
    assert_eq!(standby.pool(1), [(at(1), 1)]);
}

#[test]
fn a_node_that_takes_over_checks_at_once_and_believes_nobody_any_more() {
    let (mut active, mut standby) = pair(&[service(1, &[1, 2])]);
    active.verdict(1, true);
    active.verdict(2, true);
    standby.tell(Input::Told(active.told.clone()));
    let name = director(Vec::new()).name;
    standby.tell(Input::Lead { director: name.clone(), lead: true });
    assert_eq!(standby.checks.len(), 2);
    assert_eq!(standby.control.view(standby.now).cold, None, "warm from the first moment on");
    standby.tell(Input::Told(Verdicts { states: vec![0b1010], ..active.told.clone() }));
    assert_eq!(standby.pool(1), [(at(1), 1), (at(2), 1)]);
    active.tell(Input::Lead { director: name, lead: false });
    assert_eq!(active.told, Verdicts::default());
}

#[test]
fn verdicts_of_another_configuration_or_on_a_director_that_checks_itself_are_not_believed() {
    let (mut active, _) = pair(&[service(1, &[1])]);
    active.verdict(1, true);
    let mut other = World::new();
    other.tell(following(vec![service(1, &[2])]));
    other.tell(Input::Told(active.told.clone()));
    assert_eq!(other.checks.len(), 1);
    let mut own = World::configured(vec![service(1, &[1])]);
    own.tell(Input::Told(active.told.clone()));
    assert_eq!(own.checks.len(), 1);
    // Garbage in the states, and places beyond the end of the list.
    other.tell(following(vec![service(1, &[1])]));
    for first in [0, 4, u16::MAX] {
        other.tell(Input::Told(Verdicts { first, states: vec![0xff; 128], ..active.told.clone() }));
    }
    assert_eq!(other.checks.len(), 1);
}

/// xorshift64*: the same histories in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn small(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(limit.into())).unwrap()
    }

    fn configuration(&mut self) -> Vec<VirtualService> {
        let mut services = Vec::new();
        for n in 1..4 {
            if self.below(4) == 0 {
                continue;
            }
            let reals: Vec<_> = (1..5).filter(|_| self.below(3) > 0).collect();
            let mut new = service(n, &reals);
            new.quiescent = self.below(2) == 0;
            new.backup = (5..7).filter(|_| self.below(3) == 0).map(real).collect();
            let need = Need::Servers(1 + u32::from(self.small(3)));
            new.policy.quorum = Quorum { need, hysteresis: u32::from(self.small(2)) };
            new.policy.panic = (self.below(3) == 0).then_some(50);
            new.policy.slow_start = (self.below(3) == 0).then_some(Duration::from_secs(10));
            new.reals.iter_mut().for_each(|real| real.weight = 10);
            new.clean_stop = self.below(3) > 0;
            (new.fall, new.rise) = (1 + u32::from(self.small(2)), 1 + u32::from(self.small(2)));
            services.push(new);
        }
        services
    }

    fn disturb(&mut self, world: &mut World) {
        match self.below(12) {
            0 => world.configure(self.configuration()),
            1 => world.kernel.0.retain(|key, _| *key == self::key(200)),
            2 => {
                let mut ours = world.kernel.0.iter_mut().filter(|(key, _)| **key != self::key(200));
                if let Some((_, entry)) = ours.next() {
                    entry.dests.clear();
                }
            }
            3 => world.fault = Some(KernelFault::NotPermitted),
            4 => world.mute = true,
            5 => world.refuses = |op| matches!(op, Op::AddDest(..)).then_some(OpError::Memory),
            6 => world.be_well(),
            _ => world.verdict(1 + self.small(6), self.below(2) == 0),
        }
    }
}

/// S11: after whatever happened, once it is quiet the table is the function of configuration and
/// health, and what is foreign is as it was.
#[test]
fn after_any_history_the_table_is_as_it_should_be() {
    for seed in 1..300 {
        let mut random = Random(seed);
        let mut world = World::new();
        world.configure(vec![service(200, &[77])]);
        let foreign = world.kernel.clone();
        (world.control, world.emptied) = (Control::new(), Vec::new());
        for _ in 0..60 {
            random.disturb(&mut world);
            world.pass(Duration::from_millis(random.below(3000)));
        }
        world.be_well();
        let last = random.configuration();
        world.configure(last.clone());
        (1..7).for_each(|n| world.verdict(n, random.below(2) == 0));
        world.seconds(61);
        assert!(world.control.converged(), "seed {seed}: {:?}", world.control);
        let Control { directors, health, overrides, memory, .. } = &world.control;
        let mut want = desired(Wish { directors, health, overrides, memory, now: world.now });
        want.0.extend(foreign.0.clone());
        assert_eq!(world.kernel, want, "seed {seed}");
        world.tell(Input::Shutdown);
        assert_eq!(world.stopped, Some(vec![]), "seed {seed}");
        want.0.retain(|key, _| {
            let stays = last.iter().any(|service| service.key == *key && !service.clean_stop);
            stays || foreign.0.contains_key(key)
        });
        assert_eq!(world.kernel, want, "seed {seed}");
    }
}

/// S11: with a sorry server configured a pool is never empty, whatever the verdicts.
#[test]
fn no_history_of_verdicts_and_reloads_empties_a_pool() {
    for seed in 1..300 {
        let mut random = Random(seed);
        let mut world = World::configured(vec![service(1, &[1, 2]), service(2, &[1, 3])]);
        for _ in 0..100 {
            match random.below(10) {
                0 => world.configure(random.configuration()),
                _ => world.verdict(1 + random.small(6), random.below(2) == 0),
            }
            assert_eq!(world.emptied, NONE, "seed {seed}");
            assert!(world.kernel.0.values().all(is_served), "seed {seed}");
        }
    }
}

/// What an operator says, when the wall clock says 1000.
fn operator(world: &mut World, said: &str) {
    let mut book = Book::default();
    book.order("10.0.1.1".parse().unwrap(), said.parse().unwrap(), 1_000_000).unwrap();
    world.tell(Input::Override(Overrides::of(&book, world.now, 1000)));
}

#[test]
fn a_drain_is_carried_out_at_once_counts_what_is_open_and_ends_in_time() {
    let mut world = World::configured(vec![service(1, &[1, 2])]);
    (1..3).for_each(|n| world.verdict(n, true));
    world.ops.clear();
    operator(&mut world, "drain 1005");
    assert_eq!(world.ops, ["change 10.0.1.1:80 (gate, weight 0) in tcp 10.0.0.1:80"]);
    let count = ConnectionCount { active: 3, inactive: 2, persistent: 0 };
    world.counts.insert((key(1), at(1)), count);
    world.seconds(2);
    let real = world.control.view(world.now).services[0].real[0].clone();
    assert_eq!((real.ordered.as_deref(), real.open, real.up), (Some("drain"), 3, true));
    assert_eq!(real.drain_ends_ms, Some(3000));
    world.ops.clear();
    world.seconds(2);
    assert_eq!(world.ops, NONE);
    world.seconds(2);
    assert_eq!(world.ops, ["remove 10.0.1.1:80 from tcp 10.0.0.1:80"]);
    operator(&mut world, "enable");
    assert_eq!(world.kernel.0[&key(1)].dests[&at(1)].weight, 1);
}

#[test]
fn draining_the_last_server_brings_the_sorry_server_in_first() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    world.ops.clear();
    operator(&mut world, "drain");
    assert_eq!(
        world.ops,
        [
            "add 10.0.1.99:80 (gate, weight 1) to tcp 10.0.0.1:80",
            "change 10.0.1.1:80 (gate, weight 0) in tcp 10.0.0.1:80"
        ]
    );
    assert_eq!(world.emptied, NONE);
}

#[test]
fn an_order_holds_over_a_new_configuration() {
    let mut world = World::configured(vec![service(1, &[1])]);
    operator(&mut world, "weight 9");
    world.configure(vec![service(1, &[1, 2]), service(2, &[1])]);
    (1..3).for_each(|n| world.verdict(n, true));
    assert_eq!(world.kernel.0[&key(1)].dests[&at(1)].weight, 9);
    assert_eq!(world.kernel.0[&key(2)].dests[&at(1)].weight, 9);
}

/// Service 1 with primary servers 1 and 2, backup servers 5 and 6, a checked sorry server, and
/// this quorum.
fn tiers(quorum: Quorum) -> VirtualService {
    let mut web = service(1, &[1, 2]);
    web.backup = vec![real(5), real(6)];
    if let Some(sorry) = &mut web.fallback {
        sorry.check = CheckKind::Connect(crate::lvs::model::Protocol::Tcp);
        sorry.check_port = 80;
    }
    web.policy.quorum = quorum;
    web
}

#[test]
fn the_backup_pool_serves_between_the_primary_one_and_the_sorry_server_and_no_moment_is_empty() {
    let mut world = World::configured(vec![tiers(Quorum::default())]);
    [1, 2, 5, 6, 99].into_iter().for_each(|n| world.verdict(n, true));
    let rests = [(at(1), 1), (at(2), 1), (at(5), 0), (at(6), 0)];
    assert_eq!(world.pool(1), rests, "the backup pool rests");
    world.verdict(1, false);
    world.take_events();
    world.ops.clear();
    world.verdict(2, false);
    let want = [
        "change 10.0.1.5:80 (gate, weight 1) in tcp 10.0.0.1:80",
        "change 10.0.1.6:80 (gate, weight 1) in tcp 10.0.0.1:80",
        "remove 10.0.1.2:80 from tcp 10.0.0.1:80",
    ];
    assert_eq!(world.ops, want);
    [5, 6].into_iter().for_each(|n| world.verdict(n, false));
    assert_eq!(world.pool(1), [(at(99), 1)]);
    world.verdict(6, true);
    assert_eq!(world.pool(1), [(at(6), 1)]);
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 1), (at(6), 0)], "its connections go on");
    let events: Vec<_> = world.take_events();
    let events = events.iter().filter(|event| !event.contains("80 is "));
    let want = [
        "tcp 10.0.0.1:80: backup pool in, no real server is up",
        "tcp 10.0.0.1:80: backup pool out",
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 in, no real server is up",
        "tcp 10.0.0.1:80: backup pool in, no real server is up",
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 out",
        "tcp 10.0.0.1:80: backup pool out",
    ];
    assert_eq!(events.filter(|event| !event.starts_with("all checked")).collect::<Vec<_>>(), want);
    assert_eq!(world.emptied, NONE);
}

#[test]
fn a_sorry_server_that_fails_its_check_is_not_put_in_and_that_is_said() {
    let mut world = World::configured(vec![tiers(Quorum::default())]);
    assert_eq!(world.pool(1), [], "not before it has been checked");
    world.verdict(99, true);
    assert_eq!(world.pool(1), [(at(99), 1)]);
    world.take_events();
    world.verdict(99, false);
    assert_eq!(world.pool(1), []);
    let want = [
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 is down, and is not put in: connection refused",
        "tcp 10.0.0.1:80: sorry server 10.0.1.99:80 out",
    ];
    assert_eq!(world.take_events(), want);
    let view = world.control.view(world.now).services[0].clone();
    assert_eq!(view.turn, Some(Turn::Nobody));
    let sorry = view.fallback.unwrap();
    assert_eq!((sorry.state.as_str(), sorry.active), ("down", false));
    assert_eq!(sorry.cause.as_deref(), Some("connection refused"));
}

#[test]
fn a_lost_quorum_hands_over_what_is_left_rests_and_the_hysteresis_keeps_it_from_swinging() {
    let quorum = Quorum { need: Need::Weight(10), hysteresis: 5 };
    let mut web = tiers(quorum);
    for (real, weight) in web.reals.iter_mut().zip([6, 4]) {
        real.weight = weight;
    }
    let mut world = World::configured(vec![web.clone()]);
    [5, 99, 1].into_iter().for_each(|n| world.verdict(n, true));
    assert_eq!(world.pool(1), [(at(1), 0), (at(5), 1)], "6 of 10 have never been a quorum");
    world.verdict(2, true);
    assert_eq!(world.pool(1), [(at(1), 6), (at(2), 4), (at(5), 0)]);
    world.verdict(2, false);
    assert_eq!(world.pool(1), [(at(1), 6), (at(5), 0)], "6 is above 10 - 5");
    let kernel = world.kernel.clone();
    world.verdict(2, true);
    world.take_events();
    world.ops.clear();
    world.verdict(1, false);
    let want = [
        "change 10.0.1.5:80 (gate, weight 1) in tcp 10.0.0.1:80",
        "change 10.0.1.2:80 (gate, weight 0) in tcp 10.0.0.1:80",
        "remove 10.0.1.1:80 from tcp 10.0.0.1:80",
    ];
    assert_eq!(world.ops, want);
    let want = [
        "tcp 10.0.0.1:80: 10.0.1.1:80 is down: connection refused",
        "tcp 10.0.0.1:80: the pool has lost its quorum: 4 of weight 10, lost below 5",
        "tcp 10.0.0.1:80: backup pool in, too few real servers are up",
    ];
    assert_eq!(world.take_events(), want);
    world.verdict(1, true);
    assert!(world.take_events().iter().any(|event| event.contains("has its quorum: 10 of")));
    assert_eq!(world.emptied, NONE);
    let mut restarted = World::new();
    restarted.kernel = kernel;
    restarted.configure(vec![web]);
    restarted.verdict(2, false);
    assert_eq!(restarted.ops, NONE, "the table says that the quorum was met before the restart");
}

#[test]
fn where_nobody_else_can_serve_what_is_left_of_the_pool_does() {
    let need = Need::Servers(2);
    let mut world = World::configured(vec![tiers(Quorum { need, hysteresis: 0 })]);
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 1)]);
    let view = world.control.view(world.now).services[0].clone();
    let quorum = view.quorum.unwrap();
    assert_eq!((quorum.met, quorum.present, quorum.needed), (false, 1, 2));
    world.verdict(99, true);
    assert_eq!(world.pool(1), [(at(1), 0), (at(99), 1)]);
}

#[test]
fn backup_servers_are_drained_like_others() {
    let mut world = World::configured(vec![tiers(Quorum::default())]);
    [5, 6, 99].into_iter().for_each(|n| world.verdict(n, true));
    let target: Target = "10.0.1.5".parse().unwrap();
    assert_eq!(world.control.meant(target), ["10.0.1.5:80 of tcp 10.0.0.1:80"]);
    let mut book = Book::default();
    book.order(target, "drain".parse().unwrap(), 1_000_000).unwrap();
    world.tell(Input::Override(Overrides::of(&book, world.now, 1000)));
    assert_eq!(world.pool(1), [(at(5), 0), (at(6), 1)]);
}

/// Service 1 with servers 1 to `count` of weight 100.
fn heavy(count: u8) -> VirtualService {
    let mut web = service(1, &(1..=count).collect::<Vec<_>>());
    web.reals.iter_mut().for_each(|real| real.weight = 100);
    web
}

#[test]
fn the_weight_of_a_server_that_has_returned_grows_step_by_step_and_at_a_start_all_are_whole() {
    let mut web = heavy(2);
    web.policy.slow_start = Some(Duration::from_secs(100));
    let mut world = World::configured(vec![web.clone()]);
    (1..3).for_each(|n| world.verdict(n, true));
    assert_eq!(world.pool(1), [(at(1), 100), (at(2), 100)], "a start");
    world.verdict(1, false);
    world.seconds(10);
    world.verdict(1, true);
    assert_eq!(world.pool(1), [(at(1), 5), (at(2), 100)]);
    let real = world.control.view(world.now).services[0].real[0].clone();
    assert_eq!(real.whole_in_ms, Some(100_000));
    world.seconds(49);
    assert_eq!(world.pool(1)[0], (at(1), 50));
    world.configure(vec![web.clone()]);
    assert_eq!(world.pool(1)[0], (at(1), 50), "a reload forgets nothing");
    world.seconds(1);
    assert_eq!(world.pool(1)[0], (at(1), 55));
    let steps = world.ops.len();
    world.seconds(500);
    assert_eq!(world.pool(1)[0], (at(1), 100));
    assert_eq!(world.ops.len() - steps, 9, "one order a step");
    assert_eq!(world.control.view(world.now).services[0].real[0].whole_in_ms, None);
}

#[test]
fn orders_and_a_growing_weight_compose() {
    let mut web = heavy(2);
    web.policy.slow_start = Some(Duration::from_secs(100));
    web.policy.quorum = Quorum { need: Need::Weight(150), hysteresis: 0 };
    let mut world = World::configured(vec![web]);
    (1..3).for_each(|n| world.verdict(n, true));
    operator(&mut world, "drain");
    world.seconds(5);
    operator(&mut world, "enable");
    assert_eq!(world.pool(1), [(at(1), 5), (at(2), 100)], "an enabled one is cold too");
    assert_eq!(world.control.view(world.now).services[0].turn, Some(Turn::Primary));
    operator(&mut world, "weight 70");
    assert_eq!(world.pool(1)[0], (at(1), 70), "an operator's word is whole at once");
    operator(&mut world, "drain");
    assert_eq!(world.pool(1)[0], (at(1), 0));
}

#[test]
fn when_too_many_fail_at_once_those_stay_in_until_they_are_fewer_or_none_is_left() {
    let mut web = heavy(4);
    web.policy.panic = Some(50);
    web.policy.slow_start = Some(Duration::from_secs(100));
    let mut world = World::configured(vec![web]);
    (1..5).for_each(|n| world.verdict(n, true));
    (1..3).for_each(|n| world.verdict(n, false));
    assert_eq!(world.pool(1), [(at(3), 100), (at(4), 100)], "half of them may go");
    world.take_events();
    world.verdict(3, false);
    assert_eq!(world.pool(1), [1, 2, 3, 4].map(|n| (at(n), 100)));
    let want = [
        "tcp 10.0.0.1:80: 10.0.1.3:80 is down: connection refused",
        "tcp 10.0.0.1:80: more than 50 % of the pool fail: those stay in",
    ];
    assert_eq!(world.take_events(), want);
    let view = world.control.view(world.now).services[0].clone();
    assert!(view.panic && !view.real[0].up && view.real[0].weight == 100);
    operator(&mut world, "disable");
    assert_eq!(world.pool(1), [2, 3, 4].map(|n| (at(n), 100)), "what is disabled does not count");
    world.verdict(3, true);
    assert_eq!(world.pool(1), [(at(3), 100), (at(4), 100)], "it was in all the time");
    world.verdict(2, true);
    assert_eq!(world.pool(1)[0], (at(2), 5), "it was out");
}

#[test]
fn with_nobody_left_the_sorry_server_serves_and_where_there_is_none_those_that_fail_do() {
    for (fallback, want) in [(true, vec![(at(99), 1)]), (false, vec![(at(1), 100), (at(2), 100)])] {
        let mut web = heavy(2);
        web.policy.panic = Some(50);
        web.fallback = web.fallback.filter(|_| fallback);
        let mut world = World::configured(vec![web]);
        (1..3).for_each(|n| world.verdict(n, true));
        (1..3).for_each(|n| world.verdict(n, false));
        assert_eq!(world.pool(1), want);
        world.verdict(2, true);
        assert_eq!(world.pool(1), [(at(2), 100)]);
    }
}

#[test]
fn a_server_that_flaps_is_said_to_once_and_its_changes_are_counted_for_ten_minutes() {
    let mut world = World::configured(vec![service(1, &[1])]);
    world.verdict(1, true);
    let real = |world: &World| world.control.view(world.now).services[0].real[0].clone();
    assert_eq!(real(&world).changes, 0, "the first verdict is no change");
    for _ in 0..4 {
        world.seconds(10);
        world.verdict(1, false);
        world.verdict(1, true);
    }
    let about = world.take_events().into_iter().filter(|event| event.contains("flaps"));
    assert_eq!(
        about.collect::<Vec<_>>(),
        ["tcp 10.0.0.1:80: 10.0.1.1:80 flaps: 6 changes in 10 minutes"]
    );
    assert_eq!((real(&world).changes, real(&world).flapping), (8, true));
    world.seconds(601);
    assert_eq!((real(&world).changes, real(&world).flapping), (0, false));
}

#[test]
fn a_server_is_up_only_while_everything_is_that_it_needs() {
    let mut web = service(1, &[1, 2]);
    let storage = std::sync::Arc::new(Dependency {
        name: "storage".to_owned(),
        check: CheckKind::Ping,
        address: at(50).address,
        port: 0,
        source: None,
    });
    web.reals[0].requires = vec![storage.clone()];
    let mut other = service(2, &[3]);
    other.reals[0].requires = vec![storage];
    let mut world = World::configured(vec![web, other]);
    assert_eq!(world.checks.len(), 4, "it is checked once");
    (1..4).for_each(|n| world.verdict(n, true));
    assert_eq!(world.pool(1), [(at(2), 1)], "nobody knows yet whether it is there");
    assert!(!world.control.converged());
    world.verdict(50, true);
    assert_eq!((world.pool(1).len(), world.pool(2)), (2, vec![(at(3), 1)]));
    world.take_events();
    world.verdict(50, false);
    assert_eq!((world.pool(1), world.pool(2)), (vec![(at(2), 1)], vec![(at(99), 1)]));
    let want = [
        "tcp 10.0.0.1:80: 10.0.1.1:80 is down: it needs storage: connection refused",
        "tcp 10.0.0.2:80: 10.0.1.3:80 is down: it needs storage: connection refused",
        "tcp 10.0.0.2:80: sorry server 10.0.1.99:80 in, no real server is up",
    ];
    assert_eq!(world.take_events(), want);
    world.verdict(1, false);
    world.verdict(50, true);
    let events = world.take_events();
    assert!(!events.iter().any(|event| event.contains("10.0.1.1:80 is up")), "{events:?}");
    assert!(events.contains(&"tcp 10.0.0.2:80: 10.0.1.3:80 is up".to_owned()), "{events:?}");
    let real = world.control.view(world.now).services[0].real[0].clone();
    assert_eq!(real.requires, ["storage"]);
    assert_eq!(real.cause.as_deref(), Some("connection refused"), "its own comes first");
}

/// What the agent of server 1 says, or that it can't be asked.
fn agent_says(world: &mut World, said: Option<&str>) {
    let is_agent = |spec: &&CheckSpec| matches!(spec.kind, CheckKind::Agent(_));
    let id = world.checks.iter().find(is_agent).unwrap().id;
    let verdict = match said {
        Some(said) => Verdict::Said(said.parse().unwrap()),
        None => Verdict::Down(CheckFailure::Refused),
    };
    world.now = world.now.plus(Duration::from_millis(1));
    world.tell(Input::Checked(CheckResult { id, verdict, warning: None, took_us: 1 }));
}

/// The good verdict on the server 1's own check.
fn own_check_is_good(world: &mut World) {
    let own = |spec: &&CheckSpec| spec.kind == CheckKind::Connect(crate::lvs::model::Protocol::Tcp);
    let id = world.checks.iter().filter(own).find(|spec| spec.address == at(1).address);
    world.tell(Input::Checked(up(id.unwrap().id)));
}

#[test]
fn an_agent_says_how_much_of_its_weight_a_server_can_carry_and_its_silence_says_nothing() {
    let mut web = heavy(2);
    let check = CheckKind::Agent(AgentCheck::Tcp { send: None });
    web.reals[0].agent = Some(Agent { check, address: at(1).address, port: 9000 });
    let mut world = World::configured(vec![web]);
    world.verdict(2, true);
    own_check_is_good(&mut world);
    assert_eq!(world.pool(1), [(at(2), 100)], "not before the agent has been asked");
    agent_says(&mut world, Some("75%"));
    assert_eq!(world.pool(1), [(at(1), 75), (at(2), 100)]);
    agent_says(&mut world, None);
    assert_eq!(world.pool(1)[0], (at(1), 75));
    let real = |world: &World| world.control.view(world.now).services[0].real[0].clone();
    assert_eq!(real(&world).agent_silent.as_deref(), Some("connection refused"));
    assert_eq!((real(&world).agent_percent, real(&world).up), (Some(75), true));
    agent_says(&mut world, Some("drain"));
    assert_eq!(world.pool(1)[0], (at(1), 0));
    assert_eq!(real(&world).agent_silent, None);
    operator(&mut world, "weight 9");
    assert_eq!(world.pool(1)[0], (at(1), 9), "an operator's word is as it is");
    operator(&mut world, "enable");
    world.take_events();
    agent_says(&mut world, Some("down # disk full"));
    assert_eq!(world.pool(1), [(at(2), 100)]);
    let want = ["tcp 10.0.0.1:80: 10.0.1.1:80 is down: its agent says: disk full"];
    assert_eq!(world.take_events(), want);
    agent_says(&mut world, None);
    assert_eq!(world.pool(1), [(at(2), 100)], "its last word holds");
    agent_says(&mut world, Some("up"));
    assert_eq!(world.pool(1)[0], (at(1), 100));
}

#[test]
fn an_agent_that_was_never_there_keeps_nobody_out() {
    let mut web = heavy(1);
    let check = CheckKind::Agent(AgentCheck::Tcp { send: None });
    web.reals[0].agent = Some(Agent { check, address: at(1).address, port: 9000 });
    let mut world = World::configured(vec![web]);
    own_check_is_good(&mut world);
    agent_says(&mut world, None);
    assert_eq!(world.pool(1), [(at(1), 100)]);
    assert!(world.control.converged());
}

#[test]
fn each_check_of_a_service_is_written_down_and_those_of_its_dependencies_are_not() {
    let mut watched = service(1, &[2]);
    watched.notify.monitor = Some("/var/log/checks".into());
    let storage = Dependency {
        name: "storage".to_owned(),
        check: CheckKind::Ping,
        address: at(50).address,
        port: 0,
        source: None,
    };
    watched.reals[0].requires = vec![std::sync::Arc::new(storage)];
    // The same check, and nobody wants to know of it.
    let mut world = World::configured(vec![watched, service(3, &[2])]);
    for id in world.checks.iter().map(|spec| spec.id).collect::<Vec<_>>() {
        world.tell(Input::Checked(up(id)));
        world.tell(Input::Checked(down(id)));
    }
    assert_eq!(
        world.monitored,
        [
            "/var/log/checks: connect tcp 10.0.1.2 80 1 gate [up] -",
            "/var/log/checks: connect tcp 10.0.1.2 80 1 gate [down] connection refused",
        ]
    );
}
