//! A directory in ha.d layout as one configuration: `ha.cf`, `haresources`, `authkeys`, and the
//! ldirectord.cf files that haresources names.
//!
//! Knows which files there are; their formats are known to the readers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::check::{Draft, DraftDirector, DraftGroup, DraftResource};
use crate::config::diag::{Diagnostic, Mark};
use crate::config::haresources::RESOURCES_MAX;
use crate::config::source::Source;
use crate::config::{
    Environment, Ipvs, KeyRing, ResourceKind, Watched, authkeys, ha_cf, haresources, ldirectord,
};
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
    let mut groups = groups.map_or_else(Vec::new, |source| {
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
    let (directors, watched) = directors(directory, &mut groups, environment, found);
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
        watched,
        outside: ha_cf.outside,
        service: ha_cf.service,
        ipvs: Ipvs::default(),
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

/// Reads each director once, in the order in which the groups name them. One that another's file
/// executes stands behind that in its group from then on, unless a group has it already.
fn directors(
    directory: &Path,
    groups: &mut [DraftGroup],
    environment: &dyn Environment,
    found: &mut Vec<Diagnostic>,
) -> (Vec<DraftDirector>, Vec<Watched>) {
    let mut directors: Vec<DraftDirector> = Vec::new();
    let mut watched = Vec::new();
    let mut known: BTreeSet<DirectorName> = groups.iter().flat_map(named).cloned().collect();
    for group in groups {
        let mut next = 0;
        while let (Some(resource), Some(at)) =
            (group.group.resources.get(next), group.resources.get(next))
        {
            next += 1;
            let ResourceKind::Director(name) = resource.kind.clone() else { continue };
            if directors.iter().any(|draft| draft.director.name == name) {
                continue;
            }
            let Some(source) = director_file(directory, &name, &at.at, environment, found) else {
                continue;
            };
            let read = ldirectord::read(&source, &name, environment);
            found.extend(read.found);
            directors.push(read.director);
            watched.extend(read.watched);
            let others = read.execute.into_iter().filter(|(name, _)| known.insert(name.clone()));
            for (place, (name, at)) in (next..).zip(others) {
                if group.group.resources.len() >= RESOURCES_MAX {
                    found.push(at.fault(format!("a group with over {RESOURCES_MAX} resources")));
                    break;
                }
                let text = format!("ldirectord::{name}");
                let resource = haresources::plain(&text, ResourceKind::Director(name));
                group.group.resources.insert(place, resource);
                group.resources.insert(place, DraftResource { at });
            }
        }
    }
    (directors, watched)
}

fn named(group: &DraftGroup) -> impl Iterator<Item = &DirectorName> {
    group.group.resources.iter().filter_map(|resource| match &resource.kind {
        ResourceKind::Director(name) => Some(name),
        _ => None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{World, brief};
    use crate::config::{Config, keys, load};
    use crate::names::NodeName;

    const SERVICE: &str = "virtual=10.0.0.9:80\n\treal=10.0.0.3:80 gate\n";

    fn loaded(haresources: &str, files: &[(&str, &str)]) -> (Option<Config>, Vec<String>) {
        let world = World::default()
            .with("/c/ha.cf", "node a b\nauto_failback off\nucast eth0 10.0.0.2\n")
            .with("/c/haresources", haresources)
            .with("/c/authkeys", &keys::authkeys_file(1, b"32 bytes nobody could ever guess"));
        let world = files.iter().fold(world, |world, (file, text)| world.with(file, text));
        let (config, found) = load(Path::new("/c"), &NodeName::new("b").unwrap(), &world);
        (config, brief(&found))
    }

    fn resources(config: &Config, group: usize) -> Vec<&str> {
        config.groups[group].resources.iter().map(|it| it.text.as_str()).collect()
    }

    #[test]
    fn a_director_that_another_file_executes_stands_behind_that_one() {
        let other = |n: u8| format!("virtual=10.0.0.9:8{n}\n\treal=10.0.0.3:80 gate\n");
        let first = format!("execute=two.cf\nexecute=three.cf\nexecute=here.cf\n{SERVICE}");
        let two = format!("execute=one.cf\n{}", other(1));
        let files = [
            ("/c/one.cf", first.as_str()),
            ("/c/two.cf", &two),
            ("/c/conf/three.cf", &other(2)),
            ("/c/here.cf", &other(3)),
        ];
        let lines = "a 10.0.0.9 ldirectord::one.cf MailTo::root\na 10.0.0.8 ldirectord::here.cf\n";
        let (config, found) = loaded(lines, &files);
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let first = ["ldirectord::one.cf", "ldirectord::two.cf", "ldirectord::three.cf"];
        assert_eq!(resources(&config, 0)[1..4], first);
        assert_eq!(resources(&config, 1).len(), 2, "it has a group of its own");
        assert_eq!(config.directors.len(), 4);
    }

    #[test]
    fn one_that_is_not_there_is_a_fault_where_it_is_named() {
        let first = format!("checkinterval=1\nexecute=two.cf\n{SERVICE}");
        let (config, found) = loaded("a 10.0.0.9 ldirectord::one.cf\n", &[("/c/one.cf", &first)]);
        assert!(config.is_none());
        assert_eq!(found, ["2 fault: no file `two.cf` for the director"]);
    }

    #[test]
    fn files_are_watched_that_ask_for_it() {
        let watched = format!("autoreload=yes\ncallback=\"/usr/bin/copy -v\"\n{SERVICE}");
        let other = "autoreload=no\nvirtual=10.0.0.9:81\n\treal=10.0.0.3:80 gate\n";
        let files = [("/c/one.cf", watched.as_str()), ("/c/two.cf", other)];
        let (config, found) = loaded("a 10.0.0.9 ldirectord::one.cf ldirectord::two.cf\n", &files);
        let watched = config.unwrap_or_else(|| panic!("{found:?}")).watched;
        assert_eq!(watched.len(), 1);
        assert_eq!(
            (watched[0].file.as_path(), watched[0].auto_reload),
            (Path::new("/c/one.cf"), true)
        );
        assert_eq!(watched[0].callback.as_ref().unwrap().to_string(), "/usr/bin/copy -v");
    }
}
