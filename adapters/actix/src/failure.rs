//! Why an operation of the framework failed, although the store could have done it.

use std::fmt;

use cloakroom::{Error, Refusal};

/// The adapter refuses the framework's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The session has ended since it was loaded, for example by a logout.
    Ended,
    /// The session has another id by now, which its client has or is about to get.
    Rotated,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the session has ended since it was loaded",
            Self::Rotated => "the session has another id by now",
        })
    }
}

impl std::error::Error for Failure {}

/// The store's error, in the framework's form.
pub(crate) fn of_store(error: Error) -> anyhow::Error {
    match error {
        Error::Refused(Refusal::Missing) => Failure::Ended.into(),
        Error::Refused(Refusal::Rotated { .. }) => Failure::Rotated.into(),
        error => error.into(),
    }
}
