//! keepalived.conf: VRRP instances become groups, virtual servers become directors.
//!
//! Where keepalived takes bad input for something else, so do we, and say so. With the file of the
//! other node, or with lines for two nodes (`@id`), priorities and addresses of both are known.

mod check;
mod lines;
mod lvs;
mod pair;
mod table;
mod vrrp;

use std::path::Path;

use crate::import::World;
use crate::import::model::Pair;
use crate::import::remark::{At, Remarks};
use crate::import::timeouts::Timeouts;
use crate::lvs::settings::Timeout;
use lines::Node;
use lvs::Lvs;
use vrrp::Instance;

pub use table::{Fate, Place, keywords};

/// What one node's files say.
#[derive(Debug)]
struct View {
    at: At,
    /// `router_id`.
    router: Option<String>,
    instances: Vec<Instance>,
    /// `vrrp_sync_group`s: name and instances.
    together: Vec<(At, String, Vec<String>)>,
    /// `lvs_sync_daemon`: interface and id, and the table of its settings.
    sync: Option<vrrp::Sync>,
    /// `lvs_timeouts`.
    timeouts: Timeouts,
    lvs: Lvs,
}

/// Reads the file, and that of the other node.
///
/// # Errors
/// A file that can't be read.
pub(super) fn read(
    path: &Path,
    other: Option<&Path>,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Result<Pair, String> {
    let ids = lines::read(path, None, world, &mut Remarks::default())?.ids;
    let at = At::new(path, 0);
    let (first, second) = match (ids.as_slice(), other) {
        ([], None) => (view(path, None, world, remarks)?, None),
        ([one], None) => {
            // Whoever the other one is, it is not this one.
            (view(path, Some(one), world, remarks)?, Some(view(path, Some(""), world, remarks)?))
        }
        ([one, two, rest @ ..], None) => {
            if !rest.is_empty() {
                let text =
                    format!("lines for {}: a pair has two nodes, {one} and {two}", rest.join(", "));
                remarks.left_out(&at, text);
            }
            (view(path, Some(one), world, remarks)?, Some(view(path, Some(two), world, remarks)?))
        }
        (_, Some(other)) => {
            (view(path, None, world, remarks)?, Some(view(other, None, world, remarks)?))
        }
    };
    let nodes = match (ids.as_slice(), other) {
        ([], Some(_)) => {
            let routers =
                [&first, second.as_ref().unwrap_or(&first)].map(|view| view.router.clone());
            routers.into_iter().flatten().collect()
        }
        (ids, None) => ids.iter().take(2).cloned().collect(),
        _ => Vec::new(),
    };
    Ok(pair::of(first, second.as_ref(), nodes, remarks))
}

fn view(
    path: &Path,
    id: Option<&str>,
    world: &World<'_>,
    remarks: &mut Remarks,
) -> Result<View, String> {
    let files = lines::read(path, id, world, remarks)?;
    let mut view = View {
        at: At::new(path, 0),
        router: None,
        instances: Vec::new(),
        together: Vec::new(),
        sync: None,
        timeouts: Timeouts::default(),
        lvs: Lvs::default(),
    };
    // A virtual server may name a group of addresses that stands below it.
    for node in files.nodes.iter().filter(|node| node.keyword() == "virtual_server_group") {
        view.lvs.group(node, remarks);
    }
    for node in &files.nodes {
        match node.keyword() {
            "global_defs" => global(&mut view, node, remarks),
            "vrrp_instance" => view.instances.push(vrrp::instance(node, remarks)),
            "vrrp_sync_group" => view.together.push(vrrp::together(node, remarks)),
            "virtual_server" => view.lvs.server(node, remarks),
            "virtual_server_group" => (),
            _ => table::rest(Place::Top, node, remarks),
        }
    }
    Ok(view)
}

fn global(view: &mut View, node: &Node, remarks: &mut Remarks) {
    for line in node.lines() {
        match line.keyword() {
            "router_id" => view.router = line.word(1).map(str::to_owned),
            "lvs_sync_daemon" => view.sync = vrrp::sync(line, remarks).or(view.sync.take()),
            "lvs_timeouts" => timeouts(&mut view.timeouts, line, remarks),
            _ => table::rest(Place::Global, line, remarks),
        }
    }
}

/// `[tcp N] [tcpfin N] [udp N]`
fn timeouts(known: &mut Timeouts, line: &Node, remarks: &mut Remarks) {
    let mut words = line.words.iter().skip(1).map(String::as_str).peekable();
    if words.peek().is_none() {
        remarks.left_out(&line.at, format!("`{}` names no timeout", line.text()));
    }
    while let Some(word) = words.next() {
        match Timeout::ALL.into_iter().find(|timeout| timeout.word() == word) {
            Some(timeout) => {
                known.take(timeout, words.next().unwrap_or_default(), &line.at, remarks);
            }
            None => remarks.left_out(&line.at, format!("`{word}` is none of `lvs_timeouts`")),
        }
    }
}
