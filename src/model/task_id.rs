//! The id of one migration.

use std::fmt;

use crate::model::invalid::Invalid;
use crate::model::random::{hex, random, unhex};
use crate::model::serde_text::serde_as_text;

/// Names one migration of a session, so that its steps may be sent again, by whomever, without happening twice.
///
/// Who submits a migration again under the same id, after a crash, does not make another of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId([u8; 8]);

impl TaskId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// An id that the caller keeps. All zero stands for none in what is stored, so do not give that.
    ///
    /// # Errors
    /// [`Invalid`] when it is all zero.
    pub fn new(bytes: [u8; 8]) -> Result<Self, Invalid> {
        if bytes == [0; 8] {
            return Err(Invalid::new("task id", "is all zero"));
        }
        Ok(Self(bytes))
    }

    /// As it is stored. `None` for all zero, which stands for none.
    pub(crate) fn stored(bytes: [u8; 8]) -> Option<Self> {
        Self::new(bytes).ok()
    }

    /// The id itself, to keep it.
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

/// What `Display` writes: 16 hex digits.
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
