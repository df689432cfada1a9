//! What a check of pairbeat.toml says of an HTTP answer and request: `status`, `headers`, `sha256`,
//! `md5`.

use crate::config::diag::{Span, Word};
use crate::config::toml::walk::{Fields, Item, Walk};
use crate::lvs::exchange::{HEADERS_MAX, HttpMethod, Md5, Sha256, StatusSet, Wanted};

/// Headers that are made by other keys, or frame the message.
const OURS: &[(&str, &str)] = &[
    ("authorization", "`login` and `password_file`"),
    ("connection", "every check has a connection of its own, and closes it"),
    ("content-length", "a request has no body"),
    ("host", "`host`"),
    ("transfer-encoding", "a request has no body"),
];

/// The words.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    status: Option<StatusSet>,
    headers: Option<Vec<(String, String)>>,
    sha256: Option<Sha256>,
    md5: Option<Md5>,
}

impl Said {
    /// From the fields of a check.
    pub(super) fn read(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Self {
        Self {
            status: fields.take("status").and_then(|item| status(item, walk)),
            headers: fields.take("headers").and_then(|item| headers(item, walk)),
            sha256: fields
                .take("sha256")
                .and_then(|item| sum(item, Sha256::read, ("SHA-256", 64, "sha256sum"), walk)),
            md5: fields
                .take("md5")
                .and_then(|item| sum(item, Md5::read, ("MD5", 32, "md5sum"), walk)),
        }
    }

    /// What this one does not say, `farther` does.
    pub(super) fn or(self, farther: &Self) -> Self {
        Self {
            status: self.status.or_else(|| farther.status.clone()),
            headers: self.headers.or_else(|| farther.headers.clone()),
            sha256: self.sha256.or(farther.sha256),
            md5: self.md5.or(farther.md5),
        }
    }

    pub(super) fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone().unwrap_or_default()
    }

    /// What the answer must be; of an answer to HEAD nothing can be asked but its status.
    pub(super) fn wanted(
        &self,
        method: HttpMethod,
        receive: Option<Word<'_>>,
        at: Span,
        walk: &mut Walk<'_>,
    ) -> Wanted {
        let sum = self.sha256.is_some() || self.md5.is_some();
        if method == HttpMethod::Head && (receive.is_some() || sum) {
            let message =
                "an answer to HEAD has no body: neither `receive` nor a sum of it can match";
            walk.faults.fault(at, message).help("`method = \"GET\"`");
        }
        Wanted {
            status: self.status.clone().unwrap_or_default(),
            receive: receive.map(|word| word.text.to_owned()),
            sha256: self.sha256,
            md5: self.md5,
        }
    }
}

/// A number, or ranges in a string.
fn status(item: Item<'_>, walk: &mut Walk<'_>) -> Option<StatusSet> {
    const HELP: &str = "codes of 100 to 599 and ranges of them: 200, or \"200-299,301\"";
    let text = item.scalar(walk)?;
    match StatusSet::read(&text) {
        Ok(set) => Some(set),
        Err(part) => {
            walk.faults.fault(item.span, format!("`{part}` is not an HTTP status")).help(HELP);
            None
        }
    }
}

/// A sum by its name, its digits, and the program that prints it.
fn sum<T>(
    item: Item<'_>,
    read: impl FnOnce(&str) -> Option<T>,
    (name, digits, program): (&str, usize, &str),
    walk: &mut Walk<'_>,
) -> Option<T> {
    let word = item.text(walk)?;
    let sum = read(word.text);
    if sum.is_none() {
        let help =
            format!("{digits} hexadecimal digits: `curl -s http://192.168.2.106/ | {program}`");
        walk.faults.fault(item.span, format!("`{}` is no {name}", word.text)).help(help);
    }
    sum
}

fn headers(item: Item<'_>, walk: &mut Walk<'_>) -> Option<Vec<(String, String)>> {
    let all = item.fields(walk)?.take_all();
    if all.len() > HEADERS_MAX {
        walk.faults.fault(item.span, format!("over {HEADERS_MAX} headers"));
        return None;
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in all {
        let Some(text) = value.text(walk) else { continue };
        let lower = name.text.to_ascii_lowercase();
        if let Some((_, help)) = OURS.iter().find(|(ours, _)| *ours == lower) {
            let message = format!("the header `{}` is not made here", name.text);
            walk.faults.fault(name.span(), message).help(*help);
        } else if headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&lower)) {
            walk.faults.fault(name.span(), format!("the header `{}` is there twice", name.text));
        } else if !is_token(name.text) {
            walk.faults.fault(name.span(), format!("`{}` is not the name of a header", name.text));
        } else if !text.text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let message = format!("the value of `{}` cannot be sent", name.text);
            walk.faults.fault(value.span, message).help("printable ASCII");
        } else {
            headers.push((name.text.to_owned(), text.text.to_owned()));
        }
    }
    Some(headers)
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(fit)
}
