//! Puts a node out of service by an outside device: one run of a fencing program, and a look
//! afterwards.
//!
//! Three ways to call one (see [`FenceKind`]): agents of `fence-agents` (FenceAgentAPI: parameters
//! on standard input, exit code 0; `status` exits with 0 when the node is on, with 2 when it is
//! off), programs of cluster-glue below `plugins/external` (parameters in the environment, action
//! and node as arguments), and cluster-glue's plugins through stonith(8). What is secret stands in
//! a pipe or an environment, never in an argument, and is taken out of what is reported.
//! Neighbours: [`crate::exec`] runs programs.

mod call;
#[cfg(test)]
mod tests;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{FENCE_DIRECTORY, FenceDevice, FenceKind};
use crate::exec::run;
use crate::names::NodeName;

use self::call::{Call, exit_code, reason};

/// Longest look afterwards, and longest question before.
const LOOK_MAX: Duration = Duration::from_secs(20);
/// Time that a program which is out of time may still take to go (`exec`: a quarter of its limit,
/// at most 5 s, then two times one second).
const END_MAX: Duration = Duration::from_secs(7);
/// Where fencing programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The directory of the configuration; [`FENCE_DIRECTORY`] is below it.
    pub config: PathBuf,
}

/// Why a device has not fenced the node.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// There is no such program.
    #[error("{device}: not found in {} or where its package puts it", own.display())]
    NoProgram {
        /// The device.
        device: String,
        /// Where one's own would be.
        own: PathBuf,
    },
    /// It could not be run, or failed.
    #[error("{device}: {why}")]
    Failed {
        /// The device.
        device: String,
        /// In one line, without secrets.
        why: String,
    },
    /// It says that it has done so, and the node is on.
    #[error("{device}: says that it has switched {node} off, and it is on")]
    StillOn {
        /// The device.
        device: String,
        /// The node.
        node: NodeName,
    },
    /// Whether the node is off could not be found out.
    #[error("{device}: whether {node} is off is not known: {why}")]
    NotSeen {
        /// The device.
        device: String,
        /// The node.
        node: NodeName,
        /// In one line, without secrets.
        why: String,
    },
    /// It has nothing to do with this node.
    #[error("{device}: does not know {node}, only {known}")]
    Stranger {
        /// The device.
        device: String,
        /// The node.
        node: NodeName,
        /// Those that it knows, without secrets; of many, the first.
        known: String,
    },
    /// No device is configured for the node.
    #[error("nothing can fence {node}")]
    NoDevice {
        /// The node.
        node: NodeName,
    },
}

/// The longest that [`fence`] takes with these devices.
pub fn longest<'a>(devices: impl Iterator<Item = &'a FenceDevice>) -> Duration {
    devices
        .map(|device| {
            let look = device.timeout.min(LOOK_MAX);
            // The question before, the action, the look afterwards.
            device.timeout + look * 2 + END_MAX * 3
        })
        .sum()
}

/// Fences a node with the first device that can; the others are not tried then. The text says
/// which, and what is known by its answer.
///
/// # Errors
/// The error of each device, in the order in which they were tried.
pub async fn fence(
    devices: &[FenceDevice],
    node: &NodeName,
    places: &Places,
) -> Result<String, Vec<FenceError>> {
    let mut errors = Vec::new();
    for device in devices {
        match fence_by(device, node, places).await {
            Ok(how) => return Ok(format!("{} {how}", name(device))),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        errors.push(FenceError::NoDevice { node: node.clone() });
    }
    Err(errors)
}

/// As it is shown.
fn name(device: &FenceDevice) -> String {
    match device.kind {
        FenceKind::Agent => device.name.clone(),
        FenceKind::External => format!("external/{}", device.name),
        FenceKind::StonithPlugin => format!("stonith {}", device.name),
    }
}

async fn fence_by(
    device: &FenceDevice,
    node: &NodeName,
    places: &Places,
) -> Result<String, FenceError> {
    let program = program(device, &places.config)?;
    let call = Call::prepare(device, node, program).await?;
    match device.kind {
        FenceKind::Agent => fence_by_agent(&call).await,
        FenceKind::External => fence_by_external(&call).await,
        FenceKind::StonithPlugin => {
            done(&call, "reset", device.timeout).await?;
            Ok("reset it".to_owned())
        }
    }
}

/// An agent that was told to switch off is asked whether the node is off: some say yes to
/// everything. One that was told to reboot has looked itself (FenceAgentAPI, `reboot`: off, on).
async fn fence_by_agent(call: &Call<'_>) -> Result<String, FenceError> {
    const OFF: i32 = 2;
    const ON: i32 = 0;
    let action = call.action("off")?;
    done(call, &action, call.device.timeout).await?;
    if action != "off" {
        return Ok(format!("has done `{action}`"));
    }
    let look = call.device.timeout.min(LOOK_MAX);
    let (device, node) = (name(call.device), call.node.clone());
    let ran = match run(&call.invocation("status", look)).await {
        Ok(ran) => ran,
        Err(error) => {
            return Err(FenceError::NotSeen { device, node, why: error.to_string() });
        }
    };
    match exit_code(&ran) {
        Some(OFF) => Ok("has switched it off, and says that it is off".to_owned()),
        Some(ON) => Err(FenceError::StillOn { device, node }),
        _ => Err(FenceError::NotSeen { device, node, why: reason(call, "status", &ran) }),
    }
}

/// These programs know nothing of a node's state; whom they can reset is asked before.
async fn fence_by_external(call: &Call<'_>) -> Result<String, FenceError> {
    let action = call.action("reset")?;
    let look = call.device.timeout.min(LOOK_MAX);
    let said = done(call, "gethosts", look).await?;
    let mut known = said.split_whitespace().map(str::to_lowercase);
    if !known.any(|host| host == call.node.as_str()) {
        let known: Vec<&str> = said.split_whitespace().collect();
        return Err(FenceError::Stranger {
            device: name(call.device),
            node: call.node.clone(),
            known: call.concealed(&known.join(" ")),
        });
    }
    done(call, &action, call.device.timeout).await?;
    Ok(format!("has done `{action}`"))
}

/// What it printed, when it ended well.
async fn done(call: &Call<'_>, action: &str, limit: Duration) -> Result<String, FenceError> {
    let failed = |why| FenceError::Failed { device: name(call.device), why };
    let ran = run(&call.invocation(action, limit)).await.map_err(|e| failed(e.to_string()))?;
    match exit_code(&ran) {
        Some(0) => Ok(ran.stdout),
        _ => Err(failed(reason(call, action, &ran))),
    }
}

fn program(device: &FenceDevice, config: &Path) -> Result<PathBuf, FenceError> {
    let mut found = device.candidates(config).into_iter().filter(|path| is_executable(path));
    let own = config.join(FENCE_DIRECTORY);
    found.next().ok_or_else(|| FenceError::NoProgram { device: device.name.clone(), own })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
