//! `keygen`: a new random key, printed for the key file of both nodes.

use zeroize::Zeroizing;

use super::exit::Code;
use super::out;
use crate::config::keys;

/// Id of the printed key; the operator changes it when there are several.
const KEY_ID: u8 = 1;

pub(super) fn keygen(authkeys: bool) -> Code {
    let mut secret = Zeroizing::new([0_u8; keys::KEY_LEN_MIN]);
    if let Err(e) = getrandom::fill(secret.as_mut()) {
        return out::fault(Code::Failed, &format!("no random numbers to be had: {e}"));
    }
    let text = if authkeys {
        keys::authkeys_file(KEY_ID, &secret)
    } else {
        keys::key_file(KEY_ID, &secret)
    };
    out::text(&text);
    Code::Well
}
