//! What a node outlives: tampering, signals to everybody, upgrades, a standstill.

use rustix::process::{Pid, Signal};

use crate::lan::mac;
use crate::nets::possible;
use crate::node::{Node, until};
use crate::pair::{Pair, Setup, VIP};

/// The hardware addresses that answer the client's question for the VIP.
fn answering(pair: &Pair) -> String {
    let ask = ["arping", "-b", "-c", "2", "-w", "1", "-I", "eth0", VIP];
    let mut question = std::process::Command::new("ip");
    question.args(["netns", "exec", pair.lan.client.name()]).args(ask);
    String::from_utf8(question.output().unwrap().stdout).unwrap().to_lowercase()
}

fn answered_by(pair: &Pair, node: &Node) -> bool {
    let (there, by) = (answering(pair), mac(&node.net));
    there.contains(&by) && there.matches("reply from").count() <= 2
}

fn everybody(node: &Node) -> Vec<Pid> {
    let roles = ["core", "checker"].map(|role| node.role(role).unwrap());
    roles.into_iter().chain([node.supervisor()]).collect()
}

#[test]
fn a_vip_that_somebody_else_removes_is_back_within_a_second_or_two() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    pair.a.net.ip(&format!("address flush dev eth0 to {VIP}"));
    pair.a.logs("address was missing and is back");
    assert!(pair.a.holds(VIP) && answered_by(&pair, &pair.a));
}

#[test]
fn a_core_that_stands_still_does_not_answer_for_the_vip_and_finds_the_new_holder() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let core = pair.a.role("core").unwrap();
    pair.a.signal(core, Signal::STOP);
    pair.b.becomes("active");
    assert!(pair.a.holds(VIP) && answered_by(&pair, &pair.b), "{}", answering(&pair));
    pair.a.signal(core, Signal::CONT);
    let status = pair.a.becomes("standby");
    assert_eq!((status.peer(), pair.a.holds(VIP)), ("up", false));
    pair.b.becomes("active");
    assert!(answered_by(&pair, &pair.b), "{}", answering(&pair));
}

#[test]
fn a_node_whose_processes_are_all_killed_is_dark_for_the_vip() {
    if !possible() {
        return;
    }
    let mut pair = Pair::new(&Setup::default());
    pair.a.start();
    pair.a.becomes("active");
    assert!(answered_by(&pair, &pair.a));
    pair.a.crash();
    assert!(pair.a.holds(VIP), "the address is still there");
    // The lease is 250 ms: nothing else may end the answers.
    let dark = until(|| (!answering(&pair).contains("reply from")).then_some(()));
    assert!(dark.is_some());
}

#[test]
fn sigterm_to_every_process_is_a_stop_like_any_other() {
    if !possible() {
        return;
    }
    let mut pair = Pair::settled(&Setup::patient());
    for pid in everybody(&pair.a) {
        pair.a.signal(pid, Signal::TERM);
    }
    assert!(pair.a.ended().success());
    // Long before its deadtime.
    let status = pair.b.becomes("active");
    assert_eq!(status.peer(), "standby");
}

#[test]
fn sighup_to_every_process_is_a_reload_and_ends_nothing() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let before = everybody(&pair.a);
    for pid in &before {
        pair.a.signal(*pid, Signal::HUP);
    }
    pair.a.logs("configuration reloaded");
    assert_eq!(everybody(&pair.a), before);
    assert_eq!(pair.a.status().unwrap().state(0), "active");
}

#[test]
fn a_core_that_dies_while_the_file_is_broken_comes_back_with_the_repaired_one() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::default());
    let file = pair.a.config.join("ha.cf");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{good}\nno_such_thing yes\n")).unwrap();
    pair.a.signal(pair.a.role("core").unwrap(), Signal::KILL);
    pair.b.becomes("active");
    pair.a.logs("the core is started again");
    std::fs::write(&file, good).unwrap();
    let status = pair.a.wait("a peer", |status| status.peer() == "up");
    assert_eq!(status.state(0), "standby");
}

/// Stops one thread of a process, and it alone, until it is killed.
struct Stopper(std::process::Child);

impl Stopper {
    fn new(thread: Pid) -> Self {
        // PTRACE_SEIZE and PTRACE_INTERRUPT (ptrace(2)); the thread goes on when the tracer ends.
        // Its death is told to the tracer first (__WALL).
        let script = "import ctypes, os, sys\n\
                      ptrace = ctypes.CDLL(None, use_errno=True).ptrace\n\
                      thread = int(sys.argv[1])\n\
                      for request in (0x4206, 0x4207):\n    \
                          assert ptrace(request, thread, None, None) == 0, ctypes.get_errno()\n\
                      print('stopped', flush=True)\n\
                      while not os.WIFEXITED(os.waitpid(thread, 0x40000000)[1]):\n    \
                          pass\n";
        let thread = thread.as_raw_nonzero().to_string();
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script, &thread]).stdout(std::process::Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut said = [0; 7];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[test]
fn a_core_whose_main_loop_hangs_while_its_beats_go_on_is_ended_and_the_peer_takes_over() {
    if !possible() {
        return;
    }
    let pair = Pair::settled(&Setup::patient());
    let core = pair.a.role("core").unwrap();
    let stopper = Stopper::new(core);
    // Ten seconds of that are allowed. Long before its deadtime, then, the supervisor says that the
    // addresses are free.
    let told = || until(|| pair.b.log().contains("has released everything").then_some(()));
    assert!(told().or_else(told).is_some(), "{}", pair.a.log());
    drop(stopper);
    pair.b.becomes("active");
    pair.a.logs("its main loop hung");
    pair.a.logs("the core is started again");
    pair.a.wait("a peer", |status| status.peer() == "up");
}
