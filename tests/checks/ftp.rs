//! vsftpd.

use std::fs;
use std::path::Path;

use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{Exchange, FtpCheck};
use pairbeat::probe::tls::Trust;

use crate::needs::met;
use crate::rig::{Daemon, Place, judged, login, reason, until_refused};

const VSFTPD: &str = "/usr/sbin/vsftpd";

fn vsftpd(place: &Place, port: u16) -> Daemon {
    let (root, address) = (place.path.display(), place.address);
    fs::create_dir_all(place.path.join("files")).unwrap();
    fs::create_dir_all(place.path.join("empty")).unwrap();
    place.file("files/alive.txt", "all is well\n");
    let config = format!(
        "listen=YES\nbackground=NO\nlisten_address={address}\nlisten_port={port}\n\
         anonymous_enable=YES\nlocal_enable=NO\nanon_root={root}/files\n\
         secure_chroot_dir={root}/empty\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
         one_process_model=NO\nconnect_from_port_20=NO\n"
    );
    let config = place.file("vsftpd.conf", &config);
    let args = [config.to_str().unwrap()];
    Daemon::start(Path::new(VSFTPD), &args, &place.path.join("out"), &[place.at(port)])
}

fn ftp(name: &str, path: Option<&str>, receive: Option<&str>) -> Exchange {
    Exchange::Ftp(FtpCheck {
        login: login(name, ""),
        path: path.map(str::to_owned),
        receive: receive.map(str::to_owned),
    })
}

#[test]
fn an_ftp_server_is_up_when_it_gives_the_file_and_down_when_it_does_not() {
    let able = Path::new(VSFTPD).exists() && rustix::process::geteuid().is_root();
    if !met(able, "root and vsftpd") {
        return;
    }
    let place = Place::new();
    let server = vsftpd(&place, 2121);
    let judge = |exchange| judged(exchange, place.at(2121), Trust::none());
    for (path, receive) in [
        (Some("/alive.txt"), Some("^all is well$")),
        (Some("/alive.txt"), None),
        (None, Some("alive.txt")),
        (None, None),
    ] {
        assert_eq!(judge(ftp("anonymous", path, receive)), Verdict::Up, "{path:?} {receive:?}");
    }
    let missing = reason(judge(ftp("anonymous", Some("/gone.txt"), None)));
    assert!(missing.contains("550"), "{missing}");
    let unlike = reason(judge(ftp("anonymous", Some("/alive.txt"), Some("bad"))));
    assert_eq!(unlike, "`bad` is not in the answer");
    let refused = reason(judge(ftp("joe", None, None)));
    assert!(refused.starts_with("login refused: 530"), "{refused}");
    server.stop();
    until_refused(&ftp("anonymous", None, None), place.at(2121));
}
