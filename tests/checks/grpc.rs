//! gRPC health, with a server of Debian's python3-grpcio.

use std::path::Path;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Authority, Exchange, GrpcCheck, Tls};
use pairbeat::probe::tls::Trust;

use crate::needs::met;
use crate::rig::{self, Daemon, Place, judged, reason, until_refused};

const MODULE: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";

/// A health service for the whole server and for `shop`; `bar` does not serve. The messages are
/// made by hand, everything else is the library's.
const SERVER: &str = r#"
import sys, grpc
from concurrent import futures

STATUS = {b"": b"\x08\x01", b"\x0a\x04shop": b"\x08\x01", b"\x0a\x03bar": b"\x08\x02"}

def check(request, context):
    if request not in STATUS:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return STATUS[request]

address, encryption, health = sys.argv[1:4]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
if health == "health":
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
if encryption == "tls":
    pair = (open("key.pem", "rb").read(), open("cert.pem", "rb").read())
    server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
else:
    server.add_insecure_port(address)
server.start()
server.wait_for_termination()
"#;

fn server(place: &Place, port: u16, words: [&str; 2]) -> Daemon {
    let script = place.file("server.py", SERVER);
    let at = place.at(port).to_string();
    let script = script.to_str().unwrap();
    let root = place.path.to_str().unwrap();
    let args = ["-C", root, "/usr/bin/python3", script, &at, words[0], words[1]];
    let log = place.path.join(format!("{port}.log"));
    Daemon::start(Path::new("/usr/bin/env"), &args, &log, &[place.at(port)])
}

fn health(service: &str, tls: Option<Tls>) -> GrpcCheck {
    GrpcCheck { tls, host: None, service: service.to_owned() }
}

fn plain(service: &str) -> Exchange {
    Exchange::Grpc(health(service, None))
}

#[test]
fn a_server_is_up_when_it_or_its_service_says_that_it_is_serving() {
    if !met(Path::new(MODULE).exists(), "python3-grpcio") {
        return;
    }
    let place = Place::new();
    place.certificate();
    let well = server(&place, 5001, ["plain", "health"]);
    let encrypted = server(&place, 5002, ["tls", "health"]);
    let _other = server(&place, 5003, ["plain", "nothing"]);
    let judge = |exchange, port| judged(exchange, place.at(port), Trust::none());
    assert_eq!(judge(plain(""), 5001), Verdict::Up);
    assert_eq!(judge(plain("shop"), 5001), Verdict::Up);
    assert_eq!(reason(judge(plain("bar"), 5001)), "the server says: NOT_SERVING");
    let unknown = reason(judge(plain("other"), 5001));
    assert_eq!(unknown, "the server says: gRPC status 5 (no such service): unknown service");
    let none = reason(judge(plain(""), 5003));
    assert!(
        none.starts_with("the server says: gRPC status 12 (it has no health service)"),
        "{none}"
    );

    let tls = |authority| Exchange::Grpc(health("shop", Some(Tls::by(authority))));
    let own = || tls(Authority::File(place.path.join("cert.pem")));
    assert_eq!(judge(own(), 5002), Verdict::Up);
    assert_eq!(judge(tls(Authority::Anybody), 5002), Verdict::Up);
    let stranger = Place::new();
    let refused = reason(judge(tls(Authority::File(stranger.certificate())), 5002));
    assert!(refused.starts_with("TLS: certificate "), "{refused}");
    assert!(reason(judge(own(), 5001)).starts_with("TLS: "), "TLS to a server without it");
    assert_ne!(judge(plain(""), 5002), Verdict::Up, "a server that wants TLS");
    well.stop();
    until_refused(&plain(""), place.at(5001));
    encrypted.stop();
}

#[test]
fn what_is_not_grpc_is_down_and_a_silent_server_at_the_limit() {
    rig::absent_and_silent(&plain(""));
    for bytes in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2p1\r\n", &[0xff; 64]]
    {
        let verdict = rig::verdict(&plain(""), rig::saying(bytes));
        let is_none = matches!(
            verdict,
            Verdict::Down(
                CheckFailure::Protocol(_) | CheckFailure::Closed | CheckFailure::TooLarge(_)
            )
        );
        assert!(is_none, "{verdict:?}");
    }
}
