//! What answers have in common: each can say that there is no live session.

use crate::error::{Error, Refusal, Result};
use crate::ops::bind::Bound;
use crate::ops::delete::Deleted;
use crate::ops::patch::Patched;
use crate::ops::rotate::Rotated;
use crate::ops::unbind::Unbound;
use crate::session::Session;

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
