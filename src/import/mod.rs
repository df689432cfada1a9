//! Configurations of other programs as one `pairbeat.toml` for the pair.
//!
//! Pure: files come in through [`World`], text, remarks and secrets go out. One file for each
//! format; `model` is what they have in common, `document` writes TOML. Every line that is not taken
//! over as it is has a [`Remark`]. Neighbours: `config` reads what is written here, and reads ha.d
//! layouts for us; `cli::import` has the files.

mod configure_lvs;
mod dependency;
mod document;
mod exchange;
mod ipvsadm;
mod keepalived;
mod legacy;
mod model;
mod piranha;
mod remark;
#[cfg(test)]
mod tests;
mod timeouts;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::diag::Diagnostic;
use crate::config::{Environment, FILE_LEN_MAX, Source};
use crate::import::document::Block;
use crate::import::model::Pair;
use crate::import::remark::At;
use crate::keys::Secret;

pub use keepalived::{Fate, Place, keywords};
pub use model::is_interface;
pub use remark::{Done, Remark};

use remark::Remarks;

/// What the files can't say.
#[derive(Debug, Clone, Default)]
pub struct Options<'o> {
    /// The name of the node that this runs on.
    pub node: &'o str,
    /// Both nodes, that of the first file first.
    pub nodes: Option<(String, String)>,
    /// Their addresses on a heartbeat link.
    pub peers: Option<(IpAddr, IpAddr)>,
    /// The interface of that link.
    pub interface: Option<String>,
}

/// The files, as an import may see them.
pub struct World<'w> {
    /// Reads them, and knows hosts and services.
    pub environment: &'w dyn Environment,
    /// The files that a path with `*` and `?` in its last part means.
    pub list: &'w dyn Fn(&Path) -> Vec<PathBuf>,
}

impl World<'_> {
    /// The text of a file; what is not UTF-8 is replaced.
    fn text(&self, path: &Path) -> Result<String, String> {
        let shown = path.display();
        let found = self.environment.read(path).map_err(|error| format!("{shown}: {error}"))?;
        if found.bytes.len() > FILE_LEN_MAX {
            return Err(format!("{shown}: longer than {} MiB", FILE_LEN_MAX >> 20));
        }
        Ok(String::from_utf8_lossy(&found.bytes).into_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.environment.read(path).is_ok()
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// The text of pairbeat.toml.
    pub toml: String,
    /// What was not taken over as it is, by file and line.
    pub remarks: Vec<Remark>,
    /// Files of mode 600 that it names, to be put beside it.
    pub secrets: Vec<(String, Secret)>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum Refused {
    /// A sentence.
    Because(String),
    /// The faults of an ha.d layout.
    Faults(Vec<Diagnostic>),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    HaD,
    Ldirectord,
    Keepalived,
    ConfigureLvs,
    Piranha,
    Ipvsadm,
}

impl Format {
    fn words(self) -> &'static str {
        match self {
            Self::HaD => "an ha.d directory of Heartbeat",
            Self::Ldirectord => "an ldirectord.cf",
            Self::Keepalived => "a keepalived.conf",
            Self::ConfigureLvs => "a configuration of configure-lvs",
            Self::Piranha => "an lvs.cf of piranha",
            Self::Ipvsadm => "the output of `ipvsadm -Sn`",
        }
    }
}

/// Reads `path`, and for keepalived the file of the other node.
///
/// # Errors
/// What can't be read, or is none of the formats; the faults of an ha.d directory.
pub fn import(
    path: &Path,
    other: Option<&Path>,
    options: &Options<'_>,
    world: &World<'_>,
) -> Result<Imported, Refused> {
    let (format, path) = format(path, world)?;
    if let (Some(other), true) = (other, format != Format::Keepalived) {
        let what = format.words();
        return Err(format!(
            "{}: a second file is for keepalived only, and this is {what}",
            other.display()
        )
        .into());
    }
    let mut remarks = Remarks::default();
    let at = At::new(&path, 0);
    let pair = match format {
        Format::HaD => legacy::ha_d(&path, world, &mut remarks)?,
        Format::Ldirectord => legacy::ldirectord(&path, world, &mut remarks)?,
        Format::Keepalived => keepalived::read(&path, other, world, &mut remarks)?,
        Format::ConfigureLvs => configure_lvs::read(&path, world, &mut remarks)?,
        Format::Piranha => piranha::read(&path, world, &mut remarks)?,
        Format::Ipvsadm => ipvsadm::read(&path, world, &mut remarks)?,
    };
    Ok(finish(pair, format, options, &at, remarks))
}

fn finish(
    mut pair: Pair,
    format: Format,
    options: &Options<'_>,
    at: &At,
    mut remarks: Remarks,
) -> Imported {
    let secrets = std::mem::take(&mut pair.secrets.0);
    let body = model::blocks(pair, options, at, &mut remarks);
    let remarks = remarks.into_list();
    let name = at.file.file_name().unwrap_or(at.file.as_os_str()).to_string_lossy().into_owned();
    let mut head = Block::default();
    head.comments.push(format!("pairbeat.toml - made from {name}, {}.", format.words()));
    head.comments.push("The same file serves both nodes; `pairbeat check` reads it.".to_owned());
    if remarks.iter().any(|remark| remark.done == Done::FillIn) {
        head.comments.push("Look at each FILL IN, and at the list at the end.".to_owned());
    }
    let mut tail = Block::default();
    if remarks.is_empty() {
        tail.comments.push("Everything was taken over as it is.".to_owned());
    } else {
        tail.comments.push("What was not taken over as it is:".to_owned());
    }
    for remark in &remarks {
        let file = At::new(&remark.file, remark.line);
        tail.comments.push(format!("  {file}: {}: {}", remark.done, remark.text));
    }
    let mut blocks = vec![head];
    blocks.extend(body);
    blocks.push(tail);
    Imported { toml: document::text(&blocks), remarks, secrets }
}

/// What it is, by its look; a directory that holds one known file is that file.
fn format(path: &Path, world: &World<'_>) -> Result<(Format, PathBuf), String> {
    if let Err(error) = world.environment.read(path)
        && error.kind() == std::io::ErrorKind::IsADirectory
    {
        let files = [
            ("ha.cf", Format::HaD),
            ("haresources", Format::HaD),
            ("keepalived.conf", Format::Keepalived),
            ("ldirectord.cf", Format::Ldirectord),
            ("lvs.cf", Format::Piranha),
        ];
        let found = files.into_iter().find(|(name, _)| world.exists(&path.join(name)));
        return match found {
            Some((_, Format::HaD)) => Ok((Format::HaD, path.to_owned())),
            Some((name, format)) => Ok((format, path.join(name))),
            None => {
                let known = files.map(|(name, _)| name).join(", ");
                Err(format!("{}: none of {known} is in this directory", path.display()))
            }
        };
    }
    if path.ends_with("ha.cf") || path.ends_with("haresources") {
        let directory = path.parent().unwrap_or(Path::new("")).display();
        return Err(format!(
            "{}: one file of several: give the directory, {directory}",
            path.display()
        ));
    }
    let text = world.text(path)?;
    match by_look(&text) {
        Some(format) => Ok((format, path.to_owned())),
        None => Err(format!(
            "{}: none of ldirectord.cf, keepalived.conf, lvs_dr.conf or lvs_nat.conf, lvs.cf, `ipvsadm -Sn`",
            path.display()
        )),
    }
}

/// The format most of whose words begin lines.
fn by_look(text: &str) -> Option<Format> {
    let mut scores = [
        (Format::Ipvsadm, 0_usize),
        (Format::ConfigureLvs, 0),
        (Format::Keepalived, 0),
        (Format::Piranha, 0),
        (Format::Ldirectord, 0),
    ];
    // Our own, whose `real = [` looks like a line of another's.
    if text.lines().any(|line| line.trim_end() == "[cluster]") {
        return None;
    }
    for line in text.lines().map(str::trim) {
        let word = line
            .split(|c: char| c.is_whitespace() || c == '=' || c == '{')
            .next()
            .unwrap_or_default();
        let assigned = line.get(word.len()..).unwrap_or_default().trim_start().starts_with('=');
        let found = match word {
            "-A" | "-a" | "ipvsadm" | "--add-service" | "--add-server" => Format::Ipvsadm,
            "LVS_TYPE" | "LVSCONF_FORMAT" | "SERVICE" | "VIP" | "DIP" if assigned => {
                Format::ConfigureLvs
            }
            "vrrp_instance"
            | "virtual_server"
            | "real_server"
            | "global_defs"
            | "vrrp_script"
            | "vrrp_sync_group"
            | "virtual_server_group"
            | "virtual_ipaddress" => Format::Keepalived,
            "serial_no" | "primary" | "backup_active" | "vip_nmask" | "load_monitor"
            | "address" | "use_regex"
                if assigned =>
            {
                Format::Piranha
            }
            "virtual" | "real" | "virtual6" | "real6" | "checktype" | "quiescent" if assigned => {
                Format::Ldirectord
            }
            _ => continue,
        };
        if let Some((_, score)) = scores.iter_mut().find(|(format, _)| *format == found) {
            *score += 1;
        }
    }
    let (format, score) = scores.into_iter().max_by_key(|(_, score)| *score)?;
    (score > 0).then_some(format)
}

/// A file of ours, opened as `config` does.
fn source(path: &Path, world: &World<'_>) -> Result<Source, String> {
    Source::open(path, world.environment).map_err(|fault| fault.to_string())
}
