//! Attributes and extensions: text keys, JSON values.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Refusal, Result};
use crate::rules::Rules;

/// The longest key, in bytes.
const KEY_BYTES: usize = 256;

/// Which of a session's two maps an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    Attribute = 1,
    Extension = 2,
}

/// A map from text keys to JSON values, with typed access.
///
/// The values are kept as JSON text, so what another language wrote comes back as it was: 2^53+1, `[]` and `{}`.
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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Entries(BTreeMap<String, String>);

impl Entries {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::Value`] when it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(json) = self.0.get(key) else {
            return Ok(None);
        };
        serde_json::from_str(json).map(Some).map_err(|source| Error::Value { key: key.to_owned(), source })
    }

    /// Sets a key, `null` included.
    ///
    /// # Errors
    /// [`Error::Value`] when the value cannot be told in JSON.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: impl Into<String>, value: &T) -> Result<()> {
        let key = key.into();
        match serde_json::to_string(value) {
            Ok(json) => {
                self.0.insert(key, json);
                Ok(())
            }
            Err(source) => Err(Error::Value { key, source }),
        }
    }

    /// Removes a key, and tells whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    /// The keys with their values as JSON text, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, json)| (key.as_str(), json.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert_json(&mut self, key: String, json: String) {
        self.0.insert(key, json);
    }
}

/// The keys only: the values may be secret.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Encodes entries for a script: kind, key length, value length, key, value. No value removes, in a list of changes.
#[derive(Debug)]
pub(crate) struct EntryWriter<'a> {
    rules: &'a Rules,
    bytes: Vec<u8>,
}

impl<'a> EntryWriter<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        Self { rules, bytes: Vec::new() }
    }

    pub(crate) fn add_all(&mut self, kind: EntryKind, entries: &Entries) -> Result<()> {
        entries.iter().try_for_each(|(key, json)| self.add(kind, key, Some(json)))
    }

    pub(crate) fn add(&mut self, kind: EntryKind, key: &str, json: Option<&str>) -> Result<()> {
        if key.is_empty() || key.len() > KEY_BYTES {
            let reason = format!("is {} bytes, must be 1 to {KEY_BYTES}", key.len());
            return Err(Error::invalid("attribute key", reason));
        }
        let json = json.unwrap_or_default();
        if json.len() > self.rules.value_bytes {
            let reason = format!("of {key:?} is {} bytes, at most {}", json.len(), self.rules.value_bytes);
            return Err(Error::invalid("attribute value", reason));
        }
        self.bytes.reserve(7 + key.len() + json.len());
        self.bytes.push(kind as u8);
        // Both lengths were checked against limits that fit.
        self.bytes.extend((key.len() as u16).to_be_bytes());
        self.bytes.extend((json.len() as u32).to_be_bytes());
        self.bytes.extend(key.as_bytes());
        self.bytes.extend(json.as_bytes());
        Ok(())
    }

    /// All that a session is to hold.
    pub(crate) fn finish_whole(self) -> Result<Vec<u8>> {
        if self.bytes.len() > self.rules.session_bytes {
            return Err(Error::Refused(Refusal::TooLarge { bytes: self.bytes.len() as u64 }));
        }
        Ok(self.bytes)
    }

    /// Changes to what a session holds; the script knows how large it gets.
    pub(crate) fn finish_changes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Decodes the entries of a record into attributes and extensions. `None` where they are broken.
pub(crate) fn decode_entries(mut bytes: &[u8]) -> Option<(Entries, Entries)> {
    let (mut attributes, mut extensions) = (Entries::default(), Entries::default());
    while let Some((header, rest)) = bytes.split_first_chunk::<7>() {
        let [kind, k0, k1, v0, v1, v2, v3] = *header;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes([k0, k1]).into())?;
        let (json, rest) = rest.split_at_checked(u32::from_be_bytes([v0, v1, v2, v3]) as usize)?;
        let entries = match kind {
            1 => &mut attributes,
            2 => &mut extensions,
            _ => return None,
        };
        entries.insert_json(text(key)?, text(json)?);
        bytes = rest;
    }
    bytes.is_empty().then_some((attributes, extensions))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
