use super::*;
use crate::config::testing::brief;

fn ids(text: &str) -> (Vec<u8>, Vec<String>) {
    let (ring, found) = read(&Source::literal("authkeys", text));
    (ring.keys.iter().map(|key| key.id).collect(), brief(&found))
}

const LONG: &str = "5f0c2e8a91d4b7631f9ae2c05d7b48e3a6c1902f7e84d35b60f1c9a7e2483d16";

#[test]
fn the_key_that_auth_names_is_the_first_one() {
    let text = format!("1 sha256 {LONG}\n# new\nauth 7\n0 sha256 {LONG}\n7 sha256 {LONG}\n");
    assert_eq!(ids(&text), (vec![7, 0, 1], vec![]));
}

#[test]
fn secrets_of_heartbeat_are_key_material_with_a_warning() {
    let (ring, found) = read(&Source::literal("authkeys", &format!("auth 1\n1 sha1 {LONG}\n")));
    assert_eq!(ring.keys[0].secret.as_slice(), LONG.as_bytes());
    assert_eq!(found.len(), 1);
    for (secret, want) in [
        ("HI!", "this secret is a sample of the documentation: everybody knows it"),
        ("Hello!", "this secret is a sample of the documentation: everybody knows it"),
        ("geheim", "a secret of 6 bytes can be guessed from one packet"),
    ] {
        let (ids, found) = ids(&format!("auth 1\n1 md5 {secret}\n"));
        assert_eq!(ids, [1]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], format!("2 warning: {want}"));
    }
}

#[test]
fn what_is_no_key_is_a_fault() {
    for (text, want) in [
        (String::new(), "0 fault: no `auth` line, which says what key to sign with"),
        ("auth".into(), "1 fault: `auth` has no number"),
        ("auth 16".into(), "1 fault: a line begins with `auth` or a key number of 0 to 15"),
        ("auth 1".into(), "1 fault: no usable key 1"),
        (
            "auth 1\n1 crc".into(),
            "2 fault: `crc` is no authentication: anybody could take the group",
        ),
        ("auth 1\n1".into(), "2 fault: no method and no secret"),
        ("auth 1\n1 sha256".into(), "2 fault: no secret behind the method"),
        ("auth 1\n1 sha512 x".into(), "2 fault: not a known method"),
        (format!("auth 1\n1 sha256 {LONG}\n1 sha256 {LONG}"), "3 fault: key 1 is given twice"),
    ] {
        let (_, found) = ids(&text);
        assert!(found.contains(&want.to_owned()), "{text:?}: {found:?}");
    }
}

#[test]
fn a_crc_key_is_refused_even_when_another_one_signs() {
    let (_, found) = ids(&format!("auth 1\n1 sha256 {LONG}\n2 crc\n"));
    assert_eq!(found, ["3 fault: `crc` is no authentication: anybody could take the group"]);
}

#[test]
fn no_secret_is_ever_shown() {
    let text = format!("auth 1\n1 sha1 topsecret extra\n2 md4 topsecret\ntopsecret\n3 {LONG}\n");
    let (ring, found) = read(&Source::literal("authkeys", &text));
    let shown: String = found.iter().map(|found| found.to_string()).collect();
    assert!(!shown.contains("topsecret") && !shown.contains(LONG), "{shown}");
    assert!(!format!("{ring:?}").contains("topsecret"));
}
