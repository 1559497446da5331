//! Why an operation of the framework's did not succeed, where the store would have done it.

use std::fmt;

use cloakroom::{Error, Refusal};

/// What the framework asked for is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The session has ended since it was loaded, by a logout, say.
    Ended,
    /// The session has another id since, which the client has, or is about to get.
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

/// What the store says, as the framework takes it.
pub(crate) fn of_store(error: Error) -> anyhow::Error {
    match error {
        Error::Refused(Refusal::Missing) => Failure::Ended.into(),
        Error::Refused(Refusal::Rotated { .. }) => Failure::Rotated.into(),
        error => error.into(),
    }
}
