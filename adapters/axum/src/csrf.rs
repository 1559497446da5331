//! CSRF tokens: a form proves with one that a page of the same session made it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::Token;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The authenticated text. Another use of the same key must have another text.
const PURPOSE: &[u8] = b"cloakroom csrf";

/// The code of a session. Its key is the session's token, which only the client and the service have. So nothing needs
/// to be stored, and a login changes the code.
pub(crate) fn code_of(session: &Token) -> String {
    URL_SAFE_NO_PAD.encode(mac(session).finalize().into_bytes())
}

/// Compares in constant time.
pub(crate) fn is_code_of(session: &Token, code: &str) -> bool {
    URL_SAFE_NO_PAD.decode(code).is_ok_and(|code| mac(session).verify_slice(&code).is_ok())
}

fn mac(session: &Token) -> Hmac<Sha256> {
    // HMAC takes keys of any length.
    let mac = Hmac::<Sha256>::new_from_slice(session.expose().as_bytes());
    mac.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")).chain_update(PURPOSE)
}
