//! Requests and answers of etcd's HTTP gateway as JSON (etcd 3.4 to 3.6, `rpc.proto` by
//! grpc-gateway: bytes are base64, 64-bit numbers are strings, and what is zero is left out).
//!
//! Pure. Bytes of strangers: everything is checked, nothing is believed to be there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::EtcdError;

/// Longest text of a refusal that is shown, in characters.
const REASON_MAX: usize = 200;
/// Longest value of a key that is shown, in characters: ours are a name and 32 digits.
const VALUE_MAX: usize = 120;

/// The key as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its value; what is no text is replaced.
    pub value: String,
    /// Grows with each change.
    pub mod_revision: i64,
    /// What it is bound to; `None`: it stays for ever.
    pub lease: Option<i64>,
}

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: i64,
    /// For how long; not less than was asked for, in a well-behaved etcd.
    pub seconds: i64,
}

pub(super) fn range_request(key: &str) -> Value {
    json!({ "key": encoded(key) })
}

pub(super) fn grant_request(seconds: i64) -> Value {
    json!({ "TTL": seconds.to_string() })
}

pub(super) fn lease_request(id: i64) -> Value {
    json!({ "ID": id.to_string() })
}

/// `seen`: the key's last change, `None` when it was absent.
pub(super) fn put_request(key: &str, value: &str, (seen, lease): (Option<i64>, i64)) -> Value {
    let key = encoded(key);
    let compare = match seen {
        None => json!({
            "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0",
        }),
        Some(revision) => json!({
            "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string(),
        }),
    };
    let put = json!({ "key": key, "value": encoded(value), "lease": lease.to_string() });
    json!({ "compare": [compare], "success": [{ "request_put": put }] })
}

fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
    #[serde(deserialize_with = "number")]
    mod_revision: i64,
    #[serde(default, deserialize_with = "number")]
    lease: i64,
}

/// The one key that was asked for, if it is there.
///
/// # Errors
/// [`EtcdError::Nonsense`].
pub fn range(body: &[u8]) -> Result<Option<Found>, EtcdError> {
    let Range { kvs } = parsed(headed(body)?)?;
    let Some(found) = kvs.into_iter().next() else { return Ok(None) };
    let value = STANDARD.decode(&found.value).map_err(|error| nonsense(&error))?;
    let value = one_line(&String::from_utf8_lossy(&value), VALUE_MAX);
    let lease = (found.lease != 0).then_some(found.lease);
    Ok(Some(Found { value, mod_revision: found.mod_revision, lease }))
}

/// A granted lease.
///
/// # Errors
/// [`EtcdError::Nonsense`].
pub fn grant(body: &[u8]) -> Result<Lease, EtcdError> {
    #[derive(Deserialize)]
    struct Grant {
        #[serde(rename = "ID", deserialize_with = "number")]
        id: i64,
        #[serde(rename = "TTL", deserialize_with = "number")]
        ttl: i64,
    }
    let Grant { id, ttl } = parsed(headed(body)?)?;
    Ok(Lease { id, seconds: ttl })
}

/// For how many seconds a lease was renewed; 0 when it is gone. The answer is the first of a
/// stream.
///
/// # Errors
/// [`EtcdError::Nonsense`].
pub fn keep_alive(body: &[u8]) -> Result<i64, EtcdError> {
    #[derive(Deserialize)]
    struct Stream {
        result: Renewed,
    }
    #[derive(Deserialize)]
    struct Renewed {
        #[serde(rename = "TTL", default, deserialize_with = "number")]
        ttl: i64,
    }
    let first = body.split(|byte| *byte == b'\n').find(|line| !line.is_empty());
    let stream: Stream = parsed(value(first.unwrap_or_default())?)?;
    Ok(stream.result.ttl)
}

/// Whether the key was as expected, and has been written.
///
/// # Errors
/// [`EtcdError::Nonsense`].
pub fn txn(body: &[u8]) -> Result<bool, EtcdError> {
    #[derive(Deserialize)]
    struct Txn {
        #[serde(default)]
        succeeded: bool,
    }
    let Txn { succeeded } = parsed(headed(body)?)?;
    Ok(succeeded)
}

/// The token that stands for a user and a password.
///
/// # Errors
/// [`EtcdError::Nonsense`].
pub fn token(body: &[u8]) -> Result<Zeroizing<String>, EtcdError> {
    #[derive(Deserialize)]
    struct Token {
        token: String,
    }
    let Token { token } = parsed(headed(body)?)?;
    Ok(Zeroizing::new(token))
}

/// What an answer with another status than 200 says. The codes are gRPC's.
pub fn refusal(status: u16, body: &[u8]) -> EtcdError {
    const NOT_FOUND: i64 = 5;
    const UNAUTHENTICATED: i64 = 16;
    #[derive(Deserialize, Default)]
    struct Refusal {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: String,
        #[serde(default)]
        error: String,
    }
    let said: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let text = if said.message.is_empty() { said.error } else { said.message };
    // Both are INVALID_ARGUMENT (UNKNOWN in older releases): no user where there must be
    // one, and a token of before users or roles were changed, which a new login mends.
    const LOGIN: [&str; 2] = ["user name is empty", "revision of auth store is old"];
    match said.code {
        UNAUTHENTICATED => EtcdError::Unauthenticated,
        _ if LOGIN.iter().any(|words| text.contains(words)) => EtcdError::Unauthenticated,
        NOT_FOUND => EtcdError::Refused(format!("not there: {}", one_line(&text, REASON_MAX))),
        _ if text.is_empty() => {
            let said = one_line(String::from_utf8_lossy(body).trim(), REASON_MAX);
            EtcdError::Nonsense(format!("HTTP status {status} {said}"))
        }
        _ => EtcdError::Refused(one_line(&text, REASON_MAX)),
    }
}

/// An answer of etcd begins with its header: that of another server, however well it parses, has
/// none, and must not be read as "nothing there".
fn headed(body: &[u8]) -> Result<Value, EtcdError> {
    let value = value(body)?;
    if value.get("header").is_some_and(Value::is_object) {
        Ok(value)
    } else {
        Err(EtcdError::Nonsense("no header of etcd".to_owned()))
    }
}

fn value(body: &[u8]) -> Result<Value, EtcdError> {
    serde_json::from_slice(body).map_err(|error| nonsense(&error))
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, EtcdError> {
    serde_json::from_value(value).map_err(|error| nonsense(&error))
}

fn nonsense(error: &dyn std::fmt::Display) -> EtcdError {
    EtcdError::Nonsense(one_line(&error.to_string(), REASON_MAX))
}

fn one_line(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// A 64-bit number, as text or as a number.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => text.parse().map_err(serde::de::Error::custom),
        other => other.as_i64().ok_or_else(|| serde::de::Error::custom("not a whole number")),
    }
}
