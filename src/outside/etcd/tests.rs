//! What etcd says, and what others say in its place.

use super::*;

const HEADER: &str =
    r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"2"}"#;

fn body(rest: &str) -> Vec<u8> {
    format!("{{{HEADER}{rest}}}").into_bytes()
}

#[test]
fn a_key_that_is_there_is_told_from_one_that_is_not() {
    let found = body(
        r#","kvs":[{"key":"L3A=","create_revision":"4","mod_revision":"5","version":"1",
           "value":"c2VydmVyMTAxIGFi","lease":"7587899055780293895"}],"count":"1""#,
    );
    let lease = Some(7_587_899_055_780_293_895);
    let wanted = Found { value: "server101 ab".to_owned(), mod_revision: 5, lease };
    assert_eq!(json::range(&found).unwrap(), Some(wanted));
    assert_eq!(json::range(&body("")).unwrap(), None);
    let forever = body(r#","kvs":[{"mod_revision":"5"}]"#);
    let wanted = Found { value: String::new(), mod_revision: 5, lease: None };
    assert_eq!(json::range(&forever).unwrap(), Some(wanted));
}

#[test]
fn an_answer_of_another_server_is_nonsense_and_never_an_absent_key() {
    for other in [
        "{}",
        "[]",
        "null",
        "",
        "hello",
        r#"{"header":null}"#,
        r#"{"header":{},"kvs":[{}]}"#,
        r#"{"header":{},"kvs":[{"mod_revision":"x"}]}"#,
        r#"{"header":{},"kvs":[{"mod_revision":"1","value":"*"}]}"#,
        r#"{"header":{},"kvs":7}"#,
    ] {
        let error = json::range(other.as_bytes()).unwrap_err();
        assert!(matches!(error, EtcdError::Nonsense(_)), "{other}: {error}");
    }
    assert!(json::txn(b"{}").is_err());
    assert!(json::grant(&body("")).is_err());
    assert!(json::keep_alive(b"").is_err());
}

#[test]
fn a_lease_that_is_gone_was_renewed_for_no_time() {
    let stream = |ttl: &str| format!("{{\"result\":{}}}\n", String::from_utf8(body(ttl)).unwrap());
    let renewed = stream(r#","ID":"5","TTL":"10""#);
    assert_eq!(json::keep_alive(renewed.as_bytes()).unwrap(), 10);
    assert_eq!(json::keep_alive(stream(r#","ID":"5""#).as_bytes()).unwrap(), 0);
    let lease = json::grant(&body(r#","ID":"5","TTL":"2""#)).unwrap();
    assert_eq!(lease, Lease { id: 5, seconds: 2 });
}

#[test]
fn a_refusal_says_its_reason_in_one_line() {
    let text = |status, body: &str| json::refusal(status, body.as_bytes()).to_string();
    assert_eq!(
        text(
            400,
            r#"{"error":"etcdserver: no\nspace","message":"etcdserver: no\nspace","code":8}"#
        ),
        "etcd refuses: etcdserver: no space"
    );
    assert_eq!(
        text(404, "404 page not found"),
        "an answer that can't be understood: HTTP status 404 404 page not found"
    );
    let gone = r#"{"message":"etcdserver: invalid auth token","code":16}"#;
    assert!(matches!(json::refusal(401, gone.as_bytes()), EtcdError::Unauthenticated));
}

#[test]
fn a_token_of_before_users_were_changed_leads_to_a_new_login() {
    for (status, code) in [(400, 3), (500, 2)] {
        let text = "etcdserver: revision of auth store is old";
        let old = format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#);
        let error = json::refusal(status, old.as_bytes());
        assert!(matches!(error, EtcdError::Unauthenticated), "{code}: {error}");
    }
    let other = r#"{"message":"etcdserver: duplicate key given in txn request","code":3}"#;
    assert!(matches!(json::refusal(400, other.as_bytes()), EtcdError::Refused(_)));
}

#[test]
fn the_key_is_written_only_as_it_was_seen() {
    let absent = json::put_request("k", "v", (None, 7)).to_string();
    assert!(absent.contains(r#""create_revision":"0""#) && absent.contains(r#""lease":"7""#));
    let seen = json::put_request("k", "v", (Some(5), 7)).to_string();
    assert!(seen.contains(r#""mod_revision":"5""#) && !seen.contains("create_revision"));
}
