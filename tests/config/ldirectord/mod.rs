//! Files that ldirectord 4.12 itself has read, against our reader.
//!
//! `cases.jsonl` holds one case a line: its `name`, its `text`, the exit code `rc` of ldirectord's
//! parser, its messages `err`, and what it has in memory afterwards, `out`: `global`, `virtual`,
//! `execute`, each without what has its default. Every case is read as ldirectord reads it, or one
//! of the reasons in `reasons.rs` says why not.
//!
//! `LDIRECTORD_CASES=FILE` reads the cases of another such file too, `LDIRECTORD_CORPUS=DIRECTORY`
//! all files of a directory, with the `file`, `rc`, `err` and `out` of its `oracle.jsonl`. Both
//! print what is read otherwise.

#![expect(clippy::print_stderr, reason = "the list of what differs is for whoever asks for it")]
#![expect(clippy::indexing_slicing, reason = "a JSON value has null for what is not there")]

mod ours;
mod reasons;
mod theirs;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::Path;

use pairbeat::config::diag::{Diagnostic, Severity};
use pairbeat::config::ldirectord::reading;
use pairbeat::config::{Environment, Family, Source, SourceFile};
use pairbeat::lvs::model::Protocol;
use pairbeat::names::DirectorName;
use serde_json::Value;

/// A file as a list of values: `virtual 0 scheduler` is `wrr`.
type Values = BTreeMap<String, String>;

/// The machine on which ldirectord read them: this file, one host, a few services.
struct World<'a>(&'a [u8]);

impl Environment for World<'_> {
    fn read(&self, _: &Path) -> Result<SourceFile, io::Error> {
        Ok(SourceFile { bytes: self.0.to_vec(), mode: 0o644 })
    }

    fn executable(&self, _: &Path) -> bool {
        false
    }

    fn user(&self, _: &str) -> bool {
        false
    }

    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        (name == "localhost" && family == Family::V4).then(|| IpAddr::from([127, 0, 0, 1]))
    }

    fn service(&self, name: &str, protocol: Protocol) -> Option<u16> {
        match (name, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("https", _) => Some(443),
            ("smtp", Protocol::Tcp) => Some(25),
            ("domain", _) => Some(53),
            _ => None,
        }
    }
}

/// What came of one case.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The same values, or both refuse.
    Same,
    /// Another one, for this reason.
    Explained(&'static str),
    /// Another one.
    Wrong(String),
}

/// One file that ldirectord has read.
struct Case {
    name: String,
    text: Vec<u8>,
    refused: bool,
    /// What ldirectord said.
    err: String,
    out: Value,
}

impl Case {
    fn of(value: &Value, name: &str, text: Vec<u8>) -> Self {
        let err = value["err"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        Self {
            name: value[name].as_str().unwrap().to_owned(),
            text,
            refused: value["rc"].as_i64().unwrap() != 0,
            err: err.collect::<Vec<_>>().join("\n"),
            out: value["out"].clone(),
        }
    }

    fn outcome(&self) -> Outcome {
        let world = World(&self.text);
        let source = Source::open(Path::new("ldirectord.cf"), &world).unwrap();
        let read = reading(&source, &DirectorName::new("ldirectord.cf").unwrap(), &world);
        let refuses = read.found.iter().any(|found| found.severity == Severity::Fault);
        match (self.refused, refuses) {
            (true, true) => Outcome::Same,
            (true, false) => self.accepted(&read.found),
            (false, true) => reasons::refused(&read.found).map_or_else(
                || Outcome::Wrong(format!("refused:\n{}", shown(&read.found))),
                Outcome::Explained,
            ),
            (false, false) => {
                let (ours, theirs) = (ours::values(&read.file), theirs::values(&self.out));
                self.otherwise(&differences(&ours, &theirs), &read.found)
            }
        }
    }

    /// ldirectord refuses it, and we do not; we must have said something.
    fn accepted(&self, found: &[Diagnostic]) -> Outcome {
        match reasons::accepted(&self.err) {
            Some(reason) if !found.is_empty() || reason.silent => Outcome::Explained(reason.why),
            _ => Outcome::Wrong(format!("accepted:\n{}\n{}", self.err, shown(found))),
        }
    }

    /// Every difference has its reason, and the reason was said.
    fn otherwise(&self, differences: &Values, found: &[Diagnostic]) -> Outcome {
        let mut why = None;
        for (key, difference) in differences {
            let Some(reason) = reasons::otherwise(key, found) else {
                return Outcome::Wrong(format!("{key}: {difference}\n{}", shown(found)));
            };
            why = Some(reason);
        }
        why.map_or(Outcome::Same, Outcome::Explained)
    }
}

fn shown(found: &[Diagnostic]) -> String {
    found.iter().map(|found| format!("    {found}")).collect::<Vec<_>>().join("\n")
}

/// What is not the same, as `ours, theirs`.
fn differences(ours: &Values, theirs: &Values) -> Values {
    let keys = ours.keys().chain(theirs.keys());
    let absent = "-".to_owned();
    let of = |values: &Values, key: &String| values.get(key).unwrap_or(&absent).clone();
    keys.filter(|key| of(ours, key) != of(theirs, key))
        .map(|key| (key.clone(), format!("{}, ldirectord {}", of(ours, key), of(theirs, key))))
        .collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cases(path: &Path) -> Vec<Case> {
    let case = |value: &Value| Case::of(value, "name", value["text"].as_str().unwrap().into());
    lines(path).iter().map(case).collect()
}

/// All of them, and the list of what is not the same; the result is the reasons that there were.
fn told(cases: &[Case]) -> BTreeSet<&'static str> {
    let mut count: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        match case.outcome() {
            Outcome::Same => count.entry("the same").or_default().push(&case.name),
            Outcome::Explained(why) => count.entry(why).or_default().push(&case.name),
            Outcome::Wrong(what) => wrong.push(format!("{}: {what}", case.name)),
        }
    }
    for (why, names) in &count {
        let names = if *why == "the same" { String::new() } else { names.join(" ") };
        eprintln!("{:4} {why}: {names}", count[why].len());
    }
    assert!(wrong.is_empty(), "{} unexplained\n{}", wrong.len(), wrong.join("\n"));
    count.into_keys().collect()
}

#[test]
fn every_file_is_read_as_ldirectord_reads_it_or_there_is_a_reason() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/ldirectord/cases.jsonl");
    let own = cases(&own);
    assert!(own.len() >= 100, "only {} cases", own.len());
    let reasons = told(&own);
    let unneeded: Vec<_> = reasons::all().filter(|why| !reasons.contains(why)).collect();
    assert_eq!(unneeded, Vec::<&str>::new(), "a reason without a case");
    if let Some(file) = std::env::var_os("LDIRECTORD_CASES") {
        told(&cases(Path::new(&file)));
    }
    if let Some(directory) = std::env::var_os("LDIRECTORD_CORPUS") {
        let directory = Path::new(&directory);
        let mut files = Vec::new();
        for value in lines(&directory.join("oracle.jsonl")) {
            let text = std::fs::read(directory.join(value["file"].as_str().unwrap())).unwrap();
            files.push(Case::of(&value, "file", text));
        }
        told(&files);
        unjudged(directory, &files);
    }
}

/// Files that ldirectord was not asked about: what we say is shown, and that is all.
fn unjudged(directory: &Path, judged: &[Case]) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".jsonl") || judged.iter().any(|case| case.name == name) {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let world = World(&bytes);
        let source = Source::open(&path, &world).unwrap();
        let read = reading(&source, &DirectorName::new("ldirectord.cf").unwrap(), &world);
        let faults = read.found.iter().filter(|found| found.severity == Severity::Fault).count();
        eprintln!("     {name}: {faults} faults, not asked of ldirectord");
    }
}

#[test]
fn every_reason_stands_in_the_documentation() {
    let page = include_str!("../../../docs/LDIRECTORD.md");
    for why in reasons::all() {
        let end = format!("{}\n", why.split_once(": ").map_or(why, |(_, end)| end));
        assert!(page.contains(&end), "{why}");
    }
}
