//! service=pgsql against PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, Password, SqlCheck};

use super::needs;
use super::rig::{self, Daemon, Place};

fn query(login: &str, password: &str, query: &str) -> Exchange {
    Exchange::Pgsql(SqlCheck {
        login: login.to_owned(),
        password: (!password.is_empty()).then(|| Password::new(password)),
        database: Some("postgres".to_owned()),
        query: query.to_owned(),
        tls: None,
    })
}

fn good() -> Exchange {
    query("probe", "pw", "SELECT * FROM link")
}

/// The newest version that is installed.
fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let found = found.filter(|folder| folder.join("initdb").exists()).max();
    needs::met(found.is_some(), "postgresql").then_some(found).flatten()
}

/// PostgreSQL does not run as root.
fn as_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

/// One user for each way to log in.
fn postgresql() -> Option<(Daemon, u16)> {
    let binaries = binaries()?;
    let place = Place::new();
    rig::program("openssl")?;
    place.certificate();
    let at = place.text().to_owned();
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").args(["-R", "postgres:postgres", &at]).status().unwrap();
        assert!(owned.success());
    }
    let data = format!("{at}/data");
    let made = as_user(&binaries.join("initdb"))
        .args(["-D", &data, "-U", "admin", "-A", "trust", "--no-sync", "-E", "UTF8"])
        .args(["--locale=C"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = as_user(Path::new("sh"))
        .args(["-c", "cat > \"$0\"/data/pg_hba.conf <<'END'\nhost all clear 127.0.0.1/32 password\nhost all old 127.0.0.1/32 md5\nhost all open 127.0.0.1/32 trust\nhostnossl all plain 127.0.0.1/32 trust\nhost all probe 127.0.0.1/32 scram-sha-256\nEND\ncp \"$0\"/*.pem \"$0\"/data; chmod 600 \"$0\"/data/key.pem"])
        .arg(&at)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let init = "CREATE TABLE link (id INT, name TEXT); \
                INSERT INTO link VALUES (1, repeat('x', 60000)), (2, NULL); \
                CREATE USER probe PASSWORD 'pw'; CREATE USER clear PASSWORD 'pw'; \
                CREATE USER open; CREATE USER plain; \
                SET password_encryption = md5; CREATE USER old PASSWORD 'pw'; \
                GRANT SELECT, UPDATE ON link TO PUBLIC;\n";
    let single = as_user(&binaries.join("postgres"))
        .args(["--single", "-D", &data, "-c", "fsync=off", "postgres"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut single = single.unwrap();
    std::io::Write::write_all(&mut single.stdin.take().unwrap(), init.as_bytes()).unwrap();
    assert!(single.wait().unwrap().success());
    let port = rig::free_port();
    let port_text = port.to_string();
    let server = as_user(&binaries.join("postgres"));
    let words: Vec<String> = [server.get_program()]
        .into_iter()
        .chain(server.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let (program, before) = words.split_first().unwrap();
    let args = [
        "-D",
        &data,
        "-p",
        &port_text,
        "-h",
        "127.0.0.1",
        "-k",
        "",
        "-c",
        "ssl=on",
        "-c",
        "ssl_cert_file=cert.pem",
        "-c",
        "ssl_key_file=key.pem",
        "-c",
        "fsync=off",
    ];
    let args: Vec<&str> = before.iter().map(String::as_str).chain(args).collect();
    let server = Daemon::of(place, Path::new(program), &args);
    Some((server.until_up(&good(), port), port))
}

/// One server for all of it: making its tables takes long.
#[test]
fn a_database_is_up_by_a_row_and_by_nothing_less() {
    let Some((_server, port)) = postgresql() else { return };
    for (login, password, text) in [
        ("probe", "pw", "SELECT * FROM link"),
        ("probe", "pw", "SELECT NULL"),
        ("old", "pw", "SELECT 1"),
        ("clear", "pw", "SELECT 1"),
        ("open", "", "SELECT * FROM link WHERE id = 2"),
        ("probe", "pw", "UPDATE link SET name = clock_timestamp()"),
    ] {
        let verdict = rig::verdict(&query(login, password, text), port);
        assert_eq!(verdict, Verdict::Up, "{login} {text}");
    }
    for (login, password) in [
        ("probe", "wrong"),
        ("old", "wrong"),
        ("clear", "wrong"),
        ("nobody", "pw"),
        // Only without TLS, and the server offers it.
        ("plain", ""),
    ] {
        let verdict = rig::verdict(&query(login, password, "SELECT 1"), port);
        let Verdict::Down(CheckFailure::Login(words)) = &verdict else {
            panic!("{login} {verdict:?}");
        };
        assert!(words.starts_with("28"), "{words}");
    }
    for (text, says) in [
        ("SELECT * FROM link WHERE id = 3", "no row"),
        ("UPDATE link SET id = 4 WHERE id = 3", "no row"),
        ("", "no query"),
        ("SELECT * FROM nothing", "42P01 "),
        ("SELEKT 1", "42601 "),
        ("SELECT (SELECT id FROM link) FROM link", "21000 "),
    ] {
        let verdict = rig::verdict(&query("probe", "pw", text), port);
        let Verdict::Down(CheckFailure::Answer(words)) = &verdict else {
            panic!("{text} {verdict:?}");
        };
        assert!(words.starts_with(says), "{text}: {words}");
    }
}

#[test]
fn a_database_that_is_not_there_is_refused_and_a_silent_one_down_at_the_limit() {
    rig::absent_and_silent(&good());
    for bytes in [&b"N"[..], b"NR\0\0\0\x08\0\0\0\0"] {
        let verdict = rig::verdict_within(&good(), rig::saying(bytes), rig::SHORT);
        assert!(rig::is_silence(&verdict), "{verdict:?}");
    }
}

#[test]
fn what_is_not_postgresql_is_down() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"NTTP/1.1 400 Bad Request\r\n",
        b"NR\0\0\0\x01",
        b"ND\0\0\0\x06\0\0",
        b"NR\0\0\0\x0c\0\0\0\x0bi=99",
        b"NE\xff\xff\xff\xff",
    ] {
        let verdict = rig::verdict(&good(), rig::saying(bytes));
        let wrong = matches!(
            verdict,
            Verdict::Down(
                CheckFailure::Protocol(_) | CheckFailure::TooLarge(_) | CheckFailure::Answer(_)
            )
        );
        assert!(wrong, "{verdict:?} {bytes:?}");
    }
}
