//! Power switches that work, fail, hang and lie. They are scripts in a directory of the test.

use std::time::Duration;

use super::call::named;
use super::*;
use crate::config::FenceParams;
use crate::keys::Secret;
use crate::sys::scratch::Scratch;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// A program that must be killed is given so long.
const SHORT: Duration = Duration::from_millis(300);

/// A directory with power switches; gone when dropped.
struct Place(Scratch);

impl Place {
    fn new(name: &str) -> Self {
        let place = Scratch::new(name);
        std::fs::create_dir_all(place.join(FENCE_DIRECTORY)).unwrap();
        Self(place)
    }

    fn program(&self, name: &str, body: &str) {
        let text = format!("#!/bin/sh\nHERE={}\n{body}\n", self.0.display());
        self.0.program(&format!("{FENCE_DIRECTORY}/{name}"), &text);
    }

    /// An agent: `off` does this, `status` that.
    fn agent(&self, name: &str, off: &str, status: &str) {
        let body = format!(
            "cat >>$HERE/heard\n\
             case $(sed -n 's/^action=//p' $HERE/heard | tail -1) in\n\
             off) {off};;\nreboot) exit 0;;\nstatus) {status};;\nesac"
        );
        self.program(name, &body);
    }

    fn read(&self, file: &str) -> String {
        self.0.read(file)
    }

    fn fence(&self, devices: &[FenceDevice]) -> Result<String, Vec<String>> {
        let places = Places { config: self.0.to_owned() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let peer = NodeName::new("server105").unwrap();
        let done = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, fence(devices, &peer, &places)).await.expect("it hangs")
        });
        done.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }
}

fn device(kind: FenceKind, name: &str, params: &[(&str, &str)]) -> FenceDevice {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value)));
    FenceDevice {
        kind,
        name: name.to_owned(),
        params: FenceParams::Named(params.collect()),
        timeout: PATIENCE / 2,
        node: None,
    }
}

fn agent(name: &str) -> FenceDevice {
    device(FenceKind::Agent, name, &[("plug", "7"), ("password", "hunter22")])
}

#[test]
fn an_agent_hears_its_parameters_on_standard_input_and_is_asked_whether_the_node_is_off() {
    let place = Place::new("agent");
    place.agent("fence_good", "ps -o args= -p $$ >$HERE/args; exit 0", "exit 2");
    let how = place.fence(&[agent("fence_good")]).unwrap();
    assert_eq!(how, "fence_good has switched it off, and says that it is off");
    let call = "nodename=server105\nplug=7\npassword=hunter22\n";
    assert_eq!(place.read("heard"), format!("action=off\n{call}action=status\n{call}"));
    assert!(!place.read("args").contains("hunter22"));
}

#[test]
fn an_agent_that_lies_has_not_fenced() {
    let place = Place::new("liar");
    place.agent("fence_liar", "exit 0", "exit 0");
    let errors = place.fence(&[agent("fence_liar")]).unwrap_err();
    assert_eq!(
        errors,
        ["fence_liar: says that it has switched server105 off, and it is on"],
        "a success that is none"
    );
    place.agent("fence_liar", "exit 0", "echo the line is dead >&2; exit 1");
    let errors = place.fence(&[agent("fence_liar")]).unwrap_err();
    assert_eq!(
        errors,
        [
            "fence_liar: whether server105 is off is not known: `status` exited with 1: the line is dead"
        ]
    );
}

#[test]
fn the_next_device_is_tried_when_one_fails_or_hangs_or_is_not_there() {
    let place = Place::new("levels");
    place.agent("fence_bad", "echo login hunter22 refused >&2; exit 1", "exit 2");
    place.agent("fence_slow", "sleep 60", "exit 2");
    place.agent("fence_good", "exit 0", "exit 2");
    let slow = FenceDevice { timeout: SHORT, ..agent("fence_slow") };
    let bad = [agent("fence_bad"), slow, agent("fence_none")];
    let errors = place.fence(&bad).unwrap_err();
    let [refused, hung, absent] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(refused, "fence_bad: `off` exited with 1: login (secret) refused");
    assert_eq!(hung, "fence_slow: `off` did not end in time and was killed");
    assert!(absent.starts_with("fence_none: not found in "), "{absent}");
    let all = [bad.as_slice(), &[agent("fence_good")]].concat();
    assert!(place.fence(&all).unwrap().starts_with("fence_good "));
    assert_eq!(place.fence(&[]).unwrap_err(), ["nothing can fence server105"]);
}

#[test]
fn an_agent_that_is_to_reboot_looks_itself() {
    let place = Place::new("reboot");
    place.agent("fence_good", "exit 1", "exit 0");
    let device = device(FenceKind::Agent, "fence_good", &[("action", "reboot")]);
    assert_eq!(place.fence(&[device]).unwrap(), "fence_good has done `reboot`");
    assert_eq!(place.read("heard"), "action=reboot\nnodename=server105\n");
}

/// The protocol of cluster-glue's `plugins/external`.
const EXTERNAL: &str = "echo \"$* user=$user pass=$pass\" >>$HERE/heard\n\
    case $1 in\ngetconfignames) echo user pass;;\n\
    gethosts) echo Server105;;\nreset) exit 0;;\n*) exit 1;;\nesac";

#[test]
fn an_external_program_hears_its_parameters_in_its_environment() {
    let place = Place::new("external");
    place.program("switch", EXTERNAL);
    let params = [("user", "admin"), ("pass", "hunter22")];
    let how = place.fence(&[device(FenceKind::External, "switch", &params)]).unwrap();
    assert_eq!(how, "external/switch has done `reset`");
    let lines = "gethosts user=admin pass=hunter22\nreset server105 user=admin pass=hunter22\n";
    assert_eq!(place.read("heard"), lines);
}

#[test]
fn the_parameters_of_ha_cf_are_named_by_the_program_itself() {
    let place = Place::new("names");
    place.program("switch", EXTERNAL);
    let mut device = device(FenceKind::External, "switch", &[]);
    device.params = FenceParams::Positional(Secret::new("admin hunter22 and more"));
    place.fence(std::slice::from_ref(&device)).unwrap();
    assert!(place.read("heard").ends_with("reset server105 user=admin pass=hunter22 and more\n"));
    device.params = FenceParams::Positional(Secret::new("admin"));
    let errors = place.fence(std::slice::from_ref(&device)).unwrap_err();
    assert_eq!(errors, ["external/switch: the parameters pass are missing"]);
    let pairs = named(&["a", "b"], "  one   two three ");
    let wanted = [("a", "one"), ("b", "two three")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(pairs, wanted);
}

#[test]
fn an_external_program_that_does_not_know_the_node_is_not_used() {
    let place = Place::new("stranger");
    place.program("switch", "case $1 in\ngethosts) echo one two;;\nesac");
    let errors = place.fence(&[device(FenceKind::External, "switch", &[])]).unwrap_err();
    assert_eq!(errors, ["external/switch: does not know server105, only one two"]);
}

#[test]
fn a_device_that_is_told_to_do_something_else_has_not_fenced_and_is_not_called() {
    let place = Place::new("monitor");
    place.program("switch", "echo \"$*\" >>$HERE/heard; exit 0");
    for kind in [FenceKind::Agent, FenceKind::External] {
        for action in ["monitor", "status", "on", "OFF", ""] {
            let errors = place.fence(&[device(kind, "switch", &[("action", action)])]).unwrap_err();
            let [error] = errors.as_slice() else { panic!("{errors:?}") };
            let why = "fences nobody; it is one of off, reboot, reset, cycle";
            assert!(error.ends_with(&format!(": the action `{action}` {why}")), "{error}");
        }
    }
    assert_eq!(place.read("heard"), "");
}

#[test]
fn what_a_program_says_of_hosts_and_parameters_is_cut_and_shows_no_secret() {
    let place = Place::new("talk");
    let long = "seq -s ' ' 5000";
    place.program("switch", &format!("case $1 in\ngethosts) echo hunter22; {long};;\nesac"));
    let stranger = device(FenceKind::External, "switch", &[("pass", "hunter22")]);
    place.program("names", &format!("case $1 in\ngetconfignames) {long};;\nesac"));
    let mut nameless = device(FenceKind::External, "names", &[]);
    nameless.params = FenceParams::Positional(Secret::new("hunter22"));
    let errors = place.fence(&[stranger, nameless]).unwrap_err();
    assert!(errors[0].contains("only (secret) 1 2 3 "), "{errors:?}");
    assert!(errors[1].contains("the parameters 2 3 4 "), "{errors:?}");
    assert!(errors.iter().all(|error| error.len() < 400), "{errors:?}");
}

#[test]
fn stonith_gets_parameters_without_names_through_a_pipe() {
    let place = Place::new("stonith");
    place.program("stonith", "echo \"$*\" >$HERE/args; cat >$HERE/heard");
    let mut device = device(FenceKind::StonithPlugin, "rps10", &[]);
    device.params = FenceParams::Positional(Secret::new("/dev/ttyS0 server105 3"));
    assert_eq!(place.fence(&[device]).unwrap(), "stonith rps10 reset it");
    assert_eq!(place.read("args"), "-t rps10 -F /dev/stdin -T reset server105\n");
    assert_eq!(place.read("heard"), "/dev/ttyS0 server105 3");
}

#[test]
fn the_time_of_all_devices_counts() {
    let short = FenceDevice { timeout: Duration::from_secs(10), ..agent("a") };
    let one = longest([&short].into_iter());
    assert_eq!(one, Duration::from_secs(10 + 20 + 21));
    assert_eq!(longest([&short, &short].into_iter()), one * 2);
}
