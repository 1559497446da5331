//! An entry of a stream of events, as the scripts write it.

use redis::Value;

use crate::model::{Ending, EntryId, Event, EventKind, SessionId, Version, some};

/// An entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    /// Names and values in turn.
    pub(crate) fields: Value,
}

impl Entry {
    /// The entries of a reply. `None`: the reply has another form.
    pub(crate) fn all(reply: &Value) -> Option<Vec<Self>> {
        let Value::Array(entries) = reply else { return None };
        entries.iter().map(Self::of).collect()
    }

    fn of(entry: &Value) -> Option<Self> {
        let Value::Array(parts) = entry else { return None };
        let [Value::BulkString(id), fields] = parts.as_slice() else { return None };
        Some(Self { id: std::str::from_utf8(id).ok()?.parse().ok()?, fields: fields.clone() })
    }

    /// Whether it is the first entry of its stream.
    pub(crate) fn is_the_beginning(&self) -> bool {
        self.text("what") == Some("begun")
    }

    /// The event of the entry. `None`: it is about no session, or its id or names are not valid text.
    pub(crate) fn event(&self) -> Option<Event> {
        let name = |field| Some(some(self.text(field)?).map(Into::into));
        Some(Event {
            kind: self.kind()?,
            id: SessionId::new(self.text("id")?).ok()?,
            user: name("user")?,
            connection: name("connection")?,
            node: name("node")?,
            version: Version::new(self.text("version")?.parse().ok()?),
        })
    }

    fn kind(&self) -> Option<EventKind> {
        let new_id = || SessionId::new(self.text("new_id")?).ok();
        Some(match (self.text("what")?, self.text("why")?) {
            ("created", _) => EventKind::Created,
            ("updated", _) => EventKind::Updated,
            ("rotated", "login") => EventKind::LoggedIn(new_id()?),
            ("rotated", "logout") => EventKind::LoggedOut(new_id()?),
            ("rotated", _) => EventKind::Rotated(new_id()?),
            ("bound", _) => EventKind::Bound,
            ("unbound", _) => EventKind::Unbound,
            ("taken_over", _) => EventKind::TakenOver,
            ("recovered", _) => EventKind::Recovered,
            ("arrived", _) => EventKind::Arrived,
            ("departed", _) => EventKind::Departed,
            ("ended", "deleted") => EventKind::Ended(Ending::Deleted),
            ("ended", "evicted") => EventKind::Ended(Ending::Evicted),
            ("ended", "expired") => EventKind::Ended(Ending::Expired),
            ("ended", "login") => EventKind::Ended(Ending::Login(new_id()?)),
            ("ended", "withdrawn") => EventKind::Ended(Ending::Withdrawn),
            ("ended", "corrupt") => EventKind::Ended(Ending::Corrupt),
            ("ended", "lost") => EventKind::Ended(Ending::Lost),
            _ => return None,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        let Value::Array(fields) = &self.fields else { return None };
        let (names, values) = (fields.iter().step_by(2), fields.iter().skip(1).step_by(2));
        let (_, value) = names.zip(values).find(|(found, _)| bytes(found) == Some(name.as_bytes()))?;
        std::str::from_utf8(bytes(value)?).ok()
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}
