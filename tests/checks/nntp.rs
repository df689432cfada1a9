//! type = "nntp" against leafnode, which inetd starts for each connection: socat does here.

use pairbeat::lvs::check::{CheckFailure, Verdict};
use pairbeat::lvs::exchange::Exchange;

use super::rig::{self, Daemon, Place};

/// It serves on no host without a domain, and says so; in a namespace, this one has none.
#[test]
fn a_news_server_that_refuses_to_serve_is_down_with_its_words() {
    let (Some(leafnode), Some(socat), Some(unshare)) =
        (rig::program("leafnode"), rig::program("socat"), rig::program("unshare"))
    else {
        return;
    };
    let port = rig::free_port();
    let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork");
    let (socat, leafnode) = (socat.display(), leafnode.display());
    let script = format!("hostname reader && exec {socat} {listen} EXEC:{leafnode}");
    let server = Daemon::of(Place::new(), &unshare, &["--uts", "sh", "-c", &script]);
    server.until(&Exchange::Nntp, port, |verdict| {
        let Verdict::Down(CheckFailure::Answer(words)) = verdict else { return false };
        words.starts_with("503 Leafnode must have")
    });
}
