//! What answers have in common: each can say that there is no live session.

use crate::model::{Bound, Deleted, Error, Patched, Refusal, Result, Rotated, Session, Unbound};

/// The answer of a call on one session.
pub(crate) trait Answer: Sized + Send {
    /// That there is no live session.
    fn missing() -> Result<Self> {
        Err(Error::Refused(Refusal::Missing))
    }

    /// Whether it says so.
    fn is_missing(&self) -> bool {
        false
    }
}

impl Answer for Session {}

impl Answer for Patched {}

impl Answer for Rotated {}

impl Answer for Bound {}

impl<T: Send> Answer for Option<T> {
    fn missing() -> Result<Self> {
        Ok(None)
    }

    fn is_missing(&self) -> bool {
        self.is_none()
    }
}

impl Answer for Unbound {
    fn missing() -> Result<Self> {
        Ok(Self::Missing)
    }

    fn is_missing(&self) -> bool {
        *self == Self::Missing
    }
}

impl Answer for Deleted {
    fn missing() -> Result<Self> {
        Ok(Self::Missing)
    }

    fn is_missing(&self) -> bool {
        *self == Self::Missing
    }
}
