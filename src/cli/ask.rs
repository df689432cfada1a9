//! Commands that ask the running daemon.

use serde::de::DeserializeOwned;

use super::args::WhichWord;
use super::exit::Code;
use super::{lacks, out};
use crate::cluster::event::Answer;
use crate::cluster::message::Extent;
use crate::control::client::{self, CallError};
use crate::control::protocol::{Call, Freezing, Move, Moved, Reloaded};
use crate::daemon::Paths;
use crate::status::{self, Status};

pub(super) fn status(paths: &Paths, json: bool) -> Code {
    shown(paths, json, |it: &Status| status::render(it) + &lacks::of_views(&it.services))
}

/// A status, by whatever renders it for people.
pub(super) fn shown<T: DeserializeOwned>(
    paths: &Paths,
    json: bool,
    render: impl FnOnce(&T) -> String,
) -> Code {
    let body = match call(paths, &Call::Status) {
        Ok(body) => body,
        Err(code) => return code,
    };
    if json {
        out::line(&String::from_utf8_lossy(&body));
        return Code::Well;
    }
    match parse(&body) {
        Ok(status) => {
            out::text(&render(&status));
            Code::Well
        }
        Err(code) => code,
    }
}

pub(super) fn standby(paths: &Paths, which: WhichWord, no_wait: bool) -> Code {
    let call = Call::Standby(Move { which: which.into(), wait: !no_wait });
    movement(paths, &call, "handed to the peer")
}

pub(super) fn takeover(paths: &Paths, which: WhichWord, no_wait: bool) -> Code {
    let call = Call::Takeover(Move { which: which.into(), wait: !no_wait });
    movement(paths, &call, "taken over")
}

pub(super) fn stop(paths: &Paths) -> Code {
    movement(paths, &Call::Stop, "handed to the peer")
}

pub(super) fn reload(paths: &Paths) -> Code {
    let reloaded = match call(paths, &Call::Reload).and_then(|body| parse::<Reloaded>(&body)) {
        Ok(reloaded) => reloaded,
        Err(code) => return code,
    };
    for diagnostic in &reloaded.diagnostics {
        out::complain(diagnostic.trim_end());
    }
    if reloaded.applied {
        out::line("reloaded");
        return Code::Well;
    }
    out::fault(Code::Failed, "not reloaded; everything goes on as before")
}

pub(super) fn freeze(paths: &Paths, except_dead: bool) -> Code {
    let extent = if except_dead { Extent::ExceptDead } else { Extent::All };
    settled(paths, extent, "frozen on both nodes; `pairbeat unfreeze` ends it")
}

pub(super) fn unfreeze(paths: &Paths) -> Code {
    settled(paths, Extent::Nothing, "automatic switches go on")
}

fn settled(paths: &Paths, extent: Extent, done: &str) -> Code {
    plain(paths, &Call::Freeze(Freezing { extent }), done)
}

/// Fenced by hand: whoever says so has switched the peer off, for both would serve otherwise.
pub(super) fn confirm_dead(paths: &Paths, yes: bool) -> Code {
    let status = match call(paths, &Call::Status).and_then(|body| parse::<Status>(&body)) {
        Ok(status) => status,
        Err(code) => return code,
    };
    let peer = status.peer.node;
    if !yes {
        out::line(&format!(
            "If {peer} runs all the same, both nodes will serve the same addresses.\n\
             Type its name when it is off for certain:"
        ));
        let mut typed = String::new();
        let read = std::io::stdin().read_line(&mut typed);
        if read.is_err() || typed.trim() != peer {
            return out::fault(Code::Refused, "not confirmed; nothing has changed");
        }
    }
    plain(paths, &Call::ConfirmDead, &format!("{peer} counts as off until it is heard again"))
}

fn plain(paths: &Paths, asked: &Call, done: &str) -> Code {
    match call(paths, asked).and_then(|body| parse::<Answer>(&body)) {
        Ok(Answer::Done { .. }) => {
            out::line(done);
            Code::Well
        }
        Ok(Answer::Refused { why }) => out::fault(Code::Refused, &format!("refused: {why}")),
        Ok(Answer::Failed { why }) => out::fault(Code::Failed, &format!("failed: {why}")),
        Err(code) => code,
    }
}

/// The end of a standby, takeover, stop or restart.
pub(super) fn moved(paths: &Paths, asked: &Call) -> Result<Moved, Code> {
    call(paths, asked).and_then(|body| parse::<Moved>(&body))
}

fn movement(paths: &Paths, asked: &Call, verb: &str) -> Code {
    let answer = match moved(paths, asked) {
        Ok(Moved::Answer(answer)) => answer,
        Ok(Moved::UnderWay { .. }) => {
            out::line("under way");
            return Code::Well;
        }
        Err(code) => return code,
    };
    match answer {
        Answer::Done { moved, .. } if moved.is_empty() => {
            out::line(if matches!(asked, Call::Stop) { "stopped" } else { "nothing to do" });
            Code::Well
        }
        Answer::Done { moved, took_ms, overlap_ms } => {
            let names: Vec<&str> = moved.iter().map(|name| name.as_str()).collect();
            let both = overlap_ms.map(|ms| format!(", both nodes served for {ms} ms, no gap"));
            let both = both.unwrap_or_default();
            out::line(&format!("{} {verb} in {took_ms} ms{both}", names.join(", ")));
            Code::Well
        }
        Answer::Refused { why } => out::fault(Code::Refused, &format!("refused: {why}")),
        Answer::Failed { why } => out::fault(Code::Failed, &format!("failed: {why}")),
    }
}

fn call(paths: &Paths, call: &Call) -> Result<Vec<u8>, Code> {
    exchange(paths, call).map_err(|error| fault(&error))
}

fn exchange(paths: &Paths, call: &Call) -> Result<Vec<u8>, CallError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CallError::Refused(format!("runtime: {e}")))?;
    runtime.block_on(client::call(&paths.control_socket(), call))
}

/// Lets some time pass between two questions.
pub(super) fn pause(span: std::time::Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    if let Ok(runtime) = runtime {
        runtime.block_on(async { tokio::time::sleep(span).await });
    }
}

/// Says why a call came to nothing.
pub(super) fn fault(error: &CallError) -> Code {
    let code = match error {
        CallError::NoDaemon { .. } | CallError::NoAnswer { .. } => Code::NoDaemon,
        CallError::Permission { .. } => Code::Failed,
        CallError::Refused(_) => Code::Refused,
    };
    out::fault(code, &error.to_string())
}

/// The answer to a call, for those who can do without.
pub(super) fn quietly<T: DeserializeOwned>(paths: &Paths, call: &Call) -> Result<T, CallError> {
    let body = exchange(paths, call)?;
    serde_json::from_slice(&body)
        .map_err(|e| CallError::Refused(format!("the daemon's answer is not understood: {e}")))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Code> {
    serde_json::from_slice(body).map_err(|e| {
        out::fault(Code::Failed, &format!("the daemon's answer is not understood: {e}"))
    })
}
