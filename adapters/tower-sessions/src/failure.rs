//! Why an operation of the framework's did not succeed.

use std::error::Error as _;
use std::fmt;

use cloakroom::Refusal;

/// Why an operation of the framework's did not succeed: to be told as the framework's error, which has a text and no cause.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session has ended since it was loaded, by a logout, say.
    Ended,
    /// The session has another id since, which the client has, or is about to get.
    Rotated,
    /// An attribute that is stored is no JSON.
    Unreadable(serde_json::Error),
    /// What the store says.
    Store(cloakroom::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the session has ended since it was loaded"),
            Self::Rotated => f.write_str("the session has another id by now"),
            Self::Unreadable(error) => write!(f, "an attribute cannot be read: {error}"),
            Self::Store(error) => {
                write!(f, "{error}")?;
                let mut cause = error.source();
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
        }
    }
}

impl From<cloakroom::Error> for Failure {
    fn from(error: cloakroom::Error) -> Self {
        match error {
            cloakroom::Error::Refused(Refusal::Missing) => Self::Ended,
            cloakroom::Error::Refused(Refusal::Rotated { .. }) => Self::Rotated,
            error => Self::Store(error),
        }
    }
}
