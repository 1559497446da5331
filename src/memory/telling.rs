//! Writes the events of a call.

use crate::memory::call::Call;
use crate::memory::record::Record;
use crate::model::{Event, EventKind, SessionId, Version, some};

impl Call<'_> {
    /// Writes an event of a locked session, with what it has or had.
    pub(crate) fn tell(&self, kind: EventKind, id: &SessionId, record: &Record, version: u64) {
        self.tell_from(kind, id, record, version, "");
    }

    /// The same for a session that was at a node before.
    pub(crate) fn tell_from(
        &self,
        kind: EventKind,
        id: &SessionId,
        record: &Record,
        version: u64,
        before: &str,
    ) {
        let Some(keep) = usize::try_from(self.rules.events).ok().filter(|keep| *keep > 0) else { return };
        let [user, connection, node] =
            [&record.user, &record.connection, &record.node].map(|name| some(name.as_str()).map(Into::into));
        let version = Version::new(version);
        let event = Event { kind, id: id.clone(), user, connection, node, version };
        self.memory.events.tell(event, before.to_owned(), keep);
    }
}
