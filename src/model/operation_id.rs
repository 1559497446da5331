//! The id of one call: its idempotency key.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use sha2::{Digest, Sha512};

use crate::model::invalid::Invalid;
use crate::model::random::{hex, random, unhex};
use crate::model::serde_text::serde_as_text;

/// The idempotency key of one call: a call repeated under it does not happen twice.
///
/// The store makes one for each call. A caller needs one of its own only to repeat a call that ended in
/// [`Error::Ambiguous`](crate::Error::Ambiguous), see [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
///
/// The store derives a new session's id from it, so it is as secret as a session id: `Debug` shows only the
/// part that the server stores. `Display` writes all of it, so that you can keep it for the retry.
///
/// It knows when it was made. A session keeps its last four changes with their times. They prove that a call did not
/// happen only if they reach back to before its operation id was made. An operation id that was read from text does not
/// know that time: a call repeated under it ends in `Ambiguous` again if four other changes came since.
#[derive(Clone, Copy)]
pub struct OperationId {
    stored: [u8; 8],
    /// The seed of a new session id, and as secret as the id.
    seed: [u8; 32],
    made: Option<Instant>,
    usage: Usage,
}

/// What is known of the calls under an operation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// No call was ambiguous.
    First,
    /// A call may have happened.
    Repeat,
}

impl OperationId {
    /// A new random operation id.
    #[must_use]
    pub fn random() -> Self {
        Self { made: Some(Instant::now()), usage: Usage::First, ..Self::of(&random()) }
    }

    /// An operation id that was read from text: its call may have happened, at an unknown time.
    fn of(bytes: &[u8; 40]) -> Self {
        let (stored, seed) = bytes.split_first_chunk().expect("40 bytes have 8");
        let seed = *seed.first_chunk().expect("32 bytes are left");
        Self { stored: *stored, seed, made: None, usage: Usage::Repeat }
    }

    /// The same, for a call that may have happened.
    pub(crate) fn of_a_repeat(self) -> Self {
        Self { usage: Usage::Repeat, ..self }
    }

    /// The same, for a call that the stored data proves by more than its id: it uses a bound of its own.
    pub(crate) fn of_a_first_call(self) -> Self {
        Self { made: Some(Instant::now()), usage: Usage::First, ..self }
    }

    /// Whether an earlier call under it may have happened.
    pub(crate) fn is_of_a_repeat(&self) -> bool {
        self.usage == Usage::Repeat
    }

    /// When it was made: no call under it was sent before. `None` if it was read from text.
    pub(crate) fn made(&self) -> Option<Instant> {
        self.made
    }

    /// The seed of a new session id.
    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.stored
    }

    /// The id of one of many sessions that a call makes, by its place: the same when the call is repeated. That of the
    /// first is the call's own, so it is repeated alone as it is repeated among others. Clients in all languages make it
    /// alike: the copies of a login have such ids (`lua/logins.json`).
    pub(crate) fn nth(&self, place: usize) -> Self {
        if place == 0 {
            return *self;
        }
        let seeded = Sha512::new().chain_update(self.seed).chain_update(self.stored);
        let digest = seeded.chain_update((place as u64).to_be_bytes()).finalize();
        let bytes = digest.first_chunk().expect("64 bytes have 40");
        Self { made: self.made, usage: self.usage, ..Self::of(bytes) }
    }
}

impl PartialEq for OperationId {
    fn eq(&self, other: &Self) -> bool {
        (self.stored, self.seed) == (other.stored, other.seed)
    }
}

impl Eq for OperationId {}

impl Hash for OperationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.stored, self.seed).hash(state);
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.stored))?;
        f.write_str(&hex(&self.seed))
    }
}

/// Reads what `Display` writes: 80 hex digits.
impl std::str::FromStr for OperationId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes: [u8; 40] =
            unhex(text).ok_or_else(|| Invalid::new("operation id", "is not 80 hex digits"))?;
        if bytes[..8] == [0; 8] {
            return Err(Invalid::new("operation id", "begins with 16 zeros"));
        }
        Ok(Self::of(&bytes))
    }
}

serde_as_text!(OperationId, to_string);

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({})", hex(&self.stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_of_a_login_has_the_id_that_all_languages_compute() {
        let logins: serde_json::Value =
            serde_json::from_str(include_str!("../../lua/logins.json")).expect("it is JSON");
        for case in logins["copies"].as_array().expect("it has cases") {
            let text = |name: &str| case[name].as_str().expect("it is text");
            let version = case["version"].as_u64().and_then(|version| usize::try_from(version).ok());
            let login = text("operation_id").to_owned() + text("seed");
            let login: OperationId = login.parse().expect("it is an operation id");
            let copy = login.nth(version.expect("it is a version"));
            assert_eq!(hex(copy.as_bytes()), text("copy"), "of version {version:?}");
        }
    }
}
