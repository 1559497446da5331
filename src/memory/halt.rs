//! Why an attempt of a call ends before it writes anything.

use crate::memory::reach::Reach;
use crate::memory::record::Departure;
use crate::model::{OperationId, Refusal, SessionId};

/// Why an attempt ended before it wrote anything.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The call must hold these shards too.
    Need(Reach),
    /// The session has this id now.
    Rotated(SessionId),
    /// This expired session is in the way.
    Reap(SessionId),
    /// The user has far too many sessions: remove these first.
    Remove(String, Vec<SessionId>),
    /// The store is full, and no session is known that could be replaced.
    Full,
    /// The stored data does not prove whether the call under this id has happened.
    Unsure(OperationId),
    /// The caller gets this refusal.
    Refused(Refusal),
}

/// There is no live session.
pub(crate) fn missing() -> Halt {
    Halt::Refused(Refusal::Missing)
}

/// A login gave the session an id that is not revealed.
pub(crate) fn left() -> Halt {
    Halt::Refused(Refusal::Rotated { to: None })
}

/// The session has gone to another store.
pub(crate) fn departed(departure: &Departure) -> Halt {
    Halt::Refused(Refusal::Departed { place: departure.place.clone() })
}

/// The node no longer holds its lease, or the session is another node's.
pub(crate) fn fenced() -> Halt {
    Halt::Refused(Refusal::Fenced)
}
