//! The error for bad input or configuration.

use std::fmt;

/// Bad input or configuration. The store sent nothing and changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it, with the limit.
    pub reason: String,
}

impl Invalid {
    /// Names a field and says what is wrong, in words that follow the field's name: `must be 1 to 500`.
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
