//! nginx: what is asked of it, and what its answers must be.

use std::path::Path;

use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{
    Exchange, HttpCheck, HttpMethod, Login, Md5, Sha256, StatusSet, Tls, Wanted,
};
use pairbeat::probe::tls::Trust;

use crate::needs::met;
use crate::rig::{Daemon, Place, judged, login, reason, until_refused};

const NGINX: &str = "/usr/sbin/nginx";

/// Says SKIP where nginx can't run as these tests run it.
pub(crate) fn is_here() -> bool {
    let able = Path::new(NGINX).exists() && rustix::process::geteuid().is_root();
    met(able, "root and nginx")
}

/// nginx with these servers (`server { ... }`), which listen at these ports.
pub(crate) fn nginx(place: &Place, servers: &str, ports: &[u16]) -> Daemon {
    let root = place.path.display();
    place.open_directory("www");
    let config = format!(
        "daemon off;\nuser nobody nogroup;\npid {root}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\n access_log off;\n client_body_temp_path {root}/body;\n\
         proxy_temp_path {root}/proxy;\n fastcgi_temp_path {root}/fcgi;\n\
         uwsgi_temp_path {root}/uwsgi;\n scgi_temp_path {root}/scgi;\n {servers}\n}}\n"
    );
    let config = place.file("nginx.conf", &config);
    let args = ["-c", config.to_str().unwrap(), "-p", place.path.to_str().unwrap()];
    let ports: Vec<_> = ports.iter().map(|port| place.at(*port)).collect();
    Daemon::start(Path::new(NGINX), &args, &place.path.join("nginx.out"), &ports)
}

/// A page of this path, and nothing more.
pub(crate) fn page(path: &str, tls: Option<Tls>) -> HttpCheck {
    HttpCheck {
        tls,
        method: HttpMethod::Get,
        path: path.to_owned(),
        host: None,
        headers: Vec::new(),
        login: None,
        want: Wanted::default(),
    }
}

#[test]
fn an_answer_must_have_the_status_the_text_and_the_sum_that_are_wanted() {
    if !is_here() {
        return;
    }
    let place = Place::new();
    place.open_directory("www");
    place.file("www/alive", "all is well\n");
    let (root, at) = (place.path.display(), place.at(8080));
    let server = format!(
        "server {{ listen {at}; root {root}/www; location /moved {{ return 301 /alive; }}\n\
         location /teapot {{ return 418; }} location /empty {{ return 204; }} }}"
    );
    let server = nginx(&place, &server, &[8080]);
    let judge = |check| judged(Exchange::Http(check), at, Trust::none());
    let status = |path: &str, set: &str| {
        let want = Wanted { status: StatusSet::read(set).unwrap(), ..Wanted::default() };
        reason(judge(HttpCheck { want, ..page(path, None) }))
    };
    assert_eq!(status("/alive", "200-299,301"), "up");
    assert_eq!(status("/moved", "200-299,301"), "up", "no redirect is followed");
    assert_eq!(status("/moved", "200-299"), "status 301");
    assert_eq!(status("/teapot", "418"), "up");
    assert_eq!(status("/alive", "418"), "status 200");
    let head = HttpCheck { method: HttpMethod::Head, ..page("/empty", None) };
    assert_eq!(judge(head), Verdict::Up);

    // As `sha256sum` prints it.
    let good = "d40b628baf7f757149f5b6d6d6aca317d478ef3a29433064d21cfdd06fb33b8d";
    let sum = |digest| Wanted { sha256: Some(digest), ..Wanted::default() };
    let wrong = reason(judge(HttpCheck { want: sum(Sha256([0; 32])), ..page("/alive", None) }));
    let shown = wrong.strip_prefix("the body's SHA-256 is ").unwrap_or_else(|| panic!("{wrong}"));
    assert_eq!(shown, good);
    let own = Sha256::read(shown).unwrap();
    assert_eq!(judge(HttpCheck { want: sum(own), ..page("/alive", None) }), Verdict::Up);
    let md5 = |digest| Wanted { md5: Some(digest), ..Wanted::default() };
    let wrong = reason(judge(HttpCheck { want: md5(Md5([0; 16])), ..page("/alive", None) }));
    let shown = wrong.strip_prefix("the body's MD5 is ").unwrap_or_else(|| panic!("{wrong}"));
    let want = md5(Md5::read(shown).unwrap());
    assert_eq!(judge(HttpCheck { want, ..page("/alive", None) }), Verdict::Up);
    place.file("www/alive", "all is lost\n");
    let changed = reason(judge(HttpCheck { want: sum(own), ..page("/alive", None) }));
    assert!(changed.starts_with("the body's SHA-256 is "), "{changed}");
    server.stop();
    until_refused(&Exchange::Http(page("/alive", None)), at);
}

#[test]
fn a_request_has_its_headers_and_its_login_and_does_not_keep_the_connection() {
    if !is_here() {
        return;
    }
    let place = Place::new();
    let (root, at) = (place.path.display(), place.at(8080));
    place.file("users", "joe:{PLAIN}hush-hush\n");
    let server = format!(
        "server {{ listen {at}; root {root}/www;\n\
         location /own {{ if ($http_x_probe != \"a b\") {{ return 403; }} return 200 $http_user_agent; }}\n\
         location /how {{ return 200 \"$server_protocol $http_connection $http_host\"; }}\n\
         location /in {{ auth_basic in; auth_basic_user_file {root}/users; try_files /in =404; }} }}"
    );
    place.open_directory("www");
    place.file("www/in", "welcome\n");
    let server = nginx(&place, &server, &[8080]);
    let judge = |check| reason(judged(Exchange::Http(check), at, Trust::none()));
    let receive = |text: &str| Wanted { receive: Some(text.to_owned()), ..Wanted::default() };
    let how = format!("^HTTP/1\\.1 close {}$", at.to_string().replace('.', "\\."));
    assert_eq!(judge(HttpCheck { want: receive(&how), ..page("/how", None) }), "up");
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header("X-Probe", "a b"), header("User-Agent", "me")];
    let own = HttpCheck { headers, want: receive("^me$"), ..page("/own", None) };
    assert_eq!(judge(own), "up");
    assert_eq!(judge(page("/own", None)), "status 403");
    let into = |login: Option<Login>| judge(HttpCheck { login, ..page("/in", None) });
    assert_eq!(into(Some(login("joe", "hush-hush"))), "up");
    assert_eq!(into(Some(login("joe", "wrong"))), "status 401");
    assert_eq!(into(None), "status 401");
    server.stop();
}
