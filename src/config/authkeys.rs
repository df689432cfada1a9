//! `authkeys`: the shared secrets, as Heartbeat writes them down.
//!
//! The methods of Heartbeat are not used: beats are signed with HMAC-SHA256 whatever stands here,
//! and a secret of `md5` or `sha1` is only read as key material, so that an /etc/ha.d works as it
//! is. No text of this file is ever shown. Neighbour: `keys` reads the native key file.

#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use crate::config::diag::{Diagnostic, Excerpts, Faults, Span, Word, lines, nearest};
use crate::config::keys::{self, Weakness};
use crate::config::source::Source;
use crate::config::{Key, KeyRing};

/// Highest key number of Heartbeat.
pub const KEY_ID_MAX: u8 = 15;

/// Reads the whole file; the ring is empty only along with a fault.
pub fn read(source: &Source) -> (KeyRing, Vec<Diagnostic>) {
    let mut faults = source.legacy_faults(Excerpts::Hidden);
    keys::permissions(source, &mut faults);
    if let Some(at) = source.not_utf8 {
        faults.fault(at..at + 1, "a key of bytes that are not UTF-8 can't be read");
    }
    let mut active: Option<(u8, Span)> = None;
    let mut listed: Vec<Key> = Vec::new();
    for line in lines(&source.text) {
        let words = line.split(char::is_whitespace);
        match words.as_slice() {
            [] => (),
            [first, ..] if first.text.starts_with('#') => (),
            [auth, args @ ..] if auth.text == "auth" => {
                let id = signing(*auth, args, &mut faults);
                if active.is_some() {
                    faults.warn(auth.span(), "`auth` is given twice; this one counts");
                }
                active = id.map(|id| (id, auth.span())).or(active);
            }
            [id, rest @ ..] => {
                let Some(key) = key(*id, rest, &mut faults) else { continue };
                if listed.iter().any(|other| other.id == key.id) {
                    faults.fault(id.span(), format!("key {} is given twice", key.id));
                } else {
                    listed.push(key);
                }
            }
        }
    }
    listed.sort_by_key(|key| key.id);
    first_is_active(active, &mut listed, &mut faults);
    (KeyRing { keys: listed }, faults.into_list())
}

/// Moves the key that `auth` names to the front.
fn first_is_active(active: Option<(u8, Span)>, keys: &mut [Key], faults: &mut Faults<'_>) {
    let Some((id, span)) = active else {
        faults
            .fault(Span::FILE, "no `auth` line, which says what key to sign with")
            .help("`pairbeat keygen --authkeys` prints a complete file");
        return;
    };
    match keys.iter().position(|key| key.id == id) {
        Some(at) => {
            if let Some(front) = keys.get_mut(..=at) {
                front.rotate_right(1);
            }
        }
        None => {
            let help = format!("`{id} sha256 SECRET`, as `pairbeat keygen --authkeys` prints it");
            faults.fault(span, format!("no usable key {id}")).help(help);
        }
    }
}

fn signing(auth: Word<'_>, args: &[Word<'_>], faults: &mut Faults<'_>) -> Option<u8> {
    let Some(word) = args.first() else {
        faults.fault(auth.span(), "`auth` has no number").help("`auth 1`");
        return None;
    };
    number(*word, faults)
}

fn number(word: Word<'_>, faults: &mut Faults<'_>) -> Option<u8> {
    let id = word.text.parse().ok().filter(|id| *id <= KEY_ID_MAX);
    if id.is_none() {
        let message = format!("a line begins with `auth` or a key number of 0 to {KEY_ID_MAX}");
        let fault = faults.fault(word.span(), message);
        if nearest(word.text, ["auth"]).is_some() {
            fault.help("did you mean `auth`?");
        }
    }
    id
}

fn key(id: Word<'_>, rest: &[Word<'_>], faults: &mut Faults<'_>) -> Option<Key> {
    let number = number(id, faults)?;
    let Some((method, rest)) = rest.split_first() else {
        let help = format!("`{number} sha256 SECRET`, as `pairbeat keygen --authkeys` prints it");
        faults.fault(id.span(), "no method and no secret").help(help);
        return None;
    };
    match method.text {
        "sha256" => (),
        "sha1" | "md5" => {
            let message = "the method is not used: the secret is read as key material and beats \
                           are signed with HMAC-SHA256";
            faults
                .warn(method.span(), message)
                .help("`pairbeat keygen --authkeys` prints a `sha256` key");
        }
        "crc" => {
            faults
                .fault(method.span(), "`crc` is no authentication: anybody could take the group")
                .help("`pairbeat keygen --authkeys` prints a complete file; put it on both nodes");
            return None;
        }
        _ => {
            let help = "sha256, or of Heartbeat's sha1 and md5";
            faults.fault(method.span(), "not a known method").help(help);
            return None;
        }
    }
    let Some((secret, extra)) = rest.split_first() else {
        let help = "`pairbeat keygen --authkeys` makes one";
        faults.fault(method.span(), "no secret behind the method").help(help);
        return None;
    };
    if let Some(extra) = extra.first().filter(|extra| !extra.text.starts_with('#')) {
        let message = "the secret ends at the blank, as with Heartbeat; the rest is ignored";
        faults.warn(extra.span(), message);
    }
    Some(Key { id: number, secret: material(method.text, *secret, faults) })
}

/// The key itself. The hexadecimal digits of a `sha256` key stand for bytes, so that the same
/// key written in a native key file gives the same ring.
fn material(method: &str, word: Word<'_>, faults: &mut Faults<'_>) -> Zeroizing<Vec<u8>> {
    let bytes = match keys::hex(word.text) {
        Some(bytes) if method == "sha256" && bytes.len() >= keys::KEY_LEN_MIN => bytes,
        _ => Zeroizing::new(word.text.as_bytes().to_vec()),
    };
    let help = "`pairbeat keygen --authkeys` prints a good one; put it on both nodes";
    match keys::weakness(word.text, &bytes) {
        None => (),
        Some(Weakness::Sample) => {
            let message = "this secret is a sample of the documentation: everybody knows it";
            faults.warn(word.span(), message).help(help);
        }
        Some(Weakness::Short) => {
            let length = bytes.len();
            let message = format!("a secret of {length} bytes can be guessed from one packet");
            faults.warn(word.span(), message).help(help);
        }
    }
    bytes
}
