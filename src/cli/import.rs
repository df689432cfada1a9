//! `import`: another program's configuration as pairbeat.toml.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::exit::Code;
use super::{keygen, out};
use crate::config;
use crate::config::diag::Severity;
use crate::daemon::Paths;
use crate::import::{self, Done, Imported, Options, Refused, World};
use crate::names::NodeName;
use crate::sys::files::Machine;

/// The key file that pairbeat.toml has beside it.
const KEY_FILE: &str = "keys";
/// Most files that one `include` is taken for.
const MATCHES_MAX: usize = 1_000;

/// The words behind `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// An ha.d directory, ldirectord.cf, keepalived.conf, lvs_dr.conf or lvs_nat.conf of configure-lvs,
    /// lvs.cf of piranha, or what `ipvsadm -Sn` printed
    path: PathBuf,
    /// keepalived.conf of the other node
    other: Option<PathBuf>,
    /// Write there, with a new key beside it where there is none [default: to the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Both nodes, as `uname -n` says on them; that of PATH first
    #[arg(long, value_name = "NODE,NODE", value_parser = nodes)]
    nodes: Option<(String, String)>,
    /// Their addresses on a heartbeat link
    #[arg(long, value_name = "ADDRESS,ADDRESS", value_parser = peers)]
    peers: Option<(IpAddr, IpAddr)>,
    /// The interface of that link
    #[arg(long, value_name = "NAME", value_parser = interface)]
    interface: Option<String>,
}

fn nodes(text: &str) -> Result<(String, String), String> {
    let (one, other) = text.split_once(',').ok_or("two names with a comma between them")?;
    let name = |text: &str| {
        NodeName::new(text).map(|it| it.to_string()).map_err(|error| error.to_string())
    };
    let (one, other) = (name(one)?, name(other)?);
    if one == other { Err("the same name twice".to_owned()) } else { Ok((one, other)) }
}

fn peers(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let (one, other) = text.split_once(',').ok_or("two addresses with a comma between them")?;
    let ip = |text: &str| text.parse::<IpAddr>().map_err(|error| format!("{text}: {error}"));
    let (one, other) = (ip(one)?, ip(other)?);
    if one == other || one.is_ipv4() != other.is_ipv4() {
        return Err("two addresses of one family".to_owned());
    }
    Ok((one, other))
}

fn interface(text: &str) -> Result<String, String> {
    if import::is_interface(text) { Ok(text.to_owned()) } else { Err("no interface".to_owned()) }
}

pub(super) fn import(paths: &Paths, words: &Words) -> Code {
    let options = Options {
        node: paths.node.as_str(),
        nodes: words.nodes.clone(),
        peers: words.peers,
        interface: words.interface.clone(),
    };
    if let Some(file) = words.output.as_ref().filter(|file| file.exists()) {
        return out::fault(
            Code::Refused,
            &format!("{}: is there already; nothing is overwritten", file.display()),
        );
    }
    let machine = Machine::default();
    let world = World { environment: &machine, list: &list };
    let imported = match import::import(&words.path, words.other.as_deref(), &options, &world) {
        Ok(imported) => imported,
        Err(Refused::Because(why)) => return out::fault(Code::Failed, &why),
        Err(Refused::Faults(found)) => {
            for diagnostic in &found {
                out::complain(diagnostic.to_string().trim_end());
            }
            let why = format!("{}: mend its faults first", words.path.display());
            return out::fault(Code::Failed, &why);
        }
    };
    for remark in &imported.remarks {
        out::complain(&remark.to_string());
    }
    match &words.output {
        Some(file) => write(file, &imported, &reader(paths, words)),
        None => {
            out::text(&imported.toml);
            out::complain(&format!(
                "pairbeat: beside it belongs `{KEY_FILE}`, mode 600: `pairbeat keygen > {KEY_FILE}`"
            ));
            for (name, _) in &imported.secrets {
                out::complain(&format!(
                    "pairbeat: and `{name}` with a password, mode 600: `--output FILE` writes it"
                ));
            }
            Code::Well
        }
    }
}

/// The node that reads what was written: this one, or, on a machine that is none of them, the first.
fn reader(paths: &Paths, words: &Words) -> NodeName {
    let named = words.nodes.iter().flat_map(|(one, other)| [one, other]);
    let mut named = named.filter_map(|name| NodeName::new(name).ok());
    let first = named.next().filter(|first| *first != paths.node);
    match first {
        Some(first) if named.all(|other| other != paths.node) => first,
        _ => paths.node.clone(),
    }
}

/// Writes the file and what belongs beside it, and reads it as `check` does.
fn write(file: &Path, imported: &Imported, node: &NodeName) -> Code {
    let directory = file.parent().unwrap_or(Path::new(""));
    let written = create(file, imported.toml.as_bytes(), 0o644).and_then(|()| {
        for (name, secret) in &imported.secrets {
            let text = Zeroizing::new(format!("{}\n", secret.reveal()));
            create(&directory.join(name), text.as_bytes(), 0o600)?;
        }
        Ok(())
    });
    if let Err(why) = written.and_then(|()| key(&directory.join(KEY_FILE))) {
        return out::fault(Code::Failed, &why);
    }
    let (config, found) = config::load(file, node, &Machine::default());
    for diagnostic in found.iter().filter(|it| it.severity == Severity::Fault) {
        out::complain(diagnostic.to_string().trim_end());
    }
    let open = imported.remarks.iter().filter(|remark| remark.done == Done::FillIn).count();
    let (rest, shown) = (imported.remarks.len() - open, file.display());
    out::line(&format!(
        "{shown}: written; to fill in {open}, changed or left out {rest}; the same file and keys for both nodes"
    ));
    match config {
        Some(_) => Code::Well,
        None => out::fault(Code::Failed, &format!("{shown}: not usable yet")),
    }
}

/// A new one, unless there is one.
fn key(file: &Path) -> Result<(), String> {
    if file.exists() {
        return Ok(());
    }
    let text =
        keygen::text(false).map_err(|error| format!("no random numbers to be had: {error}"))?;
    create(file, text.as_bytes(), 0o600)
}

/// Never over another file.
fn create(file: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let written = opened.and_then(|mut it| it.write_all(bytes).and_then(|()| it.sync_all()));
    written.map_err(|error: io::Error| format!("{}: {error}", file.display()))
}

/// The files that a path means whose last part has `*` and `?`.
fn list(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.contains(['*', '?']) {
        return pattern.is_file().then(|| pattern.to_owned()).into_iter().collect();
    }
    let directory = pattern.parent().unwrap_or(Path::new("."));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let fits = entries.filter(|entry| {
        let own = entry.file_name();
        let own = own.to_string_lossy();
        (!own.starts_with('.') || name.starts_with('.')) && matches(&name, &own)
    });
    fits.map(|entry| entry.path()).filter(|path| path.is_file()).take(MATCHES_MAX).collect()
}

/// `*` is anything, `?` is one character (glob(7), without brackets).
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and how much it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some('?') => (p, n) = (p + 1, n + 1),
            Some(c) if name.get(n) == Some(c) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, eaten)) = star else { return false };
                star = Some((at, eaten + 1));
                (p, n) = (at + 1, eaten + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (pattern, name, fits) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("v?-*.conf", "v1-web.conf", true),
            ("v?-*.conf", "v-web.conf", false),
            ("**", "", true),
            ("a*b*c", "axxbxbc", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
