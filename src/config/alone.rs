//! One ldirectord.cf by itself: a director without a cluster.

use std::path::{Path, PathBuf};

use crate::config::diag::{Diagnostic, Mark, Severity};
use crate::config::ldirectord::file::Log as Wanted;
use crate::config::source::Source;
use crate::config::{Environment, Facility, Log, Watched, ldirectord};
use crate::lvs::check::CHECKS_MAX;
use crate::lvs::model::Director;
use crate::names::DirectorName;

/// Where ldirectord logs when its file says nothing.
const LOG: &str = "/var/log/ldirectord.log";
/// Directives that only a director by itself acts on.
const ACTED_ON: &[&str] = &["logfile", "supervised"];

/// What such a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// Its services.
    pub director: Director,
    /// Where it logs.
    pub log: Log,
    /// It is to stay in the foreground. `supervised`.
    pub supervised: bool,
    /// What becomes of the file when it has changed on the disk.
    pub watched: Watched,
    /// Other files that are started and stopped with this one. `execute`.
    pub execute: Vec<String>,
}

/// Reads the file. Nothing is returned where anything is wrong with it.
pub fn load(
    file: &Path,
    name: &DirectorName,
    environment: &dyn Environment,
) -> (Option<Alone>, Vec<Diagnostic>) {
    let source = match Source::open(file, environment) {
        Ok(source) => source,
        Err(fault) => return (None, vec![*fault]),
    };
    let reading = ldirectord::reading_but(&source, name, environment, ACTED_ON);
    let globals = &reading.file.globals;
    let supervised = globals.supervised == Some(true);
    let log = log(globals.log);
    let watched = Watched::of(&source, globals);
    let execute = globals.execute.iter().map(|word| word.text.to_owned()).collect();
    let mut found = reading.found;
    found.extend(reading.needless);
    found.sort_by_key(|diagnostic| (diagnostic.place.line, diagnostic.place.column));
    let director = reading.director.director;
    let servers: usize = director.services.iter().map(|service| service.reals.len()).sum();
    if servers > CHECKS_MAX {
        found.push(Mark::file(file).fault(format!("over {CHECKS_MAX} real servers in all")));
    }
    let good = found.iter().all(|found| found.severity != Severity::Fault);
    let alone = Alone { director, log, supervised, watched, execute };
    (good.then_some(alone), found)
}

fn log(wanted: Option<Wanted<'_>>) -> Log {
    match wanted {
        None => Log { file: Some(PathBuf::from(LOG)), ..Log::default() },
        Some(Wanted::File(word)) => Log { file: Some(PathBuf::from(word.text)), ..Log::default() },
        Some(Wanted::Facility(word)) => Log { facility: Facility::of(word.text), ..Log::default() },
    }
}
