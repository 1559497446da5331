//! The count of the changes of a session.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::invalid::Invalid;

/// Counts the changes of a session: 1 at creation, one more with each change other than a refresh. serde writes it as a
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// The version as a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Reads the number, such as the one within the quotes of an ETag.
impl std::str::FromStr for Version {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number =
            text.parse().map_err(|_| Invalid::new("version", "is not a whole number from 0 to 2^64 - 1"))?;
        Ok(Self(number))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
