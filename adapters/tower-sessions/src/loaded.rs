//! The framework's record, with a note of what the session was when it was loaded.

use std::collections::HashMap;
use std::time::Duration;

use cloakroom::{Entries, Error, Patch, Session};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::failure::Failure;

/// The data of a record: `Record::data` of tower-sessions.
pub type Data = HashMap<String, Value>;

/// The key of the note in a record's data. The framework's `Session` does not list its keys, so the service does not
/// see it.
const NOTE: &str = "cloakroom";

/// A record, whatever the version of the framework.
#[derive(Debug)]
pub(crate) struct Loose {
    pub(crate) id: i128,
    pub(crate) data: Data,
    pub(crate) expiry: OffsetDateTime,
}

/// What is known of a stored session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) user: Option<String>,
    pub(crate) ttl: Duration,
    pub(crate) data: Data,
}

/// The note that goes out to the framework with a record and comes back with it. The framework does not tell the store
/// which request a call belongs to, and requests of one session may have loaded it at different times.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// The number of the load, among those of this store.
    pub(crate) load: u64,
    /// The id of the session, which is no secret.
    pub(crate) session: String,
    /// The session has another id by now, and this one only reads.
    pub(crate) is_rotated: bool,
    pub(crate) was: Known,
}

impl Loaded {
    /// Puts the note into a record's data.
    pub(crate) fn note(&self, data: &mut Data) -> Result<(), Failure> {
        data.insert(NOTE.to_owned(), serde_json::to_value(self).map_err(Failure::Unreadable)?);
        Ok(())
    }

    /// Takes the note out of a record's data. A new or cleared record has none.
    pub(crate) fn take(data: &mut Data) -> Option<Self> {
        let note = Self::deserialize(data.get(NOTE)?).ok();
        note.inspect(|_| drop(data.remove(NOTE)))
    }
}

impl Known {
    pub(crate) fn of(session: &Session) -> Result<Self, Failure> {
        let entries = session.attributes().iter();
        let parsed = entries.map(|(key, json)| Ok((key.to_owned(), serde_json::from_str(json)?)));
        let data = parsed.collect::<Result<_, _>>().map_err(Failure::Unreadable)?;
        Ok(Self { user: session.user().map(str::to_owned), ttl: session.ttl(), data })
    }

    /// The patch that turns the loaded data into other data.
    pub(crate) fn changes(&self, now: &Data) -> Result<Patch, Error> {
        let mut patch = Patch::new();
        for (key, value) in self.set(now) {
            patch = patch.set(key, value)?;
        }
        Ok(self.removed(now).fold(patch, Patch::remove))
    }

    /// Applies the same changes to a copy.
    pub(crate) fn merge(&self, session: &mut Session, now: &Data) -> Result<(), Error> {
        for (key, value) in self.set(now) {
            session.set(key, value)?;
        }
        for key in self.removed(now) {
            session.remove(key);
        }
        Ok(())
    }

    fn set<'d>(&self, now: &'d Data) -> impl Iterator<Item = (&'d String, &'d Value)> {
        now.iter().filter(|(key, value)| self.data.get(*key) != Some(value))
    }

    fn removed(&self, now: &Data) -> impl Iterator<Item = &String> {
        self.data.keys().filter(|key| !now.contains_key(*key))
    }
}

/// Data as they are stored.
pub(crate) fn attributes(data: &Data) -> Result<Entries, Error> {
    let mut attributes = Entries::default();
    for (key, value) in data {
        attributes.set(key, value)?;
    }
    Ok(attributes)
}
