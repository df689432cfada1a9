//! Every decoder with its committed corpus, and with mutations of it: no panic, no promise broken.
//!
//! The same decoders run under libfuzzer, see `tests/fuzz/README.md`; this is the part that needs
//! no tool and gives the same result in every run. `PAIRBEAT_FUZZ_ROUNDS` says how many mutations
//! of each seed are tried.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed"
)]

#[path = "fuzz/decoders/mod.rs"]
mod decoders;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Mutations of each seed where nothing else is said: all decoders in under ten seconds, unoptimised.
const ROUNDS: u32 = 80;
/// Longest input, libfuzzer's own default.
const LEN_MAX: usize = 4096;

/// Pieces that formats are made of.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\t",
    b" ",
    b"=",
    b"\"",
    b"#",
    b":",
    b"::",
    b"/",
    b"->",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"\\",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"0",
    b"-1",
    b"4294967296",
    b"65536",
    b"18446744073709551615",
    b"null",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"fd00:2::1:110",
];

/// One test for each decoder, so that they run side by side.
macro_rules! replayed {
    ($($name:ident)*) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*
    };
}

replayed! {
    wire_frame serial_line engine_hear control_call status channel journal recording carried
    owned_services etcd_answer
    ha_cf haresources authkeys
    ldirectord toml keys lan_frame ipvs_dump
    dns_server radius_server redis_server ldap_server mysql_server pgsql_server
    ftp_server grpc_answer imap_server nntp_server pop_server sip_server smtp_server text_server
}

#[test]
fn each_decoder_has_a_test_a_corpus_and_a_target() {
    let decoders: BTreeSet<String> =
        decoders::DECODERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(decoders, REPLAYED.iter().map(|name| (*name).to_owned()).collect());
    let names = |folder: &str| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&fuzz().join(folder)).iter().map(stem).collect()
    };
    assert_eq!(names("corpus"), decoders);
    assert_eq!(names("fuzz_targets"), decoders);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &decoders {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let target = fuzz().join(format!("fuzz_targets/{name}.rs"));
        let target = std::fs::read_to_string(target).unwrap();
        assert!(target.contains(&format!("decoders::run(\"{name}\"")), "{name}: {target}");
    }
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// What is in a folder, sorted, without hidden files.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    paths.sort();
    paths
}

fn replay(name: &str) {
    let rounds = std::env::var("PAIRBEAT_FUZZ_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let paths = files(&fuzz().join("corpus").join(name));
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let mut taken = 0;
    for (path, seed) in paths.iter().zip(&seeds) {
        taken += u32::from(give(name, seed, &path.display().to_string()));
    }
    assert!(taken > 0, "{name}: no seed is taken, so nothing behind the first check is tried");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (path, seed) in paths.iter().zip(&seeds) {
        for round in 0..rounds {
            let mut bytes = seed.clone();
            random.mutate(&mut bytes, &seeds);
            give(name, &bytes, &format!("{} mutated, round {round}", path.display()));
        }
    }
}

/// Leaves what a decoder failed on where libfuzzer can take it up.
fn give(name: &str, bytes: &[u8], origin: &str) -> bool {
    catch_unwind(|| decoders::run(name, bytes)).unwrap_or_else(|panic| {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        std::fs::write(&kept, bytes).unwrap();
        eprintln!("{name} fails on {origin}; the bytes are in {}", kept.display());
        std::panic::resume_unwind(panic)
    })
}

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    /// A part of these bytes, at most 32 long.
    fn part<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let from = self.below(bytes.len() + 1);
        let to = (from + self.below(32)).min(bytes.len());
        &bytes[from..to]
    }

    /// A few changes of any kind.
    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let to = (at + self.below(16)).min(bytes.len());
            match self.below(8) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = self.byte(),
                3 => drop(bytes.drain(at..to)),
                4 => drop(bytes.splice(at..to, PIECES[self.below(PIECES.len())].to_vec())),
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    drop(bytes.splice(at..at, self.part(other).to_vec()));
                }
                6 => {
                    let own = self.part(bytes).to_vec();
                    drop(bytes.splice(at..at, own));
                }
                7 if self.below(4) == 0 => bytes.truncate(at),
                _ => bytes.insert(at, self.byte()),
            }
        }
        bytes.truncate(LEN_MAX);
    }
}
