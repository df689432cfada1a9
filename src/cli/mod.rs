//! The command line: words in, exit code out.

mod args;
mod ask;
mod check;
mod cl_status;
mod director;
mod events;
pub mod exit;
mod explain;
mod import;
mod keygen;
mod lacks;
mod out;
mod real;
mod realserver;
mod replay;
mod restart;

use std::ffi::OsString;

pub use args::Invocation;

use args::Command;
use exit::Code;

/// Runs one invocation and says how the process shall end.
pub fn main(argv: Vec<OsString>) -> Code {
    let invocation = match Invocation::parse(argv) {
        Ok(invocation) => invocation,
        Err(refusal) => return out::refusal(&refusal),
    };
    let paths = match invocation.paths() {
        Ok(paths) => paths,
        Err(why) => return out::fault(Code::Usage, &why),
    };
    match invocation.command {
        Command::Run { force } => exit::of_daemon(crate::daemon::supervisor::run(&paths, force)),
        Command::Core { force } => exit::of_daemon(crate::daemon::core::run(&paths, force)),
        Command::Checker => exit::of_checker(&crate::daemon::checker::run()),
        Command::Status { json, director: None } => ask::status(&paths, json),
        Command::Status { json, director: Some(file) } => {
            director::full_status(&file, &paths, json)
        }
        Command::Standby { which, no_wait } => ask::standby(&paths, which, no_wait),
        Command::Takeover { which, no_wait } => ask::takeover(&paths, which, no_wait),
        Command::Freeze { except_dead } => ask::freeze(&paths, except_dead),
        Command::Unfreeze => ask::unfreeze(&paths),
        Command::ConfirmDead { yes } => ask::confirm_dead(&paths, yes),
        Command::Stop { hold: false } => ask::stop(&paths),
        Command::Stop { hold: true } => restart::hold(&paths),
        Command::Restart => restart::restart(&paths),
        Command::Reload => ask::reload(&paths),
        Command::ClStatus(words) => cl_status::cl_status(&paths, &words),
        Command::Events { dump: Some(file), .. } => events::dump(&paths, &file),
        Command::Events { follow, json, since, last, dump: None } => {
            events::events(&paths, &events::Wanted { follow, json, since, last })
        }
        Command::Explain { group, json } => explain::explain(&paths, group, json),
        Command::Replay { file, all } => replay::replay(&file, all),
        Command::Realserver { order } => realserver::realserver(&paths, &order),
        Command::Real { director: None, order } => real::real(&paths, &order),
        Command::Real { director: Some(file), order } => director::real(&file, &paths, &order),
        Command::Check => check::check(&paths),
        Command::Director(words) => director::director(&paths, &words),
        Command::Import(words) => import::import(&paths, &words),
        Command::Keygen { authkeys } => keygen::keygen(authkeys),
    }
}
