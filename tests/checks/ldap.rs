//! service=ldap and ldaps against slapd.

use std::process::Command;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Authority, Exchange, LdapCheck, Password, Tls};

use super::rig::{self, Daemon, Place};

fn search(base: &str) -> LdapCheck {
    let (base, receive) = (base.to_owned(), None);
    LdapCheck { tls: None, base, receive, login: None, password: None }
}

fn login(login: &str, password: &str) -> Exchange {
    let (login, password) = (Some(login.to_owned()), Some(Password::new(password)));
    Exchange::Ldap(LdapCheck { login, password, ..search("dc=example,dc=com") })
}

/// A directory of two entries; both ports, without and with TLS.
fn slapd() -> Option<(Daemon, u16, u16)> {
    let (program, add) = (rig::program("slapd")?, rig::program("slapadd")?);
    let place = Place::new();
    rig::program("openssl")?;
    place.certificate();
    let at = place.text().to_owned();
    let conf = place.write(
        "slapd.conf",
        &format!(
            "include /etc/ldap/schema/core.schema\n\
             modulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             TLSCertificateFile {at}/cert.pem\nTLSCertificateKeyFile {at}/key.pem\n\
             database mdb\nsuffix \"dc=example,dc=com\"\ndirectory {at}\n\
             rootdn \"cn=admin,dc=example,dc=com\"\nrootpw pw\n\
             access to dn.base=\"ou=hidden,dc=example,dc=com\" by * none\n\
             access to * by * read\n"
        ),
    );
    let ldif = place.write(
        "data.ldif",
        "dn: dc=example,dc=com\nobjectClass: dcObject\nobjectClass: organization\n\
         dc: example\no: example\n\n\
         dn: ou=people,dc=example,dc=com\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: ou=hidden,dc=example,dc=com\nobjectClass: organizationalUnit\nou: hidden\n",
    );
    let added = Command::new(add).args(["-f", &conf, "-l", &ldif]).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let (port, tls_port) = (rig::free_port(), rig::free_port());
    let urls = format!("ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/");
    let server = Daemon::of(place, &program, &["-d", "0", "-h", &urls, "-f", &conf]);
    let server = server.until_up(&Exchange::Ldap(search("")), port);
    Some((server, port, tls_port))
}

#[test]
fn a_directory_with_the_entry_is_up() {
    let Some((_server, port, tls_port)) = slapd() else { return };
    for base in ["", "dc=example,dc=com", "ou=People, dc=Example, dc=com"] {
        assert_eq!(rig::verdict(&Exchange::Ldap(search(base)), port), Verdict::Up, "{base}");
    }
    let matched = LdapCheck {
        receive: Some("^ou=people,".to_owned()),
        ..search("ou=people,dc=example,dc=com")
    };
    assert_eq!(rig::verdict(&Exchange::Ldap(matched.clone()), port), Verdict::Up);
    assert_eq!(rig::verdict(&login("cn=admin,dc=example,dc=com", "pw"), port), Verdict::Up);
    let tls = LdapCheck { tls: Some(Tls::by(Authority::Anybody)), ..matched };
    assert_eq!(rig::verdict(&Exchange::Ldap(tls.clone()), tls_port), Verdict::Up);

    // Nobody known to us has signed its certificate.
    let verified = Exchange::Ldap(LdapCheck { tls: Some(Tls::by(Authority::System)), ..tls });
    let verdict = rig::verdict(&verified, tls_port);
    assert!(matches!(verdict, Verdict::Down(CheckFailure::Local(_))), "{verdict:?}");
}

#[test]
fn a_directory_without_the_entry_or_the_login_is_down() {
    let Some((_server, port, tls_port)) = slapd() else { return };
    for (base, says) in [
        ("ou=nobody,dc=example,dc=com", "noSuchObject (32)"),
        ("ou=hidden,dc=example,dc=com", "noSuchObject (32)"),
        ("not a name", "invalidDNSyntax (34)"),
    ] {
        let verdict = rig::verdict(&Exchange::Ldap(search(base)), port);
        let Verdict::Down(CheckFailure::Answer(words)) = &verdict else { panic!("{verdict:?}") };
        assert!(words.starts_with(says), "{base}: {words}");
    }
    let other = LdapCheck { receive: Some("^ou=".to_owned()), ..search("dc=example,dc=com") };
    let missed = CheckFailure::NoMatch("^ou=".to_owned());
    assert_eq!(rig::verdict(&Exchange::Ldap(other), port), Verdict::Down(missed));
    for (name, password) in
        [("cn=admin,dc=example,dc=com", "wrong"), ("cn=nobody,dc=example,dc=com", "pw")]
    {
        let verdict = rig::verdict(&login(name, password), port);
        let refused = CheckFailure::Login("invalidCredentials (49)".to_owned());
        assert_eq!(verdict, Verdict::Down(refused));
    }
    // Plain where TLS is spoken.
    let verdict = rig::verdict_within(&Exchange::Ldap(search("")), tls_port, rig::SHORT);
    assert_ne!(verdict, Verdict::Up);
}

#[test]
fn a_directory_that_is_not_there_is_refused_and_a_silent_one_down_at_the_limit() {
    let plain = Exchange::Ldap(search(""));
    rig::absent_and_silent(&plain);
    // A bind that is answered, and a search that is not.
    let half = rig::saying(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00");
    let verdict = rig::verdict_within(&plain, half, rig::SHORT);
    assert!(rig::is_silence(&verdict), "{verdict:?}");
}

#[test]
fn what_is_not_ldap_is_down() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"\x30\x80\x00\x00",
        b"\x30\x05\x02\x01\x07\x61\x00",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x05\x02\x01\x01\x61\x00",
    ] {
        let verdict = rig::verdict(&Exchange::Ldap(search("")), rig::saying(bytes));
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
    }
    let huge = rig::saying(b"\x30\x84\x7f\xff\xff\xff");
    let verdict = rig::verdict(&Exchange::Ldap(search("")), huge);
    assert!(matches!(verdict, Verdict::Down(CheckFailure::TooLarge(_))), "{verdict:?}");
}
