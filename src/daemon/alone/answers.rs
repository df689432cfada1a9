//! What a director without a cluster answers on its control socket.

use super::Home;
use crate::control::protocol::Call;
use crate::control::server::{Asked, send};
use crate::daemon::director::DirectorHandle;
use crate::lvs::director::View;
use crate::status::{self, AloneStatus};

/// Which calls it answers.
pub(super) fn takes(call: &Call) -> Result<(), &'static str> {
    match call {
        Call::Status | Call::Real(_) => Ok(()),
        _ => Err("this director is without a cluster: `status` and `real` are all that it answers"),
    }
}

/// Answers in a task of its own: the director may take a moment.
pub(super) fn answer(asked: Asked, home: &Home, director: &DirectorHandle) {
    let Asked { call, reply, .. } = asked;
    let (director, file) = (director.clone(), home.paths.config.display().to_string());
    tokio::task::spawn_local(async move {
        match call {
            Call::Real(order) => send(reply, &director.order(order).await),
            _ => send(reply, &status(file, director.view().await)),
        }
    });
}

fn status(file: String, view: Option<View>) -> AloneStatus {
    let silent = || "the director does not answer".to_owned();
    let ipvs = view.as_ref().map_or_else(|| Some(silent()), |view| view.kernel.message.clone());
    AloneStatus {
        version: status::VERSION,
        file,
        pid: std::process::id(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        ipvs: ipvs.unwrap_or_else(|| "ok".to_owned()),
        converged: view.as_ref().is_some_and(|view| view.converged),
        checker: view.as_ref().is_some_and(|view| view.checker),
        services: view.map(|view| view.services).unwrap_or_default(),
    }
}
