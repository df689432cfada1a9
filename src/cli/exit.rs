//! Exit codes: an interface that scripts rely on.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: well.
    Well,
    /// 1: failed, or the configuration has faults.
    Failed,
    /// 2: bad command line.
    Usage,
    /// 3: the daemon does not run or does not answer.
    NoDaemon,
    /// 4: refused: it can't be done now.
    Refused,
    /// As Heartbeat's command of that name ends.
    Heartbeat(u8),
    /// As ldirectord ends: 2 its file is faulty, 255 no such verb.
    Ldirectord(u8),
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(match code {
            Code::Well => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NoDaemon => 3,
            Code::Refused => 4,
            Code::Heartbeat(code) | Code::Ldirectord(code) => code,
        })
    }
}

/// The exit code of one of the daemon's processes.
pub(super) fn of_daemon(ended: Result<(), crate::daemon::Fatal>) -> Code {
    match ended {
        Ok(()) => Code::Well,
        Err(fatal) => super::out::fault(Code::Failed, &fatal.to_string()),
    }
}

/// The exit code of the checker, which logs its own end.
pub(super) fn of_checker(ended: &Result<(), crate::daemon::checker::CheckerError>) -> Code {
    if ended.is_ok() { Code::Well } else { Code::Failed }
}
