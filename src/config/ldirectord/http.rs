//! The parts of an HTTP check: request, expected answer, host, method.

use std::net::IpAddr;

use crate::config::Family;
use crate::config::diag::{Faults, Word};
use crate::config::ldirectord::{Context, address};
use crate::lvs::check::receive_pattern;
use crate::lvs::exchange::HttpMethod;
use crate::lvs::model::Protocol;

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Request {
    /// With its leading `/`.
    pub(in crate::config) path: String,
    /// Another address and port than the real server's (`"http://host:port/path"`).
    pub(in crate::config) elsewhere: Option<(IpAddr, u16)>,
}

/// Reads a request; `tls` is that of the service.
pub(in crate::config) fn request(
    word: Word<'_>,
    tls: bool,
    context: &mut Context<'_, '_>,
) -> Option<Request> {
    if word.text.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        let message = "a request has no blanks and no letters beyond ASCII";
        context.faults.fault(word.span(), message).help("write them as %20 and so on");
        return None;
    }
    let (scheme, port) = if tls { ("https", 443) } else { ("http", 80) };
    let Some((written, rest)) = word.split_once("://") else {
        let slash = if word.text.starts_with('/') { "" } else { "/" };
        return Some(Request { path: format!("{slash}{}", word.text), elsewhere: None });
    };
    if written.text != scheme {
        let message = format!("`{}` in a check of service={scheme}", written.text);
        context.faults.fault(written.span(), message);
        return None;
    }
    let (server, path) = match rest.split_once("/") {
        Some((server, path)) => (server, format!("/{}", path.text)),
        None => (rest, "/".to_owned()),
    };
    let endpoint = address::endpoint(server);
    let family = if endpoint.host.text.contains(':') { Family::V6 } else { Family::V4 };
    let ip = address::host(endpoint.host, family, context)?;
    let port = match endpoint.port {
        Some(word) => address::port(word, Protocol::Tcp, context)?,
        None => port,
    };
    Some(Request { path, elsewhere: Some((ip, port)) })
}

/// Whether the text is a regular expression that the checker can use; if not, that is a fault.
///
/// The engine has no look-around and no back-references, and no answer can make it slow.
pub(in crate::config) fn receive(word: Word<'_>, faults: &mut Faults<'_>) -> bool {
    let Err(error) = receive_pattern(word.text) else { return true };
    let what = match &error {
        regex::Error::CompiledTooBig(_) => "it gets too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).trim_end_matches('.').to_owned()
        }
    };
    faults
        .fault(word.span(), format!("not a regular expression that can be used: {what}"))
        .help("a backslash before a character takes its meaning away: `\\(`");
    false
}

/// A host name for the `Host` header.
pub(in crate::config) fn host<'a>(word: Word<'a>, faults: &mut Faults<'_>) -> Option<&'a str> {
    if word.text.is_empty() {
        return None;
    }
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if !word.text.chars().all(fit) {
        faults.fault(word.span(), format!("`{}` is not a host name", word.text));
        return None;
    }
    Some(word.text)
}

/// GET or HEAD, in any case.
pub(in crate::config) fn method(word: Word<'_>, faults: &mut Faults<'_>) -> Option<HttpMethod> {
    match word.text.to_ascii_uppercase().as_str() {
        "GET" => Some(HttpMethod::Get),
        "HEAD" => Some(HttpMethod::Head),
        _ => {
            faults.fault(word.span(), format!("`{}` is neither GET nor HEAD", word.text));
            None
        }
    }
}
