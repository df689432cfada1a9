//! Which files are gone by, and which are not.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::cluster::calm::CarriedCalm;
use crate::cluster::{CarriedGroup, CarriedStance, Past, RESTART_LIMIT};
use crate::sys::files::Machine;
use crate::sys::scratch::Scratch;

/// A directory with the configuration of `alpha`, gone when dropped.
struct Place(Scratch);

impl Place {
    fn new(name: &str) -> Self {
        let place = Self(Scratch::new(name));
        std::fs::create_dir(place.0.join("ha.d")).unwrap();
        let write = |file: &str, text: &str| {
            let path = place.0.join("ha.d").join(file);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        write("ha.cf", "ucast eth0 10.0.0.2\nnode alpha beta\nauto_failback off\n");
        write("haresources", "alpha 192.168.2.110/24/eth0\n");
        let key = "5f0c2e8a91d4b7631f9ae2c05d7b48e3a6c1902f7e84d35b60f1c9a7e2483d16";
        write("authkeys", &format!("auth 1\n1 sha256 {key}\n"));
        place
    }

    fn config(&self) -> Config {
        let node = NodeName::new("alpha").unwrap();
        let (config, faults) =
            crate::config::load(&self.0.join("ha.d"), &node, &Machine::default());
        config.unwrap_or_else(|| unreachable!("{faults:?}"))
    }

    fn file(&self) -> PathBuf {
        self.0.join("carried.json")
    }

    fn put(&self, text: &[u8]) {
        std::fs::write(self.file(), text).unwrap();
        std::fs::set_permissions(self.file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Why it is not used; it must be gone.
    fn refused(&self) -> String {
        let why = take(&self.file(), &self.config()).unwrap_err().to_string();
        assert!(!self.file().exists(), "{why}");
        why
    }
}

fn carried(config: &Config, within: Duration) -> Carried {
    let groups = config.groups.iter().map(|group| CarriedGroup {
        name: group.name.clone(),
        held: true,
        epoch: 6,
        stance: CarriedStance::Willing,
        calm: CarriedCalm { taken: 2, hold_s: 5, level: 1 },
    });
    let groups = groups.collect();
    Carried { until: clock::now().plus(within), past: Past::default(), groups }
}

fn leaving(config: &Config) -> Leaving {
    Leaving::new(config, carried(config, RESTART_LIMIT)).unwrap()
}

#[test]
fn what_was_left_is_found_once() {
    let place = Place::new("once");
    let config = place.config();
    let left = leaving(&config);
    write(&place.file(), &left).unwrap();
    let mode = std::fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(take(&place.file(), &config).unwrap(), Some(left));
    assert_eq!(take(&place.file(), &config).unwrap(), None);
}

#[test]
fn a_file_that_is_cut_off_or_changed_anywhere_is_not_used() {
    let place = Place::new("cut");
    let text = leaving(&place.config()).to_text();
    for length in (0..text.len()).step_by(7) {
        place.put(&text.as_bytes()[..length]);
        assert_eq!(place.refused(), "it is damaged", "{length} bytes");
    }
    for at in (0..text.len()).step_by(11) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        place.put(&bytes);
        assert_eq!(place.refused(), "it is damaged", "byte {at}");
    }
    place.put(format!("{text}more\n").as_bytes());
    assert_eq!(place.refused(), "it is damaged");
    place.put(&vec![b' '; usize::try_from(FILE_LEN_MAX).unwrap() + 1]);
    assert!(place.refused().contains("longer than"));
}

#[test]
fn a_file_of_another_node_cluster_boot_or_version_is_not_used() {
    let place = Place::new("strangers");
    let good = leaving(&place.config());
    let name = |text| NodeName::new(text).unwrap();
    let strangers = [
        (Leaving { node: name("gamma"), ..good.clone() }, "it is of node gamma"),
        (Leaving { peer: name("gamma"), ..good.clone() }, "it is of a cluster with gamma"),
        (Leaving { boot: "0".to_owned(), ..good.clone() }, "it is of another boot or machine"),
        (
            Leaving { pairbeat_carried: 2, program: "9.9".to_owned(), ..good.clone() },
            "it is of another version of pairbeat: 9.9",
        ),
    ];
    for (stranger, why) in strangers {
        write(&place.file(), &stranger).unwrap();
        assert_eq!(place.refused(), why);
    }
}

#[test]
fn a_file_that_is_too_old_or_promises_too_much_is_not_used() {
    let place = Place::new("late");
    let config = place.config();
    for within in [Duration::ZERO, Duration::from_millis(1900), Duration::from_secs(3600)] {
        let late = Leaving::new(&config, carried(&config, within)).unwrap();
        write(&place.file(), &late).unwrap();
        assert_eq!(place.refused(), "it is too old", "{within:?}");
    }
}

#[test]
fn a_file_that_others_may_have_written_is_not_used() {
    let place = Place::new("foreign");
    let text = leaving(&place.config()).to_text();
    place.put(text.as_bytes());
    std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(place.refused(), "it is not of this user alone");
    place.put(text.as_bytes());
    std::fs::rename(place.file(), place.0.join("other")).unwrap();
    std::os::unix::fs::symlink(place.0.join("other"), place.file()).unwrap();
    assert!(place.refused().contains("os error"));
    rustix::fs::mkfifoat(rustix::fs::CWD, place.file(), 0o600.into()).unwrap();
    assert_eq!(place.refused(), "it is not of this user alone");
}

#[test]
fn what_can_not_be_written_leaves_nothing_of_before() {
    let place = Place::new("nowhere");
    let config = place.config();
    place.put(b"of before");
    std::fs::create_dir(place.0.join("carried.new")).unwrap();
    assert!(write(&place.file(), &leaving(&config)).is_err());
    assert_eq!(take(&place.file(), &config).unwrap(), None);
}
