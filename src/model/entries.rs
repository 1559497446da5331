//! Attributes and extensions: text keys, JSON values.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::error::{Error, Result};

/// A map from text keys to JSON values, with typed access.
///
/// It keeps the values as JSON text, so a value that another language wrote comes back unchanged, even
/// 2^53+1, `[]` or `{}`.
///
/// ```
/// use cloakroom::Entries;
///
/// let mut entries = Entries::default();
/// entries.set("cart", &vec![3, 5])?;
/// assert_eq!(entries.get::<Vec<u32>>("cart")?, Some(vec![3, 5]));
/// assert_eq!(entries.get::<String>("name")?, None);
/// # Ok::<(), cloakroom::Error>(())
/// ```
// One string holds all texts: sessions are read more often than changed, and a map of strings took twice the time to
// read.
#[derive(Clone, Default)]
pub struct Entries {
    /// Keys and values, each value behind its key. Replaced and removed texts stay in it.
    text: String,
    /// How many bytes of it belong to replaced or removed entries.
    unused: usize,
    /// By key.
    places: Vec<Place>,
}

/// Where a key and its value are.
#[derive(Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

impl Entries {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Value`] when the value has another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Ok(at) = self.find(key) else {
            return Ok(None);
        };
        let json = self.json(self.places[at]);
        serde_json::from_str(json).map(Some).map_err(|source| Error::value(key, source))
    }

    /// Sets the value of a key, which may be `null`.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: impl Into<String>, value: &T) -> Result<()> {
        let key = key.into();
        match serde_json::to_string(value) {
            Ok(json) => {
                self.insert_json(&key, &json);
                Ok(())
            }
            Err(source) => Err(Error::value(key, source)),
        }
    }

    /// Removes a key, and returns whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.find(key).map(|at| self.places.remove(at));
        found.map(|place| self.give_up(place)).is_ok()
    }

    /// The keys with their values as JSON text, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|place| (self.key(*place), self.json(*place)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn insert_json(&mut self, key: &str, json: &str) {
        let start = self.text.len();
        self.text.push_str(key);
        self.text.push_str(json);
        self.put(Place { key: start, value: start + key.len(), end: self.text.len() });
    }

    pub(crate) fn reserve(&mut self, bytes: usize, entries: usize) {
        self.text.reserve(bytes);
        self.places.reserve(entries);
    }

    /// Adds a key with its value behind it, unless they are not valid text.
    pub(crate) fn decode(&mut self, entry: &[u8], key_bytes: usize) -> Option<()> {
        let entry = std::str::from_utf8(entry).ok().filter(|text| text.is_char_boundary(key_bytes))?;
        let start = self.text.len();
        self.text.push_str(entry);
        self.put(Place { key: start, value: start + key_bytes, end: self.text.len() });
        Some(())
    }

    fn key(&self, place: Place) -> &str {
        &self.text[place.key..place.value]
    }

    fn json(&self, place: Place) -> &str {
        &self.text[place.value..place.end]
    }

    /// Where a key is, or where it belongs.
    fn find(&self, key: &str) -> Result<usize, usize> {
        // A store usually returns keys in order.
        if self.places.last().is_none_or(|last| self.key(*last) < key) {
            return Err(self.places.len());
        }
        self.places.binary_search_by(|place| self.key(*place).cmp(key))
    }

    fn put(&mut self, place: Place) {
        match self.find(self.key(place)) {
            Ok(at) => {
                let before = std::mem::replace(&mut self.places[at], place);
                self.give_up(before);
            }
            Err(at) => self.places.insert(at, place),
        }
    }

    /// Marks a text as unused, and drops all unused texts once they outweigh the used ones.
    fn give_up(&mut self, place: Place) {
        self.unused += place.end - place.key;
        if self.unused > self.text.len() / 2 {
            let mut used = Self::default();
            self.iter().for_each(|(key, json)| used.insert_json(key, json));
            *self = used;
        }
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Entries {}

/// Shows the keys only: the values may be secret.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_sorted_whatever_the_order_in_which_they_were_set() {
        let mut entries = Entries::default();
        for key in ["m", "z", "a", "m", "b"] {
            entries.set(key, key).unwrap();
        }
        assert_eq!(entries.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b", "m", "z"]);
        assert!(entries.remove("m") && !entries.remove("m"));
        assert_eq!((entries.len(), entries.get::<String>("m").unwrap()), (3, None));
        assert_eq!(entries.get::<String>("z").unwrap().as_deref(), Some("z"));
    }

    #[test]
    fn entries_are_equal_that_hold_the_same_however_they_came_to() {
        let mut one = Entries::default();
        one.set("a", &1).unwrap();
        let mut other = Entries::default();
        for key in ["b", "a"] {
            other.set(key, &0).unwrap();
        }
        assert_ne!(one, other);
        other.set("a", &1).unwrap();
        other.remove("b");
        assert_eq!(one, other);
        other.set("a", &11).unwrap();
        assert_ne!(one, other);
    }

    #[test]
    fn what_is_replaced_and_removed_is_let_go_of() {
        let mut entries = Entries::default();
        let value = "x".repeat(1000);
        for round in 0..1000 {
            entries.set("a", &value).unwrap();
            entries.set(format!("{round}"), &value).unwrap();
            entries.remove(&format!("{round}"));
        }
        assert!(entries.text.len() < 10_000, "{} bytes", entries.text.len());
        assert_eq!(entries.get::<String>("a").unwrap(), Some(value));
        entries.remove("a");
        assert!(entries.is_empty() && entries.text.is_empty());
    }
}
