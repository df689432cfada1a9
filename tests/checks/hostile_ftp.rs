//! The same of FTP, which has two connections: each may do harm while the other behaves.

use std::net::SocketAddr;

use futures_util::StreamExt;
use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{Exchange, FtpCheck};
use pairbeat::probe::tls::Trust;

use crate::hostile::{AT_ONCE, BEHAVIOURS, Outcome, cause, judged_at, noise, sound};
use crate::protocols::Dialog;
use crate::rig::{PATIENCE, login, outcome, run, spec};
use crate::script::Act::{self, Close, Drip, Endless, Hear, Reset, Say, Stay};
use crate::script::Scripted;

/// What the file must have.
const FILE: &[u8] = b"all is well\n";

/// What a server does; the port of the second connection is known when it runs.
struct Case {
    name: String,
    control: Vec<Act>,
    data: Vec<Act>,
    causes: &'static [&'static str],
}

fn ftp() -> Exchange {
    let (path, receive) = (Some("/alive.txt".to_owned()), Some("^all is well$".to_owned()));
    Exchange::Ftp(FtpCheck { login: login("joe", "hush"), path, receive })
}

fn say(text: &str) -> Act {
    Say(text.as_bytes().to_vec())
}

/// Where the port of the second connection belongs.
const PORT: &str = "PORT";

/// All that a good server says.
fn good() -> Vec<Act> {
    vec![
        say("220 ready\r\n"),
        Hear,
        say("331 password\r\n"),
        Hear,
        say("230 in\r\n"),
        Hear,
        say("200 binary\r\n"),
        Hear,
        say("227 Entering Passive Mode (127,0,0,1,PORT).\r\n"),
        Hear,
        say("150 here it comes\r\n"),
        say("226 that was it\r\n"),
        Hear,
        say("221 bye\r\n"),
    ]
}

/// Places in it.
const PASSIVE: usize = 8;
const BEGUN: usize = 10;
const ENDED: usize = 11;
/// The verdict stands before the last word.
const JUDGED: usize = 12;

fn file() -> Vec<Act> {
    vec![Say(FILE.to_vec()), Close]
}

/// The script with the port in it.
fn with_port(script: &[Act], data: SocketAddr) -> Vec<Act> {
    let [high, low] = data.port().to_be_bytes();
    let put = |act: &Act| match act {
        Say(text) => {
            let text = String::from_utf8(text.clone());
            text.map_or(act.clone(), |text| say(&text.replace(PORT, &format!("{high},{low}"))))
        }
        act => act.clone(),
    };
    script.iter().map(put).collect()
}

/// What servers of any protocol do, in place of each reply.
fn replies() -> Vec<Case> {
    let dialog = Dialog {
        name: "ftp",
        exchange: ftp(),
        script: good(),
        more: b"220-more\r\n",
        no: b"421 no\r\n",
    };
    let mut cases = Vec::new();
    for (at, act) in dialog.script.iter().enumerate().take(JUDGED) {
        let Say(reply) = act else { continue };
        for behaviour in BEHAVIOURS {
            let mut control = dialog.script.get(..at).unwrap().to_vec();
            control.extend((behaviour.acts)(&dialog, reply));
            let name = format!("ftp {} at {at}", behaviour.name);
            cases.push(Case { name, control, data: file(), causes: behaviour.causes });
        }
    }
    cases
}

/// Another reply at one place, and nothing behind it.
fn instead(at: usize, acts: Vec<Act>) -> Vec<Act> {
    [good().get(..at).unwrap().to_vec(), acts].concat()
}

type Abuse = (&'static str, Vec<Act>, &'static [&'static str]);

/// What only the first connection of FTP can be abused for.
fn controls() -> Vec<Case> {
    let lines: &[&str] = &["too many lines", "too large", "timeout"];
    let passive = |text: &str| instead(PASSIVE, vec![say(text), Stay]);
    let endless = |text: &str| vec![Endless(text.repeat(200).into_bytes())];
    let own = |acts: Vec<Act>| [vec![say("220 ready\r\n")], acts].concat();
    let abuses: Vec<Abuse> = vec![
        ("is ready in a minute, for ever", endless("120 a minute\r\n"), lines),
        ("greets without end", endless("220-welcome\r\n"), lines),
        (
            "greets without a last line",
            vec![say("220-welcome\r\n220-more\r\n"), Stay],
            &["timeout"],
        ),
        (
            "ends its greeting with another number",
            vec![say("220-welcome\r\n221 bye\r\n"), Stay],
            &["timeout"],
        ),
        (
            "asks for the password without end",
            own(vec![Hear, say("331 x\r\n"), Hear, say("331 x\r\n"), Stay]),
            &["login"],
        ),
        ("speaks TLS", vec![Say(vec![22, 3, 3, 0, 4, 2, 0, 0, 0, 13, 10]), Stay], &["protocol"]),
        (
            "says everything at once",
            vec![say("220 a\r\n331 b\r\n230 c\r\n200 d\r\n"), Stay],
            &["timeout"],
        ),
        ("names port 0", passive("227 (127,0,0,1,0,0)\r\n"), &["protocol"]),
        ("names no port", passive("227 (127,0,0,1)\r\n"), &["protocol"]),
        ("names a port above all", passive("227 (127,0,0,1,256,1)\r\n"), &["protocol"]),
        ("names nonsense", passive("227 Entering Passive Mode\r\n"), &["protocol"]),
        ("names a port where nobody is", passive("227 (127,0,0,1,0,1)\r\n"), &["refused"]),
        ("answers PASV as if it were EPSV", passive("229 (|||21|)\r\n"), &["answer"]),
        ("has no such file", instead(BEGUN, vec![say("550 no such file\r\n"), Stay]), &["answer"]),
        ("has not sent the file", instead(ENDED, vec![say("426 cut off\r\n"), Stay]), &["answer"]),
        ("closes while it sends the file", instead(ENDED, vec![Close]), &["closed"]),
        ("resets while it sends the file", instead(ENDED, vec![Reset]), &["closed"]),
        ("forgets to say that this was it", instead(ENDED, vec![Stay]), &["timeout"]),
    ];
    let case = |(name, control, causes): Abuse| {
        let name = format!("ftp {name}");
        Case { name, control, data: file(), causes }
    };
    abuses.into_iter().map(case).collect()
}

/// What the second connection does while the first behaves.
fn data() -> Vec<Case> {
    let none: &[&str] = &["no match"];
    let abuses: Vec<Abuse> = vec![
        ("says nothing", vec![Stay], &["timeout"]),
        ("closes at once", vec![Close], none),
        // Between connecting and reading; where the reset comes first, the connection is none.
        ("resets at once", vec![Reset], &["closed", "refused"]),
        ("resets in the middle", vec![say("all is"), Reset], &["closed"]),
        ("stops in the middle", vec![say("all is"), Stay], &["timeout"]),
        ("closes in the middle", vec![say("all is"), Close], none),
        ("sends without end", vec![Endless(vec![b'x'; 4096])], &["too large", "timeout"]),
        ("sends the file without end", vec![Endless(FILE.repeat(300))], &["too large", "timeout"]),
        ("sends NULs without end", vec![Endless(vec![0; 4096])], &["too large", "timeout"]),
        ("sends a byte a second", vec![Drip(FILE.to_vec())], &["timeout"]),
        ("sends what nobody understands", vec![Say(noise(2000)), Close], none),
        ("sends another file", vec![say("all is lost\r\n"), Close], none),
        ("speaks TLS", vec![Say(vec![22, 3, 3, 0, 4, 2, 0, 0, 0]), Close], none),
    ];
    let case = |(name, data, causes): Abuse| {
        let name = format!("ftp's second connection {name}");
        Case { name, control: good(), data, causes }
    };
    abuses.into_iter().map(case).collect()
}

async fn tried(case: Case) -> Outcome {
    let data = Scripted::open(case.data.clone(), None).await;
    let control = Scripted::open(with_port(&case.control, data.address), None).await;
    let (mut verdict, took) = judged_at(&ftp(), control.address, Trust::none()).await;
    // As with other protocols: on a busy machine a server may be too slow to do harm in time.
    if cause(&verdict) == "timeout" && !case.causes.contains(&"timeout") {
        verdict = outcome(&spec(ftp(), control.address, PATIENCE), Trust::none()).await;
    }
    Outcome { name: case.name, causes: case.causes, verdict, took }
}

/// One that names somebody else for the second connection, too: we go where we are.
#[test]
fn an_ftp_server_that_gives_the_file_is_up_wherever_it_sends_us() {
    for host in ["127,0,0,1", "192,0,2,1", "255,255,255,255", "0,0,0,0"] {
        let passive = format!("227 Entering Passive Mode ({host},PORT).\r\n");
        let mut control = good();
        *control.get_mut(PASSIVE).unwrap() = say(&passive);
        let verdict = run(async {
            let data = Scripted::open(file(), None).await;
            let control = Scripted::open(with_port(&control, data.address), None).await;
            outcome(&spec(ftp(), control.address, PATIENCE), Trust::none()).await
        });
        assert_eq!(verdict, Verdict::Up, "{host}");
    }
}

#[test]
fn whatever_an_ftp_server_does_its_check_ends_in_time_with_a_cause_and_little_memory() {
    let tried = [replies(), controls(), data()].into_iter().flatten().map(tried);
    sound(&run(futures_util::stream::iter(tried).buffer_unordered(AT_ONCE).collect::<Vec<_>>()));
}
