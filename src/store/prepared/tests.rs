use super::*;
use crate::realserver::{Change, Kept, Key, Mode, Place, Setting};
use crate::sys::scratch::Scratch;

fn kept() -> Kept {
    let vip = "192.168.2.110".parse().unwrap();
    let setting = Setting::new("all", Key::ArpIgnore);
    Kept {
        vips: [(vip, Place::usual(Mode::Gate, None, vip))].into(),
        changes: vec![
            Change::Setting { setting, before: 0, set: 1 },
            Change::Address { ip: vip, interface: "lo".to_owned() },
        ],
    }
}

#[test]
fn what_is_written_is_read_and_nothing_to_remember_is_no_file() {
    let directory = Scratch::new("again");
    let file = Prepared::<Kept>::new(&directory).unwrap();
    assert_eq!(file.read().unwrap(), Kept::default());
    file.write(&kept()).unwrap();
    assert_eq!(file.read().unwrap(), kept());
    file.write(&Kept::default()).unwrap();
    file.write(&Kept::default()).unwrap();
    assert!(!directory.join("realserver.json").exists());
}

#[test]
fn one_of_another_boot_or_namespace_tells_nothing() {
    let directory = Scratch::new("stranger");
    let file = Prepared::<Kept>::new(&directory).unwrap();
    for (boot, namespace) in [("another", file.namespace.as_str()), (file.boot.as_str(), "net:[1]")]
    {
        let other = Prepared {
            path: file.path.clone(),
            boot: boot.to_owned(),
            namespace: namespace.to_owned(),
            holds: PhantomData,
        };
        other.write(&kept()).unwrap();
        assert_eq!(other.read().unwrap(), kept());
        assert_eq!(file.read().unwrap(), Kept::default());
    }
}

#[test]
fn a_damaged_one_is_named_with_what_to_do_and_not_touched() {
    let directory = Scratch::new("damaged");
    let file = Prepared::<Kept>::new(&directory).unwrap();
    file.write(&kept()).unwrap();
    let good = std::fs::read_to_string(&file.path).unwrap();
    let (half, _) = good.split_at(good.len() / 2);
    let newer = good.replace("\"version\": 1", "\"version\": 2");
    let long = format!("{good}{}", " ".repeat(1024 * 1024));
    for (text, says) in [(half, "can't be read"), (&newer, "another version"), (&long, "longer")] {
        std::fs::write(&file.path, text).unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, PreparedError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), text);
    }
}

#[test]
fn one_of_an_earlier_version_of_ours_is_read() {
    let directory = Scratch::new("earlier");
    let file = Prepared::<Kept>::new(&directory).unwrap();
    file.write(&kept()).unwrap();
    let good = std::fs::read_to_string(&file.path).unwrap();
    std::fs::write(&file.path, good.replace("\"version\"", "\"pairbeat_realserver\"")).unwrap();
    assert_eq!(file.read().unwrap(), kept());
}
