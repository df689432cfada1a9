//! How a fencing program is called: its arguments, its environment, its standard input.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{FenceError, LOOK_MAX, name};
use crate::config::{FENCE_ACTIONS, FenceDevice, FenceKind, FenceParams};
use crate::exec::{Invocation, Ran};
use crate::keys::Secret;
use crate::names::NodeName;

/// Search path of the programs, whatever ours is.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest reason, in characters: it goes by the beat thread, into a journal line and on a screen.
const REASON_MAX: usize = 300;
/// Shortest value of a parameter that is taken out of a report: a shorter one, `1` or `on`, is part
/// of too many words, and guessed anyway.
const CONCEAL_MIN: usize = 4;
/// A parameter of this name is ours to read: what is to be done.
const ACTION: &str = "action";

/// A device that is about to be called for a node.
pub(super) struct Call<'a> {
    pub(super) device: &'a FenceDevice,
    pub(super) node: &'a NodeName,
    program: PathBuf,
    /// By name, as far as they have one.
    named: Vec<(String, Secret)>,
}

impl<'a> Call<'a> {
    /// Finds out the names of parameters that were given without.
    pub(super) async fn prepare(
        device: &'a FenceDevice,
        node: &'a NodeName,
        program: PathBuf,
    ) -> Result<Self, FenceError> {
        let mut call = Self { device, node, program, named: Vec::new() };
        match &device.params {
            FenceParams::Named(params) => call.named.clone_from(params),
            FenceParams::Positional(line) if device.kind == FenceKind::External => {
                let look = device.timeout.min(LOOK_MAX);
                let names = super::done(&call, "getconfignames", look).await?;
                let names: Vec<&str> = names.split_whitespace().collect();
                call.named = by_place(&names, line.reveal());
                if call.named.len() < names.len() {
                    let missing = names.get(call.named.len()..).unwrap_or_default().join(" ");
                    let why = call.concealed(&format!("the parameters {missing} are missing"));
                    return Err(FenceError::Failed { device: name(device), why });
                }
            }
            FenceParams::Positional(_) => {}
        }
        Ok(call)
    }

    /// What is to be done: as configured.
    ///
    /// # Errors
    /// It would put nothing out of service, however well it went.
    pub(super) fn action(&self, usual: &str) -> Result<String, FenceError> {
        let given = self.named.iter().find(|(name, _)| name == ACTION);
        let action = given.map_or(usual, |(_, value)| value.reveal());
        if FENCE_ACTIONS.contains(&action) {
            return Ok(action.to_owned());
        }
        let why = self.concealed(&format!(
            "the action `{action}` fences nobody; it is one of {}",
            FENCE_ACTIONS.join(", ")
        ));
        Err(FenceError::Failed { device: name(self.device), why })
    }

    pub(super) fn invocation(&self, action: &str, limit: Duration) -> Invocation {
        let environment = BTreeMap::from(
            [("PATH", SEARCH_PATH), ("HOME", "/"), ("LC_ALL", "C")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let (program, args, input) = (self.program.clone(), Vec::new(), None);
        let mut invocation = Invocation { program, args, environment, input, limit };
        match self.device.kind {
            FenceKind::Agent => invocation.input = Some(self.lines(action)),
            FenceKind::External => {
                invocation.environment.extend(self.variables());
                invocation.args = vec![action.to_owned()];
                if !matches!(action, "gethosts" | "getconfignames") {
                    invocation.args.push(self.node.to_string());
                }
            }
            FenceKind::StonithPlugin => self.plugin(action, &mut invocation),
        }
        invocation
    }

    /// FenceAgentAPI: one `NAME=VALUE` in a line. `nodename` is whom it is for; agents that don't
    /// need it ignore it.
    fn lines(&self, action: &str) -> Secret {
        let mut text = zeroize::Zeroizing::new(format!("{ACTION}={action}\n"));
        if !self.named.iter().any(|(name, _)| name == "nodename") {
            text.push_str(&format!("nodename={}\n", self.node));
        }
        for (name, value) in self.named.iter().filter(|(name, _)| name != ACTION) {
            for part in [name, "=", value.reveal(), "\n"] {
                text.push_str(part);
            }
        }
        Secret::new(&text)
    }

    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let named = self.named.iter().filter(|(name, _)| name != ACTION);
        named.map(|(name, value)| (name.clone(), value.reveal().to_owned()))
    }

    /// stonith(8): parameters without names from a file, with names from the environment.
    fn plugin(&self, action: &str, invocation: &mut Invocation) {
        let mut args = vec!["-t", self.device.name.as_str()];
        match &self.device.params {
            FenceParams::Positional(line) => {
                invocation.input = Some(line.clone());
                args.extend(["-F", "/dev/stdin"]);
            }
            FenceParams::Named(_) => {
                invocation.environment.extend(self.variables());
                args.push("-E");
            }
        }
        args.extend(["-T", action, self.node.as_str()]);
        invocation.args = args.into_iter().map(str::to_owned).collect();
    }

    /// A text in one line, without what is secret, and not too long.
    pub(super) fn concealed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let line = match &self.device.params {
            FenceParams::Positional(line) => line.reveal(),
            FenceParams::Named(_) => "",
        };
        let named = self.named.iter().filter(|(name, _)| name != ACTION);
        let named = named.map(|(_, value)| value.reveal());
        let mut secrets: Vec<&str> = named.chain(line.split_whitespace()).collect();
        // Were a short one first, the rest of a long one would remain.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in secrets.into_iter().filter(|it| it.len() >= CONCEAL_MIN) {
            if secret != self.node.as_str() {
                text = text.replace(secret, "(secret)");
            }
        }
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_MAX).collect()
    }
}

/// Values in the order of the names; the last one takes the rest of the line, blanks included.
fn by_place(names: &[&str], line: &str) -> Vec<(String, Secret)> {
    let mut rest = line.trim();
    let mut named = Vec::new();
    for (place, name) in names.iter().enumerate() {
        if rest.is_empty() {
            break;
        }
        let (value, more) = match rest.split_once(char::is_whitespace) {
            Some((value, more)) if place + 1 < names.len() => (value, more.trim_start()),
            _ => (rest, ""),
        };
        named.push(((*name).to_owned(), Secret::new(value)));
        rest = more;
    }
    named
}

/// `None` when it was ended by a signal or did not end in time.
pub(super) fn exit_code(ran: &Ran) -> Option<i32> {
    ran.status.filter(|_| !ran.timed_out).and_then(|status| status.code())
}

/// How it ended, and the last that it said.
pub(super) fn reason(call: &Call<'_>, action: &str, ran: &Ran) -> String {
    let how = match ran.status {
        None => "could not be killed".to_owned(),
        Some(_) if ran.timed_out => "did not end in time and was killed".to_owned(),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
        },
    };
    let last = |text: &str| {
        let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        lines.next().map(str::to_owned)
    };
    let said = last(&ran.stderr).or_else(|| last(&ran.stdout));
    let said = said.map(|line| format!(": {line}")).unwrap_or_default();
    call.concealed(&format!("`{action}` {how}{said}"))
}

#[cfg(test)]
pub(super) fn named(names: &[&str], line: &str) -> Vec<(String, String)> {
    let named = by_place(names, line).into_iter();
    named.map(|(name, value)| (name, value.reveal().to_owned())).collect()
}
