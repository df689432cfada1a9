//! squid in front of nginx.

use std::path::Path;

use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{Exchange, HttpMethod, ProxyCheck, Wanted};
use pairbeat::probe::tls::Trust;

use crate::needs::met;
use crate::rig::{Daemon, Place, judged, reason, until_refused};

const SQUID: &str = "/usr/sbin/squid";
const NGINX: &str = "/usr/sbin/nginx";

fn nginx(place: &Place) -> Daemon {
    let (root, address) = (place.path.display(), place.address);
    place.open_directory("www");
    place.file("www/index.html", "all is well\n");
    let config = format!(
        "daemon off;\nuser nobody nogroup;\npid {root}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\n access_log off;\n client_body_temp_path {root}/body;\n\
         proxy_temp_path {root}/proxy;\n fastcgi_temp_path {root}/fcgi;\n\
         uwsgi_temp_path {root}/uwsgi;\n scgi_temp_path {root}/scgi;\n\
         server {{ listen {address}:8080; root {root}/www; }}\n}}\n"
    );
    let config = place.file("nginx.conf", &config);
    let args = ["-c", config.to_str().unwrap(), "-p", place.path.to_str().unwrap()];
    Daemon::start(Path::new(NGINX), &args, &place.path.join("nginx.out"), &[place.at(8080)])
}

fn squid(place: &Place) -> Daemon {
    let (root, address) = (place.path.display(), place.address);
    place.open_directory("squid");
    let config = format!(
        "http_port {address}:3128\nhttp_access allow all\ncache deny all\n\
         pid_filename {root}/squid/pid\naccess_log none\ncache_log {root}/squid/log\n\
         coredump_dir {root}/squid\npinger_enable off\nshutdown_lifetime 0 seconds\n\
         visible_hostname proxy.example.org\nnetdb_filename none\n"
    );
    let config = place.file("squid.conf", &config);
    let service = format!("pairbeat{}", std::process::id());
    let args = ["-N", "-n", &service, "-f", config.to_str().unwrap()];
    Daemon::start(Path::new(SQUID), &args, &place.path.join("squid.out"), &[place.at(3128)])
}

fn page(uri: &str, receive: Option<&str>) -> Exchange {
    let (uri, receive) = (uri.to_owned(), receive.map(str::to_owned));
    let want = Wanted { receive, ..Wanted::default() };
    Exchange::Proxy(ProxyCheck { method: HttpMethod::Get, uri, want })
}

#[test]
fn a_proxy_is_up_when_it_fetches_the_page_and_down_when_it_does_not() {
    let able = [SQUID, NGINX].iter().all(|program| Path::new(program).exists());
    if !met(able && rustix::process::geteuid().is_root(), "root, squid and nginx") {
        return;
    }
    let place = Place::new();
    let web = nginx(&place);
    let proxy = squid(&place);
    let judge = |exchange| judged(exchange, place.at(3128), Trust::none());
    let uri = format!("http://{}/", place.at(8080));
    assert_eq!(judge(page(&uri, Some("^all is well$"))), Verdict::Up);
    assert_eq!(judge(page(&uri, None)), Verdict::Up);
    assert_eq!(reason(judge(page(&format!("{uri}gone"), None))), "status 404");
    assert_eq!(reason(judge(page(&uri, Some("bad")))), "`bad` is not in the answer");
    web.stop();
    assert_eq!(reason(judge(page(&uri, None))), "status 503");
    proxy.stop();
    until_refused(&page(&uri, None), place.at(3128));
}
