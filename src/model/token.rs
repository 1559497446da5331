//! A session's token: the secret that its client holds. The session's id is its hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::model::invalid::Invalid;
use crate::model::random::random;
use crate::model::session_id::{SessionId, TOKEN_PREFIX};

/// 32 bytes in base64url.
const DIGITS: usize = 43;

const BYTES: usize = TOKEN_PREFIX.len() + DIGITS;

/// The secret that a client holds for its session, and the store does not have: `ckt_` and 256 random bits
/// in base64url.
///
/// The session's id is the SHA-256 of the token. So somebody who reads Redis, a backup or a log finds ids, but cannot
/// log in with them. With [`IdScheme::Token`](crate::IdScheme::Token) each new session has a token:
/// [`create`](crate::SessionStore::create) and [`rotate`](crate::SessionStore::rotate) return it once. Operations on
/// one session accept a token in place of an id; for the others use [`id`](Self::id).
///
/// Only [`expose`](Self::expose) shows the token, and dropping it zeroes its memory. Two tokens are compared by their
/// ids: an attacker who measures the time of that learns about a hash, which does not reveal the token.
///
/// ```
/// use cloakroom::{SessionId, Token};
///
/// let token = Token::random();
/// assert_eq!(Token::parse(token.expose())?.id(), token.id());
/// assert!(!format!("{token:?}").contains(token.expose()));
/// // Neither is taken for the other.
/// assert!(SessionId::new(token.expose()).is_err());
/// assert!(Token::parse(token.id().as_str()).is_err());
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone)]
pub struct Token {
    secret: Zeroizing<String>,
    id: SessionId,
}

impl Token {
    /// A new random token.
    #[must_use]
    pub fn random() -> Self {
        Self::of_seed(&Zeroizing::new(random()))
    }

    /// Reads a token that came from a client.
    ///
    /// # Errors
    /// [`Invalid`] when the text is not a token. The error does not show the text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bits = text.strip_prefix(TOKEN_PREFIX).filter(|digits| digits.len() == DIGITS);
        let bits = bits.and_then(|digits| URL_SAFE_NO_PAD.decode(digits).ok()).map(Zeroizing::new);
        if bits.is_none() {
            let reason = format!("must be {TOKEN_PREFIX:?} and {DIGITS} digits of base64url");
            return Err(Invalid::new("token", reason));
        }
        Ok(Self::of_text(Zeroizing::new(text.to_owned())))
    }

    /// The token's text, for the client alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.secret
    }

    /// The id of its session, which is no secret.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn of_seed(seed: &[u8; 32]) -> Self {
        let text = text_of(seed);
        Self::of_text(Zeroizing::new(String::from_utf8_lossy(&*text).into_owned()))
    }

    fn of_text(secret: Zeroizing<String>) -> Self {
        let id = hash_of(secret.as_bytes());
        Self { id: SessionId::of_hash(&String::from_utf8_lossy(&id)), secret }
    }
}

/// The text of the token that is made of a seed.
pub(crate) fn text_of(seed: &[u8; 32]) -> Zeroizing<[u8; BYTES]> {
    let mut text = Zeroizing::new([0; BYTES]);
    let (prefix, digits) = text.split_at_mut(TOKEN_PREFIX.len());
    prefix.copy_from_slice(TOKEN_PREFIX.as_bytes());
    encode(seed, digits);
    text
}

/// The id of a token's session.
pub(crate) fn hash_of(token: &[u8]) -> [u8; DIGITS] {
    let mut id = [0; DIGITS];
    encode(&Sha256::digest(token), &mut id);
    id
}

fn encode(bytes: &[u8], digits: &mut [u8]) {
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, digits);
    debug_assert_eq!(written, Ok(DIGITS), "32 bytes are 43 digits");
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(of {})", self.id)
    }
}

impl std::str::FromStr for Token {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Token {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_refused_and_not_shown() {
        let whole = Token::random().expose().to_owned();
        let (short, other) = (&whole[..whole.len() - 1], whole.replace("ckt_", "ckx_"));
        // The last digit stands for four bits, the other two must be 0.
        let loose = format!("{TOKEN_PREFIX}{}", "_".repeat(DIGITS));
        for text in
            ["", TOKEN_PREFIX, short, &format!("{whole}A"), &other, &loose, &whole.replacen('_', "é", 1)]
        {
            let error = Token::parse(text).unwrap_err().to_string();
            assert_eq!(error, "token must be \"ckt_\" and 43 digits of base64url");
        }
    }

    #[test]
    fn the_id_of_a_token_is_its_hash_as_other_languages_compute_it() {
        // printf %s TOKEN | openssl dgst -sha256 -binary | basenc --base64url
        let token = Token::of_seed(&[0; 32]);
        assert_eq!(token.expose(), format!("ckt_{}", "A".repeat(43)));
        assert_eq!(token.id().as_str(), "fJV_jdowdN7_mZhTAiFAdKyMfHIMMmNcKFBVqOqOoDs");
    }
}
