//! A state of the framework's, and the note in it of what the session was when it was loaded.

use std::collections::HashMap;
use std::time::Duration;

use cloakroom::{Entries, Patch, Session};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The state of a session, as actix-session has it: texts to values as JSON texts.
pub type State = HashMap<String, String>;

/// Where the note stands in a state.
pub(crate) const NOTE: &str = "cloakroom";

/// What the framework is given with a state, and gives back with it. It calls a store without saying for which request, and
/// requests of one session may have loaded it at different times.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Which load it was, of those of this store.
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
    /// Puts it into a state.
    pub(crate) fn note(&self, state: &mut State) -> anyhow::Result<()> {
        state.insert(NOTE.to_owned(), serde_json::to_string(self)?);
        Ok(())
    }

    /// Takes it out. There is none in a state that was made anew, or cleared.
    pub(crate) fn take(state: &mut State) -> Option<Self> {
        let note = serde_json::from_str(state.get(NOTE)?).ok();
        note.inspect(|_| drop(state.remove(NOTE)))
    }

    /// What makes another state of what it was.
    pub(crate) fn changes(&self, now: &State) -> anyhow::Result<Patch> {
        let mut patch = Patch::new();
        for (key, json) in self.set(now) {
            patch = patch.set(key, &raw(json)?)?;
        }
        Ok(self.removed(now).fold(patch, Patch::remove))
    }

    /// The same changes of a copy.
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
