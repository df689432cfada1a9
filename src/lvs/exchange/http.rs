//! HTTP requests, and what their answers must be.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lvs::exchange::{Login, Tls};

/// Most headers of one request: a status page wants one or two.
pub const HEADERS_MAX: usize = 32;

/// An HTTP or HTTPS request and what its answer must be. HTTP/1.1, with `Connection: close`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpCheck {
    /// TLS first.
    pub tls: Option<Tls>,
    /// Request method.
    pub method: HttpMethod,
    /// Request target, with its leading `/`.
    pub path: String,
    /// `Host` header and TLS server name; the real server's address when absent.
    pub host: Option<String>,
    /// More headers, fit to be sent; at most [`HEADERS_MAX`].
    pub headers: Vec<(String, String)>,
    /// Name and password by the method Basic (RFC 7617); the name has no colon.
    pub login: Option<Login>,
    /// What must come back.
    pub want: Wanted,
}

/// An HTTP request that a proxy passes on, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProxyCheck {
    /// Request method.
    pub method: HttpMethod,
    /// `http://HOST[:PORT][/PATH]`.
    pub uri: String,
    /// What must come back.
    pub want: Wanted,
}

/// Longest name of a service that is asked for, in bytes.
pub const GRPC_SERVICE_MAX: usize = 1024;

/// A question for the health of a gRPC server, which must say that it is serving
/// (`grpc.health.v1.Health/Check`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrpcCheck {
    /// TLS first.
    pub tls: Option<Tls>,
    /// `:authority` and TLS server name; the real server's address when absent.
    pub host: Option<String>,
    /// Of which service of it; empty for the server as a whole. At most [`GRPC_SERVICE_MAX`]
    /// bytes.
    pub service: String,
}

/// What an HTTP answer must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wanted {
    /// One of these.
    pub status: StatusSet,
    /// Regular expression that must match somewhere in the body; checked when it was read.
    pub receive: Option<String>,
    /// SHA-256 of the whole body.
    pub sha256: Option<Sha256>,
    /// MD5 of the whole body, as keepalived has it; it tells another page, not a forged one.
    pub md5: Option<Md5>,
}

/// HTTP request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// With a body to match.
    Get,
    /// Status only.
    Head,
}

/// Status codes that are well, as ranges: `200-299,301`. Never empty; default 2xx.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StatusSet(Vec<(u16, u16)>);

impl StatusSet {
    /// Reads codes and ranges with commas between them; blanks may stand around each.
    ///
    /// # Errors
    /// The part that is no status code and no range of them, where codes are 100 to 599.
    pub fn read(text: &str) -> Result<Self, &str> {
        let code = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
        let range = |part| -> Result<(u16, u16), &str> {
            let (low, high) = str::split_once(part, '-').unwrap_or((part, part));
            match (code(low), code(high)) {
                (Some(low), Some(high)) if low <= high => Ok((low, high)),
                _ => Err(part.trim()),
            }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this one is well.
    pub fn has(&self, code: u16) -> bool {
        self.0.iter().any(|(low, high)| (*low..=*high).contains(&code))
    }
}

impl Default for StatusSet {
    fn default() -> Self {
        Self(vec![(200, 299)])
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (low, high)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// From 64 hexadecimal digits, as sha256sum(1) prints them.
    pub fn read(text: &str) -> Option<Self> {
        bytes(text).map(Self)
    }
}

/// An MD5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Md5(pub [u8; 16]);

impl Md5 {
    /// From 32 hexadecimal digits, as md5sum(1) prints them.
    pub fn read(text: &str) -> Option<Self> {
        bytes(text).map(Self)
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Two hexadecimal digits for each byte.
fn bytes<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    if text.len() != 2 * LENGTH || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut sum = [0; LENGTH];
    for (place, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(sum)
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_status_codes_is_read_and_written() {
        for (text, written, in_it, out_of_it) in [
            ("200", "200", 200, 201),
            ("200-299,301", "200-299,301", 301, 300),
            (" 200 - 204 , 401", "200-204,401", 204, 205),
        ] {
            let set = StatusSet::read(text).unwrap();
            assert_eq!(set.to_string(), written);
            assert!(set.has(in_it) && !set.has(out_of_it), "{text}");
        }
        for (text, wrong) in [
            ("", ""),
            ("200,", ""),
            ("2xx", "2xx"),
            ("200,299-200", "299-200"),
            ("99", "99"),
            ("600", "600"),
            ("200-", "200-"),
        ] {
            assert_eq!(StatusSet::read(text), Err(wrong), "{text}");
        }
        assert!(StatusSet::default().has(204) && !StatusSet::default().has(302));
    }

    #[test]
    fn a_sum_is_read_and_written() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Sha256::read(text).unwrap().to_string(), text);
        assert_eq!(Sha256::read(&text.to_uppercase()).unwrap().to_string(), text);
        for text in ["", &text[1..], &format!("{text}0"), &text.replace('e', "g")] {
            assert_eq!(Sha256::read(text), None, "{text}");
        }
        let text = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(Md5::read(text).unwrap().to_string(), text);
        assert_eq!(Md5::read(&text[1..]), None);
    }
}
