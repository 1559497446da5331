//! What became of a session, as it is told.

use crate::model::session_id::SessionId;
use crate::model::version::Version;

/// What became of a session: as it is after the change, or as it was where it lost something.
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
    /// The version that the change made; of what expired or was withdrawn, that it had; 0 where nothing is known but the id.
    pub version: Version,
}

/// What happened to a session. docs/events.md has the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// It was made.
    Created,
    /// Its user, connection, node or status is another, by an update, a patch or an import.
    Updated,
    /// It has this new id.
    Rotated(SessionId),
    /// It has this new id, and its user is another: a login by rotation.
    LoggedIn(SessionId),
    /// It got a connection.
    Bound,
    /// Its connection is gone: that connection and its node are told.
    Unbound,
    /// Its connection went to another session: that connection and its node are told.
    TakenOver,
    /// It was given to another node, without its connection.
    Recovered,
    /// It was imported, and had not been here.
    Arrived,
    /// It has gone to another store.
    Departed,
    /// It is no more.
    Ended(Ending),
}

impl EventKind {
    /// The id under which the session goes on, if it has another one now: then it has not ended, though this id has.
    #[must_use]
    pub fn goes_on_as(&self) -> Option<&SessionId> {
        match self {
            Self::Rotated(id) | Self::LoggedIn(id) | Self::Ended(Ending::Login(id)) => Some(id),
            _ => None,
        }
    }
}

/// Why a session is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It was deleted, alone or with all of its user.
    Deleted,
    /// It made room for another of its user.
    Evicted,
    /// It expired, and was reaped.
    Expired,
    /// A login took it to another partition, or to the new store of a `DrainingStore`, where it arrives under this id: it goes on.
    Login(SessionId),
    /// It was the copy of a migration that was broken off.
    Withdrawn,
    /// It was found corrupt, and set aside.
    Corrupt,
    /// It went by the TTL of its record, before a reaper came. Only its id is known, so no node is told.
    Lost,
}

/// What a stream of events tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// What became of a session.
    Event(Event),
    /// Events of a partition were missed, for they were trimmed before they were read, or lost in a failover. Whoever keeps
    /// a picture of the sessions has to read them anew: what follows tells what becomes of them from before now on.
    Lagged {
        /// Which of the partitions, from 0 on.
        partition: u16,
    },
}
