//! Oracle, by the one client that there is: `sqlplus`, which must be in the `PATH` of the daemon.
//!
//! Login, password and query go to its standard input, so that no argument shows them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Run;
use super::program::{ended, judged, late};
use crate::exec::{Invocation, Ran, inherited};
use crate::keys::Secret;
use crate::lvs::check::{CheckFailure, shown};
use crate::lvs::exchange::{OracleCheck, Password};

const PROGRAM: &str = "sqlplus";
/// What its error messages begin with; a failed login does not show in its exit code.
const ERRORS: [&str; 2] = ["ORA-", "SP2-"];

pub(super) async fn check(check: &OracleCheck, run: &Run<'_>) -> Result<(), CheckFailure> {
    let limit = run.deadline.timeout;
    let invocation = Invocation {
        program: PathBuf::from(PROGRAM),
        args: ["-S", "-L", "/nolog"].map(str::to_owned).to_vec(),
        environment: inherited(),
        input: Some(Secret::new(&script(check, run.target))),
        limit,
    };
    let Some(ran) = ended(invocation).await? else { return Err(late(limit, String::new())) };
    answered(&ran, limit)
}

fn answered(ran: &Ran, limit: Duration) -> Result<(), CheckFailure> {
    let lines = || ran.stdout.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().find(|line| ERRORS.iter().any(|error| line.starts_with(error)));
    if let Some(error) = error {
        return Err(CheckFailure::Protocol(shown(error.as_bytes())));
    }
    judged(ran, limit)?;
    match lines().next() {
        Some(_) => Ok(()),
        None => Err(CheckFailure::Protocol("the query returned no row".to_owned())),
    }
}

fn script(check: &OracleCheck, target: SocketAddr) -> String {
    let OracleCheck { login, password, sid, query } = check;
    let password = password.as_ref().map_or("", Password::reveal);
    let (host, port) = (target.ip(), target.port());
    let end = if query.ends_with(';') { "" } else { ";" };
    format!(
        "set heading off feedback off pagesize 0 define off\n\
         whenever oserror exit 9\n\
         whenever sqlerror exit 8\n\
         connect \"{login}\"/\"{password}\"@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST={host})\
         (PORT={port}))(CONNECT_DATA=(SID={sid})))\n\
         {query}{end}\n\
         exit\n"
    )
}

#[cfg(test)]
mod tests;
