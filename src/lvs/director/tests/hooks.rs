//! Programs that are told what becomes of a service.

use super::*;
use crate::lvs::notify::{Program, RunFailure};
use crate::lvs::program::ProgramEnd;
use crate::names::DirectorName;

fn told(n: u8, reals: &[u8]) -> VirtualService {
    let mut service = service(n, reals);
    service.notify.fallback_command = Program::of_line("sorry.sh -v");
    service
}

impl World {
    fn serve(&mut self, serves: bool) {
        let director = DirectorName::new("test.cf").unwrap();
        self.tell(Input::Lead { director, lead: serves });
    }

    fn serving(services: Vec<VirtualService>) -> Self {
        let mut world = Self::configured(services);
        world.serve(true);
        world
    }

    /// What was run since the last look.
    fn runs(&mut self) -> Vec<String> {
        std::mem::take(&mut self.runs).into_iter().map(|(_, line)| line).collect()
    }

    fn ran(&mut self, result: Result<(), RunFailure>) {
        let id = self.running.take().expect("something runs");
        self.tell(Input::Ran { id, result });
    }
}

const START: &str = "sorry.sh -v start 10.0.0.1:80 tcp";
const STOP: &str = "sorry.sh -v stop 10.0.0.1:80 tcp";

#[test]
fn a_fallback_command_is_told_when_the_last_server_goes_and_when_the_first_returns() {
    let mut world = World::serving(vec![told(1, &[1, 2])]);
    assert_eq!(world.runs(), NONE, "nobody has been judged");
    world.verdict(1, true);
    assert_eq!(world.runs(), [STOP], "once at the start, as with ldirectord");
    world.verdict(2, true);
    world.verdict(1, false);
    assert_eq!(world.runs(), NONE, "one is left");
    world.verdict(2, false);
    assert_eq!(world.runs(), [START]);
    world.verdict(2, false);
    world.configure(vec![told(1, &[1, 2])]);
    assert_eq!(world.runs(), NONE, "told already");
    world.verdict(1, true);
    assert_eq!(world.runs(), [STOP]);
    let runs = "tcp 10.0.0.1:80: runs sorry.sh -v stop 10.0.0.1:80 tcp";
    assert_eq!(world.take_events().iter().filter(|event| *event == runs).count(), 2);
}

#[test]
fn it_is_told_of_a_service_without_a_sorry_server_and_of_orders_too() {
    let mut service = told(1, &[1]);
    service.fallback = None;
    let mut world = World::serving(vec![service]);
    world.verdict(1, true);
    operator(&mut world, "drain");
    assert_eq!(world.runs(), [STOP, START]);
    operator(&mut world, "enable");
    assert_eq!(world.runs(), [STOP]);
}

#[test]
fn only_the_node_that_serves_tells_anybody_and_one_that_serves_no_longer_takes_it_back() {
    let mut world = World::configured(vec![told(1, &[1]), told(2, &[2])]);
    world.verdict(1, false);
    world.verdict(2, true);
    assert_eq!(world.runs(), NONE);
    world.serve(true);
    assert_eq!(world.runs(), [START, "sorry.sh -v stop 10.0.0.2:80 tcp"]);
    world.serve(false);
    assert_eq!(world.runs(), [STOP], "the other one was told nothing that remains");
    world.serve(false);
    assert_eq!(world.runs(), NONE);
}

#[test]
fn a_program_that_hangs_keeps_nobody_waiting_and_learns_the_end_only() {
    let mut world = World::serving(vec![told(1, &[1]), told(2, &[2])]);
    world.verdict(1, true);
    world.runs();
    world.deaf = true;
    world.verdict(1, false);
    assert_eq!(world.runs(), [START]);
    world.deaf = false;
    world.verdict(2, false);
    assert_eq!(world.runs(), ["sorry.sh -v start 10.0.0.2:80 tcp"]);
    for _ in 0..10 {
        world.verdict(1, true);
        world.verdict(1, false);
    }
    world.verdict(1, true);
    assert_eq!(world.runs(), NONE, "it still runs");
    assert_eq!(world.pool(1), [(at(1), 1)], "the table did not wait");
    world.take_events();
    let end = ProgramEnd::TimedOut(30_000);
    world.ran(Err(RunFailure::Ended { end, said: "no route".to_owned() }));
    assert_eq!(world.runs(), [STOP], "of all that came and went, the end");
    let failed =
        "tcp 10.0.0.1:80: the program that was run failed: no end within 30000 ms: no route";
    assert_eq!(world.take_events()[0], failed);
}

#[test]
fn a_program_that_is_never_heard_of_again_counts_as_failed_and_its_late_answer_is_harmless() {
    let mut world = World::serving(vec![told(1, &[1])]);
    world.deaf = true;
    world.verdict(1, true);
    world.deaf = false;
    world.take_events();
    let late = world.running.take().unwrap();
    world.seconds(89);
    assert_eq!(world.take_events(), NONE);
    world.seconds(2);
    let silent = "tcp 10.0.0.1:80: the program that was run failed: nothing was heard of it";
    assert_eq!(world.take_events(), [silent]);
    world.runs();
    world.verdict(1, false);
    assert_eq!(world.runs(), [START]);
    world.tell(Input::Ran { id: late, result: Err(RunFailure::Unanswered) });
    assert_eq!(world.runs(), NONE);
}

#[test]
fn a_program_that_failed_is_not_run_again_until_there_is_something_else_to_tell() {
    let mut world = World::serving(vec![told(1, &[1])]);
    world.deaf = true;
    world.verdict(1, false);
    assert_eq!(world.runs(), [START]);
    world.ran(Err(RunFailure::NotRun("no such file".to_owned())));
    world.seconds(60);
    assert_eq!(world.runs(), NONE);
}

#[test]
fn a_stop_waits_for_the_programs_that_take_back_what_they_were_told() {
    let mut world = World::serving(vec![told(1, &[1])]);
    world.verdict(1, false);
    world.runs();
    world.deaf = true;
    world.tell(Input::Shutdown);
    assert_eq!(world.runs(), [STOP]);
    assert!(!world.kernel.0.contains_key(&key(1)), "the kernel does not wait for it");
    assert_eq!(world.stopped, None);
    world.ran(Ok(()));
    assert_eq!(world.stopped, Some(vec![]));
}

#[test]
fn a_stop_does_not_wait_for_ever_for_one_that_hangs() {
    let mut world = World::serving(vec![told(1, &[1])]);
    world.verdict(1, false);
    world.deaf = true;
    world.tell(Input::Shutdown);
    world.seconds(10);
    assert_eq!(world.stopped, Some(vec![]));
    assert_eq!(world.control.deadline(), Instant::NEVER);
}

#[test]
fn a_service_that_leaves_the_configuration_takes_back_what_was_told_of_it() {
    let mut world = World::serving(vec![told(1, &[1]), told(2, &[1])]);
    world.verdict(1, false);
    world.runs();
    world.configure(vec![told(2, &[1])]);
    assert_eq!(world.runs(), [STOP]);
}

fn heard(n: u8, reals: &[u8]) -> VirtualService {
    let mut service = service(n, reals);
    service.policy.quorum = Quorum { need: Need::Servers(2), hysteresis: 0 };
    service.notify.quorum_up = Program::of_line("announce -v");
    service.notify.quorum_down = Program::of_line("withdraw");
    service
}

#[test]
fn programs_hear_when_the_quorum_is_met_and_when_it_is_lost_as_they_are_written() {
    let mut world = World::serving(vec![heard(1, &[1, 2, 3])]);
    world.verdict(1, true);
    assert_eq!(world.runs(), NONE, "two have not been judged");
    world.verdict(2, true);
    assert_eq!(world.runs(), ["announce -v"]);
    world.verdict(3, true);
    world.verdict(1, false);
    assert_eq!(world.runs(), NONE, "two are left");
    world.verdict(2, false);
    assert_eq!(world.runs(), ["withdraw"], "one is left, and is too few");
    world.verdict(1, true);
    assert_eq!(world.runs(), ["announce -v"]);
}

#[test]
fn a_quorum_that_is_not_met_at_the_start_is_told_when_all_have_been_judged() {
    let mut world = World::serving(vec![heard(1, &[1, 2])]);
    world.verdict(1, true);
    assert_eq!(world.runs(), NONE);
    world.verdict(2, false);
    assert_eq!(world.runs(), ["withdraw"]);
}

#[test]
fn a_director_that_ends_takes_its_announcement_back() {
    let mut world = World::serving(vec![heard(1, &[1, 2])]);
    world.verdict(1, true);
    world.verdict(2, true);
    world.runs();
    world.serve(false);
    assert_eq!(world.runs(), ["withdraw"]);
    world.serve(true);
    assert_eq!(world.runs(), ["announce -v"]);
    world.tell(Input::Shutdown);
    assert_eq!(world.runs(), ["withdraw"]);
}

#[test]
fn of_the_two_of_a_quorum_one_may_be_missing() {
    let mut service = heard(1, &[1, 2]);
    service.notify.quorum_down = None;
    let mut world = World::serving(vec![service]);
    world.verdict(1, true);
    world.verdict(2, true);
    world.verdict(1, false);
    world.verdict(1, true);
    assert_eq!(world.runs(), ["announce -v", "announce -v"]);
    world.tell(Input::Shutdown);
    assert_eq!(world.runs(), NONE);
}

#[test]
fn one_that_hears_only_of_the_loss_hears_nothing_at_the_end_of_a_director_that_serves() {
    let mut service = heard(1, &[1, 2]);
    service.notify.quorum_up = None;
    let mut world = World::serving(vec![service]);
    world.verdict(1, true);
    world.verdict(2, true);
    world.tell(Input::Shutdown);
    assert_eq!(world.runs(), NONE);
}

#[test]
fn another_way_to_take_back_what_was_told_is_no_reason_to_tell_it_again() {
    let mut world = World::serving(vec![heard(1, &[1, 2])]);
    world.verdict(1, true);
    world.verdict(2, true);
    world.runs();
    let mut service = heard(1, &[1, 2]);
    service.notify.quorum_down = Program::of_line("withdraw -v");
    world.configure(vec![service]);
    assert_eq!(world.runs(), NONE);
    world.serve(false);
    assert_eq!(world.runs(), ["withdraw -v"]);
    world.serve(true);
    assert_eq!(world.runs(), ["announce -v"]);
}
