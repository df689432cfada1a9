//! What all these tests need: real servers as children, places of their own for them, servers that
//! misbehave, and one check with its verdict.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use pairbeat::lvs::check::{CheckFailure, CheckKind, CheckSpec, Verdict};
use pairbeat::lvs::exchange::{Authority, Exchange, Login, Password, Tls};
use pairbeat::probe::tls::Trust;
use pairbeat::probe::{Context, probe};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::needs;

/// Until a server that was started must answer; machines that test are slow.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For checks that end by their timeout.
pub(crate) const SHORT: Duration = Duration::from_millis(600);
/// For what should happen at once, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory for one server and an address that no other test has.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) address: IpAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        let pid = std::process::id();
        let path = std::env::temp_dir().join(format!("pairbeat-checks-{pid}-{count}"));
        fs::create_dir_all(&path).unwrap();
        // Servers that give up their privileges must get in.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let [_, _, high, low] = pid.to_be_bytes();
        let address = Ipv4Addr::new(127, 64 + high % 64, low, count);
        Self { path, address: address.into() }
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A directory that everybody may write to.
    pub(crate) fn open_directory(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        path
    }

    /// The same, by its path as text.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        self.file(name, text).to_str().unwrap().to_owned()
    }

    /// Its path as text.
    pub(crate) fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// A certificate that is its own authority, and its key: `cert.pem`, `key.pem`.
    pub(crate) fn certificate(&self) -> PathBuf {
        let made = Command::new("openssl")
            .current_dir(&self.path)
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
            .args("-subj /CN=mail.example.org -keyout key.pem -out cert.pem".split(' '))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        self.path.join("cert.pem")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A server that runs, and ends with this.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where it runs, when nobody else needs that.
    _place: Option<Place>,
}

impl Daemon {
    /// Starts it and waits until it takes connections at all of these.
    pub(crate) fn start(program: &Path, args: &[&str], log: &Path, ports: &[SocketAddr]) -> Self {
        let mut server = Self::begun(Command::new("setpriv"), (program, args), log);
        let end = Instant::now() + START_LIMIT;
        for port in ports {
            while TcpStream::connect(port).is_err() {
                let ended = server.child.try_wait().unwrap();
                assert!(ended.is_none(), "{}: {ended:?}: {}", program.display(), server.said());
                let late = Instant::now() > end;
                assert!(!late, "{}: no {port}: {}", program.display(), server.said());
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        server
    }

    /// Starts it in this place, which is then its own.
    pub(crate) fn of(place: Place, program: &Path, args: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.current_dir(&place.path);
        let log = place.path.join("log");
        let mut server = Self::begun(command, (program, args), &log);
        server._place = Some(place);
        server
    }

    /// It ends with this test, even if that is killed.
    fn begun(mut setpriv: Command, (program, args): (&Path, &[&str]), log: &Path) -> Self {
        let out = fs::File::create(log).unwrap();
        let child = setpriv
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        Self { child: child.unwrap(), log: log.to_owned(), _place: None }
    }

    /// Waits until the check is up.
    pub(crate) fn until_up(self, exchange: &Exchange, port: u16) -> Self {
        self.until(exchange, port, |verdict| *verdict == Verdict::Up)
    }

    /// Waits until the check of this port on loopback ends so.
    pub(crate) fn until(
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
                panic!("{verdict:?} {ended:?}\n{}", self.said());
            }
            // It has not begun to listen; leave it the processor.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends it.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let pid = Pid::from_child(&self.child);
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > end {
                let _ = self.child.kill();
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn spec(exchange: Exchange, target: SocketAddr, timeout: Duration) -> CheckSpec {
    CheckSpec::once(CheckKind::Negotiate(exchange), target, timeout)
}

/// What comes of one check.
pub(crate) async fn outcome(spec: &CheckSpec, trust: Trust) -> Verdict {
    probe(spec, &Context::new(Arc::new(trust), std::slice::from_ref(spec))).await.verdict
}

/// What comes of one check that has all the time it may need.
pub(crate) fn judged(exchange: Exchange, target: SocketAddr, trust: Trust) -> Verdict {
    run(outcome(&spec(exchange, target, PATIENCE), trust))
}

/// The reason why a server is down, in words.
pub(crate) fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Up => "up".to_owned(),
        Verdict::Said(advice) => panic!("{advice:?} of no agent"),
        Verdict::Down(failure) => failure.to_string(),
    }
}

/// Waits until the server is known to be gone: its children may outlive it for a moment.
pub(crate) fn until_refused(exchange: &Exchange, target: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    loop {
        match judged(exchange.clone(), target, Trust::none()) {
            Verdict::Down(CheckFailure::Refused) => return,
            verdict => assert!(Instant::now() < end, "{target}: {verdict:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// TLS with one of the authorities of the context.
pub(crate) fn by_system() -> Tls {
    Tls::by(Authority::System)
}

pub(crate) fn login(name: &str, password: &str) -> Login {
    Login { name: name.to_owned(), password: Password::new(password) }
}

/// Where Debian keeps servers.
const FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/bin", "/sbin"];

/// The path of a program; without it the test says SKIP.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|it| it.exists());
    needs::met(found.is_some(), name).then_some(found).flatten()
}

/// A port that is free for TCP and UDP now.
pub(crate) fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

/// One check of a server on loopback, with all the time it needs.
pub(crate) fn verdict(exchange: &Exchange, port: u16) -> Verdict {
    verdict_within(exchange, port, PATIENCE)
}

/// The same within a limit, which it keeps.
pub(crate) fn verdict_within(exchange: &Exchange, port: u16, timeout: Duration) -> Verdict {
    let target = (Ipv4Addr::LOCALHOST, port).into();
    run(outcome(&spec(exchange.clone(), target, timeout), Trust::none()))
}

/// A server that is not there is refused at once, and one that says nothing down at the limit.
pub(crate) fn absent_and_silent(exchange: &Exchange) {
    assert_eq!(verdict(exchange, free_port()), Verdict::Down(CheckFailure::Refused));
    let verdict = verdict_within(exchange, silent(), SHORT);
    assert!(is_silence(&verdict), "{verdict:?}");
}

/// Whether the check has waited for an answer until its limit.
pub(crate) fn is_silence(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Down(CheckFailure::Timeout { phase, .. }) if phase == "answer")
}

/// A server that says these bytes to whatever comes first, and nothing more.
pub(crate) fn saying(bytes: &'static [u8]) -> u16 {
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
pub(crate) fn silent() -> u16 {
    saying(b"")
}

/// The same over UDP: each datagram is answered by what `answer` makes of it.
pub(crate) fn answering(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> u16 {
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
