//! Checks against scripted servers on loopback.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::black_hole::BlackHole;
use super::*;
use crate::lvs::exchange::{HttpCheck, HttpMethod, Wanted};

/// Long enough for a busy machine, for checks that do not end by their timeout.
const PATIENCE: Duration = Duration::from_secs(10);
/// For checks that do.
const SHORT: Duration = Duration::from_millis(300);

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn http() -> HttpCheck {
    HttpCheck {
        tls: None,
        method: HttpMethod::Get,
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        login: None,
        want: Wanted::default(),
    }
}

fn receive(text: &str) -> HttpCheck {
    HttpCheck { want: Wanted { receive: Some(text.to_owned()), ..Wanted::default() }, ..http() }
}

fn spec(kind: CheckKind, target: SocketAddr, timeout: Duration) -> CheckSpec {
    CheckSpec::once(kind, target, timeout)
}

async fn verdict(spec: &CheckSpec, trust: tls::Trust) -> Verdict {
    probe(spec, &Context::new(Arc::new(trust), std::slice::from_ref(spec))).await.verdict
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads a request up to its empty line.
async fn request_of(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

/// What a scripted server does once it has read the request.
enum Script {
    /// Says this and closes.
    Say(&'static [u8]),
    /// Says this and keeps the connection open.
    SayAndWait(&'static [u8]),
    /// Says the first, then the second over and over as fast as it goes.
    Endless(&'static [u8], &'static [u8]),
    /// Says this at one byte in 20 ms.
    Drip(&'static [u8]),
}

async fn play(mut stream: TcpStream, script: &Script) {
    request_of(&mut stream).await;
    match script {
        Script::Say(text) => stream.write_all(text).await.unwrap(),
        Script::SayAndWait(text) => {
            stream.write_all(text).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        }
        Script::Endless(head, rest) => {
            stream.write_all(head).await.unwrap();
            while stream.write_all(rest).await.is_ok() {}
        }
        Script::Drip(text) => {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for byte in *text {
                ticks.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The verdict on a server that plays `script` once.
fn scripted(check: HttpCheck, timeout: Duration, script: &Script) -> Verdict {
    run(async {
        let (listener, address) = listen().await;
        let spec = spec(CheckKind::Negotiate(Exchange::Http(check)), address, timeout);
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            play(stream, script).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            verdict = verdict(&spec, tls::Trust::none()) => verdict,
            () = server => unreachable!(),
        }
    })
}

fn is_timeout(verdict: &Verdict, expected: &str) -> bool {
    matches!(verdict, Verdict::Down(CheckFailure::Timeout { timeout_ms: 300, phase })
        if phase == expected)
}

#[test]
fn good_answers_are_up() {
    use Script::{Say, SayAndWait};
    for (check, script) in [
        (http(), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")),
        (http(), Say(b"HTTP/1.0 204 No Content\r\n\r\n")),
        (receive("O."), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")),
        (receive("O."), SayAndWait(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")),
        (receive("OK$"), Say(b"HTTP/1.0 200 OK\r\n\r\nup: OK\n")),
        (
            receive("^OK$"),
            SayAndWait(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nO\r\n1\r\nK\r\n0\r\n\r\n",
            ),
        ),
        (http(), Say(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")),
        // Without `receive` the status line decides, however the body goes on.
        (http(), SayAndWait(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")),
        (
            HttpCheck { method: HttpMethod::Head, ..http() },
            SayAndWait(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ),
        (receive("caf. ok"), Say(b"HTTP/1.0 200 OK\r\n\r\ncaf\xe9 ok")),
    ] {
        assert_eq!(scripted(check, PATIENCE, &script), Verdict::Up);
    }
}

#[test]
fn other_status_codes_are_down_and_redirects_are_not_followed() {
    for (text, status) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], 404),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 302),
        (b"HTTP/1.1 500 Oops\r\n\r\n", 500),
        (b"HTTP/1.1 401 Who\r\n\r\n", 401),
    ] {
        let verdict = scripted(http(), PATIENCE, &Script::Say(text));
        assert_eq!(verdict, Verdict::Down(CheckFailure::Status(status)));
    }
}

#[test]
fn a_body_without_the_pattern_is_down() {
    let script = Script::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nKO");
    let verdict = scripted(receive("OK"), PATIENCE, &script);
    assert_eq!(verdict, Verdict::Down(CheckFailure::NoMatch("OK".to_owned())));
}

#[test]
fn what_is_not_http_is_a_protocol_failure() {
    for text in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"<html>a page without a head: HTTP/0.9</html>\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let verdict = scripted(http(), PATIENCE, &Script::Say(text));
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
    }
    let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nOK\r\n";
    let verdict = scripted(receive("OK"), PATIENCE, &Script::Say(chunk));
    assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
}

#[test]
fn a_connection_that_ends_early_is_closed() {
    for (check, text) in [
        (http(), &b""[..]),
        (http(), b"HTTP/1.1 200 OK\r\nContent-"),
        (receive("OK"), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nOK"),
    ] {
        let verdict = scripted(check, PATIENCE, &Script::Say(text));
        assert_eq!(verdict, Verdict::Down(CheckFailure::Closed));
    }
}

#[test]
fn answers_that_never_end_are_down_at_the_limit() {
    let silent = scripted(http(), SHORT, &Script::SayAndWait(b""));
    assert!(is_timeout(&silent, "answer"), "{silent:?}");

    // What has matched so far does not count: a good answer ends.
    let open = Script::SayAndWait(b"HTTP/1.0 200 OK\r\n\r\nOK");
    let open = scripted(receive("OK"), SHORT, &open);
    assert!(is_timeout(&open, "answer"), "{open:?}");

    let slow = Script::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    let slow = scripted(http(), SHORT, &slow);
    assert!(is_timeout(&slow, "answer"), "{slow:?}");

    let header = Script::Endless(b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 4096]);
    let header = scripted(http(), PATIENCE, &header);
    assert!(matches!(header, Verdict::Down(CheckFailure::TooLarge(_))), "{header:?}");

    let headers = Script::Endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n");
    let headers = scripted(http(), PATIENCE, &headers);
    assert!(matches!(headers, Verdict::Down(CheckFailure::TooLarge(_))), "{headers:?}");

    let body = Script::Endless(b"HTTP/1.0 200 OK\r\n\r\nOK", &[b'x'; 4096]);
    let body = scripted(receive("OK"), PATIENCE, &body);
    assert_eq!(body, Verdict::Down(CheckFailure::TooLarge(1024 * 1024)));

    let announced = Script::SayAndWait(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nOK");
    let announced = scripted(receive("OK"), PATIENCE, &announced);
    assert_eq!(announced, Verdict::Down(CheckFailure::TooLarge(1024 * 1024)));
}

#[test]
fn an_invalid_pattern_is_a_local_failure() {
    let verdict = scripted(receive("a("), PATIENCE, &Script::Say(b""));
    assert!(matches!(verdict, Verdict::Down(CheckFailure::Local(_))), "{verdict:?}");
}

#[test]
fn the_request_has_what_a_server_needs() {
    for (host, expected) in [(Some("www.example.com"), "www.example.com"), (None, "")] {
        let request = run(async {
            let (listener, address) = listen().await;
            let check = HttpCheck {
                path: "/test page.html?a=b".to_owned(),
                host: host.map(str::to_owned),
                ..http()
            };
            let spec = spec(CheckKind::Negotiate(Exchange::Http(check)), address, PATIENCE);
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                request_of(&mut stream).await
            };
            let (request, _) = tokio::join!(server, verdict(&spec, tls::Trust::none()));
            request.replace(&address.to_string(), "")
        });
        assert!(request.starts_with("GET /test%20page.html?a=b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nhost: {expected}\r\n")), "{request}");
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
    }
}

#[test]
fn a_connect_check_knows_open_refused_and_silent() {
    run(async {
        let (listener, address) = listen().await;
        let connect = |timeout| spec(CheckKind::Connect(Protocol::Tcp), address, timeout);
        assert_eq!(verdict(&connect(PATIENCE), tls::Trust::none()).await, Verdict::Up);
        drop(listener);
        let refused = verdict(&connect(PATIENCE), tls::Trust::none()).await;
        assert_eq!(refused, Verdict::Down(CheckFailure::Refused));

        let hole = BlackHole::open().await;
        let silent = spec(CheckKind::Connect(Protocol::Tcp), hole.address, SHORT);
        let silent = verdict(&silent, tls::Trust::none()).await;
        assert!(is_timeout(&silent, "connect"), "{silent:?}");
    });
}

#[test]
fn a_check_closes_without_a_trace() {
    run(async {
        let (listener, address) = listen().await;
        let connect = spec(CheckKind::Connect(Protocol::Tcp), address, PATIENCE);
        assert_eq!(verdict(&connect, tls::Trust::none()).await, Verdict::Up);
        let (mut stream, _) = listener.accept().await.unwrap();
        let end = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    });
}
