//! A directory in ha.d layout as one configuration: `ha.cf`, `haresources`, `authkeys`, and the
//! ldirectord.cf files that haresources names.
//!
//! Knows which files there are; their formats are known to the readers.

use std::path::{Path, PathBuf};

use crate::config::check::{Draft, DraftDirector, DraftGroup};
use crate::config::diag::{Diagnostic, Mark};
use crate::config::source::Source;
use crate::config::{Environment, KeyRing, ResourceKind, authkeys, ha_cf, haresources, ldirectord};
use crate::names::DirectorName;

/// The file that makes a directory one in ha.d layout.
pub(super) const HA_CF: &str = "ha.cf";
const HARESOURCES: &str = "haresources";
const AUTHKEYS: &str = "authkeys";

/// Reads all files; what can't be read is a fault among `found`.
pub(super) fn read(
    directory: &Path,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Draft> {
    let ha_cf = opened(&directory.join(HA_CF), None, environment, found).map(|source| {
        let (value, faults) = ha_cf::read(&source, environment);
        found.extend(faults);
        value
    });
    let missing = "each line is a node and the resources of one group: \
                   `server101 192.168.2.110/24/eth0 ldirectord::ldirectord.cf`";
    let groups = opened(&directory.join(HARESOURCES), Some(missing), environment, found);
    let groups = groups.map_or_else(Vec::new, |source| {
        let (groups, faults) = haresources::read(&source, directory, environment);
        found.extend(faults);
        groups
    });
    let missing =
        "`pairbeat keygen --authkeys` prints a complete file; put it on both nodes, mode 600";
    let keys = opened(&directory.join(AUTHKEYS), Some(missing), environment, found);
    let keys = keys.map_or(KeyRing { keys: Vec::new() }, |source| {
        let (keys, faults) = authkeys::read(&source);
        found.extend(faults);
        keys
    });
    let directors = directors(directory, &groups, environment, found);
    let ha_cf = ha_cf?;
    Some(Draft {
        file: directory.join(HA_CF),
        nodes: ha_cf.nodes,
        timing: ha_cf.timing,
        auto_failback: ha_cf.auto_failback,
        damping: ha_cf.damping,
        links: ha_cf.links,
        keys,
        groups,
        directors,
        outside: ha_cf.outside,
        service: ha_cf.service,
    })
}

fn opened(
    path: &Path,
    help: Option<&str>,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Source> {
    match Source::open(path, environment) {
        Ok(source) => Some(source),
        Err(mut fault) => {
            if let Some(help) = help {
                fault.help(help);
            }
            found.push(*fault);
            None
        }
    }
}

/// Reads each director once, in the order in which the groups name them.
fn directors(
    directory: &Path,
    groups: &[DraftGroup],
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Vec<DraftDirector> {
    let mut directors: Vec<DraftDirector> = Vec::new();
    for group in groups {
        for (resource, at) in group.group.resources.iter().zip(&group.resources) {
            let ResourceKind::Director(name) = &resource.kind else { continue };
            if directors.iter().any(|draft| draft.director.name == *name) {
                continue;
            }
            let Some(source) = director_file(directory, name, &at.at, environment, found) else {
                continue;
            };
            let (draft, faults) = ldirectord::read(&source, name, environment);
            found.extend(faults);
            directors.push(draft);
        }
    }
    directors
}

/// ldirectord looks in its directory, then in `conf` below it, then takes the name as a path.
fn director_file(
    directory: &Path,
    name: &DirectorName,
    at: &Mark,
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> Option<Source> {
    let path = Path::new(name.as_str());
    let candidates: Vec<PathBuf> = if path.is_absolute() {
        vec![path.to_owned()]
    } else {
        vec![directory.join(path), directory.join("conf").join(path)]
    };
    for candidate in &candidates {
        match environment.read(candidate) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            _ => return opened(candidate, None, environment, found),
        }
    }
    let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
    let help = format!("looked for {}", places.join(" and "));
    found.push(at.fault(format!("no file `{name}` for the director")).with_help(help));
    None
}
