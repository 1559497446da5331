//! Why an operation of the framework failed.

use std::error::Error as _;
use std::fmt;

use cloakroom::Refusal;

/// Why an operation of the framework failed. It becomes the framework's error, which has a text and no cause.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session has ended since it was loaded, for example by a logout.
    Ended,
    /// The session has another id by now, which its client has or is about to get.
    Rotated,
    /// A stored attribute is not JSON.
    Unreadable(serde_json::Error),
    /// The store's error.
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
