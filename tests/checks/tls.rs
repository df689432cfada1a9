//! nginx with TLS: who vouches for it, for whom, and for how long.

use std::path::{Path, PathBuf};
use std::process::Command;

use pairbeat::lvs::check::{CheckSpec, CheckWarning, Verdict};
use pairbeat::lvs::exchange::{Authority, Exchange, HttpCheck, Tls};
use pairbeat::probe::tls::Trust;
use pairbeat::probe::{Context, Probed, probe};

use crate::http::{is_here, nginx, page};
use crate::rig::{PATIENCE, Place, reason, run, spec};

/// A private authority, and servers that it has signed: `good` for ten days and `www.example.org`,
/// `soon` for three, `past` until yesterday. `other` is an authority that nobody knows.
fn authority(place: &Place) {
    const SCRIPT: &str = "set -e
        new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        for ca in ca other; do
            $new -x509 -keyout $ca.key -out $ca.pem -subj /CN=$ca -days 30
        done
        printf 'subjectAltName=DNS:www.example.org' > names
        number=1
        for server in good:10 soon:3 past:-1; do
            name=${server%:*} days=${server#*:} number=$((number + 1))
            $new -keyout $name.key -out $name.csr -subj /CN=www.example.org
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -extfile names \
                -set_serial $number -days $days -out $name.pem
        done";
    let made = Command::new("sh").arg("-c").arg(SCRIPT).current_dir(&place.path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// One server for each certificate, at these ports.
const SERVERS: [(&str, u16); 3] = [("good", 8443), ("soon", 8444), ("past", 8445)];

fn servers(place: &Place) -> String {
    let root = place.path.display();
    let server = |(name, port): (&str, u16)| {
        let at = place.at(port);
        format!(
            "server {{ listen {at} ssl; ssl_certificate {root}/{name}.pem;\n\
             ssl_certificate_key {root}/{name}.key; location / {{ return 200 well; }} }}\n"
        )
    };
    SERVERS.map(server).concat()
}

fn probed(check: HttpCheck, place: &Place, port: u16, system: &Path) -> Probed {
    let spec: CheckSpec = spec(Exchange::Http(check), place.at(port), PATIENCE);
    let context = Context::new(Trust::file(system).into(), std::slice::from_ref(&spec));
    run(probe(&spec, &context))
}

#[test]
fn a_private_authority_is_named_by_its_file_and_a_refusal_says_why() {
    if !is_here() {
        return;
    }
    let place = Place::new();
    authority(&place);
    let _server = nginx(&place, &servers(&place), &[8443, 8444, 8445]);
    let file = |name: &str| -> PathBuf { place.path.join(name) };
    let tried = |tls: Tls, host: Option<&str>, port| {
        let check = HttpCheck { host: host.map(str::to_owned), ..page("/", Some(tls)) };
        reason(probed(check, &place, port, &file("other.pem")).verdict)
    };
    let own = || Tls::by(Authority::File(file("ca.pem")));
    assert_eq!(tried(own(), None, 8443), "up");
    let stranger = tried(Tls::by(Authority::File(file("other.pem"))), None, 8443);
    let other = file("other.pem");
    let none = format!("TLS: certificate signed by none of the authorities in {}", other.display());
    assert_eq!(stranger, none);
    let system = tried(Tls::by(Authority::System), None, 8443);
    assert!(system.starts_with("TLS: certificate signed by no known authority; "), "{system}");
    assert!(system.contains("`ca`"), "{system}");
    assert_eq!(tried(Tls::by(Authority::Anybody), None, 8443), "up");
    assert_eq!(tried(own(), None, 8445), "TLS: certificate has expired");
    let gone = tried(Tls::by(Authority::File(file("gone.pem"))), None, 8443);
    assert!(gone.starts_with("cannot check: "), "{gone}");

    let named = || Tls { name: true, ..own() };
    assert_eq!(tried(named(), Some("www.example.org"), 8443), "up");
    let wrong = tried(named(), Some("mail.example.org"), 8443);
    assert!(wrong.starts_with("TLS: certificate is for ") && wrong.contains("www.example.org"));
    assert!(wrong.ends_with(", not for mail.example.org"), "{wrong}");
    assert_ne!(tried(named(), None, 8443), "up", "an address that is not in it");
}

#[test]
fn a_certificate_near_its_end_is_warned_of_and_the_server_is_up() {
    if !is_here() {
        return;
    }
    let place = Place::new();
    authority(&place);
    let _server = nginx(&place, &servers(&place), &[8443, 8444, 8445]);
    let ca = place.path.join("ca.pem");
    let tried = |authority: Authority, warn_days, port| {
        let tls = Tls { warn_days, ..Tls::by(authority) };
        probed(page("/", Some(tls)), &place, port, &ca)
    };
    for authority in [Authority::System, Authority::File(ca.clone()), Authority::Anybody] {
        let soon = tried(authority.clone(), 14, 8444);
        assert_eq!(soon.verdict, Verdict::Up);
        let Some(CheckWarning::CertificateEnds { days: 2 | 3 }) = soon.warning else {
            panic!("{authority:?}: {soon:?}");
        };
        assert_eq!(tried(authority.clone(), 2, 8444).warning, None, "{authority:?}");
        assert_eq!(tried(authority.clone(), 0, 8444).warning, None, "{authority:?}");
        assert_eq!(tried(authority, 9, 8443).warning, None);
    }
    let past = tried(Authority::Anybody, 14, 8445);
    assert_eq!(past.verdict, Verdict::Up);
    assert_eq!(past.warning, Some(CheckWarning::CertificateEnds { days: 0 }));
}
