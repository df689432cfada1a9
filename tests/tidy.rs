//! The shape of the code, as a test: floors, purity, sizes, module comments.
//!
//! A reader must be able to trust that `cluster` knows no bytes, that `lvs` knows no cluster, and
//! that nothing pure reads a clock. What is not checked does not stay so. Test code is exempt.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each top-level module and its floor. A module uses itself, lower floors, and [`SIDEWAYS`].
const FLOORS: &[(&str, u8)] = &[
    // Words.
    ("keys", 0),
    ("names", 0),
    ("time", 0),
    // Pure.
    ("cluster", 1),
    ("lvs", 1),
    ("wire", 1),
    ("engine", 1),
    ("journal", 1),
    ("net", 1),
    ("realserver", 1),
    ("status", 1),
    // Configuration: text in, values out.
    ("config", 2),
    // Other programs' configurations: text in, text out.
    ("import", 2),
    // Hands: IO without decisions.
    ("sys", 3),
    ("link", 3),
    ("kernel", 3),
    ("probe", 3),
    ("exec", 3),
    ("store", 3),
    ("outside", 3),
    ("control", 3),
    // The daemon, and the commands.
    ("daemon", 4),
    ("cli", 5),
];

/// Who may use what on its own floor: user, used, and the only modules of it that count (none
/// named: all). `cluster` and `lvs` never meet below `daemon`.
const SIDEWAYS: &[(&str, &str, &[&str])] = &[
    ("wire", "cluster", &["message", "event"]),
    ("engine", "cluster", &[]),
    ("engine", "wire", &[]),
    ("status", "cluster", &[]),
    ("status", "lvs", &[]),
    ("status", "engine", &[]),
    ("journal", "cluster", &[]),
    // The director's words for how packets are forwarded.
    ("realserver", "lvs", &["model"]),
    ("import", "config", &[]),
    // One facility of the system each, without any policy.
    ("link", "sys", &[]),
    ("kernel", "sys", &[]),
    ("probe", "sys", &[]),
    ("probe", "exec", &[]),
    ("exec", "sys", &[]),
    // Its questions are checks and programs.
    ("outside", "probe", &[]),
    ("outside", "exec", &[]),
    ("control", "sys", &[]),
    ("store", "sys", &[]),
];

/// The highest floor on which every module is pure.
const PURE_FLOOR: u8 = 2;

/// Pure files on higher floors.
const PURE_FILES: &[&str] = &["src/probe/schedule.rs"];

/// What a pure module does not touch: the machine, the time, other threads, the log.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "hyper",
    "libc",
    "neli",
    "rtnetlink",
    "rustix",
    "socket2",
    "tokio",
    "tracing",
];

/// Longest file, in lines without tests: what fits in one head.
const LINES_MAX: usize = 600;

#[test]
fn the_code_is_in_shape() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let sources = sources(&root);
    assert!(sources.len() > 10, "the sources are not where they were: {}", root.display());
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

/// Every `.rs` file under `src`, by its path from the root.
fn sources(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn faults(sources: &BTreeMap<String, String>) -> Vec<String> {
    let tests = test_modules(sources);
    let is_test = |name: &str| tests.iter().any(|module| module_path(name).starts_with(module));
    let checked = sources.iter().filter(|(name, _)| !is_test(name));
    checked.flat_map(|(name, text)| file_faults(name, text)).collect()
}

fn file_faults(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{name}:1: does not open with what the module is for (`//!`)"));
    }
    let lines = production_lines(text);
    if lines.len() > LINES_MAX {
        faults.push(format!("{name}:1: {} lines without tests, split it", lines.len()));
    }
    let module = module_path(name);
    let Some(own) = module.first() else { return faults };
    for (line, path) in paths(&lines) {
        let fault = use_fault(own, module.len(), &path).or_else(|| purity_fault(name, own, &path));
        faults.extend(fault.map(|fault| format!("{name}:{line}: `{own}` {fault}")));
    }
    faults.dedup();
    faults
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// What is wrong when `own`, at `depth` modules below the root, names `path`.
fn use_fault(own: &str, depth: usize, path: &[String]) -> Option<String> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    if supers >= depth {
        return Some("leaves its module by `super`, say `crate::`".to_owned());
    }
    let [root, used, rest @ ..] = path else { return None };
    if root != "crate" || used == own {
        return None;
    }
    let Some(own_floor) = floor(own) else {
        return Some("stands on no floor, see FLOORS in tests/tidy.rs".to_owned());
    };
    // A macro or an item of the root itself is none of our business.
    let used_floor = floor(used)?;
    let is_sideways = SIDEWAYS.iter().any(|(user, other, parts)| {
        (*user, *other) == (own, used.as_str())
            && (parts.is_empty() || rest.first().is_some_and(|part| parts.contains(&part.as_str())))
    });
    let is_allowed = used_floor < own_floor || is_sideways;
    (!is_allowed).then(|| format!("may not use `{}`", path.get(1..).unwrap().join("::")))
}

fn purity_fault(name: &str, own: &str, path: &[String]) -> Option<String> {
    let is_pure = PURE_FILES.contains(&name) || floor(own).is_some_and(|it| it <= PURE_FLOOR);
    if !is_pure {
        return None;
    }
    let path = path.join("::");
    let hit = |impure: &&&str| {
        // `use std::net;` and `net::UdpSocket` after it; `use std::net::*`.
        let short = impure.strip_prefix("std::").filter(|short| short.contains("::"));
        // A word alone is no crate: it may be a variable.
        let is_module = |with: &str| with.contains("::") && path == with;
        let begins = |with: &str| is_module(with) || path.starts_with(&format!("{with}::"));
        let is_glob = path.strip_suffix('*').is_some_and(|path| impure.starts_with(path));
        begins(impure)
            || is_glob
            || short.is_some_and(|short| short != "time::Instant" && begins(short))
    };
    IMPURE.iter().find(hit).map(|impure| format!("is pure, no `{impure}`"))
}

/// `src/lvs/model.rs` is `[lvs, model]`; `src/lib.rs` and `src/main.rs` are the root, `[]`.
fn module_path(name: &str) -> Vec<String> {
    let name = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
    let name = name.strip_suffix("/mod").unwrap_or(name);
    let is_root = matches!(name, "lib" | "main" | "mod");
    if is_root { Vec::new() } else { name.split('/').map(str::to_owned).collect() }
}

/// The modules of `#[cfg(test)] mod NAME;`.
fn test_modules(sources: &BTreeMap<String, String>) -> BTreeSet<Vec<String>> {
    let mut modules = BTreeSet::new();
    for (name, text) in sources {
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let item = if line == "#[cfg(test)]" { lines.next().unwrap_or("") } else { continue };
            let declared = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod "));
            if let Some((_, module)) = declared {
                modules.insert([module_path(name), vec![module.to_owned()]].concat());
            }
        }
    }
    modules
}

/// The numbered lines that are not test code, without their comments. Relies on rustfmt: an item
/// ends with a `;` or `}` at the indentation at which it began.
fn production_lines(text: &str) -> Vec<(usize, &str)> {
    let mut kept = Vec::new();
    let mut test_indent = None;
    for (number, line) in (1..).zip(text.lines()) {
        let indent = line.len() - line.trim_start().len();
        match test_indent {
            None if line.trim() == "#[cfg(test)]" => test_indent = Some(indent),
            None => kept.push((number, line.split("//").next().unwrap_or(""))),
            Some(start) if indent == start && line.ends_with([';', '}']) => test_indent = None,
            Some(_) => {}
        }
    }
    kept
}

/// Every path in the code with its line; `use a::{b, c::d}` is two.
fn paths(lines: &[(usize, &str)]) -> Vec<(usize, Vec<String>)> {
    let mut tokens = lines
        .iter()
        .flat_map(|(line, text)| split_tokens(text).into_iter().map(|token| (*line, token)));
    let mut found = Vec::new();
    // The path so far, and the prefixes of the braces that are open in a `use`.
    let (mut path, mut prefixes, mut in_use) = (Vec::new(), Vec::<Vec<String>>::new(), false);
    let mut is_joined = false;
    let mut at = 0;
    let mut end = |path: &mut Vec<String>, at: usize, prefixes: &[Vec<String>]| {
        if !path.is_empty() {
            let prefix = prefixes.last().cloned().unwrap_or_default();
            found.push((at, [prefix, std::mem::take(path)].concat()));
        }
    };
    for (line, token) in tokens.by_ref() {
        match token {
            "::" => is_joined = true,
            "{" if in_use => {
                let prefix = prefixes.last().cloned().unwrap_or_default();
                prefixes.push([prefix, std::mem::take(&mut path)].concat());
                is_joined = false;
            }
            "}" if in_use => {
                end(&mut path, at, &prefixes);
                prefixes.pop();
                is_joined = false;
            }
            word if word == "*" && is_joined || word.starts_with(is_word) => {
                if !is_joined {
                    end(&mut path, at, &prefixes);
                }
                match word {
                    "use" => in_use = true,
                    _ => path.push(word.to_owned()),
                }
                (at, is_joined) = (line, false);
            }
            other => {
                end(&mut path, at, &prefixes);
                is_joined = false;
                if other == ";" {
                    in_use = false;
                    prefixes.clear();
                }
            }
        }
    }
    end(&mut path, at, &prefixes);
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Words, `::`, and every other character on its own; no blanks.
fn split_tokens(mut text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    loop {
        text = text.trim_start();
        let Some(first) = text.chars().next() else { return tokens };
        let length = if is_word(first) {
            text.find(|character| !is_word(character)).unwrap_or(text.len())
        } else if text.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, rest) = text.split_at(length);
        tokens.push(token);
        text = rest;
    }
}

/// The faults of one planted file, without place.
fn planted(name: &str, code: &str) -> Vec<String> {
    let sources = BTreeMap::from([(name.to_owned(), format!("//! Planted.\n{code}\n"))]);
    let faults = faults(&sources);
    faults.iter().map(|fault| fault.splitn(3, ':').last().unwrap().trim().to_owned()).collect()
}

/// Where a table says by which test something is shown.
const PROMISING: &[&str] = &["docs/HEARTBEAT.md", "docs/FAULTS.md", "docs/LDIRECTORD.md"];

#[test]
fn every_test_that_a_document_names_exists() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut code = String::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "sh") => code += &fs::read_to_string(&path).unwrap(),
                _ => {}
            }
        }
    }
    let exists = |file: &str| root.join(file).exists();
    for document in PROMISING {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let named = text.lines().filter(|line| line.starts_with('|')).flat_map(tests_named);
        let missing: Vec<&str> =
            named.filter(|name| !exists(name) && !is_function(name, &code)).collect();
        assert!(missing.is_empty(), "{document} names what there is not: {missing:?}");
    }
}

/// Of a row: files below `tests/`, and what is long enough to be the name of a test or, in a script,
/// of a step.
fn tests_named(row: &str) -> impl Iterator<Item = &str> {
    let spans = row.split('`').skip(1).step_by(2);
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3
            && name.chars().all(|it| it == '_' || it.is_ascii_lowercase() || it.is_ascii_digit())
    };
    spans.filter(move |span| span.starts_with("tests/") || is_test(span))
}

fn is_function(name: &str, code: &str) -> bool {
    code.contains(&format!("fn {name}()")) || code.contains(&format!("\n{name}() {{"))
}

#[test]
fn the_names_of_tests_are_found_in_a_row() {
    let row = "| `ha.cf` fails | `tests/golden/a.txt`, `it_is_a_test` and `no_test` |";
    assert_eq!(tests_named(row).collect::<Vec<_>>(), ["tests/golden/a.txt", "it_is_a_test"]);
    assert!(is_function("it_is_so", "fn it_is_so() {") && is_function("so", "\nso() {"));
    assert!(!is_function("it_is", "fn it_is_so() {"));
}

#[test]
fn uses_of_higher_floors_and_strangers_are_faults() {
    for (name, code, expected) in [
        ("src/lvs/plan.rs", "use crate::cluster::Core;", "`lvs` may not use `cluster::Core`"),
        ("src/cluster/mod.rs", "use crate::lvs::model;", "`cluster` may not use `lvs::model`"),
        ("src/cluster/peer.rs", "use crate::wire::Frame;", "`cluster` may not use `wire::Frame`"),
        ("src/time.rs", "use crate::names::GroupId;", "`time` may not use `names::GroupId`"),
        ("src/wire/mod.rs", "use crate::cluster::owner;", "`wire` may not use `cluster::owner`"),
        ("src/probe/tcp.rs", "use crate::kernel::ipvs;", "`probe` may not use `kernel::ipvs`"),
        ("src/config/mod.rs", "use crate::sys::file;", "`config` may not use `sys::file`"),
        ("src/kernel/ipvs.rs", "use crate::daemon;", "`kernel` may not use `daemon`"),
        ("src/daemon/mod.rs", "use crate::cli::exit;", "`daemon` may not use `cli::exit`"),
        ("src/lvs/a.rs", "fn f() { crate::daemon::go() }", "`lvs` may not use `daemon::go`"),
        (
            "src/lvs/a.rs",
            "use crate::{\n    names::GroupId,\n    cluster::{event::Input, Core},\n};",
            "`lvs` may not use `cluster::event::Input`",
        ),
        (
            "src/lvs/model.rs",
            "use super::super::cluster;",
            "`lvs` leaves its module by `super`, say `crate::`",
        ),
        (
            "src/novelty.rs",
            "use crate::time::Instant;",
            "`novelty` stands on no floor, see FLOORS in tests/tidy.rs",
        ),
    ] {
        assert_eq!(planted(name, code).first().map(String::as_str), Some(expected), "{code}");
    }
}

#[test]
fn impure_uses_of_pure_modules_are_faults() {
    for (name, code, what) in [
        ("src/lvs/mod.rs", "use std::net::{IpAddr, UdpSocket};", "std::net::UdpSocket"),
        (
            "src/lvs/mod.rs",
            "use std::net;\nfn f() { net::TcpStream::connect() }",
            "std::net::TcpStream",
        ),
        ("src/lvs/mod.rs", "use std::net::*;", "std::net::TcpListener"),
        ("src/cluster/mod.rs", "fn f() { let _ = std::fs::read(\"x\"); }", "std::fs"),
        ("src/wire/mod.rs", "use std::{thread, fmt};", "std::thread"),
        ("src/config/mod.rs", "use std::env::var;", "std::env"),
        ("src/engine/mod.rs", "fn f() { tracing::info!(\"x\"); }", "tracing"),
        ("src/status/mod.rs", "use tokio::time::sleep;", "tokio"),
        ("src/names.rs", "use std::time::{Duration, Instant};", "std::time::Instant"),
        ("src/probe/schedule.rs", "use tokio::time::sleep;", "tokio"),
    ] {
        let faults = planted(name, code);
        let expected = format!("is pure, no `{what}`");
        assert!(faults.iter().any(|fault| fault.ends_with(&expected)), "{code}: {faults:?}");
    }
}

#[test]
fn size_and_module_comment_are_looked_at() {
    let long = "fn f() {}\n".repeat(LINES_MAX);
    assert_eq!(planted("src/lvs/a.rs", &long), ["602 lines without tests, split it"]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn f() {}\n".repeat(LINES_MAX));
    assert_eq!(planted("src/lvs/a.rs", &tests), [""; 0]);
    let bare = BTreeMap::from([("src/lvs/a.rs".to_owned(), "fn f() {}\n".to_owned())]);
    assert_eq!(faults(&bare).len(), 1);
}

#[test]
fn what_is_allowed_is_no_fault() {
    for (name, code) in [
        ("src/lvs/plan.rs", "use crate::lvs::model::Table;\nuse crate::time::Instant;"),
        (
            "src/lvs/plan.rs",
            "use super::model::Table;\nuse std::net::IpAddr;\nuse std::time::Duration;",
        ),
        ("src/lvs/plan.rs", "// crate::cluster, std::fs\n/// [`crate::daemon`]\nfn f() {}"),
        ("src/wire/mod.rs", "use crate::cluster::message::Beat;"),
        ("src/engine/mod.rs", "use crate::{cluster::Core, wire::Frame};"),
        ("src/exec/mod.rs", "use crate::sys::clock;\nuse std::process::Command;"),
        ("src/daemon/mod.rs", "use crate::probe::probe;\nuse tokio::net::UnixStream;"),
        ("src/cluster/mod.rs", "#[cfg(test)]\nmod tests {\n    use std::thread;\n}\nfn f() {}"),
        ("src/main.rs", "use pairbeat::cli;"),
    ] {
        assert_eq!(planted(name, code), [""; 0], "{code}");
    }
    // A file of its own that only tests have.
    let of = |text: &str| format!("//! Planted.\n{text}\n");
    let sources = BTreeMap::from([
        ("src/lvs/mod.rs".to_owned(), of("#[cfg(test)]\npub(crate) mod testing;")),
        ("src/lvs/testing.rs".to_owned(), of("use std::thread;")),
        ("src/lvs/testing/more.rs".to_owned(), of("use crate::cluster::Core;")),
    ]);
    assert_eq!(faults(&sources), [""; 0]);
}
