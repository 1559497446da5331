//! A user, connection or node id, stored once for the record and the index.

use std::sync::Arc;

/// A name, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedName(Option<Arc<str>>);

impl SharedName {
    pub(crate) fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// Empty for none, as in the index fields of a session.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    pub(crate) fn get(&self) -> Option<&Arc<str>> {
        self.0.as_ref()
    }

    /// Takes another text, but keeps its own if that is the same.
    pub(crate) fn set(&mut self, text: &str) {
        if self.as_str() != text {
            *self = Self::new(text);
        }
    }
}
