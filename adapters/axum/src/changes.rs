//! The changes of a request to its session's attributes, until they are saved.

use std::collections::BTreeSet;

use cloakroom::{Entries, NewSession, Patch, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Attributes to set and keys to remove. No key is in both.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    set: Entries,
    removed: BTreeSet<String>,
    /// The same as a patch for the store.
    patch: Patch,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty()
    }

    /// Whether a session made of them would be empty.
    pub(crate) fn set_nothing(&self) -> bool {
        self.set.is_empty()
    }

    pub(crate) fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<()> {
        // This comes first, so that an error changes nothing.
        self.set.set(key, value)?;
        self.removed.remove(key);
        self.patch = std::mem::take(&mut self.patch).set(key, value)?;
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.set.remove(key);
        self.removed.insert(key.to_owned());
        self.patch = std::mem::take(&mut self.patch).remove(key);
    }

    /// The value of a key after the changes.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str, stored: Option<&Entries>) -> Result<Option<T>> {
        if self.removed.contains(key) {
            return Ok(None);
        }
        match (self.set.get(key)?, stored) {
            (None, Some(stored)) => stored.get(key),
            (value, _) => Ok(value),
        }
    }

    pub(crate) fn as_patch(&self) -> &Patch {
        &self.patch
    }

    pub(crate) fn as_new_session(&self) -> NewSession {
        NewSession::new().attributes(self.set.clone())
    }
}
