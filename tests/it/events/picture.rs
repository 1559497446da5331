//! A list of sessions that a reader keeps from events.

use std::collections::BTreeMap;

use cloakroom::events::{Event, EventKind};
use cloakroom::{Session, SessionId};

/// User, connection and node of each session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picture(pub(super) BTreeMap<SessionId, [Option<String>; 3]>);

impl Picture {
    pub(super) fn heed(&mut self, event: Event) {
        let Event { kind, id, user, connection, node, .. } = event;
        match kind {
            EventKind::Rotated(to) | EventKind::LoggedIn(to) | EventKind::LoggedOut(to) => {
                self.0.remove(&id);
                self.0.insert(to, [user, connection, node]);
            }
            EventKind::Unbound | EventKind::TakenOver => {
                self.0.insert(id, [user, None, None]);
            }
            EventKind::Ended(_) | EventKind::Departed => {
                self.0.remove(&id);
            }
            _ => {
                self.0.insert(id, [user, connection, node]);
            }
        }
    }

    pub(super) fn see(&mut self, session: &Session) {
        let names = [session.user(), session.connection(), session.node()];
        self.0.insert(session.id().clone(), names.map(|name| name.map(Into::into)));
    }
}
