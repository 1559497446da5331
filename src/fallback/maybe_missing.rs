//! A trait for answers that can say that there is no live session.

use crate::model::{Bound, Error, Patched, Refusal, Result, Rotated, Session};

/// The answer of a call on one session.
pub(crate) trait MaybeMissing: Sized + Send {
    /// The answer that there is no live session.
    fn missing() -> Result<Self> {
        Err(Error::Refused(Refusal::Missing))
    }

    /// Whether it says so.
    fn is_missing(&self) -> bool {
        false
    }
}

impl MaybeMissing for Session {}

impl MaybeMissing for Patched {}

impl MaybeMissing for Rotated {}

impl MaybeMissing for Bound {}

impl<T: Send> MaybeMissing for Option<T> {
    fn missing() -> Result<Self> {
        Ok(None)
    }

    fn is_missing(&self) -> bool {
        self.is_none()
    }
}
