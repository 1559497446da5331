//! The id of a session.

use std::fmt;
use std::sync::Arc;

use crate::model::invalid::Invalid;
use crate::model::serde_text::serde_as_text;

/// The longest session id, in bytes.
pub(crate) const SESSION_ID_BYTES: usize = 128;

/// The prefix of every token, so that people and scanners recognise one in a log or a repository.
pub(crate) const TOKEN_PREFIX: &str = "ckt_";

/// A session's id: text of 1 to 128 bytes.
///
/// Anyone who has the id has the session, so it is a secret: `Debug` and `Display` print a short hash.
/// [`as_str`](Self::as_str) returns the text. serde writes that text, so that you can send it to the client.
///
/// ```
/// use cloakroom::SessionId;
///
/// let id = SessionId::new("device-7")?;
/// assert_eq!(id.as_str(), "device-7");
/// assert!(!format!("{id:?}").contains("device-7"));
/// # Ok::<(), cloakroom::Error>(())
/// ```
// Shared, because a store in memory names a session in several places, and each copy of a session has the
// id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Takes an id that the caller chose, or got from a client.
    ///
    /// # Errors
    /// [`Invalid`] when the text is empty, longer than 128 bytes, or a [`Token`](crate::Token).
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if text.is_empty() {
            return Err(Invalid::new("session id", "is empty"));
        }
        if text.starts_with(TOKEN_PREFIX) {
            return Err(Invalid::new("session id", "is a token: read it with Token::parse"));
        }
        if text.len() > SESSION_ID_BYTES {
            return Err(Invalid::new(
                "session id",
                format!("is {} bytes, at most {SESSION_ID_BYTES}", text.len()),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The id itself, for the cookie or the client. Keep it out of logs, unless it is the id of a [`Token`](crate::Token).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn uuid_of(seed: &[u8; 32]) -> Self {
        let bytes = *seed.first_chunk().expect("32 bytes have 16");
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        let mut text = uuid::Uuid::encode_buffer();
        Self((&*uuid.hyphenated().encode_lower(&mut text)).into())
    }

    /// The hash of a token.
    pub(crate) fn of_hash(text: &str) -> Self {
        Self(text.into())
    }

    /// Eight hex digits that stand for the id in logs and spans.
    #[must_use]
    pub fn short_hash(&self) -> String {
        sha1_smol::Sha1::from(self.0.as_bytes()).hexdigest()[..8].to_owned()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.short_hash())
    }
}

serde_as_text!(SessionId, as_str);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(#{})", self.short_hash())
    }
}

impl std::str::FromStr for SessionId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_129_bytes_is_refused_and_one_of_128_is_not() {
        assert!(SessionId::new("x".repeat(128)).is_ok());
        let error = SessionId::new("x".repeat(129)).unwrap_err();
        assert_eq!(error.to_string(), "session id is 129 bytes, at most 128");
    }
}
