//! Why a group is where it is: the running daemon's answer, or the journal's alone.

use std::collections::BTreeSet;

use super::events::{absent, on_disk};
use super::exit::Code;
use super::{ask, out};
use crate::cluster::event::Event;
use crate::config;
use crate::control::protocol::{Call, ExplainAsked};
use crate::daemon::Paths;
use crate::journal::explain::{Explanation, last_change, recorded, render};
use crate::journal::{Happening, Record};
use crate::store::files::{directory, recording_of};
use crate::sys::files::Machine;

pub(super) fn explain(paths: &Paths, group: Option<String>, json: bool) -> Code {
    let call = Call::Explain(ExplainAsked { group: group.clone() });
    let (mut explanation, code) = match ask::quietly::<Explanation>(paths, &call) {
        Ok(explanation) => (explanation, Code::Well),
        Err(error) if absent(&error) => {
            let code = ask::fault(&error);
            out::complain("pairbeat: what follows is from the journal alone");
            (from_files(paths, group.as_deref()), code)
        }
        Err(error) => return ask::fault(&error),
    };
    if explanation.groups.is_empty() {
        let which = group.map_or_else(String::new, |name| format!(" `{name}`"));
        return out::fault(
            if code == Code::Well { Code::Failed } else { code },
            &format!("no such group{which}"),
        );
    }
    complete(paths, &mut explanation);
    if json {
        out::line(&serde_json::to_string(&explanation).unwrap_or_default());
        return code;
    }
    out::text(&render(&explanation));
    for last in explanation.groups.iter().filter_map(|group| group.last.as_ref()) {
        if let Some(path) = recording_of(&directory(&paths.state_dir), last.wall_ms) {
            out::line(&format!("recorded: pairbeat replay {}", path.display()));
        }
    }
    code
}

/// A change before the last start is in the files.
fn complete(paths: &Paths, explanation: &mut Explanation) {
    if explanation.groups.iter().all(|group| group.last.is_some()) {
        return;
    }
    let before = from_files(paths, None);
    for group in explanation.groups.iter_mut().filter(|group| group.last.is_none()) {
        if let Some(found) = before.groups.iter().find(|found| found.group == group.group) {
            group.last.clone_from(&found.last);
            group.why.clone_from(&found.why);
        }
    }
}

fn from_files(paths: &Paths, group: Option<&str>) -> Explanation {
    let records = on_disk(paths).map(|contents| contents.records).unwrap_or_default();
    let (config, _) = config::load(&paths.config, &paths.node, &Machine::default());
    let links = config.map(|config| config.links).unwrap_or_default();
    let links: Vec<_> = links.into_iter().map(|link| link.name).collect();
    let names: BTreeSet<String> = records.iter().filter_map(group_of).collect();
    let wanted = names.iter().filter(|name| group.is_none_or(|group| group == name.as_str()));
    let groups = wanted.map(|name| recorded(&links, name, last_change(records.iter().rev(), name)));
    Explanation { node: paths.node.to_string(), groups: groups.collect() }
}

fn group_of(record: &Record) -> Option<String> {
    match &record.what {
        Some(Happening::Cluster(Event::Role { group, .. })) => Some(group.to_string()),
        _ => None,
    }
}
