//! `restart` and `stop --hold`: end with everything held.

use std::time::Duration;

use tokio::time::Instant;

use super::ask::{moved, quietly};
use super::exit::Code;
use super::out;
use crate::cluster::event::{Answer, GroupState};
use crate::cluster::{RESTART_BACK, RESTART_LIMIT};
use crate::control::client::CallError;
use crate::control::protocol::{Call, Moved, Restarting, Successor};
use crate::daemon::Paths;
use crate::status::Status;

/// From one look for the new process to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Ends the daemon for one that the service manager starts.
pub(super) fn hold(paths: &Paths) -> Code {
    match asked(paths, Successor::Service) {
        Ok(_) => {
            out::line(&stopped());
            Code::Well
        }
        Err(code) => code,
    }
}

/// What the operator has time for. Both times count from the request, which is a moment old.
fn stopped() -> String {
    format!(
        "stopped with everything held for a daemon that is started within {} s; a later one begins \
         with nothing, and without one the peer takes over after {} s",
        RESTART_BACK.as_secs(),
        RESTART_LIMIT.as_secs()
    )
}

/// Restarts the daemon, and waits until the new one is in service.
pub(super) fn restart(paths: &Paths) -> Code {
    let begun = Instant::now();
    let before: Result<Status, CallError> = quietly(paths, &Call::Status);
    let before = match before {
        Ok(status) => status,
        Err(error) => return super::ask::fault(&error),
    };
    if let Err(code) = asked(paths, Successor::Exec) {
        return code;
    }
    let ended = Instant::now();
    loop {
        let now: Result<Status, CallError> = quietly(paths, &Call::Status);
        match now {
            Ok(status) if status.pid != before.pid => {
                return restarted(&before, &status, begun.elapsed());
            }
            _ if ended.elapsed() > RESTART_LIMIT => {
                return out::fault(
                    Code::Failed,
                    "no new process has come into service; the peer takes over (see the log)",
                );
            }
            _ => std::thread::park_timeout(LOOK_EVERY),
        }
    }
}

fn asked(paths: &Paths, successor: Successor) -> Result<u64, Code> {
    let call = Call::Restart(Restarting { successor });
    match moved(paths, &call)? {
        Moved::Answer(Answer::Done { took_ms, .. }) => Ok(took_ms),
        Moved::Answer(Answer::Refused { why }) => {
            Err(out::fault(Code::Refused, &format!("refused: {why}")))
        }
        Moved::Answer(Answer::Failed { why }) => {
            Err(out::fault(Code::Failed, &format!("failed: {why}")))
        }
        Moved::UnderWay { .. } => Ok(0),
    }
}

/// What became of the groups that were active.
fn restarted(before: &Status, now: &Status, took: Duration) -> Code {
    let active = |status: &Status| -> Vec<String> {
        let groups = status.groups.iter().filter(|group| group.state == GroupState::Active);
        groups.map(|group| group.name.clone()).collect()
    };
    let (had, has) = (active(before), active(now));
    let lost: Vec<&str> = had.iter().filter(|it| !has.contains(it)).map(String::as_str).collect();
    let (program, millis) = (&now.program, took.as_millis());
    if !lost.is_empty() {
        let lost = lost.join(", ");
        let text = format!("pairbeat {program} runs after {millis} ms, but does not hold {lost}");
        return out::fault(Code::Failed, &text);
    }
    let held = if has.is_empty() { "nothing".to_owned() } else { has.join(", ") };
    out::line(&format!("pairbeat {program} runs after {millis} ms; held all the time: {held}"));
    Code::Well
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Carried, Past};

    #[test]
    fn the_time_that_is_named_is_the_one_in_which_what_was_left_is_gone_by() {
        let asked = crate::time::Instant::BOOT.plus(Duration::from_secs(1000));
        let until = asked.plus(RESTART_LIMIT);
        let carried = Carried { until, past: Past::default(), groups: Vec::new() };
        assert!(carried.is_timely(asked.plus(RESTART_BACK)));
        assert!(!carried.is_timely(asked.plus(RESTART_BACK + Duration::from_millis(1))));
        let text = stopped();
        assert!(text.contains("started within 8 s") && text.contains("after 10 s"), "{text}");
    }
}
