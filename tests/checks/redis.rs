//! type = "redis" against redis-server.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, Password, RedisCheck};

use super::rig::{self, Daemon, Place};

fn ping(login: Option<&str>, password: Option<&str>) -> Exchange {
    let (login, password) = (login.map(str::to_owned), password.map(Password::new));
    Exchange::Redis(RedisCheck { login, password })
}

/// `more` are lines of redis.conf; `so` is how it must answer to `check`.
fn redis(more: &str, check: &Exchange, so: impl Fn(&Verdict) -> bool) -> Option<(Daemon, u16)> {
    let program = rig::program("redis-server")?;
    let port = rig::free_port();
    let place = Place::new();
    let text = format!("port {port}\nbind 127.0.0.1\nsave \"\"\n{more}\n");
    let file = place.write("redis.conf", &text);
    let server = Daemon::of(place, &program, &[&file]);
    Some((server.until(check, port, so), port))
}

fn is_up(verdict: &Verdict) -> bool {
    *verdict == Verdict::Up
}

#[test]
fn a_server_that_answers_is_up() {
    let Some((_server, port)) = redis("", &ping(None, None), is_up) else { return };
    assert_eq!(rig::verdict(&ping(None, None), port), Verdict::Up);
}

#[test]
fn a_login_is_needed_where_the_server_has_one() {
    let lines = "requirepass \"pw \\\"quoted\\\"\"\nuser probe on >secret +ping";
    let good = ping(None, Some("pw \"quoted\""));
    let Some((_server, port)) = redis(lines, &good, is_up) else { return };
    assert_eq!(rig::verdict(&ping(Some("probe"), Some("secret")), port), Verdict::Up);
    for (login, password, says) in [
        (None, None, "NOAUTH"),
        (None, Some("wrong"), "WRONGPASS"),
        (Some("probe"), Some("wrong"), "WRONGPASS"),
        (Some("nobody"), Some("secret"), "WRONGPASS"),
    ] {
        let verdict = rig::verdict(&ping(login, password), port);
        let Verdict::Down(CheckFailure::Login(words)) = &verdict else {
            panic!("{login:?} {verdict:?}");
        };
        assert!(words.starts_with(says) && !words.contains("wrong"), "{words}");
    }
}

/// A replica without its master has old data, and says so where it is told to.
#[test]
fn a_server_that_cannot_serve_is_down_with_its_words() {
    let nobody = rig::free_port();
    let lines = format!("replicaof 127.0.0.1 {nobody}\nreplica-serve-stale-data no");
    let says_so = |verdict: &Verdict| matches!(verdict, Verdict::Down(CheckFailure::Answer(words)) if words.starts_with("MASTERDOWN"));
    redis(&lines, &ping(None, None), says_so);
}

#[test]
fn a_server_that_is_not_there_is_refused_and_a_silent_one_down_at_the_limit() {
    rig::absent_and_silent(&ping(None, None));
}

#[test]
fn what_is_not_redis_is_down() {
    for bytes in [&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], b"+OK\r\n", b"$4\r\nPONG\r\n", b"\r\n"] {
        let verdict = rig::verdict(&ping(None, None), rig::saying(bytes));
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
    }
    let endless = rig::saying(&[b'x'; 8192]);
    let verdict = rig::verdict(&ping(None, None), endless);
    assert!(matches!(verdict, Verdict::Down(CheckFailure::TooLarge(_))), "{verdict:?}");
}
