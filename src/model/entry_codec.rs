//! Attributes and extensions as they are stored and as the scripts take them.

use crate::model::entries::Entries;
use crate::model::error::{Error, Result};
use crate::model::refusal::Refusal;
use crate::model::rules::Rules;

/// The longest key, in bytes.
const KEY_BYTES: usize = 255;

/// Kind, key length, value length.
const ENTRY_HEADER_BYTES: usize = 5;

/// Which of a session's two maps an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    Attribute = 1,
    Extension = 2,
}

/// Encodes entries for a script: kind, key length, value length, key, value. In a list of changes, an entry without
/// a value removes its key.
#[derive(Debug)]
pub(crate) struct EntryWriter<'a> {
    rules: &'a Rules,
    bytes: Vec<u8>,
    entries: usize,
}

impl<'a> EntryWriter<'a> {
    pub(crate) fn new(rules: &'a Rules) -> Self {
        Self { rules, bytes: Vec::new(), entries: 0 }
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
        self.bytes.reserve(ENTRY_HEADER_BYTES + key.len() + json.len());
        self.bytes.push(kind as u8);
        // Both lengths were checked against limits that fit.
        self.bytes.push(key.len() as u8);
        self.bytes.extend(&(json.len() as u32).to_be_bytes()[1..]);
        self.bytes.extend(key.as_bytes());
        self.bytes.extend(json.as_bytes());
        self.entries += 1;
        Ok(())
    }

    /// Ends a list of all entries of a session.
    pub(crate) fn finish_whole(self) -> Result<Vec<u8>> {
        let (bytes, entries) = (self.bytes.len(), self.entries);
        if bytes > self.rules.session_bytes || entries > self.rules.session_entries {
            let (bytes, entries) = (bytes as u64, entries as u64);
            return Err(Error::Refused(Refusal::TooLarge { bytes, entries }));
        }
        Ok(self.bytes)
    }

    /// Ends a list of changes. The script checks how large the session gets.
    pub(crate) fn finish_changes(self) -> Result<Vec<u8>> {
        let most = self.rules.session_entries;
        if self.entries > most {
            return Err(Error::invalid("changes", format!("are {}, at most {most}", self.entries)));
        }
        Ok(self.bytes)
    }
}

/// Decodes the body of a record into attributes and extensions. The body is a list of changes: the last change of a key
/// wins, and one without a value removes the key. `None`: the body is broken.
pub(crate) fn decode_entries(mut bytes: &[u8]) -> Option<(Entries, Entries)> {
    let is_attribute = |entry: &Encoded<'_>| entry.0[0] == EntryKind::Attribute as u8;
    let (mut attributes, mut extensions) = (Entries::default(), Entries::default());
    attributes.reserve(bytes.len(), Encoded::all(bytes).filter(is_attribute).count());
    while !bytes.is_empty() {
        let (entry, rest) = Encoded::split(bytes)?;
        let entries = match entry.0[0] {
            1 => &mut attributes,
            2 => &mut extensions,
            _ => return None,
        };
        let text = &entry.0[ENTRY_HEADER_BYTES..];
        if entry.removes() {
            entries.remove(std::str::from_utf8(text).ok()?);
        } else {
            entries.decode(text, entry.key_bytes())?;
        }
        bytes = rest;
    }
    Some((attributes, extensions))
}

/// Applies changes to entries. Changed entries keep their places, new ones come last. An [`EntryWriter`]
/// wrote both lists; the first has each key once.
pub(crate) fn changed_entries(entries: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut changed: Vec<Encoded<'_>> = Vec::new();
    for change in Encoded::all(changes) {
        match changed.iter_mut().find(|other| other.name() == change.name()) {
            Some(earlier) => *earlier = change,
            None => changed.push(change),
        }
    }
    let mut result = Vec::with_capacity(entries.len() + changes.len());
    let mut put = |entry: &Encoded<'_>| {
        if !entry.removes() {
            result.extend_from_slice(entry.0);
        }
    };
    for entry in Encoded::all(entries) {
        match changed.iter().position(|change| change.name() == entry.name()) {
            Some(at) => put(&changed.remove(at)),
            None => put(&entry),
        }
    }
    changed.iter().for_each(put);
    result
}

/// How many entries a list has.
pub(crate) fn count_entries(entries: &[u8]) -> usize {
    Encoded::all(entries).count()
}

/// One entry as it is stored.
struct Encoded<'a>(&'a [u8]);

impl<'a> Encoded<'a> {
    fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let (entry, rest) = Self::split(bytes)?;
            bytes = rest;
            Some(entry)
        })
    }

    /// The first entry of a list, and the rest. `None` at the end, or where the list is broken.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let [_, key, v0, v1, v2] = *bytes.first_chunk::<ENTRY_HEADER_BYTES>()?;
        let (key, value) = (usize::from(key), u32::from_be_bytes([0, v0, v1, v2]) as usize);
        let (entry, rest) = bytes.split_at_checked(ENTRY_HEADER_BYTES + key + value)?;
        Some((Self(entry), rest))
    }

    fn key_bytes(&self) -> usize {
        usize::from(self.0[1])
    }

    /// Its kind and key.
    fn name(&self) -> (u8, &[u8]) {
        (self.0[0], &self.0[ENTRY_HEADER_BYTES..][..self.key_bytes()])
    }

    fn removes(&self) -> bool {
        self.0[2..5] == [0; 3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_ends_within_a_character_is_broken() {
        let whole = [&[1, 2, 0, 0, 2][..], "\u{e9}\"\"".as_bytes()].concat();
        assert!(decode_entries(&whole).is_some());
        let cut = [&[1, 1, 0, 0, 3][..], "\u{e9}\"\"".as_bytes()].concat();
        assert!(decode_entries(&cut).is_none());
    }
}
