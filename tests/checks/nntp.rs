//! type = "nntp" against leafnode, which inetd starts for each connection: socat does here.

use std::net::Ipv4Addr;

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::Exchange;

use super::rig::{self, Daemon, Place};

/// Leafnode on this port, on a host that is called so; its addresses are in its own /etc/hosts. It gets
/// the connection itself, for it wants to see that whoever reads is no stranger.
fn leafnode(host: &str, port: u16) -> Option<Daemon> {
    let (leafnode, socat) = (rig::program("leafnode")?, rig::program("socat")?);
    let unshare = rig::program("unshare")?;
    let place = Place::new();
    let short = host.split('.').next().unwrap();
    let hosts = place.write("hosts", &format!("127.0.0.1 localhost\n127.0.0.1 {host} {short}\n"));
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork");
    let (socat, leafnode) = (socat.display(), leafnode.display());
    let script = format!(
        "mount --bind {hosts} /etc/hosts && hostname {short} && exec {socat} {listen} EXEC:{leafnode},nofork"
    );
    Some(Daemon::of(place, &unshare, &["--uts", "--mount", "sh", "-c", &script]))
}

#[test]
fn a_news_server_is_up_while_it_greets_readers() {
    let port = rig::free_port();
    // Leafnode takes none of the names that are kept for examples and tests.
    let Some(server) = leafnode("news.pairbeat.net", port) else { return };
    server.until_up(&Exchange::Nntp, port).stop();
    rig::until_refused(&Exchange::Nntp, (Ipv4Addr::LOCALHOST, port).into());
}

/// It serves on no host without a domain, and says so.
#[test]
fn a_news_server_that_refuses_to_serve_is_down_with_its_words() {
    let port = rig::free_port();
    let Some(server) = leafnode("reader", port) else { return };
    server.until(&Exchange::Nntp, port, |verdict| {
        let Verdict::Down(CheckFailure::Answer(words)) = verdict else { return false };
        words.starts_with("503 Leafnode must have")
    });
}

#[test]
fn what_greets_like_no_news_server_or_not_at_all_is_down() {
    for (said, is_so) in [
        (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], "protocol"),
        (b"2000 news\r\n", "protocol"),
        (b"480 log in first\r\n", "answer"),
    ] {
        let verdict = rig::verdict(&Exchange::Nntp, rig::saying(said));
        assert_eq!(crate::hostile::cause(&verdict), is_so, "{verdict:?}");
    }
    let verdict = rig::verdict_within(&Exchange::Nntp, rig::silent(), rig::SHORT);
    let Verdict::Down(CheckFailure::Timeout { phase, .. }) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(phase, "greeting");
}
