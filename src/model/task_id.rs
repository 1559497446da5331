//! The id of one migration.

use std::fmt;

use crate::model::invalid::Invalid;
use crate::model::random::{hex, random, unhex};
use crate::model::serde_text::serde_as_text;

/// The id of one migration of a session. Any process can retry its steps under this id, and none happens twice.
///
/// Submitting a migration again under the same id, for example after a crash, starts no second migration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId([u8; 8]);

impl TaskId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// An id of the caller's own. It must not be all zero, which means "none" in the stored data.
    ///
    /// # Errors
    /// [`Invalid`] when it is all zero.
    pub fn new(bytes: [u8; 8]) -> Result<Self, Invalid> {
        if bytes == [0; 8] {
            return Err(Invalid::new("task id", "is all zero"));
        }
        Ok(Self(bytes))
    }

    /// Reads the stored form. `None` for all zero, which means "none".
    pub(crate) fn stored(bytes: [u8; 8]) -> Option<Self> {
        Self::new(bytes).ok()
    }

    /// The bytes of the id, so that you can store it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Reads what `Display` writes: 16 hex digits.
impl std::str::FromStr for TaskId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::new(unhex(text).ok_or_else(|| Invalid::new("task id", "is not 16 hex digits"))?)
    }
}

serde_as_text!(TaskId, to_string);

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", hex(&self.0))
    }
}
