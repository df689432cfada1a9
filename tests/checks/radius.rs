//! service=radius against FreeRADIUS.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::{Exchange, Password, RadiusCheck};

use super::rig::{self, Daemon, Place};

/// Longer than one block of 16 bytes.
const LONG: &str = "correct horse battery staple";

fn login(login: &str, password: &str, secret: &str) -> Exchange {
    let (password, secret) = (Password::new(password), Password::new(secret));
    Exchange::Radius(RadiusCheck { login: login.to_owned(), password, secret })
}

fn good() -> Exchange {
    login("probe", "pw", "testing123")
}

/// With nothing but PAP and two users; it takes no request that is not signed.
fn freeradius() -> Option<(Daemon, u16)> {
    let program = rig::program("freeradius")?;
    let port = rig::free_port();
    let place = Place::new();
    let at = place.text().to_owned();
    place.write(
        "radiusd.conf",
        &format!(
            "prefix = /usr
name = radiusd
logdir = {at}
run_dir = {at}
raddbdir = {at}
libdir = /usr/lib/freeradius
log {{
    destination = stdout
}}
security {{
    allow_vulnerable_openssl = yes
    reject_delay = 0
}}
modules {{
    pap {{
    }}
}}
client here {{
    ipaddr = 127.0.0.1
    secret = testing123
    require_message_authenticator = yes
}}
server default {{
    listen {{
        type = auth
        ipaddr = 127.0.0.1
        port = {port}
    }}
    authorize {{
        if (&User-Name == \"probe\") {{
            update control {{
                Cleartext-Password := \"pw\"
            }}
        }}
        if (&User-Name == \"long\") {{
            update control {{
                Cleartext-Password := \"{LONG}\"
            }}
        }}
        pap
    }}
    authenticate {{
        pap
    }}
    post-auth {{
        Post-Auth-Type REJECT {{
            update reply {{
                Reply-Message := \"who are you?\"
            }}
        }}
    }}
}}
"
        ),
    );
    let args = ["-f", "-l", "stdout", "-d", &at];
    let server = Daemon::of(place, &program, &args);
    Some((server.until_up(&good(), port), port))
}

#[test]
fn a_login_that_is_accepted_is_up() {
    let Some((_server, port)) = freeradius() else { return };
    for (user, password) in [("probe", "pw"), ("long", LONG)] {
        let verdict = rig::verdict(&login(user, password, "testing123"), port);
        assert_eq!(verdict, Verdict::Up, "{user}");
    }
}

#[test]
fn a_login_that_is_rejected_is_down_with_the_servers_words() {
    let Some((_server, port)) = freeradius() else { return };
    for (user, password) in [("probe", "wrong"), ("nobody", "pw"), ("long", "pw"), ("probe", "")] {
        let verdict = rig::verdict(&login(user, password, "testing123"), port);
        let refused = CheckFailure::Login("Access-Reject: who are you?".to_owned());
        assert_eq!(verdict, Verdict::Down(refused), "{user} {password}");
    }
}

/// The server drops what is signed with another secret.
#[test]
fn another_secret_is_down_at_the_limit() {
    let Some((_server, port)) = freeradius() else { return };
    let verdict = rig::verdict_within(&login("probe", "pw", "other"), port, rig::SHORT);
    assert!(rig::is_silence(&verdict), "{verdict:?}");
}

#[test]
fn a_server_that_is_not_there_is_refused_and_a_silent_one_down_at_the_limit() {
    let verdict = rig::verdict(&good(), rig::free_port());
    assert_eq!(verdict, Verdict::Down(CheckFailure::Refused));
    let verdict = rig::verdict_within(&good(), rig::answering(|_| None), rig::SHORT);
    assert!(rig::is_silence(&verdict), "{verdict:?}");
}

#[test]
fn what_nobody_with_the_secret_has_said_is_down() {
    let garbage = rig::answering(|_| Some(b"\x02".to_vec()));
    // Accepts everybody, without knowing the secret.
    let forger = rig::answering(|request| {
        let mut answer = vec![2, *request.get(1).unwrap(), 0, 20];
        answer.extend([0x5a; 16]);
        Some(answer)
    });
    // Sends the request back.
    let mirror = rig::answering(|request| Some(request.to_vec()));
    for port in [garbage, forger, mirror] {
        let verdict = rig::verdict(&good(), port);
        assert!(matches!(verdict, Verdict::Down(CheckFailure::Protocol(_))), "{verdict:?}");
    }
}
