//! What is wrong with an input.

use std::fmt;

/// Bad input or configuration: nothing was sent, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// What is wrong.
    pub field: &'static str,
    /// How, with the limit.
    pub reason: String,
}

impl Invalid {
    /// Of a field, with what is wrong about it as it follows the name: `must be 1 to 500`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.reason)
    }
}

impl std::error::Error for Invalid {}
