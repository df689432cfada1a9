//! Checks whose tests need something of the machine: the `openssl` command, namespaces, privileges.
//!
//! A test that cannot run says so, and fails where `PAIRBEAT_REQUIRE_ALL=1` is set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::lvs::exchange::{HttpCheck, HttpMethod, Wanted};
use crate::sys::scratch::Scratch;

const PATIENCE: Duration = Duration::from_secs(10);

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn skip(reason: &str) {
    assert!(std::env::var("PAIRBEAT_REQUIRE_ALL").as_deref() != Ok("1"), "cannot run: {reason}");
    println!("SKIP {reason}");
}

fn spec(kind: CheckKind, target: SocketAddr, timeout: Duration) -> CheckSpec {
    CheckSpec::once(kind, target, timeout)
}

async fn verdict(spec: &CheckSpec, trust: tls::Trust) -> Verdict {
    probe(spec, &Context::new(Arc::new(trust), std::slice::from_ref(spec))).await.verdict
}

/// Certificates in a directory that goes away with the value.
struct Certificates(Scratch);

impl Certificates {
    /// `ca` signed `server` and, until yesterday, `expired`; `alone` signed itself.
    fn new(test: &str) -> Option<Self> {
        const SCRIPT: &str = "set -e
            new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            $new -x509 -keyout ca.key -out ca.pem -subj /CN=ca -days 2
            $new -x509 -keyout alone.key -out alone.pem -subj /CN=alone -days 2
            $new -keyout server.key -out server.csr -subj /CN=other.example
            cp server.key expired.key
            printf 'subjectAltName=DNS:other.example' > names
            sign='openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -extfile names'
            $sign -set_serial 1 -days 2 -out server.pem
            $sign -set_serial 2 -days -1 -out expired.pem";
        if Command::new("openssl").arg("version").output().is_err() {
            skip("openssl is not installed");
            return None;
        }
        let place = Self(Scratch::new(test));
        let made =
            Command::new("sh").arg("-c").arg(SCRIPT).current_dir(&*place.0).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(place)
    }

    fn trust(&self, name: &str) -> tls::Trust {
        tls::Trust::file(&self.file(name, "pem"))
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.file(name, "pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.file(name, "key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn https(host: Option<&str>) -> HttpCheck {
    HttpCheck {
        tls: Some(Tls::by(Authority::System)),
        method: HttpMethod::Get,
        path: "/".to_owned(),
        host: host.map(str::to_owned),
        headers: Vec::new(),
        login: None,
        want: Wanted { receive: Some("OK".to_owned()), ..Wanted::default() },
    }
}

/// The verdict on a good HTTPS server with this certificate, and the server name it was asked for.
fn serve_once(
    acceptor: &TlsAcceptor,
    host: Option<&str>,
    trust: tls::Trust,
) -> (Verdict, Option<String>) {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = spec(
            CheckKind::Negotiate(Exchange::Http(https(host))),
            listener.local_addr().unwrap(),
            PATIENCE,
        );
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.ok()?;
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
            stream.write_all(answer).await.ok()?;
            // Stays open until the check leaves.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            name
        };
        tokio::join!(verdict(&spec, trust), server)
    })
}

#[test]
fn a_chain_to_a_known_authority_is_up_whatever_its_name() {
    let Some(certificates) = Certificates::new("chain") else { return };
    for (host, asked) in [
        (Some("www.example.com"), Some("www.example.com")),
        (Some("www.example.com:8443"), Some("www.example.com")),
        (None, None),
        (Some("192.0.2.1"), None),
    ] {
        let (verdict, name) =
            serve_once(&certificates.acceptor("server"), host, certificates.trust("ca"));
        assert_eq!(verdict, Verdict::Up, "{host:?}");
        assert_eq!(name.as_deref(), asked, "{host:?}");
    }
}

#[test]
fn a_certificate_nobody_vouches_for_is_down() {
    let Some(certificates) = Certificates::new("unknown") else { return };
    for (server, authority, word) in [
        ("alone", "ca", "self-signed"),
        ("server", "alone", "no known authority"),
        ("expired", "ca", "expired"),
    ] {
        let (verdict, _) =
            serve_once(&certificates.acceptor(server), None, certificates.trust(authority));
        let Verdict::Down(CheckFailure::Tls(reason)) = &verdict else {
            panic!("{server}: {verdict:?}");
        };
        assert!(reason.contains(word), "{server}: {reason}");
    }
}

#[test]
fn a_self_signed_certificate_among_the_authorities_is_up() {
    let Some(certificates) = Certificates::new("alone") else { return };
    let (verdict, _) =
        serve_once(&certificates.acceptor("alone"), None, certificates.trust("alone"));
    assert_eq!(verdict, Verdict::Up);
}

#[test]
fn without_any_authority_the_failure_is_our_own() {
    let trust = || tls::Trust::file(Path::new("/nonexistent/ca.pem"));
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = spec(
            CheckKind::Negotiate(Exchange::Http(https(None))),
            listener.local_addr().unwrap(),
            PATIENCE,
        );
        let verdict = verdict(&spec, trust()).await;
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Local(_))), "{verdict:?}");
    });
}

#[test]
fn a_server_that_speaks_no_tls_is_down_at_once_and_a_silent_one_at_the_limit() {
    let Some(certificates) = Certificates::new("plain") else { return };
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plain = spec(CheckKind::Negotiate(Exchange::Http(https(None))), address, PATIENCE);
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let (plain, _stream) = tokio::join!(verdict(&plain, certificates.trust("ca")), server);
        assert!(matches!(plain, Verdict::Down(CheckFailure::Tls(_))), "{plain:?}");

        // The backlog takes the connection and nobody says anything.
        let silent = spec(
            CheckKind::Negotiate(Exchange::Http(https(None))),
            address,
            Duration::from_millis(300),
        );
        let silent = verdict(&silent, certificates.trust("ca")).await;
        let Verdict::Down(CheckFailure::Timeout { phase, .. }) = &silent else {
            panic!("{silent:?}");
        };
        assert_eq!(phase, "tls");
    });
}

fn ping(address: IpAddr) -> Verdict {
    let spec = spec(CheckKind::Ping, SocketAddr::new(address, 0), Duration::from_secs(2));
    run(verdict(&spec, tls::Trust::none()))
}

fn loopback() -> [IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

#[test]
fn loopback_answers_a_ping() {
    for address in loopback() {
        match ping(address) {
            Verdict::Down(CheckFailure::Local(reason)) => skip(&reason),
            verdict => assert_eq!(verdict, Verdict::Up, "{address}"),
        }
    }
}

/// Set in the copy of this test program that runs in a namespace, to what the ping should say.
const INSIDE: &str = "PAIRBEAT_TEST_PING_INSIDE";

/// Runs this test again with `setup` done before, in a network namespace without any capability.
fn without_privilege(test: &str, setup: &str, expected: &str) {
    let probe = Command::new("unshare").args(["-n", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return skip("cannot make a network namespace");
    }
    let script = format!(
        "set -e; ip link set lo up; {setup}
         exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" --exact probe::tests_outside::{test}"
    );
    let inside = Command::new("unshare")
        .args(["-n", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, expected)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success(), "{text}{}", String::from_utf8_lossy(&inside.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn a_ping_socket_needs_no_privilege() {
    if std::env::var_os(INSIDE).is_none() {
        let setup = "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range;";
        return without_privilege("a_ping_socket_needs_no_privilege", setup, "up");
    }
    for address in loopback() {
        assert_eq!(ping(address), Verdict::Up, "{address}");
    }
    assert_eq!(ping([192, 0, 2, 1].into()), Verdict::Down(CheckFailure::Unreachable));
}

#[test]
fn without_a_ping_socket_and_privilege_the_failure_is_our_own() {
    if std::env::var_os(INSIDE).is_none() {
        let test = "without_a_ping_socket_and_privilege_the_failure_is_our_own";
        return without_privilege(test, "echo 1 0 > /proc/sys/net/ipv4/ping_group_range;", "local");
    }
    for address in loopback() {
        let verdict = ping(address);
        assert!(
            matches!(&verdict, Verdict::Down(CheckFailure::Local(why)) if why.contains("ping_group")),
            "{verdict:?}"
        );
    }
}

#[test]
fn a_connection_to_ourselves_is_refused() {
    if std::env::var_os(INSIDE).is_none() {
        // The kernel has only the port that is checked to take as the source.
        let setup = "echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range;";
        return without_privilege("a_connection_to_ourselves_is_refused", setup, "refused");
    }
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 40000));
    let connect = spec(CheckKind::Connect(Protocol::Tcp), target, PATIENCE);
    let verdict = run(verdict(&connect, tls::Trust::none()));
    assert_eq!(verdict, Verdict::Down(CheckFailure::Refused));
}
