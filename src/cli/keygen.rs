//! `keygen`: a new random key, printed for the key file of both nodes.

use zeroize::Zeroizing;

use super::exit::Code;
use super::out;
use crate::config::keys;

pub(super) fn keygen(authkeys: bool) -> Code {
    let mut secret = Zeroizing::new([0_u8; keys::KEY_LEN]);
    if let Err(e) = getrandom::fill(secret.as_mut()) {
        return out::fault(Code::Failed, &format!("no random numbers to be had: {e}"));
    }
    let text = if authkeys { keys::authkeys(&secret) } else { keys::key_file(&secret) };
    out::text(&text);
    Code::Well
}
