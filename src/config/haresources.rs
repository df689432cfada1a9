//! `haresources`: one resource group a line, as Heartbeat's ResourceManager reads it.
//!
//! Turns text into [`Group`]s and looks scripts up. It does not read the ldirectord.cf files that
//! are named here (`config::legacy` does), nor compare groups with each other (`config::check`).

mod program;
mod resource;
#[cfg(test)]
mod tests;

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::check::{DraftGroup, DraftResource};
use crate::config::diag::{Diagnostic, Excerpts, Faults, Word, lines};
use crate::config::source::Source;
use crate::config::{Environment, Group};
use crate::names::{GroupName, NAME_LEN_MAX, NodeName};

pub(super) use program::{OCF_PARAMS_MAX, agent_name, found, is_param, ocf, script, systemd};
pub(super) use resource::{Context, parse, plain, plain_address, watched};

/// Most resources in one group; each is at least one order to start and one to stop.
pub const RESOURCES_MAX: usize = 64;

/// Reads the whole file. `directory` is the one that holds `resource.d`.
pub fn read(
    source: &Source,
    directory: &Path,
    environment: &dyn Environment,
) -> (Vec<DraftGroup>, Vec<Diagnostic>) {
    let mut faults = source.legacy_faults(Excerpts::Shown);
    let mut groups = Vec::new();
    for words in joined_lines(&source.text) {
        let mut context = Context { directory, environment, faults: &mut faults };
        groups.extend(group(&words, &mut context));
    }
    (groups, faults.into_list())
}

/// The words of each line; a backslash at the end of a line joins the next one to it.
fn joined_lines(text: &str) -> Vec<Vec<Word<'_>>> {
    let mut all = Vec::new();
    let mut words: Vec<Word<'_>> = Vec::new();
    for line in lines(text) {
        let line = line.split_once("#").map_or(line, |(before, _)| before).trim();
        let (line, more) = match line.text.strip_suffix('\\') {
            Some(before) => (line.part(0..before.len()), true),
            None => (line, false),
        };
        words.extend(line.split(char::is_whitespace));
        if !more && !words.is_empty() {
            all.push(std::mem::take(&mut words));
        }
    }
    if !words.is_empty() {
        all.push(words);
    }
    all
}

fn group(words: &[Word<'_>], context: &mut Context<'_, '_>) -> Option<DraftGroup> {
    let (node, members) = words.split_first()?;
    let preferred = match NodeName::new(node.text) {
        Ok(name) => Some(name),
        Err(error) => {
            context.faults.fault(node.span(), error.to_string());
            None
        }
    };
    let Some(first) = members.first() else {
        let message = format!("no resource behind `{}`", node.text);
        let help = "`NODE RESOURCE RESOURCE ...`, for example `server101 192.168.2.110/24/eth0`";
        context.faults.fault(node.span(), message).help(help);
        return None;
    };
    if let Some(extra) = members.get(RESOURCES_MAX) {
        let message = format!("over {RESOURCES_MAX} resources in one group");
        context.faults.fault(extra.span(), message);
    }
    let name = group_name(*first, context.faults)?;
    let mut resources = Vec::new();
    let mut at = Vec::new();
    for word in members.iter().take(RESOURCES_MAX) {
        if let Some(resource) = parse(*word, context) {
            resources.push(resource);
            at.push(DraftResource { at: context.faults.mark(word.span()) });
        }
    }
    Some(DraftGroup {
        group: Group { name, preferred: preferred?, resources },
        at: context.faults.mark(first.span()),
        preferred_at: context.faults.mark(node.span()),
        resources: at,
    })
}

/// A group is known by its first resource, as written. A name that does not fit into a beat ends
/// in a digest of the whole instead, the same on both nodes.
fn group_name(first: Word<'_>, faults: &mut Faults<'_>) -> Option<GroupName> {
    let mut text = first.text.to_owned();
    if text.len() > NAME_LEN_MAX {
        let digest = Sha256::digest(first.text.as_bytes());
        let tail: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let keep = (0..=NAME_LEN_MAX - tail.len() - 1).rev();
        let keep = keep.into_iter().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(keep);
        text = format!("{text}~{tail}");
        faults.warn(first.span(), format!("too long for a name; the group is called `{text}`"));
    }
    match GroupName::new(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            faults.fault(first.span(), error.to_string());
            None
        }
    }
}
