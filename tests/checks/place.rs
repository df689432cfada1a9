//! What all these tests need: a server as a child, a place of its own, and the verdict on it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use pairbeat::lvs::check::{CheckFailure, CheckId, CheckKind, CheckSpec, Verdict};
use pairbeat::lvs::exchange::{Authority, Exchange, Login, Password, Tls};
use pairbeat::lvs::model::Pace;
use pairbeat::probe::tls::Trust;
use pairbeat::probe::{Context, probe};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

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
}

impl Daemon {
    /// Starts it and waits until it takes connections at all of these.
    pub(crate) fn start(program: &Path, args: &[&str], log: &Path, ports: &[SocketAddr]) -> Self {
        let out = fs::File::create(log).unwrap();
        // It ends with this test, even if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        let mut server = Self { child: child.unwrap() };
        let end = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(port).is_err() {
                let ended = server.child.try_wait().unwrap();
                let said = || fs::read_to_string(log).unwrap_or_default();
                assert!(ended.is_none(), "{}: {ended:?}: {}", program.display(), said());
                assert!(Instant::now() < end, "{}: no {port}: {}", program.display(), said());
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        server
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
    let (address, port) = (target.ip(), target.port());
    let kind = CheckKind::Negotiate(exchange);
    CheckSpec {
        id: CheckId(1),
        kind,
        address,
        port,
        source: None,
        interval: timeout,
        timeout,
        pace: Pace::default(),
    }
}

/// What comes of one check.
pub(crate) async fn verdict(spec: &CheckSpec, trust: Trust) -> Verdict {
    probe(spec, &Context::new(Arc::new(trust), std::slice::from_ref(spec))).await.verdict
}

/// What comes of one check that has all the time it may need.
pub(crate) fn judged(exchange: Exchange, target: SocketAddr, trust: Trust) -> Verdict {
    run(verdict(&spec(exchange, target, PATIENCE), trust))
}

/// The reason why a server is down, in words.
pub(crate) fn reason(verdict: Verdict) -> String {
    match verdict {
        Verdict::Up => "up".to_owned(),
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
