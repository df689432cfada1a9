//! `check`: every fault of the configuration, with its place.

use super::exit::Code;
use super::{lacks, out};
use crate::config;
use crate::daemon::Paths;
use crate::sys::files::Machine;

pub(super) fn check(paths: &Paths) -> Code {
    let (config, diagnostics) = config::load(&paths.config, &paths.node, &Machine::default());
    for diagnostic in &diagnostics {
        out::complain(diagnostic.to_string().trim_end());
    }
    match config {
        Some(config) => {
            lacks::of_config(&config).iter().for_each(|note| out::complain(note));
            let groups = config.groups.len();
            let services: usize = config.directors.values().map(|d| d.services.len()).sum();
            out::line(&format!(
                "{}: good: node {}, peer {}, groups {groups}, virtual services {services}",
                paths.config.display(),
                config.node,
                config.peer,
            ));
            Code::Well
        }
        None => out::fault(Code::Failed, &format!("{}: not usable", paths.config.display())),
    }
}
