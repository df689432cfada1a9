//! Arbiters and fencing devices that others have written: a real etcd, one that answers nonsense,
//! one that takes connections and says nothing; an agent of Debian's `fence-agents`.
//!
//! Everything runs on the loopback. What is not installed prints SKIP, and fails when
//! `PAIRBEAT_REQUIRE_ALL=1`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may end at the first surprise"
)]

#[path = "common/needs.rs"]
mod needs;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pairbeat::config::{
    Arbiter, ArbiterKind, Endpoint, Etcd, EtcdTls, FenceDevice, FenceKind, FenceParams, Needed,
};
use pairbeat::keys::Secret;
use pairbeat::names::{GroupName, NodeName};
use pairbeat::outside::arbiter::{Bench, Claimant, Said};
use pairbeat::outside::fence::{Places, fence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The shortest lease that is taken here.
const LEASE: Duration = Duration::from_secs(3);

/// Whether a program is there.
fn installed(program: &str, package: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let there = found.is_ok_and(|output| output.status.success());
    needs::met(there, &format!("{program} of {package}"))
}

/// A directory that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pairbeat-outside-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One member, which is a whole cluster.
struct Server {
    child: Child,
    client: SocketAddr,
    place: Place,
}

impl Server {
    /// `options`: what is added for TLS. Waits until it answers.
    async fn start(scheme: &str, options: &[String], place: Place) -> Self {
        let (client, peer) = (free_port(), free_port());
        let url = format!("{scheme}://{client}");
        let log = std::fs::File::create(place.join("log")).unwrap();
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(place.join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &format!("http://{peer}")]).args(options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let server = Self { child: child.unwrap(), client, place };
        let begun = Instant::now();
        while !server.log().contains("ready to serve client requests") {
            assert!(begun.elapsed() < PATIENCE, "etcd does not start\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn plain() -> Self {
        Self::start("http", &[], Place::new()).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn ctl(&self, words: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.client.to_string()]).args(words);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint { address, host: address.ip().to_string() }
}

fn etcd(addresses: &[SocketAddr]) -> Etcd {
    Etcd {
        endpoints: addresses.iter().copied().map(endpoint).collect(),
        prefix: "/pairbeat/test/".to_owned(),
        lease: LEASE,
        tls: None,
        user: None,
    }
}

fn bench(kind: ArbiterKind) -> Bench {
    let name = "etcd".to_owned();
    Bench::new(&Arbiter { name, required: true, timeout: PATIENCE / 6, kind })
}

fn of(addresses: &[SocketAddr]) -> Bench {
    bench(ArbiterKind::Etcd(Box::new(etcd(addresses))))
}

fn group() -> GroupName {
    GroupName::new("web").unwrap()
}

fn claimant(node: &str, session: &str) -> Claimant {
    Claimant { node: NodeName::new(node).unwrap(), session: session.to_owned() }
}

fn one() -> Claimant {
    claimant("server101", "life1")
}

fn other() -> Claimant {
    claimant("server105", "life7")
}

fn held() -> Said {
    Said::Held("server101 life1".to_owned())
}

#[track_caller]
fn unreachable(said: &Said, why: &str) {
    match said {
        Said::Unreachable(text) if text.contains(why) => {}
        other => unreachable!("not unreachable with `{why}`: {other:?}"),
    }
}

#[tokio::test]
async fn etcd_grants_a_group_to_one_node_until_it_lets_go() {
    if !installed("etcd", "etcd-server") {
        return;
    }
    let server = Server::plain().await;
    let bench = of(&[server.client]);
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted);
    assert_eq!(bench.claim(&group(), &other()).await, held());
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted, "renewed");
    let second = GroupName::new("mail").unwrap();
    assert_eq!(bench.claim(&second, &other()).await, Said::Granted, "groups are apart");
    bench.release(&group(), &other()).await.unwrap();
    assert_eq!(bench.claim(&group(), &other()).await, held(), "that was not theirs to give");
    bench.release(&group(), &one()).await.unwrap();
    assert_eq!(bench.claim(&group(), &other()).await, Said::Granted);
    if installed("etcdctl", "etcd-client") {
        let keys = server.ctl(&["get", "--prefix", "/pairbeat/"]);
        let wanted = "/pairbeat/test/mail\nserver105 life7\n/pairbeat/test/web\nserver105 life7\n";
        assert_eq!(keys, wanted);
        assert_eq!(server.ctl(&["lease", "list"]).lines().count(), 3, "no lease is left behind");
    }
}

#[tokio::test]
async fn a_grant_that_nobody_renews_runs_out_and_not_before_its_time() {
    if !installed("etcd", "etcd-server") {
        return;
    }
    let server = Server::plain().await;
    let bench = of(&[server.client]);
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted);
    let mut begun = Instant::now();
    while begun.elapsed() < LEASE / 2 {
        assert_eq!(bench.claim(&group(), &other()).await, held());
    }
    let asked = Instant::now();
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted, "renewed");
    begun = Instant::now();
    loop {
        let said = bench.claim(&group(), &other()).await;
        if said == Said::Granted {
            break;
        }
        assert_eq!(said, held());
        assert!(begun.elapsed() < PATIENCE, "it does not run out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(asked.elapsed() >= LEASE, "granted twice: after {:?}", asked.elapsed());
    assert_eq!(bench.claim(&group(), &one()).await, Said::Held("server105 life7".to_owned()));
}

#[tokio::test]
async fn a_later_life_of_the_same_node_takes_the_key_of_the_earlier_one_over() {
    if !installed("etcd", "etcd-server") {
        return;
    }
    let server = Server::plain().await;
    let bench = of(&[server.client]);
    let later = claimant("server101", "life2");
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted);
    assert_eq!(bench.claim(&group(), &later).await, Said::Granted);
    let wanted = Said::Held("server101 life2".to_owned());
    let begun = Instant::now();
    // The lease of the earlier life runs out meanwhile, and takes nothing with it.
    while begun.elapsed() < LEASE * 2 {
        assert_eq!(bench.claim(&group(), &later).await, Said::Granted);
        assert_eq!(bench.claim(&group(), &other()).await, wanted);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn only_one_of_many_that_ask_at_once_is_granted() {
    if !installed("etcd", "etcd-server") {
        return;
    }
    let server = Server::plain().await;
    let bench = of(&[server.client]);
    let nodes: Vec<Claimant> = (0..12).map(|n| claimant(&format!("node{n}"), "x")).collect();
    let group = group();
    let asked = nodes.iter().map(|node| bench.claim(&group, node));
    let said = futures_util::future::join_all(asked).await;
    let granted = said.iter().filter(|said| **said == Said::Granted).count();
    let held = said.iter().filter(|said| matches!(said, Said::Held(_))).count();
    assert_eq!((granted, held), (1, 11), "{said:?}");
}

#[tokio::test]
async fn a_member_that_stands_still_or_is_not_there_is_passed_over() {
    if !installed("etcd", "etcd-server") {
        return;
    }
    let server = Server::plain().await;
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bench = of(&[free_port(), tarpit.local_addr().unwrap(), server.client]);
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted);
    let begun = Instant::now();
    assert_eq!(bench.claim(&group(), &one()).await, Said::Granted);
    assert!(begun.elapsed() < PATIENCE / 18, "the one that answered is asked first");
    server.signal("STOP");
    // Each of its threads stops when it next comes to the kernel.
    let begun = Instant::now();
    let mut said = Said::Granted;
    while said == Said::Granted && begun.elapsed() < PATIENCE {
        said = bench.claim(&group(), &one()).await;
    }
    unreachable(&said, "no answer within");
    server.signal("CONT");
    let begun = Instant::now();
    while bench.claim(&group(), &one()).await != Said::Granted {
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// A server that says this to whatever comes.
async fn says(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                while stream.read(&mut heard).await.is_ok_and(|count| count > 0) {
                    let _gone = stream.write_all(answer).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn whoever_is_not_etcd_is_unreachable_and_grants_nothing() {
    let table: [(&[u8], &str); 7] = [
        (b"hello\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "can't be understood"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", "can't be understood"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "can't be understood"),
        (b"HTTP/1.1 503 Later\r\nContent-Length: 4\r\n\r\nlate", "can't be understood"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{", "can't be understood"),
        (b"\0\xff\0\xff", "broke off"),
    ];
    for (answer, why) in table {
        let bench = of(&[says(answer).await]);
        let said = bench.claim(&group(), &one()).await;
        unreachable(&said, why);
    }
}

#[tokio::test]
async fn an_arbiter_that_says_nothing_takes_no_longer_than_its_time() {
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tarpit.local_addr().unwrap();
    let kind = ArbiterKind::Etcd(Box::new(etcd(&[address])));
    let timeout = Duration::from_millis(200);
    let name = "etcd".to_owned();
    let bench = Bench::new(&Arbiter { name, required: true, timeout, kind });
    let begun = Instant::now();
    unreachable(&bench.claim(&group(), &one()).await, "no answer within 200 ms");
    assert!(bench.release(&group(), &one()).await.is_err());
    assert!(begun.elapsed() >= timeout * 2 && begun.elapsed() < PATIENCE);
}

fn openssl(place: &Path, command: &str) {
    let output = Command::new("sh").args(["-c", command]).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, a certificate of it for 127.0.0.1, and one for a client; neither has a common name,
/// for etcd takes that of a client for its user, and refuses it at its HTTP gateway.
fn certificates(place: &Path) {
    openssl(
        place,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
         -subj /CN=authority -keyout ca.key -out ca.pem && \
         echo subjectAltName=IP:127.0.0.1 >san && \
         for who in server client; do \
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /O=$who \
         -keyout $who.key -out $who.csr && \
         openssl x509 -req -days 2 -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
         -extfile san -out $who.pem || exit 1; done",
    );
}

#[tokio::test]
async fn etcd_is_spoken_with_over_tls_and_by_name_and_password() {
    if !installed("etcd", "etcd-server") || !installed("etcdctl", "etcd-client") {
        return;
    }
    if !installed("openssl", "openssl") {
        return;
    }
    let place = Place::new();
    certificates(&place.0);
    let file = |name: &str| place.join(name);
    let options = [
        format!("--cert-file={}", file("server.pem").display()),
        format!("--key-file={}", file("server.key").display()),
        format!("--trusted-ca-file={}", file("ca.pem").display()),
        "--client-cert-auth".to_owned(),
    ];
    let own = Some((file("client.pem"), file("client.key")));
    let tls = EtcdTls { ca: Some(file("ca.pem")), own };
    let server = Server::start("https", &options, Place::new()).await;
    let with = |tls: Option<EtcdTls>, user: Option<(&str, &str)>, host: &str| {
        let endpoints = vec![Endpoint { address: server.client, host: host.to_owned() }];
        let user = user.map(|(name, password)| (name.to_owned(), Secret::new(password)));
        bench(ArbiterKind::Etcd(Box::new(Etcd { endpoints, tls, user, ..etcd(&[]) })))
    };
    let here = "127.0.0.1";
    let good = with(Some(tls.clone()), None, here);
    assert_eq!(good.claim(&group(), &one()).await, Said::Granted);
    let plain = with(None, None, here).claim(&group(), &one()).await;
    assert!(matches!(plain, Said::Unreachable(_)), "{plain:?}");
    let anybody = EtcdTls { own: None, ..tls.clone() };
    let said = with(Some(anybody), None, here).claim(&group(), &one()).await;
    assert!(matches!(said, Said::Unreachable(_)), "{said:?}");
    let said = with(Some(tls.clone()), None, "etcd.example.com").claim(&group(), &one()).await;
    unreachable(&said, "certificate");
    let stranger = EtcdTls { ca: None, ..tls.clone() };
    let said = with(Some(stranger), None, here).claim(&group(), &one()).await;
    assert!(matches!(said, Said::Unreachable(_)), "{said:?}");

    let ctl = |words: &[&str]| {
        let files =
            ["--cacert", "--cert", "--key"].into_iter().zip(["ca.pem", "client.pem", "client.key"]);
        let files: Vec<String> = files
            .flat_map(|(option, name)| [option.to_owned(), file(name).display().to_string()])
            .collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let url = format!("https://{}", server.client);
        server.ctl(&[&["--endpoints", &url], files.as_slice(), words].concat())
    };
    ctl(&["user", "add", "root:topsecret"]);
    ctl(&["user", "grant-role", "root", "root"]);
    ctl(&["user", "add", "pairbeat:hunter22"]);
    ctl(&["role", "add", "pairbeat"]);
    ctl(&["role", "grant-permission", "pairbeat", "--prefix=true", "readwrite", "/pairbeat/"]);
    ctl(&["user", "grant-role", "pairbeat", "pairbeat"]);
    ctl(&["auth", "enable"]);
    let wrong = with(Some(tls.clone()), Some(("pairbeat", "hunter23")), here);
    let said = wrong.claim(&group(), &one()).await;
    assert!(matches!(said, Said::Unreachable(_)), "{said:?}");
    assert!(!format!("{wrong:?}").contains("hunter23"));
    let user = with(Some(tls), Some(("pairbeat", "hunter22")), here);
    assert_eq!(user.claim(&group(), &one()).await, Said::Granted);
    assert_eq!(user.claim(&group(), &other()).await, held());
    assert_eq!(user.claim(&group(), &one()).await, Said::Granted, "with the token from before");
    user.release(&group(), &one()).await.unwrap();
    assert_eq!(user.claim(&group(), &other()).await, Said::Granted);
}

#[tokio::test]
async fn ports_and_addresses_that_answer_are_counted() {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Kept open by a server of its own; the one above is closed again.
    let closed = open;
    let open = says(b"").await;
    let tcp = |targets: &[SocketAddr], needed| bench(ArbiterKind::Tcp(targets.to_vec(), needed));
    let ask = async |bench: Bench| bench.claim(&group(), &one()).await;
    assert_eq!(ask(tcp(&[open, closed], Needed::Any)).await, Said::Granted);
    unreachable(&ask(tcp(&[open, closed], Needed::Majority)).await, "1 of 2 answer, 2 must");
    unreachable(&ask(tcp(&[closed], Needed::Any)).await, "0 of 1 answer, 1 must");
    let local = "127.0.0.1".parse().unwrap();
    assert_eq!(ask(bench(ArbiterKind::Ping(vec![local], Needed::Majority))).await, Said::Granted);
}

#[tokio::test]
async fn an_agent_of_debians_fence_agents_switches_off_and_is_believed_after_a_look() {
    if !installed("fence_dummy", "fence-agents") {
        return;
    }
    let place = Place::new();
    let state = place.join("state");
    std::fs::write(&state, "on").unwrap();
    let params = [("type", "file"), ("status_file", state.to_str().unwrap())];
    let params = params.map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let device = FenceDevice {
        kind: FenceKind::Agent,
        name: "fence_dummy".to_owned(),
        params: FenceParams::Named(params.to_vec()),
        timeout: PATIENCE,
        node: None,
    };
    let peer = NodeName::new("server105").unwrap();
    let places = Places { config: place.0.clone() };
    let how = fence(std::slice::from_ref(&device), &peer, &places).await;
    let how = how.unwrap_or_else(|errors| unreachable!("{errors:?}"));
    assert_eq!(how, "fence_dummy has switched it off, and says that it is off");
    assert_eq!(std::fs::read_to_string(&state).unwrap().trim(), "off");
    // It fails where it is not told which plug.
    let fails = FenceParams::Named(vec![("type".to_owned(), Secret::new("fail"))]);
    let device = FenceDevice { params: fails, ..device };
    let errors = fence(&[device], &peer, &places).await.unwrap_err();
    assert!(errors[0].to_string().starts_with("fence_dummy: "), "{errors:?}");
}
