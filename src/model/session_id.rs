//! The id of a session, and how the engine makes one.

use std::fmt;
use std::sync::Arc;

use crate::model::invalid::Invalid;
use crate::model::operation_id::OperationId;
use crate::model::random::{hex, random};
use crate::model::serde_text::serde_as_text;

/// The longest session id, in bytes.
pub(crate) const SESSION_ID_BYTES: usize = 128;

/// A session's id: the ticket. Text of 1 to 128 bytes.
///
/// Whoever has the id has the session, so it is a secret: `Debug` and `Display` print a short hash. Its text is asked for by
/// name, with [`as_str`](Self::as_str); serde writes it too, for what is sent to the client.
///
/// ```
/// use cloakroom::SessionId;
///
/// let id = SessionId::new("device-7")?;
/// assert_eq!(id.as_str(), "device-7");
/// assert!(!format!("{id:?}").contains("device-7"));
/// # Ok::<(), cloakroom::Error>(())
/// ```
// Shared, for a store in memory names a session in several places, and each copy of a session has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Takes an id that the caller chose, or got from a client.
    ///
    /// # Errors
    /// [`Invalid`] when the text is empty or longer than 128 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if text.is_empty() {
            return Err(Invalid::new("session id", "is empty"));
        }
        if text.len() > SESSION_ID_BYTES {
            return Err(Invalid::new(
                "session id",
                format!("is {} bytes, at most {SESSION_ID_BYTES}", text.len()),
            ));
        }
        Ok(Self(text.into()))
    }

    /// The id itself, for the cookie or the client. Keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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

/// How the engine makes ids for sessions that were given none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdScheme {
    /// A random UUID (version 4): 122 random bits in 36 characters.
    #[default]
    Uuid,
    /// A token of 256 random bits, 64 hex digits.
    Token,
}

impl IdScheme {
    /// The id that a call makes: the same when the call is repeated, or its retry would make another session.
    pub(crate) fn generate(self, operation: &OperationId) -> SessionId {
        self.of_seed(operation.seed())
    }

    /// The id that a call makes that nobody repeats.
    pub(crate) fn random(self) -> SessionId {
        self.of_seed(&random())
    }

    pub(crate) fn of_seed(self, seed: &[u8; 32]) -> SessionId {
        match self {
            Self::Uuid => {
                let bytes = *seed.first_chunk().expect("32 bytes have 16");
                let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
                let mut text = uuid::Uuid::encode_buffer();
                SessionId((&*uuid.hyphenated().encode_lower(&mut text)).into())
            }
            Self::Token => SessionId(hex(seed).into()),
        }
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

    #[test]
    fn generated_ids_have_the_length_of_their_scheme_and_differ() {
        let (one, two) = (OperationId::random(), OperationId::random());
        for (scheme, length) in [(IdScheme::Uuid, 36), (IdScheme::Token, 64)] {
            assert_eq!(scheme.generate(&one).as_str().len(), length);
            assert_ne!(scheme.generate(&one), scheme.generate(&two));
        }
    }

    #[test]
    fn each_session_of_a_call_has_an_operation_id_of_its_own_and_the_same_again() {
        let operation = OperationId::random();
        assert_eq!(operation.nth(0), operation);
        let all: std::collections::HashSet<_> = (0..100).map(|place| operation.nth(place)).collect();
        assert_eq!(all.len(), 100);
        assert_eq!(operation.nth(7), operation.nth(7));
        assert_ne!(operation.nth(7), OperationId::random().nth(7));
        let seeds: std::collections::HashSet<_> = all.iter().map(|id| *id.seed()).collect();
        assert_eq!(seeds.len(), 100);
    }

    #[test]
    fn a_call_that_is_repeated_makes_the_same_id_and_shows_it_nowhere() {
        let operation = OperationId::random();
        for scheme in [IdScheme::Uuid, IdScheme::Token] {
            let id = scheme.generate(&operation);
            assert_eq!(scheme.generate(&operation), id);
            assert!(!format!("{operation:?}").contains(&id.as_str()[..8]));
        }
        assert_eq!(format!("{operation:?}"), format!("OperationId({})", hex(operation.as_bytes())));
    }
}
