//! The names of things: session ids, operation ids, versions.

use std::fmt;

use crate::error::{Error, Result};

/// The longest session id, in bytes.
pub(crate) const SESSION_ID_BYTES: usize = 128;

/// A session's id: the ticket. Text of 1 to 128 bytes.
///
/// Whoever has the id has the session, so it is a secret: `Debug` prints a short hash, and there is no `Display`.
///
/// ```
/// use cloakroom::SessionId;
///
/// let id = SessionId::new("device-7")?;
/// assert_eq!(id.as_str(), "device-7");
/// assert!(!format!("{id:?}").contains("device-7"));
/// # Ok::<(), cloakroom::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// Takes an id that the caller chose, or got from a client.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the text is empty or longer than 128 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::invalid("session id", "is empty"));
        }
        if text.len() > SESSION_ID_BYTES {
            return Err(Error::invalid(
                "session id",
                format!("is {} bytes, at most {SESSION_ID_BYTES}", text.len()),
            ));
        }
        Ok(Self(text))
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

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(#{})", self.short_hash())
    }
}

impl std::str::FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
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
        let seed = &operation.seed;
        SessionId(match self {
            Self::Uuid => {
                let bytes = *seed.first_chunk().expect("32 bytes have 16");
                uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
            }
            Self::Token => hex(seed),
        })
    }
}

/// Counts the changes of a session: 1 at creation, one more with each change other than a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// The version as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one call, so that the same call may be sent again without happening twice.
///
/// The store makes one for each call. A caller needs one of its own only to repeat a call that ended in
/// [`Error::Ambiguous`], see [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
///
/// The session id that the engine makes for a call comes of it, so `Debug` shows only the part that is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId {
    stored: [u8; 8],
    /// Of a new session id, and as secret.
    seed: [u8; 32],
}

impl OperationId {
    /// A new random operation id.
    #[must_use]
    pub fn random() -> Self {
        let bytes = random::<40>();
        let (stored, seed) = bytes.split_first_chunk().expect("40 bytes have 8");
        Self { stored: *stored, seed: *seed.first_chunk().expect("32 bytes are left") }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.stored
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({})", hex(&self.stored))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes from the operating system. It has no way to go on without them, and neither have we.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
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
