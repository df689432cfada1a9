//! Imports: each directory in `tests/import` is a configuration of another program; `args` says what
//! `pairbeat import` gets, `expected.toml` and `expected.report` what comes of it. `UPDATE_GOLDEN=1`
//! rewrites. What is made passes `check`.
//!
//! `KEEPALIVED_CORPUS`, a directory with files of keepalived, has them all imported.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may end at the first surprise"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use pairbeat::config::diag::Severity;
use pairbeat::config::{self, Environment, Family, SourceFile};
use pairbeat::import::{Fate, Imported, Options, Refused, World, import, keywords};
use pairbeat::lvs::model::Protocol;
use pairbeat::names::NodeName;

const NODE: &str = "server101";

/// Files as they are, but one; no names of hosts.
struct Files<'f> {
    changed: Option<(&'f Path, &'f [u8])>,
}

impl Environment for Files<'_> {
    fn read(&self, path: &Path) -> Result<SourceFile, std::io::Error> {
        if path.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        let changed =
            self.changed.filter(|(file, _)| *file == path).map(|(_, bytes)| bytes.to_vec());
        let bytes = changed.map_or_else(|| std::fs::read(path), Ok)?;
        Ok(SourceFile { bytes, mode: 0o600 })
    }

    fn executable(&self, _path: &Path) -> bool {
        true
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        (name == "vip" && family == Family::V4).then_some(IpAddr::from([192, 0, 2, 99]))
    }

    fn service(&self, name: &str, _protocol: Protocol) -> Option<u16> {
        (name == "http").then_some(80)
    }

    fn user(&self, _name: &str) -> bool {
        true
    }
}

fn list(pattern: &Path) -> Vec<PathBuf> {
    let directory = pattern.parent().unwrap();
    if !pattern.to_string_lossy().contains('*') {
        return pattern.is_file().then(|| pattern.to_owned()).into_iter().collect();
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn run(case: &Path, files: &Files<'_>) -> Result<Imported, Refused> {
    let args = std::fs::read_to_string(case.join("args")).unwrap();
    let mut paths = Vec::new();
    let mut options = Options { node: NODE, ..Options::default() };
    for word in args.split_whitespace() {
        let pair =
            |value: &str| value.split_once(',').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        match word.split_once('=') {
            Some(("nodes", value)) => options.nodes = Some(pair(value)),
            Some(("peers", value)) => {
                let (one, other) = pair(value);
                options.peers = Some((one.parse().unwrap(), other.parse().unwrap()));
            }
            Some((_, value)) => options.interface = Some(value.to_owned()),
            None => paths.push(case.join(word)),
        }
    }
    let world = World { environment: files, list: &list };
    import(&paths[0], paths.get(1).map(PathBuf::as_path), &options, &world)
}

/// A directory of this test, gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pairbeat-import-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What `check` has against it.
fn faults(imported: &Imported) -> Vec<String> {
    let directory = Directory::new();
    let toml = directory.0.join("pairbeat.toml");
    std::fs::write(&toml, &imported.toml).unwrap();
    let key = config::keys::key_file(1, b"32 bytes nobody could ever guess");
    std::fs::write(directory.0.join("keys"), &*key).unwrap();
    for (name, secret) in &imported.secrets {
        std::fs::write(directory.0.join(name), secret.reveal()).unwrap();
    }
    let nodes = imported.toml.lines().find(|line| line.starts_with("nodes = ")).unwrap();
    let node = nodes.split('"').nth(1).unwrap();
    let files = Files { changed: None };
    let (_, found) = config::load(&toml, &NodeName::new(node).unwrap(), &files);
    let faults = found.iter().filter(|it| it.severity == Severity::Fault);
    faults.map(ToString::to_string).collect()
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "{} cases", cases.len());
    cases
}

#[test]
fn every_case_becomes_what_its_golden_files_have_and_passes_check() {
    let mut wrong = 0;
    for case in cases() {
        let imported = run(&case, &Files { changed: None }).unwrap();
        let found = faults(&imported);
        assert!(found.is_empty(), "{}: {}\n{}", case.display(), found.join("\n"), imported.toml);
        let lines: String = imported.remarks.iter().map(|remark| format!("{remark}\n")).collect();
        let report = lines.replace(&format!("{}/", case.display()), "");
        for (name, text) in [("expected.toml", &imported.toml), ("expected.report", &report)] {
            let file = case.join(name);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&file, text).unwrap();
            } else if std::fs::read_to_string(&file).unwrap_or_default() != *text {
                wrong += 1;
                eprintln!("--- {}\n{text}", file.display());
            }
        }
    }
    assert_eq!(wrong, 0, "UPDATE_GOLDEN=1 rewrites the golden files");
}

#[test]
fn no_secret_is_in_what_is_written() {
    for case in cases() {
        let imported = run(&case, &Files { changed: None }).unwrap();
        let mut text = imported.toml.clone();
        text.extend(imported.remarks.iter().map(ToString::to_string));
        for secret in ["geheim", "secret word", "nobodywouldguess"] {
            assert!(!text.contains(secret), "{}: {secret}", case.display());
        }
    }
}

#[test]
fn the_directors_of_an_ha_d_directory_stay_what_they_were() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import/ha-d");
    let files = Files { changed: None };
    let node = NodeName::new(NODE).unwrap();
    let (before, found) = config::load(&case.join("ha.d"), &node, &files);
    let before = before.unwrap_or_else(|| panic!("{found:?}"));
    let imported = run(&case, &files).unwrap();
    let directory = Directory::new();
    std::fs::write(directory.0.join("pairbeat.toml"), &imported.toml).unwrap();
    let key = config::keys::key_file(1, b"32 bytes nobody could ever guess");
    std::fs::write(directory.0.join("keys"), &*key).unwrap();
    let (after, found) = config::load(&directory.0, &node, &files);
    let after = after.unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!(before.directors, after.directors);
    assert_eq!(
        (before.timing, before.links, before.auto_failback),
        (after.timing, after.links, after.auto_failback)
    );
    assert_eq!(
        (before.ping_nodes, before.deadping, before.ipfail),
        (after.ping_nodes, after.deadping, after.ipfail)
    );
}

/// A small generator, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// Lines and bytes go, come twice, or change.
    fn mess(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let (at, end) = (self.below(bytes.len()), self.below(bytes.len()));
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at.min(end)..at.max(end).min(at.min(end) + 40))),
                2 => {
                    let piece = bytes[at.min(end)..at.max(end).min(at.min(end) + 80)].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                3 => {
                    const PIECES: &[&str] = &[
                        "{",
                        "}",
                        "\n",
                        " ",
                        "$",
                        "@a ",
                        "\"",
                        "0",
                        "-1",
                        "99999999999",
                        "\u{1b}",
                        "é",
                        "::1",
                        "=",
                        "/",
                    ];
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..at, piece.bytes());
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = u8::try_from(self.next() & 0xff).unwrap();
                    }
                }
            }
        }
    }
}

/// However broken a file is: it is refused with a reason, or what comes of it passes `check`.
#[test]
fn no_file_however_broken_makes_an_import_fail() {
    let rounds = if std::env::var_os("PAIRBEAT_LONG").is_some() { 3_000 } else { 60 };
    let mut wrong = Vec::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in cases().iter().filter(|case| !case.ends_with("ha-d")) {
        let args = std::fs::read_to_string(case.join("args")).unwrap();
        let file = case.join(args.split_whitespace().next().unwrap());
        let mut all = vec![file];
        all.extend(Some(case.join("services/web.conf")).filter(|file| file.exists()));
        for file in all {
            let original = std::fs::read(&file).unwrap();
            for _ in 0..rounds {
                let mut bytes = original.clone();
                random.mess(&mut bytes);
                let Ok(imported) = run(case, &Files { changed: Some((&file, &bytes)) }) else {
                    continue;
                };
                let found = faults(&imported);
                let text = String::from_utf8_lossy(&bytes);
                if !found.is_empty() {
                    wrong.push(format!(
                        "{}
{}
--- from
{text}",
                        found.join(
                            "
"
                        ),
                        imported.toml
                    ));
                    break;
                }
                assert!(!imported.toml.contains('\u{1b}'));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n=====\n"));
}

#[test]
fn every_file_of_a_corpus_becomes_a_good_configuration() {
    let Some(corpus) = std::env::var_os("KEEPALIVED_CORPUS") else {
        eprintln!("SKIP every_file_of_a_corpus: KEEPALIVED_CORPUS names no directory");
        return;
    };
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "json" || it == "jsonl") {
            continue;
        }
        let files = Files { changed: None };
        let world = World { environment: &files, list: &list };
        let options = Options { node: NODE, ..Options::default() };
        match import(&path, None, &options, &world) {
            Ok(imported) => {
                let found = faults(&imported);
                assert!(
                    found.is_empty(),
                    "{}: {}\n{}",
                    path.display(),
                    found.join("\n"),
                    imported.toml
                );
                count += 1;
            }
            Err(why) => eprintln!("{}: refused: {why:?}", path.display()),
        }
    }
    eprintln!("{count} files");
}

/// docs/IMPORT.md has every keyword of keepalived that is known here, and says what becomes of it.
#[test]
fn the_document_has_every_keyword_of_keepalived() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/IMPORT.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = ("<!-- keywords -->\n", "<!-- end of keywords -->");
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut rows: Vec<(String, String, Vec<&str>)> = Vec::new();
    for (place, word, fate) in keywords() {
        let what = match fate {
            Fate::Taken(becomes) => becomes.to_owned(),
            Fate::LeftOut(why) => format!("left out: {why}"),
        };
        let place = place.words().to_owned();
        match rows.last_mut() {
            Some((at, same, words)) if *at == place && *same == what => words.push(word),
            _ => rows.push((place, what, vec![word])),
        }
    }
    let rows: String = rows
        .iter()
        .map(|(place, what, words)| format!("| {place} | `{}` | {what} |\n", words.join("` `")))
        .collect();
    let table = format!("\n| where | keyword | becomes |\n|---|---|---|\n{rows}\n");
    let wanted = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, wanted).unwrap();
    } else {
        assert_eq!(text, wanted, "UPDATE_GOLDEN=1 rewrites the table");
    }
}
