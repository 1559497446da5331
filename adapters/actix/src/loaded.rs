//! The framework's state of a session, with a note of what the session was when it was loaded.

use std::collections::HashMap;
use std::time::Duration;

use cloakroom::{Entries, Patch, Session};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The state of a session, as actix-session has it: a map from texts to values as JSON texts.
pub type State = HashMap<String, String>;

/// The key of the note in a state.
pub(crate) const NOTE: &str = "cloakroom";

/// The note that goes out to the framework with a state and comes back with it. The framework does not tell the store
/// which request a call belongs to, and requests of one session may have loaded it at different times.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// The number of the load, among those of this store.
    pub(crate) load: u64,
    /// The id of the session, which is no secret.
    pub(crate) session: String,
    /// The session has another id by now, and this one only reads.
    pub(crate) is_rotated: bool,
    pub(crate) user: Option<String>,
    pub(crate) ttl: Duration,
    pub(crate) state: State,
}

impl Loaded {
    /// Puts the note into a state.
    pub(crate) fn note(&self, state: &mut State) -> anyhow::Result<()> {
        state.insert(NOTE.to_owned(), serde_json::to_string(self)?);
        Ok(())
    }

    /// Takes the note out of a state. A new or cleared state has none.
    pub(crate) fn take(state: &mut State) -> Option<Self> {
        let note = serde_json::from_str(state.get(NOTE)?).ok();
        note.inspect(|_| drop(state.remove(NOTE)))
    }

    /// The patch that turns the loaded state into another.
    pub(crate) fn changes(&self, now: &State) -> anyhow::Result<Patch> {
        let mut patch = Patch::new();
        for (key, json) in self.set(now) {
            patch = patch.set(key, &raw(json)?)?;
        }
        Ok(self.removed(now).fold(patch, Patch::remove))
    }

    /// Applies the same changes to a copy.
    pub(crate) fn merge(&self, session: &mut Session, now: &State) -> anyhow::Result<()> {
        for (key, json) in self.set(now) {
            session.set(key, &raw(json)?)?;
        }
        for key in self.removed(now) {
            session.remove(key);
        }
        Ok(())
    }

    fn set<'s>(&self, now: &'s State) -> impl Iterator<Item = (&'s String, &'s String)> {
        now.iter().filter(|(key, json)| self.state.get(*key) != Some(json))
    }

    fn removed(&self, now: &State) -> impl Iterator<Item = &String> {
        self.state.keys().filter(|key| !now.contains_key(*key))
    }
}

/// The state of a session.
pub(crate) fn state_of(session: &Session) -> State {
    session.attributes().iter().map(|(key, json)| (key.to_owned(), json.to_owned())).collect()
}

/// A state as it is stored.
pub(crate) fn attributes(state: &State) -> anyhow::Result<Entries> {
    let mut attributes = Entries::default();
    for (key, json) in state {
        attributes.set(key, &raw(json)?)?;
    }
    Ok(attributes)
}

fn raw(json: &str) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(json.to_owned())
}
