//! The ids of the framework, which are 128 bits, as tokens of cloakroom.
//!
//! The lowest bit is not part of an id: it is 0 in the client's cookie and 1 in a loaded record. By this bit a delete
//! knows its caller: `cycle_id` deletes the id of the record, a logout the id of the cookie.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloakroom::{SessionId, SessionStore, Token};

/// How many ids are drawn until one fits its user's partition. There are 1,024 partitions at most.
const DRAWS: u32 = 100_000;

/// The framework's function that makes an id.
pub(crate) type Draw = fn() -> i128;

/// The id of a record that was loaded.
pub(crate) fn of_record(id: i128) -> i128 {
    id | 1
}

/// The id that the cookie has.
pub(crate) fn of_cookie(id: i128) -> i128 {
    id & !1
}

pub(crate) fn is_of_record(id: i128) -> bool {
    id & 1 == 1
}

/// The token of an id: its bytes as the cookie has them, and 16 zeros. The server stores the token's hash.
pub(crate) fn token(id: i128) -> Token {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&of_cookie(id).to_le_bytes());
    Token::parse(&format!("ckt_{}", URL_SAFE_NO_PAD.encode(bytes)))
        .expect("32 bytes in base64url are a token")
}

/// Draws an id that the store accepts for a session of a user, or in the place of `from`.
pub(crate) fn draw(draw: Draw, store: &dyn SessionStore, user: &str, from: Option<&SessionId>) -> i128 {
    let mut ids = (0..DRAWS).map(|_| of_cookie(draw()));
    // If none fits, the store refuses the last one and says why.
    let fits = |id: &i128| store.check_id(token(*id).id(), user, from).is_ok();
    ids.find(fits).unwrap_or_else(|| of_cookie(draw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_the_cookie_has_with_what_the_readme_says_around_it() {
        let id = of_cookie(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let cookie = URL_SAFE_NO_PAD.encode(id.to_le_bytes());
        assert_eq!(token(id).expose(), format!("ckt_{cookie}{}", "A".repeat(21)));
        assert_eq!(token(of_record(id)), token(id));
    }
}
