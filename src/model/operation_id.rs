//! The id of one call, under which it may be repeated.

use std::fmt;

use crate::model::invalid::Invalid;
use crate::model::random::{hex, random, unhex};
use crate::model::serde_text::serde_as_text;

/// Names one call, so that the same call may be sent again without happening twice.
///
/// The store makes one for each call. A caller needs one of its own only to repeat a call that ended in
/// [`Error::Ambiguous`](crate::Error::Ambiguous), see [`SessionStore::with_operation_id`](crate::SessionStore::with_operation_id).
///
/// The session id that the engine makes for a call comes of it, so it is as secret as that: `Debug` shows only the part
/// that is stored. `Display` writes all of it, to be kept for the retry.
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
        Self::of(&random())
    }

    fn of(bytes: &[u8; 40]) -> Self {
        let (stored, seed) = bytes.split_first_chunk().expect("40 bytes have 8");
        Self { stored: *stored, seed: *seed.first_chunk().expect("32 bytes are left") }
    }

    /// What a new session id is made of.
    pub(crate) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.stored
    }

    /// The id of one of many sessions that a call makes, by its place: the same when the call is repeated. That of the
    /// first is the call's own, so it is repeated alone as it is repeated among others.
    pub(crate) fn nth(&self, place: usize) -> Self {
        if place == 0 {
            return *self;
        }
        let mut bytes = [0; 40];
        for (part, half) in bytes.chunks_exact_mut(20).zip([0, 1]) {
            let mut sha1 = sha1_smol::Sha1::from(self.seed);
            sha1.update(&self.stored);
            sha1.update(&(place as u64).to_be_bytes());
            sha1.update(&[half]);
            part.copy_from_slice(&sha1.digest().bytes());
        }
        Self::of(&bytes)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.stored))?;
        f.write_str(&hex(&self.seed))
    }
}

/// What `Display` writes: 80 hex digits.
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
