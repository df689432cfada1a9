//! service=mysql against MariaDB, and scripted servers for what MariaDB does not have.

use std::process::Command;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, Password, SqlCheck};

use super::rig::{self, Daemon, Place};

fn query(login: &str, password: &str, query: &str) -> Exchange {
    Exchange::Mysql(SqlCheck {
        login: login.to_owned(),
        password: (!password.is_empty()).then(|| Password::new(password)),
        database: Some("shop".to_owned()),
        query: query.to_owned(),
        tls: None,
    })
}

fn good() -> Exchange {
    query("probe", "pw", "SELECT * FROM link")
}

fn mariadb() -> Option<(Daemon, u16)> {
    let (program, install) = (rig::program("mariadbd")?, rig::program("mariadb-install-db")?);
    let place = Place::new();
    let at = place.text().to_owned();
    let made = Command::new(install)
        .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
        .args([&format!("--datadir={at}/data"), "--user=root"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let init = place.write(
        "init.sql",
        "CREATE DATABASE shop;\n\
         CREATE TABLE shop.link (id INT, name TEXT);\n\
         INSERT INTO shop.link VALUES (1, REPEAT('x', 60000)), (2, NULL);\n\
         CREATE USER probe@'127.0.0.1' IDENTIFIED BY 'pw';\n\
         CREATE USER open@'127.0.0.1';\n\
         CREATE USER stranger@'127.0.0.1' IDENTIFIED BY 'pw';\n\
         GRANT SELECT, UPDATE ON shop.* TO probe@'127.0.0.1';\n\
         GRANT SELECT ON shop.* TO open@'127.0.0.1';\n",
    );
    let port = rig::free_port();
    let args = [
        "--no-defaults".to_owned(),
        format!("--datadir={at}/data"),
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--socket={at}/socket"),
        format!("--pid-file={at}/pid"),
        format!("--init-file={init}"),
        "--skip-name-resolve".to_owned(),
        "--user=root".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let server = Daemon::of(place, &program, &args);
    Some((server.until_up(&good(), port), port))
}

/// One server for all of it: making its tables takes long.
#[test]
fn a_database_is_up_by_a_row_and_by_nothing_less() {
    let Some((_server, port)) = mariadb() else { return };
    for (login, password, text) in [
        ("probe", "pw", "SELECT * FROM link"),
        ("probe", "pw", "SELECT 1"),
        ("probe", "pw", "SELECT NULL"),
        ("open", "", "SELECT * FROM link WHERE id = 2"),
        // What it has changed are rows, for ldirectord too.
        ("probe", "pw", "UPDATE link SET name = UUID()"),
    ] {
        assert_eq!(rig::verdict(&query(login, password, text), port), Verdict::Up, "{text}");
    }
    for (login, password) in
        [("probe", "wrong"), ("probe", ""), ("nobody", "pw"), ("stranger", "pw"), ("open", "pw")]
    {
        let verdict = rig::verdict(&query(login, password, "SELECT 1"), port);
        let Verdict::Down(CheckFailure::Login(words)) = &verdict else {
            panic!("{login} {verdict:?}");
        };
        assert!(words.starts_with("104") && !words.contains("wrong"), "{words}");
    }
    for (text, says) in [
        ("SELECT * FROM link WHERE id = 3", "no row"),
        ("UPDATE link SET id = 4 WHERE id = 3", "no row"),
        ("SELECT * FROM nothing", "1146 "),
        ("SELEKT 1", "1064 "),
        // Fails in the midst of the rows, before the first.
        ("SELECT (SELECT id FROM link) FROM link", "1242 "),
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
}

/// Packets one after the other, numbered as in a login.
macro_rules! packets {
    ($($number:literal: $bytes:expr),* $(,)?) => {{
        let mut all = Vec::new();
        $({
            let bytes: &[u8] = $bytes;
            all.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            *all.last_mut().unwrap() = 0;
            let at = all.len() - 1;
            all[at] = $number;
            all.extend(bytes);
        })*
        &*all.leak()
    }};
}

const GREETING: &[u8] = b"\x0a8.0.36\0\x01\0\0\0abcdefgh\0\x00\xa2\x2d\x02\0\x08\0\x15\
    \0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0caching_sha2_password\0";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const EOF: &[u8] = b"\xfe\0\0\x02\0";

#[test]
fn a_server_that_knows_the_password_already_takes_its_digest() {
    let up = rig::saying(packets![
        0: GREETING, 2: b"\x01\x03", 3: OK,
        1: b"\x01", 2: b"\x03def", 3: EOF, 4: b"\x011", 5: EOF,
    ]);
    assert_eq!(rig::verdict(&good(), up), Verdict::Up);
    let change = rig::saying(packets![
        0: GREETING, 2: b"\xfemysql_native_password\0tsrqponmlkjihgfedcba\0", 4: OK,
        1: b"\x01", 2: b"\x03def", 3: EOF, 4: b"\x011", 5: EOF,
    ]);
    assert_eq!(rig::verdict(&good(), change), Verdict::Up);
}

#[test]
fn the_password_itself_is_not_sent_in_clear() {
    let asks = rig::saying(packets![0: GREETING, 2: b"\x01\x04"]);
    let verdict = rig::verdict(&good(), asks);
    let Verdict::Down(CheckFailure::Answer(words)) = &verdict else { panic!("{verdict:?}") };
    assert!(words.contains("no TLS"), "{words}");
    let other = rig::saying(packets![0: GREETING, 2: b"\xfedialog\0seed\0"]);
    let verdict = rig::verdict(&good(), other);
    let Verdict::Down(CheckFailure::Answer(words)) = &verdict else { panic!("{verdict:?}") };
    assert!(words.contains("dialog"), "{words}");
}

#[test]
fn what_is_not_mysql_is_down() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        packets![0: b"\x09old"],
        packets![0: b"\x0a8.0"],
        packets![0: GREETING, 2: b"\x02"],
        packets![0: GREETING, 2: OK, 1: b"\xfb/etc/passwd"],
        packets![0: GREETING, 2: OK, 1: b"\x01", 2: b"\x03def", 3: b"\x01"],
    ] {
        let verdict = rig::verdict(&good(), rig::saying(bytes));
        let wrong =
            matches!(verdict, Verdict::Down(CheckFailure::Protocol(_) | CheckFailure::TooLarge(_)));
        assert!(wrong, "{verdict:?} {bytes:?}");
    }
    let full = rig::saying(packets![0: b"\xff\x10\x04Too many connections"]);
    let said = CheckFailure::Answer("1040 Too many connections".to_owned());
    assert_eq!(rig::verdict(&good(), full), Verdict::Down(said));
}
