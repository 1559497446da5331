//! A user, connection or node id, kept once for the record and the index.

use std::sync::Arc;

/// A name that may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedName(Option<Arc<str>>);

impl SharedName {
    pub(crate) fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// Empty for none, as the index_fields of a session has it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn get(&self) -> Option<&Arc<str>> {
        self.0.as_ref()
    }

    /// Takes another text, and keeps what it has if that is the same.
    pub(crate) fn set(&mut self, text: &str) {
        if self.as_str() != text {
            *self = Self::new(text);
        }
    }
}
