//! What the tests of all protocols need: real servers as children, servers that misbehave, and one
//! check with its verdict.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::Exchange;
use pairbeat::probe::tls::Trust;
use tokio::time::Instant;

use super::{needs, place};

/// Until a server that was started must answer; machines that test are slow.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For checks that do not end by their timeout.
const PATIENCE: Duration = Duration::from_secs(20);
/// For those that do.
pub(super) const SHORT: Duration = Duration::from_millis(600);

/// Where Debian keeps servers.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/bin", "/sbin"];

/// The path of a program; without it the test says SKIP.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|it| it.exists());
    needs::met(found.is_some(), name).then_some(found).flatten()
}

/// A directory of our own, gone when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("pairbeat-checks-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that was started; killed when dropped.
pub(super) struct Server {
    child: Child,
    folder: Folder,
}

impl Server {
    /// Starts it; what it says is in its folder.
    pub(super) fn start(program: &Path, args: &[&str], folder: Folder) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        // Whatever becomes of the test, the server does not outlive it.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Waits until the check is up.
    pub(super) fn until_up(self, exchange: &Exchange, port: u16) -> Self {
        self.until(exchange, port, |verdict| *verdict == Verdict::Up)
    }

    /// Waits until the check ends so.
    pub(super) fn until(
        mut self,
        exchange: &Exchange,
        port: u16,
        so: impl Fn(&Verdict) -> bool,
    ) -> Self {
        let end = Instant::now() + START_LIMIT;
        loop {
            let verdict = verdict_within(exchange, port, Duration::from_secs(2));
            if so(&verdict) {
                return self;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                panic!("{verdict:?} {ended:?}\n{}", self.log());
            }
            // It has not begun to listen; leave it the processor.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("log")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free for TCP and UDP now.
pub(super) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// One check of a server on loopback, with all the time it needs.
pub(super) fn verdict(exchange: &Exchange, port: u16) -> Verdict {
    verdict_within(exchange, port, PATIENCE)
}

/// The same within a limit, which it keeps.
pub(super) fn verdict_within(exchange: &Exchange, port: u16, timeout: Duration) -> Verdict {
    verdict_with(exchange, port, timeout, Trust::none())
}

/// The same with certificate authorities.
pub(super) fn verdict_with(
    exchange: &Exchange,
    port: u16,
    timeout: Duration,
    trust: Trust,
) -> Verdict {
    let target = (Ipv4Addr::LOCALHOST, port).into();
    place::run(place::verdict(&place::spec(exchange.clone(), target, timeout), trust))
}

/// A server that is not there is refused at once, and one that says nothing down at the limit.
pub(super) fn absent_and_silent(exchange: &Exchange) {
    assert_eq!(verdict(exchange, free_port()), Verdict::Down(CheckFailure::Refused));
    let verdict = verdict_within(exchange, silent(), SHORT);
    assert!(is_silence(&verdict), "{verdict:?}");
}

/// Whether the check has waited for an answer until its limit.
pub(super) fn is_silence(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Down(CheckFailure::Timeout { phase, .. }) if phase == "answer")
}

/// A server that says these bytes to whatever comes first, and nothing more.
pub(super) fn saying(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Write::write_all(&mut stream, bytes);
            open.push(stream);
        }
    });
    port
}

/// A server that takes connections and says nothing.
pub(super) fn silent() -> u16 {
    saying(b"")
}

/// The same over UDP: each datagram is answered by what `answer` makes of it.
pub(super) fn answering(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let (len, from): (usize, SocketAddr) = socket.recv_from(&mut buffer).unwrap();
            if let Some(said) = answer(buffer.get(..len).unwrap()) {
                socket.send_to(&said, from).unwrap();
            }
        }
    });
    port
}

/// Key and certificate of a server that nobody vouches for.
pub(super) fn certificate(folder: &Folder) -> Option<(String, String)> {
    let openssl = program("openssl")?;
    let [key, certificate] =
        ["key.pem", "cert.pem"].map(|name| format!("{}/{name}", folder.text()));
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some((key, certificate))
}
