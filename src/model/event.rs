//! An event: what happened to a session.

use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// An event: what happened to a session. The fields hold the values after the change, or the values before
/// it where the session lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user: Option<String>,
    /// Its connection.
    pub connection: Option<String>,
    /// Its node.
    pub node: Option<String>,
    /// The version that the change made. For a session that expired or was withdrawn, its last version. 0 where only
    /// the id is known.
    pub version: Version,
}

/// What happened to a session. docs/events.md has the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The session was created.
    Created,
    /// An update, a patch or an import changed its user, connection, node or status.
    Updated,
    /// A rotation gave it this new id.
    Rotated(SessionId),
    /// A login by rotation gave it this new id and another user.
    LoggedIn(SessionId),
    /// A logout that kept its data gave it this new id and removed the user.
    LoggedOut(SessionId),
    /// A bind gave it a connection.
    Bound,
    /// It lost its connection. The event names that connection and its node.
    Unbound,
    /// Another session took its connection. The event names that connection and its node.
    TakenOver,
    /// A recovery gave it to another node, without its connection.
    Recovered,
    /// It was imported, and was not here before.
    Arrived,
    /// It has gone to another store.
    Departed,
    /// It has ended.
    Ended(Ending),
}

impl EventKind {
    /// The id under which the session goes on, if it has another one now. Then only this id has ended, not the
    /// session.
    #[must_use]
    pub fn goes_on_as(&self) -> Option<&SessionId> {
        match self {
            Self::Rotated(id) | Self::LoggedIn(id) | Self::LoggedOut(id) | Self::Ended(Ending::Login(id)) => {
                Some(id)
            }
            _ => None,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It was deleted, alone or with all sessions of its user.
    Deleted,
    /// It was evicted to make room for another session of its user.
    Evicted,
    /// It expired, and was reaped.
    Expired,
    /// A login moved it to another partition, or to the new store of a `DrainingStore`. It goes on there under this id.
    Login(SessionId),
    /// It was the copy of a migration that was cancelled.
    Withdrawn,
    /// It was corrupt and was set aside.
    Corrupt,
    /// Its record's TTL ran out before a reaper came. Only its id is known, so the event names no node.
    Lost,
}

/// An item of a stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// An event: what happened to a session.
    Event(Event),
    /// The reader missed events of a partition: they were trimmed before it read them, or lost in a failover.
    /// If you keep a list of the sessions, read it again: the next events begin earlier than that read, so
    /// none is missing.
    Lagged {
        /// The partition, counted from 0.
        partition: u16,
    },
}
