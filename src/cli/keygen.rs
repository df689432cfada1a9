//! `keygen`: a new random key, printed for the key file of both nodes.

use zeroize::Zeroizing;

use super::exit::Code;
use super::out;
use crate::config::keys;

/// Id of the printed key; the operator changes it when there are several.
const KEY_ID: u8 = 1;

pub(super) fn keygen(authkeys: bool) -> Code {
    match text(authkeys) {
        Ok(text) => {
            out::text(&text);
            Code::Well
        }
        Err(e) => out::fault(Code::Failed, &format!("no random numbers to be had: {e}")),
    }
}

/// The text of a key file with a new key.
pub(super) fn text(authkeys: bool) -> Result<Zeroizing<String>, getrandom::Error> {
    let mut secret = Zeroizing::new([0_u8; keys::KEY_LEN_MIN]);
    getrandom::fill(secret.as_mut())?;
    Ok(if authkeys {
        keys::authkeys_file(KEY_ID, &secret)
    } else {
        keys::key_file(KEY_ID, &secret)
    })
}
