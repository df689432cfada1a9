//! What the directory outlives: a cut line, strangers, too much, a disk that takes nothing.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cluster::event::Event;
use crate::journal::{Happening, line};
use crate::names::NodeName;
use crate::sys::scratch::Scratch;
use crate::time::Instant;

struct Place(Scratch);

impl Place {
    fn new(name: &str) -> Self {
        Self(Scratch::new(name))
    }

    fn files(&self) -> Files {
        Files::new(self.0.to_owned(), mine())
    }

    fn names(&self) -> Vec<String> {
        let all = numbered(&self.0, EVENTS).unwrap().into_values();
        all.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        read(&self.0, Some(&mine())).unwrap().records.iter().map(|record| record.seq).collect()
    }
}

fn head_of(node: &str, peer: &str) -> Head {
    Head::new(&NodeName::new(node).unwrap(), &NodeName::new(peer).unwrap())
}

fn mine() -> Head {
    head_of("a", "b")
}

fn record(seq: u64) -> String {
    let what = Happening::Cluster(Event::ConfigDiffers);
    let (name, severity) = what.kind();
    line(&Record {
        v: journal::VERSION,
        session: "00000001".to_owned(),
        seq,
        wall_ms: 1,
        boot_ns: Instant::from_millis(1),
        severity,
        name: name.to_owned(),
        text: what.sentence(&[]),
        what: Some(what),
        because: None,
    })
}

#[test]
fn a_line_that_a_crash_has_cut_off_is_named_and_the_next_one_is_whole() {
    let scratch = Place::new("cut");
    let mut files = scratch.files();
    for seq in 1..=2 {
        files.append(&record(seq)).unwrap();
    }
    drop(files);
    let path = scratch.0.join("events-00000001.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    assert_eq!(scratch.seqs(), [1], "readable as it is");
    scratch.files().append(&record(3)).unwrap();
    let contents = read(&scratch.0, Some(&mine())).unwrap();
    assert_eq!(scratch.seqs(), [1, 3]);
    assert_eq!(contents.left_out, [format!("{}:3: damaged", path.display())]);
}

#[test]
fn files_of_another_cluster_or_node_are_neither_read_nor_touched() {
    let scratch = Place::new("strangers");
    for (number, head) in [(1, head_of("a", "c")), (2, head_of("b", "a")), (3, mine())] {
        let text = line(&head) + &record(number);
        fs::write(scratch.0.join(name(EVENTS, number)), text).unwrap();
    }
    fs::write(scratch.0.join("events-00000009.jsonl"), "no journal\n").unwrap();
    let mut files = scratch.files();
    files.append(&record(4)).unwrap();
    assert_eq!(files.strangers().len(), 3, "{:?}", files.strangers());
    assert!(files.strangers()[0].ends_with("journal of a in the cluster of a and c"));
    assert_eq!(scratch.seqs(), [3, 4]);
    assert!(scratch.names().contains(&"events-00000010.jsonl".to_owned()), "above all others");
    let left_out = read(&scratch.0, Some(&mine())).unwrap().left_out;
    assert_eq!(left_out.len(), 3, "{left_out:?}");
}

#[test]
fn files_are_bounded_in_length_and_number_and_the_newest_records_stay() {
    let scratch = Place::new("bounded");
    let mut files = scratch.files();
    let each = record(1).len() as u64;
    let last = FILE_LEN_MAX / each * (FILES_MAX as u64 + 2);
    for seq in 1..=last {
        files.append(&record(seq)).unwrap();
    }
    assert_eq!(scratch.names().len(), FILES_MAX);
    for path in numbered(&scratch.0, EVENTS).unwrap().values() {
        assert!(fs::metadata(path).unwrap().len() < FILE_LEN_MAX + 2 * each);
    }
    let seqs = scratch.seqs();
    assert_eq!(seqs.last(), Some(&last));
    assert!(seqs.windows(2).all(|pair| pair[0] + 1 == pair[1]), "without a gap");
}

#[test]
fn a_directory_that_is_removed_is_made_again() {
    let scratch = Place::new("removed");
    let mut files = scratch.files();
    files.append(&record(1)).unwrap();
    fs::remove_dir_all(&scratch.0).unwrap();
    files.append(&record(2)).unwrap();
    assert_eq!(scratch.seqs(), [2]);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_record_behind() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP needs root to mount a small file system");
        assert!(std::env::var_os("PAIRBEAT_REQUIRE_ALL").is_none_or(|it| it != "1"));
        return;
    }
    let scratch = Place::new("full");
    let mount = |words: &[&str]| {
        let status = std::process::Command::new(words[0]).args(&words[1..]).status().unwrap();
        assert!(status.success(), "{words:?}");
    };
    let place = scratch.0.to_str().unwrap().to_owned();
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", &place]);
    let mut files = scratch.files();
    let failed = (1..2000).find(|seq| files.append(&record(*seq)).is_err());
    let read_back = scratch.seqs();
    fs::write(scratch.0.join("other"), "").ok();
    let contents = read(&scratch.0, Some(&mine())).unwrap();
    mount(&["umount", &place]);
    assert_eq!(Some(read_back.len() as u64 + 1), failed);
    assert_eq!(contents.left_out, [""; 0]);
}

#[test]
fn recordings_are_bounded_in_number_and_found_by_their_time() {
    let scratch = Place::new("recordings");
    let mut paths = Vec::new();
    for _ in 0..RECORDINGS_MAX + 2 {
        paths.push(scratch.files().record("{}\n").unwrap());
    }
    assert_eq!(numbered(&scratch.0, RECORDING).unwrap().len(), RECORDINGS_MAX);
    assert_eq!(recording_of(&scratch.0, 0), Some(paths[2].clone()));
    assert_eq!(recording_of(&scratch.0, u64::MAX), None);
    let mode = fs::metadata(&paths[2]).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "not for everybody");
}
